//! The values of a file with defaults filled in, exactly as Piranha held them: serialized, they
//! have the shape and the names of its parser's structures. What they mean is told in `model.rs`.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{
    directives::{ServerKey, ServiceKey},
    document::{Server, Service},
    source::Span,
    values::{NO_ADDRESS, Netmask, Quoted, Time},
};
use crate::{
    heartbeat::{director::Format, key::Key, wire::Authentication},
    model::{CheckedAt, Method, Protocol, Refusal, Selector},
};

/// Everything in a file.
#[derive(Debug, Serialize)]
pub struct Settings<'d> {
    /// Outside of blocks.
    pub global: GlobalSettings,
    /// The `virtual` blocks.
    #[serde(rename = "virtual")]
    pub virtuals: Vec<ServiceSettings<'d>>,
    /// The `failover` blocks.
    #[serde(rename = "failover")]
    pub failovers: Vec<ServiceSettings<'d>>,
}

/// Which blocks are live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The `virtual` blocks: load is balanced.
    Lvs,
    /// The `failover` blocks: services move between the directors.
    Fos,
}

/// The directives outside of blocks; see the table of directives for their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
pub struct GlobalSettings {
    pub serial_no: i32,
    pub primary: IpAddr,
    pub primary_private: IpAddr,
    pub primary_shared: Option<String>,
    pub backup: IpAddr,
    pub backup_private: IpAddr,
    pub backup_shared: Option<String>,
    #[serde(serialize_with = "zero_or_one")]
    pub backup_active: bool,
    #[serde(serialize_with = "zero_or_one")]
    pub heartbeat: bool,
    pub heartbeat_port: i32,
    pub keepalive: Time,
    pub deadtime: Time,
    pub service: Mode,
    pub network: Method,
    pub nat_router: IpAddr,
    #[serde(skip)]
    pub nat_router_prefix: Option<u8>,
    pub nat_router_dev: Option<String>,
    pub nat_nmask: Netmask,
    pub monitor_links: i32,
    #[serde(serialize_with = "zero_or_one")]
    pub syncdaemon: bool,
    pub syncd_iface: String,
    pub syncd_id: i32,
    pub tcp_timeout: Time,
    pub tcpfin_timeout: Time,
    pub udp_timeout: Time,
    #[serde(serialize_with = "zero_or_one")]
    pub hard_shutdown: bool,
    pub active_cmd: Option<String>,
    pub inactive_cmd: Option<String>,
    pub rsh_command: String,
    pub debug_level: String,
    pub ipvsadm: String,
    pub reservation_conflict_action: Option<&'static str>,
    #[serde(skip)]
    pub ours: OwnGlobalSettings,
}

/// Those of them that are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are switches of the file, each on its own"
)]
pub struct OwnGlobalSettings {
    pub expire_nodest_conn: bool,
    pub expire_quiescent_template: bool,
    pub conn_reuse_mode: u8,
    pub sloppy_tcp: bool,
    pub sloppy_sctp: bool,
    pub schedule_icmp: bool,
    pub pmtu_disc: bool,
    pub stateless_above: i32,
    pub answers_per_second: i32,
    pub snat_ports: Ports,
    pub mh_secret: Option<String>,
    pub failback: bool,
    pub heartbeat_format: Format,
    pub heartbeat_keys: Vec<Key>,
    pub heartbeat_key_file: Option<String>,
    pub heartbeat_auth: Authentication,
    pub track_gateway: IpAddr,
    pub command_timeout: Time,
    pub flow_table: Option<i32>,
    pub half_open: Option<i32>,
    pub syncd_port: i32,
    pub syncd_compat: bool,
}

impl Default for OwnGlobalSettings {
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
            answers_per_second: 1_000,
            snat_ports: Ports {
                first: 1_024,
                last: Some(32_767),
            },
            mh_secret: None,
            failback: false,
            heartbeat_format: Format::Own,
            heartbeat_keys: Vec::new(),
            heartbeat_key_file: None,
            heartbeat_auth: Authentication::Enforce,
            track_gateway: NO_ADDRESS,
            command_timeout: Time::seconds(10),
            flow_table: None,
            half_open: None,
            syncd_port: 8_849,
            syncd_compat: false,
        }
    }
}

