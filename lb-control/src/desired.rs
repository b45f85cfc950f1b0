//! [`State`] to what ought to be in the tables, service by service. Pure but for the ids that are given.

use std::{net::SocketAddr, sync::Arc};

use lb_common::{
    address::Address6,
    maps::{self, MethodKind, NextHop, Server, Service, ServiceKey, Thresholds},
    state::{self as flow_state, DEFAULT_TIMEOUTS},
    wire::{Be16, protocol},
};

use crate::{
    dataplane::{Sizes, Tables},
    ids::{Exhausted, Ids},
    model::{
        Forwarding, Method, Protocol, RealServer, Refusal, ServiceAddress, Settings, Site, Tunnel,
        VirtualService,
    },
    network::next_hop::{self, Resolution},
    rings::{self, Member},
    state::{Part, State},
    sync::ipvs::daemon::SyncRole,
};

/// What one service puts into the tables.
#[derive(Debug, Clone)]
pub struct Share {
    /// The service.
    pub service: Arc<VirtualService>,
    /// Its entry, without the ring; none if there is no room for it.
    pub entry: Option<Service>,
    /// Its real servers, by id.
    pub servers: Vec<(u32, Server)>,
    /// Their thresholds, by id.
    pub thresholds: Vec<(u32, Thresholds)>,
    /// Who takes part, in IPVS's order.
    pub members: Vec<Member>,
    /// Whether its sorry server stands in for all others.
    pub is_sorry: bool,
    /// What does not fit.
    pub refused: Vec<Exhausted>,
}

/// What the share of a service is made of.
pub struct Maker<'a> {
    /// What is known.
    pub state: &'a State,
    /// The ids that are given.
    pub ids: &'a mut Ids,
    /// What the tables hold.
    pub actual: &'a Tables,
    /// How much they can hold.
    pub sizes: &'a Sizes,
}

impl Maker<'_> {
    /// What a service puts into the tables. A real server whose way has not been found yet keeps the way that
    /// it has there, where a daemon before this one left it.
    pub fn share(&mut self, service: &Arc<VirtualService>) -> Share {
        let mut share = Share {
            service: Arc::clone(service),
            entry: None,
            servers: Vec::with_capacity(service.servers.len()),
            thresholds: Vec::new(),
            members: Vec::new(),
            is_sorry: false,
            refused: Vec::new(),
        };
        let id = match self.ids.service(service.key, self.sizes.services) {
            Ok(id) => id,
            Err(exhausted) => {
                share.refused.push(exhausted);
                return share;
            }
        };
        share.entry = Some(service_entry(service, id));
        share.members = self.members(id, &mut share);
        if share.members.iter().all(|member| member.weight == 0)
            && let Some(socket) = service.sorry_server
        {
            let sorry = sorry_server(service, socket);
            if let Some(stand_in) = self.member(&sorry, 1, id, &mut share) {
                // It may be one of the others.
                let mut left = share.servers.len();
                share.servers.retain(|(other, _)| {
                    left -= 1;
                    *other != stand_in.id || left == 0
                });
                share.is_sorry = true;
                share.members = vec![stand_in];
            }
        }
        share
    }

    fn members(&mut self, id: u32, share: &mut Share) -> Vec<Member> {
        let service = Arc::clone(&share.service);
        let mut members = Vec::with_capacity(service.servers.len());
        for server in &service.servers {
            let key = (service.key, server.socket);
            let (joined, weight) = match self.state.part(&key) {
                Part::Member { joined } => {
                    let weight = self.state.weight(&key).unwrap_or(server.weight);
                    (joined, u32::from(weight))
                }
                Part::Quiesced { joined } | Part::Draining { joined, .. } => (joined, 0),
                Part::Out => continue,
            };
            let member = self.member(server, weight, id, share);
            members.extend(member.map(|member| (joined, member)));
        }
        members.sort_by_key(|(joined, _)| std::cmp::Reverse(*joined));
        members.into_iter().map(|(_, member)| member).collect()
    }

    /// Puts a real server into a share; `None` if there is no room for it.
    fn member(
        &mut self,
        server: &RealServer,
        weight: u32,
        service_id: u32,
        share: &mut Share,
    ) -> Option<Member> {
        let Self {
            state,
            ids,
            actual,
            sizes,
        } = self;
        let service = &share.service;
        let identity = (service.key, server.socket, server.forwarding.method());
        let id = match ids.server(identity, sizes.servers) {
            Ok(id) => id,
            Err(exhausted) => {
                share.refused.push(exhausted);
                return None;
            }
        };
        let mut entry = entry(state, service, server, service_id, weight);
        if !state.was_resolved(server.socket.ip())
            && let Some(before) = actual.servers.get(&id)
        {
            entry.hop = before.hop;
            entry.tunnel_source = before.tunnel_source;
        }
        share.servers.push((id, entry));
        if entry.has(Server::LIMITED) {
            let (upper, lower) = (server.upper, server.lower);
            share.thresholds.push((id, Thresholds { upper, lower }));
        }
        // One that cannot be reached keeps its flows, but gets no new ones.
        let is_reachable = entry.hop.interface != 0 || entry.method == MethodKind::LOCAL;
        Some(Member {
            id,
            weight: if is_reachable { weight } else { 0 },
            configured: u32::from(server.weight),
            socket: server.socket,
        })
    }
}

