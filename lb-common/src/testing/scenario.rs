//! Scenarios: a site, and what happens there one thing after the other, all drawn by lot. There are few
//! addresses and ports, so that things meet.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use bytemuck::Zeroable;

use super::{
    BACK, CLOSED, FRONT, Lot, PacketBuilder, Site, Write,
    change::{Withdrawn, change},
    corpus, icmp, mac, mutate, sctp, server, tcp, udp, verify,
};
use crate::{
    address::Address6,
    lease::Lease,
    maps::{
        MethodKind, Persistence, RangeKey, Refusal, SchedulerKind, Server, Service, ServiceKey,
        Settings, Thresholds,
    },
    record::Record,
    state::{DEFAULT_TIMEOUTS, State, TICK_SHIFT, ticks},
    wire::{
        Be16,
        protocol::{SCTP, TCP, UDP},
        tcp::flags::{ACK, FIN, RST, SYN},
    },
};

/// How many packets that came out are remembered, to be answered.
const MEMORY: usize = 48;
/// How many flows a table may have at most.
const FLOWS: usize = 32;
/// How many real servers a scenario has at most, the none at number 0 among them.
pub const SERVERS: usize = 24;

/// How many of them there are in the beginning.
const SERVERS_AT_FIRST: usize = 16;

/// The ends of one family.
pub(super) struct Ends {
    clients: [&'static str; 6],
    virtual_addresses: [&'static str; 3],
    servers: [&'static str; 4],
    own: &'static str,
}

/// The clients are behind the usual gateway, behind a VLAN, behind a gateway that is silent, nowhere; the
/// last one is a real server.
const ENDS: [Ends; 2] = [
    Ends {
        clients: [
            "198.51.100.7",
            "198.51.100.8",
            "198.51.101.7",
            "203.0.113.7",
            "198.18.0.7",
            "10.0.0.11",
        ],
        virtual_addresses: ["192.0.2.10", "192.0.2.11", "192.0.2.12"],
        servers: ["10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14"],
        own: "10.0.0.1",
    },
    Ends {
        clients: [
            "2001:db8:c::7",
            "2001:db8:c::8",
            "2001:db8:d::7",
            "2001:db8:e::7",
            "2001:db8:f::7",
            "fd00::11",
        ],
        virtual_addresses: ["2001:db8:a::10", "2001:db8:a::11", "2001:db8:a::12"],
        servers: ["fd00::11", "fd00::12", "fd00::13", "fd00::14"],
        own: "fd00::1",
    },
];
const PORTS: [u16; 3] = [80, 81, 8080];
const CLIENT_PORTS: [u16; 5] = [4321, 4322, 1024, 8080, 80];
const FLAGS: [u8; 14] = [
    SYN,
    SYN,
    SYN,
    ACK,
    ACK,
    ACK,
    0x08 | ACK,
    FIN | ACK,
    FIN | ACK,
    RST,
    RST | ACK,
    SYN | ACK,
    SYN | FIN,
    0,
];
const REPLY_FLAGS: [u8; 8] = [
    SYN | ACK,
    SYN | ACK,
    ACK,
    ACK,
    FIN | ACK,
    RST,
    RST | ACK,
    SYN,
];
/// What is the beginning, the middle and the end of an association, and what is nonsense.
const CHUNKS: [&[u8]; 15] = [
    &[1],
    &[1],
    &[1],
    &[2],
    &[10],
    &[11],
    &[0],
    &[3],
    &[7],
    &[8],
    &[14],
    &[6],
    &[10, 0],
    &[0, 7],
    &[200],
];

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// A packet comes in by an interface.
    Packet(u32, Vec<u8>),
    /// So many ticks pass.
    Time(u32),
    /// The sweeper takes so many steps through each queue.
    Sweep(u32),
    /// The control plane writes something.
    Write(Write),
    /// The partner tells of a flow.
    Learn(Record),
}

/// A site and what happens there.
#[derive(Debug, Clone)]
pub struct Scenario {
    lot: Lot,
    /// The site as it was in the beginning.
    pub site: Site,
    now: Site,
    family: usize,
    sent: Vec<(u32, Vec<u8>)>,
    came_out: Vec<Vec<u8>>,
    pending: VecDeque<Write>,
    withdrawn: Vec<Withdrawn>,
    lease: Lease,
}

impl Scenario {
    /// The scenario of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut lot = Lot::new(seed);
        let site = site(&mut lot);
        Self {
            now: site.clone(),
            site,
            family: lot.below(2),
            lot,
            sent: Vec::new(),
            came_out: Vec::new(),
            pending: VecDeque::new(),
            withdrawn: Vec::new(),
            lease: Lease::NONE,
        }
    }

    /// What happens next.
    pub fn step(&mut self) -> Step {
        match self.lot.below(1_000) {
            0..60 => Step::Time(self.time()),
            60..100 => Step::Sweep(self.lot.of(&[1, 2, 5, 64])),
            100..120 => self.write(),
            120..140 => Step::Learn(self.record()),
            // Packets come between the writes of one change.
            140..500 if !self.pending.is_empty() => self.write(),
            _ => {
                let (interface, frame) = self.packet();
                self.sent.push((interface, frame.clone()));
                if self.sent.len() > MEMORY {
                    self.sent.swap_remove(0);
                }
                Step::Packet(interface, frame)
            }
        }
    }

    /// Remembers a packet that was sent on, so that it may be answered.
    pub fn came_out(&mut self, frame: &[u8]) {
        if self.came_out.len() >= MEMORY {
            let oldest = self.lot.below(MEMORY);
            self.came_out.swap_remove(oldest);
        }
        self.came_out.push(frame.to_vec());
    }

    fn time(&mut self) -> u32 {
        match self.lot.below(10) {
            0..4 => self.lot.below(100) as u32,
            4..8 => self.lot.below(ticks(3) as usize) as u32,
            8 => self.lot.below(ticks(70) as usize) as u32,
            _ => self.lot.below(ticks(1_000) as usize) as u32,
        }
    }

    /// The next write of those that are to be made; if there are none, the site changes.
    fn write(&mut self) -> Step {
        if self.pending.is_empty() {
            let before = self.now.clone();
            change(&mut self.lot, &mut self.now, &mut self.withdrawn);
            self.pending.extend(Write::between(&before, &self.now));
            if self.lot.chance(20) {
                let turn = self.lot.below(1_000) as u64;
                self.pending.push_back(Write::Turn(0, turn));
            }
            let lease = self.lease();
            self.pending.extend(lease.map(Write::Lease));
        }
        // Some changes change nothing.
        self.pending.pop_front().map_or(Step::Time(0), Step::Write)
    }

    /// A flow as a partner may tell it: mostly one that can be.
    fn record(&mut self) -> Record {
        let mut family = self.family;
        let known = self.any_key(&ENDS[family]);
        let lot = &mut self.lot;
        let mut record = Record::zeroed();
        if lot.chance(5) {
            family = 1 - family;
        }
        let ends = &ENDS[family];
        let mut address = |among: &[&str]| {
            let address: IpAddr = lot.of(among).parse().expect("an address");
            Address6::from(address)
        };
        record.client = address(&ends.clients);
        record.source = address(&[ends.own]);
        record.address = address(&ends.virtual_addresses);
        record.port = Be16::new(lot.of(&PORTS));
        record.protocol = lot.of(&[TCP, UDP, SCTP]);
        if let Some(key) = known.filter(|_| lot.chance(80)) {
            (record.address, record.port) = (key.address, key.port);
            record.protocol = key.protocol;
        }
        record.client_port = Be16::new(lot.of(&CLIENT_PORTS));
        record.source_port = Be16::new(lot.of(&[1_024, 1_025, 4_320, 4_321]));
        record.server = lot.below(SERVERS + 1) as u32;
        record.state = State(match record.protocol {
            TCP => lot.of(&[1, 1, 3, 4, 5, 6]),
            UDP => lot.of(&[11, 15]),
            _ => 16 + lot.below(14) as u32,
        });
        if lot.chance(15) {
            record.state = State::TEMPLATE;
            record.protocol = 0;
            record.service = lot.below(9) as u32;
        }
        if lot.chance(3) {
            record.state = State(lot.below(40) as u32);
        }
        record.timeout = lot.of(&[0, 0, ticks(3), ticks(300)]);
        record.silent = lot.of(&[0, 0, 1, ticks(2), ticks(100)]);
        record.flags = if family == 0 { 0 } else { Record::IPV6 };
        if lot.chance(30) {
            record.flags |= Record::ENDED;
        }
        record
    }

    /// What the lease is from now on, if it changes: mostly there is none.
    fn lease(&mut self) -> Option<Lease> {
        if self.lease != Lease::NONE {
            self.lease = Lease::NONE;
        } else if self.lot.chance(10) {
            // The clock of scenarios begins near zero, and is in ticks.
            let end = u64::from(self.time()) << TICK_SHIFT;
            self.lease = self
                .lot
                .of(&[Lease::STANDBY, Lease::until(0), Lease::until(end)]);
        } else {
            return None;
        }
        Some(self.lease)
    }

    /// One of the services of a family.
    fn any_key(&mut self, ends: &Ends) -> Option<ServiceKey> {
        let is_v6 = ends.own.contains(':');
        let keys: Vec<_> = self
            .now
            .services
            .keys()
            .filter(|key| key.address.is_mapped() != is_v6)
            .copied()
            .collect();
        (!keys.is_empty()).then(|| self.lot.of(&keys))
    }

    fn packet(&mut self) -> (u32, Vec<u8>) {
        // A site has both families; most packets are of one, so that they meet.
        let family = if self.lot.chance(90) {
            self.family
        } else {
            1 - self.family
        };
        let ends = &ENDS[family];
        let (interface, mut frame) = match self.lot.below(100) {
            0..50 => (FRONT, self.request(ends)),
            50..78 => self.reply(ends),
            78..84 if !self.sent.is_empty() => {
                let again = self.lot.below(self.sent.len());
                self.sent[again].clone()
            }
            84..90 => self.error(ends),
            90..92 => (FRONT, self.echo(ends)),
            _ => {
                let any = self.lot.below(corpus().len());
                corpus()[any].clone()
            }
        };
        if self.lot.chance(6) {
            fragment(&mut self.lot, &mut frame);
        }
        if self.lot.chance(8) {
            mutate(&mut self.lot, &mut frame);
        }
        if self.lot.chance(3) {
            let other = self.lot.of(&[FRONT, BACK, CLOSED]);
            return (other, frame);
        }
        (interface, frame)
    }

    fn request(&mut self, ends: &Ends) -> Vec<u8> {
        let known = self.any_key(ends);
        let lot = &mut self.lot;
        let source = socket(lot.of(&ends.clients), lot.of(&CLIENT_PORTS));
        // Mostly to a service that there is.
        let (protocol, destination) = match known {
            Some(key) if lot.chance(80) => {
                let address = SocketAddr::new(key.address.into(), key.port.get());
                (key.protocol, address.to_string())
            }
            _ => (
                lot.of(&[TCP, TCP, TCP, TCP, UDP, UDP, SCTP]),
                socket(lot.of(&ends.virtual_addresses), lot.of(&PORTS)),
            ),
        };
        // Now and then a virtual address talks to itself.
        let source = if lot.chance(1) {
            destination.clone()
        } else {
            source
        };
        let packet = of(lot, protocol, &source, &destination, &FLAGS);
        finish(lot, packet)
    }

    /// The answer to a packet that came out, or what could be one.
    fn reply(&mut self, ends: &Ends) -> (u32, Vec<u8>) {
        let interface = self
            .lot
            .of(&[BACK, BACK, BACK, BACK, BACK, BACK, FRONT, CLOSED]);
        if let Some(outcome) = self.any_that_came_out()
            && let Some((protocol, source, destination)) = sockets(&outcome)
        {
            let lot = &mut self.lot;
            let (source, destination) = (source.to_string(), destination.to_string());
            let packet = of(lot, protocol, &destination, &source, &REPLY_FLAGS);
            return (interface, finish(lot, packet.macs((mac(0x51), mac(0x02)))));
        }
        let lot = &mut self.lot;
        let source = socket(lot.of(&ends.servers), lot.of(&PORTS));
        let client = if lot.chance(80) {
            lot.of(&ends.clients)
        } else {
            ends.own
        };
        let destination = socket(client, lot.of(&CLIENT_PORTS));
        let protocol = lot.of(&[TCP, TCP, UDP, SCTP]);
        let packet = of(lot, protocol, &source, &destination, &REPLY_FLAGS);
        (interface, finish(lot, packet.macs((mac(0x51), mac(0x02)))))
    }

    fn any_that_came_out(&mut self) -> Option<Vec<u8>> {
        if self.came_out.is_empty() {
            return None;
        }
        let any = self.lot.below(self.came_out.len());
        Some(self.came_out[any].clone())
    }

    /// An ICMP error about a packet that came out, from somebody on its way or from where it went to.
    fn error(&mut self, ends: &Ends) -> (u32, Vec<u8>) {
        let Some(outcome) = self.any_that_came_out() else {
            return (FRONT, self.echo(ends));
        };
        let at = network_at(&outcome);
        let Some((_, source, destination)) = sockets(&outcome) else {
            return (FRONT, self.echo(ends));
        };
        let lot = &mut self.lot;
        let quoted = (outcome.len() - at).min(lot.of(&[28, 48, 68, 128, 548]));
        let is_v4 = source.is_ipv4();
        let router = match (lot.chance(50), is_v4) {
            (true, _) => destination,
            (false, true) => SocketAddr::from(([10, 0, 0, 99], 0)),
            (false, false) => SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 0x99], 0)),
        };
        let (kind, code) = if is_v4 {
            lot.of(&[(3, 3), (3, 4), (11, 0), (3, 1), (12, 0), (5, 1)])
        } else {
            lot.of(&[(1, 4), (2, 0), (3, 0), (1, 0), (4, 1)])
        };
        let mtu = lot.of(&[0, 576, 1280, 1400, 65_535]);
        let packet = icmp(&router.to_string(), &source.to_string(), kind, code)
            .message_rest(u32::to_be_bytes(mtu))
            .payload(&outcome[at..at + quoted]);
        (lot.of(&[BACK, BACK, FRONT]), finish(lot, packet))
    }

    fn echo(&mut self, ends: &Ends) -> Vec<u8> {
        let lot = &mut self.lot;
        let source = socket(lot.of(&ends.clients), 0);
        let destination = socket(lot.of(&ends.virtual_addresses), 0);
        let kind = match (lot.chance(80), ends.own.contains(':')) {
            (true, false) => 8,
            (true, true) => 128,
            (false, _) => lot.of(&[0, 13, 129, 135]),
        };
        let payload = lot.of(&[0, 1, 56]);
        let packet = icmp(&source, &destination, kind, 0)
            .message_rest([0, 7, 0, lot.below(4) as u8])
            .payload(&vec![b'e'; payload]);
        finish(lot, packet)
    }
}

