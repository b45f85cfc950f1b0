//! Tables made of ordinary collections.

use core::ops::ControlFlow;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
};

use bytemuck::Zeroable;

use crate::{
    address::{Address4, Address6},
    age::{self, Step},
    family::{Family, V4, V6},
    flow::{Flow, FlowKey},
    fragment::FragmentKey,
    learn::learn,
    lease::{Lease, Moment},
    maps::{
        Census, HeldFrame, Load, Locality, LocalityKey, NextHop, Persistence, RangeKey, Rate, Role,
        Server, Service, ServiceKey, Settings, Thresholds, Traffic,
    },
    packet::Packet,
    record::{Outcome, Record, is_worth_telling},
    room::Room,
    sieve,
    state::{State, TICK_SHIFT},
    tables::{
        Change, FlowEntry, FlowTable, FragmentTable, Inserted, Queue, Route, Routed, Tables,
        xorshift,
    },
    verdict::{Event, Reason},
    wire::ethernet::Mac,
};

/// A MAC address that is easily told from others.
#[must_use]
pub const fn mac(last: u8) -> Mac {
    [0x02, 0, 0, 0, 0, last]
}

/// The flows of one family.
#[derive(Debug)]
pub struct HostFlows<A: Ord + Copy> {
    /// The table.
    pub flows: BTreeMap<FlowKey<A>, HostEntry<A>>,
    /// The sweeper's queue of half-open flows.
    pub half_open: VecDeque<FlowKey<A>>,
    /// The sweeper's other queue.
    pub standing: VecDeque<FlowKey<A>>,
    /// How many entries there are, by kind.
    pub census: Census,
    /// Where fragments go.
    pub fragments: BTreeMap<FragmentKey<A>, Flow<A>>,
}

impl<A: Ord + Copy> HostFlows<A> {
    fn queue(&mut self, queue: Queue) -> &mut VecDeque<FlowKey<A>> {
        match queue {
            Queue::HalfOpen => &mut self.half_open,
            Queue::Standing => &mut self.standing,
        }
    }
}

impl<A: Ord + Copy> Default for HostFlows<A> {
    fn default() -> Self {
        Self {
            flows: BTreeMap::new(),
            half_open: VecDeque::new(),
            standing: VecDeque::new(),
            census: Census::default(),
            fragments: BTreeMap::new(),
        }
    }
}

/// A flow in [`HostFlows`].
#[derive(Debug, Clone)]
pub struct HostEntry<A: Copy>(Rc<Cell<Flow<A>>>);

/// Tables made of ordinary collections. The control plane's side is public.
#[derive(Debug)]
pub struct HostTables {
    /// Virtual services.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Virtual services by ranges of ports.
    pub ranges: BTreeMap<(RangeKey, u32), Service>,
    /// What addresses are to the balancer.
    pub roles: BTreeMap<Address6, Role>,
    /// Persistence by service.
    pub persistence: BTreeMap<u32, Persistence>,
    /// Thresholds by server.
    pub thresholds: BTreeMap<u32, Thresholds>,
    /// What lblc and lblcr remember.
    pub localities: RefCell<BTreeMap<LocalityKey, Locality>>,
    /// How often each event happened.
    pub events: RefCell<BTreeMap<&'static str, u64>>,
    /// How often packets were refused, by reason.
    pub reasons: RefCell<BTreeMap<&'static str, u64>>,
    /// New flows of this second.
    pub flow_rate: Cell<Rate>,
    /// Answers of this second.
    pub answer_rate: Cell<Rate>,
    /// The last random number.
    pub random: Cell<u32>,
    /// Packets that were given to the daemon, as far as headers may be.
    pub held: RefCell<Vec<Vec<u8>>>,
    /// Real servers by id.
    pub servers: Vec<Server>,
    /// The slots of all rings.
    pub ring: Vec<u32>,
    /// Flows of IPv4.
    pub v4: RefCell<HostFlows<Address4>>,
    /// Flows of IPv6.
    pub v6: RefCell<HostFlows<Address6>>,
    /// Turns by service.
    pub turns: RefCell<BTreeMap<u32, u64>>,
    /// Loads by server.
    pub loads: RefCell<BTreeMap<u32, Load>>,
    /// Traffic by server.
    pub traffic: RefCell<BTreeMap<u32, Traffic>>,
    /// Timeouts.
    pub settings: Settings,
    /// The clock, in ticks.
    pub clock: Cell<u32>,
    /// Whether this director steers. Its time is that of the clock.
    pub lease: Cell<Lease>,
    /// What the kernel's routing answers.
    pub route: Route,
    /// Where the kernel's routing answers otherwise: by the interface that a packet came in by, its
    /// destination, and its length.
    pub routes: Option<fn(u32, IpAddr, usize) -> Route>,
    /// How many flows each family's table holds.
    pub capacity: usize,
    /// What the last packet of IPv4 has left in its room, for the next.
    pub room4: Cell<Room<Address4>>,
    /// The same of IPv6.
    pub room6: Cell<Room<Address6>>,
    /// How many fragmented datagrams each family's table remembers.
    pub fragments: usize,
    /// How many packets the daemon takes.
    pub hands: usize,
    /// What the partner was told.
    pub told: RefCell<Vec<Record>>,
    /// How much the daemon takes of that.
    pub ears: usize,
}

