//! The failover services of one node: what is started, stopped and checked when. No process, no socket, no clock.
//!
//! | a service is | what happens | what it does |
//! | --- | --- | --- |
//! | unknown: a daemon before this one may have started it | the node is active | is checked: well, it *runs*; not, it is stopped and started |
//! | stopped | the node is active | `start_cmd`, one service after the other, in the order of the file |
//! | starting | `start_cmd` ends well | is checked, each second at least |
//! | starting | `start_cmd` fails, or no check is good for three intervals | *failed* |
//! | starting, failed | a check is good | *runs* |
//! | running | `fall` checks in a row are bad | *failed* |
//! | failed | the partner is able | the node hands over, as it does without a link: that is the heartbeat's decision |
//! | failed | the node is still active after a pause | stopped and started again; the pause doubles up to a minute |
//! | any | the node is to let go | `stop_cmd`, one after the other, the last one first; a `start_cmd` under way is ended |
//! | failed, or was | the node is not active any more | keeps the node from being active for `reentry`, while the partner is heard |

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    health::{Health, Nanny, Outcome, Timing},
    journal::Kind,
    model::{FailoverService, Protocol},
};

/// The first pause before a failed service is started again, and the time in which the node may hand over instead.
const PAUSE: Duration = Duration::from_secs(1);

/// The pause doubles so often.
const DOUBLED: u32 = 6;

/// A service that has just been started is checked at least so often.
const IMPATIENT: Duration = Duration::from_secs(1);

/// It has this many intervals for its first good check.
const FIRST_CHECKS: u32 = 3;

/// What a service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = FailoverState)]
pub enum State {
    /// Nothing has been done about it yet: it may run.
    Unknown,
    /// It does not run.
    Stopped,
    /// It is being started, or has not answered yet.
    Starting,
    /// It runs, and answers.
    Running,
    /// It did not start, or does not answer.
    Failed,
    /// It is being stopped.
    Stopping,
}

impl State {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        }
    }
}

/// A service, for those who ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The name of its block.
    pub name: String,
    /// Where clients reach it.
    pub address: SocketAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// What it is doing.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// What went wrong last, and when.
    pub last_failure: Option<(String, Instant)>,
    /// How often it was started.
    pub starts: u64,
    /// How many checks have ended since it was started last.
    pub checks: u64,
    /// How many of them failed.
    pub failures: u64,
}

/// A program of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// `start_cmd`.
    Start,
    /// `stop_cmd`.
    Stop,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start_cmd",
            Self::Stop => "stop_cmd",
        })
    }
}

/// What the caller has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Run a program, and tell [`Machine::ended`]. There is one at a time.
    Run(Which, Arc<FailoverService>),
    /// End the program that runs, and tell [`Machine::ended`] nevertheless.
    Break,
    /// Check a service, and tell [`Machine::checked`] with this ticket.
    Check(Ticket, Arc<FailoverService>),
    /// All services are stopped: the addresses may come off.
    LetGo,
    /// Tell people.
    Tell(Kind, String),
}

/// Which check it is: one of a service that was stopped meanwhile says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    entry: u64,
    round: u64,
}

/// All failover services of a node.
#[derive(Debug, Default)]
pub struct Machine {
    /// The node is active, and its addresses are up.
    is_wanted: bool,
    /// Somebody waits for all of them to be stopped.
    is_leaving: bool,
    /// In the order of the file; those that are gone from it come last.
    entries: Vec<Entry>,
    /// Whose program runs.
    under_way: Option<(u64, Which)>,
    /// It was told to end, since nobody wants it any more.
    is_broken: bool,
    /// Nothing is started before: the node may be about to hand over.
    pause: Option<Instant>,
    /// What is numbered, entries and rounds, has numbers from here on.
    numbers: u64,
    deeds: Vec<Deed>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    service: Arc<FailoverService>,
    state: State,
    since: Instant,
    /// It is not in the file any more.
    is_gone: bool,
    /// It is to be stopped although the node is active.
    must_stop: bool,
    /// Its checks, from its start to its end.
    watch: Option<Watch>,
    /// What keeps the node from being active.
    trouble: Option<(String, Instant)>,
    last_failure: Option<(String, Instant)>,
    /// When it is started again if it is still here, or has to have answered.
    due: Option<Instant>,
    /// How often it failed in a row.
    in_a_row: u32,
    starts: u64,
}

