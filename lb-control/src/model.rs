//! What the director knows of its site: services, real servers, addresses. No text of lvs.cf and
//! no bytes of maps: this is what both are translated to.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use crate::sync::ipvs::daemon::SyncDaemons;

/// Everything that lvs.cf says, checked and with defaults filled in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Site {
    /// The virtual services that are switched on, in the order of the file.
    pub services: Vec<Arc<VirtualService>>,
    /// The failover services that are switched on, in the order of the file; none unless `service = fos`.
    pub failovers: Vec<Arc<FailoverService>>,
    /// The floating addresses that the active director holds, each once.
    pub addresses: Vec<FloatingAddress>,
    /// How long a silent connection is remembered.
    pub timeouts: Timeouts,
    /// What else holds for all services.
    pub settings: Settings,
    /// Who tells or hears of connections in the language of IPVS, by command.
    pub sync_daemons: SyncDaemons,
}

/// One `virtual` block: an address and port that clients know, and the servers behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualService {
    /// The name of the block.
    pub name: String,
    /// What it is known by: its mark, or the first of its selectors.
    pub key: ServiceId,
    /// Where it comes from.
    pub origin: Origin,
    /// What clients connect to; more than one, or more than one port, makes it a group. In order,
    /// and no two overlap. A group without any gets nothing.
    pub selectors: Vec<Selector>,
    /// How packets reach the sorry server, and real servers of which nothing else is said.
    pub forwarding: Forwarding,
    /// Who gets the next connection.
    pub scheduler: Scheduler,
    /// How the scheduler does it.
    pub flags: SchedulerFlags,
    /// Every datagram is scheduled by itself (ipvsadm's `--ops`); UDP only.
    pub one_packet: bool,
    /// Clients stay with their server.
    pub persistence: Option<Persistence>,
    /// The persistence engine that was asked for by ipvsadm. It is kept to be shown: clients are told apart by
    /// their addresses.
    pub engine: Option<String>,
    /// The server that clients get while there is no other.
    pub sorry_server: Option<SocketAddr>,
    /// What clients get while there is none at all.
    pub refusal: Refusal,
    /// How long a server that leaves lvs.cf may finish what it has.
    pub drain: Duration,
    /// How nannies find out whether a server is well. Without it all are taken for well, as by IPVS.
    pub probe: Option<Probe>,
    /// By which protocol they talk to it; that of the service, or for a group one of several.
    pub check_protocol: Protocol,
    /// A server that fails stays with weight 0 instead of leaving the table.
    pub quiesce: bool,
    /// The real servers that are switched on, in the order of the file.
    pub servers: Vec<RealServer>,
}

/// What identifies a virtual service: IPVS's `<af, protocol, address, port>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// The virtual IP.
    pub address: IpAddr,
    /// The virtual port; the first one of a range; 0 for all.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.protocol,
            SocketAddr::new(self.address, self.port)
        )
    }
}

/// What identifies a virtual service in the table, as in IPVS: `<family, protocol, address, port>` or
/// `<family, mark>`. Written `TCP 192.0.2.10:80`, `FWM 7`, `FWM 7 IPv6`; in JSON the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceId {
    /// A virtual address, port and protocol.
    Address(ServiceAddress),
    /// A group, by the firewall mark that stands for it.
    Mark {
        /// The mark; never 0.
        mark: u32,
        /// The family of its addresses.
        family: Family,
    },
}

/// An address family.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl ServiceId {
    /// The family of the service's addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Address(key) => Family::of(key.address),
            Self::Mark { family, .. } => *family,
        }
    }

    /// The one address and port of a service that is no group.
    #[must_use]
    pub const fn address(&self) -> Option<&ServiceAddress> {
        match self {
            Self::Address(key) => Some(key),
            Self::Mark { .. } => None,
        }
    }
}

