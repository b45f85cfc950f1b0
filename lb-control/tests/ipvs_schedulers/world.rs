//! One service as the control plane lays it, and the data plane on tables of ordinary collections.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use lb_common::{
    address::{Address4, Address6},
    count,
    family::{Family, V4, V6},
    flow::FlowKey,
    maps::{self, MethodKind, Persistence, Refusal, Server, Settings, Thresholds},
    state::{self, State},
    tables::{FlowEntry, Tables},
    testing::{FRONT, HostPacket, HostTables, Site, balance, mac, server, service_key, tcp, udp},
    verdict::Verdict,
    wire::{Be16, protocol, tcp::flags},
};
use lb_control::{
    model::{Scheduler, SchedulerFlags},
    rings::{self, Member},
};

use crate::record::{Event, History, Kind, Service};

/// The service of a history.
pub(crate) struct World {
    protocol: u8,
    address: Option<SocketAddr>,
    scheduler: Scheduler,
    flags: SchedulerFlags,
    names: BTreeMap<String, u32>,
    /// The last one that joined comes first.
    members: Vec<Member>,
    tables: HostTables,
}

impl World {
    pub(crate) fn new(history: &History) -> Self {
        let Service {
            protocol,
            address,
            scheduler,
            flags,
            persistence,
            one_packet,
        } = &history.service;
        let protocol = match protocol.as_str() {
            "tcp" => protocol::TCP,
            _ => protocol::UDP,
        };
        let has = |name: &str| flags.iter().any(|flag| flag.ends_with(name));
        let flags = SchedulerFlags {
            fallback: has("-fallback"),
            port: has("-port"),
            compat: true,
        };
        let scheduler = Scheduler::ALL
            .into_iter()
            .find(|ours| ours.name() == scheduler)
            .expect("a scheduler of ours");
        let mut bits = 0;
        let mut set = |bit, is_set| bits |= if is_set { bit } else { 0 };
        set(maps::Service::FALLBACK, flags.fallback);
        set(maps::Service::HASH_PORT, flags.port);
        set(maps::Service::PERSISTENT, persistence.is_some());
        set(maps::Service::ONE_PACKET, *one_packet);
        let entry = maps::Service {
            id: 0,
            ring: 0,
            slots: 0,
            scheduler: rings::kind(scheduler, flags),
            flags: bits,
            refusal: Refusal::UNREACHABLE,
            pad: 0,
        };
        let mut site = Site::default().settings(|settings| {
            settings.flags = Settings::KEEP_FLOWS | Settings::KEEP_TEMPLATES;
        });
        // A mark stands for all destinations that occur.
        let destinations: BTreeSet<_> = match address {
            Some(address) => BTreeSet::from([*address]),
            None => history.events.iter().filter_map(destination).collect(),
        };
        for destination in destinations {
            let key = service_key(protocol, &destination.to_string());
            site.services.insert(key, entry);
        }
        if let Some((seconds, mask)) = persistence {
            let entry = Persistence {
                mask: client_mask(mask.as_deref()),
                timeout: state::ticks(*seconds),
                pad: 0,
            };
            site.persistence.insert(0, entry);
        }
        Self {
            protocol,
            address: *address,
            scheduler,
            flags,
            names: BTreeMap::new(),
            members: Vec::new(),
            tables: HostTables {
                capacity: 100_000,
                ..site.tables()
            },
        }
    }

