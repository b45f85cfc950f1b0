//! What Piranha's parser answered: the values that it held, or why and where it stopped. Serialized, an
//! answer has the names and the numbers of its structures.

use std::net::Ipv4Addr;

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Everything that Piranha's parser said about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The file was loaded.
    Loaded(Box<Configuration>),
    /// It was not.
    Refused(Refusal),
}

impl Answer {
    /// Whether Piranha would have started with the file.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        matches!(self, Self::Loaded(_))
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("Answer", 4)?;
        answer.serialize_field("ok", &self.is_loaded())?;
        match self {
            Self::Loaded(configuration) => {
                answer.serialize_field("global", &configuration.global)?;
                answer.serialize_field("virtual", &configuration.virtuals)?;
                answer.serialize_field("failover", &configuration.failovers)?;
            }
            Self::Refused(refusal) => {
                answer.serialize_field("code", &refusal.fault.code())?;
                answer.serialize_field("line", &refusal.line)?;
                answer.serialize_field("text", refusal.fault.text())?;
            }
        }
        answer.end()
    }
}

/// Where Piranha's parser stopped, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub fault: Fault,
    /// The line, counted as Piranha did: from 1, and 0 for an empty file.
    pub line: usize,
    /// The bytes of the file that it is about.
    pub place: std::ops::Range<usize>,
}

/// Piranha's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The file has no byte.
    Empty,
    /// Quotes do not match (outside of blocks).
    Quotation,
    /// There is more in the line than the directive takes.
    Unexpected,
    /// A directive's name is not followed by `=`.
    NoEquals,
    /// There is less in the line than the directive takes, or the quotes do not match (in a block).
    Missing,
    /// The address 0.0.0.0 where it must not be.
    Host,
    /// A word that means nothing here, or a name that nobody knows.
    Argument,
    /// No number.
    Integer,
    /// A number that is neither 0 nor 1.
    Boolean,
    /// No such directive in this place.
    Command,
    /// No brackets.
    List,
    /// No netmask.
    Netmask,
}

impl Fault {
    /// Its number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Empty => 1,
            Self::Quotation => 3,
            Self::Unexpected => 5,
            Self::NoEquals => 6,
            Self::Missing => 7,
            Self::Host => 8,
            Self::Argument => 9,
            Self::Integer => 10,
            Self::Boolean => 11,
            Self::Command => 12,
            Self::List => 13,
            Self::Netmask => 16,
        }
    }

    /// Its text.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Empty => "Empty configuration",
            Self::Quotation => "quotation mismatch",
            Self::Unexpected => "unexpected arguments",
            Self::NoEquals => "equal (=) expected after command",
            Self::Missing => "missing arguments",
            Self::Host => "invalid host name or ip address",
            Self::Argument => "invalid argument",
            Self::Integer => "integer expected",
            Self::Boolean => "boolean expected",
            Self::Command => "unknown command",
            Self::List => "list expected",
            Self::Netmask => "Bad subnet mask specified",
        }
    }
}

/// A file as Piranha held it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    missing_docs,
    reason = "the fields are the parts of the file, documented in docs/lvs.cf.md"
)]
pub struct Configuration {
    pub global: Global,
    pub virtuals: Vec<Service>,
    pub failovers: Vec<Service>,
}

/// The directives outside of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
pub struct Global {
    pub serial_no: i32,
    pub primary: Ipv4Addr,
    pub primary_private: Ipv4Addr,
    pub backup: Ipv4Addr,
    pub backup_private: Ipv4Addr,
    pub nat_router: Ipv4Addr,
    pub nat_router_dev: Option<String>,
    pub nat_nmask: Ipv4Addr,
    pub backup_active: u8,
    pub heartbeat: u8,
    pub heartbeat_port: i32,
    pub keepalive: i32,
    pub deadtime: i32,
    pub rsh_command: String,
    pub debug_level: String,
    pub ipvsadm: String,
    pub network: &'static str,
    pub service: &'static str,
    pub syncdaemon: u8,
    pub syncd_id: i32,
    pub syncd_iface: String,
    pub active_cmd: Option<String>,
    pub inactive_cmd: Option<String>,
    pub primary_shared: Option<String>,
    pub backup_shared: Option<String>,
    pub reservation_conflict_action: Option<&'static str>,
    pub monitor_links: i32,
    pub hard_shutdown: u8,
    pub tcp_timeout: i32,
    pub tcpfin_timeout: i32,
    pub udp_timeout: i32,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            serial_no: 0,
            primary: Ipv4Addr::UNSPECIFIED,
            primary_private: Ipv4Addr::UNSPECIFIED,
            backup: Ipv4Addr::UNSPECIFIED,
            backup_private: Ipv4Addr::UNSPECIFIED,
            nat_router: Ipv4Addr::UNSPECIFIED,
            nat_router_dev: None,
            nat_nmask: Ipv4Addr::UNSPECIFIED,
            backup_active: 0,
            heartbeat: 0,
            heartbeat_port: 539,
            keepalive: 2,
            deadtime: 5,
            rsh_command: "rsh".into(),
            debug_level: "NONE".into(),
            ipvsadm: "/sbin/ipvsadm".into(),
            network: "nat",
            service: "lvs",
            syncdaemon: 0,
            syncd_id: 0,
            syncd_iface: "eth0".into(),
            active_cmd: None,
            inactive_cmd: None,
            primary_shared: None,
            backup_shared: None,
            reservation_conflict_action: None,
            monitor_links: 0,
            hard_shutdown: 1,
            tcp_timeout: 0,
            tcpfin_timeout: 0,
            udp_timeout: 0,
        }
    }
}

/// A `virtual` or `failover` block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
pub struct Service {
    pub name: String,
    pub active: u8,
    pub address: Ipv4Addr,
    pub dev: Option<String>,
    pub vip_nmask: Ipv4Addr,
    pub sorry_server: Ipv4Addr,
    pub fwmark: u32,
    pub protocol: &'static str,
    pub port: i32,
    pub scheduler: &'static str,
    pub persistent: i32,
    pub pmask: Ipv4Addr,
    pub send: Option<String>,
    pub expect: Option<String>,
    pub send_program: Option<String>,
    pub use_regex: u8,
    pub timeout: i32,
    pub reentry: i32,
    pub quiesce_server: u8,
    pub load_monitor: Option<String>,
    pub client_monitor: String,
    pub start_cmd: Option<String>,
    pub stop_cmd: Option<String>,
    pub servers: Vec<Server>,
}

impl Service {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            active: 0,
            address: Ipv4Addr::UNSPECIFIED,
            dev: None,
            vip_nmask: Ipv4Addr::UNSPECIFIED,
            sorry_server: Ipv4Addr::UNSPECIFIED,
            fwmark: 0,
            protocol: "tcp",
            port: 80,
            scheduler: "wlc",
            persistent: 0,
            pmask: Ipv4Addr::UNSPECIFIED,
            send: None,
            expect: None,
            send_program: None,
            use_regex: 0,
            timeout: 10,
            reentry: 180,
            quiesce_server: 0,
            load_monitor: None,
            client_monitor: "/usr/sbin/nanny".into(),
            start_cmd: None,
            stop_cmd: None,
            servers: Vec::new(),
        }
    }
}

/// A `server` block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
pub struct Server {
    pub name: String,
    pub address: Ipv4Addr,
    pub active: u8,
    pub port: i32,
    pub weight: i32,
}