pub(super) const REFUSALS: [Refusal; 4] = [
    Refusal::RESET,
    Refusal::RESET,
    Refusal::UNREACHABLE,
    Refusal::SILENCE,
];

fn socket(address: &str, port: u16) -> String {
    let address: IpAddr = address.parse().expect("an address");
    SocketAddr::new(address, port).to_string()
}

/// The ends of the family of a service.
pub(super) fn ends_of(key: &ServiceKey) -> &'static Ends {
    &ENDS[usize::from(!key.address.is_mapped())]
}

fn site(lot: &mut Lot) -> Site {
    let mut site = Site::default();
    while site.services.len() < 3 || (lot.chance(70) && site.services.len() < 8) {
        let id = site.services.len() as u32;
        put_service(lot, &mut site, id, SERVERS_AT_FIRST);
    }
    if site.servers.len() == 1 {
        return self::site(lot);
    }
    site.settings = settings(lot);
    site
}

/// Adds a service of this id, unless its address is another's, with servers of its own as long as the site
/// has less than `most`.
pub(super) fn put_service(lot: &mut Lot, site: &mut Site, id: u32, most: usize) {
    let ends = &ENDS[lot.below(2)];
    let protocol = lot.of(&[TCP, TCP, UDP, SCTP]);
    let address = socket(lot.of(&ends.virtual_addresses), lot.of(&PORTS));
    let key = super::service_key(protocol, &address);
    if site.services.contains_key(&key) {
        return;
    }
    let room = most.saturating_sub(site.servers.len()).min(4);
    let count = if room == 0 { 0 } else { lot.below(room + 1) };
    let method = lot.of(&METHODS);
    let before = site.ring.len() as u32;
    for _ in 0..count {
        let number = site.servers.len() as u32;
        let server = Server {
            service: id,
            ..real_server(lot, ends, method)
        };
        if server.has(Server::LIMITED) {
            let upper = 1 + lot.below(5) as u32;
            let lower = lot.below(upper as usize + 1) as u32;
            site.thresholds.insert(number, Thresholds { upper, lower });
        }
        site.ring.push(number);
        site.servers.push(server);
    }
    if count > 0 {
        // Slots besides, as weights make them.
        for _ in 0..lot.below(5) {
            let again = site.ring[before as usize + lot.below(count)];
            site.ring.push(again);
        }
    }
    let service = Service {
        id,
        ring: before,
        slots: site.ring.len() as u32 - before,
        scheduler: lot.of(&SCHEDULERS),
        flags: lot.of(&[
            0,
            0,
            0,
            Service::PERSISTENT,
            Service::PERSISTENT,
            Service::ONE_PACKET,
            Service::FALLBACK,
            Service::HASH_PORT | Service::FALLBACK,
        ]),
        refusal: lot.of(&REFUSALS),
        pad: 0,
    };
    site.services.insert(key, service);
    if service.has(Service::PERSISTENT) {
        site.persistence.insert(id, persistence(lot, ends));
    }
    if lot.chance(30) {
        let bits = 16 - lot.of(&[0_u32, 3, 10, 15, 16]);
        let port = (u32::from(lot.of(&PORTS)) >> (16 - bits) << (16 - bits)) as u16;
        let range = RangeKey {
            address: key.address.0,
            protocol,
            pad: 0,
            port: Be16::new(port),
        };
        site.ranges
            .insert((range, RangeKey::BITS - 16 + bits), service);
    }
}

