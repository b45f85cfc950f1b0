//! Which directive stands on which page, and what it is called there. The names are Piranha's where it had one;
//! what a directive takes, what holds without it and what it means is in the table of directives alone. A directive
//! that no page names stands with the rest of its part, so that a new one has a field at once.

use crate::config::directives::{Effect, Entry, GLOBALS, Kind, SERVERS, SERVICES};

/// In which part of the file a directive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum Part {
    Global,
    Service,
    Server,
}

/// A row of one of the tables of directives.
#[derive(Debug, Clone, Copy)]
pub(in crate::web) struct Row {
    pub(in crate::web) name: &'static str,
    pub(in crate::web) kind: Kind,
    pub(in crate::web) default: &'static str,
    pub(in crate::web) effect: Effect,
    pub(in crate::web) doc: &'static str,
    /// Whether it may be said several times.
    pub(in crate::web) repeats: bool,
}

impl Part {
    /// All directives of the part.
    pub(in crate::web) fn rows(self) -> Vec<Row> {
        fn rows<K>(part: Part, table: &[Entry<K>]) -> Vec<Row> {
            let row = |entry: &Entry<K>| Row {
                name: entry.name,
                kind: entry.kind,
                default: entry.default,
                effect: entry.effect,
                doc: entry.doc,
                repeats: part == Part::Service && matches!(entry.name, "address" | "match"),
            };
            table.iter().map(row).collect()
        }
        match self {
            Self::Global => rows(self, GLOBALS),
            Self::Service => rows(self, SERVICES),
            Self::Server => rows(self, SERVERS),
        }
    }
}

/// Fields that stand together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) title: &'static str,
    /// It is opened by those who need it.
    pub(super) folded: bool,
    /// Directives, and what they are called; nothing if as the directive.
    pub(super) fields: &'static [(&'static str, &'static str)],
}

/// The fields of one page.
#[derive(Debug)]
pub(in crate::web) struct Sheet {
    pub(in crate::web) part: Part,
    pub(super) groups: &'static [Group],
    /// What no page has named is here.
    pub(super) has_rest: bool,
}

const fn open(title: &'static str, fields: &'static [(&'static str, &'static str)]) -> Group {
    Group {
        title,
        folded: false,
        fields,
    }
}

const fn folded(title: &'static str, fields: &'static [(&'static str, &'static str)]) -> Group {
    Group {
        title,
        folded: true,
        fields,
    }
}

pub(in crate::web) static GLOBAL: Sheet = Sheet {
    part: Part::Global,
    groups: &[
        open(
            "Environment",
            &[
                ("primary", "Primary server public IP"),
                ("primary_private", "Primary server private IP"),
                ("network", "Network type"),
                ("nat_router", "NAT router IP and device"),
                ("nat_nmask", "NAT router netmask"),
                ("tcp_timeout", "TCP timeout"),
                ("tcpfin_timeout", "TCP FIN timeout"),
                ("udp_timeout", "UDP timeout"),
                ("service", "Service type"),
            ],
        ),
        folded(
            "Connections",
            &[
                ("flow_table", "Connections remembered"),
                ("half_open", "Of them half-open"),
                ("expire_nodest_conn", "End connections of servers that left"),
                (
                    "expire_quiescent_template",
                    "Persistent clients leave quiesced servers",
                ),
                ("conn_reuse_mode", "When ports are used again"),
                ("sloppy_tcp", "Begin TCP in the middle"),
                ("sloppy_sctp", "Begin SCTP in the middle"),
                ("schedule_icmp", "Schedule ICMP errors"),
                ("pmtu_disc", "Path MTU discovery in tunnels"),
                ("stateless_above", "Compute instead of remember, from"),
                ("answers_per_second", "Resets and errors per second"),
                ("snat_ports", "Ports of full NAT"),
                ("mh_secret", "Secret of Maglev hashing"),
            ],
        ),
    ],
    has_rest: true,
};

pub(in crate::web) static REDUNDANCY: Sheet = Sheet {
    part: Part::Global,
    groups: &[
        open(
            "Backup",
            &[
                ("backup", "Redundant server public IP"),
                ("backup_private", "Redundant server private IP"),
                ("keepalive", "Heartbeat interval (seconds)"),
                ("deadtime", "Assume dead after (seconds)"),
                ("heartbeat_port", "Heartbeat runs on port"),
                ("monitor_links", "Monitor NIC links for failures"),
                ("syncdaemon", "Syncdaemon"),
                ("syncd_iface", "Sync interface"),
                ("syncd_id", "Sync id"),
            ],
        ),
        folded(
            "Who is active",
            &[
                ("backup_active", "Backup"),
                ("failback", "Primary comes back"),
                ("track_gateway", "Gateway that has to answer"),
                ("active_cmd", "Command when active"),
                ("inactive_cmd", "Command when inactive"),
                ("command_timeout", "Limit of both"),
            ],
        ),
        folded(
            "Heartbeats and their keys",
            &[
                ("heartbeat_format", "Format"),
                ("heartbeat_auth", "Signatures"),
                ("heartbeat_key_file", "File of keys"),
                ("heartbeat_key", "Keys"),
                ("heartbeat", "Heartbeat"),
            ],
        ),
        folded(
            "Connection synchronisation",
            &[("syncd_port", "Port"), ("syncd_compat", "Partner is IPVS")],
        ),
    ],
    has_rest: false,
};

