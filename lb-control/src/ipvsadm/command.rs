//! What a command line asks for.

use std::net::{IpAddr, SocketAddr};

pub use super::legality::TunnelKind;
use crate::{
    model::{Method, ServiceId},
    sync::ipvs::daemon::{SyncDaemon, SyncRole},
};

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `-h`
    Help,
    /// `-v`
    Version,
    /// `-L`
    List(List),
    /// `-S`
    Save {
        /// With addresses instead of names.
        numeric: bool,
    },
    /// `-R`
    Restore,
    /// A change.
    Change(Wish),
}

/// A change, as ipvsadm says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// `-A`
    AddService(Service),
    /// `-E`
    EditService(Service),
    /// `-D`
    DeleteService(ServiceId),
    /// `-a`
    AddServer(Server),
    /// `-e`
    EditServer(Server),
    /// `-d`
    DeleteServer(ServiceId, SocketAddr),
    /// `-C`
    Clear,
    /// `-Z`
    Zero(Option<ServiceId>),
    /// `--start-daemon`
    StartDaemon(SyncRole, SyncDaemon),
    /// `--stop-daemon`, with `--syncid`, which IPVS does not heed.
    StopDaemon(SyncRole, u8),
    /// `--set`, in seconds; 0 leaves one as it is.
    SetTimeouts {
        /// An established TCP connection.
        tcp: u32,
        /// A TCP connection in FIN_WAIT.
        tcp_fin: u32,
        /// A UDP flow.
        udp: u32,
    },
}

/// What `-A` and `-E` say of a virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Which.
    pub service: ServiceId,
    /// `-s`; any word.
    pub scheduler: String,
    /// `-b`: the bits of IPVS.
    pub flags: u32,
    /// `-p`, in seconds.
    pub persistent: Option<u32>,
    /// `-M`
    pub mask: IpAddr,
    /// `-o`
    pub one_packet: bool,
    /// `--pe`; empty for none.
    pub engine: String,
}

impl Service {
    /// `sh-fallback`, `mh-fallback`, `flag-1`
    pub const FALLBACK: u32 = 0x8;
    /// `sh-port`, `mh-port`, `flag-2`
    pub const PORT: u32 = 0x10;
    /// `flag-3`
    pub const THIRD: u32 = 0x20;
}

/// What `-a` and `-e` say of a real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Whose.
    pub service: ServiceId,
    /// Which.
    pub server: SocketAddr,
    /// `-g`, `-i`, `-m`
    pub method: Method,
    /// `--tun-type` and what belongs to it.
    pub tunnel: TunnelWish,
    /// `-w`
    pub weight: u16,
    /// `-x`
    pub upper: u32,
    /// `-y`
    pub lower: u32,
}

/// What is said of a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TunnelWish {
    /// `--tun-type`
    pub kind: TunnelKind,
    /// `--tun-port`; 0 if none was said.
    pub port: u16,
    /// `--tun-csum`
    pub checksum: bool,
    /// `--tun-remcsum`
    pub remote_checksum: bool,
}

/// What is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Of what.
    pub what: Listed,
    /// With addresses instead of names.
    pub numeric: bool,
    /// In order.
    pub sorted: bool,
    /// Large numbers in full.
    pub exact: bool,
}

/// Of what there is a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// Services and their servers.
    Table {
        /// One service only.
        of: Option<ServiceId>,
        /// What is shown of them.
        columns: Columns,
    },
    /// `-c`
    Connections {
        /// `--persistent-conn`
        engines: bool,
    },
    /// `--timeout`
    Timeouts,
    /// `--daemon`
    Daemons,
}

/// What is shown of services and servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Scheduler, method, weight, connections.
    Plain,
    /// `--stats`
    Stats,
    /// `--rate`
    Rate,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    Persistent,
    /// `--tun-info`
    Tunnels,
}
