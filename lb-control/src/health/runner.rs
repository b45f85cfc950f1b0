//! All nannies in one task, on a thread of its own: however many there are, they hold up nobody else. A nanny that waits is an entry in a map; only a check under way is a
//! task of its own, so that no server can hold up another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::{AbortHandle, Id, JoinError, JoinSet},
    time,
};
use tracing::{info, warn};

use super::{
    Failure, Health, LastFailure, Nanny, Outcome, Report, State, Target, Timing,
    agent::{self, Said},
    load,
    probe::ask_agent,
    probe_told,
    weighing::{Due, Plan, Weighing},
    witness::Happening,
};
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

/// So many checks are begun before anything else is looked at again.
const AT_ONCE: usize = 256;

/// So many who are gone are remembered.
const MANY: usize = 100_000;

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
    /// Its weight, if that is another than configured.
    pub weight: Option<u16>,
    /// Until when it stays away because it came and went too often.
    pub held_until: Option<Instant>,
    /// How many days its certificate is good, as of the last check that saw one.
    pub certificate_days: Option<i64>,
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
    checks: JoinSet<Ended>,
    under_way: HashMap<Id, Key>,
    programs: Arc<Semaphore>,
    /// Changes that the receiver has not taken yet: one for each server, so they are bounded.
    unreported: BTreeMap<(Key, About), Report>,
    /// The weights of those who were dismissed: that report may be read after the server has come back, who
    /// then has to take it back.
    gone: BTreeMap<Key, u16>,
    /// When it was last said that the director cannot check.
    complained: Option<Instant>,
}

/// What a report is about. Who returns with little weight is told so before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Weight,
    Health,
}

/// A task of a nanny has ended.
enum Ended {
    Check(Findings),
    Load(Result<f64, Failure>),
}

/// What one check found.
struct Findings {
    outcome: Outcome,
    said: Option<Said>,
    /// How long the certificate is good, if there was one.
    days: Option<i64>,
}

