//! Two directors and a network between them that loses, delays, repeats and swaps what it carries.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use lb_common::state::State;

use super::*;
use crate::sync::connection::testing::{flow, key};

pub(super) type Table = BTreeMap<Key, Connection>;

/// A generator whose numbers are the same in each run.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.draw() >> 11) % limit
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A seal that tells a forger, and no more: the sum of the bytes, turned by a secret.
pub(super) struct Sum(pub(super) u32);

impl Sum {
    fn of(&self, message: &[u8]) -> [u8; 4] {
        let sum = message.iter().fold(self.0, |sum, byte| {
            sum.rotate_left(5).wrapping_add(u32::from(*byte))
        });
        sum.to_be_bytes()
    }
}

impl Seal for Sum {
    fn length(&self) -> usize {
        4
    }

    fn seal(&self, message: &mut Vec<u8>) {
        let sum = self.of(message);
        message.extend(sum);
    }

    fn open<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (message, sum) = datagram.split_last_chunk()?;
        (self.of(message) == *sum).then_some(message)
    }
}

struct Flows<'a>(&'a mut Table);

impl Source for Flows<'_> {
    fn current(&mut self, key: &Key) -> Option<Connection> {
        self.0
            .get(key)
            .copied()
            .filter(Connection::is_worth_telling)
    }
}

impl Sink for Flows<'_> {
    fn learn(&mut self, told: Told<'_>) {
        match told {
            Told::Has(connection) => drop(self.0.insert(connection.key, *connection)),
            Told::Gone(key) => drop(self.0.remove(key)),
        }
    }

    fn retain(&mut self, keeps: &dyn Fn(&Key) -> bool) {
        self.0.retain(|key, _| keeps(key));
    }
}

pub(super) struct Node {
    pub(super) machine: Machine,
    pub(super) table: Table,
    walk: Option<(u64, Option<Key>)>,
}

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) nodes: [Node; 2],
    pub(super) chance: Rc<RefCell<Chance>>,
    pub(super) settings: Settings,
    /// What is under way: when it arrives, and at whom.
    network: Vec<(Duration, usize, Vec<u8>)>,
    /// What has come to a node, to be replayed.
    pub(super) recorded: [VecDeque<Vec<u8>>; 2],
    /// Of a hundred datagrams.
    pub(super) lost: u64,
    pub(super) repeated: u64,
    /// The longest that one takes.
    pub(super) slowest: Duration,
    pub(super) is_cut: bool,
    /// How many bytes were sent.
    pub(super) bytes: u64,
}

impl World {
    pub(super) fn new(seed: u64, settings: Settings) -> Self {
        let chance = Rc::new(RefCell::new(Chance::new(seed)));
        let node = |number| Node {
            machine: Self::machine(Duration::ZERO, settings, seed * 4 + number),
            table: Table::new(),
            walk: None,
        };
        Self {
            now: Duration::ZERO,
            nodes: [node(1), node(2)],
            chance,
            settings,
            network: Vec::new(),
            recorded: [VecDeque::new(), VecDeque::new()],
            lost: 0,
            repeated: 0,
            slowest: Duration::from_millis(1),
            is_cut: false,
            bytes: 0,
        }
    }

    fn machine(now: Duration, settings: Settings, seed: u64) -> Machine {
        let mut chance = Chance::new(seed.wrapping_add(77));
        let nonces = Box::new(move || chance.draw());
        Machine::new(now, settings, Box::new(Sum(0xfeed)), nonces)
    }

    /// The daemon of a node is started anew; its data plane goes on, or begins anew too.
    pub(super) fn restart(&mut self, node: usize, keeps_flows: bool) {
        let role = self.nodes[node].machine.role();
        let seed = self.chance.borrow_mut().draw();
        self.nodes[node].machine = Self::machine(self.now, self.settings, seed);
        self.nodes[node].machine.set_role(self.now, role);
        self.nodes[node].walk = None;
        if !keeps_flows {
            self.nodes[node].table.clear();
        }
    }

