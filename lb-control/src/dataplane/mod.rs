//! The maps as the control plane sees them, and the seam to the kernel.

mod attachment;
pub mod bpffs;
pub mod changes;
pub mod connections;
#[cfg(test)]
pub mod fake;
pub mod flows;
pub mod held;
pub mod kernel;
pub mod learn;
pub mod lease;
pub mod log;
mod memory;
pub mod trial;

use std::collections::BTreeMap;

use lb_common::{
    address::Address6,
    maps::{
        InterfaceTraffic, Load, Persistence, RangeKey, Role, Server, Service, ServiceKey, Settings,
        Thresholds, Traffic, Vlan,
    },
    sieve,
    verdict::{Event, Reason},
};

/// The content of the maps that the control plane writes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// Virtual services.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Virtual services by ranges of ports, and how many bits of each key count.
    pub ranges: BTreeMap<(RangeKey, u32), Service>,
    /// What addresses are: those of virtual services, and of real servers whose replies come this
    /// way.
    pub addresses: BTreeMap<Address6, Role>,
    /// The words of the sieve that were ever written.
    pub sieve: BTreeMap<u32, u64>,
    /// How long clients stay, by service; those whose clients do not are left out.
    pub persistence: BTreeMap<u32, Persistence>,
    /// Thresholds by real server; those without are left out.
    pub thresholds: BTreeMap<u32, Thresholds>,
    /// Real servers by id; those that are not present are left out.
    pub servers: BTreeMap<u32, Server>,
    /// The ring of each service by its first slot.
    pub rings: BTreeMap<u32, Vec<u32>>,
    /// VLAN interfaces by index.
    pub vlans: BTreeMap<u32, Vlan>,
    /// Timeouts.
    pub settings: Option<Settings>,
}

impl Tables {
    /// The words of the sieve that follow from the addresses; those that are zero are left out.
    #[must_use]
    pub fn words(&self) -> BTreeMap<u32, u64> {
        let mut words = BTreeMap::new();
        for (word, bits) in self.addresses.keys().map(sieve::place) {
            *words.entry(word).or_default() |= bits;
        }
        words
    }

    /// The entries of all services; one that has several keys comes several times.
    pub fn entries(&self) -> impl Iterator<Item = &Service> {
        self.services.values().chain(self.ranges.values())
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Timeouts.
    Settings(Settings),
    /// A VLAN interface.
    Vlan(u32, Vlan),
    /// A VLAN interface is gone.
    NoVlan(u32),
    /// What an address is.
    Address(Address6, Role),
    /// An address is nothing to us any more.
    NoAddress(Address6),
    /// A word of the sieve ([`sieve`]).
    Sieve(u32, u64),
    /// How long the clients of a service stay; zero for not at all.
    Persistence(u32, Persistence),
    /// How many flows a real server may have, from now on; zero for any number.
    Thresholds(u32, Thresholds),
    /// A service with a range of ports appears or changes.
    Range((RangeKey, u32), Service),
    /// A range of ports has no service any more.
    NoRange((RangeKey, u32)),
    /// A real server appears or changes.
    Server(u32, Server),
    /// Slots from the first on.
    Ring(u32, Vec<u32>),
    /// The turn of a service.
    Turn(u32, u64),
    /// A service appears or changes.
    Service(ServiceKey, Service),
    /// A service is gone.
    NoService(ServiceKey),
    /// A real server is gone.
    NoServer(u32),
}

/// How many entries the maps hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Virtual services.
    pub services: u32,
    /// Real servers.
    pub servers: u32,
    /// Slots of all rings.
    pub ring: u32,
    /// Entries of the flow table of each address family.
    pub flows: u32,
    /// How many of them half-open flows may take.
    pub half_open: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        use lb_common::maps::size;
        Self {
            services: size::SERVICES,
            servers: size::SERVERS,
            ring: size::RING,
            flows: size::FLOWS,
            half_open: size::FLOWS / 2,
        }
    }
}

/// What two count together.
#[must_use]
pub const fn both(one: &Traffic, other: &Traffic) -> Traffic {
    Traffic {
        connections: one.connections + other.connections,
        packets_in: one.packets_in + other.packets_in,
        bytes_in: one.bytes_in + other.bytes_in,
        packets_out: one.packets_out + other.packets_out,
        bytes_out: one.bytes_out + other.bytes_out,
    }
}

/// The kernel's side.
pub trait Dataplane {
    /// What a refused write looks like.
    type Error: std::fmt::Display;

    /// How many entries the maps hold.
    fn sizes(&self) -> Sizes;

    /// What the maps hold now.
    ///
    /// # Errors
    /// The kernel's.
    fn read(&self) -> Result<Tables, Self::Error>;

    /// Writes one change.
    ///
    /// # Errors
    /// The kernel's; nothing was written then.
    fn apply(&mut self, change: &Change) -> Result<(), Self::Error>;

    /// How many flows a real server has.
    ///
    /// # Errors
    /// The kernel's.
    fn load(&self, server: u32) -> Result<Load, Self::Error>;

    /// What a real server got and sent, all CPUs together.
    ///
    /// # Errors
    /// The kernel's.
    fn traffic(&self, server: u32) -> Result<Traffic, Self::Error>;

    /// Begins to count anew for an id that no server has.
    ///
    /// # Errors
    /// The kernel's.
    fn clear_traffic(&mut self, server: u32) -> Result<(), Self::Error>;

    /// What came in by each interface, all CPUs together; those by which nothing came are left out.
    /// Number 0 is all whose index is too high to be counted by themselves.
    ///
    /// # Errors
    /// The kernel's.
    fn interfaces(&self) -> Result<Vec<(u32, InterfaceTraffic)>, Self::Error>;

    /// How many bytes all maps take together, as far as can be told from their sizes.
    fn memory(&self) -> u64;

    /// The turn of a service.
    ///
    /// # Errors
    /// The kernel's.
    fn turn(&self, service: u32) -> Result<u64, Self::Error>;

    /// How many packets were not steered, by reason, all CPUs together.
    ///
    /// # Errors
    /// The kernel's.
    fn reasons(&self) -> Result<Vec<(Reason, u64)>, Self::Error>;

    /// How often each event happened, all CPUs together.
    ///
    /// # Errors
    /// The kernel's.
    fn events(&self) -> Result<Vec<(Event, u64)>, Self::Error>;

    /// How many flows there are: of IPv4, of IPv6.
    ///
    /// # Errors
    /// The kernel's.
    fn flows(&self) -> Result<[u32; 2], Self::Error>;
}