impl Default for HostTables {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            ranges: BTreeMap::new(),
            roles: BTreeMap::new(),
            persistence: BTreeMap::new(),
            thresholds: BTreeMap::new(),
            localities: RefCell::default(),
            events: RefCell::default(),
            reasons: RefCell::default(),
            flow_rate: Cell::default(),
            answer_rate: Cell::default(),
            random: Cell::new(1),
            held: RefCell::default(),
            servers: Vec::new(),
            ring: Vec::new(),
            v4: RefCell::default(),
            v6: RefCell::default(),
            turns: RefCell::default(),
            loads: RefCell::default(),
            traffic: RefCell::default(),
            settings: Settings::default(),
            clock: Cell::new(1_000),
            lease: Cell::default(),
            route: Route::Via(NextHop {
                interface: 1,
                vlan: 0,
                mac: mac(0xc1),
                source_mac: mac(0x01),
                mtu: 1500,
            }),
            routes: None,
            capacity: 1_000,
            room4: Cell::new(Zeroable::zeroed()),
            room6: Cell::new(Zeroable::zeroed()),
            fragments: 1_000,
            hands: 1_000,
            told: RefCell::default(),
            ears: 1_000,
        }
    }
}

impl<A: Copy> HostEntry<A> {
    /// What it holds.
    #[must_use]
    pub fn flow(&self) -> Flow<A> {
        self.0.get()
    }
}

fn this_second(rate: &Cell<Rate>, now: u32) -> u32 {
    let next = rate.get().counted(now);
    rate.set(next);
    next.count
}

impl HostTables {
    /// Counts a packet that was refused.
    pub fn refuse(&self, reason: Reason) {
        *self.reasons.borrow_mut().entry(reason.name()).or_default() += 1;
    }

    /// One step of the sweeper.
    pub fn sweep<F: Family>(&self, queue: Queue) -> Step
    where
        Self: FlowTable<F>,
    {
        let (mut key, mut other) = (FlowKey::empty::<F>(), FlowKey::empty::<F>());
        age::step::<F, _>(self, queue, self.clock.get(), &mut key, &mut other)
    }

    /// The sweeper takes so many steps through each queue.
    pub fn sweep_on(&self, steps: u32) {
        let queues = [Queue::HalfOpen, Queue::Standing].map(|queue| (queue, steps as usize));
        self.sweep_family::<V4>(queues);
        self.sweep_family::<V6>(queues);
    }

