//! [`State`] to the tables as they ought to be. Pure but for the ids that are given.

use std::collections::BTreeMap;

use lb_common::{
    address::Address6,
    maps::{MethodKind, NextHop, SchedulerKind, Server, Service, ServiceKey, Settings},
    state::{self as flow_state, DEFAULT_TIMEOUTS},
    wire::{Be16, protocol},
};

use crate::{
    dataplane::{Sizes, Tables},
    ids::{Exhausted, Ids},
    model::{Method, Protocol, RealServer, Scheduler, ServiceAddress, Timeouts, VirtualService},
    network::next_hop::{self, Resolution},
    rings::{self, Member},
    state::{Part, State},
};

/// The tables as they ought to be, and who takes part in each service.
#[derive(Debug, Default)]
pub struct Desired {
    /// The tables, rings left out: they are laid into the free slots of the map by [`lay_rings`].
    pub tables: Tables,
    /// The members of each service, in IPVS's order.
    pub members: BTreeMap<ServiceAddress, Vec<Member>>,
    /// What does not fit.
    pub refused: Vec<Exhausted>,
}

/// What the tables ought to hold. A real server whose way has not been found yet keeps the way that it
/// has in `actual`, where a daemon before this one left it.
pub fn desired(state: &State, ids: &mut Ids, actual: &Tables, sizes: &Sizes) -> Desired {
    let mut desired = Desired::default();
    desired.tables.vlans.clone_from(&state.vlans);
    desired.tables.settings = Some(settings(&state.site.timeouts));
    for service in &state.site.services {
        let id = match ids.service(service.key, sizes.services) {
            Ok(id) => id,
            Err(exhausted) => {
                desired.refused.push(exhausted);
                continue;
            }
        };
        let members = members(state, service, id, ids, actual, sizes, &mut desired);
        desired.tables.services.insert(
            service_key(&service.key),
            Service {
                id,
                ring: 0,
                slots: 0,
                scheduler: scheduler_kind(service.scheduler),
            },
        );
        desired.members.insert(service.key, members);
    }
    desired
}

fn members(
    state: &State,
    service: &VirtualService,
    service_id: u32,
    ids: &mut Ids,
    actual: &Tables,
    sizes: &Sizes,
    desired: &mut Desired,
) -> Vec<Member> {
    let mut members = Vec::new();
    for server in &service.servers {
        let (joined, weight) = match state.part(&(service.key, server.socket)) {
            Part::Member { joined } => (joined, u32::from(server.weight)),
            Part::Quiesced { joined } => (joined, 0),
            Part::Out => continue,
        };
        let identity = (service.key, server.socket, service.method);
        let id = match ids.server(identity, sizes.servers) {
            Ok(id) => id,
            Err(exhausted) => {
                desired.refused.push(exhausted);
                continue;
            }
        };
        let mut entry = entry(state, service, server, service_id, weight);
        if !state.was_resolved(server.socket.ip())
            && let Some(before) = actual.servers.get(&id)
        {
            entry.hop = before.hop;
            entry.tunnel_source = before.tunnel_source;
        }
        desired.tables.servers.insert(id, entry);
        // One that cannot be reached keeps its flows, but gets no new ones.
        let weight = if entry.hop.interface == 0 { 0 } else { weight };
        members.push((joined, Member { id, weight }));
    }
    members.sort_by_key(|(joined, _)| std::cmp::Reverse(*joined));
    members.into_iter().map(|(_, member)| member).collect()
}

/// The map entry of a real server.
fn entry(
    state: &State,
    service: &VirtualService,
    server: &RealServer,
    service_id: u32,
    weight: u32,
) -> Server {
    let way = match state.way(server.socket.ip()) {
        Some(Resolution::Resolved(hop)) => Some(hop),
        Some(Resolution::Unresolved { .. } | Resolution::Local) | None => None,
    };
    let source = way.and_then(|hop| hop.source);
    let usable = way.filter(|_| service.method != Method::Tunnel || source.is_some());
    let mut flags = Server::PRESENT;
    if server.socket.is_ipv6() {
        flags |= Server::IPV6;
    }
    Server {
        address: Address6::from(server.socket.ip()),
        hop: usable.map_or_else(bytemuck::Zeroable::zeroed, hop),
        service: service_id,
        weight,
        port: Be16::new(match service.method {
            Method::Nat => server.socket.port(),
            Method::Direct | Method::Tunnel => service.key.port,
        }),
        method: method_kind(service.method),
        flags,
        tunnel_source: source.map_or_else(Address6::default, Address6::from),
    }
}

fn hop(hop: &next_hop::NextHop) -> NextHop {
    NextHop {
        interface: hop.interface,
        vlan: hop.vlan.unwrap_or(0),
        mac: hop.mac,
        source_mac: hop.source_mac,
        mtu: u16::try_from(hop.mtu).unwrap_or(u16::MAX),
    }
}