#[derive(Debug)]
struct Watch {
    nanny: Nanny,
    round: u64,
    next: Instant,
    is_checking: bool,
}

impl Machine {
    /// What has to be done now, in order.
    pub fn take_deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    /// Until when [`Self::tick`] has to be called; none if only events matter.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let of_entry = |entry: &Entry| {
            let checks = entry.watch.as_ref().filter(|watch| !watch.is_checking);
            let held = match (&entry.trouble, self.is_wanted) {
                (Some((_, at)), false) => Some(*at + entry.service.held),
                (Some(_), true) | (None, _) => None,
            };
            [checks.map(|watch| watch.next), entry.due, held]
        };
        let times = self.entries.iter().flat_map(of_entry);
        times.chain([self.pause]).flatten().min()
    }

    /// What is wrong with the services, if it keeps this node from being active.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let of_entry = |entry: &Entry| {
            let (text, _) = entry.trouble.as_ref()?;
            Some(format!("{}: {text}", entry.service.name))
        };
        self.entries.iter().find_map(of_entry)
    }

    /// The services in the order of the file.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        self.entries.iter().map(Entry::shown).collect()
    }

    /// The node is active, and its addresses are up.
    pub fn raise(&mut self, now: Instant) {
        self.is_wanted = true;
        self.is_leaving = false;
        for entry in &mut self.entries {
            // That was another time; now it is tried again.
            entry.trouble = None;
            entry.in_a_row = 0;
        }
        self.pause = None;
        self.go_on(now);
    }

    /// The node is to let go of everything.
    pub fn lower(&mut self, now: Instant) {
        self.is_wanted = false;
        self.is_leaving = true;
        if let Some((_, Which::Start)) = self.under_way {
            self.is_broken = true;
            self.deeds.push(Deed::Break);
        }
        self.go_on(now);
    }

    /// These are the services from now on. One with the name and address of one that is known is the same.
    pub fn amend(&mut self, services: &[Arc<FailoverService>], now: Instant) {
        let mut before = std::mem::take(&mut self.entries);
        for service in services {
            let is_same = |entry: &Entry| {
                let known = &entry.service;
                (&known.name, known.address, known.protocol)
                    == (&service.name, service.address, service.protocol)
            };
            let known = before.iter().position(is_same);
            let entry = match known.map(|place| before.remove(place)) {
                Some(entry) => entry.amended(service, now),
                None => Entry::new(self.number(), service, now),
            };
            self.entries.push(entry);
        }
        for entry in &mut before {
            entry.is_gone = true;
        }
        self.entries.append(&mut before);
        self.go_on(now);
    }

    /// The program that ran has ended, with what it said.
    pub fn ended(&mut self, outcome: Result<String, String>, now: Instant) {
        let Some((number, which)) = self.under_way.take() else {
            return;
        };
        let was_broken = std::mem::take(&mut self.is_broken);
        let round = self.number();
        let Some(entry) = self.entries.iter_mut().find(|it| it.number == number) else {
            return self.go_on(now);
        };
        let name = &entry.service.name;
        let (is_well, text) = match &outcome {
            Ok(text) => (true, format!("{which} of {name}: {text}")),
            Err(text) => (false, format!("{which} of {name} failed: {text}")),
        };
        self.deeds.push(Deed::Tell(Kind::Command, text));
        match which {
            // If it could not be stopped, nothing more can be done about it here.
            Which::Stop => entry.stopped(now),
            Which::Start if is_well => entry.started(round, now),
            Which::Start if was_broken => entry.must_stop = true,
            Which::Start => {
                let text = format!("start_cmd failed: {}", outcome.err().unwrap_or_default());
                self.pause = Some(now + PAUSE);
                self.deeds.push(entry.failed(text, now));
            }
        }
        self.go_on(now);
    }

    /// A check has ended.
    pub fn checked(&mut self, ticket: Ticket, outcome: Outcome, now: Instant) {
        let entry = self.entries.iter_mut().find(|it| it.number == ticket.entry);
        let Some(entry) = entry else { return };
        if let Some(deed) = entry.checked(ticket, outcome, now) {
            if entry.state == State::Failed {
                self.pause = Some(now + PAUSE);
            }
            self.deeds.push(deed);
        }
        self.go_on(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        self.go_on(now);
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Does what follows from everything that is known.
    fn go_on(&mut self, now: Instant) {
        if self.pause.is_some_and(|until| now >= until) {
            self.pause = None;
        }
        let is_wanted = self.is_wanted;
        for entry in &mut self.entries {
            let late = entry.lateness(is_wanted, now);
            if late.is_some() {
                self.pause = Some(now + PAUSE);
            }
            self.deeds.extend(late);
        }
        while self.under_way.is_none() && self.step(now) {}
        self.begin_checks(now);
    }

    /// Begins with the next service that is to be stopped or started; whether there was one.
    fn step(&mut self, now: Instant) -> bool {
        let is_wanted = self.is_wanted;
        self.entries
            .retain(|entry| !(entry.is_gone && entry.state == State::Stopped));
        let mut last_first = self.entries.iter_mut().rev();
        if let Some(entry) = last_first.find(|entry| entry.has_to_end(is_wanted)) {
            entry.go(State::Stopping, now);
            (entry.watch, entry.due) = (None, None);
            if entry.service.stop.is_empty() {
                entry.stopped(now);
            } else {
                self.under_way = Some((entry.number, Which::Stop));
                let service = Arc::clone(&entry.service);
                self.deeds.push(Deed::Run(Which::Stop, service));
            }
            return true;
        }
        if !is_wanted {
            if std::mem::take(&mut self.is_leaving) {
                self.deeds.push(Deed::LetGo);
            }
            return false;
        }
        if self.pause.is_some() {
            return false;
        }
        let round = self.number();
        // One that may run is looked at before those behind it are started.
        let is_open = |entry: &&mut Entry| match entry.state {
            State::Stopped => true,
            State::Unknown => entry.watch.is_none(),
            State::Starting | State::Running | State::Failed | State::Stopping => false,
        };
        let is_unclear = |entry: &&mut Entry| entry.state == State::Unknown;
        let mut before_unclear = self.entries.iter_mut();
        let next = before_unclear.find(|entry| is_open(entry) || is_unclear(entry));
        let Some(entry) = next.filter(is_open) else {
            return false;
        };
        if entry.state == State::Unknown {
            entry.watched(round, now);
            return true;
        }
        let text = format!(
            "Starting local service {} ({})",
            entry.service.address, entry.service.name
        );
        self.deeds.push(Deed::Tell(Kind::Command, text));
        entry.go(State::Starting, now);
        entry.starts += 1;
        if entry.service.start.is_empty() {
            entry.started(round, now);
        } else {
            self.under_way = Some((entry.number, Which::Start));
            let service = Arc::clone(&entry.service);
            self.deeds.push(Deed::Run(Which::Start, service));
        }
        true
    }

    fn begin_checks(&mut self, now: Instant) {
        for entry in &mut self.entries {
            let number = entry.number;
            let Some(watch) = &mut entry.watch else {
                continue;
            };
            if !watch.is_checking && now >= watch.next {
                watch.is_checking = true;
                let ticket = Ticket {
                    entry: number,
                    round: watch.round,
                };
                let service = Arc::clone(&entry.service);
                self.deeds.push(Deed::Check(ticket, service));
            }
        }
    }
}

impl Entry {
    fn new(number: u64, service: &Arc<FailoverService>, now: Instant) -> Self {
        Self {
            number,
            service: Arc::clone(service),
            state: State::Unknown,
            since: now,
            is_gone: false,
            must_stop: false,
            watch: None,
            trouble: None,
            last_failure: None,
            due: None,
            in_a_row: 0,
            starts: 0,
        }
    }

    fn amended(mut self, service: &Arc<FailoverService>, now: Instant) -> Self {
        if self.service.probe != service.probe
            && let Some(watch) = &mut self.watch
        {
            watch.nanny.retime(Timing::of(&service.probe), now);
            watch.next = now;
        }
        self.service = Arc::clone(service);
        self.is_gone = false;
        self
    }

    fn shown(&self) -> Shown {
        let nanny = self.watch.as_ref().map(|watch| &watch.nanny);
        Shown {
            name: self.service.name.clone(),
            address: self.service.address,
            protocol: self.service.protocol,
            state: self.state,
            since: self.since,
            last_failure: self.last_failure.clone(),
            starts: self.starts,
            checks: nanny.map_or(0, Nanny::checks),
            failures: nanny.map_or(0, Nanny::failures),
        }
    }

    fn go(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }

    fn has_to_end(&self, is_wanted: bool) -> bool {
        self.state != State::Stopped && (!is_wanted || self.is_gone || self.must_stop)
    }

    fn stopped(&mut self, now: Instant) {
        self.go(State::Stopped, now);
        self.must_stop = false;
    }

    /// The program is done: now it has to answer.
    fn started(&mut self, round: u64, now: Instant) {
        self.watched(round, now);
        let interval = Timing::of(&self.service.probe).interval();
        self.due = Some(now + interval * FIRST_CHECKS);
    }

    fn watched(&mut self, round: u64, now: Instant) {
        self.watch = Some(Watch {
            nanny: Nanny::new(Timing::of(&self.service.probe), now, now).with_lot(round),
            round,
            next: now,
            is_checking: false,
        });
    }

    /// What a check of this round has found, if that is news.
    fn checked(&mut self, ticket: Ticket, outcome: Outcome, now: Instant) -> Option<Deed> {
        let watch = self.watch.as_mut()?;
        if watch.round != ticket.round {
            return None;
        }
        watch.is_checking = false;
        if let Err(failure) = &outcome {
            self.last_failure = Some((failure.to_string(), now));
        }
        let news = watch.nanny.checked(outcome, now);
        watch.next = match self.state {
            State::Starting => watch.nanny.deadline().min(now + IMPATIENT),
            State::Unknown | State::Running | State::Failed | State::Stopped | State::Stopping => {
                watch.nanny.deadline()
            }
        };
        match (news?, self.state) {
            (Health::Up, State::Unknown | State::Starting | State::Failed) => {
                self.go(State::Running, now);
                (self.trouble, self.due) = (None, None);
                let FailoverService { name, address, .. } = &*self.service;
                let text = format!("[ active ] {name} runs at {address}");
                Some(Deed::Tell(Kind::ServerUp, text))
            }
            // Nobody had started it.
            (Health::Down { .. }, State::Unknown) => {
                self.must_stop = true;
                None
            }
            (Health::Down { reason }, State::Running) => Some(self.failed(reason.to_string(), now)),
            // It may still come.
            (Health::Down { .. }, State::Starting | State::Failed)
            | (
                Health::Up | Health::Down { .. },
                State::Running | State::Stopped | State::Stopping,
            )
            | (Health::Weighs { .. }, _) => None,
        }
    }

    /// It failed: the node hands over, or it is started again.
    fn failed(&mut self, text: String, now: Instant) -> Deed {
        let was_well_for_long =
            self.state == State::Running && now >= self.since + self.service.held;
        if was_well_for_long {
            self.in_a_row = 0;
        }
        self.due = Some(now + PAUSE * (1 << self.in_a_row.min(DOUBLED)));
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.go(State::Failed, now);
        self.last_failure = Some((text.clone(), now));
        let FailoverService { name, address, .. } = &*self.service;
        let told = format!("[inactive] {name} at {address} fails: {text}");
        self.trouble = Some((text, now));
        Deed::Tell(Kind::ServerDown, told)
    }

    /// What is due: it has not answered in time, it is started again, or its failure is forgotten.
    fn lateness(&mut self, is_wanted: bool, now: Instant) -> Option<Deed> {
        let held = self.service.held;
        if !is_wanted
            && self
                .trouble
                .as_ref()
                .is_some_and(|(_, at)| now >= *at + held)
        {
            self.trouble = None;
        }
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = None;
        match self.state {
            State::Starting => {
                let why = self
                    .last_failure
                    .as_ref()
                    .filter(|(_, at)| *at >= self.since);
                let why =
                    why.map_or_else(|| "no check has ended".to_owned(), |(why, _)| why.clone());
                Some(self.failed(format!("it does not answer after its start: {why}"), now))
            }
            State::Failed => {
                self.must_stop = true;
                None
            }
            State::Unknown | State::Stopped | State::Running | State::Stopping => None,
        }
    }
}

#[cfg(test)]
mod tests;
