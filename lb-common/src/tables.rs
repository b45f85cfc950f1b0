//! What the pipeline asks of the maps.

use core::ops::ControlFlow;

use crate::{
    address::Address6,
    count,
    family::Family,
    flow::{Flow, FlowKey},
    fragment::FragmentKey,
    lease::{Lease, Moment},
    maps::{
        Census, Load, Locality, LocalityKey, NextHop, Persistence, RangeKey, Role, Server, Service,
        ServiceKey, Settings, Thresholds,
    },
    packet::Packet,
    state::State,
    verdict::{Event, Reason},
};

/// The maps but for flows, and the little that the kernel knows besides.
pub trait Tables {
    /// The service that has this key.
    fn service(&self, key: &ServiceKey) -> Option<Service>;

    /// The service to whose ranges of ports this key belongs, the narrowest first.
    fn service_by_range(&self, key: &RangeKey) -> Option<Service>;

    /// What an address is to the balancer.
    fn role(&self, address: &Address6) -> Role;

    /// Whether this is the address of a service.
    #[inline(always)]
    fn is_virtual(&self, address: &Address6) -> bool {
        self.role(address).has(Role::VIRTUAL)
    }

    /// Whether this is an address that is only where the right to steer is.
    #[inline(always)]
    fn is_floating(&self, address: &Address6) -> bool {
        self.role(address).has(Role::VIRTUAL.and(Role::FLOATING))
    }

    /// Whether an address may be anything to the balancer ([`crate::sieve`]); if not, it has no role.
    fn may_concern(&self, address: &Address6) -> bool;

    /// How long the clients of a service stay with their server.
    fn persistence(&self, service: u32) -> Option<&Persistence>;

    /// The real server of this id, which may be in use no longer.
    fn server(&self, id: u32) -> Option<&Server>;

    /// How many flows a real server may have.
    fn thresholds(&self, server: u32) -> Thresholds;

    /// The id in a slot of the ring.
    fn slot(&self, index: u32) -> Option<u32>;

    /// Calls `visit` for each of `count` slots from `first` on until it breaks off.
    fn scan(&self, first: u32, count: u32, visit: impl FnMut(u32) -> ControlFlow<()>);

    /// Calls `visit` for each number below `count` until it breaks off.
    fn repeat(&self, count: u32, visit: impl FnMut(u32) -> ControlFlow<()>);

    /// The turn of a service, which goes up by one each time.
    fn turn(&self, service: u32) -> u64;

    /// Zero. Linux before 6.8 takes it that a callback of [`Tables::scan`] or [`Tables::repeat`] runs
    /// once, with the values that it saw written before; so a variable that one round writes and
    /// the next one reads has to start from a number that the verifier does not know.
    #[inline(always)]
    fn zero(&self) -> u32 {
        0
    }

    /// A number that nobody can foretell.
    fn random(&self) -> u32;

    /// The servers that lblc and lblcr remember.
    fn locality(&self, key: &LocalityKey) -> Option<Locality>;

    /// Remembers them. The one that was not used for longest makes room.
    fn remember_locality(&self, key: &LocalityKey, locality: &Locality);

    /// How many flows a real server has now.
    fn load(&self, server: u32) -> Load;

    /// Changes the number of flows of a real server.
    fn adjust_load(&self, server: u32, change: Change);

    /// Notes whether a real server is over its thresholds.
    fn set_overloaded(&self, server: u32, overloaded: bool);

    /// Counts a flow that was scheduled to a real server.
    fn count_connection(&self, server: u32);

    /// Counts a packet to a real server.
    fn count_request(&self, server: u32, bytes: usize);

    /// Counts a packet from a real server.
    fn count_reply(&self, server: u32, bytes: usize);

    /// Counts something else.
    fn count(&self, event: Event);

    /// Settings and timeouts.
    fn settings(&self) -> Option<&Settings>;

    /// How long a silent flow is remembered in this state, in ticks.
    #[inline(always)]
    fn timeout(&self, state: State) -> u32 {
        self.settings()
            .and_then(|settings| settings.timeouts.get(state.0 as usize))
            .copied()
            .unwrap_or_default()
    }

    /// Whether this flag of [`Settings`] is set.
    #[inline(always)]
    fn is_set(&self, flag: u32) -> bool {
        self.settings().is_some_and(|settings| settings.has(flag))
    }

    /// How many flows began on this CPU in this second, this one included.
    fn flows_this_second(&self, now: u32) -> u32;

    /// How many answers were sent by this CPU in this second, this one included.
    fn answers_this_second(&self, now: u32) -> u32;

    /// The time, and whether the lease may be over.
    fn moment(&self) -> Moment;

    /// The time in ticks ([`crate::state::ticks`]).
    #[inline(always)]
    fn now(&self) -> u32 {
        self.moment().now()
    }

    /// Whether this director steers.
    fn lease(&self) -> Lease;

    /// The exact time that the lease counts by.
    fn boot_time(&self) -> u64;

    /// Why packets of services are not steered, if they are not.
    #[inline(always)]
    fn refusal(&self) -> Option<Reason> {
        self.lease().refusal(|| self.boot_time())
    }

