//! Maps made of collections, which remember every write.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use lb_common::{
    maps::{InterfaceTraffic, Load, Traffic},
    verdict::{Event, Reason},
};

use super::{Change, Dataplane, Sizes, Tables};
use crate::diff::note;

/// What stands behind a [`Fake`], shared with the test.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) tables: Tables,
    pub(crate) written: Vec<Change>,
    pub(crate) loads: BTreeMap<u32, Load>,
    pub(crate) traffic: BTreeMap<u32, Traffic>,
    pub(crate) turns: BTreeMap<u32, u64>,
    /// Refuses every write, every second, third; 0 for none.
    pub(crate) refuse_every: u32,
    /// How many writes there were.
    pub(crate) tried: u32,
}

/// Maps in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<Memory>>);

impl Dataplane for Fake {
    type Error = &'static str;

    fn sizes(&self) -> Sizes {
        Sizes {
            services: 8,
            servers: 16,
            ring: 1024,
            flows: 64,
            half_open: 32,
        }
    }

    fn read(&self) -> Result<Tables, Self::Error> {
        Ok(self.0.borrow().tables.clone())
    }

    fn apply(&mut self, change: &Change) -> Result<(), Self::Error> {
        let mut memory = self.0.borrow_mut();
        memory.tried += 1;
        let (tried, every) = (memory.tried, memory.refuse_every);
        if every != 0 && tried.is_multiple_of(every) {
            return Err("broken");
        }
        memory.written.push(change.clone());
        note(&mut memory.tables, change);
        if let Change::Turn(service, turn) = change {
            memory.turns.insert(*service, *turn);
        }
        Ok(())
    }

    fn load(&self, server: u32) -> Result<Load, Self::Error> {
        Ok(self
            .0
            .borrow()
            .loads
            .get(&server)
            .copied()
            .unwrap_or_default())
    }

    fn traffic(&self, server: u32) -> Result<Traffic, Self::Error> {
        let memory = self.0.borrow();
        Ok(memory.traffic.get(&server).copied().unwrap_or_default())
    }

    fn clear_traffic(&mut self, server: u32) -> Result<(), Self::Error> {
        self.0.borrow_mut().traffic.remove(&server);
        Ok(())
    }

    fn interfaces(&self) -> Result<Vec<(u32, InterfaceTraffic)>, Self::Error> {
        Ok(Vec::new())
    }

    fn memory(&self) -> u64 {
        0
    }

    fn turn(&self, service: u32) -> Result<u64, Self::Error> {
        Ok(self
            .0
            .borrow()
            .turns
            .get(&service)
            .copied()
            .unwrap_or_default())
    }

    fn reasons(&self) -> Result<Vec<(Reason, u64)>, Self::Error> {
        Ok(Vec::new())
    }

    fn events(&self) -> Result<Vec<(Event, u64)>, Self::Error> {
        Ok(Vec::new())
    }

    fn flows(&self) -> Result<[u32; 2], Self::Error> {
        Ok([0, 0])
    }
}
