//! How things are: what `lb status` shows.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use crate::{
    dataplane::Dataplane,
    health::{State as NannyState, Status as NannyStatus},
    ids::Ids,
    model::{Method, Protocol, Scheduler, ServiceAddress},
    network::next_hop::Resolution,
    state::{Part, State},
};

/// The answer to `lb status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The part this node plays: `active` (this release knows no partner).
    pub role: Role,
    /// The interfaces that the program is attached to.
    pub interfaces: Vec<InterfaceStatus>,
    /// The virtual services, in the order of lvs.cf.
    pub services: Vec<ServiceStatus>,
    /// The flow tables.
    pub flows: FlowStatus,
    /// How many packets were not steered, by reason; those that never happened are left out.
    pub unsteered: Vec<ReasonCount>,
}

/// The part a node plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It holds the virtual addresses.
    Active,
}

/// An interface with the program on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `native` or `generic`.
    pub mode: String,
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The name of its block.
    pub name: String,
    /// The virtual IP.
    pub address: IpAddr,
    /// The virtual port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who gets the next connection.
    pub scheduler: Scheduler,
    /// How packets reach the servers.
    pub method: Method,
    /// Its real servers, in the order of lvs.cf.
    pub servers: Vec<ServerStatus>,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The name of its block.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The weight that lvs.cf gives it.
    pub weight: u16,
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
    /// Why packets cannot be sent to it, in words.
    pub unreachable: Option<String>,
}

/// Whether a real server gets connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// It does.
    Up,
    /// It failed, or cannot be reached.
    Down,
    /// It failed, but may finish what it has.
    Quiesced,
    /// It was not checked yet, or its way is not known yet.
    Unknown,
}

/// The flow tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowStatus {
    /// Flows of IPv4.
    pub ipv4: u32,
    /// Flows of IPv6.
    pub ipv6: u32,
    /// How many entries each table holds; a masqueraded flow takes two.
    pub capacity: u32,
}

/// Packets that were not steered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// Why.
    pub reason: String,
    /// How many.
    pub packets: u64,
}

/// What the reconciler knows. Interfaces and probes are added by those who know them.
pub fn report<D: Dataplane>(state: &State, ids: &Ids, dataplane: &D) -> StatusReport {
    let services = state.site.services.iter().map(|service| {
        let servers = service.servers.iter().map(|server| {
            let way = state.way(server.socket.ip());
            let unreachable = match way {
                Some(Resolution::Resolved(_)) => None,
                Some(Resolution::Unresolved { reason }) => Some(reason.clone()),
                Some(Resolution::Local) => Some("it is this router itself".to_owned()),
                None => Some("its way is being looked for".to_owned()),
            };
            let id = ids.find_server(&(service.key, server.socket, service.method));
            // A counter that cannot be read is shown as zero rather than keeping all the others.
            let load = id
                .and_then(|id| dataplane.load(id).ok())
                .unwrap_or_default();
            let traffic = id
                .and_then(|id| dataplane.traffic(id).ok())
                .unwrap_or_default();
            ServerStatus {
                name: server.name.clone(),
                address: server.socket.ip(),
                port: server.socket.port(),
                weight: server.weight,
                state: match state.part(&(service.key, server.socket)) {
                    Part::Member { .. } if way.is_none() => ServerState::Unknown,
                    Part::Member { .. } if unreachable.is_some() => ServerState::Down,
                    Part::Member { .. } => ServerState::Up,
                    Part::Quiesced { .. } => ServerState::Quiesced,
                    Part::Out => ServerState::Unknown,
                },
                active: load.active,
                inactive: load.inactive,
                connections: traffic.connections,
                packets_in: traffic.packets_in,
                packets_out: traffic.packets_out,
                bytes_in: traffic.bytes_in,
                bytes_out: traffic.bytes_out,
                checks: 0,
                last_error: None,
                unreachable,
            }
        });
        ServiceStatus {
            name: service.name.clone(),
            address: service.key.address,
            port: service.key.port,
            protocol: service.key.protocol,
            scheduler: service.scheduler,
            method: service.method,
            servers: servers.collect(),
        }
    });
    let [ipv4, ipv6] = dataplane.flows().unwrap_or_default();
    StatusReport {
        role: Role::Active,
        interfaces: Vec::new(),
        services: services.collect(),
        flows: FlowStatus {
            ipv4,
            ipv6,
            capacity: dataplane.sizes().flows,
        },
        unsteered: dataplane
            .reasons()
            .unwrap_or_default()
            .into_iter()
            .filter(|(_, packets)| *packets > 0)
            .map(|(reason, packets)| ReasonCount {
                reason: reason.name().to_owned(),
                packets,
            })
            .collect(),
    }
}

impl StatusReport {
    /// Adds what the nannies know.
    pub fn add_probes(&mut self, nannies: &[NannyStatus]) {
        let nannies: BTreeMap<_, _> = nannies
            .iter()
            .map(|nanny| ((nanny.service, nanny.server), nanny))
            .collect();
        for service in &mut self.services {
            let key = ServiceAddress {
                address: service.address,
                port: service.port,
                protocol: service.protocol,
            };
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
                let is_down =
                    matches!(nanny.state, NannyState::Down | NannyState::Returning { .. });
                if server.state == ServerState::Unknown && is_down {
                    server.state = ServerState::Down;
                }
            }
        }
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Quiesced => "quiesced",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for StatusReport {
    /// For people: one block per service, one line per server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interfaces: Vec<_> = self
            .interfaces
            .iter()
            .map(|interface| format!("{} ({})", interface.name, interface.mode))
            .collect();
        writeln!(f, "role active, program on {}", interfaces.join(", "))?;
        writeln!(
            f,
            "flows {} IPv4, {} IPv6, room for {} each",
            self.flows.ipv4, self.flows.ipv6, self.flows.capacity
        )?;
        for service in &self.services {
            let socket = SocketAddr::new(service.address, service.port);
            writeln!(
                f,
                "\n{} {socket} {} {} \"{}\"",
                service.protocol, service.scheduler, service.method, service.name
            )?;
            writeln!(
                f,
                "  {:<40} {:<9} {:>6} {:>8} {:>8} {:>10} {:>10} {:>10}",
                "server", "state", "weight", "active", "inactive", "conns", "in pkts", "out pkts"
            )?;
            for server in &service.servers {
                let socket = SocketAddr::new(server.address, server.port);
                writeln!(
                    f,
                    "  {:<40} {:<9} {:>6} {:>8} {:>8} {:>10} {:>10} {:>10}",
                    socket.to_string(),
                    server.state,
                    server.weight,
                    server.active,
                    server.inactive,
                    server.connections,
                    server.packets_in,
                    server.packets_out
                )?;
                for trouble in server.unreachable.iter().chain(&server.last_error) {
                    if server.state != ServerState::Up || server.unreachable.is_some() {
                        writeln!(f, "    {trouble}")?;
                    }
                }
            }
        }
        if !self.unsteered.is_empty() {
            writeln!(f, "\npackets not steered")?;
            for count in &self.unsteered {
                writeln!(f, "  {:<20} {:>12}", count.reason, count.packets)?;
            }
        }
        Ok(())
    }
}
