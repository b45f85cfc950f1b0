//! The table of directives: every one that Piranha 0.8.6 knew, where it may stand, what it takes
//! and whether it does something yet. A directive is added here and where `settings.rs` reads it.

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
    /// Its meaning in a sentence.
    pub doc: &'static str,
}

/// What stands after `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Decimal, `0x` hexadecimal or `0` octal; signs are read.
    Integer,
    /// `0` or `1`.
    Boolean,
    /// An address or a name that resolves to one.
    Host,
    /// An address that must be written out.
    Address,
    /// An address, perhaps with a prefix length, and a device.
    HostAndDevice,
    /// `255.255.255.0`, or a prefix length.
    Mask,
    /// A number or a name of /etc/services.
    Port,
    /// One of these words.
    Choice(&'static [&'static str]),
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
            Self::Boolean => "0 or 1".into(),
            Self::Host => "host".into(),
            Self::Address => "address".into(),
            Self::HostAndDevice => "address and device".into(),
            Self::Mask => "mask".into(),
            Self::Port => "port".into(),
            Self::Choice(words) => words.join(", "),
            Self::Text => "text".into(),
            Self::List => "list".into(),
        }
    }

    /// How it is written.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Integer => "6",
            Self::Boolean => "1",
            Self::Host | Self::Address => "10.0.0.1",
            Self::HostAndDevice => "10.0.0.9 eth0:1",
            Self::Mask => "255.255.255.0",
            Self::Port => "80",
            Self::Choice(words) => words.first().copied().unwrap_or_default(),
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
    /// It is read and checked; until it works, this happens instead.
    NotYet {
        /// What happens instead.
        instead: &'static str,
        /// Values besides the default that ask for just that, and so need no warning.
        harmless: &'static [&'static str],
    },
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

