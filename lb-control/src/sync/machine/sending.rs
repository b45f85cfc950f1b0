//! What the active director still has to tell, and what is on its way.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{Figures, Settings, Source};
use crate::sync::{
    connection::{Item, Key},
    wire::{HEADER, LONGEST_ITEM, Writer},
};

/// The first guess of how long an acknowledgement takes.
const FIRST_PATIENCE: Duration = Duration::from_millis(100);
/// It is never taken for faster,
const LEAST_PATIENCE: Duration = Duration::from_millis(20);
/// nor for slower than this.
const MOST_PATIENCE: Duration = Duration::from_secs(1);
/// A message is taken for lost when so many that were sent later have come.
const OVERTAKEN: u32 = 3;
/// No fewer messages may be on their way, whatever is lost.
const LEAST_WINDOW: usize = 4;
/// How many flows of a walk may wait.
const WALKED: usize = 2_048;
/// Of so many messages one begins with the walk, so that changes do not keep it from ending.
const SHARE: u64 = 4;

/// One stream.
#[derive(Debug)]
pub(super) struct Sending {
    /// The place of the next message.
    next: u64,
    flight: VecDeque<Flying>,
    /// How many changes may wait.
    most: usize,
    changes: Due,
    walk: Due,
    round: u32,
    phase: Phase,
    /// A change was lost: another round is needed after this one.
    is_once_more: bool,
    /// When the last round was complete.
    completed: Option<Duration>,
    /// The message by which the first one is.
    told_by: Option<u64>,
    /// How many flows of a walk may be taken, and when that was reckoned.
    budget: (f64, Duration),
    patience: Duration,
    window: f64,
}

/// How far a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its beginning has yet to be told.
    Beginning,
    /// The flows are walked.
    Walking,
    /// They were; its end has yet to be told.
    Ending,
    /// It is over.
    Over,
}

/// Flows that are due, each once, in order.
#[derive(Debug, Default)]
struct Due {
    queue: VecDeque<Entry>,
    since: HashMap<Key, Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    Flow(Key),
    /// What was walked before this is told.
    End(u32),
}

impl Due {
    fn add(&mut self, now: Duration, key: Key) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.since.entry(key) {
            place.insert(now);
            self.queue.push_back(Entry::Flow(key));
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Duration> {
        self.since.remove(key)
    }

    fn len(&self) -> usize {
        self.since.len()
    }

    fn oldest(&self) -> Option<Duration> {
        self.queue.iter().find_map(|entry| match entry {
            Entry::Flow(key) => self.since.get(key).copied(),
            Entry::End(_) => None,
        })
    }
}

/// A message on its way.
#[derive(Debug)]
struct Flying {
    items: Vec<u8>,
    flows: u64,
    /// When the oldest change in it happened.
    since: Duration,
    /// When it was sent last.
    sent: Duration,
    tries: u32,
    is_there: bool,
    is_lost: bool,
}

impl Sending {
    pub(super) fn new(now: Duration, settings: &Settings) -> Self {
        Self {
            next: 0,
            flight: VecDeque::new(),
            most: settings.due,
            changes: Due::default(),
            walk: Due::default(),
            round: 1,
            phase: Phase::Beginning,
            is_once_more: false,
            completed: None,
            told_by: None,
            budget: (0.0, now),
            patience: FIRST_PATIENCE,
            window: 32.0,
        }
    }

    /// Whether there was room for it.
    pub(super) fn changed(&mut self, now: Duration, key: Key) -> bool {
        if self.changes.len() >= self.most && !self.changes.since.contains_key(&key) {
            // If it waits among those that were walked it stays there.
            self.is_once_more = true;
            return false;
        }
        let since = self.walk.remove(&key).unwrap_or(now);
        self.changes.add(since, key);
        true
    }

    pub(super) fn once_more(&mut self) {
        self.is_once_more = true;
    }

    pub(super) fn walking(&self) -> Option<u32> {
        (self.phase == Phase::Walking).then_some(self.round)
    }

    pub(super) fn room(&mut self, now: Duration, settings: &Settings) -> usize {
        let (budget, reckoned) = self.budget;
        let more = now.saturating_sub(reckoned).as_secs_f64() * f64::from(settings.pace);
        let budget = (budget + more).min(WALKED as f64);
        self.budget = (budget, now);
        (budget as usize).min(WALKED.saturating_sub(self.walk.queue.len()))
    }

    pub(super) fn walked(&mut self, now: Duration, key: Key) {
        self.budget.0 -= 1.0;
        if self.phase == Phase::Walking && !self.changes.since.contains_key(&key) {
            self.walk.add(now, key);
        }
    }