pub(in crate::web) static VIRTUAL: Sheet = Sheet {
    part: Part::Service,
    groups: &[
        open(
            "Virtual server",
            &[
                ("port", "Application port"),
                ("protocol", "Protocol"),
                ("address", "Virtual IP Address and Device"),
                ("vip_nmask", "Virtual IP Network Mask"),
                ("sorry_server", "Sorry Server"),
                ("fwmark", "Firewall Mark"),
                ("reentry", "Re-entry Time"),
                ("timeout", "Service timeout"),
                ("quiesce_server", "Quiesce server"),
                ("load_monitor", "Load monitoring tool"),
                ("scheduler", "Scheduling"),
                ("persistent", "Persistence"),
                ("pmask", "Persistence Network Mask"),
            ],
        ),
        folded(
            "Forwarding",
            &[
                ("method", "Method"),
                ("tunnel_type", "Tunnel"),
                ("tunnel_port", "Port of GUE"),
                ("tunnel_checksum", "Checksum in tunnels"),
            ],
        ),
        folded(
            "More",
            &[
                ("active", "Status"),
                ("match", "Members of the group"),
                ("sched_flags", "Scheduler flags"),
                ("ops", "One packet scheduling"),
                ("refuse", "Without a server"),
                ("drain", "Drain"),
                ("slow_start", "Slow start"),
            ],
        ),
    ],
    has_rest: true,
};

pub(in crate::web) static SCRIPTS: Sheet = Sheet {
    part: Part::Service,
    groups: &[
        open(
            "Monitoring scripts",
            &[
                ("send_program", "Sending Program"),
                ("send", "Send"),
                ("expect", "Expect"),
                ("use_regex", "Treat expect string as a regular expression"),
            ],
        ),
        folded(
            "Other checks",
            &[
                ("check", "Kind of check"),
                ("check_at", "Where"),
                ("check_port", "Port"),
                ("check_timeout", "Limit"),
                ("check_retries", "Retries"),
                ("check_jitter", "Jitter"),
            ],
        ),
        folded(
            "Pages (http, https, h2c, h2, grpc)",
            &[
                ("check_method", "Method"),
                ("check_path", "Path"),
                ("check_host", "Host"),
                ("check_status", "Status codes"),
                ("check_body", "Body"),
                ("check_name", "Name"),
            ],
        ),
        folded(
            "TLS",
            &[
                ("check_sni", "Server name"),
                ("check_verify", "Certificate has to be good"),
                ("check_ca", "Authorities"),
                ("check_expiry", "Warn of its end"),
            ],
        ),
        folded(
            "DNS and databases",
            &[
                ("check_type", "Record type"),
                ("check_rcode", "Response code"),
                ("check_answer", "Answer"),
                ("check_user", "User"),
            ],
        ),
        folded(
            "Coming and going",
            &[
                ("rise", "Rise"),
                ("fall", "Fall"),
                ("damping", "Damping"),
                ("agent_port", "Agent port"),
            ],
        ),
    ],
    has_rest: false,
};

pub(in crate::web) static SERVER: Sheet = Sheet {
    part: Part::Server,
    groups: &[
        open(
            "Real server",
            &[
                ("address", "Address"),
                ("port", "Port"),
                ("weight", "Weight"),
                ("active", "Status"),
            ],
        ),
        folded(
            "More",
            &[
                ("quiesced", "Quiesced"),
                ("upper_threshold", "Upper threshold"),
                ("lower_threshold", "Lower threshold"),
            ],
        ),
    ],
    has_rest: true,
};

pub(in crate::web) static FAILOVER: Sheet = Sheet {
    part: Part::Service,
    groups: &[
        open(
            "Failover service",
            &[
                ("address", "Address and Device"),
                ("vip_nmask", "Netmask"),
                ("port", "Application port"),
                ("timeout", "Service timeout"),
                ("active", "Status"),
            ],
        ),
        open(
            "Monitoring scripts",
            &[
                ("send", "Send"),
                ("expect", "Expect"),
                ("send_program", "Sending Program"),
                ("start_cmd", "Start command"),
                ("stop_cmd", "Stop command"),
            ],
        ),
    ],
    has_rest: false,
};

/// All pages with fields of a part but that of failover services, whose directives stand elsewhere too.
const SHEETS: [&Sheet; 5] = [&GLOBAL, &REDUNDANCY, &VIRTUAL, &SCRIPTS, &SERVER];

/// Whether some page names a directive.
pub(super) fn is_named(part: Part, name: &str) -> bool {
    let sheets = SHEETS.into_iter().filter(|sheet| sheet.part == part);
    let mut fields = sheets
        .flat_map(|sheet| sheet.groups)
        .flat_map(|group| group.fields);
    fields.any(|(field, _)| *field == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_directive_stands_on_one_page() {
        for part in [Part::Global, Part::Service, Part::Server] {
            let mut found: BTreeMap<&str, usize> = BTreeMap::new();
            for sheet in SHEETS.into_iter().filter(|sheet| sheet.part == part) {
                for field in sheet.fields() {
                    *found.entry(field.row.name).or_default() += 1;
                }
            }
            for row in part.rows() {
                assert_eq!(found.remove(row.name), Some(1), "{part:?} {}", row.name);
            }
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn what_a_page_names_is_a_directive() {
        for sheet in SHEETS.into_iter().chain([&FAILOVER]) {
            let rows = sheet.part.rows();
            for (name, _) in sheet.groups.iter().flat_map(|group| group.fields) {
                assert!(rows.iter().any(|row| row.name == *name), "{name}");
            }
        }
    }
}