impl From<ServiceAddress> for ServiceId {
    fn from(key: ServiceAddress) -> Self {
        Self::Address(key)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(key) => key.fmt(f),
            Self::Mark { mark, family } => match family {
                Family::Ipv4 => write!(f, "FWM {mark}"),
                Family::Ipv6 => write!(f, "FWM {mark} IPv6"),
            },
        }
    }
}

/// A text names no virtual service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” names no service: it is like “tcp 192.0.2.10:80” or “fwm 7”")]
pub struct NoServiceId(String);

impl std::str::FromStr for ServiceId {
    type Err = NoServiceId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NoServiceId(text.to_owned());
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(what)) = (words.next(), words.next()) else {
            return Err(wrong());
        };
        let family = words.next();
        if words.next().is_some() {
            return Err(wrong());
        }
        if kind.eq_ignore_ascii_case("fwm") {
            let mark = what.parse().ok().filter(|mark| *mark != 0);
            let family = match family {
                None => Family::Ipv4,
                Some(word) if word.eq_ignore_ascii_case("ipv6") => Family::Ipv6,
                Some(_) => return Err(wrong()),
            };
            let mark = mark.ok_or_else(wrong)?;
            return Ok(Self::Mark { mark, family });
        }
        let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|protocol| kind.eq_ignore_ascii_case(&protocol.to_string()));
        match (protocol, what.parse::<SocketAddr>(), family) {
            (Some(protocol), Ok(socket), None) => Ok(Self::Address(ServiceAddress {
                address: socket.ip(),
                port: socket.port(),
                protocol,
            })),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for ServiceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What it is in JSON.
impl PartialSchema for ServiceId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "What identifies a virtual service in the table: a protocol with an address and a port, or the \
                 firewall mark that stands for a group.",
            ))
            .pattern(Some(SERVICE_ID_PATTERN))
            .examples(["TCP 192.0.2.10:80", "UDP [2001:db8::10]:53", "FWM 7", "FWM 7 IPv6"])
            .into()
    }
}

impl ToSchema for ServiceId {}

/// How a service is written, in either case of letters. Whether the numbers can be is another matter.
const SERVICE_ID_PATTERN: &str = "^([Tt][Cc][Pp]|[Uu][Dd][Pp]|[Ss][Cc][Tt][Pp]) \
    ([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5}$|^[Ff][Ww][Mm] [0-9]{1,10}( [Ii][Pp][Vv]6)?$";

/// A range of ports of a virtual address.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
pub struct Selector {
    /// The virtual IP.
    #[schema(value_type = String, example = "192.0.2.10")]
    pub address: IpAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The first port; 0 to 65535 is every port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl Selector {
    /// The one port of a service.
    #[must_use]
    pub fn single(key: ServiceAddress) -> Self {
        Self {
            address: key.address,
            protocol: key.protocol,
            first: key.port,
            last: key.port,
        }
    }

    /// What a service with this as its first selector is known by.
    #[must_use]
    pub fn key(&self) -> ServiceAddress {
        ServiceAddress {
            address: self.address,
            port: self.first,
            protocol: self.protocol,
        }
    }
}

impl Selector {
    /// Takes in another one, if they have a port in common; whether they have.
    pub fn join(&mut self, other: &Self) -> bool {
        let is_near = (self.address, self.protocol) == (other.address, other.protocol)
            && self.first <= other.last
            && other.first <= self.last;
        if is_near {
            self.first = self.first.min(other.first);
            self.last = self.last.max(other.last);
        }
        is_near
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            protocol,
            first,
            last,
        } = self;
        match (first, last) {
            (0, 0) => write!(f, "{protocol} {address}"),
            (0, &u16::MAX) => write!(f, "{protocol} {address} (all ports)"),
            (first, last) if first == last => self.key().fmt(f),
            (_, last) => write!(f, "{}-{last}", self.key()),
        }
    }
}

/// A transport protocol that is balanced.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, by the state table of IPVS.
    Tcp,
    /// UDP; a flow is a pair of sockets.
    Udp,
    /// SCTP, by the state table of IPVS.
    Sctp,
    /// IPsec's authentication header, which has no ports; in groups only.
    Ah,
    /// IPsec's encapsulating payload, which has no ports; in groups only.
    Esp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Ah => "AH",
            Self::Esp => "ESP",
        })
    }
}

