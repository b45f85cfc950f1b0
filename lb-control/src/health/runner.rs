//! All nannies in one task. A nanny that waits is an entry in a map; only a check under way is a
//! task of its own, so that no server can hold up another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::{AbortHandle, Id, JoinError, JoinSet},
    time,
};
use tracing::{info, warn};

use super::{Failure, LastFailure, Nanny, Outcome, Report, State, Target, Timing, probe_once};
use crate::{
    model::{Check, ServiceId},
    state::FIRST_SOCKET,
};

/// So few servers are all checked at once when they are new.
const FEW: usize = 100;

/// More of them are spread over this time for each, though not over more than their interval.
const SPREAD_PER_SERVER: Duration = Duration::from_millis(1);

/// How many programs run at the same time.
const PROGRAMS: usize = 64;

/// How often it is said that the director cannot check.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// What identifies a nanny.
type Key = (ServiceId, SocketAddr);

/// What one nanny knows, for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The virtual service the server works for.
    pub service: ServiceId,
    /// Where the real server listens.
    pub server: SocketAddr,
    /// What the nanny thinks.
    pub state: State,
    /// When the server came, went, or, while nothing is known, when the nanny started.
    pub since: Instant,
    /// The last failure, also if the server has been well after it.
    pub last_failure: Option<LastFailure>,
    /// How many checks have ended.
    pub checks: u64,
    /// How many of them the server failed.
    pub failures: u64,
}

/// Whom to watch.
#[derive(Debug)]
enum Wish {
    All(Vec<Target>),
    Services(BTreeMap<ServiceId, Vec<Target>>),
}

/// The task that runs all nannies.
pub struct Watch {
    wishes: mpsc::UnboundedReceiver<Wish>,
    questions: mpsc::Receiver<oneshot::Sender<Vec<Status>>>,
    reports: mpsc::Sender<Report>,
    nannies: BTreeMap<Key, Watched>,
    /// When nannies that wait have to check.
    agenda: BTreeSet<(Instant, Key)>,
    checks: JoinSet<Outcome>,
    under_way: HashMap<Id, Key>,
    programs: Arc<Semaphore>,
    /// Changes that the receiver has not taken yet: one for each server, so they are bounded.
    unreported: BTreeMap<Key, Report>,
    /// When it was last said that the director cannot check.
    complained: Option<Instant>,
}

struct Watched {
    target: Arc<Target>,
    nanny: Nanny,
    check: Option<AbortHandle>,
}

/// What the rest of the program holds of the nannies. When the last one is dropped, they stop.
#[derive(Debug, Clone)]
pub struct Handle {
    wishes: mpsc::UnboundedSender<Wish>,
    questions: mpsc::Sender<oneshot::Sender<Vec<Status>>>,
}

impl Handle {
    /// Sets whom to watch: all targets, not only new ones. Targets known by service and server keep
    /// what is known of them, also if the probe is another one. Does not wait for anything.
    pub fn watch(&self, targets: Vec<Target>) {
        // Without a task nobody hears what becomes of them either.
        let _ = self.wishes.send(Wish::All(targets));
    }

    /// The same for some services: those that each of them has, from now on. All others stay.
    pub fn amend(&self, services: BTreeMap<ServiceId, Vec<Target>>) {
        if !services.is_empty() {
            let _ = self.wishes.send(Wish::Services(services));
        }
    }

    /// What each nanny knows now, in the order of service and server; those of the latest call of
    /// [`watch`](Self::watch) included.
    pub async fn snapshot(&self) -> Vec<Status> {
        let (answer, status) = oneshot::channel();
        if self.questions.send(answer).await.is_err() {
            return Vec::new();
        }
        status.await.unwrap_or_default()
    }
}

impl Watch {
    /// Starts the task, inside a tokio runtime. Each change of a server's health goes to `reports`;
    /// a receiver that is slow holds up nobody, one that is gone ends the task.
    pub fn spawn(reports: mpsc::Sender<Report>) -> Handle {
        let (wish, wishes) = mpsc::unbounded_channel();
        let (ask, questions) = mpsc::channel(8);
        let watch = Self {
            wishes,
            questions,
            reports,
            nannies: BTreeMap::new(),
            agenda: BTreeSet::new(),
            checks: JoinSet::new(),
            under_way: HashMap::new(),
            programs: Arc::new(Semaphore::new(PROGRAMS)),
            unreported: BTreeMap::new(),
            complained: None,
        };
        tokio::spawn(watch.run());
        Handle {
            wishes: wish,
            questions: ask,
        }
    }

    async fn run(mut self) {
        let reports = self.reports.clone();
        loop {
            self.start_due_checks(now());
            let due = self.agenda.first().map(|(due, _)| *due);
            // In this order a snapshot asked for after `watch` knows the new targets. The ends of
            // checks come last; what stands before them is rare and bounded.
            tokio::select! {
                biased;
                wish = self.wishes.recv() => match wish {
                    Some(wish) => self.appoint(wish, now()),
                    // No handle is left.
                    None => return,
                },
                Some(answer) = self.questions.recv() => {
                    let _asker_left = answer.send(self.statuses());
                }
                room = reports.reserve(), if !self.unreported.is_empty() => match room {
                    Ok(room) => if let Some((_, report)) = self.unreported.pop_first() {
                        room.send(report);
                    },
                    Err(_nobody_listens) => return,
                },
                Some(ended) = self.checks.join_next_with_id() => self.conclude(ended, now()),
                () = sleep_until(due), if due.is_some() => {}
            }
        }
    }