/// How long the clients of a service stay, as its map says.
#[must_use]
pub fn persistence(service: &VirtualService) -> Option<maps::Persistence> {
    let persistence = service.persistence.as_ref()?;
    Some(maps::Persistence {
        mask: Address6::from(persistence.mask),
        timeout: flow_state::ticks(seconds(persistence.timeout)),
        pad: 0,
    })
}

/// A sorry server as a real server. A port of 0 is the one that the client used.
#[must_use]
pub fn sorry_server(service: &VirtualService, socket: SocketAddr) -> RealServer {
    RealServer::new("sorry server", socket, service.forwarding, 1)
}

/// The map entry of a real server.
fn entry(
    state: &State,
    service: &VirtualService,
    server: &RealServer,
    service_id: u32,
    weight: u32,
) -> Server {
    let way = state.way(server.socket.ip());
    Server {
        service: service_id,
        weight: u16::try_from(weight).unwrap_or(u16::MAX),
        ..reached_by(way, server, service.port())
    }
}

/// How packets for `port` of a service reach a real server, as its map says; without the number of the service.
pub(crate) fn reached_by(way: Option<&Resolution>, server: &RealServer, port: u16) -> Server {
    let (way, is_local) = match way {
        Some(Resolution::Resolved(hop)) => (Some(hop), false),
        Some(Resolution::Local) => (None, true),
        Some(Resolution::Unresolved { .. }) | None => (None, false),
    };
    let source = way.and_then(|hop| hop.source);
    let (source_nat, tunnel) = match server.forwarding {
        Forwarding::Nat | Forwarding::Direct => (false, Tunnel::default()),
        Forwarding::FullNat => (true, Tunnel::default()),
        Forwarding::Tunnel { tunnel } => (false, tunnel),
    };
    let method = server.forwarding.method();
    let needs_source = method == Method::Tunnel || source_nat;
    let usable = way.filter(|_| !needs_source || source.is_some());
    let mut flags = Server::PRESENT;
    let mut set = |flag, is_set| flags |= if is_set { flag } else { 0 };
    set(Server::IPV6, server.socket.is_ipv6());
    set(Server::LIMITED, server.upper != 0);
    set(Server::SOURCE_NAT, source_nat);
    let (tunnel_port, checksum) = match tunnel {
        Tunnel::Ipip => (0, false),
        Tunnel::Gre { checksum } => (0, checksum),
        Tunnel::Gue { port, checksum } => (port, checksum),
    };
    set(Server::TUNNEL_CHECKSUM, checksum);
    Server {
        address: Address6::from(server.socket.ip()),
        hop: usable.map_or(NextHop::NONE, hop),
        service: 0,
        weight: server.weight,
        tunnel_port: Be16::new(tunnel_port),
        port: Be16::new(match method {
            Method::Nat => server.socket.port(),
            Method::Direct | Method::Tunnel => port,
        }),
        method: if is_local {
            MethodKind::LOCAL
        } else {
            method_kind(method, tunnel)
        },
        flags,
        tunnel_source: source.map_or_else(Address6::default, Address6::from),
    }
}

/// The map entry of a service, without its ring.
fn service_entry(service: &VirtualService, id: u32) -> Service {
    let mut flags = 0;
    let mut set = |flag, is_set| flags |= if is_set { flag } else { 0 };
    set(Service::FALLBACK, service.flags.fallback);
    set(Service::HASH_PORT, service.flags.port);
    set(Service::ONE_PACKET, service.one_packet);
    set(Service::PERSISTENT, service.persistence.is_some());
    Service {
        id,
        ring: 0,
        slots: 0,
        scheduler: rings::kind(service.scheduler, service.flags),
        flags,
        refusal: match service.refusal {
            Refusal::Reset => maps::Refusal::RESET,
            Refusal::Unreachable => maps::Refusal::UNREACHABLE,
            Refusal::Drop => maps::Refusal::SILENCE,
        },
        pad: 0,
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

/// The key of the entry of a service with one port.
#[must_use]
pub fn service_key(service: &ServiceAddress) -> ServiceKey {
    ServiceKey {
        address: Address6::from(service.address),
        port: Be16::new(service.port),
        protocol: protocol_number(service.protocol),
        pad: [0; 5],
    }
}

/// The number of a protocol in IP headers.
#[must_use]
pub fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
        Protocol::Ah => protocol::AH,
        Protocol::Esp => protocol::ESP,
    }
}