/// How a packet reaches its real server.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Masquerading: destination address and port are rewritten, replies come back this way.
    Nat,
    /// Only the MAC address is rewritten; the server holds the virtual IP and answers by itself.
    Direct,
    /// The packet travels inside another; the server answers by itself.
    Tunnel,
}

/// What stands between the outer and the inner IP header of a tunnel: ipvsadm's `--tun-type`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tunnel {
    /// Nothing: IP in IP.
    #[default]
    Ipip,
    /// A GRE header.
    Gre {
        /// With a checksum.
        checksum: bool,
    },
    /// A UDP and a GUE header.
    Gue {
        /// The UDP port of the server's end.
        port: u16,
        /// With a UDP checksum.
        checksum: bool,
    },
}

/// How packets reach one real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Forwarding {
    /// Masquerading: [`Method::Nat`].
    Nat,
    /// Masquerading at both ends: the real server sees the router as its client.
    FullNat,
    /// [`Method::Direct`].
    Direct,
    /// [`Method::Tunnel`].
    Tunnel {
        /// What stands round the packets.
        tunnel: Tunnel,
    },
}

impl Forwarding {
    /// The method, as ipvsadm knows it.
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Nat | Self::FullNat => Method::Nat,
            Self::Direct => Method::Direct,
            Self::Tunnel { .. } => Method::Tunnel,
        }
    }
}

impl fmt::Display for Method {
    /// As ipvsadm lists it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "Masq",
            Self::Direct => "Route",
            Self::Tunnel => "Tunnel",
        })
    }
}

/// Who gets the next connection; the algorithms are those of IPVS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin, interleaved.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// Locality-based least connections.
    Lblc,
    /// The same with a set of servers for each destination.
    Lblcr,
    /// By the destination's address.
    Dh,
    /// By the client's address.
    Sh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Maglev hashing.
    Mh,
    /// The server of the highest weight.
    Fo,
    /// The same, as long as it has no more connections than its weight.
    Ovf,
    /// The less loaded of two taken at random.
    Twos,
}

impl Scheduler {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Dh,
        Self::Sh,
        Self::Sed,
        Self::Nq,
        Self::Mh,
        Self::Fo,
        Self::Ovf,
        Self::Twos,
    ];

    /// How ipvsadm and lvs.cf call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Dh => "dh",
            Self::Sh => "sh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Mh => "mh",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Twos => "twos",
        }
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a hashing scheduler works: ipvsadm's `--sched-flags`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct SchedulerFlags {
    /// sh-fallback, mh-fallback: another server, if the one that was found is not available.
    pub fallback: bool,
    /// sh-port, mh-port: the client's port is hashed too.
    pub port: bool,
    /// mh-compat: IPVS's own placement, whose key everybody knows.
    pub compat: bool,
}

/// How long a client stays with its server after its last connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Persistence {
    /// How long.
    pub timeout: Duration,
    /// Clients whose addresses this mask makes equal are one; of the family of the service.
    pub mask: IpAddr,
}

/// Where a service or a real server comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It is as lvs.cf says.
    #[default]
    File,
    /// It is in lvs.cf, and was edited by command.
    Edited,
    /// It was added by command.
    Command,
}

/// What a client gets while there is no server for it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// A reset for TCP, an ICMP port unreachable for all else.
    #[default]
    Reset,
    /// An ICMP port unreachable.
    Unreachable,
    /// Nothing.
    Drop,
}