    /// Makes the nannies those that are wanted.
    fn appoint(&mut self, wish: Wish, now: Instant) {
        let (known, targets): (Vec<Key>, Vec<Target>) = match wish {
            Wish::All(targets) => (self.nannies.keys().copied().collect(), targets),
            Wish::Services(services) => {
                let known = services
                    .keys()
                    .flat_map(|service| self.of_service(*service));
                let known = known.collect();
                (known, services.into_values().flatten().collect())
            }
        };
        let wanted: BTreeMap<Key, Target> = targets
            .into_iter()
            .map(|target| ((target.service, target.server), target))
            .collect();
        for key in known.into_iter().filter(|key| !wanted.contains_key(key)) {
            self.dismiss(key);
            self.unreported.remove(&key);
        }

        let to_check = wanted
            .iter()
            .filter(|(key, target)| self.unchanged(key, target).is_none())
            .count();
        for (key, target) in wanted {
            if self.unchanged(&key, &target).is_none() {
                let first_check = now + head_start(&key, &target, to_check);
                self.engage(key, target, now, first_check);
            }
        }
    }

    /// The nannies of a service.
    fn of_service(&self, service: ServiceId) -> impl Iterator<Item = Key> {
        let nannies = self.nannies.range((service, FIRST_SOCKET)..);
        nannies
            .take_while(move |((other, _), _)| *other == service)
            .map(|(key, _)| *key)
    }

    fn unchanged(&self, key: &Key, target: &Target) -> Option<&Watched> {
        self.nannies
            .get(key)
            .filter(|watched| *watched.target == *target)
    }

    /// A new server, or a new probe for one that is known.
    fn engage(&mut self, key: Key, target: Target, now: Instant, first_check: Instant) {
        let timing = Timing::of(&target.probe);
        let nanny = match self.dismiss(key) {
            Some(mut known) => {
                known.retime(timing, first_check);
                known
            }
            None => {
                info!(service = %key.0, server = %key.1, "starting LVS client monitor");
                Nanny::new(timing, now, first_check)
            }
        };
        self.agenda.insert((nanny.deadline(), key));
        let watched = Watched {
            target: Arc::new(target),
            nanny,
            check: None,
        };
        self.nannies.insert(key, watched);
    }

    /// Stops a nanny together with its check.
    fn dismiss(&mut self, key: Key) -> Option<Nanny> {
        let watched = self.nannies.remove(&key)?;
        self.agenda.remove(&(watched.nanny.deadline(), key));
        if let Some(check) = watched.check {
            check.abort();
            self.under_way.remove(&check.id());
        }
        Some(watched.nanny)
    }

    fn start_due_checks(&mut self, now: Instant) {
        while let Some((due, key)) = self.agenda.pop_first() {
            if due > now {
                self.agenda.insert((due, key));
                return;
            }
            let Some(watched) = self.nannies.get_mut(&key) else {
                continue;
            };
            let check = check(Arc::clone(&watched.target), Arc::clone(&self.programs));
            let handle = self.checks.spawn(check);
            self.under_way.insert(handle.id(), key);
            watched.check = Some(handle);
        }
    }

    /// A check has ended. One that was stopped is not under way any more and says nothing.
    fn conclude(&mut self, ended: Result<(Id, Outcome), JoinError>, now: Instant) {
        let (id, outcome) = ended.unwrap_or_else(|error| {
            let id = error.id();
            let error = error.to_string();
            (id, Err(Failure::Untried { error }))
        });
        let Some(key) = self.under_way.remove(&id) else {
            return;
        };
        let Some(watched) = self.nannies.get_mut(&key) else {
            return;
        };
        watched.check = None;
        if let Err(failure) = &outcome
            && failure.is_the_directors()
        {
            complain(&mut self.complained, &key, failure, now);
        }
        let change = watched.nanny.checked(outcome, now);
        self.agenda.insert((watched.nanny.deadline(), key));

        if let Some(health) = change {
            let (service, server) = key;
            let report = Report {
                service,
                server,
                health,
            };
            self.unreported.insert(key, report);
        }
    }

    fn statuses(&self) -> Vec<Status> {
        self.nannies
            .iter()
            .map(|((service, server), Watched { nanny, .. })| Status {
                service: *service,
                server: *server,
                state: nanny.state(),
                since: nanny.since(),
                last_failure: nanny.last_failure().cloned(),
                checks: nanny.checks(),
                failures: nanny.failures(),
            })
            .collect()
    }
}

async fn check(target: Arc<Target>, programs: Arc<Semaphore>) -> Outcome {
    let _turn = match target.probe.check {
        Check::Program { .. } => programs.acquire().await.ok(),
        Check::Talk { .. } => None,
    };
    probe_once(&target).await
}

/// How long a server's first check waits, so that many do not come at the same instant; the same
/// for the same server every time.
fn head_start(key: &Key, target: &Target, servers: usize) -> Duration {
    if servers < FEW {
        return Duration::ZERO;
    }
    let servers = u32::try_from(servers).unwrap_or(u32::MAX);
    let spread = SPREAD_PER_SERVER
        .saturating_mul(servers)
        .min(Timing::of(&target.probe).interval());
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let part = hasher.finish() as f64 / u64::MAX as f64;
    spread.mul_f64(part)
}

/// Says that checks cannot be made; about every server each time would be a flood.
fn complain(last: &mut Option<Instant>, (service, server): &Key, failure: &Failure, now: Instant) {
    if last.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAIN_EVERY) {
        *last = Some(now);
        warn!(%service, %server, "{failure}; what is known of the server stays");
    }
}

/// The runtime's clock, which tests can turn.
fn now() -> Instant {
    time::Instant::now().into_std()
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        time::sleep_until(due.into()).await;
    }
}

#[cfg(test)]
mod tests;
