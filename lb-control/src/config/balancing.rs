//! What holds for all services besides timeouts: the settings that are IPVS's sysctls, and ours.

use sha2::{Digest, Sha256};

use super::{
    diagnostic::Diagnostics,
    directives::GlobalKey,
    document::Document,
    global::place,
    settings::{OwnGlobalSettings, Ports},
};
use crate::model::Settings;

/// How large a table of flows may be.
const FLOWS: std::ops::RangeInclusive<u32> = 64..=1 << 26;

/// The settings; what cannot be is told.
pub(super) fn settings(
    written: &OwnGlobalSettings,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Settings {
    let mut checks = Checks {
        document,
        diagnostics,
    };
    let flows = written.flow_table.and_then(|number| {
        let (least, most) = (*FLOWS.start(), *FLOWS.end());
        checks.number(GlobalKey::FlowTable, number, least, most)
    });
    Settings {
        expire_nodest_conn: written.expire_nodest_conn,
        expire_quiescent_template: written.expire_quiescent_template,
        conn_reuse_mode: written.conn_reuse_mode,
        sloppy_tcp: written.sloppy_tcp,
        sloppy_sctp: written.sloppy_sctp,
        schedule_icmp: written.schedule_icmp,
        pmtu_disc: written.pmtu_disc,
        // That is for who knows whether there is a partner.
        sync: false,
        stateless_above: checks
            .number(
                GlobalKey::StatelessAbove,
                written.stateless_above,
                0,
                u32::MAX,
            )
            .unwrap_or_default(),
        answers: checks
            .number(
                GlobalKey::AnswersPerSecond,
                written.answers_per_second,
                0,
                u32::MAX,
            )
            .unwrap_or_default(),
        snat_ports: checks.snat_ports(written.snat_ports),
        secret: written.mh_secret.as_deref().map_or([0; 2], key),
        flows,
        half_open: written.half_open.and_then(|number| {
            let most = flows.unwrap_or(*FLOWS.end());
            checks.number(GlobalKey::HalfOpen, number, 1, most)
        }),
    }
}

/// A text of any length to the key of a hash.
fn key(secret: &str) -> [u64; 2] {
    let mut words = [0; 2];
    let digest = Sha256::digest(secret);
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<8>().0) {
        *word = u64::from_be_bytes(*bytes);
    }
    words
}

struct Checks<'a> {
    document: &'a Document,
    diagnostics: &'a mut Diagnostics,
}

impl Checks<'_> {
    fn number(&mut self, key: GlobalKey, number: i32, least: u32, most: u32) -> Option<u32> {
        let found = u32::try_from(number).ok();
        let found = found.filter(|number| (least..=most).contains(number));
        if found.is_none() {
            let help = match most {
                u32::MAX => format!("{least} or more"),
                most => format!("{least} to {most}"),
            };
            let message = format!("{number} is out of range");
            let span = place(self.document, key);
            self.diagnostics.error(span, message, &help);
        }
        found
    }

    fn snat_ports(&mut self, ports: Ports) -> (u16, u16) {
        let number = |port: i32| u16::try_from(port).ok().filter(|port| *port != 0);
        let last = ports.last.unwrap_or(ports.first);
        match (number(ports.first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last),
            (_, _) => {
                let message = format!("{} to {last} is no range of ports", ports.first);
                let span = place(self.document, GlobalKey::SnatPorts);
                self.diagnostics.error(span, message, "like 1024-32767");
                (0, 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of "abc" is an example of FIPS 180-2.
    #[test]
    fn a_secret_becomes_the_front_of_its_digest() {
        assert_eq!(key("abc"), [0xba78_16bf_8f01_cfea, 0x4141_40de_5dae_2223]);
        assert_ne!(
            key("as long as it is secret"),
            key("as long as it is secreu")
        );
    }
}
