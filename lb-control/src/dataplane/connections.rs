//! The flow tables, to be read by those who ask for connections.
//!
//! A table has millions of entries and changes while it is read, so it is walked and never collected. The
//! kernel goes on behind a key; behind one that is no longer there it begins anew. A walk notices that, and
//! finds its place again by the keys that it has seen last.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    path::Path,
};

use anyhow::{Context, bail};
use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError},
};
use bytemuck::Zeroable;
use lb_common::{
    address::{Address4, Address6},
    family::{Family, V4, V6},
    flow::{Flow, FlowKey},
    lease::Clock,
    record::Record,
    state::{State, TICK_SHIFT},
    wire::Be16,
};

use super::bpffs::Pins;

/// The flow tables, to be read.
pub trait FlowTables: Send + Sync {
    /// Calls `each` for every flow, and for every client that stays with its server, until it breaks. This
    /// takes a while and waits for `each`.
    ///
    /// # Errors
    /// If they cannot be read.
    fn walk(&self, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()>;
}

/// A flow, or the memory of a client that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its protocol; 0 of a client that stays.
    pub protocol: u8,
    /// The client; port 0 of one that stays.
    pub client: SocketAddr,
    /// What it talks to; of a client that stays, what it talked to first.
    pub address: SocketAddr,
    /// What was seen of it last; [`State::TEMPLATE`] of a client that stays.
    pub state: State,
    /// Seconds until it is forgotten if nothing comes, rounded down.
    pub expires: u32,
    /// The id of its real server.
    pub server: u32,
}

/// The flow tables that are pinned. They are opened for each walk, so that nobody else has to wait.
#[derive(Debug, Clone)]
pub struct PinnedFlows {
    pins: Pins,
}

impl PinnedFlows {
    /// Those of these pins.
    #[must_use]
    pub const fn new(pins: Pins) -> Self {
        Self { pins }
    }
}

impl FlowTables for PinnedFlows {
    fn walk(&self, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()> {
        self.walk_as(entry::<V4>, entry::<V6>, each)
    }
}

impl PinnedFlows {
    /// Calls `each` with the record of every flow that stands, and of every client that stays with its server,
    /// until it breaks: all that a partner has to know. Flows that are half-open are not told; those that come
    /// to stand or end meanwhile are told by [`Changes`](super::changes::Changes), which has to be open before.
    ///
    /// # Errors
    /// If the tables cannot be read.
    pub fn records(&self, each: &mut dyn FnMut(Record) -> ControlFlow<()>) -> anyhow::Result<()> {
        self.walk_as(record::<V4>, record::<V6>, each)
    }

    /// Walks both tables, and calls `each` with what is made of their entries.
    fn walk_as<T>(
        &self,
        of_v4: Told<V4, T>,
        of_v6: Told<V6, T>,
        each: &mut dyn FnMut(T) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let maps = self.pins.maps();
        let clock: Array<MapData, Clock> = Array::try_from(Map::Array(open(&maps, "clock")?))?;
        let v4: HashMap<MapData, FlowKey<Address4>, Flow<Address4>> =
            HashMap::try_from(Map::HashMap(open(&maps, "flows4")?))?;
        let v6: HashMap<MapData, FlowKey<Address6>, Flow<Address6>> =
            HashMap::try_from(Map::HashMap(open(&maps, "flows6")?))?;
        let ended = walk_family::<V4, T>(&v4, &clock, of_v4, each)?;
        if ended.is_continue() {
            let _ = walk_family::<V6, T>(&v6, &clock, of_v6, each)?;
        }
        Ok(())
    }
}

/// What is made of an entry at this time, if anything.
type Told<F, T> =
    fn(&FlowKey<<F as Family>::Address>, &Flow<<F as Family>::Address>, u32) -> Option<T>;

fn open(maps: &Path, name: &str) -> anyhow::Result<MapData> {
    let path = maps.join(name);
    MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))
}