const METHODS: [MethodKind; 9] = [
    MethodKind::NAT,
    MethodKind::NAT,
    MethodKind::NAT,
    MethodKind::NAT,
    MethodKind::DIRECT,
    MethodKind::TUNNEL,
    MethodKind::GRE,
    MethodKind::GUE,
    MethodKind::LOCAL,
];
pub(super) const SCHEDULERS: [SchedulerKind; 18] = [
    SchedulerKind::TURNS,
    SchedulerKind::TURNS,
    SchedulerKind::TURNS,
    SchedulerKind::LEAST_LOADED,
    SchedulerKind::LEAST_LOADED,
    SchedulerKind::SOURCE_HASH,
    SchedulerKind::SOURCE_HASH,
    SchedulerKind::LEAST_CONNECTIONS,
    SchedulerKind::SHORTEST_DELAY,
    SchedulerKind::NEVER_QUEUE,
    SchedulerKind::FAILOVER,
    SchedulerKind::OVERFLOW,
    SchedulerKind::TWO_CHOICES,
    SchedulerKind::DESTINATION_HASH,
    SchedulerKind::MAGLEV,
    SchedulerKind::MAGLEV_COMPAT,
    SchedulerKind::LOCALITY,
    SchedulerKind::LOCALITY_SET,
];