    /// Lets an event happen, and tells what is different from the record.
    pub(crate) fn live(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Server {
                name,
                joins,
                weight,
                upper,
                lower,
            } => {
                let thresholds = Thresholds {
                    upper: *upper,
                    lower: *lower,
                };
                self.change(name, *joins, *weight, thresholds);
            }
            Event::Remove(name) => {
                let id = self.names[name];
                self.tables.servers[id as usize].flags = 0;
                self.lay(|members| members.retain(|member| member.id != id));
                // The sweeper comes by.
                self.tables.sweep_all();
            }
            Event::Packet {
                kind,
                client,
                to,
                server,
                state,
            } => {
                let to = to.or(self.address).expect("a destination");
                let got = self.send(*kind, *client, to);
                if got != *server {
                    return Err(format!("{got:?} instead of {server:?}"));
                }
                let found = self.state(*client, to);
                if let Some(name) = state
                    && server.is_some()
                    && found != Some(named(name))
                {
                    return Err(format!("{found:?} instead of {name}"));
                }
            }
            Event::End { client, to } => {
                let to = to.or(self.address).expect("a destination");
                self.forget(|key| *key == flow_key(self.protocol, *client, to));
            }
            Event::Idle => self.forget(|_| true),
            Event::Counts {
                name,
                active,
                inactive,
            } => {
                let load = self.tables.load(self.names[name]);
                if (load.active, load.inactive) != (*active, *inactive) {
                    return Err(format!("{load:?}"));
                }
            }
            Event::Setting { name, value } => {
                let (flag, is_set) = match name.as_str() {
                    "expire_nodest_conn" => (Settings::KEEP_FLOWS, *value == 0),
                    "expire_quiescent_template" => (Settings::KEEP_TEMPLATES, *value == 0),
                    "sloppy_tcp" => (Settings::SLOPPY_TCP, *value != 0),
                    _ => return Err("a setting that we do not have".to_owned()),
                };
                let flags = &mut self.tables.settings.flags;
                *flags = (*flags & !flag) | if is_set { flag } else { 0 };
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        name: &str,
        joins: Option<SocketAddr>,
        weight: u32,
        thresholds: Thresholds,
    ) {
        let next = self.tables.servers.len() as u32;
        let id = *self.names.entry(name.to_owned()).or_insert(next);
        if id == next {
            let address = joins.expect("an address").to_string();
            let entry = server(MethodKind::NAT, &address, id as u8);
            self.tables.servers.push(entry);
        }
        let entry = &mut self.tables.servers[id as usize];
        entry.flags = Server::PRESENT | (entry.flags & Server::IPV6);
        if thresholds.upper != 0 {
            entry.flags |= Server::LIMITED;
        }
        entry.weight = weight as u16;
        self.tables.thresholds.insert(id, thresholds);
        count::weigh(&self.tables, id);
        self.lay(|members| {
            if let Some(socket) = joins {
                let member = Member {
                    id,
                    weight: 0,
                    configured: 0,
                    socket,
                };
                members.insert(0, member);
            }
            for member in members.iter_mut().filter(|member| member.id == id) {
                member.weight = weight;
                if weight != 0 {
                    member.configured = weight;
                }
            }
        });
    }

    /// Changes the members, and lays the ring anew.
    fn lay(&mut self, change: impl FnOnce(&mut Vec<Member>)) {
        let before = self.members.clone();
        change(&mut self.members);
        let ring = rings::slots(self.scheduler, self.flags, [0; 2], &self.members);
        for service in self.tables.services.values_mut() {
            service.slots = ring.len() as u32;
        }
        self.tables.ring = ring;
        let mut turns = self.tables.turns.borrow_mut();
        let turn = turns.entry(0).or_default();
        *turn = rings::turn_after(self.scheduler, &before, &self.members, *turn);
    }

    /// The server that gets a packet.
    fn send(&self, kind: Kind, client: SocketAddr, to: SocketAddr) -> Option<String> {
        let (client, to) = (client.to_string(), to.to_string());
        let packet = if self.protocol == protocol::TCP {
            tcp(&client, &to).flags(match kind {
                Kind::New => flags::SYN,
                Kind::Again => flags::ACK,
                Kind::Fin => flags::FIN | flags::ACK,
                Kind::Reset => flags::RST,
            })
        } else {
            udp(&client, &to)
        };
        let mut packet = HostPacket::new(&packet.build(), FRONT);
        match balance(&mut packet, &self.tables) {
            Ok(Verdict::Redirect(_) | Verdict::Transmit) => {}
            Ok(Verdict::Pass | Verdict::Hold) | Err(_) => return None,
        }
        let receiver = &packet.bytes()[..6];
        let mut names = self.names.iter();
        names.find_map(|(name, id)| (mac(*id as u8) == receiver).then(|| name.clone()))
    }

    fn state(&self, client: SocketAddr, to: SocketAddr) -> Option<State> {
        let key = flow_key(self.protocol, client, to);
        let v4 = self.tables.v4.borrow();
        let v6 = self.tables.v6.borrow();
        match key {
            Key::V4(key) => v4.flows.get(&key).map(|entry| entry.flow().state),
            Key::V6(key) => v6.flows.get(&key).map(|entry| entry.flow().state),
        }
    }

    /// Time passes for these flows only, until the sweeper has taken them away.
    fn forget(&self, is_meant: impl Fn(&Key) -> bool) {
        fn expire<F: Family, E: FlowEntry<F>>(entry: &E) {
            let state = entry.get().state;
            entry.advance(state, state, 0);
        }
        let tables = &self.tables;
        for (key, entry) in &tables.v4.borrow().flows {
            if is_meant(&Key::V4(*key)) {
                expire::<V4, _>(entry);
            }
        }
        for (key, entry) in &tables.v6.borrow().flows {
            if is_meant(&Key::V6(*key)) {
                expire::<V6, _>(entry);
            }
        }
        // A persistence template goes after the flows that keep it.
        tables.sweep_all();
        tables.sweep_all();
    }
}

/// Where a packet goes.
fn destination((_, event): &(usize, Event)) -> Option<SocketAddr> {
    if let Event::Packet { to, .. } = event {
        *to
    } else {
        None
    }
}

/// Which bits of a client's address count: all, unless a mask or a length is given.
fn client_mask(text: Option<&str>) -> Address6 {
    match text.map(|text| (text.parse::<IpAddr>(), text.parse::<u32>())) {
        Some((Ok(mask), _)) => mask.into(),
        Some((_, Ok(bits))) => Address6((u128::MAX << (128 - bits)).to_be_bytes()),
        _ => Address6([0xff; 16]),
    }
}

fn named(state: &str) -> State {
    match state {
        "SYN_RECV" => State::SYN_RECV,
        "ESTABLISHED" => State::ESTABLISHED,
        "FIN_WAIT" => State::FIN_WAIT,
        "TIME_WAIT" => State::TIME_WAIT,
        "CLOSE_WAIT" => State::CLOSE_WAIT,
        "CLOSE" => State::CLOSE,
        _ => panic!("a state that does not occur: {state}"),
    }
}

/// The key of a flow of either family.
#[derive(PartialEq, Eq)]
enum Key {
    V4(FlowKey<Address4>),
    V6(FlowKey<Address6>),
}

fn flow_key(protocol: u8, client: SocketAddr, to: SocketAddr) -> Key {
    let (from_port, to_port) = (Be16::new(client.port()), Be16::new(to.port()));
    match (client.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Key::V4(FlowKey::new(
            Address4(from.octets()),
            Address4(to.octets()),
            from_port,
            to_port,
            protocol,
        )),
        (from, to) => Key::V6(FlowKey::new(
            from.into(),
            to.into(),
            from_port,
            to_port,
            protocol,
        )),
    }
}
