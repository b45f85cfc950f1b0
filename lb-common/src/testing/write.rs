//! What the control plane writes.

use bytemuck::Zeroable;

use super::{HostTables, Site};
use crate::{
    address::Address6,
    count,
    lease::Lease,
    maps::{Persistence, RangeKey, Role, Server, Service, ServiceKey, Settings, Thresholds},
};

/// One write of the control plane.
#[derive(Debug, Clone)]
pub enum Write {
    /// Settings.
    Settings(Settings),
    /// How many flows a real server may have, which is looked at at once.
    Thresholds(u32, Thresholds),
    /// How long the clients of a service stay.
    Persistence(u32, Persistence),
    /// What an address is.
    Address(Address6, Role),
    /// An address is nothing any more.
    NoAddress(Address6),
    /// A real server of this id.
    Server(u32, Server),
    /// Slots of the rings from the first on.
    Ring(u32, Vec<u32>),
    /// The turn of a service.
    Turn(u32, u64),
    /// A service.
    Service(ServiceKey, Service),
    /// A service is gone.
    NoService(ServiceKey),
    /// A service with a range of ports, and how many bits of its key count.
    Range((RangeKey, u32), Service),
    /// A range of ports has no service any more.
    NoRange((RangeKey, u32)),
    /// Whether the director steers.
    Lease(Lease),
}

impl Write {
    /// How many kinds there are.
    pub const KINDS: usize = 13;

    /// The writes that make one site into another, in the order of the control plane: what is referred
    /// to comes before what refers to it, and goes after it.
    #[must_use]
    pub fn between(before: &Site, after: &Site) -> Vec<Self> {
        let mut writes = Vec::new();
        if before.settings != after.settings {
            writes.push(Self::Settings(after.settings));
        }
        for (id, thresholds) in &after.thresholds {
            if before.thresholds.get(id) != Some(thresholds) {
                writes.push(Self::Thresholds(*id, *thresholds));
            }
        }
        for id in before.thresholds.keys() {
            if !after.thresholds.contains_key(id) {
                writes.push(Self::Thresholds(*id, Thresholds::default()));
            }
        }
        for (id, persistence) in &after.persistence {
            if before.persistence.get(id) != Some(persistence) {
                writes.push(Self::Persistence(*id, *persistence));
            }
        }
        let (old_roles, roles) = (before.roles(), after.roles());
        for (address, role) in &roles {
            if old_roles.get(address) != Some(role) {
                writes.push(Self::Address(*address, *role));
            }
        }
        for (id, server) in (0..).zip(&after.servers) {
            if before.servers.get(id as usize) != Some(server) {
                writes.push(Self::Server(id, *server));
            }
        }
        writes.extend(rings(&before.ring, &after.ring));
        for (key, service) in &after.services {
            if before.services.get(key) != Some(service) {
                writes.push(Self::Service(*key, *service));
            }
        }
        for (key, service) in &after.ranges {
            if before.ranges.get(key) != Some(service) {
                writes.push(Self::Range(*key, *service));
            }
        }
        for key in before.ranges.keys() {
            if !after.ranges.contains_key(key) {
                writes.push(Self::NoRange(*key));
            }
        }
        for key in before.services.keys() {
            if !after.services.contains_key(key) {
                writes.push(Self::NoService(*key));
            }
        }
        for id in before.persistence.keys() {
            if !after.persistence.contains_key(id) {
                writes.push(Self::Persistence(*id, Persistence::zeroed()));
            }
        }
        for address in old_roles.keys() {
            if !roles.contains_key(address) {
                writes.push(Self::NoAddress(*address));
            }
        }
        writes
    }

    /// Writes it into tables.
    pub fn apply(&self, tables: &mut HostTables) {
        match self {
            Self::Settings(settings) => tables.settings = *settings,
            Self::Thresholds(id, thresholds) => {
                tables.thresholds.insert(*id, *thresholds);
                count::weigh(tables, *id);
            }
            Self::Persistence(id, persistence) => {
                tables.persistence.insert(*id, *persistence);
            }
            Self::Address(address, role) => {
                tables.roles.insert(*address, *role);
            }
            Self::NoAddress(address) => {
                tables.roles.remove(address);
            }
            Self::Server(id, server) => put(&mut tables.servers, *id, *server, Server::zeroed()),
            Self::Ring(first, slots) => {
                for (index, id) in (*first..).zip(slots) {
                    put(&mut tables.ring, index, *id, 0);
                }
            }
            Self::Turn(service, turn) => {
                tables.turns.borrow_mut().insert(*service, *turn);
            }
            Self::Service(key, service) => {
                tables.services.insert(*key, *service);
            }
            Self::NoService(key) => {
                tables.services.remove(key);
            }
            Self::Range(key, service) => {
                tables.ranges.insert(*key, *service);
            }
            Self::NoRange(key) => {
                tables.ranges.remove(key);
            }
            Self::Lease(lease) => tables.lease.set(*lease),
        }
    }
}

/// The writes of the slots that differ, one for each row of them.
fn rings(before: &[u32], after: &[u32]) -> Vec<Write> {
    let mut rows: Vec<(u32, Vec<u32>)> = Vec::new();
    for (index, id) in (0..).zip(after) {
        if before.get(index as usize) == Some(id) {
            continue;
        }
        match rows.last_mut() {
            Some((first, slots)) if *first + slots.len() as u32 == index => slots.push(*id),
            _ => rows.push((index, vec![*id])),
        }
    }
    let writes = rows.into_iter();
    writes
        .map(|(first, slots)| Write::Ring(first, slots))
        .collect()
}

/// Writes an entry of an array, which is as long as it has to be.
fn put<T: Copy>(array: &mut Vec<T>, index: u32, entry: T, none: T) {
    let index = index as usize;
    if array.len() <= index {
        array.resize(index + 1, none);
    }
    array[index] = entry;
}