struct Watched {
    target: Arc<Target>,
    nanny: Nanny,
    weighing: Weighing,
    /// The weight that was reported last.
    weight: Option<u16>,
    /// How long its certificate is good, and whether it was told that this is not long.
    days: Option<i64>,
    is_warned: bool,
    check: Option<AbortHandle>,
    load: Option<AbortHandle>,
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
    /// Starts the task on a thread of its own, in the network namespace of the caller's. Each change of a
    /// server's health or weight goes to `reports`; a receiver that is slow holds up nobody, one that is gone
    /// ends the thread, as does the last handle.
    ///
    /// # Errors
    /// If there can be no thread, or no runtime.
    pub fn spawn(reports: mpsc::Sender<Report>) -> io::Result<Handle> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (handle, watch) = Self::new(reports);
        thread::Builder::new()
            .name("nannies".to_owned())
            .spawn(move || runtime.block_on(watch.run()))?;
        Ok(handle)
    }

    /// The task itself, for whoever has a runtime for it.
    fn new(reports: mpsc::Sender<Report>) -> (Handle, Self) {
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
            gone: BTreeMap::new(),
            complained: None,
        };
        let handle = Handle {
            wishes: wish,
            questions: ask,
        };
        (handle, watch)
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
        if self.gone.len() > MANY {
            self.gone.clear();
        }
        for key in known.into_iter().filter(|key| !wanted.contains_key(key)) {
            let dismissed = self.dismiss(key);
            let weight = dismissed.and_then(|watched| watched.weight);
            self.gone.extend(weight.map(|weight| (key, weight)));
            self.unreported.remove(&(key, About::Weight));
            self.unreported.remove(&(key, About::Health));
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
        let plan = plan(&target);
        let weight = target.weight;
        let target = Arc::new(target);
        let watched = match self.dismiss(key) {
            Some(mut known) => {
                known.nanny.retime(timing, first_check);
                known.weighing.reconfigure(weight, plan);
                known.target = target;
                known.days = None;
                known
            }
            None => {
                info!(service = %key.0, server = %key.1, "starting LVS client monitor");
                Watched {
                    target,
                    nanny: Nanny::new(timing, now, first_check).with_lot(lot(&key)),
                    weighing: Weighing::new(weight, plan),
                    weight: self.gone.remove(&key),
                    days: None,
                    is_warned: false,
                    check: None,
                    load: None,
                }
            }
        };
        self.agenda.insert((watched.nanny.deadline(), key));
        self.nannies.insert(key, watched);
        self.report_weight(key);
    }

    /// Stops a nanny together with what it does.
    fn dismiss(&mut self, key: Key) -> Option<Watched> {
        let mut watched = self.nannies.remove(&key)?;
        self.agenda.remove(&(watched.nanny.deadline(), key));
        for task in watched.check.take().into_iter().chain(watched.load.take()) {
            task.abort();
            self.under_way.remove(&task.id());
        }
        Some(watched)
    }

    fn start_due_checks(&mut self, now: Instant) {
        for _ in 0..AT_ONCE {
            let Some((due, key)) = self.agenda.pop_first() else {
                return;
            };
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

    /// A task has ended. One that was stopped is not under way any more and says nothing.
    fn conclude(&mut self, ended: Result<(Id, Ended), JoinError>, now: Instant) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Some(ended)),
            // It panicked, which is a fault of ours.
            Err(error) => (error.id(), None),
        };
        let Some(key) = self.under_way.remove(&id) else {
            return;
        };
        let Some(watched) = self.nannies.get_mut(&key) else {
            return;
        };
        let is_load = watched.load.as_ref().is_some_and(|load| load.id() == id);
        match ended {
            Some(Ended::Load(load)) => watched.loaded(&key, load),
            None if is_load => watched.load = None,
            Some(Ended::Check(findings)) => self.checked(key, findings, now),
            None => {
                let error = "the check broke off".to_owned();
                let findings = Findings {
                    outcome: Err(Failure::Untried { error }),
                    said: None,
                    days: None,
                };
                self.checked(key, findings, now);
            }
        }
        self.report_weight(key);
    }

    /// A check has ended.
    fn checked(&mut self, key: Key, findings: Findings, now: Instant) {
        let Some(watched) = self.nannies.get_mut(&key) else {
            return;
        };
        let Findings {
            outcome,
            said,
            days,
        } = findings;
        watched.check = None;
        if let Err(failure) = &outcome
            && failure.is_the_directors()
        {
            complain(&mut self.complained, &key, failure, now);
        }
        if let Some(said) = said {
            watched.listen(&key, &said);
        }
        if days.is_some() {
            watched.note_certificate(&key, days);
        }
        let is_well = outcome.is_ok();
        let was_known = watched.nanny.state() != State::Unknown;
        let change = watched.nanny.checked(outcome, now);
        self.agenda.insert((watched.nanny.deadline(), key));
        if change == Some(Health::Up) && was_known {
            watched.weighing.returns();
        } else if is_well
            && watched.nanny.state() == State::Up
            && watched.weighing.found_well() == Due::Load
            && watched.load.is_none()
            && let Some(command) = watched.target.probe.load.clone()
        {
            let target = Arc::clone(&watched.target);
            let programs = Arc::clone(&self.programs);
            let handle = self.checks.spawn(measure(target, command, programs));
            self.under_way.insert(handle.id(), key);
            watched.load = Some(handle);
        }
        if let Some(health) = change {
            self.report_weight(key);
            self.report(key, About::Health, health);
        }
    }

    /// A weight that is not what was reported last is reported.
    fn report_weight(&mut self, key: Key) {
        let Some(watched) = self.nannies.get_mut(&key) else {
            return;
        };
        let weight = watched.weighing.weight();
        if weight != watched.weight {
            watched.weight = weight;
            self.report(key, About::Weight, Health::Weighs { weight });
        }
    }

    fn report(&mut self, key: Key, about: About, health: Health) {
        let (service, server) = key;
        let report = Report {
            service,
            server,
            health,
        };
        self.unreported.insert((key, about), report);
    }

    fn statuses(&self) -> Vec<Status> {
        self.nannies
            .iter()
            .map(|((service, server), watched)| (service, server, watched, &watched.nanny))
            .map(|(service, server, watched, nanny)| Status {
                service: *service,
                server: *server,
                state: nanny.state(),
                since: nanny.since(),
                last_failure: nanny.last_failure().cloned(),
                checks: nanny.checks(),
                failures: nanny.failures(),
                weight: watched.weight,
                held_until: nanny.held_until(),
                certificate_days: watched.days,
            })
            .collect()
    }
}