fn real_server(lot: &mut Lot, ends: &Ends, method: MethodKind) -> Server {
    let ends = if method.is_tunnel() && lot.chance(30) {
        &ENDS[lot.below(2)]
    } else {
        ends
    };
    let method = if lot.chance(10) {
        lot.of(&METHODS[3..5])
    } else {
        method
    };
    let port = if method == MethodKind::NAT {
        lot.of(&[80, 8080, 0])
    } else {
        0
    };
    let address = socket(lot.of(&ends.servers), port);
    let mut flags = 0;
    if method == MethodKind::NAT && lot.chance(30) {
        flags |= Server::SOURCE_NAT;
    }
    if method.is_tunnel() && lot.chance(50) {
        flags |= Server::TUNNEL_CHECKSUM;
    }
    if lot.chance(25) {
        flags |= Server::LIMITED;
    }
    let weight = lot.of(&[1, 1, 1, 2, 3, 0]);
    let (mtu, vlan) = (lot.of(&[1500, 1500, 1500, 0, 1280, 100]), lot.chance(15));
    let mut server = server(method, &address, 0x51)
        .with(flags)
        .weight(weight)
        .hop(|hop| {
            hop.mtu = mtu;
            hop.vlan = if vlan { 30 } else { 0 };
        });
    server.tunnel_port = Be16::new(6080);
    match lot.below(10) {
        0 => server.hop(|hop| hop.interface = 0),
        1 | 2 => server.in_front(),
        _ => server,
    }
}

