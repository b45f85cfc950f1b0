//! The tables as they are and as they ought to be, to the writes that lead from one to the other.
//!
//! The order keeps every packet on firm ground: what is referred to is written before what refers
//! to it, and goes after it.

use bytemuck::Zeroable;
use lb_common::maps::{Persistence, Thresholds};

use crate::dataplane::{Change, Tables};

/// The writes that make `actual` into `desired`.
#[must_use]
pub fn diff(actual: &Tables, desired: &Tables) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some(settings) = desired.settings
        && actual.settings != Some(settings)
    {
        changes.push(Change::Settings(settings));
    }
    for (index, vlan) in &desired.vlans {
        if actual.vlans.get(index) != Some(vlan) {
            changes.push(Change::Vlan(*index, *vlan));
        }
    }
    for (id, thresholds) in &desired.thresholds {
        if actual.thresholds.get(id) != Some(thresholds) {
            changes.push(Change::Thresholds(*id, *thresholds));
        }
    }
    for id in actual.thresholds.keys() {
        if !desired.thresholds.contains_key(id) && desired.servers.contains_key(id) {
            changes.push(Change::Thresholds(*id, Thresholds::default()));
        }
    }
    for (id, persistence) in &desired.persistence {
        if actual.persistence.get(id) != Some(persistence) {
            changes.push(Change::Persistence(*id, *persistence));
        }
    }
    let (old, new) = (actual.sieve(), desired.sieve());
    for (&word, &bits) in &new {
        let known = old.get(&word).copied().unwrap_or(0);
        if bits & !known != 0 {
            changes.push(Change::Sieve(word, bits | known));
        }
    }
    for (address, role) in &desired.addresses {
        if actual.addresses.get(address) != Some(role) {
            changes.push(Change::Address(*address, *role));
        }
    }
    for (id, server) in &desired.servers {
        if actual.servers.get(id) != Some(server) {
            changes.push(Change::Server(*id, *server));
        }
    }
    for (first, slots) in &desired.rings {
        if actual.rings.get(first) != Some(slots) {
            changes.push(Change::Ring(*first, slots.clone()));
        }
    }
    for (service, turn) in &desired.turns {
        changes.push(Change::Turn(*service, *turn));
    }
    for (key, service) in &desired.services {
        if actual.services.get(key) != Some(service) {
            changes.push(Change::Service(*key, *service));
        }
    }
    for (key, service) in &desired.ranges {
        if actual.ranges.get(key) != Some(service) {
            changes.push(Change::Range(*key, *service));
        }
    }
    for key in actual.ranges.keys() {
        if !desired.ranges.contains_key(key) {
            changes.push(Change::NoRange(*key));
        }
    }
    for key in actual.services.keys() {
        if !desired.services.contains_key(key) {
            changes.push(Change::NoService(*key));
        }
    }
    for id in actual.servers.keys() {
        if !desired.servers.contains_key(id) {
            changes.push(Change::NoServer(*id));
        }
    }
    for id in actual.persistence.keys() {
        if !desired.persistence.contains_key(id) {
            changes.push(Change::Persistence(*id, Persistence::zeroed()));
        }
    }
    for address in actual.addresses.keys() {
        if !desired.addresses.contains_key(address) {
            changes.push(Change::NoAddress(*address));
        }
    }
    for (&word, &known) in &old {
        let bits = new.get(&word).copied().unwrap_or(0);
        if known & !bits != 0 {
            changes.push(Change::Sieve(word, bits));
        }
    }
    for index in actual.vlans.keys() {
        if !desired.vlans.contains_key(index) {
            changes.push(Change::NoVlan(*index));
        }
    }
    changes
}