/// What holds for all services: the sysctls of IPVS, and our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Packets of flows whose server is gone end the flow, instead of being dropped in silence.
    pub expire_nodest_conn: bool,
    /// Persistent clients leave a server of weight 0.
    pub expire_quiescent_template: bool,
    /// When a SYN begins a new connection with the sockets of an old one: 0 never, 1 when that has
    /// ended, 2 also in FIN_WAIT when replies are not seen; bits.
    pub conn_reuse_mode: u8,
    /// Any TCP segment begins a flow.
    pub sloppy_tcp: bool,
    /// Any SCTP packet begins a flow.
    pub sloppy_sctp: bool,
    /// ICMP errors without a flow are scheduled too.
    pub schedule_icmp: bool,
    /// Packets in tunnels keep "don't fragment".
    pub pmtu_disc: bool,
    /// New flows per second and CPU above which hashing schedulers remember none; 0: no limit.
    pub stateless_above: u32,
    /// Answers of our own per second and CPU.
    pub answers: u32,
    /// The ports that full NAT takes, first and last.
    pub snat_ports: (u16, u16),
    /// The key of mh's hash, which both directors must share; `[0; 2]` if none was given.
    pub secret: [u64; 2],
    /// A partner is told what becomes of flows.
    pub sync: bool,
    /// How many flows each table holds, if the file says.
    pub flows: Option<u32>,
    /// How many of them may be half open, if the file says.
    pub half_open: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            expire_nodest_conn: true,
            expire_quiescent_template: true,
            conn_reuse_mode: 1,
            sloppy_tcp: false,
            sloppy_sctp: false,
            schedule_icmp: false,
            pmtu_disc: true,
            stateless_above: 100_000,
            answers: 1_000,
            snat_ports: (1_024, 32_767),
            secret: [0; 2],
            sync: false,
            flows: None,
            half_open: None,
        }
    }
}

/// One `server` block of a virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// The name of the block.
    pub name: String,
    /// Where the server listens. Only masquerading can change the port; 0 is the port that the
    /// client used.
    pub socket: SocketAddr,
    /// How packets reach it.
    pub forwarding: Forwarding,
    /// The port at which it is checked; mostly that of `socket`. 0 only where a program checks it.
    pub check_port: u16,
    /// Its share of connections, 0 to 65535; 0 for none.
    pub weight: u16,
    /// With as many flows it gets no more; 0: no limit.
    pub upper: u32,
    /// With fewer it gets some again; 0: three quarters of `upper`.
    pub lower: u32,
    /// Where it comes from. One that was added by command is taken for well until it was checked.
    pub origin: Origin,
}

impl VirtualService {
    /// A service of one address and port, with everything else as it is by default.
    #[must_use]
    pub fn new(name: &str, key: ServiceAddress, scheduler: Scheduler, probe: Probe) -> Self {
        let selectors = vec![Selector::single(key)];
        Self {
            scheduler,
            probe: Some(probe),
            check_protocol: key.protocol,
            ..Self::unwatched(name, key.into(), selectors)
        }
    }

    /// A service whose servers nobody watches, with everything else as it is by default.
    #[must_use]
    pub fn unwatched(name: &str, key: ServiceId, selectors: Vec<Selector>) -> Self {
        Self {
            name: name.to_owned(),
            key,
            origin: Origin::File,
            selectors,
            forwarding: Forwarding::Nat,
            scheduler: Scheduler::Wlc,
            flags: SchedulerFlags::default(),
            one_packet: false,
            persistence: None,
            engine: None,
            sorry_server: None,
            refusal: Refusal::default(),
            drain: Self::DRAIN,
            probe: None,
            check_protocol: Protocol::Tcp,
            quiesce: false,
            servers: Vec::new(),
        }
    }

    /// The port that clients connect to, the first of them; 0 for all, and for a group without any.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.selectors.first().map_or(0, |selector| selector.first)
    }

    /// How long a server that leaves lvs.cf may finish what it has, unless the file says
    /// otherwise.
    pub const DRAIN: Duration = Duration::from_secs(30);
}

impl RealServer {
    /// A server without thresholds.
    #[must_use]
    pub fn new(name: &str, socket: SocketAddr, forwarding: Forwarding, weight: u16) -> Self {
        Self {
            name: name.to_owned(),
            socket,
            forwarding,
            check_port: socket.port(),
            weight,
            upper: 0,
            lower: 0,
            origin: Origin::File,
        }
    }
}