impl Watched {
    /// A program has told the load, or not. Then the weight stays.
    fn loaded(&mut self, (service, server): &Key, load: Result<f64, Failure>) {
        self.load = None;
        match load {
            Ok(load) => self.weighing.loaded(load),
            Err(failure) => warn!(%service, %server, "failed to read remote load: {failure}"),
        }
    }

    /// The server's agent has spoken. That it wants nothing new is worth a line in the log.
    fn listen(&mut self, (service, server): &Key, said: &Said) {
        let was_draining = self.weighing.is_draining();
        self.weighing.told(said);
        match (was_draining, self.weighing.is_draining()) {
            (false, true) => info!(%service, %server, "its agent says drain"),
            (true, false) => info!(%service, %server, "its agent says that it works again"),
            (true, true) | (false, false) => {}
        }
    }

    /// Tells once of a certificate that ends soon; of another one that does again.
    fn note_certificate(&mut self, (service, server): &Key, days: Option<i64>) {
        self.days = days;
        let tls = match &self.target.probe.check {
            Check::Tls { tls, .. } => Some(tls),
            Check::Http(http) => http.tls.as_ref(),
            Check::Grpc(grpc) => grpc.tls.as_ref(),
            Check::Talk { .. }
            | Check::Program { .. }
            | Check::Dns(_)
            | Check::Icmp
            | Check::Greeting(_) => None,
        };
        let limit = tls.map_or(0, |tls| i64::from(tls.warn_days));
        let Some(days) = days.filter(|days| limit > 0 && *days < limit) else {
            self.is_warned = false;
            return;
        };
        if !self.is_warned {
            self.is_warned = true;
            warn!(%service, %server, "the certificate of {server} ends in {days} days");
        }
    }
}

/// One check, and what the server's agent says if the check was good.
async fn check(target: Arc<Target>, programs: Arc<Semaphore>) -> Ended {
    let _turn = match target.probe.check {
        Check::Program { .. } => programs.acquire().await.ok(),
        Check::Talk { .. }
        | Check::Tls { .. }
        | Check::Http(_)
        | Check::Grpc(_)
        | Check::Dns(_)
        | Check::Icmp
        | Check::Greeting(_) => None,
    };
    let mut days = None;
    let mut outcome = probe_told(&target, &mut |happening: Happening<'_>| {
        if let Happening::Secured { days: left } = happening {
            days = left;
        }
    })
    .await;
    let mut said = None;
    if let (Some(port), Ok(())) = (target.probe.agent, &outcome) {
        // An agent that cannot be asked says nothing, so everything stays as it was.
        said = Box::pin(ask_agent(&target, port)).await.ok();
    }
    if let Some(Said {
        state: Some(agent::Wish::Down(text)),
        ..
    }) = &said
    {
        outcome = Err(Failure::Said { said: text.clone() });
    }
    Ended::Check(Findings {
        outcome,
        said,
        days,
    })
}

/// Asks for the load of a server.
async fn measure(target: Arc<Target>, command: Vec<String>, programs: Arc<Semaphore>) -> Ended {
    let _turn = programs.acquire().await.ok();
    let limit = Timing::of(&target.probe).interval();
    Ended::Load(load::measure(target.server, &command, limit).await)
}

/// What moves the weight of a server.
fn plan(target: &Target) -> Plan {
    let probe = &target.probe;
    Plan {
        slow_start: probe.slow_start,
        has_load: probe.load.is_some(),
        has_agent: probe.agent.is_some(),
        every: Plan::every(Timing::of(probe).interval()),
    }
}

/// A number that a nanny has for itself, the same every time.
fn lot(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
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
    let part = lot(key) as f64 / u64::MAX as f64;
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
