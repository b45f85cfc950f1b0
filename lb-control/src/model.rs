//! What the director knows of its site: services, real servers, addresses. No text of lvs.cf and
//! no bytes of maps: this is what both are translated to.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Everything that lvs.cf says, checked and with defaults filled in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Site {
    /// The virtual services that are switched on, in the order of the file.
    pub services: Vec<VirtualService>,
    /// The floating addresses that the active director holds, each once.
    pub addresses: Vec<FloatingAddress>,
    /// How long a silent connection is remembered.
    pub timeouts: Timeouts,
}

/// One `virtual` block: an address and port that clients know, and the servers behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualService {
    /// The name of the block.
    pub name: String,
    /// What clients connect to.
    pub key: ServiceAddress,
    /// How packets reach the real servers.
    pub method: Method,
    /// Who gets the next connection.
    pub scheduler: Scheduler,
    /// How nannies find out whether a server is well.
    pub probe: Probe,
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
    /// The virtual port.
    pub port: u16,
    /// TCP or UDP.
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

/// A transport protocol that is balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, by the state table of IPVS.
    Tcp,
    /// UDP; a flow is a pair of sockets.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// How a packet reaches its real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Masquerading: destination address and port are rewritten, replies come back this way.
    Nat,
    /// Only the MAC address is rewritten; the server holds the virtual IP and answers by itself.
    Direct,
    /// IP-in-IP: the packet travels inside another; the server answers by itself.
    Tunnel,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin, interleaved.
    Wrr,
    /// Weighted least connections.
    Wlc,
    /// By the client's address.
    Sh,
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Wlc => "wlc",
            Self::Sh => "sh",
        })
    }
}

/// One `server` block of a virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// The name of the block.
    pub name: String,
    /// Where the server listens. Only masquerading can change the port.
    pub socket: SocketAddr,
    /// Its share of connections, 1 to 65535.
    pub weight: u16,
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