    pub(super) fn walk_ended(&mut self) {
        if self.phase == Phase::Walking {
            self.phase = Phase::Ending;
            self.walk.queue.push_back(Entry::End(self.round));
        }
    }

    /// The next message: one that was lost, or a new one.
    pub(super) fn next(
        &mut self,
        now: Duration,
        settings: &Settings,
        trailer: usize,
        source: &mut dyn Source,
        figures: &mut Figures,
    ) -> Option<(u64, Vec<u8>)> {
        if let Some(again) = self.again(now) {
            figures.again += 1;
            return Some(again);
        }
        let window = (self.window as usize).min(settings.window);
        if self.flight.len() >= window || !self.is_ripe(now, settings) {
            return None;
        }
        let mut writer = Writer::default();
        let mut told = Told {
            room: settings.longest.saturating_sub(HEADER + trailer),
            since: now,
            flows: 0,
        };
        let needs_round = self.is_once_more
            || self
                .completed
                .is_some_and(|completed| now >= completed + settings.refresh);
        if self.phase == Phase::Over && needs_round {
            self.round += 1;
            self.phase = Phase::Beginning;
        }
        if self.phase == Phase::Beginning {
            self.is_once_more = false;
            writer.item(&Item::Begin(self.round));
            self.phase = Phase::Walking;
        }
        // By turns, so that neither waits for ever.
        if self.next % SHARE == SHARE - 1 {
            self.tell_walk(now, &mut writer, &mut told, source, figures);
            self.tell_changes(&mut writer, &mut told, source);
        } else {
            self.tell_changes(&mut writer, &mut told, source);
            self.tell_walk(now, &mut writer, &mut told, source, figures);
        }
        if writer.is_empty() {
            return None;
        }
        figures.told += told.flows;
        let items = writer.finish();
        let sequence = self.next;
        self.next += 1;
        self.flight.push_back(Flying {
            items: items.clone(),
            flows: told.flows,
            since: told.since,
            sent: now,
            tries: 0,
            is_there: false,
            is_lost: false,
        });
        Some((sequence, items))
    }

    fn tell_changes(&mut self, writer: &mut Writer, told: &mut Told, source: &mut dyn Source) {
        while told.has_room(writer) {
            match self.changes.queue.pop_front() {
                Some(Entry::Flow(key)) => {
                    if let Some(since) = self.changes.remove(&key) {
                        told.tell(writer, key, since, source);
                    }
                }
                Some(Entry::End(round)) => {
                    writer.item(&Item::Complete(round));
                    self.told_by.get_or_insert(self.next);
                }
                None => break,
            }
        }
    }

    fn tell_walk(
        &mut self,
        now: Duration,
        writer: &mut Writer,
        told: &mut Told,
        source: &mut dyn Source,
        figures: &mut Figures,
    ) {
        while told.has_room(writer) {
            match self.walk.queue.pop_front() {
                Some(Entry::Flow(key)) => {
                    if let Some(since) = self.walk.remove(&key) {
                        told.tell(writer, key, since, source);
                    }
                }
                Some(Entry::End(round)) => {
                    self.phase = Phase::Over;
                    self.completed = Some(now);
                    figures.rounds += 1;
                    // Some of those that were walked changed meanwhile, and wait among the changes.
                    self.changes.queue.push_back(Entry::End(round));
                }
                None => break,
            }
        }
    }

    /// The place of the first message that is on its way, or of the next one.
    fn first(&self) -> u64 {
        self.next - self.flight.len() as u64
    }

    /// A message that has to be sent again.
    fn again(&mut self, now: Duration) -> Option<(u64, Vec<u8>)> {
        let patience = self.patience;
        let first = self.first();
        let (place, flying) = self
            .flight
            .iter_mut()
            .enumerate()
            .find(|(_, flying)| !flying.is_there && flying.is_due(now, patience))?;
        if flying.is_lost {
            // Others came: the way is open.
            self.window = (self.window * 0.7).max(LEAST_WINDOW as f64);
        } else {
            self.window = (self.window / 2.0).max(LEAST_WINDOW as f64);
        }
        flying.tries += 1;
        flying.sent = now;
        flying.is_lost = false;
        Some((first + place as u64, flying.items.clone()))
    }

