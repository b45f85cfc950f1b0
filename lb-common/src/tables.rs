//! What the pipeline asks of the maps.

use core::ops::ControlFlow;

use crate::{
    family::Family,
    flow::{Flow, FlowKey},
    maps::{Load, NextHop, Server, Service, ServiceKey},
    state::State,
    verdict::Reason,
};

/// The maps but for flows, and the little that the kernel knows besides.
pub trait Tables {
    /// The service that has this key.
    fn service(&self, key: &ServiceKey) -> Option<Service>;

    /// The real server of this id, which may be in use no longer.
    fn server(&self, id: u32) -> Option<&Server>;

    /// The id in a slot of the ring.
    fn slot(&self, index: u32) -> Option<u32>;

    /// Calls `visit` for each of `count` slots from `first` on until it breaks off.
    fn scan(&self, first: u32, count: u32, visit: impl FnMut(u32) -> ControlFlow<()>);

    /// The turn of a service, which goes up by one each time.
    fn turn(&self, service: u32) -> u64;

    /// How many flows a real server has now.
    fn load(&self, server: u32) -> Load;

    /// Changes the number of flows of a real server.
    fn adjust_load(&self, server: u32, active: i32, inactive: i32);

    /// Counts a flow that was scheduled to a real server.
    fn count_connection(&self, server: u32);

    /// Counts a packet to a real server.
    fn count_request(&self, server: u32, bytes: usize);

    /// Counts a packet from a real server.
    fn count_reply(&self, server: u32, bytes: usize);

    /// How long a silent flow is remembered in this state, in ticks.
    fn timeout(&self, state: State) -> u32;

    /// The time in ticks ([`crate::state::ticks`]).
    fn now(&self) -> u32;

    /// The kernel's route for a packet that came in by `interface`.
    fn route<F: Family>(&self, interface: u32, packet: &Routed<'_, F>) -> Route;
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
    /// There is none.
    None(Reason),
}

/// The flows of one address family, and the queue in which each flow waits to be looked at by the
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

    /// Appends a key to the queue.
    fn enqueue(&self, key: &FlowKey<F::Address>) -> Inserted;

    /// Takes the first key of the queue.
    fn dequeue(&self) -> Option<FlowKey<F::Address>>;
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

    /// Notes that a packet of it came `now`.
    fn touch(&self, now: u32);

    /// Changes its state and timeout if the state still is `from`.
    fn advance(&self, from: State, to: State, timeout: u32) -> bool;
}
