//! How things are: what `lb status` shows.

pub mod columns;
pub mod connections;
pub mod failover;
pub mod measured;
pub mod pair;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;
mod text;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use lb_common::{
    maps::{InterfaceTraffic, Traffic},
    verdict::Fate,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    control::name::{self, Unknown},
    counters::Counters,
    dataplane::Dataplane,
    drain::{self, Drain},
    health::{State as NannyState, Status as NannyStatus},
    ids::Ids,
    journal::since_1970,
    model::{Forwarding, Method, Protocol, Scheduler, ServiceId, VirtualService},
    network::next_hop::Resolution,
    plan::{Holding, Plan},
    state::{Override, Part, State},
};

/// The answer to `lb status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusReport {
    /// The part this node plays.
    pub role: Role,
    /// The partner, if there is to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<pair::PairStatus>,
    /// Connection synchronisation, if it is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<connections::SyncStatus>,
    /// The interfaces that the program is attached to.
    pub interfaces: Vec<InterfaceStatus>,
    /// The virtual services, in the order of lvs.cf.
    pub services: Vec<ServiceStatus>,
    /// The failover services, in the order of lvs.cf; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failovers: Vec<failover::FailoverStatus>,
    /// Servers that are no longer asked for and finish what they have.
    pub leaving: Vec<LeavingStatus>,
    /// The flow tables.
    pub flows: FlowStatus,
    /// How much memory the maps take.
    pub memory: MemoryStatus,
    /// How many packets were not steered, by reason; those that never happened are left out.
    pub unsteered: Vec<ReasonCount>,
    /// What else happened, and how often; what never did is left out.
    pub events: Vec<EventCount>,
    /// What came in by interfaces, by index, until somebody knows their names.
    #[serde(skip)]
    counted: Vec<(u32, InterfaceTraffic)>,
}

/// The part a node plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It holds the virtual addresses.
    Active,
    /// It could take over.
    Standby,
    /// It has just begun to listen for its partner.
    Starting,
    /// Its addresses are coming off.
    Leaving,
    /// It is about to end.
    Stopping,
}

impl Role {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Starting => "starting",
            Self::Leaving => "leaving",
            Self::Stopping => "stopping",
        }
    }
}

/// An interface with the program on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `native` or `generic`.
    pub mode: String,
    /// Its index.
    pub index: u32,
    /// Packets that came in by it.
    pub packets: u64,
    /// Their bytes, link header included.
    pub bytes: u64,
    /// Packets that were sent on, or answered.
    pub steered: u64,
    /// Packets that went up to the kernel's own stack.
    pub passed: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// A server that finishes what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeavingStatus {
    /// The service that it worked for.
    pub service: ServiceId,
    /// Its address.
    #[schema(value_type = String, example = "192.0.2.10")]
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How packets reach it.
    pub method: Method,
    /// Flows that it has to finish.
    pub open: u32,
    /// Seconds until the rest of them ends.
    pub seconds_left: u64,
}

/// The server that clients get while there is no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SorryStatus {
    /// Its address.
    #[schema(value_type = String, example = "192.0.2.10")]
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whether it stands in now.
    pub active: bool,
    /// Flows that were scheduled to it.
    pub connections: u64,
    /// Why packets cannot be sent to it, in words.
    pub unreachable: Option<String>,
}

