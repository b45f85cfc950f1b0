//! What a line says of a daemon that tells another director of connections.

use super::{Complaint, IpAddr, Kind, within};
use crate::sync::ipvs::daemon::{SyncDaemon, SyncRole};

/// The most that a message holds, in bytes: what fits into a datagram.
const MAX_MESSAGE: i64 = 65_507;

/// What a line says of a daemon.
pub(super) struct Said {
    pub(super) role: SyncRole,
    pub(super) syncid: u8,
    interface: Option<String>,
    maxlen: Option<u16>,
    group: Option<IpAddr>,
    port: Option<u16>,
    ttl: Option<u8>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            role: SyncRole::Master,
            syncid: 0,
            interface: None,
            maxlen: None,
            group: None,
            port: None,
            ttl: None,
        }
    }
}

impl Said {
    pub(super) fn take(&mut self, kind: Kind, text: &str) -> Result<(), Complaint> {
        let wrong = |what: &str| Complaint::usage(format!("illegal {what} specified"));
        if kind == Kind::McastInterface {
            self.interface = Some(text.to_owned());
        } else if kind == Kind::SyncId {
            self.syncid = within(text, 0, 255).ok_or_else(|| wrong("syncid"))?;
        } else if kind == Kind::SyncMaxlen {
            let maxlen = within(text, 1, MAX_MESSAGE);
            self.maxlen = Some(maxlen.ok_or_else(|| wrong("sync-maxlen"))?);
        } else if kind == Kind::McastGroup {
            self.group = Some(group(text)?);
        } else if kind == Kind::McastPort {
            let port = within(text, 1, 65_535);
            self.port = Some(port.ok_or_else(|| wrong("mcast-port"))?);
        } else if kind == Kind::McastTtl {
            self.ttl = Some(within(text, 1, 255).ok_or_else(|| wrong("mcast-ttl"))?);
        }
        Ok(())
    }

    pub(super) fn daemon(self) -> SyncDaemon {
        let interface = self.interface.filter(|name| !name.is_empty());
        let interface = interface.unwrap_or_else(|| "eth0".to_owned());
        SyncDaemon {
            interface,
            syncid: self.syncid,
            maxlen: self.maxlen,
            group: self.group,
            port: self.port,
            ttl: self.ttl,
        }
    }
}

fn group(text: &str) -> Result<IpAddr, Complaint> {
    let (family, group) = match text.contains(':') {
        true => ("IPv6", text.parse().map(IpAddr::V6)),
        false => ("IPv4", text.parse().map(IpAddr::V4)),
    };
    group
        .ok()
        .filter(IpAddr::is_multicast)
        .ok_or_else(|| Complaint::usage(format!("invalid {family} mcast-group `{text}'")))
}