    /// The sweeper looks at every entry once.
    pub fn sweep_all(&self) {
        let lengths =
            |standing, half_open| [(Queue::Standing, standing), (Queue::HalfOpen, half_open)];
        let v4 = lengths(
            self.v4.borrow().standing.len(),
            self.v4.borrow().half_open.len(),
        );
        let v6 = lengths(
            self.v6.borrow().standing.len(),
            self.v6.borrow().half_open.len(),
        );
        self.sweep_family::<V4>(v4);
        self.sweep_family::<V6>(v6);
    }

    fn sweep_family<F: Family>(&self, queues: [(Queue, usize); 2])
    where
        Self: FlowTable<F>,
    {
        for (queue, length) in queues {
            for _ in 0..length {
                let _ = self.sweep::<F>(queue);
            }
        }
    }

    /// Learns a record, and writes what came of it into it.
    pub fn learn(&self, record: &mut Record) -> Outcome {
        record.outcome = if record.has(Record::IPV6) {
            self.learn_in::<V6>(record)
        } else {
            self.learn_in::<V4>(record)
        };
        record.outcome
    }

    fn learn_in<F: Family>(&self, record: &Record) -> Outcome
    where
        Self: FlowTable<F> + HostRoom<F>,
    {
        let mut room = HostRoom::<F>::room(self).get();
        learn::<F, _>(self, record, &mut room.key, &mut room.new)
    }

    /// Lets time pass.
    pub fn advance(&self, ticks: u32) {
        self.clock.set(self.clock.get().wrapping_add(ticks));
    }
}

impl Tables for HostTables {
    fn service(&self, key: &ServiceKey) -> Option<Service> {
        self.services.get(key).copied()
    }

    fn service_by_range(&self, key: &RangeKey) -> Option<Service> {
        let is_in = |(range, bits): &(RangeKey, u32)| {
            let free = RangeKey::BITS - bits;
            (range.address, range.protocol) == (key.address, key.protocol)
                && u32::from(range.port.get()) >> free == u32::from(key.port.get()) >> free
        };
        let ranges = self.ranges.iter().filter(|(range, _)| is_in(range));
        let narrowest = ranges.max_by_key(|((_, bits), _)| *bits);
        narrowest.map(|(_, service)| *service)
    }

    fn may_concern(&self, address: &Address6) -> bool {
        let (word, bits) = sieve::place(address);
        let ours = self.roles.keys().map(sieve::place);
        let in_word = ours.filter(|place| place.0 == word);
        sieve::has(in_word.fold(0, |all, place| all | place.1), bits)
    }

    fn role(&self, address: &Address6) -> Role {
        self.roles.get(address).copied().unwrap_or_default()
    }

    fn persistence(&self, service: u32) -> Option<&Persistence> {
        self.persistence.get(&service)
    }

    fn server(&self, id: u32) -> Option<&Server> {
        self.servers.get(id as usize)
    }

    fn thresholds(&self, server: u32) -> Thresholds {
        self.thresholds.get(&server).copied().unwrap_or_default()
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.ring.get(index as usize).copied()
    }

    fn scan(&self, first: u32, count: u32, mut visit: impl FnMut(u32) -> ControlFlow<()>) {
        for index in first..first + count {
            if let Some(id) = self.slot(index)
                && visit(id).is_break()
            {
                return;
            }
        }
    }

    fn repeat(&self, count: u32, mut visit: impl FnMut(u32) -> ControlFlow<()>) {
        for index in 0..count {
            if visit(index).is_break() {
                return;
            }
        }
    }

    fn random(&self) -> u32 {
        self.random.set(xorshift(self.random.get()));
        self.random.get()
    }

    fn locality(&self, key: &LocalityKey) -> Option<Locality> {
        self.localities.borrow().get(key).copied()
    }

    fn remember_locality(&self, key: &LocalityKey, locality: &Locality) {
        self.localities.borrow_mut().insert(*key, *locality);
    }

    fn turn(&self, service: u32) -> u64 {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(service).or_default();
        *turn += 1;
        *turn - 1
    }

    fn load(&self, server: u32) -> Load {
        self.loads
            .borrow()
            .get(&server)
            .copied()
            .unwrap_or_default()
    }