pub(super) fn persistence(lot: &mut Lot, ends: &Ends) -> Persistence {
    let free: u32 = lot.of(&[0, 8, 32]);
    let bits: u128 = u128::MAX.checked_shl(free).unwrap_or(0);
    let mut mask = bits.to_be_bytes();
    if !ends.own.contains(':') {
        // As the control plane writes a mask of IPv4.
        mask[..10].fill(0);
        mask[10..12].fill(0xff);
    }
    Persistence {
        mask: Address6(mask),
        timeout: ticks(lot.of(&[0, 3, 60, 360])),
        pad: 0,
    }
}

pub(super) fn settings(lot: &mut Lot) -> Settings {
    let mut settings = Settings::default();
    let faster = lot.of(&[1, 1, 10, 60]);
    settings.timeouts = DEFAULT_TIMEOUTS.map(|seconds| ticks(seconds) / faster);
    settings.flags = lot.draw() as u32 & 0xff;
    settings.reuse = lot.below(4) as u32;
    settings.flows = lot.of(&[4, 9, 16, FLOWS as u32, FLOWS as u32]);
    settings.half_open = lot.below(settings.flows as usize + 1) as u32;
    settings.stateless_above = lot.of(&[0, 0, 3, 100_000]);
    settings.answers = lot.of(&[0, 3, 1_000, 1_000]);
    settings.pool_first = lot.of(&[1_024, 4_320]);
    settings.pool_size = lot.of(&[0, 2, 5, 31_744]);
    settings.secret = [lot.draw(), lot.draw()];
    settings
}

