//! The tables as they are and what of them ought to be otherwise, to the writes that lead from one to the
//! other.
//!
//! The order keeps every packet on firm ground: what is referred to is written before what refers
//! to it, and goes after it.

use std::collections::BTreeMap;

use bytemuck::Zeroable;
use lb_common::{
    address::Address6,
    maps::{Persistence, RangeKey, Role, Server, Service, ServiceKey, Settings, Thresholds, Vlan},
};

use crate::dataplane::{Change, Tables};

/// What the tables ought to hold, of those entries only that may be otherwise. `None`: there ought to be none.
#[derive(Debug, Default, PartialEq)]
pub struct Delta {
    /// Timeouts, and what else holds for all services.
    pub settings: Option<Settings>,
    /// VLAN interfaces, by index.
    pub vlans: BTreeMap<u32, Option<Vlan>>,
    /// Thresholds, by real server.
    pub thresholds: BTreeMap<u32, Option<Thresholds>>,
    /// How long clients stay, by service.
    pub persistence: BTreeMap<u32, Option<Persistence>>,
    /// Words of the sieve.
    pub words: BTreeMap<u32, u64>,
    /// What addresses are.
    pub addresses: BTreeMap<Address6, Option<Role>>,
    /// Real servers, by id.
    pub servers: BTreeMap<u32, Option<Server>>,
    /// Rings, by their first slot.
    pub rings: BTreeMap<u32, Vec<u32>>,
    /// Turns that have to be set, by service.
    pub turns: BTreeMap<u32, u64>,
    /// Services.
    pub services: BTreeMap<ServiceKey, Option<Service>>,
    /// Services by ranges of ports.
    pub ranges: BTreeMap<(RangeKey, u32), Option<Service>>,
}

/// The writes that make `actual` what `delta` says.
#[must_use]
pub fn diff(actual: &Tables, delta: &Delta) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some(settings) = delta.settings
        && actual.settings != Some(settings)
    {
        changes.push(Change::Settings(settings));
    }
    changes.extend(coming(&actual.vlans, &delta.vlans, Change::Vlan));
    changes.extend(coming(
        &actual.thresholds,
        &delta.thresholds,
        Change::Thresholds,
    ));
    // Those of a server that goes, go with it.
    let stays = |id: &u32| match delta.servers.get(id) {
        Some(wanted) => wanted.is_some(),
        None => actual.servers.contains_key(id),
    };
    changes.extend(
        going(&actual.thresholds, &delta.thresholds)
            .filter(stays)
            .map(|id| Change::Thresholds(id, Thresholds::default())),
    );
    changes.extend(coming(
        &actual.persistence,
        &delta.persistence,
        Change::Persistence,
    ));
    for (&word, &bits) in &delta.words {
        let known = actual.sieve.get(&word).copied().unwrap_or(0);
        if bits & !known != 0 {
            changes.push(Change::Sieve(word, bits | known));
        }
    }
    changes.extend(coming(&actual.addresses, &delta.addresses, Change::Address));
    changes.extend(coming(&actual.servers, &delta.servers, Change::Server));
    for (first, slots) in &delta.rings {
        if actual.rings.get(first) != Some(slots) {
            changes.push(Change::Ring(*first, slots.clone()));
        }
    }
    for (service, turn) in &delta.turns {
        changes.push(Change::Turn(*service, *turn));
    }
    changes.extend(coming(&actual.services, &delta.services, Change::Service));
    changes.extend(coming(&actual.ranges, &delta.ranges, Change::Range));
    changes.extend(going(&actual.ranges, &delta.ranges).map(Change::NoRange));
    changes.extend(going(&actual.services, &delta.services).map(Change::NoService));
    changes.extend(going(&actual.servers, &delta.servers).map(Change::NoServer));
    changes.extend(
        going(&actual.persistence, &delta.persistence)
            .map(|id| Change::Persistence(id, Persistence::zeroed())),
    );
    changes.extend(going(&actual.addresses, &delta.addresses).map(Change::NoAddress));
    for (&word, &bits) in &delta.words {
        let known = actual.sieve.get(&word).copied().unwrap_or(0);
        if known & !bits != 0 {
            changes.push(Change::Sieve(word, bits));
        }
    }
    changes.extend(going(&actual.vlans, &delta.vlans).map(Change::NoVlan));
    changes
}

/// What ought to be there, and is not or is otherwise.
fn coming<'a, K: Ord + Copy, V: PartialEq + Copy>(
    actual: &'a BTreeMap<K, V>,
    delta: &'a BTreeMap<K, Option<V>>,
    change: impl Fn(K, V) -> Change + 'a,
) -> impl Iterator<Item = Change> + 'a {
    delta.iter().filter_map(move |(key, wanted)| {
        let wanted = (*wanted)?;
        (actual.get(key) != Some(&wanted)).then(|| change(*key, wanted))
    })
}

/// What ought not to be there, and is.
fn going<'a, K: Ord + Copy, V>(
    actual: &'a BTreeMap<K, V>,
    delta: &'a BTreeMap<K, Option<V>>,
) -> impl Iterator<Item = K> + 'a {
    let unwanted = delta.iter().filter(|(_, wanted)| wanted.is_none());
    unwanted
        .filter(|(key, _)| actual.contains_key(key))
        .map(|(key, _)| *key)
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
        Change::Sieve(word, bits) => {
            actual.sieve.insert(*word, *bits);
        }
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
    use super::*;

    impl Delta {
        /// All that is in the tables as it is, or as it ought to be.
        fn between(actual: &Tables, desired: &Tables) -> Self {
            fn all<K: Ord + Copy, V: Copy>(
                actual: &BTreeMap<K, V>,
                desired: &BTreeMap<K, V>,
            ) -> BTreeMap<K, Option<V>> {
                let keys = actual.keys().chain(desired.keys());
                keys.map(|key| (*key, desired.get(key).copied())).collect()
            }
            let (old, new) = (&actual.sieve, desired.words());
            Self {
                settings: desired.settings,
                vlans: all(&actual.vlans, &desired.vlans),
                thresholds: all(&actual.thresholds, &desired.thresholds),
                persistence: all(&actual.persistence, &desired.persistence),
                words: all(old, &new)
                    .into_iter()
                    .map(|(word, bits)| (word, bits.unwrap_or(0)))
                    .collect(),
                addresses: all(&actual.addresses, &desired.addresses),
                servers: all(&actual.servers, &desired.servers),
                rings: desired.rings.clone(),
                turns: BTreeMap::new(),
                services: all(&actual.services, &desired.services),
                ranges: all(&actual.ranges, &desired.ranges),
            }
        }
    }

    /// The writes that make one the other.
    fn diff(actual: &Tables, desired: &Tables) -> Vec<Change> {
        super::diff(actual, &Delta::between(actual, desired))
    }

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