/// Notes in a mirror of the maps that a change was written.
pub fn note(actual: &mut Tables, change: &Change) {
    match change {
        Change::Settings(settings) => actual.settings = Some(*settings),
        Change::Vlan(index, vlan) => {
            actual.vlans.insert(*index, *vlan);
        }
        Change::NoVlan(index) => {
            actual.vlans.remove(index);
        }
        Change::Address(address, role) => {
            actual.addresses.insert(*address, *role);
        }
        // It follows from the addresses.
        Change::Sieve(..) => {}
        Change::NoAddress(address) => {
            actual.addresses.remove(address);
        }
        Change::Persistence(id, persistence) => {
            if persistence.timeout == 0 {
                actual.persistence.remove(id);
            } else {
                actual.persistence.insert(*id, *persistence);
            }
        }
        Change::Thresholds(id, thresholds) => {
            if thresholds.upper == 0 {
                actual.thresholds.remove(id);
            } else {
                actual.thresholds.insert(*id, *thresholds);
            }
        }
        Change::Range(key, service) => {
            actual.ranges.insert(*key, *service);
        }
        Change::NoRange(key) => {
            actual.ranges.remove(key);
        }
        Change::Server(id, server) => {
            actual.servers.insert(*id, *server);
        }
        Change::NoServer(id) => {
            actual.servers.remove(id);
            actual.thresholds.remove(id);
        }
        Change::Ring(first, slots) => {
            let end = first.saturating_add(u32::try_from(slots.len()).unwrap_or(u32::MAX));
            // No two of the others share slots: those that are written over follow each other.
            let before = actual.rings.range(..end).rev();
            let over: Vec<_> = before
                .take_while(|(other, old)| {
                    other.saturating_add(u32::try_from(old.len()).unwrap_or(u32::MAX)) > *first
                })
                .map(|(other, _)| *other)
                .collect();
            for other in over {
                actual.rings.remove(&other);
            }
            actual.rings.insert(*first, slots.clone());
        }
        Change::Turn(..) => {}
        Change::Service(key, service) => {
            actual.services.insert(*key, *service);
        }
        Change::NoService(key) => {
            actual.services.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::maps::{Server, Service, ServiceKey};

    use super::*;

    fn tables() -> Tables {
        let mut tables = Tables::default();
        tables.servers.insert(7, Server::zeroed());
        tables.rings.insert(0, vec![7]);
        let service = Service {
            id: 0,
            ring: 0,
            slots: 1,
            ..Service::zeroed()
        };
        tables.services.insert(ServiceKey::zeroed(), service);
        tables
    }

    #[test]
    fn what_is_referred_to_comes_first_and_goes_last() {
        let (full, empty) = (tables(), Tables::default());
        let adding = diff(&empty, &full);
        assert!(
            matches!(
                adding[..],
                [Change::Server(..), Change::Ring(..), Change::Service(..)]
            ),
            "{adding:?}"
        );
        let removing = diff(&full, &empty);
        assert!(
            matches!(removing[..], [Change::NoService(_), Change::NoServer(7)]),
            "{removing:?}"
        );
        assert_eq!(diff(&full, &full), []);
    }

    #[test]
    fn thresholds_that_a_server_has_no_longer_are_taken_away() {
        let (mut with, without) = (tables(), tables());
        with.thresholds.insert(7, Thresholds { upper: 4, lower: 2 });
        let changes = diff(&with, &without);
        assert_eq!(changes, [Change::Thresholds(7, Thresholds::default())]);
        note(&mut with, &changes[0]);
        assert_eq!(with, without);
        assert_eq!(diff(&with, &without), []);
    }

    #[test]
    fn the_mirror_becomes_what_was_desired() {
        let (mut mirror, full) = (Tables::default(), tables());
        for change in diff(&Tables::default(), &full) {
            note(&mut mirror, &change);
        }
        assert_eq!(mirror, full);
        // Slots that were written over are known no longer.
        note(&mut mirror, &Change::Ring(0, vec![1, 2]));
        note(&mut mirror, &Change::Ring(1, vec![3]));
        assert_eq!(mirror.rings.keys().copied().collect::<Vec<_>>(), [1]);
        note(&mut mirror, &Change::Ring(2, vec![4, 5]));
        note(&mut mirror, &Change::Ring(4, vec![6, 7]));
        note(&mut mirror, &Change::Ring(6, vec![8]));
        note(&mut mirror, &Change::Ring(3, vec![9, 9]));
        assert_eq!(mirror.rings.keys().copied().collect::<Vec<_>>(), [1, 3, 6]);
    }
}