/// A port, or all from the first to the last of a range. Out of range as written, as Piranha held
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The port, or the first one; 0 for all.
    pub first: i32,
    /// The last one of a range.
    pub last: Option<i32>,
}

/// How packets reach the servers of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// Masquerading.
    Nat,
    /// Masquerading at both ends.
    FullNat,
    /// A new MAC address only.
    Direct,
    /// Inside another packet.
    Tunnel,
}

/// What stands round packets in a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelType {
    /// Nothing.
    Ipip,
    /// A GRE header.
    Gre,
    /// UDP and GUE headers.
    Gue,
}

/// One `address` of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// The virtual IP.
    pub address: IpAddr,
    /// From `address/prefix`.
    pub prefix: Option<u8>,
    /// The device that carries it.
    pub dev: String,
    /// Where it is said.
    pub span: Span,
}

/// What one `match` puts into a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// An address and its ports.
    pub selector: Selector,
    /// Where it is said.
    pub span: Span,
}

impl Default for GlobalSettings {
    fn default() -> Self {
        Self {
            serial_no: 0,
            primary: NO_ADDRESS,
            primary_private: NO_ADDRESS,
            primary_shared: None,
            backup: NO_ADDRESS,
            backup_private: NO_ADDRESS,
            backup_shared: None,
            backup_active: false,
            heartbeat: false,
            heartbeat_port: 539,
            keepalive: Time::seconds(2),
            deadtime: Time::seconds(5),
            service: Mode::Lvs,
            network: Method::Nat,
            nat_router: NO_ADDRESS,
            nat_router_prefix: None,
            nat_router_dev: None,
            nat_nmask: Netmask::NONE,
            monitor_links: 0,
            syncdaemon: false,
            syncd_iface: "eth0".into(),
            syncd_id: 0,
            tcp_timeout: Time::seconds(0),
            tcpfin_timeout: Time::seconds(0),
            udp_timeout: Time::seconds(0),
            hard_shutdown: true,
            active_cmd: None,
            inactive_cmd: None,
            rsh_command: "rsh".into(),
            debug_level: "NONE".into(),
            ipvsadm: "/sbin/ipvsadm".into(),
            reservation_conflict_action: None,
            ours: OwnGlobalSettings::default(),
        }
    }
}

/// A `virtual` or `failover` block; see the table of directives for the meaning of its fields.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
pub struct ServiceSettings<'d> {
    #[serde(skip)]
    pub block: &'d Service,
    /// Directives with values that could not be read, which has been said.
    #[serde(skip)]
    pub unread: Vec<ServiceKey>,
    pub name: &'d str,
    #[serde(serialize_with = "zero_or_one")]
    pub active: bool,
    pub address: IpAddr,
    pub dev: Option<String>,
    pub vip_nmask: Netmask,
    pub port: i32,
    pub protocol: Protocol,
    pub fwmark: u32,
    pub scheduler: &'static str,
    pub persistent: Time,
    pub pmask: Netmask,
    pub sorry_server: IpAddr,
    pub send: Option<Quoted>,
    pub expect: Option<Quoted>,
    #[serde(serialize_with = "zero_or_one")]
    pub use_regex: bool,
    pub send_program: Option<Quoted>,
    pub timeout: Time,
    pub reentry: Time,
    #[serde(serialize_with = "zero_or_one")]
    pub quiesce_server: bool,
    pub load_monitor: Option<String>,
    pub client_monitor: String,
    pub start_cmd: Option<Quoted>,
    pub stop_cmd: Option<Quoted>,
    #[serde(skip)]
    pub ours: OwnServiceSettings,
    pub servers: Vec<ServerSettings<'d>>,
}

impl ServiceSettings<'_> {
    /// The virtual IP, the first one if there are several.
    pub(super) fn vip(&self) -> IpAddr {
        let first = self.ours.addresses.first();
        first.map_or(NO_ADDRESS, |first| first.address)
    }
}

