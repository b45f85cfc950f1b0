//! `-L --daemon`: the daemons that tell another director of connections.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
};

use super::command::{Role, SyncDaemon};

/// Lists daemons, with what holds where nothing was said.
pub(super) fn list(daemons: &[SyncDaemon], out: &mut dyn Write) -> io::Result<()> {
    const MAXLEN: u16 = 1472;
    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
    const PORT: u16 = 8848;
    const TTL: u8 = 1;
    for daemon in daemons {
        let role = match daemon.role {
            Role::Master => "master",
            Role::Backup => "backup",
        };
        let maxlen = daemon.maxlen.unwrap_or(MAXLEN);
        let group = daemon.group.unwrap_or(GROUP);
        let port = daemon.port.unwrap_or(PORT);
        let ttl = daemon.ttl.unwrap_or(TTL);
        writeln!(
            out,
            "{role} sync daemon (mcast={}, syncid={}, maxlen={maxlen}, group={group}, port={port}, ttl={ttl})",
            daemon.interface, daemon.syncid
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_are_listed_as_ipvsadm_does() {
        let golden = include_str!("../../tests/data/ipvsadm-listings.txt");
        let listing = golden
            .split("$ ipvsadm -L --daemon\n")
            .nth(1)
            .and_then(|rest| rest.split("[exit").next());
        let daemon = |role| SyncDaemon {
            role,
            interface: "eth1".to_owned(),
            syncid: 51,
            maxlen: None,
            group: None,
            port: None,
            ttl: None,
        };
        let mut out = Vec::new();
        let daemons = [daemon(Role::Master), daemon(Role::Backup)];
        assert!(list(&daemons, &mut out).is_ok());
        assert_eq!(std::str::from_utf8(&out).ok(), listing);
    }
}
