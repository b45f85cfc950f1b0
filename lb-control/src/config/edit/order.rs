//! Where a new directive goes: in the order in which Piranha's web tool wrote them, those that it did not
//! know at the end, in the order of their table.

use crate::config::directives::{Entry, GLOBALS, SERVERS, SERVICES};

const GLOBAL: &[&str] = &[
    "serial_no",
    "primary",
    "primary_private",
    "primary_shared",
    "service",
    "rsh_command",
    "backup_active",
    "backup",
    "backup_private",
    "backup_shared",
    "heartbeat",
    "heartbeat_port",
    "keepalive",
    "deadtime",
    "network",
    "nat_router",
    "nat_nmask",
    "reservation_conflict_action",
    "debug_level",
    "active_cmd",
    "inactive_cmd",
    "monitor_links",
    "syncdaemon",
    "syncd_iface",
    "syncd_id",
    "tcp_timeout",
    "tcpfin_timeout",
    "udp_timeout",
];

const SERVICE: &[&str] = &[
    "active",
    "address",
    "sorry_server",
    "vip_nmask",
    "fwmark",
    "match",
    "port",
    "persistent",
    "pmask",
    "send",
    "expect",
    "use_regex",
    "send_program",
    "load_monitor",
    "scheduler",
    "sched_flags",
    "protocol",
    "timeout",
    "reentry",
    "quiesce_server",
];

const SERVER: &[&str] = &["address", "active", "port", "weight"];

/// In which part of the file a directive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Part {
    Global,
    Service,
    Server,
}

/// A directive's place among all of its part.
pub(in crate::config) fn rank(part: Part, name: &str) -> usize {
    let first = match part {
        Part::Global => GLOBAL,
        Part::Service => SERVICE,
        Part::Server => SERVER,
    };
    let known = first.iter().position(|one| *one == name);
    known.unwrap_or_else(|| first.len() + row(part, name))
}

fn row(part: Part, name: &str) -> usize {
    fn find<K>(table: &[Entry<K>], name: &str) -> usize {
        let row = table.iter().position(|entry| entry.name == name);
        row.unwrap_or(table.len())
    }
    match part {
        Part::Global => find(GLOBALS, name),
        Part::Service => find(SERVICES, name),
        Part::Server => find(SERVERS, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_order_is_a_directive() {
        for (part, names, rows) in [
            (Part::Global, GLOBAL, GLOBALS.len()),
            (Part::Service, SERVICE, SERVICES.len()),
            (Part::Server, SERVER, SERVERS.len()),
        ] {
            for name in names {
                assert!(row(part, name) < rows, "{name}");
            }
        }
    }
}