const fn not_yet(instead: &'static str) -> Effect {
    Effect::NotYet {
        instead,
        harmless: &[],
    }
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

/// Makes the table of one place and the names of its rows.
macro_rules! table {
    ($(#[$about:meta])* $key:ident, $table:ident:
     $($variant:ident $name:literal $kind:expr, $default:literal, $effect:expr, $doc:literal;)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $key {
            $(#[doc = $doc] $variant,)*
        }

        $(#[$about])*
        pub static $table: &[Entry<$key>] = &[
            $(Entry {
                key: $key::$variant,
                name: $name,
                kind: $kind,
                default: $default,
                effect: $effect,
                doc: $doc,
            },)*
        ];
    };
}

use Effect::{Never, NotYet, Note, Works};
use Kind::{Address, Boolean, Choice, Host, HostAndDevice, Integer, List, Mask, Port, Text};

const ALONE: Effect = not_yet("this director works alone and is always active");
const NO_SHARED_DISK: Effect = never("shared SCSI disks are not supported");
const NO_FAILOVER: Effect = not_yet("`failover` blocks are not carried out");

/// The schedulers of Piranha, then those that IPVS has besides.
const SCHEDULERS: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf",
];

table! {
    /// Directives outside of any block.
    GlobalKey, GLOBALS:
    SerialNo "serial_no" Integer, "0", Note, "A counter that tools raise with every edit.";
    Primary "primary" Host, "0.0.0.0", ALONE, "Real address of the primary director.";
    PrimaryPrivate "primary_private" Host, "", ALONE, "Its address on a second network for heartbeats.";
    PrimaryShared "primary_shared" Text, "", NO_SHARED_DISK, "Shared disk as the primary sees it.";
    Backup "backup" Host, "0.0.0.0", ALONE, "Real address of the backup director; 0.0.0.0 for none.";
    BackupPrivate "backup_private" Host, "", ALONE, "Its address on the second network; only together with `primary_private`.";
    BackupShared "backup_shared" Text, "", NO_SHARED_DISK, "Shared disk as the backup sees it.";
    BackupActive "backup_active" Boolean, "0", ALONE, "There is a backup director: heartbeats are sent and expected.";
    Heartbeat "heartbeat" Boolean, "0",
        Never { because: "only `backup_active` decides whether heartbeats are sent, as in Piranha", harmless: &["1"] },
        "Says that there are heartbeats; not looked at.";
    HeartbeatPort "heartbeat_port" Port, "539", not_yet("no heartbeats are sent"), "UDP port of the heartbeat.";
    Keepalive "keepalive" Integer, "2", not_yet("no heartbeats are sent"), "Seconds between two heartbeats.";
    Deadtime "deadtime" Integer, "5", not_yet("no heartbeats are expected"), "Seconds of silence after which the partner is dead.";
    Service "service" Choice(&["lvs", "fos"]), "lvs", not_yet("with `fos` no service runs: `virtual` blocks are not live and `failover` blocks are not carried out"),
        "Which blocks are live: `virtual` (lvs) or `failover` (fos).";
    Network "network" Choice(&["nat", "direct", "tunnel"]), "nat", Works, "How packets reach the real servers of all services.";
    NatRouter "nat_router" HostAndDevice, "", Works, "Floating address that is the real servers' gateway; only with `network = nat`.";
    NatNmask "nat_nmask" Mask, "0.0.0.0", Works, "Netmask of `nat_router`; without it /32.";
    MonitorLinks "monitor_links" Integer, "0", not_yet("links are not watched"), "Give up the active role when a link is down.";
    Syncdaemon "syncdaemon" Boolean, "0", not_yet("connections are not copied to the partner"), "Copy connections to the partner.";
    SyncdIface "syncd_iface" Text, "eth0", not_yet("connections are not copied to the partner"), "Interface for that.";
    SyncdId "syncd_id" Integer, "0", not_yet("connections are not copied to the partner"), "Number that tells several pairs apart, 0 to 255.";
    TcpTimeout "tcp_timeout" Integer, "0", Works, "Seconds that a silent TCP connection is remembered; 0 means 900.";
    TcpfinTimeout "tcpfin_timeout" Integer, "0", Works, "The same in the state FIN_WAIT; 0 means 120. After both FINs it is TIME_WAIT, always 120.";
    UdpTimeout "udp_timeout" Integer, "0", Works, "The same for UDP; 0 means 300.";
    HardShutdown "hard_shutdown" Boolean, "1",
        never("nannies are not processes that could die alone"),
        "The death of one nanny stops the director.";
    ActiveCmd "active_cmd" Text, "", not_yet("it is not run"), "Program that runs when the director becomes active.";
    InactiveCmd "inactive_cmd" Text, "", not_yet("it is not run"), "Program that runs when it no longer is.";
    RshCommand "rsh_command" Text, "rsh",
        NotYet { instead: "load is not measured", harmless: &["ssh"] },
        "How `load_monitor = uptime` reaches the real servers.";
    DebugLevel "debug_level" Text, "NONE", never("Piranha ignored it too; see `--log-format` and LB_LOG"), "Any word.";
    Ipvsadm "ipvsadm" Text, "/sbin/ipvsadm", never("the table is not kept by ipvsadm"), "Program that Piranha used to change the table.";
    ReservationConflictAction "reservation_conflict_action" Choice(&["nothing", "preempt"]), "", NO_SHARED_DISK, "What to do about a disk that the partner holds.";
    Sync "sync" Boolean, "0", never("Piranha ignored it too"), "Copying of files, before 0.7.";
}

table! {
    /// Directives of `virtual` and `failover` blocks.
    ServiceKey, SERVICES:
    Active "active" Boolean, "0", Works, "The block is switched on. A block without it is off.";
    Address "address" HostAndDevice, "0.0.0.0", Works, "The virtual IP and the device that carries it, normally an alias as eth0:1.";
    VipNmask "vip_nmask" Mask, "0.0.0.0", Works, "Netmask of the virtual IP; without it, or 0.0.0.0, it is /32 (IPv6: /128).";
    Port "port" Port, "80", Works, "The port that clients use.";
    Protocol "protocol" Choice(&["tcp", "udp"]), "tcp", Works, "TCP or UDP.";
    Fwmark "fwmark" Integer, "0", not_yet("the service is found by its address, port and protocol"), "Firewall mark that selects the packets; 0 for none.";
    Scheduler "scheduler" Choice(SCHEDULERS), "wlc", Works, "Who gets the next connection. Only rr, wrr, wlc and sh work yet; for any other, wlc is used.";
    Persistent "persistent" Integer, "0", not_yet("each connection is scheduled on its own"), "Seconds that a client stays with its server; 0 for off.";
    Pmask "pmask" Mask, "0.0.0.0",
        NotYet { instead: "each connection is scheduled on its own", harmless: &["255.255.255.255"] },
        "Clients that this mask makes equal stay together.";
    SorryServer "sorry_server" Address, "0.0.0.0", not_yet("without a working server connections are refused"), "Server for the time when no other works.";
    Send "send" Text, "", Works, "What is sent to check a server, with \\n \\r \\t \\\\.";
    Expect "expect" Text, "", Works, "What its answer begins with; `*` for any answer.";
    UseRegex "use_regex" Boolean, "0", Works, "`expect` is a regular expression.";
    SendProgram "send_program" Text, "", Works, "Program that checks a server; %h and %p are its address and port. Used instead of `send`.";
    Timeout "timeout" Integer, "10", Works, "Seconds between two checks, and the limit of each step of one.";
    Reentry "reentry" Integer, "180", Works, "Seconds that a failed server must be well to come back; 0 means 180.";
    QuiesceServer "quiesce_server" Boolean, "0", Works, "A failed server gets weight 0 instead of being removed.";
    LoadMonitor "load_monitor" Text, "",
        NotYet { instead: "the weights stay as configured", harmless: &["none"] },
        "Program that tells the load of a server: none, rup, ruptime, uptime or another.";
    ClientMonitor "client_monitor" Text, "/usr/sbin/nanny", never("servers are checked by the director itself"), "Program that checks a server in Piranha's place of nanny.";
    StartCmd "start_cmd" Text, "", NO_FAILOVER, "How a failover service is started.";
    StopCmd "stop_cmd" Text, "", NO_FAILOVER, "How a failover service is stopped.";
    Master "master" Host, "", never("Piranha ignored it too"), "Mirroring of files, before 0.7.";
    Dirs "dirs" List, "", never("Piranha ignored it too"), "Mirroring of files, before 0.7.";
}

table! {
    /// Directives of `server` blocks.
    ServerKey, SERVERS:
    Address "address" Host, "0.0.0.0", Works, "The real server.";
    Active "active" Boolean, "0", Works, "The server is switched on. A server without it is off.";
    Weight "weight" Integer, "1", Works, "Its share of connections, up to 65535; 0 and less mean 1.";
    Port "port" Port, "", Works, "Its port, if it differs from the `port` of the service (above the server's block).";
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