fn walk_family<F: Family, T>(
    table: &HashMap<MapData, FlowKey<F::Address>, Flow<F::Address>>,
    clock: &Array<MapData, Clock>,
    told: Told<F, T>,
    each: &mut dyn FnMut(T) -> ControlFlow<()>,
) -> anyhow::Result<ControlFlow<()>>
where
    FlowKey<F::Address>: Pod + Eq,
    Flow<F::Address>: Pod,
{
    let mut failed = None;
    let ended = walk(table, |key, flow| {
        let now = match clock.get(&0, 0) {
            Ok(clock) => clock.moment.now(),
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        };
        match told(key, flow, now) {
            Some(entry) => each(entry),
            None => ControlFlow::Continue(()),
        }
    })?;
    match failed {
        Some(error) => Err(error).context("reading the clock of flows"),
        None => Ok(ended),
    }
}

/// Whether an entry is a flow or a client that stays, and has not ended.
fn is_alive<A>(flow: &Flow<A>, now: u32) -> bool {
    flow.state != State::REPLY && flow.state != State::RETIRED && !flow.is_expired(now)
}

/// The record of an entry that a partner has to know.
fn record<F: Family>(
    key: &FlowKey<F::Address>,
    flow: &Flow<F::Address>,
    now: u32,
) -> Option<Record> {
    if !is_alive(flow, now) || flow.state.is_half_open() {
        return None;
    }
    let mut record = Record::zeroed();
    record.fill::<F>(key, flow, now, 0);
    Some(record)
}

/// What an entry of a flow table says, if it is not the way back of another and has not ended.
fn entry<F: Family>(key: &FlowKey<F::Address>, flow: &Flow<F::Address>, now: u32) -> Option<Entry> {
    if !is_alive(flow, now) {
        return None;
    }
    let socket = |address: F::Address, port: Be16| {
        SocketAddr::new(IpAddr::from(F::widen(address)), port.get())
    };
    let (client, address) = if flow.state == State::TEMPLATE {
        // Its ports are the number of the service.
        (
            socket(key.source, Be16::new(0)),
            socket(flow.virtual_address, flow.virtual_port),
        )
    } else {
        (
            socket(key.source, key.source_port),
            socket(key.destination, key.destination_port),
        )
    };
    // Another CPU may have stamped it a moment after the clock was read.
    let silence = Some(now.wrapping_sub(flow.seen)).filter(|silence| *silence < u32::MAX / 2);
    let left = flow.timeout.saturating_sub(silence.unwrap_or(0));
    Some(Entry {
        protocol: key.protocol,
        client,
        address,
        state: flow.state,
        expires: ((u64::from(left) << TICK_SHIFT) / 1_000_000_000) as u32,
        server: flow.server,
    })
}

/// What the kernel offers of a hash map.
trait Table {
    type Key: Copy + Eq;
    type Value;

    /// Its keys. Behind one that is gone, the first comes again.
    fn keys(&self) -> impl Iterator<Item = Result<Self::Key, MapError>>;

    /// What a key has, if it is there.
    fn value(&self, key: &Self::Key) -> Result<Option<Self::Value>, MapError>;

    /// No more keys are visited, however often the walk has lost its place.
    const PATIENCE: u64;
}

impl<K: Pod + Eq, V: Pod> Table for HashMap<MapData, K, V> {
    type Key = K;
    type Value = V;

    fn keys(&self) -> impl Iterator<Item = Result<K, MapError>> {
        self.keys()
    }

