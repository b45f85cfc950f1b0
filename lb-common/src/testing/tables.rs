//! Tables made of ordinary collections.

use core::ops::ControlFlow;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use crate::{
    address::{Address4, Address6},
    family::{Family, V4, V6},
    flow::{Flow, FlowKey},
    maps::{Load, NextHop, Server, Service, ServiceKey, Settings, Traffic},
    state::State,
    tables::{FlowEntry, FlowTable, Inserted, Route, Routed, Tables},
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
    /// The sweeper's queue.
    pub queue: VecDeque<FlowKey<A>>,
}

impl<A: Ord + Copy> Default for HostFlows<A> {
    fn default() -> Self {
        Self {
            flows: BTreeMap::new(),
            queue: VecDeque::new(),
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
    /// What the kernel's routing answers.
    pub route: Route,
    /// How many flows each family's table holds.
    pub capacity: usize,
}

impl Default for HostTables {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            servers: Vec::new(),
            ring: Vec::new(),
            v4: RefCell::default(),
            v6: RefCell::default(),
            turns: RefCell::default(),
            loads: RefCell::default(),
            traffic: RefCell::default(),
            settings: Settings::default(),
            clock: Cell::new(1_000),
            route: Route::Via(NextHop {
                interface: 1,
                vlan: 0,
                mac: mac(0xc1),
                source_mac: mac(0x01),
                mtu: 1500,
            }),
            capacity: 1_000,
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

impl HostTables {
    /// Lets time pass.
    pub fn advance(&self, ticks: u32) {
        self.clock.set(self.clock.get().wrapping_add(ticks));
    }
}

impl Tables for HostTables {
    fn service(&self, key: &ServiceKey) -> Option<Service> {
        self.services.get(key).copied()
    }

    fn server(&self, id: u32) -> Option<&Server> {
        self.servers.get(id as usize)
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

    fn adjust_load(&self, server: u32, active: i32, inactive: i32) {
        let mut loads = self.loads.borrow_mut();
        let load = loads.entry(server).or_default();
        load.active = load
            .active
            .checked_add_signed(active)
            .expect("as many came as go");
        load.inactive = load
            .inactive
            .checked_add_signed(inactive)
            .expect("as many came as go");
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

    fn timeout(&self, state: State) -> u32 {
        self.settings
            .timeouts
            .get(state.0 as usize)
            .copied()
            .unwrap_or_default()
    }

    fn now(&self) -> u32 {
        self.clock.get()
    }

    fn route<F: Family>(&self, _interface: u32, _packet: &Routed<'_, F>) -> Route {
        self.route
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

macro_rules! flow_table {
    ($family:ty, $field:ident) => {
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

            fn enqueue(&self, key: &FlowKey<<$family as Family>::Address>) -> Inserted {
                self.$field.borrow_mut().queue.push_back(*key);
                Inserted::Yes
            }

            fn dequeue(&self) -> Option<FlowKey<<$family as Family>::Address>> {
                self.$field.borrow_mut().queue.pop_front()
            }
        }
    };
}

flow_table!(V4, v4);
flow_table!(V6, v6);