/// Lays the rings: a service whose slots have not changed keeps its place, one that is new or has
/// changed gets slots that no service of `actual` uses, so that a packet never meets a ring that is
/// half written.
///
/// # Errors
/// [`Exhausted`] names the first service for which there was no room; its ring stays as it is.
pub fn lay_rings(
    state: &State,
    desired: &mut Desired,
    actual: &Tables,
    sizes: &Sizes,
) -> Result<(), ServiceAddress> {
    let mut taken: BTreeMap<u32, u32> = actual
        .services
        .values()
        .filter(|service| service.slots > 0)
        .map(|service| (service.ring, service.slots))
        .collect();
    let mut refused = None;
    for service in &state.site.services {
        let key = service_key(&service.key);
        let (Some(entry), Some(members)) = (
            desired.tables.services.get_mut(&key),
            desired.members.get(&service.key),
        ) else {
            continue;
        };
        let slots = rings::slots(service.scheduler, members);
        let before = actual.services.get(&key);
        let count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let kept = before.filter(|before| {
            before.slots == count
                && actual
                    .rings
                    .get(&before.ring)
                    .is_some_and(|old| *old == slots)
        });
        let first = match kept {
            Some(before) => Some(before.ring),
            None => free(&taken, count, sizes.ring),
        };
        match first {
            _ if count == 0 => {}
            Some(first) => {
                entry.ring = first;
                entry.slots = count;
                taken.insert(first, count);
                desired.tables.rings.insert(first, slots);
            }
            None => {
                if let Some(before) = before {
                    *entry = *before;
                }
                refused.get_or_insert(service.key);
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The first `count` slots in a row that are not taken.
fn free(taken: &BTreeMap<u32, u32>, count: u32, limit: u32) -> Option<u32> {
    let mut first: u32 = 0;
    for (&start, &length) in taken {
        if start.saturating_sub(first) >= count {
            break;
        }
        first = first.max(start.saturating_add(length));
    }
    (first.checked_add(count)? <= limit).then_some(first)
}

/// The key of a service's entry.
#[must_use]
pub fn service_key(service: &ServiceAddress) -> ServiceKey {
    ServiceKey {
        address: Address6::from(service.address),
        port: Be16::new(service.port),
        protocol: match service.protocol {
            Protocol::Tcp => protocol::TCP,
            Protocol::Udp => protocol::UDP,
        },
        pad: [0; 5],
    }
}

/// The service that has this key; `None` if it is of a protocol that we do not balance.
#[must_use]
pub fn service_address(key: &ServiceKey) -> Option<ServiceAddress> {
    Some(ServiceAddress {
        address: key.address.into(),
        port: key.port.get(),
        protocol: match key.protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            _ => return None,
        },
    })
}

/// The method that an entry says.
#[must_use]
pub fn method(kind: MethodKind) -> Option<Method> {
    match kind {
        MethodKind::NAT => Some(Method::Nat),
        MethodKind::DIRECT => Some(Method::Direct),
        MethodKind::TUNNEL => Some(Method::Tunnel),
        _ => None,
    }
}

fn method_kind(method: Method) -> MethodKind {
    match method {
        Method::Nat => MethodKind::NAT,
        Method::Direct => MethodKind::DIRECT,
        Method::Tunnel => MethodKind::TUNNEL,
    }
}

fn scheduler_kind(scheduler: Scheduler) -> SchedulerKind {
    match scheduler {
        Scheduler::Rr | Scheduler::Wrr => SchedulerKind::TURNS,
        Scheduler::Wlc => SchedulerKind::LEAST_LOADED,
        Scheduler::Sh => SchedulerKind::SOURCE_HASH,
    }
}

fn settings(timeouts: &Timeouts) -> Settings {
    let mut seconds = DEFAULT_TIMEOUTS;
    let mut set = |state: flow_state::State, value: std::time::Duration| {
        if let Some(slot) = seconds.get_mut(state.0 as usize) {
            // Longer than the clock of flows can tell apart is as good as for ever.
            *slot = u32::try_from(value.as_secs())
                .unwrap_or(u32::MAX)
                .min(MAX_TIMEOUT);
        }
    };
    set(flow_state::State::ESTABLISHED, timeouts.tcp);
    set(flow_state::State::FIN_WAIT, timeouts.tcp_fin);
    set(flow_state::State::UDP, timeouts.udp);
    Settings {
        timeouts: seconds.map(flow_state::ticks),
    }
}

/// The longest timeout, in seconds: 24 days, a little less than half the period of the clock.
const MAX_TIMEOUT: u32 = 24 * 24 * 3600;