/// How much memory the maps take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemoryStatus {
    /// All of them, in bytes.
    pub maps: u64,
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// What it is known by.
    pub service: ServiceId,
    /// The name of its block.
    pub name: String,
    /// The virtual IP, the first one of a group; none for a group of nothing.
    #[schema(value_type = Option<String>, example = "192.0.2.10")]
    pub address: Option<IpAddr>,
    /// The virtual port, or the first one.
    pub port: Option<u16>,
    /// The protocol, or the first one.
    pub protocol: Option<Protocol>,
    /// Who gets the next connection.
    pub scheduler: Scheduler,
    /// How packets reach the servers.
    pub method: Method,
    /// Flows that were scheduled to its servers, those included that have left.
    pub connections: u64,
    /// Packets to them.
    pub packets_in: u64,
    /// Packets from them that came this way.
    pub packets_out: u64,
    /// Bytes to them.
    pub bytes_in: u64,
    /// Bytes from them that came this way.
    pub bytes_out: u64,
    /// The server that clients get while there is no other.
    pub sorry: Option<SorryStatus>,
    /// Its real servers, in the order of lvs.cf.
    pub servers: Vec<ServerStatus>,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServerStatus {
    /// The name of its block.
    pub name: String,
    /// Its address.
    #[schema(value_type = String, example = "192.0.2.10")]
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How packets reach it.
    pub forwarding: Forwarding,
    /// The weight that lvs.cf gives it.
    pub weight: u16,
    /// The weight that it has while it is in the table: another one while it starts slowly, or by its load, or
    /// as its agent says.
    #[serde(default)]
    pub effective_weight: u16,
    /// Whether it gets connections.
    pub state: ServerState,
    /// Established TCP connections.
    pub active: u32,
    /// All other flows.
    pub inactive: u32,
    /// Flows that were scheduled to it.
    pub connections: u64,
    /// Packets to it.
    pub packets_in: u64,
    /// Packets from it that came this way.
    pub packets_out: u64,
    /// Bytes to it.
    pub bytes_in: u64,
    /// Bytes from it that came this way.
    pub bytes_out: u64,
    /// How many checks there were.
    pub checks: u64,
    /// What the last failed check found, in words.
    pub last_error: Option<String>,
    /// When that check ended, in milliseconds since 1970.
    #[serde(default)]
    pub last_error_time: Option<u64>,
    /// While it stays away because it came and went too often (`damping`): seconds until it may return.
    #[serde(default)]
    pub held_seconds: Option<u64>,
    /// How many days its certificate is still good, if its check sees one; negative if it is not any more.
    #[serde(default)]
    pub certificate_days: Option<i64>,
    /// Why packets cannot be sent to it, in words.
    pub unreachable: Option<String>,
    /// Whether it is this router itself.
    pub local: bool,
    /// What an operator said of it: `up`, `down` or `drain`.
    #[serde(rename = "override")]
    pub overridden: Option<String>,
    /// While it is draining: flows that it has to finish.
    pub open: Option<u32>,
    /// While it is draining: seconds until the rest of them ends.
    pub seconds_left: Option<u64>,
}

/// Whether a real server gets connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It does.
    Up,
    /// It failed, or cannot be reached.
    Down,
    /// It failed, but may finish what it has.
    Quiesced,
    /// An operator wants it to finish what it has.
    Draining,
    /// An operator wanted it to finish, and it has left.
    Drained,
    /// It was not checked yet, or its way is not known yet.
    Unknown,
}

/// The flow tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowStatus {
    /// Flows of IPv4.
    pub ipv4: u32,
    /// Flows of IPv6.
    pub ipv6: u32,
    /// How many entries each table holds; a masqueraded flow takes two.
    pub capacity: u32,
}

/// Packets that were not steered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonCount {
    /// Why.
    pub reason: String,
    /// What became of them: `pass`, `drop` or `answer`.
    pub fate: String,
    /// How many.
    pub packets: u64,
}

/// What happened besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventCount {
    /// What.
    pub event: String,
    /// How often.
    pub count: u64,
}

/// What the reconciler knows. Interfaces and probes are added by those who know them.
pub fn report<D: Dataplane>(
    state: &State,
    ids: &Ids,
    plan: &Plan,
    counters: &Counters,
    dataplane: &D,
) -> StatusReport {
    let services = state.site.services.iter().map(|service| {
        // Each counter is a question to the kernel: there are many, and nobody is to be asked twice.
        let (each, sum) = counters.of(service.key, ids, dataplane);
        ServiceStatus {
            service: service.key,
            name: service.name.clone(),
            address: service.selectors.first().map(|first| first.address),
            port: service.selectors.first().map(|first| first.first),
            protocol: service.selectors.first().map(|first| first.protocol),
            scheduler: service.scheduler,
            method: service.forwarding.method(),
            connections: sum.connections,
            packets_in: sum.packets_in,
            packets_out: sum.packets_out,
            bytes_in: sum.bytes_in,
            bytes_out: sum.bytes_out,
            sorry: sorry(state, ids, plan, &each, service),
            servers: servers(state, ids, dataplane, &each, service),
        }
    });
    StatusReport {
        services: services.collect(),
        leaving: leaving(state, ids, dataplane),
        ..overall(dataplane)
    }
}

