//! The values of a file with defaults filled in, exactly as Piranha held them: serialized, they
//! have the shape and the names of its parser's structures. What they mean is told in `model.rs`.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{
    directives::{ServerKey, ServiceKey},
    document::{Server, Service},
    values::{NO_ADDRESS, Netmask, Quoted},
};
use crate::model::{Method, Protocol};

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
    pub keepalive: i32,
    pub deadtime: i32,
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
    pub tcp_timeout: i32,
    pub tcpfin_timeout: i32,
    pub udp_timeout: i32,
    #[serde(serialize_with = "zero_or_one")]
    pub hard_shutdown: bool,
    pub active_cmd: Option<String>,
    pub inactive_cmd: Option<String>,
    pub rsh_command: String,
    pub debug_level: String,
    pub ipvsadm: String,
    pub reservation_conflict_action: Option<&'static str>,
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
            keepalive: 2,
            deadtime: 5,
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
            tcp_timeout: 0,
            tcpfin_timeout: 0,
            udp_timeout: 0,
            hard_shutdown: true,
            active_cmd: None,
            inactive_cmd: None,
            rsh_command: "rsh".into(),
            debug_level: "NONE".into(),
            ipvsadm: "/sbin/ipvsadm".into(),
            reservation_conflict_action: None,
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
    #[serde(skip)]
    pub prefix: Option<u8>,
    pub dev: Option<String>,
    pub vip_nmask: Netmask,
    pub port: i32,
    pub protocol: Protocol,
    pub fwmark: u32,
    pub scheduler: &'static str,
    pub persistent: i32,
    pub pmask: Netmask,
    pub sorry_server: IpAddr,
    pub send: Option<Quoted>,
    pub expect: Option<Quoted>,
    #[serde(serialize_with = "zero_or_one")]
    pub use_regex: bool,
    pub send_program: Option<Quoted>,
    pub timeout: i32,
    pub reentry: i32,
    #[serde(serialize_with = "zero_or_one")]
    pub quiesce_server: bool,
    pub load_monitor: Option<String>,
    pub client_monitor: String,
    pub start_cmd: Option<Quoted>,
    pub stop_cmd: Option<Quoted>,
    pub servers: Vec<ServerSettings<'d>>,
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
            prefix: None,
            dev: None,
            vip_nmask: Netmask::NONE,
            port: 80,
            protocol: Protocol::Tcp,
            fwmark: 0,
            scheduler: "wlc",
            persistent: 0,
            pmask: Netmask::NONE,
            sorry_server: NO_ADDRESS,
            send: None,
            expect: None,
            use_regex: false,
            send_program: None,
            timeout: 10,
            reentry: 180,
            quiesce_server: false,
            load_monitor: None,
            client_monitor: "/usr/sbin/nanny".into(),
            start_cmd: None,
            stop_cmd: None,
            servers: Vec::new(),
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
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn zero_or_one<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}