    fn value(&self, key: &K) -> Result<Option<V>, MapError> {
        match self.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    const PATIENCE: u64 = 1 << 32;
}

/// How many of the keys that were seen last are remembered, so that one of them is still there.
const RECENT: usize = 4_096;

/// Calls `each` for every entry, until it breaks. What comes or goes meanwhile may be there or not; all else
/// is there once. Only if all [`RECENT`] keys are gone at a time, entries near that place may come twice or be left out.
fn walk<T: Table>(
    table: &T,
    mut each: impl FnMut(&T::Key, &T::Value) -> ControlFlow<()>,
) -> anyhow::Result<ControlFlow<()>> {
    let mut patience = T::PATIENCE;
    let mut recent: VecDeque<T::Key> = VecDeque::with_capacity(RECENT);
    // How many were given to `each` that may still be there.
    let (mut given, mut skip) = (0_u64, 0_u64);
    'anew: loop {
        let mut keys = table.keys();
        let place = newest(table, &mut recent, &mut given)?;
        if let Some(place) = place {
            // Up to the place where it was.
            loop {
                spend(&mut patience)?;
                match keys.next().transpose()? {
                    Some(key) if key == place => break,
                    Some(_) => {}
                    None => continue 'anew,
                }
            }
        } else {
            skip = given;
        }
        let mut behind = place;
        loop {
            spend(&mut patience)?;
            let next = keys.next().transpose()?;
            // Whether it was the next one is certain only if the one before is there still.
            let value = match behind {
                Some(key) => table.value(&key)?,
                None => None,
            };
            match (behind, value) {
                (None, _) => {}
                (Some(_), None) => continue 'anew,
                (Some(key), Some(value)) if recent.back() != Some(&key) => {
                    if recent.len() == RECENT {
                        recent.pop_front();
                    }
                    recent.push_back(key);
                    if skip > 0 {
                        skip -= 1;
                    } else {
                        given += 1;
                        if each(&key, &value).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                // It is the place that was found again.
                (Some(_), Some(_)) => {}
            }
            match next {
                Some(next) => behind = Some(next),
                None => return Ok(ControlFlow::Continue(())),
            }
        }
    }
}

/// The key that was seen last of those that are there still. The others are forgotten.
fn newest<T: Table>(
    table: &T,
    recent: &mut VecDeque<T::Key>,
    given: &mut u64,
) -> anyhow::Result<Option<T::Key>> {
    while let Some(key) = recent.back() {
        if table.value(key)?.is_some() {
            return Ok(Some(*key));
        }
        recent.pop_back();
        *given = given.saturating_sub(1);
    }
    Ok(None)
}

fn spend(patience: &mut u64) -> anyhow::Result<()> {
    match patience.checked_sub(1) {
        Some(left) => *patience = left,
        None => bail!("the flow table changes faster than it can be read"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use lb_common::{maps::NextHop, state::ticks};

    use super::*;

    /// Keys in an order, each of which goes when so many were visited.
    struct Changing {
        keys: RefCell<Vec<u32>>,
        /// How many calls there were, and which key goes at which.
        calls: RefCell<u64>,
        goes: Vec<(u64, u32)>,
        /// Those that never stay.
        restless: bool,
    }

    impl Changing {
        fn call(&self) {
            let mut calls = self.calls.borrow_mut();
            *calls += 1;
            let gone: Vec<_> = self.goes.iter().filter(|(at, _)| at == &*calls).collect();
            self.keys
                .borrow_mut()
                .retain(|key| !gone.iter().any(|(_, gone)| gone == key));
        }
    }

    impl Table for Changing {
        type Key = u32;
        type Value = ();

        fn keys(&self) -> impl Iterator<Item = Result<u32, MapError>> {
            let mut behind: Option<u32> = None;
            std::iter::from_fn(move || {
                self.call();
                let keys = self.keys.borrow();
                // As the kernel does it.
                let place = behind.and_then(|key| keys.iter().position(|one| *one == key));
                let next = keys.get(place.map_or(0, |place| place + 1)).copied();
                behind = next.or(behind);
                next.map(Ok)
            })
        }

        fn value(&self, key: &u32) -> Result<Option<()>, MapError> {
            self.call();
            let is_there = self.keys.borrow().contains(key) && !self.restless;
            Ok(is_there.then_some(()))
        }

        const PATIENCE: u64 = 200;
    }

    fn walked(goes: &[(u64, u32)], restless: bool) -> anyhow::Result<Vec<u32>> {
        let table = Changing {
            keys: RefCell::new((1..=8).collect()),
            calls: RefCell::new(0),
            goes: goes.to_vec(),
            restless,
        };
        let mut seen = Vec::new();
        let _ = walk(&table, |key, ()| {
            seen.push(*key);
            ControlFlow::Continue(())
        })?;
        Ok(seen)
    }

    #[test]
    fn a_walk_finds_its_place_again() {
        assert_eq!(walked(&[], false).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
        // Whatever goes, and whenever: who stays is there once.
        for gone in 1..=8 {
            for at in 1..=40 {
                let seen = walked(&[(at, gone)], false).unwrap();
                let stays: Vec<_> = seen.iter().copied().filter(|key| *key != gone).collect();
                let expected: Vec<_> = (1..=8).filter(|key| *key != gone).collect();
                assert_eq!(stays, expected, "{gone} goes at {at}");
                assert!(seen.iter().filter(|key| **key == gone).count() <= 1);
            }
        }
        // Two at a time, one of them that before the place.
        for at in 1..=40 {
            let seen = walked(&[(at, 3), (at, 4), (at, 5)], false).unwrap();
            let stays: Vec<_> = seen
                .into_iter()
                .filter(|key| !(3..=5).contains(key))
                .collect();
            assert_eq!(stays, [1, 2, 6, 7, 8], "3, 4 and 5 go at {at}");
        }
    }

    #[test]
    fn a_walk_ends_whatever_the_table_does() {
        let error = walked(&[], true).unwrap_err().to_string();
        assert!(error.contains("faster than it can be read"), "{error}");
    }

    #[test]
    fn a_flow_is_told_once_and_a_client_that_stays_without_ports() {
        let address = |last| Address4([192, 0, 2, last]);
        let key = |protocol| {
            FlowKey::new(
                address(7),
                address(10),
                Be16::new(4321),
                Be16::new(80),
                protocol,
            )
        };
        let flow = |state, seen, timeout| Flow {
            state,
            seen,
            timeout: ticks(timeout),
            server: 3,
            way_back: NextHop::zeroed(),
            virtual_port: Be16::new(443),
            client_port: Be16::new(1),
            virtual_address: address(11),
            client_address: address(8),
        };
        let now = ticks(100);
        // State, when it was seen, its timeout in seconds; what is told of it.
        let table = [
            (
                "a flow",
                State::ESTABLISHED,
                ticks(40),
                900,
                Some(("192.0.2.7:4321 192.0.2.10:80", 839)),
            ),
            (
                "seen after the clock was read",
                State::ESTABLISHED,
                now + 2,
                900,
                Some(("192.0.2.7:4321 192.0.2.10:80", 899)),
            ),
            (
                "a client that stays",
                State::TEMPLATE,
                ticks(90),
                300,
                Some(("192.0.2.7:0 192.0.2.11:443", 289)),
            ),
            ("a way back", State::REPLY, ticks(100), 900, None),
            ("one that has ended", State::RETIRED, ticks(100), 900, None),
            (
                "one whose time is over",
                State::FIN_WAIT,
                ticks(40),
                60,
                None,
            ),
        ];
        for (what, state, seen, timeout, expected) in table {
            let told = record::<V4>(&key(6), &flow(state, seen, timeout), now);
            assert_eq!(told.is_some(), expected.is_some(), "{what}, to a partner");
            let found = entry::<V4>(&key(6), &flow(state, seen, timeout), now);
            let found = found.map(|entry| {
                assert_eq!(entry.server, 3);
                (format!("{} {}", entry.client, entry.address), entry.expires)
            });
            let found = found
                .as_ref()
                .map(|(sockets, expires)| (sockets.as_str(), *expires));
            // Ticks are a little more than a millisecond, and rounded down.
            assert_eq!(found, expected, "{what}");
        }
    }
}
