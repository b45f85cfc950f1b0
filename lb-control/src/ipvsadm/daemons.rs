//! `-L --daemon`: the daemons that tell another director of connections.

use std::io::{self, Write};

use crate::control::table::SyncDaemonRow;

/// Lists daemons, the one that tells first.
pub(super) fn list(daemons: &[SyncDaemonRow], out: &mut dyn Write) -> io::Result<()> {
    for SyncDaemonRow { role, daemon, .. } in daemons {
        writeln!(out, "{} sync daemon ({daemon})", role.name())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Origin,
        sync::ipvs::daemon::{SyncDaemon, SyncRole},
    };

    #[test]
    fn daemons_are_listed_as_ipvsadm_does() {
        let golden = include_str!("../../tests/data/ipvsadm-listings.txt");
        let listing = golden
            .split("$ ipvsadm -L --daemon\n")
            .nth(1)
            .and_then(|rest| rest.split("[exit").next());
        let daemons = [SyncRole::Master, SyncRole::Backup].map(|role| SyncDaemonRow {
            role,
            origin: Origin::Command,
            daemon: SyncDaemon::on("eth1".to_owned(), 51),
        });
        let mut out = Vec::new();
        assert!(list(&daemons, &mut out).is_ok());
        assert_eq!(std::str::from_utf8(&out).ok(), listing);
    }
}
