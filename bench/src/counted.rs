//! A data plane that counts what is written to it.

use std::{cell::Cell, rc::Rc};

use lb_common::{
    maps::{InterfaceTraffic, Load, Traffic},
    verdict::{Event, Reason},
};
use lb_control::dataplane::{Change, Dataplane, Sizes, Tables};
use serde::{Deserialize, Serialize};

/// What was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Writes {
    /// Changes of the reconciler.
    pub(crate) changes: u64,
    /// Entries of maps in them: a ring has one for each slot.
    pub(crate) entries: u64,
    /// Changes that the kernel refused.
    pub(crate) refused: u64,
}

/// A data plane, and what was written to it.
pub(crate) struct Counted<D> {
    dataplane: D,
    writes: Rc<Cell<Writes>>,
}

impl Writes {
    /// What came after `before`.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            changes: self.changes - before.changes,
            entries: self.entries - before.entries,
            refused: self.refused - before.refused,
        }
    }
}

impl<D> Counted<D> {
    /// Nothing yet, and where it is counted.
    pub(crate) fn new(dataplane: D) -> (Self, Rc<Cell<Writes>>) {
        let writes = Rc::<Cell<Writes>>::default();
        let counted = Self {
            dataplane,
            writes: Rc::clone(&writes),
        };
        (counted, writes)
    }
}

/// How many entries of maps a change writes.
fn entries(change: &Change) -> u64 {
    match change {
        Change::Ring(_, slots) => slots.len() as u64,
        Change::Settings(_)
        | Change::Vlan(..)
        | Change::NoVlan(_)
        | Change::Address(..)
        | Change::NoAddress(_)
        | Change::Sieve(..)
        | Change::Persistence(..)
        | Change::Thresholds(..)
        | Change::Range(..)
        | Change::NoRange(_)
        | Change::Server(..)
        | Change::Turn(..)
        | Change::Service(..)
        | Change::NoService(_)
        | Change::NoServer(_) => 1,
    }
}

impl<D: Dataplane> Dataplane for Counted<D> {
    type Error = D::Error;

    fn apply(&mut self, change: &Change) -> Result<(), D::Error> {
        let mut writes = self.writes.get();
        let result = self.dataplane.apply(change);
        writes.changes += 1;
        writes.entries += entries(change);
        writes.refused += u64::from(result.is_err());
        self.writes.set(writes);
        result
    }

    fn sizes(&self) -> Sizes {
        self.dataplane.sizes()
    }

    fn read(&self) -> Result<Tables, D::Error> {
        self.dataplane.read()
    }

    fn load(&self, server: u32) -> Result<Load, D::Error> {
        self.dataplane.load(server)
    }

    fn traffic(&self, server: u32) -> Result<Traffic, D::Error> {
        self.dataplane.traffic(server)
    }

    fn clear_traffic(&mut self, server: u32) -> Result<(), D::Error> {
        self.dataplane.clear_traffic(server)
    }

    fn interfaces(&self) -> Result<Vec<(u32, InterfaceTraffic)>, D::Error> {
        self.dataplane.interfaces()
    }

    fn memory(&self) -> u64 {
        self.dataplane.memory()
    }

    fn turn(&self, service: u32) -> Result<u64, D::Error> {
        self.dataplane.turn(service)
    }

    fn reasons(&self) -> Result<Vec<(Reason, u64)>, D::Error> {
        self.dataplane.reasons()
    }

    fn events(&self) -> Result<Vec<(Event, u64)>, D::Error> {
        self.dataplane.events()
    }

    fn flows(&self) -> Result<[u32; 2], D::Error> {
        self.dataplane.flows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_as_many_entries_as_it_has_slots() {
        let table = [
            (Change::Ring(7, vec![1, 2, 3]), 3),
            (Change::NoServer(1), 1),
            (Change::Turn(1, 2), 1),
        ];
        for (change, count) in table {
            assert_eq!(entries(&change), count, "{change:?}");
        }
    }
}