impl<'d> ServiceSettings<'d> {
    /// A block without directives.
    pub(super) fn new(block: &'d Service) -> Self {
        Self {
            block,
            unread: Vec::new(),
            name: &block.name.text,
            active: false,
            address: NO_ADDRESS,
            dev: None,
            vip_nmask: Netmask::NONE,
            port: 80,
            protocol: Protocol::Tcp,
            fwmark: 0,
            scheduler: "wlc",
            persistent: Time::seconds(0),
            pmask: Netmask::NONE,
            sorry_server: NO_ADDRESS,
            send: None,
            expect: None,
            use_regex: false,
            send_program: None,
            timeout: Time::seconds(10),
            reentry: Time::seconds(180),
            quiesce_server: false,
            load_monitor: None,
            client_monitor: "/usr/sbin/nanny".into(),
            start_cmd: None,
            stop_cmd: None,
            ours: OwnServiceSettings::default(),
            servers: Vec::new(),
        }
    }
}

/// Those that are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
pub struct OwnServiceSettings {
    /// Each `address` of the block, in order. Piranha held the last one.
    pub addresses: Vec<Addressed>,
    /// The last port, if `port` is a range.
    pub last_port: Option<i32>,
    /// The port of `sorry_server`, if it has one.
    pub sorry_port: Option<u16>,
    pub matches: Vec<Matched>,
    pub method: Option<Forwarding>,
    pub tunnel_type: TunnelType,
    pub tunnel_port: i32,
    pub tunnel_checksum: bool,
    pub sched_flags: Vec<&'static str>,
    pub ops: bool,
    pub refuse: Refusal,
    pub drain: Time,
    pub check_port: Option<i32>,
    pub check: OwnCheckSettings,
    pub rise: Option<i32>,
    pub fall: i32,
    pub damping: Time,
    pub slow_start: bool,
    pub agent_port: Option<i32>,
}

/// `check`, and what begins with `check_`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
pub struct OwnCheckSettings {
    pub at: CheckedAt,
    pub kind: Option<&'static str>,
    pub timeout: Option<Time>,
    pub retries: i32,
    pub jitter: i32,
    pub method: &'static str,
    pub path: String,
    pub host: Option<String>,
    pub sni: Option<String>,
    pub status: String,
    pub body: Option<String>,
    pub verify: bool,
    pub ca: Option<String>,
    pub expiry: i32,
    pub name: String,
    pub record: &'static str,
    pub rcode: &'static str,
    pub answer: Option<String>,
    pub user: String,
}

impl Default for OwnCheckSettings {
    fn default() -> Self {
        Self {
            at: CheckedAt::Server,
            kind: None,
            timeout: None,
            retries: 0,
            jitter: 5,
            method: "GET",
            path: "/".into(),
            host: None,
            sni: None,
            status: "200-399".into(),
            body: None,
            verify: true,
            ca: None,
            expiry: 14,
            name: String::new(),
            record: "SOA",
            rcode: "NOERROR",
            answer: None,
            user: "lb".into(),
        }
    }
}

impl Default for OwnServiceSettings {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            last_port: None,
            sorry_port: None,
            matches: Vec::new(),
            method: None,
            tunnel_type: TunnelType::Ipip,
            tunnel_port: 6080,
            tunnel_checksum: false,
            sched_flags: Vec::new(),
            ops: false,
            refuse: Refusal::Reset,
            drain: Time::seconds(30),
            check_port: None,
            check: OwnCheckSettings::default(),
            rise: None,
            fall: 1,
            damping: Time::seconds(0),
            slow_start: true,
            agent_port: None,
        }
    }
}

/// A `server` block.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the fields are the directives, documented in their table"
)]
pub struct ServerSettings<'d> {
    #[serde(skip)]
    pub block: &'d Server,
    /// Directives with values that could not be read, which has been said.
    #[serde(skip)]
    pub unread: Vec<ServerKey>,
    pub name: &'d str,
    pub address: IpAddr,
    #[serde(serialize_with = "zero_or_one")]
    pub active: bool,
    pub port: i32,
    pub weight: i32,
    #[serde(skip)]
    pub quiesced: bool,
    #[serde(skip)]
    pub upper_threshold: i32,
    #[serde(skip)]
    pub lower_threshold: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn zero_or_one<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}