/// One `failover` block: a service of the directors themselves, which runs on the active one.
#[derive(Debug, Clone, PartialEq)]
pub struct FailoverService {
    /// The name of the block.
    pub name: String,
    /// Where clients reach it.
    pub address: SocketAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// The program that starts it, and its arguments; none if that is empty.
    pub start: Vec<String>,
    /// The same to stop it.
    pub stop: Vec<String>,
    /// How long each of them may take.
    pub limit: Duration,
    /// At which port it is checked.
    pub check_port: u16,
    /// By which protocol.
    pub check_protocol: Protocol,
    /// How it is checked.
    pub probe: Probe,
    /// For how long a node where it failed is not to take over from a partner that is heard.
    pub held: Duration,
}

impl FailoverService {
    /// What it is known by to people.
    #[must_use]
    pub fn id(&self) -> ServiceAddress {
        ServiceAddress {
            address: self.address.ip(),
            port: self.address.port(),
            protocol: self.protocol,
        }
    }
}

/// An address that moves between the directors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FloatingAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of its network prefix, in bits.
    pub prefix: u8,
    /// The interface that carries it: the part of the device name before a colon.
    pub interface: String,
    /// The whole device name as written (`eth0:1`), which becomes the label of an IPv4 address.
    pub label: String,
}

/// How nannies find out whether the servers of a service are well.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// What is tried.
    pub check: Check,
    /// Time between two checks of a server, and the limit of each step of one check.
    pub interval: Duration,
    /// How long a server that failed must have been well before it returns.
    pub reentry: Duration,
    /// How many checks in a row it must have passed besides.
    pub rise: u32,
    /// With how many failed checks in a row it leaves.
    pub fall: u32,
    /// How often a failed check is tried again before it counts.
    pub retries: u32,
    /// The limit of one try as a whole, if there is another than that of each step.
    pub limit: Option<Duration>,
    /// By how many percent the time between two checks may be shorter, so that those of many
    /// servers do not come together.
    pub jitter: u8,
    /// The half-life of what is held against servers that come and go; zero for nothing.
    pub damping: Duration,
    /// A server that returns begins with little weight.
    pub slow_start: bool,
    /// The program that tells a server's load, and its arguments, as in [`Check::Program`].
    pub load: Option<Vec<String>>,
    /// The port at which the server itself says what is to become of it.
    pub agent: Option<u16>,
    /// Where servers are asked.
    pub at: CheckedAt,
}

/// Where servers are asked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckedAt {
    /// At their own address.
    #[default]
    Server,
    /// At the virtual one, by the way that packets of clients take to them.
    Vip,
}

impl Probe {
    /// A probe that is otherwise as lvs.cf has it where it says nothing.
    #[must_use]
    pub const fn new(check: Check, interval: Duration, reentry: Duration) -> Self {
        Self {
            check,
            interval,
            reentry,
            rise: 1,
            fall: 1,
            retries: 0,
            limit: None,
            jitter: 5,
            damping: Duration::ZERO,
            slow_start: true,
            load: None,
            agent: None,
            at: CheckedAt::Server,
        }
    }
}

/// What a nanny tries.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Connect; then write `send`, if there is one; then read and compare, if there is an `expect`.
    /// Over UDP without an `expect`, only a refusal (port unreachable) is a failure.
    Talk {
        /// What is written after connecting, escapes translated.
        send: Option<Vec<u8>>,
        /// What has to come back.
        expect: Option<Expect>,
    },
    /// Run a program and compare what it prints.
    Program {
        /// The program and its arguments; an argument that is exactly `%h` or `%p` becomes the
        /// real server's address or port.
        command: Vec<String>,
        /// What it has to print, less the last newline. Without it, exit status 0 is enough.
        expect: Option<String>,
    },
    /// The same as `Talk`, inside TLS.
    Tls {
        /// The handshake.
        tls: Tls,
        /// What is written after it.
        send: Option<Vec<u8>>,
        /// What has to come back.
        expect: Option<Expect>,
    },
    /// Ask for a page.
    Http(Http),
    /// Ask `grpc.health.v1.Health/Check`, which has to say SERVING.
    Grpc(Grpc),
    /// Ask a name server.
    Dns(Question),
    /// An ICMP echo, which has to be answered.
    Icmp,
    /// Exchange the first words of a protocol.
    Greeting(Greeting),
}