/// A packet of a protocol that is balanced.
fn of(lot: &mut Lot, protocol: u8, source: &str, destination: &str, flags: &[u8]) -> PacketBuilder {
    let length = match lot.below(20) {
        0 => 1_400 + lot.below(200),
        1..4 => lot.below(200),
        _ => lot.below(12),
    };
    let payload = vec![b'p'; length];
    match protocol {
        UDP => {
            let packet = udp(source, destination).payload(&payload);
            if lot.chance(10) {
                packet.unchecked(())
            } else {
                packet
            }
        }
        SCTP => {
            let packet = sctp(source, destination).chunks(lot.of(&CHUNKS));
            if lot.chance(50) {
                packet.payload(&payload)
            } else {
                packet
            }
        }
        _ => tcp(source, destination)
            .flags(lot.of(flags))
            .sequence(lot.draw() as u32)
            .payload(&payload),
    }
}

/// What any packet may have besides.
fn finish(lot: &mut Lot, mut packet: PacketBuilder) -> Vec<u8> {
    let is_v6 = packet.is_v6();
    if lot.chance(8) {
        packet = packet.hops(lot.of(&[0, 1, 2, 255]));
    }
    if lot.chance(8) {
        packet = packet.service(lot.draw() as u8);
    }
    if lot.chance(5) {
        packet = packet.vlan(lot.of(&[20, 30, 0x2014, 0xffff]));
    }
    if lot.chance(20) {
        packet = packet.may_fragment(());
    }
    if lot.chance(4) {
        packet = if is_v6 {
            packet.extensions(&[(60, vec![1, 4, 0, 0, 0, 0])])
        } else {
            packet.options(&[1, 1, 1, 0])
        };
    }
    packet.build()
}

