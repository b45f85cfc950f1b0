//! When IPVS is told what. A flow is told when its state has changed, and again with each round through the table: IPVS
//! has neither acknowledgements nor ends, and forgets what it has not heard of for the flow's time. It tells less often
//! itself (every `sync_period` packets, or every `sync_refresh_period`); what it hears more often it only renews.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use super::{
    mapping,
    message::{self, Entry, MOST},
};
use crate::sync::{
    connection::{Connection, Key},
    machine::Source,
};

/// How long a change waits for others to go with; IPVS itself lets it wait for two seconds.
const DELAY: Duration = Duration::from_millis(20);

/// How many flows may wait.
const WAITING: usize = 65_536;

/// The flows that are due.
#[derive(Debug)]
pub struct Outbox {
    syncid: u8,
    longest: usize,
    queue: VecDeque<Key>,
    known: HashSet<Key>,
    since: Option<Duration>,
    /// How many flows were told.
    pub told: u64,
    /// How many changes found no room; the next round tells them.
    pub overflowed: u64,
}

impl Outbox {
    /// Messages have this id and are no longer than so many bytes: the MTU of the interface less the headers of IP
    /// and UDP, as IPVS has it.
    #[must_use]
    pub fn new(syncid: u8, longest: usize) -> Self {
        Self {
            syncid,
            longest,
            queue: VecDeque::new(),
            known: HashSet::new(),
            since: None,
            told: 0,
            overflowed: 0,
        }
    }

    /// How many more there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        WAITING - self.queue.len()
    }

    /// A flow is to be told.
    pub fn add(&mut self, now: Duration, key: Key) {
        if self.known.contains(&key) {
            return;
        }
        if self.room() == 0 {
            self.overflowed += 1;
            return;
        }
        self.known.insert(key);
        self.queue.push_back(key);
        self.since.get_or_insert(now);
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// When [`Self::poll`] has something to say.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.since.map(|since| since + DELAY)
    }

    /// The next message.
    pub fn poll(&mut self, now: Duration, source: &mut dyn Source) -> Option<Vec<u8>> {
        if self.deadline()? > now {
            return None;
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut length = 8;
        while entries.len() < MOST {
            let Some(key) = self.queue.front().copied() else {
                self.since = None;
                break;
            };
            let current = source.current(&key).filter(Connection::is_worth_telling);
            if let Some(entry) = current.as_ref().and_then(mapping::entry) {
                length += message::length(&entry);
                if length > self.longest {
                    break;
                }
                entries.push(entry);
            }
            self.queue.pop_front();
            self.known.remove(&key);
        }
        self.told += entries.len() as u64;
        (!entries.is_empty()).then(|| message::encode(self.syncid, &entries))
    }
}

#[cfg(test)]
mod tests {
    use lb_common::state::State;

    use super::*;
    use crate::sync::connection::testing::{flow, key};

    struct All;

    impl Source for All {
        fn current(&mut self, key: &Key) -> Option<Connection> {
            let connection = flow(0, State::ESTABLISHED);
            // One in ten has ended.
            let Key::Flow { client, .. } = key else {
                return None;
            };
            let is_there = client.port() % 10 != 0;
            is_there.then_some(Connection {
                key: *key,
                ..connection
            })
        }
    }

    #[test]
    fn what_changes_is_told_once_in_messages_that_fit() {
        let mut outbox = Outbox::new(21, 1_472);
        let at = Duration::from_millis;
        for client in 1..=200 {
            outbox.add(at(0), key(client));
            outbox.add(at(1), key(client));
        }
        assert_eq!(outbox.poll(at(19), &mut All), None);
        let mut told = Vec::new();
        while let Some(bytes) = outbox.poll(at(20), &mut All) {
            assert!(bytes.len() <= 1_472);
            let (entries, end) = message::decode(21, &bytes).unwrap();
            assert_eq!(end, Ok(()));
            told.extend(entries.into_iter().map(|entry| entry.client.port()));
        }
        let expected: Vec<_> = (1..=200).filter(|client| client % 10 != 0).collect();
        assert_eq!(told, expected);
        assert_eq!((outbox.waiting(), outbox.deadline()), (0, None));
    }

    #[test]
    fn memory_is_bounded() {
        let mut outbox = Outbox::new(1, 1_472);
        for client in 0..=u16::MAX {
            outbox.add(Duration::ZERO, key(client));
        }
        let template = Key::Template {
            service: "FWM 7".parse().unwrap(),
            client: [10, 0, 0, 1].into(),
        };
        outbox.add(Duration::ZERO, template);
        assert_eq!((outbox.waiting(), outbox.overflowed), (WAITING, 1));
    }
}