/// The same without services.
pub fn overall<D: Dataplane>(dataplane: &D) -> StatusReport {
    let [ipv4, ipv6] = dataplane.flows().unwrap_or_default();
    StatusReport {
        role: Role::Active,
        pair: None,
        sync: None,
        interfaces: Vec::new(),
        services: Vec::new(),
        failovers: Vec::new(),
        leaving: Vec::new(),
        flows: FlowStatus {
            ipv4,
            ipv6,
            capacity: dataplane.sizes().flows,
        },
        memory: MemoryStatus {
            maps: dataplane.memory(),
        },
        unsteered: dataplane
            .reasons()
            .unwrap_or_default()
            .into_iter()
            .filter(|(_, packets)| *packets > 0)
            .map(|(reason, packets)| ReasonCount {
                reason: reason.name().to_owned(),
                fate: fate(reason.fate()).to_owned(),
                packets,
            })
            .collect(),
        events: dataplane
            .events()
            .unwrap_or_default()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(event, count)| EventCount {
                event: event.name().to_owned(),
                count,
            })
            .collect(),
        counted: dataplane.interfaces().unwrap_or_default(),
    }
}

const fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Pass => "pass",
        Fate::Drop => "drop",
        Fate::Answer => "answer",
    }
}

fn servers<D: Dataplane>(
    state: &State,
    ids: &Ids,
    dataplane: &D,
    counted: &HashMap<u32, Traffic>,
    service: &VirtualService,
) -> Vec<ServerStatus> {
    let servers = service.servers.iter().map(|server| {
        let key = (service.key, server.socket);
        let way = state.way(server.socket.ip());
        let unreachable = unreachable(way);
        let method = server.forwarding.method();
        let id = ids.find_server(&(service.key, server.socket, method));
        // A counter that cannot be read is shown as zero rather than keeping all the others.
        let load = id
            .and_then(|id| dataplane.load(id).ok())
            .unwrap_or_default();
        let traffic = traffic(id, counted);
        let part = state.part(&key);
        let overridden = state.overridden(&key);
        let seconds_left = match part {
            Part::Draining { deadline, .. } => Some(seconds(deadline, state)),
            Part::Member { .. } | Part::Quiesced { .. } | Part::Out => None,
        };
        ServerStatus {
            name: server.name.clone(),
            address: server.socket.ip(),
            port: server.socket.port(),
            forwarding: server.forwarding,
            weight: server.weight,
            effective_weight: state.weight(&key).unwrap_or(server.weight),
            state: server_state(part, overridden, way),
            active: load.active,
            inactive: load.inactive,
            connections: traffic.connections,
            packets_in: traffic.packets_in,
            packets_out: traffic.packets_out,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            checks: 0,
            last_error: None,
            last_error_time: None,
            held_seconds: None,
            certificate_days: None,
            unreachable,
            local: matches!(way, Some(Resolution::Local)),
            overridden: overridden.map(|said| {
                let said = match said {
                    Override::Up => "up",
                    Override::Down => "down",
                    Override::Drain(_) => "drain",
                };
                said.to_owned()
            }),
            open: seconds_left.map(|_| drain::open(&load)),
            seconds_left,
        }
    });
    servers.collect()
}

const fn server_state(
    part: Part,
    overridden: Option<Override>,
    way: Option<&Resolution>,
) -> ServerState {
    match (part, overridden) {
        (Part::Member { .. }, _) => match way {
            None => ServerState::Unknown,
            Some(Resolution::Unresolved { .. }) => ServerState::Down,
            Some(Resolution::Resolved(_) | Resolution::Local) => ServerState::Up,
        },
        (Part::Quiesced { .. }, _) => ServerState::Quiesced,
        (Part::Draining { .. }, _) => ServerState::Draining,
        (Part::Out, Some(Override::Drain(Drain::Done))) => ServerState::Drained,
        (Part::Out, Some(Override::Down)) => ServerState::Down,
        (Part::Out, _) => ServerState::Unknown,
    }
}

fn sorry(
    state: &State,
    ids: &Ids,
    plan: &Plan,
    counted: &HashMap<u32, Traffic>,
    service: &VirtualService,
) -> Option<SorryStatus> {
    let socket = service.sorry_server?;
    let id = ids.find_server(&(service.key, socket, service.forwarding.method()));
    Some(SorryStatus {
        address: socket.ip(),
        port: socket.port(),
        active: plan.holding(service.key).is_some_and(Holding::is_sorry),
        connections: traffic(id, counted).connections,
        unreachable: unreachable(state.way(socket.ip())),
    })
}

fn leaving<D: Dataplane>(state: &State, ids: &Ids, dataplane: &D) -> Vec<LeavingStatus> {
    let leaving = state.leaving().iter().map(|(identity, deadline)| {
        let (service, socket, method) = *identity;
        let load = ids
            .find_server(identity)
            .and_then(|id| dataplane.load(id).ok());
        LeavingStatus {
            service,
            address: socket.ip(),
            port: socket.port(),
            method,
            open: load.map_or(0, |load| drain::open(&load)),
            seconds_left: seconds(*deadline, state),
        }
    });
    leaving.collect()
}