    fn adjust_load(&self, server: u32, change: Change) {
        let mut loads = self.loads.borrow_mut();
        let load = loads.entry(server).or_default();
        let adjust = |count: &mut u32, change| {
            *count = count
                .checked_add_signed(change)
                .expect("as many came as go");
        };
        adjust(&mut load.active, change.active);
        adjust(&mut load.inactive, change.inactive);
        adjust(&mut load.closing, change.closing);
        adjust(&mut load.persistent, change.persistent);
    }

    fn set_overloaded(&self, server: u32, overloaded: bool) {
        let mut loads = self.loads.borrow_mut();
        loads.entry(server).or_default().overloaded = u32::from(overloaded);
    }

    fn count_connection(&self, server: u32) {
        self.traffic
            .borrow_mut()
            .entry(server)
            .or_default()
            .connections += 1;
    }

    fn count_request(&self, server: u32, bytes: usize) {
        let mut traffic = self.traffic.borrow_mut();
        let traffic = traffic.entry(server).or_default();
        traffic.packets_in += 1;
        traffic.bytes_in += bytes as u64;
    }

    fn count_reply(&self, server: u32, bytes: usize) {
        let mut traffic = self.traffic.borrow_mut();
        let traffic = traffic.entry(server).or_default();
        traffic.packets_out += 1;
        traffic.bytes_out += bytes as u64;
    }

    fn count(&self, event: Event) {
        *self.events.borrow_mut().entry(event.name()).or_default() += 1;
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn flows_this_second(&self, now: u32) -> u32 {
        this_second(&self.flow_rate, now)
    }

    fn answers_this_second(&self, now: u32) -> u32 {
        this_second(&self.answer_rate, now)
    }

    fn hold<P: Packet>(&self, packet: &P) -> bool {
        let mut held = self.held.borrow_mut();
        if held.len() >= self.hands || packet.length() > HeldFrame::CAPACITY {
            return false;
        }
        let bytes = (0..packet.length()).map_while(|at| packet.header::<u8>(at).copied());
        held.push(bytes.collect());
        true
    }

    fn moment(&self) -> Moment {
        Moment::new(self.clock.get(), self.refusal().is_some())
    }

    fn lease(&self) -> Lease {
        self.lease.get()
    }

    fn boot_time(&self) -> u64 {
        u64::from(self.clock.get()) << TICK_SHIFT
    }

    fn route<F: Family>(&self, interface: u32, packet: &Routed<'_, F>) -> Route {
        match self.routes {
            Some(routes) => routes(interface, asked::<F>(packet.destination), packet.length),
            None => self.route,
        }
    }
}

impl<F: Family> FlowEntry<F> for HostEntry<F::Address> {
    fn get(&self) -> Flow<F::Address> {
        self.0.get()
    }

    fn touch(&self, now: u32) {
        self.0.set(Flow {
            seen: now,
            ..self.0.get()
        });
    }

    fn grant(&self, hop: &NextHop, now: u32, term: u32) {
        self.0.set(Flow {
            seen: now,
            timeout: term,
            way_back: *hop,
            ..self.0.get()
        });
    }