    /// Everything before a place has come, and some after it.
    pub(super) fn acknowledged(
        &mut self,
        now: Duration,
        sequence: u64,
        selected: &[u8],
        settings: &Settings,
    ) {
        let first = self.first();
        if sequence > self.next {
            return;
        }
        let mut latest = None;
        let mut came = 0_u32;
        for (place, flying) in (first..).zip(&mut self.flight) {
            let is_there = if place < sequence {
                true
            } else if place == sequence {
                false
            } else {
                let behind = place - sequence - 1;
                let byte = usize::try_from(behind / 8)
                    .ok()
                    .and_then(|byte| selected.get(byte));
                byte.is_some_and(|byte| byte >> (behind % 8) & 1 != 0)
            };
            if is_there && !flying.is_there {
                flying.is_there = true;
                came += 1;
                if flying.tries == 0 {
                    latest = Some(flying.sent);
                }
            }
        }
        if let Some(sent) = latest {
            let took = now.saturating_sub(sent) * 3;
            self.patience = ((self.patience * 7 + took) / 8).clamp(LEAST_PATIENCE, MOST_PATIENCE);
        }
        self.window = (self.window + f64::from(came)).min(settings.window as f64);
        // Those that others have overtaken.
        let mut later = 0;
        for flying in self.flight.iter_mut().rev() {
            if flying.is_there {
                later += 1;
            } else if later >= OVERTAKEN && flying.tries == 0 {
                flying.is_lost = true;
            }
        }
        while self.flight.front().is_some_and(|flying| flying.is_there) {
            self.flight.pop_front();
        }
    }

    /// Whether there is something to tell that has waited long enough, or is as much as a message holds.
    fn is_ripe(&self, now: Duration, settings: &Settings) -> bool {
        self.ripe(settings).is_some_and(|ripe| ripe <= now)
    }

    /// When there will be.
    fn ripe(&self, settings: &Settings) -> Option<Duration> {
        let many = settings.longest / 31;
        let due = |due: &Due| {
            let oldest = due.oldest();
            if due.len() >= many {
                return Some(Duration::ZERO);
            }
            match (oldest, due.queue.is_empty()) {
                (Some(oldest), _) => Some(oldest + settings.delay),
                // An end that waits for nothing.
                (None, false) => Some(Duration::ZERO),
                (None, true) => None,
            }
        };
        let round = match self.phase {
            Phase::Beginning => Some(Duration::ZERO),
            Phase::Over if self.is_once_more => Some(Duration::ZERO),
            Phase::Over => self.completed.map(|completed| completed + settings.refresh),
            Phase::Walking | Phase::Ending => None,
        };
        [due(&self.changes), due(&self.walk), round]
            .into_iter()
            .flatten()
            .min()
    }

    /// When something is to be sent if nothing happens.
    pub(super) fn deadline(&self, settings: &Settings) -> Option<Duration> {
        let window = (self.window as usize).min(settings.window);
        let new = if self.flight.len() < window {
            self.ripe(settings)
        } else {
            None
        };
        let again = self
            .flight
            .iter()
            .filter(|flying| !flying.is_there)
            .map(|flying| flying.due(self.patience))
            .min();
        [new, again].into_iter().flatten().min()
    }

    /// How many flows are not known to have come, how long ago the oldest change of them happened, and whether
    /// the partner has everything else.
    pub(super) fn behind(&self, now: Duration) -> (u64, Duration, bool) {
        let flying = self.flight.iter().filter(|flying| !flying.is_there);
        let on_the_way: u64 = flying.clone().map(|flying| flying.flows).sum();
        let oldest = flying
            .map(|flying| flying.since)
            .chain(self.changes.oldest())
            .chain(self.walk.oldest())
            .min();
        let unsynced = on_the_way + (self.changes.len() + self.walk.len()) as u64;
        let lag = oldest.map_or(Duration::ZERO, |oldest| now.saturating_sub(oldest));
        let first = self.first();
        let is_complete = self.told_by.is_some_and(|place| place < first) && !self.is_once_more;
        (unsynced, lag, is_complete)
    }
}

impl Flying {
    fn is_due(&self, now: Duration, patience: Duration) -> bool {
        self.due(patience) <= now
    }

    fn due(&self, patience: Duration) -> Duration {
        if self.is_lost {
            return Duration::ZERO;
        }
        let patience = patience * 2_u32.saturating_pow(self.tries.min(6));
        self.sent + patience.min(MOST_PATIENCE)
    }
}

/// What a message has so far.
struct Told {
    room: usize,
    since: Duration,
    flows: u64,
}

impl Told {
    fn has_room(&self, writer: &Writer) -> bool {
        writer.len() + LONGEST_ITEM <= self.room
    }

    fn tell(&mut self, writer: &mut Writer, key: Key, since: Duration, source: &mut dyn Source) {
        let item = match source.current(&key) {
            Some(connection) => Item::Has(connection),
            None => Item::Gone(key),
        };
        writer.item(&item);
        self.flows += 1;
        self.since = self.since.min(since);
    }
}