    /// A flow of a node changes its state or begins.
    pub(super) fn change(&mut self, node: usize, client: u16, state: State) {
        let connection = flow(client, state);
        self.nodes[node].table.insert(connection.key, connection);
        self.nodes[node].machine.changed(self.now, connection.key);
    }

    /// A flow of a node ends.
    pub(super) fn end(&mut self, node: usize, client: u16) {
        self.nodes[node].table.remove(&key(client));
        self.nodes[node].machine.changed(self.now, key(client));
    }

    /// What a node ought to have told.
    pub(super) fn told(&self, node: usize) -> Table {
        let table = self.nodes[node].table.iter();
        table
            .filter(|(_, connection)| connection.is_worth_telling())
            .map(|(key, connection)| (*key, *connection))
            .collect()
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.act();
            let arrivals = self.network.iter().map(|(at, ..)| *at);
            let deadlines = self.nodes.iter().map(|node| node.machine.deadline());
            let walks = self
                .nodes
                .iter()
                .filter(|node| node.machine.walking().is_some());
            // Whoever walks comes back soon.
            let soon = walks.map(|_| self.now + Duration::from_millis(5));
            let next = arrivals.chain(deadlines).chain(soon).min();
            let least = self.now + Duration::from_micros(100);
            let next = next.map_or(end, |next| next.max(least));
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next;
        }
    }

    fn act(&mut self) {
        let mut arrived = Vec::new();
        self.network.retain(|(at, to, bytes)| {
            let stays = *at > self.now;
            if !stays {
                arrived.push((*at, *to, bytes.clone()));
            }
            stays
        });
        arrived.sort_by_key(|(at, ..)| *at);
        for (_, to, bytes) in arrived {
            let Node { machine, table, .. } = &mut self.nodes[to];
            let _ = machine.heard(self.now, &bytes, &mut Flows(table));
            if self.recorded[to].len() < 4_096 {
                self.recorded[to].push_back(bytes);
            }
        }
        for from in 0..2 {
            let Node {
                machine,
                table,
                walk,
            } = &mut self.nodes[from];
            step_walk(self.now, machine, table, walk);
            let mut sent = Vec::new();
            while let Some(datagram) = machine.poll(self.now, &mut Flows(table)) {
                assert!(datagram.bytes.len() <= self.settings.longest);
                sent.push(datagram.bytes);
            }
            for bytes in sent {
                self.send(1 - from, bytes);
            }
        }
    }

    fn send(&mut self, to: usize, bytes: Vec<u8>) {
        self.bytes += bytes.len() as u64;
        let mut chance = self.chance.borrow_mut();
        let copies = 1 + usize::from(chance.percent(self.repeated));
        for _ in 0..copies {
            if self.is_cut || chance.percent(self.lost) {
                continue;
            }
            let slowest = self.slowest.as_micros() as u64;
            let takes = Duration::from_micros(chance.below(slowest.max(1)) + 50);
            self.network.push((self.now + takes, to, bytes.clone()));
        }
    }
}

/// As the runner walks: a few at a time, while the table changes.
fn step_walk(
    now: Duration,
    machine: &mut Machine,
    table: &Table,
    walk: &mut Option<(u64, Option<Key>)>,
) {
    let Some(round) = machine.walking() else {
        *walk = None;
        return;
    };
    if walk.is_none_or(|(walked, _)| walked != round) {
        *walk = Some((round, None));
    }
    let Some((_, behind)) = walk else { return };
    for _ in 0..machine.room(now).min(16) {
        let next = match behind {
            None => table.keys().next(),
            Some(key) => table
                .range((std::ops::Bound::Excluded(*key), std::ops::Bound::Unbounded))
                .next()
                .map(|(key, _)| key),
        };
        match next {
            Some(key) => {
                machine.walked(now, *key);
                *behind = Some(*key);
            }
            None => {
                machine.walk_ended();
                return;
            }
        }
    }
}