    fn advance(&self, from: State, to: State, timeout: u32) -> bool {
        let flow = self.0.get();
        if flow.state != from {
            return false;
        }
        self.0.set(Flow {
            state: to,
            timeout,
            ..flow
        });
        true
    }
}

/// The address that a routing table of this family is asked for. One of IPv6 that looks like an IPv4
/// address in disguise is none to it.
fn asked<F: Family>(address: &F::Address) -> IpAddr {
    let wide = F::widen(*address);
    if F::ETHERTYPE == V6::ETHERTYPE {
        Ipv6Addr::from(wide.0).into()
    } else {
        wide.into()
    }
}

/// Room for one packet. It is not cleaned for the next one, as in the kernel.
pub(super) trait HostRoom<F: Family> {
    fn room(&self) -> &Cell<Room<F::Address>>;
}

macro_rules! flow_table {
    ($family:ty, $field:ident, $room:ident) => {
        impl HostRoom<$family> for HostTables {
            fn room(&self) -> &Cell<Room<<$family as Family>::Address>> {
                &self.$room
            }
        }

        impl FlowTable<$family> for HostTables {
            type Entry = HostEntry<<$family as Family>::Address>;

            fn find(&self, key: &FlowKey<<$family as Family>::Address>) -> Option<Self::Entry> {
                self.$field.borrow().flows.get(key).cloned()
            }

            fn insert(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
                flow: &Flow<<$family as Family>::Address>,
            ) -> Inserted {
                let mut table = self.$field.borrow_mut();
                if table.flows.contains_key(key) {
                    return Inserted::Exists;
                }
                if table.flows.len() >= self.capacity {
                    return Inserted::Full;
                }
                table
                    .flows
                    .insert(*key, HostEntry(Rc::new(Cell::new(*flow))));
                Inserted::Yes
            }

            fn replace(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
                flow: &Flow<<$family as Family>::Address>,
            ) -> Inserted {
                let mut table = self.$field.borrow_mut();
                table
                    .flows
                    .insert(*key, HostEntry(Rc::new(Cell::new(*flow))));
                Inserted::Yes
            }

            fn remove(&self, key: &FlowKey<<$family as Family>::Address>) {
                self.$field.borrow_mut().flows.remove(key);
            }

            fn enqueue(
                &self,
                queue: Queue,
                key: &FlowKey<<$family as Family>::Address>,
            ) -> Inserted {
                self.$field.borrow_mut().queue(queue).push_back(*key);
                Inserted::Yes
            }

            fn dequeue(
                &self,
                queue: Queue,
                key: &mut FlowKey<<$family as Family>::Address>,
            ) -> bool {
                match self.$field.borrow_mut().queue(queue).pop_front() {
                    Some(first) => {
                        *key = first;
                        true
                    }
                    None => false,
                }
            }

            fn census(&self) -> Census {
                self.$field.borrow().census
            }

            fn told(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
                before: Option<State>,
                after: Option<State>,
            ) {
                let Some(entry) = FlowTable::<$family>::find(self, key) else {
                    return;
                };
                if !is_worth_telling(before, after) {
                    return;
                }
                let mut told = self.told.borrow_mut();
                if told.len() >= self.ears {
                    self.count(Event::Untold);
                    return;
                }
                let mut record = Record::zeroed();
                let flags = if after.is_none() { Record::ENDED } else { 0 };
                record.fill::<$family>(key, &entry.flow(), self.clock.get(), flags);
                told.push(record);
            }

            fn adjust_census(&self, half_open: i32, standing: i32) {
                let mut table = self.$field.borrow_mut();
                let Census {
                    half_open: a,
                    standing: b,
                } = table.census;
                table.census = Census {
                    half_open: a.checked_add_signed(half_open).expect("as many came as go"),
                    standing: b.checked_add_signed(standing).expect("as many came as go"),
                };
            }
        }

        impl FragmentTable<$family> for HostTables {
            fn fragment(
                &self,
                key: &FragmentKey<<$family as Family>::Address>,
            ) -> Option<Flow<<$family as Family>::Address>> {
                self.$field.borrow().fragments.get(key).copied()
            }

            fn remember_fragment(
                &self,
                key: &FragmentKey<<$family as Family>::Address>,
                way: &Flow<<$family as Family>::Address>,
            ) {
                let mut table = self.$field.borrow_mut();
                if table.fragments.len() >= self.fragments && !table.fragments.contains_key(key) {
                    let oldest = table.fragments.iter().min_by_key(|(_, way)| way.seen);
                    if let Some(oldest) = oldest.map(|(key, _)| *key) {
                        table.fragments.remove(&oldest);
                    }
                }
                table.fragments.insert(*key, *way);
            }
        }
    };
}

flow_table!(V4, v4, room4);
flow_table!(V6, v6, room6);
