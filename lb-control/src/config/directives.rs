//! The table of directives: every one that Piranha 0.8.6 knew, and those that are ours, where it may
//! stand, what it takes and whether it does something yet. A directive is added here and where
//! `read.rs` reads it.

/// One directive.
#[derive(Debug)]
pub struct Entry<K> {
    /// What the program calls it.
    pub key: K,
    /// What the file calls it.
    pub name: &'static str,
    /// What stands after `=`.
    pub kind: Kind,
    /// What holds without it, as it would be written; empty for none.
    pub default: &'static str,
    /// Whether it does something.
    pub effect: Effect,
    /// It is ours: Piranha refused a file that had it.
    pub extension: bool,
    /// Its meaning in a sentence.
    pub doc: &'static str,
}

/// What stands after `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Decimal, `0x` hexadecimal or `0` octal; signs are read.
    Integer,
    /// A time: seconds, or a number with its unit: `500ms`, `2s`, `1m`.
    Time,
    /// How many entries a table has.
    Entries,
    /// `0` or `1`.
    Boolean,
    /// An address or a name that resolves to one.
    Host,
    /// An address that must be written out, perhaps with a port: `10.0.0.1:80`, `[2001:db8::1]:80`.
    Socket,
    /// An address, perhaps with a prefix length, and a device.
    HostAndDevice,
    /// `255.255.255.0`, or a prefix length.
    Mask,
    /// A number or a name of /etc/services.
    Port,
    /// The same, or two numbers with a hyphen in between: all ports from one to the other.
    Ports,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, with commas in between.
    Flags(&'static [&'static str]),
    /// A protocol, and addresses with their ports.
    Match,
    /// At least 16 characters that nobody should guess.
    Secret,
    /// Keys with their numbers: `1:HEX`, with blanks in between.
    Keys,
    /// One word, or quoted text.
    Text,
    /// Words in brackets.
    List,
}

impl Kind {
    /// How it is called in the documentation.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Integer => "integer".into(),
            Self::Time => "time".into(),
            Self::Entries => "number of entries".into(),
            Self::Boolean => "0 or 1".into(),
            Self::Host => "host".into(),
            Self::Socket => "address, perhaps with port".into(),
            Self::HostAndDevice => "address and device".into(),
            Self::Mask => "mask".into(),
            Self::Port => "port".into(),
            Self::Ports => "port, or first-last".into(),
            Self::Choice(words) => words.join(", "),
            Self::Flags(words) => format!("some of {}", words.join(", ")),
            Self::Match => "protocol and addresses".into(),
            Self::Secret => "text of 16 characters or more".into(),
            Self::Keys => "keys, each ID:HEX".into(),
            Self::Text => "text".into(),
            Self::List => "list".into(),
        }
    }

    /// How it is written.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Integer | Self::Time => "6",
            Self::Entries => "65536",
            Self::Boolean => "1",
            Self::Host | Self::Socket => "10.0.0.1",
            Self::HostAndDevice => "10.0.0.9 eth0:1",
            Self::Mask => "255.255.255.0",
            Self::Port | Self::Ports => "80",
            Self::Match => "\"tcp 10.0.0.1:80,443\"",
            Self::Secret => "\"as long as it is secret\"",
            Self::Keys => "\"1:000102030405060708090a0b0c0d0e0f\"",
            Self::Choice(words) | Self::Flags(words) => words.first().copied().unwrap_or_default(),
            Self::Text => "\"some text\"",
            Self::List => "[ a:b c:d ]",
        }
    }
}

/// Whether a directive does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says.
    Works,
    /// It will never do anything, for this reason.
    Never {
        /// Why not.
        because: &'static str,
        /// Values besides the default that need no warning.
        harmless: &'static [&'static str],
    },
    /// A note of people and tools to each other; Piranha's daemons did not look at it either.
    Note,
}

const fn never(because: &'static str) -> Effect {
    Effect::Never {
        because,
        harmless: &[],
    }
}