impl Check {
    /// Whether it goes to a port.
    #[must_use]
    pub fn needs_port(&self) -> bool {
        match self {
            Self::Talk { .. }
            | Self::Tls { .. }
            | Self::Http(_)
            | Self::Grpc(_)
            | Self::Dns(_)
            | Self::Greeting(_) => true,
            Self::Program { command, .. } => command.iter().any(|word| word == "%p"),
            Self::Icmp => false,
        }
    }
}

/// How a TLS handshake is made and judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The name that is asked for (SNI) and that the certificate has to be for; without it, the
    /// server's address.
    pub name: Option<String>,
    /// Whether the certificate has to be good.
    pub verify: bool,
    /// Whose certificates are good, as PEM; without it, those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// With so many days left it is told that the certificate ends soon; 0 for never.
    pub warn_days: u32,
}

/// A request of HTTP and what has to come back.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// HTTP/2, by ALPN over TLS and by prior knowledge without; else HTTP/1.1.
    pub is_two: bool,
    /// Over TLS, or not.
    pub tls: Option<Tls>,
    /// HEAD; else GET.
    pub is_head: bool,
    /// Path and query.
    pub path: String,
    /// `Host`, or `:authority`; without it, address and port of the server.
    pub host: Option<String>,
    /// Status codes, from the first to the last of each pair.
    pub status: Vec<(u16, u16)>,
    /// What the beginning of the body has to look like.
    pub body: Option<Expect>,
}

/// A question about the health of a service of gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grpc {
    /// Over TLS, or not.
    pub tls: Option<Tls>,
    /// `:authority`; without it, address and port of the server.
    pub host: Option<String>,
    /// The service; empty for the server as a whole.
    pub service: String,
}

/// A question of DNS and what has to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name, without a dot at its end; empty for the root.
    pub name: String,
    /// The number of the type (1 is A).
    pub kind: u16,
    /// The response code; without one any will do.
    pub rcode: Option<u8>,
    /// What one of the records has to say.
    pub answer: Option<String>,
}

/// The first words of a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// 220, EHLO, 250, QUIT.
    Smtp {
        /// Who we are; without it, the name of this host.
        name: Option<String>,
    },
    /// The server's handshake, and its answer to ours.
    MySql {
        /// Who asks, without a password.
        user: String,
    },
    /// The answer to a startup message.
    PostgreSql {
        /// Who asks, without a password.
        user: String,
    },
    /// PING.
    Redis,
}

/// What a reply has to look like.
#[derive(Debug, Clone)]
pub enum Expect {
    /// Any byte at all (`expect = *`).
    Anything,
    /// The reply begins with these bytes.
    Prefix(Vec<u8>),
    /// The reply matches somewhere (`use_regex = 1`).
    Regex(regex::bytes::Regex),
}

impl PartialEq for Expect {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anything, Self::Anything) => true,
            (Self::Prefix(a), Self::Prefix(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Anything | Self::Prefix(_) | Self::Regex(_), _) => false,
        }
    }
}

/// How long a silent connection is remembered: `ipvsadm --set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// An established TCP connection.
    pub tcp: Duration,
    /// A TCP connection after a FIN.
    pub tcp_fin: Duration,
    /// A UDP flow.
    pub udp: Duration,
}

impl Default for Timeouts {
    /// The values of IPVS: 900 s, 120 s, 300 s.
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(900),
            tcp_fin: Duration::from_secs(120),
            udp: Duration::from_secs(300),
        }
    }
}