/// The service that has this address, port and protocol; `None` if it is of a protocol that we do not
/// balance.
#[must_use]
pub fn service_address(address: Address6, port: Be16, protocol: u8) -> Option<ServiceAddress> {
    Some(ServiceAddress {
        address: address.into(),
        port: port.get(),
        protocol: match protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            protocol::SCTP => Protocol::Sctp,
            protocol::AH => Protocol::Ah,
            protocol::ESP => Protocol::Esp,
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
        MethodKind::TUNNEL | MethodKind::GRE | MethodKind::GUE => Some(Method::Tunnel),
        _ => None,
    }
}

fn method_kind(method: Method, tunnel: Tunnel) -> MethodKind {
    match (method, tunnel) {
        (Method::Nat, _) => MethodKind::NAT,
        (Method::Direct, _) => MethodKind::DIRECT,
        (Method::Tunnel, Tunnel::Ipip) => MethodKind::TUNNEL,
        (Method::Tunnel, Tunnel::Gre { .. }) => MethodKind::GRE,
        (Method::Tunnel, Tunnel::Gue { .. }) => MethodKind::GUE,
    }
}

/// What holds for all services, of which one may have ranges of ports.
#[must_use]
pub fn settings(site: &Site, has_ranges: bool, sizes: &Sizes) -> maps::Settings {
    let mut timeouts = DEFAULT_TIMEOUTS;
    let mut set = |state: flow_state::State, value: std::time::Duration| {
        if let Some(slot) = timeouts.get_mut(state.0 as usize) {
            *slot = seconds(value);
        }
    };
    set(flow_state::State::ESTABLISHED, site.timeouts.tcp);
    set(flow_state::State::FIN_WAIT, site.timeouts.tcp_fin);
    set(flow_state::State::UDP, site.timeouts.udp);
    // What is no flow yet is never remembered for longer than one.
    let once = DEFAULT_TIMEOUTS[flow_state::State::UDP_ONCE.0 as usize];
    let once = std::time::Duration::from_secs(once.into()).min(site.timeouts.udp);
    set(flow_state::State::UDP_ONCE, once);
    let Settings {
        expire_nodest_conn,
        expire_quiescent_template,
        conn_reuse_mode,
        sloppy_tcp,
        sloppy_sctp,
        schedule_icmp,
        pmtu_disc,
        stateless_above,
        answers,
        snat_ports: (first, last),
        secret,
        sync,
        // The sizes of maps, which are made before there are settings.
        flows: _,
        half_open: _,
    } = site.settings;
    let mut flags = 0;
    let mut set = |flag, is_set| flags |= if is_set { flag } else { 0 };
    set(maps::Settings::KEEP_FLOWS, !expire_nodest_conn);
    set(maps::Settings::KEEP_TEMPLATES, !expire_quiescent_template);
    set(maps::Settings::SLOPPY_TCP, sloppy_tcp);
    set(maps::Settings::SLOPPY_SCTP, sloppy_sctp);
    set(maps::Settings::SCHEDULE_ICMP, schedule_icmp);
    set(maps::Settings::CUT_TUNNELS, !pmtu_disc);
    set(maps::Settings::RANGES, has_ranges);
    let tells = site.sync_daemons.contains_key(&SyncRole::Master);
    set(maps::Settings::SYNC, sync || tells);
    maps::Settings {
        timeouts: timeouts.map(flow_state::ticks),
        flags,
        reuse: u32::from(conn_reuse_mode),
        flows: sizes.flows,
        half_open: sizes.half_open,
        stateless_above,
        answers,
        pool_first: first,
        pool_size: last.saturating_sub(first).saturating_add(1),
        pad: 0,
        secret,
    }
}

/// Whole seconds; longer than the clock of flows can tell apart is as good as for ever.
fn seconds(value: std::time::Duration) -> u32 {
    u32::try_from(value.as_secs())
        .unwrap_or(u32::MAX)
        .min(MAX_TIMEOUT)
}

/// The longest timeout, in seconds: 24 days, a little less than half the period of the clock.
const MAX_TIMEOUT: u32 = 24 * 24 * 3600;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Timeouts;

    #[test]
    fn a_datagram_is_remembered_for_no_longer_than_a_flow() {
        // The seconds of a UDP flow, and of one datagram.
        for (udp, once) in [(300, 60), (60, 60), (59, 59), (7, 7)] {
            let site = Site {
                timeouts: Timeouts {
                    udp: Duration::from_secs(udp.into()),
                    ..Timeouts::default()
                },
                ..Site::default()
            };
            let settings = settings(&site, false, &Sizes::default());
            let of = |state: flow_state::State| settings.timeouts[state.0 as usize];
            assert_eq!(of(flow_state::State::UDP), flow_state::ticks(udp));
            assert_eq!(
                of(flow_state::State::UDP_ONCE),
                flow_state::ticks(once),
                "{udp} s"
            );
        }
    }
}