/// The entry of a directive in its table.
#[must_use]
pub fn find<K>(table: &'static [Entry<K>], name: &str) -> Option<&'static Entry<K>> {
    table.iter().find(|entry| entry.name == name)
}

/// Makes the table of one place and the names of its rows: those of Piranha, then ours.
macro_rules! table {
    ($(#[$about:meta])* $key:ident, $table:ident:
     $($variant:ident $name:literal $kind:expr, $default:literal, $effect:expr, $doc:literal;)*
     @ours
     $($own:ident $own_name:literal $own_kind:expr, $own_default:literal, $own_doc:literal;)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $key {
            $(#[doc = $doc] $variant,)*
            $(#[doc = $own_doc] $own,)*
        }

        $(#[$about])*
        pub static $table: &[Entry<$key>] = &[
            $(Entry {
                key: $key::$variant,
                name: $name,
                kind: $kind,
                default: $default,
                effect: $effect,
                extension: false,
                doc: $doc,
            },)*
            $(Entry {
                key: $key::$own,
                name: $own_name,
                kind: $own_kind,
                default: $own_default,
                effect: Works,
                extension: true,
                doc: $own_doc,
            },)*
        ];
    };
}

use Effect::{Never, Note, Works};
use Kind::{
    Boolean, Choice, Entries, Flags, Host, HostAndDevice, Integer, Keys, List, Mask, Match, Port,
    Ports, Secret, Socket, Text, Time,
};

const NO_SHARED_DISK: Effect = never("shared SCSI disks are not supported");

/// The schedulers of Piranha, then those that IPVS has besides.
const SCHEDULERS: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf", "twos",
];

/// How hashing schedulers work, each with the name of its scheduler in front.
pub(super) const SCHEDULER_FLAGS: &[&str] = &[
    "sh-fallback",
    "sh-port",
    "mh-fallback",
    "mh-port",
    "mh-compat",
];

/// What `check` may be.
pub(super) const CHECKS: &[&str] = &[
    "tcp",
    "udp",
    "tls",
    "http",
    "https",
    "h2c",
    "h2",
    "grpc",
    "grpcs",
    "dns",
    "icmp",
    "smtp",
    "mysql",
    "postgresql",
    "redis",
];

/// The types of records that can be asked for.
pub(crate) const RECORDS: &[&str] = &[
    "A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT", "ANY",
];

/// The response codes by which a name server can be known to be well.
pub(super) const RCODES: &[&str] = &["NOERROR", "NXDOMAIN", "REFUSED", "any"];

table! {
    /// Directives outside of any block.
    GlobalKey, GLOBALS:
    SerialNo "serial_no" Integer, "0", Note, "A counter that tools raise with every edit.";
    Primary "primary" Host, "0.0.0.0", Works, "Real address of the primary director.";
    PrimaryPrivate "primary_private" Host, "", Works, "Its address on a second network for heartbeats.";
    PrimaryShared "primary_shared" Text, "", NO_SHARED_DISK, "Shared disk as the primary sees it.";
    Backup "backup" Host, "0.0.0.0", Works, "Real address of the backup director; 0.0.0.0 for none.";
    BackupPrivate "backup_private" Host, "", Works, "Its address on the second network; only together with `primary_private`.";
    BackupShared "backup_shared" Text, "", NO_SHARED_DISK, "Shared disk as the backup sees it.";
    BackupActive "backup_active" Boolean, "0", Works, "There is a backup director: heartbeats are sent and expected.";
    Heartbeat "heartbeat" Boolean, "0",
        Never { because: "only `backup_active` decides whether heartbeats are sent, as in Piranha", harmless: &["1"] },
        "Says that there are heartbeats; not looked at.";
    HeartbeatPort "heartbeat_port" Port, "539", Works, "UDP port of the heartbeat.";
    Keepalive "keepalive" Time, "2", Works, "Time between two heartbeats. If neither this nor `deadtime` is written and `heartbeat_format` is `own`: 200ms.";
    Deadtime "deadtime" Time, "5", Works, "Silence after which the partner is dead. If neither this nor `keepalive` is written and `heartbeat_format` is `own`: 700ms.";
    Service "service" Choice(&["lvs", "fos"]), "lvs", Works, "Which blocks are live: `virtual` (lvs), or `failover` (fos): services that run on the active director itself.";
    Network "network" Choice(&["nat", "direct", "tunnel"]), "nat", Works, "How packets reach the real servers of all services.";
    NatRouter "nat_router" HostAndDevice, "", Works, "Floating address that is the real servers' gateway; only with `network = nat`.";
    NatNmask "nat_nmask" Mask, "0.0.0.0", Works, "Netmask of `nat_router`; without it /32.";
    MonitorLinks "monitor_links" Integer, "0", Works, "Give up the active role when a link is down.";
    Syncdaemon "syncdaemon" Boolean, "0", Works, "Tell the partner of all connections, so that a take-over loses none.";
    SyncdIface "syncd_iface" Text, "eth0", Works, "The interface of the multicasts of `syncd_compat`. Without that directors talk between their own addresses, as heartbeats do.";
    SyncdId "syncd_id" Integer, "0", Works, "Number that tells several pairs apart, 0 to 255.";
    TcpTimeout "tcp_timeout" Time, "0", Works, "How long a silent TCP connection is remembered; 0 means 900. Whole seconds.";
    TcpfinTimeout "tcpfin_timeout" Time, "0", Works, "The same in the state FIN_WAIT; 0 means 120. After both FINs it is TIME_WAIT, always 120.";
    UdpTimeout "udp_timeout" Time, "0", Works, "The same for UDP; 0 means 300.";
    HardShutdown "hard_shutdown" Boolean, "1",
        never("nannies are no processes that could die alone: what breaks one ends the daemon, and the partner takes over, as with 1"),
        "The death of one nanny stops the director.";
    ActiveCmd "active_cmd" Text, "", Works, "Program that runs when the director becomes active, and its arguments; no shell.";
    InactiveCmd "inactive_cmd" Text, "", Works, "The same when it no longer is.";
    RshCommand "rsh_command" Text, "rsh", Works, "How `load_monitor = uptime` reaches the real servers.";
    DebugLevel "debug_level" Text, "NONE", never("Piranha ignored it too; see `--log-format` and LB_LOG"), "Any word.";
    Ipvsadm "ipvsadm" Text, "/sbin/ipvsadm", never("the table is not kept by ipvsadm"), "Program that Piranha used to change the table.";
    ReservationConflictAction "reservation_conflict_action" Choice(&["nothing", "preempt"]), "", NO_SHARED_DISK, "What to do about a disk that the partner holds.";
    Sync "sync" Boolean, "0", never("Piranha ignored it too"), "Copying of files, before 0.7.";

    @ours
    ExpireNodestConn "expire_nodest_conn" Boolean, "1", "A connection whose server has left ends at its next packet (as IPVS's sysctl of this name; 0 there). With 0 its packets are dropped in silence.";
    ExpireQuiescentTemplate "expire_quiescent_template" Boolean, "1", "Persistent clients leave a server of weight 0 (as IPVS's sysctl; 0 there).";
    ConnReuseMode "conn_reuse_mode" Choice(&["0", "1", "2", "3"]), "1", "When a SYN with the ports of an old connection begins a new one (as IPVS's sysctl): 0 never, 1 when the old one has ended, 2 and 3 also in FIN_WAIT where replies are not seen.";
    SloppyTcp "sloppy_tcp" Boolean, "0", "Any TCP segment begins a connection, not only a SYN (as IPVS's sysctl).";
    SloppySctp "sloppy_sctp" Boolean, "0", "Any SCTP packet begins an association, not only an INIT (as IPVS's sysctl).";
    ScheduleIcmp "schedule_icmp" Boolean, "0", "ICMP errors that belong to no connection are scheduled too (as IPVS's sysctl).";
    PmtuDisc "pmtu_disc" Boolean, "1", "Packets in tunnels must not be cut if they must not outside (as IPVS's sysctl).";
    StatelessAbove "stateless_above" Integer, "100000", "New connections per second and CPU above which sh, dh and mh remember none, but compute the server for each packet; 0 for no limit.";
    AnswersPerSecond "answers_per_second" Integer, "1000", "Resets and ICMP errors that the director sends, per second and CPU; what is above is dropped.";
    SnatPorts "snat_ports" Ports, "1024-32767", "The ports that `method = fullnat` takes on the director's addresses. The kernel's own (net.ipv4.ip_local_port_range) should be others.";
    MhSecret "mh_secret" Secret, "", "Makes the hash of mh unpredictable to clients; the same on both directors. Without it the director makes one up for itself.";
    Failback "failback" Boolean, "0", "The primary becomes active again when it is back; without it who is active stays so.";
    HeartbeatFormat "heartbeat_format" Choice(&["own", "piranha"]), "own", "How heartbeats are written: ours, or the four bytes of Piranha's pulse for a partner that is one.";
    HeartbeatKey "heartbeat_key" Keys, "", "Keys that heartbeats are signed with; the first one signs, all are accepted. Better in a file of its own: `heartbeat_key_file`.";
    HeartbeatKeyFile "heartbeat_key_file" Text, "", "File with such keys, a line each, that only its owner may read.";
    HeartbeatAuth "heartbeat_auth" Choice(&["receive", "permissive", "enforce"]), "enforce", "With keys: `enforce` signs and believes signed heartbeats only; `permissive` signs and believes all; `receive` does not sign and believes all.";
    TrackGateway "track_gateway" Host, "0.0.0.0", "A router that has to answer pings: a node that does not hear it does not become active, and gives way to a partner; 0.0.0.0 for none.";
    CommandTimeout "command_timeout" Time, "10", "How long `active_cmd`, `inactive_cmd`, and each `start_cmd` and `stop_cmd` may run before they are ended.";
    FlowTable "flow_table" Entries, "", "How many connections each address family's table holds, 64 to 67108864; a masqueraded one takes two places. Without it, what `lb run --flows` says. Read at the start.";
    HalfOpen "half_open" Entries, "", "How many of them may be waiting for the client's handshake or first answer; at most `flow_table`. Read at the start.";
    SyncdPort "syncd_port" Port, "8849", "UDP port by which directors tell each other of their connections.";
    SyncdCompat "syncd_compat" Boolean, "0", "Tell them as IPVS does (`ipvsadm --start-daemon`: multicasts to 224.0.0.81, port 8848, without keys), to a partner that is IPVS.";
}

table! {
    /// Directives of `virtual` and `failover` blocks.
    ServiceKey, SERVICES:
    Active "active" Boolean, "0", Works, "The block is switched on. A block without it is off.";
    Address "address" HostAndDevice, "0.0.0.0", Works, "A virtual IP and the device that carries it, normally an alias as eth0:1. Repeatable: all of them are of the service.";
    VipNmask "vip_nmask" Mask, "0.0.0.0", Works, "Netmask of the virtual IP; without it, or 0.0.0.0, it is /32 (IPv6: /128).";
    Port "port" Ports, "80", Works, "The port that clients use; all from the first to the last of a range; 0 for all.";
    Protocol "protocol" Choice(&["tcp", "udp", "sctp"]), "tcp", Works, "TCP, UDP or SCTP.";
    Fwmark "fwmark" Integer, "0", Works, "Makes the block a group: `match` says what belongs to it. 0 for none.";
    Scheduler "scheduler" Choice(SCHEDULERS), "wlc", Works, "Who gets the next connection.";
    Persistent "persistent" Time, "0", Works, "How long a client stays with its server, in whole seconds; 0 for off.";
    Pmask "pmask" Mask, "0.0.0.0", Works, "Clients that this mask makes equal stay together; without it, or 0.0.0.0, each client is on its own.";
    SorryServer "sorry_server" Socket, "0.0.0.0", Works, "Server for the time when no other works, with the port of the service unless it says one; 0.0.0.0 for none.";
    Send "send" Text, "", Works, "What is sent to check a server, with \\n \\r \\t \\\\.";
    Expect "expect" Text, "", Works, "What its answer begins with; `*` for any answer.";
    UseRegex "use_regex" Boolean, "0", Works, "`expect` is a regular expression.";
    SendProgram "send_program" Text, "", Works, "Program that checks a server; %h and %p are its address and port. Used instead of `send`.";
    Timeout "timeout" Time, "10", Works, "Time between two checks, and the limit of each step of one; 50ms or more.";
    Reentry "reentry" Time, "180", Works, "How long a failed server must be well to come back; 0 means 180. Of a failover service: how long the node where it failed is not to take over.";
    QuiesceServer "quiesce_server" Boolean, "0", Works, "A failed server gets weight 0 instead of being removed.";
    LoadMonitor "load_monitor" Text, "", Works, "Program that tells the load of a server: none, rup, ruptime, uptime or another.";
    ClientMonitor "client_monitor" Text, "/usr/sbin/nanny", never("servers are checked by the director itself"), "Program that checks a server in Piranha's place of nanny.";
    StartCmd "start_cmd" Text, "", Works, "Program that starts a failover service, and its arguments; no shell. It ends when the service runs.";
    StopCmd "stop_cmd" Text, "", Works, "The same to stop it. It has to end well too if the service does not run.";
    Master "master" Host, "", never("Piranha ignored it too"), "Mirroring of files, before 0.7.";
    Dirs "dirs" List, "", never("Piranha ignored it too"), "Mirroring of files, before 0.7.";

    @ours
    Match "match" Match, "", "What belongs to the group of `fwmark`, repeatable: `\"tcp 192.0.2.10:80,443\"`, `\"udp 192.0.2.10:1000-2000\"`, `\"esp 192.0.2.10\"`.";
    Method "method" Choice(&["nat", "fullnat", "direct", "tunnel"]), "", "How packets reach the real servers of this service; without it, as `network` says. With fullnat servers see the director as their client.";
    TunnelType "tunnel_type" Choice(&["ipip", "gre", "gue"]), "ipip", "What stands round packets in a tunnel: nothing, a GRE or a GUE header.";
    TunnelPort "tunnel_port" Port, "6080", "UDP port of the servers' end; only with `tunnel_type = gue`.";
    TunnelChecksum "tunnel_checksum" Boolean, "0", "GRE or UDP checksum in tunnels; not with `tunnel_type = ipip`.";
    SchedFlags "sched_flags" Flags(SCHEDULER_FLAGS), "", "How sh and mh work: with another server if the right one is not available, with the client's port, and mh with IPVS's own placement, which clients can predict.";
    Ops "ops" Boolean, "0", "Every datagram is scheduled on its own, and none is remembered; for UDP.";
    Refuse "refuse" Choice(&["reset", "unreachable", "drop"]), "reset", "What clients get while there is no server: a reset (other than TCP: port unreachable), port unreachable, or nothing.";
    Drain "drain" Time, "30", "How long a server which leaves the file may finish what it has.";
    CheckPort "check_port" Port, "", "Port at which the servers are checked, if it is not their own.";
    CheckAt "check_at" Choice(&["server", "vip"]), "server", "Where servers are asked: at their own address (`server`), or at the virtual IP (`vip`), by the way that packets of clients take to each, which shows whether it has the virtual IP and its tunnel's end; with `direct` and `tunnel`.";
    Check "check" Choice(CHECKS), "", "How the servers are checked; without it, by `send` and `expect` over the protocol of the service.";
    CheckTimeout "check_timeout" Time, "", "Limit of a check as a whole; without it, `timeout`.";
    CheckRetries "check_retries" Integer, "0", "How often a failed check is tried again before it counts, 0 to 10.";
    CheckJitter "check_jitter" Integer, "5", "By how many percent the time between two checks varies: it is so much shorter at most. 0 to 50.";
    CheckMethod "check_method" Choice(&["GET", "HEAD"]), "GET", "How a page is asked for (http, https, h2c, h2).";
    CheckPath "check_path" Text, "/", "The page, and what follows a question mark (http, https, h2c, h2).";
    CheckHost "check_host" Text, "", "The host that is asked for, as `Host:` or `:authority`, and by TLS; who we are in EHLO (smtp). Without it, the server's address.";
    CheckSni "check_sni" Text, "", "The name that is asked for by TLS and that the certificate has to be for; without it, `check_host`.";
    CheckStatus "check_status" Text, "200-399", "Status codes that are good: `200`, `200-299,404` (http, https, h2c, h2).";
    CheckBody "check_body" Text, "", "A regular expression that has to match in the first 64 KiB of the page (http, https, h2c, h2).";
    CheckVerify "check_verify" Boolean, "1", "The certificate has to be good (tls, https, h2, grpcs).";
    CheckCa "check_ca" Text, "", "File of certificates (PEM) that the server's has to come from; without it, those that the system trusts.";
    CheckExpiry "check_expiry" Integer, "14", "With so many days left it is told that the certificate ends soon; 0 for never.";
    CheckName "check_name" Text, "", "The name that is asked for (dns); the service (grpc, grpcs), empty for the server as a whole.";
    CheckType "check_type" Choice(RECORDS), "SOA", "The type of the records that are asked for (dns).";
    CheckRcode "check_rcode" Choice(RCODES), "NOERROR", "The response code that has to come back (dns).";
    CheckAnswer "check_answer" Text, "", "What one of the records has to say: an address, a name, a text (dns).";
    CheckUser "check_user" Text, "lb", "The user in whose name is asked, without a password (mysql, postgresql). Being refused is an answer.";
    Rise "rise" Integer, "1", "With so many good checks in a row a failed server returns; if it is said, `reentry` is 0 unless it is said too.";
    Fall "fall" Integer, "1", "With so many failed checks in a row a server leaves.";
    Damping "damping" Time, "0", "A server that comes and goes stays away: the half-life of what is held against it. 0 for off.";
    SlowStart "slow_start" Boolean, "1", "A server that returns begins with 1/32 of its weight, at least 1, which doubles every 20 seconds.";
    AgentPort "agent_port" Port, "", "TCP port at which each server says in a line, or in JSON, what is to become of it: `up`, `drain`, `down`, `75%`.";
}

table! {
    /// Directives of `server` blocks.
    ServerKey, SERVERS:
    Address "address" Host, "0.0.0.0", Works, "The real server.";
    Active "active" Boolean, "0", Works, "The server is switched on. A server without it is off.";
    Weight "weight" Integer, "1", Works, "Its share of connections, up to 65535; 0 and less mean 1, as with Piranha: see `quiesced`.";
    Port "port" Port, "", Works, "Its port, if it differs from the `port` of the service (above the server's block).";

    @ours
    Quiesced "quiesced" Boolean, "0", "Its weight is 0: it gets no new connections and keeps what it has.";
    UpperThreshold "upper_threshold" Integer, "0", "With as many connections it gets no more (ipvsadm -x); 0 for no limit.";
    LowerThreshold "lower_threshold" Integer, "0", "After that, with fewer than these it gets some again (ipvsadm -y); 0 for three quarters of `upper_threshold`.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_sentences_end() {
        fn check<K>(table: &[Entry<K>]) {
            let mut names = HashSet::new();
            for entry in table {
                assert!(names.insert(entry.name), "{} twice", entry.name);
                assert!(entry.doc.ends_with('.'), "{}", entry.name);
            }
        }
        check(GLOBALS);
        check(SERVICES);
        check(SERVERS);
    }
}