/// Makes a packet a fragment, in place; one of IPv6 gets the header for it.
fn fragment(lot: &mut Lot, frame: &mut Vec<u8>) {
    let at = network_at(frame);
    let number = lot.below(3) as u8;
    let field: u16 = lot.of(&[0x2000, 0x2000, 0x2000, 0x0010, 0x2010, 0x0000]);
    match frame.get(at).map(|byte| byte >> 4) {
        Some(4) if frame.len() >= at + 20 => {
            frame[at + 4..at + 6].copy_from_slice(&[0, number]);
            frame[at + 6..at + 8].copy_from_slice(&field.to_be_bytes());
            frame[at + 10..at + 12].fill(0);
            let header = usize::from(frame[at] & 0x0f) * 4;
            if let Some(header) = frame.get(at..at + header) {
                let checksum = verify::sum(header).to_be_bytes();
                frame[at + 10..at + 12].copy_from_slice(&checksum);
            }
        }
        Some(6) if frame.len() >= at + 40 => {
            // The offset is 3 bits further to the left than IPv4's, the flag at the right end.
            let field = field.rotate_left(3);
            let [high, low] = field.to_be_bytes();
            let header = [frame[at + 6], 0, high, low, 0, 0, 0, number];
            frame[at + 6] = 44;
            let length = u16::from_be_bytes([frame[at + 4], frame[at + 5]]).wrapping_add(8);
            frame[at + 4..at + 6].copy_from_slice(&length.to_be_bytes());
            frame.splice(at + 40..at + 40, header);
        }
        _ => {}
    }
}

/// Where the IP header starts.
fn network_at(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some([0x81, 0]) => 18,
        _ => 14,
    }
}

/// Protocol, source and destination of a frame that was sent; of what is in a tunnel if it is one.
fn sockets(frame: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    inner(frame.get(network_at(frame)..)?)
}

fn inner(packet: &[u8]) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (protocol, at, ends): (u8, usize, [IpAddr; 2]) = match packet.first()? >> 4 {
        4 => {
            let address = |at: usize| -> Option<IpAddr> {
                let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                Some(bytes.into())
            };
            let header = usize::from(packet.first()? & 0x0f) * 4;
            (*packet.get(9)?, header, [address(12)?, address(16)?])
        }
        6 => {
            let address = |at: usize| -> Option<IpAddr> {
                let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                Some(bytes.into())
            };
            (*packet.get(6)?, 40, [address(8)?, address(24)?])
        }
        _ => return None,
    };
    let port = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?))
    };
    match protocol {
        4 | 41 => inner(packet.get(at..)?),
        TCP | UDP | SCTP => Some((
            protocol,
            SocketAddr::new(ends[0], port(at)?),
            SocketAddr::new(ends[1], port(at + 2)?),
        )),
        _ => None,
    }
}