/// Why packets cannot be sent by a way, in words.
fn unreachable(way: Option<&Resolution>) -> Option<String> {
    match way {
        Some(Resolution::Resolved(_) | Resolution::Local) => None,
        Some(Resolution::Unresolved { reason }) => Some(reason.clone()),
        None => Some("its way is being looked for".to_owned()),
    }
}

/// What the server with this id got and sent.
fn traffic(id: Option<u32>, counted: &HashMap<u32, Traffic>) -> Traffic {
    let counted = id.and_then(|id| counted.get(&id));
    counted.copied().unwrap_or_default()
}

/// How long it is until then, in seconds.
fn seconds(deadline: Duration, state: &State) -> u64 {
    deadline
        .saturating_sub(state.now)
        .as_millis()
        .div_ceil(1_000) as u64
}

impl StatusReport {
    /// Adds the interfaces with the program on them, and what came in by each.
    pub fn add_interfaces(&mut self, interfaces: &[InterfaceStatus]) {
        self.interfaces = interfaces.to_vec();
        for interface in &mut self.interfaces {
            let counted = self
                .counted
                .iter()
                .find(|(index, _)| *index == interface.index);
            if let Some((_, traffic)) = counted {
                interface.packets = traffic.packets;
                interface.bytes = traffic.bytes;
                interface.steered = traffic.steered;
                interface.passed = traffic.passed;
                interface.dropped = traffic.dropped;
            }
        }
    }

    /// Adds what the nannies know.
    pub fn add_probes(&mut self, nannies: &[NannyStatus]) {
        let now = Instant::now();
        let wall = since_1970();
        let nannies: HashMap<_, _> = nannies
            .iter()
            .map(|nanny| ((nanny.service, nanny.server), nanny))
            .collect();
        for service in &mut self.services {
            let key = service.service;
            for server in &mut service.servers {
                let socket = SocketAddr::new(server.address, server.port);
                let Some(nanny) = nannies.get(&(key, socket)) else {
                    continue;
                };
                server.checks = nanny.checks;
                server.last_error = nanny
                    .last_failure
                    .as_ref()
                    .map(|failure| failure.reason.to_string());
                let time = |at: Instant| wall.checked_sub(now.saturating_duration_since(at));
                let failed = nanny.last_failure.as_ref();
                server.last_error_time = failed
                    .and_then(|failure| time(failure.at))
                    .and_then(|time| u64::try_from(time.as_millis()).ok());
                server.held_seconds = nanny.held_until.map(|until| {
                    let left = until.saturating_duration_since(now);
                    left.as_millis().div_ceil(1_000) as u64
                });
                server.certificate_days = nanny.certificate_days;
                let is_down =
                    matches!(nanny.state, NannyState::Down | NannyState::Returning { .. });
                if server.state == ServerState::Unknown && is_down {
                    server.state = ServerState::Down;
                }
            }
        }
    }
}

impl StatusReport {
    /// How many packets were not steered in a second, by reason, since the report before, so long ago.
    #[must_use]
    pub fn drops_since(&self, before: &Self, time: Duration) -> HashMap<String, u64> {
        let old: HashMap<_, _> = before
            .unsteered
            .iter()
            .map(|count| (count.reason.as_str(), count.packets))
            .collect();
        let seconds = time.as_secs_f64();
        let rates = self.unsteered.iter().map(|count| {
            let before = old.get(count.reason.as_str()).copied().unwrap_or(0);
            let new = count.packets.saturating_sub(before) as f64;
            let rate = if seconds > 0.0 { new / seconds } else { 0.0 };
            (count.reason.clone(), rate.ceil() as u64)
        });
        rates.collect()
    }

    /// The same of one service only, which is called as [`name`] says.
    ///
    /// # Errors
    /// If there is none.
    pub fn of_service(mut self, wanted: &str) -> Result<Self, Unknown> {
        let id = name::service(wanted, &self.services, |service| name::Service {
            name: &service.name,
            id: service.service,
            first: service.address.zip(service.port).map(SocketAddr::from),
        })?
        .service;
        self.services.retain(|service| service.service == id);
        Ok(self)
    }
}

/// The answer to `lb drops`: what was not steered, and what else happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drops {
    /// How many packets were not steered, by reason.
    pub unsteered: Vec<ReasonCount>,
    /// What else happened.
    pub events: Vec<EventCount>,
}