    /// The kernel's route for a packet that came in by `interface`.
    fn route<F: Family>(&self, interface: u32, packet: &Routed<'_, F>) -> Route;

    /// Gives the packet into the daemon's hands, which sends it on when the first fragment of its
    /// datagram has come. `false` if there is no room.
    fn hold<P: Packet>(&self, packet: &P) -> bool;
}

/// A change of a [`Load`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Of the active flows.
    pub active: i32,
    /// Of the inactive ones, the closing ones among them.
    pub inactive: i32,
    /// Of those that are closing.
    pub closing: i32,
    /// Of the persistence templates.
    pub persistent: i32,
}

/// What the kernel's route of a packet depends on.
#[derive(Debug)]
pub struct Routed<'a, F: Family> {
    /// Where it comes from.
    pub source: &'a F::Address,
    /// Where it is going.
    pub destination: &'a F::Address,
    /// Length of IP header and payload, in bytes.
    pub length: usize,
    /// Differentiated services and ECN.
    pub service: u8,
}

/// What the kernel says of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To this neighbour.
    Via(NextHop),
    /// There is a route, but its neighbour has not been resolved.
    NoNeighbour,
    /// The packet is larger than this many bytes, which is all that the way takes.
    TooBig(u32),
    /// There is none.
    None(Reason),
}

/// The flows of one address family, and the queues in which each flow waits to be looked at by the
/// sweeper ([`crate::age`]).
pub trait FlowTable<F: Family> {
    /// A flow in the table.
    type Entry: FlowEntry<F> + Clone;

    /// The flow of this key.
    fn find(&self, key: &FlowKey<F::Address>) -> Option<Self::Entry>;

    /// Adds a flow that is not there yet.
    fn insert(&self, key: &FlowKey<F::Address>, flow: &Flow<F::Address>) -> Inserted;

    /// Puts a flow in the place of the one that is there. The key stays in the queue.
    fn replace(&self, key: &FlowKey<F::Address>, flow: &Flow<F::Address>) -> Inserted;

    /// Takes a flow out.
    fn remove(&self, key: &FlowKey<F::Address>);

    /// Appends a key to a queue.
    fn enqueue(&self, queue: Queue, key: &FlowKey<F::Address>) -> Inserted;

    /// Takes the first key of a queue into `key`; `false` if there is none.
    fn dequeue(&self, queue: Queue, key: &mut FlowKey<F::Address>) -> bool;

    /// How many entries the table has, by kind.
    fn census(&self) -> Census;

    /// Changes that.
    fn adjust_census(&self, half_open: i32, standing: i32);

    /// Tells the partner what is in the table under this key now, if the change of its state is worth it
    /// ([`crate::record::is_worth_telling`]). What the daemon does not read in time is counted
    /// ([`Event::Untold`]).
    fn told(&self, key: &FlowKey<F::Address>, before: Option<State>, after: Option<State>);

    /// Enters into the books that a flow of a real server went from one state to another:
    /// [`count::changed`]. In the kernel that is a function of its own.
    #[inline(always)]
    fn changed(&self, server: u32, before: Option<State>, after: Option<State>)
    where
        Self: Tables + Sized,
    {
        count::changed::<F, Self>(self, server, before, after);
    }
}

/// The datagrams of one address family whose first fragment was seen ([`crate::fragment`]).
pub trait FragmentTable<F: Family> {
    /// Where the fragments of a datagram go.
    fn fragment(&self, key: &FragmentKey<F::Address>) -> Option<Flow<F::Address>>;

    /// Remembers that. The one that was not used for longest makes room.
    fn remember_fragment(&self, key: &FragmentKey<F::Address>, way: &Flow<F::Address>);
}

/// Where a flow waits for the sweeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// From its beginning until the sweeper finds it standing. New flows displace those that wait
    /// here longest.
    HalfOpen,
    /// From then on; templates from their beginning.
    Standing,
}

/// What came of adding to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is there now.
    Yes,
    /// Another was there already.
    Exists,
    /// There was no room.
    Full,
}

/// A flow where it lies in the table, possibly used by other CPUs at the same time.
pub trait FlowEntry<F: Family> {
    /// What it holds now.
    fn get(&self) -> Flow<F::Address>;

    /// Copies that. In the kernel by words: of an assignment the compiler makes a loop over bytes.
    #[inline(always)]
    fn copy_to(&self, flow: &mut Flow<F::Address>) {
        *flow = self.get();
    }

    /// Copies what the real server sees as the source. In the kernel that is read here and not before:
    /// of most flows it is not needed, and lies on another cache line than what is.
    #[inline(always)]
    fn copy_source_to(&self, flow: &mut Flow<F::Address>) {
        let from = self.get();
        flow.client_address = from.client_address;
        flow.client_port = from.client_port;
    }

    /// Notes that a packet of it came `now`.
    fn touch(&self, now: u32);

    /// Notes of a way back that its flow and its way, which is `hop`, were looked at `now`, and for how
    /// many ticks both are taken for granted ([`Flow::is_granted`]).
    fn grant(&self, hop: &NextHop, now: u32, term: u32);

    /// Changes its state and timeout if the state still is `from`.
    fn advance(&self, from: State, to: State, timeout: u32) -> bool;
}

/// The next of a row of numbers that look as if drawn by lot (Marsaglia's xorshift32): what tests
/// have in the place of chance. `last` is not zero.
#[must_use]
#[inline(always)]
pub const fn xorshift(last: u32) -> u32 {
    let mut next = last;
    next ^= next << 13;
    next ^= next >> 17;
    next ^= next << 5;
    next
}
