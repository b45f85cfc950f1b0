//! What the standby director keeps of what it hears.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use crate::sync::{
    connection::{Item, Key},
    wire::{self, SELECTED},
};

/// How long an acknowledgement waits for more to acknowledge.
const PATIENCE: Duration = Duration::from_millis(5);

/// After so many messages it does not wait.
const MANY: u32 = 8;

/// A stream as far as it was heard.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    stream: u32,
    /// The first place that is missing.
    next: u64,
    /// What came before its turn.
    early: BTreeMap<u64, Vec<u8>>,
    due: Option<Duration>,
    unacknowledged: u32,
    round: Option<(u32, Confirmed)>,
    is_complete: bool,
}

/// The flows that a round had, by a hash whose key is drawn for each round. If two have the same one, a flow that is
/// no more may stay until its time is over.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    hashes: HashSet<u64>,
    key: RandomState,
}

impl Confirmed {
    fn add(&mut self, key: &Key) {
        self.hashes.insert(self.key.hash_one(key));
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.hashes.contains(&self.key.hash_one(key))
    }
}

impl Receiving {
    /// The role has changed: no round that was begun is completed, and nobody waits for an acknowledgement.
    pub(super) fn forget(&mut self) {
        self.round = None;
        self.due = None;
        self.is_complete = false;
    }

    /// A message of data has come. What can be done now, in order.
    pub(super) fn take(
        &mut self,
        now: Duration,
        window: usize,
        stream: u32,
        sequence: u64,
        items: Vec<u8>,
    ) -> Vec<Item> {
        if stream < self.stream {
            return Vec::new();
        }
        if stream > self.stream {
            *self = Self {
                stream,
                ..Self::default()
            };
        }
        self.unacknowledged += 1;
        let is_known = sequence < self.next || self.early.contains_key(&sequence);
        // An acknowledgement was lost, or something before it: the sender wants to know.
        let is_urgent = is_known || sequence > self.next || self.unacknowledged >= MANY;
        let due = if is_urgent { now } else { now + PATIENCE };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        if is_known || sequence - self.next >= window as u64 {
            return Vec::new();
        }
        self.early.insert(sequence, items);
        let mut all = Vec::new();
        while let Some(bytes) = self.early.remove(&self.next) {
            self.next += 1;
            // Who has our key and speaks our version sends nothing else; if it does, a round sets it right.
            all.extend(wire::items(&bytes).unwrap_or_default());
        }
        all
    }

    /// The acknowledgement that is due.
    pub(super) fn acknowledge(&mut self, now: Duration) -> Option<(u32, u64, Vec<u8>)> {
        if self.due? > now {
            return None;
        }
        self.due = None;
        self.unacknowledged = 0;
        let mut selected = vec![0_u8; SELECTED / 8];
        for place in self.early.keys() {
            let behind = place - self.next - 1;
            if let Some(byte) = usize::try_from(behind / 8)
                .ok()
                .and_then(|byte| selected.get_mut(byte))
            {
                *byte |= 1 << (behind % 8);
            }
        }
        while selected.last() == Some(&0) {
            selected.pop();
        }
        Some((self.stream, self.next, selected))
    }

    pub(super) const fn deadline(&self) -> Option<Duration> {
        self.due
    }

    pub(super) fn begin(&mut self, round: u32) {
        self.round = Some((round, Confirmed::default()));
    }

    pub(super) fn confirm(&mut self, key: &Key) {
        if let Some((_, confirmed)) = &mut self.round {
            confirmed.add(key);
        }
    }

    /// A round is over: which flows it had.
    pub(super) fn complete(&mut self, round: u32) -> Option<Confirmed> {
        let (begun, confirmed) = self.round.take()?;
        if begun != round {
            return None;
        }
        self.is_complete = true;
        Some(confirmed)
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }
}
