//! What is changed by command, besides what lvs.cf says: the body of `POST /v1/changes`.
//!
//! A request is a list of changes, of which all are made or none.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    model::{Forwarding, Refusal, Scheduler, SchedulerFlags, Selector, ServiceId},
    sync::ipvs::daemon::{SyncDaemon, SyncRole},
};

/// A list of changes, of which all are made or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// In this order.
    pub changes: Vec<Change>,
    /// It is only asked whether they could be made.
    #[serde(default)]
    pub dry_run: bool,
}

/// One change of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// A virtual service comes (`ipvsadm -A`).
    AddService {
        /// Which.
        service: ServiceId,
        /// As said; what is left out is as by default.
        #[serde(default)]
        terms: ServiceTerms,
    },
    /// A virtual service becomes different (`ipvsadm -E`).
    EditService {
        /// Which.
        service: ServiceId,
        /// As said; what is left out stays.
        terms: ServiceTerms,
    },
    /// A virtual service goes (`ipvsadm -D`).
    RemoveService {
        /// Which.
        service: ServiceId,
    },
    /// A real server comes (`ipvsadm -a`).
    AddServer {
        /// Whose.
        service: ServiceId,
        /// Where it listens.
        #[schema(value_type = String, example = "10.0.0.11:80")]
        server: SocketAddr,
        /// As said; what is left out is as by default.
        #[serde(default)]
        terms: ServerTerms,
    },
    /// A real server becomes different (`ipvsadm -e`).
    EditServer {
        /// Whose.
        service: ServiceId,
        /// Where it listens.
        #[schema(value_type = String, example = "10.0.0.11:80")]
        server: SocketAddr,
        /// As said; what is left out stays.
        terms: ServerTerms,
    },
    /// A real server goes (`ipvsadm -d`). It may finish what it has, as when it leaves lvs.cf.
    RemoveServer {
        /// Whose.
        service: ServiceId,
        /// Where it listens.
        #[schema(value_type = String, example = "10.0.0.11:80")]
        server: SocketAddr,
    },
    /// All virtual services go (`ipvsadm -C`).
    Clear,
    /// How long silent connections are remembered (`ipvsadm --set`), in seconds; 0 leaves one as it is.
    SetTimeouts {
        /// An established TCP connection.
        tcp: u32,
        /// A TCP connection in FIN_WAIT.
        tcp_fin: u32,
        /// A UDP flow.
        udp: u32,
    },
    /// Counters begin anew (`ipvsadm -Z`).
    Zero {
        /// Those of one service; else all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceId>,
    },
    /// A daemon begins to tell of connections, or to hear of them, in the language of IPVS (`ipvsadm --start-daemon`).
    StartSyncDaemon {
        /// Which of both.
        role: SyncRole,
        /// Which multicasts.
        daemon: SyncDaemon,
    },
    /// It ends (`ipvsadm --stop-daemon`).
    StopSyncDaemon {
        /// Which of both.
        role: SyncRole,
    },
    /// All changes that were made by command are forgotten: the table is what lvs.cf says.
    Revert,
}

/// What is said of a virtual service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceTerms {
    /// What it is called; by default as [`ServiceId`] is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who gets the next connection; by default wlc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// How the scheduler does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<SchedulerFlags>,
    /// Seconds that a client stays with its server; 0 for not at all, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent: Option<u32>,
    /// Clients whose addresses this mask makes equal are one; of the family of the service; by default all
    /// ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "255.255.255.0")]
    pub mask: Option<IpAddr>,
    /// The name of a persistence engine (`sip`), empty for none. It is kept and shown; clients are told
    /// apart by their addresses all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Every datagram is scheduled by itself; UDP, or a group, only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_packet: Option<bool>,
    /// What belongs to a group. A service that is no group has its own address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Vec<Selector>>,
    /// How packets reach servers that say nothing else; by default [`Forwarding::Direct`], as with ipvsadm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
    /// What clients get while there is no server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<Refusal>,
    /// Seconds that a server which leaves may finish what it has; by default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<u32>,
    /// The server that clients get while there is no other; `null` leaves it, port 0 is that of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.0.0.11:80")]
    pub sorry_server: Option<SocketAddr>,
}

/// What is said of a real server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTerms {
    /// What it is called; by default as its address and port are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How packets reach it; by default as the service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
    /// Its share of connections, 0 to 65535; by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// With as many connections it gets no more; 0 for no limit, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<u32>,
    /// With fewer it gets some again; 0 for three quarters of `upper`, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<u32>,
}

/// Why a list of changes was not made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, ToSchema)]
#[error("{text}")]
pub struct Refused {
    /// Which change it was, from 0 on; none if it was no single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Why, for programs.
    pub why: Why,
    /// Why, for people, in one line.
    pub text: String,
}

/// Why a change cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// There is such a service already.
    ServiceExists,
    /// There is no such service.
    NoService,
    /// The service has such a server already.
    ServerExists,
    /// The service has no such server.
    NoServer,
    /// Connections are synchronised already: by such a daemon, or as lvs.cf says.
    DaemonRuns,
    /// There is no such daemon.
    NoDaemon,
    /// There is no such interface.
    NoInterface,
    /// The terms cannot be, or do not go together.
    Invalid,
    /// There is no room for it in the tables.
    Full,
    /// The system refused it.
    Failed,
}

/// What became of a list of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Made {
    /// How many services, servers and settings are different now.
    pub changed: usize,
    /// What there is to say about it besides, a line each.
    pub notes: Vec<String>,
}
