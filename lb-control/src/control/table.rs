//! The routing table as it is: the answer to `GET /v1/table`.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::model::Origin;
use crate::{
    model::{Forwarding, Scheduler, SchedulerFlags, Selector, ServiceId},
    sync::ipvs::daemon::{SyncDaemon, SyncRole},
};

/// The routing table as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Table {
    /// How long silent connections are remembered.
    pub timeouts: TimeoutsRow,
    /// The virtual services; the order is no promise.
    pub services: Vec<ServiceRow>,
    /// Who tells or hears of connections in the language of IPVS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync_daemons: Vec<SyncDaemonRow>,
}

/// A sync daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncDaemonRow {
    /// Whether it tells or listens.
    pub role: SyncRole,
    /// Where it comes from.
    pub origin: Origin,
    /// Which multicasts.
    pub daemon: SyncDaemon,
}

/// Timeouts in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimeoutsRow {
    /// An established TCP connection.
    pub tcp: u32,
    /// A TCP connection in FIN_WAIT.
    pub tcp_fin: u32,
    /// A UDP flow.
    pub udp: u32,
}

/// A virtual service of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceRow {
    /// What it is known by.
    pub service: ServiceId,
    /// What it is called.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What belongs to it.
    pub matches: Vec<Selector>,
    /// Who gets the next connection.
    pub scheduler: Scheduler,
    /// How the scheduler does it.
    pub flags: SchedulerFlags,
    /// How long clients stay with their server, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<PersistenceRow>,
    /// Every datagram is scheduled by itself.
    pub one_packet: bool,
    /// How packets reach servers that say nothing else.
    pub forwarding: Forwarding,
    /// What all its servers counted, those that have left too.
    pub counts: Counts,
    /// How much of it comes in a second.
    pub rates: Counts,
    /// Its real servers, those that are out of the table too; the order is no promise.
    pub servers: Vec<ServerRow>,
}

/// How long clients stay with their server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PersistenceRow {
    /// Seconds after its last connection.
    pub timeout: u32,
    /// Clients whose addresses this mask makes equal are one.
    #[schema(value_type = String, example = "255.255.255.0")]
    pub mask: IpAddr,
    /// The name of a persistence engine, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// A real server of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerRow {
    /// Where it listens.
    #[schema(value_type = String, example = "10.0.0.11:80")]
    pub server: SocketAddr,
    /// What it is called.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it is in the table: one whose checks fail, or that was taken out by command, is not. (IPVS
    /// would not list it.)
    pub present: bool,
    /// How packets reach it.
    pub forwarding: Forwarding,
    /// Its address is one of this router.
    pub local: bool,
    /// Its share of connections now: 0 while it is quiesced or drained.
    pub weight: u16,
    /// Its share as it was said.
    pub configured_weight: u16,
    /// With as many connections it gets no more; 0 for no limit.
    pub upper: u32,
    /// With fewer it gets some again.
    pub lower: u32,
    /// Established connections.
    pub active: u32,
    /// All others.
    pub inactive: u32,
    /// Clients that stay with it.
    pub persistent: u32,
    /// What it counted.
    pub counts: Counts,
    /// How much of it comes in a second.
    pub rates: Counts,
}

/// What was counted, or how much of it comes in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Connections that were scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; none where servers answer by themselves.
    pub packets_out: u64,
    /// Bytes from clients, from the IP header on.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}
