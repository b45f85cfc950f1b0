//! The thread that synchronises: sockets, the ring of changes, the walk through the table and the clock. It is a
//! thread of its own, so that a daemon that is busy with its tables does not delay it.

mod clients;
mod group;
mod local;
mod paths;

use std::{
    ops::ControlFlow,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use lb_common::record::Record;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{info, warn};

use self::{
    clients::Clients,
    local::{Local, Tables, key_of},
    paths::Ways,
};
pub use self::{
    local::{Outcomes, Shown},
    paths::Path,
};
use super::{
    connection::{Key, Names},
    ipvs::{
        daemon::{SyncRole, Wanted},
        outbox::Outbox,
        talker::{Listens, Talker},
    },
    machine::{Datagram, Figures, Machine, Rejected, Role, Settings},
    translate,
    wire::Seal,
};
use crate::{
    dataplane::{
        bpffs::Pins,
        changes::Changes,
        connections::{FlowTables, PinnedFlows},
        flows::PinnedTables,
        learn::{Learned, Learner},
    },
    event::Event,
    heartbeat::{machine, runner::PairState},
    random,
};

/// How many records are read before anything else gets its turn.
const TURN: usize = 1_024;

/// How often names and losses are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Between a try that failed and the next one.
const AGAIN: Duration = Duration::from_secs(2);

/// Messages in the language of IPVS may be at least as long: a connection with all that can be said of it fits.
const SHORTEST: usize = 576;

/// What is spoken, and by which sockets.
pub enum Language {
    /// Ours, with a partner of ours.
    Ours {
        /// The ways there.
        paths: Vec<Path>,
        /// Which pair of directors this is.
        pair: u8,
        /// The keys.
        seal: Arc<dyn Fn() -> Box<dyn Seal> + Send + Sync>,
    },
    /// That of IPVS.
    Ipvs(Wanted),
}

/// How it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// It runs; if not, it is tried again.
    pub runs: bool,
    /// This director is the one that tells.
    pub is_active: bool,
    /// The language is that of IPVS.
    pub is_ipvs: bool,
    /// Numbers.
    pub figures: Figures,
    /// What became of what was heard.
    pub outcomes: Outcomes,
}

/// The thread. It ends when this is dropped.
pub struct Handle {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but the kernel.
            let _ = thread.join();
        }
    }
}

/// Starts the thread. `state` says what this director is, `shown` is where it shows how it goes, `events` leads to the reconciler, which knows the site by now.
///
/// # Errors
/// If the kernel gives no thread.
pub fn spawn(
    language: Language,
    pins: Pins,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<PairState>,
    shown: Shown,
) -> anyhow::Result<Handle> {
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime for connection synchronisation")?;
    let runner = Runner {
        language,
        pins,
        events,
        state,
        shown,
    };
    let thread = thread::Builder::new()
        .name("sync".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = runner.keep_running() => {}
                    _ = stopped => {}
                }
            });
        })
        .context("starting the thread of connection synchronisation")?;
    Ok(Handle {
        stop: Some(stop),
        thread: Some(thread),
    })
}

/// The data plane that is pinned.
struct Pinned {
    tables: PinnedTables,
    learner: Learner,
}

impl Tables for Pinned {
    fn find(&self, wanted: &Record) -> anyhow::Result<Option<Record>> {
        self.tables.find(wanted)
    }

    fn learn(&mut self, records: &mut [Record]) -> anyhow::Result<Learned> {
        self.learner.learn(records)
    }

    fn untold(&self) -> anyhow::Result<u64> {
        self.tables.untold()
    }
}

/// Either language.
enum Talk {
    Ours(Box<Machine>),
    Ipvs(Box<Talker>),
}

impl Talk {
    fn set_role(&mut self, now: Duration, role: Role) {
        match self {
            Self::Ours(machine) => machine.set_role(now, role),
            Self::Ipvs(talker) => talker.set_role(now, role),
        }
    }

    fn changed(&mut self, now: Duration, key: Key) {
        match self {
            Self::Ours(machine) => machine.changed(now, key),
            Self::Ipvs(talker) => talker.changed(now, key),
        }
    }

    fn lost(&mut self, now: Duration) {
        match self {
            Self::Ours(machine) => machine.lost(),
            Self::Ipvs(talker) => talker.lost(now),
        }
    }

    fn walking(&self) -> Option<u64> {
        match self {
            Self::Ours(machine) => machine.walking(),
            Self::Ipvs(talker) => talker.walking(),
        }
    }

    fn room(&mut self, now: Duration) -> usize {
        match self {
            Self::Ours(machine) => machine.room(now),
            Self::Ipvs(talker) => talker.room(now),
        }
    }

    fn walked(&mut self, now: Duration, key: Key) {
        match self {
            Self::Ours(machine) => machine.walked(now, key),
            Self::Ipvs(talker) => talker.walked(now, key),
        }
    }

    fn walk_ended(&mut self) {
        match self {
            Self::Ours(machine) => machine.walk_ended(),
            Self::Ipvs(talker) => talker.walk_ended(),
        }
    }

    /// Whether it was the partner.
    fn heard(&mut self, now: Duration, bytes: &[u8], local: &mut Local) -> bool {
        match self {
            Self::Ours(machine) => matches!(
                machine.heard(now, bytes, local),
                Ok(()) | Err(Rejected::Replayed)
            ),
            Self::Ipvs(talker) => {
                let names = local.names();
                talker.heard(now, bytes, &names, local).is_ok()
            }
        }
    }

    fn poll(&mut self, now: Duration, local: &mut Local) -> Option<Datagram> {
        match self {
            Self::Ours(machine) => machine.poll(now, local),
            Self::Ipvs(talker) => {
                let bytes = talker.poll(now, local)?;
                Some(Datagram {
                    bytes,
                    is_for_all_paths: true,
                })
            }
        }
    }

    fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Ours(machine) => Some(machine.deadline()),
            Self::Ipvs(talker) => talker.deadline(),
        }
    }

    fn figures(&self, now: Duration) -> Figures {
        match self {
            Self::Ours(machine) => machine.figures(now),
            Self::Ipvs(talker) => talker.figures(now),
        }
    }
}

/// What the walk gives.
enum Step {
    Flow(Key),
    End,
}

struct Runner {
    language: Language,
    pins: Pins,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<PairState>,
    shown: Shown,
}

impl Runner {
    async fn keep_running(mut self) {
        loop {
            let before = Instant::now();
            let Err(error) = self.run().await else {
                return;
            };
            self.shown.set(Status::default());
            warn!("connection synchronisation: {error:#}");
            sleep_until(before + AGAIN).await;
        }
    }

    fn open(&self) -> anyhow::Result<(Local, Talk, Ways)> {
        let pinned = Pinned {
            tables: PinnedTables::open(&self.pins)?,
            learner: Learner::open(&self.pins)?,
        };
        let walker = Arc::new(PinnedFlows::new(self.pins.clone()));
        let now = Duration::ZERO;
        let clients = Clients::new(now).context("asking for the ways to clients")?;
        let local = Local::new(Box::new(pinned), walker, clients);
        let (talk, ways) = match &self.language {
            Language::Ours { paths, pair, seal } => {
                let settings = Settings {
                    pair: *pair,
                    ..Settings::default()
                };
                let machine = Machine::new(now, settings, seal(), Box::new(random::number));
                (Talk::Ours(Box::new(machine)), Ways::to_partner(paths)?)
            }
            Language::Ipvs(wanted) => {
                let [tells, hears] =
                    [SyncRole::Master, SyncRole::Backup].map(|role| wanted.daemon(role));
                let outbox = tells.map_or(Outbox::new(0, SHORTEST), |daemon| {
                    Outbox::new(daemon.syncid, usize::from(daemon.longest()).max(SHORTEST))
                });
                let listens = match (wanted, hears) {
                    (Wanted::ByRole(_), _) => Listens::OnStandby,
                    (Wanted::Said(_), Some(_)) => Listens::Always,
                    (Wanted::Said(_), None) => Listens::Never,
                };
                let syncid = hears.map_or(0, |daemon| daemon.syncid);
                let talker = Talker::new(now, outbox, listens, syncid);
                (Talk::Ipvs(Box::new(talker)), Ways::to_groups(tells, hears)?)
            }
        };
        Ok((local, talk, ways))
    }

    /// Whether this director tells.
    fn role(&mut self) -> Role {
        let is_active = is_active(&self.state.borrow_and_update());
        let tells = match &self.language {
            Language::Ours { .. } => is_active,
            Language::Ipvs(wanted) => wanted.running(is_active).contains_key(&SyncRole::Master),
        };
        if tells { Role::Active } else { Role::Standby }
    }

    /// Whose the numbers are that flows have.
    async fn names(&self) -> anyhow::Result<Names> {
        let (reply, answer) = oneshot::channel();
        let gone = "nobody keeps the routing table any more";
        let asked = self.events.send(Event::Names(0, reply)).await;
        asked.ok().context(gone)?;
        Ok(answer.await.context(gone)?.unwrap_or_default())
    }

    /// Runs until something is refused that is needed.
    async fn run(&mut self) -> anyhow::Result<()> {
        let (mut local, mut talk, mut ways) = self.open()?;
        let mut changes = Changes::open(&self.pins)?;
        changes.discard();
        let start = Instant::now();
        let now = || start.elapsed();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: Option<oneshot::Receiver<Option<Names>>> = None;
        let mut walk: Option<(u64, mpsc::Receiver<Step>)> = None;
        let mut untold = local.untold();
        // A flow whose server has no name would be told as one that there is not.
        local.set_names(self.names().await?);
        let mut role = self.role();
        talk.set_role(now(), role);
        info!("connection synchronisation runs");
        loop {
            local.flush();
            while let Some(datagram) = talk.poll(now(), &mut local) {
                ways.send(&datagram.bytes, datagram.is_for_all_paths);
            }
            match (talk.walking(), &walk) {
                (None, _) => walk = None,
                (Some(round), Some((walked, _))) if *walked == round => {}
                (Some(round), _) => {
                    walk = Some((round, begin_walk(local.walker(), local.names())?));
                }
            }
            let room = talk.room(now());
            let mut deadline = talk.deadline();
            if walk.is_some() && room == 0 {
                // It is the pace that keeps it.
                let soon = now() + Duration::from_millis(5);
                deadline = Some(deadline.map_or(soon, |deadline| deadline.min(soon)));
            }
            let wait = deadline.unwrap_or(now() + LOOK);
            let is_active = role == Role::Active;
            tokio::select! {
                changed = self.state.changed() => {
                    changed.context("nobody says any more who is active")?;
                    let before = std::mem::replace(&mut role, self.role());
                    if role != before {
                        // What came until now was another's to tell, or is told by the round.
                        changes.discard();
                        talk.set_role(now(), role);
                    }
                }
                (way, bytes) = ways.receive() => {
                    if talk.heard(now(), bytes, &mut local) {
                        ways.prefer(way);
                    }
                }
                record = changes.next() => {
                    let record = record.context("reading the ring of changes")?;
                    let names = local.names();
                    let mut next = Some(record);
                    for _ in 0..TURN {
                        let Some(record) = next else { break };
                        if is_active {
                            match translate::key(&record, &names) {
                                Some(key) => talk.changed(now(), key),
                                None => talk.lost(now()),
                            }
                        }
                        next = changes.take();
                    }
                    if let Some(record) = next
                        && is_active
                        && let Some(key) = translate::key(&record, &names)
                    {
                        talk.changed(now(), key);
                    }
                }
                step = next_step(&mut walk), if room > 0 && walk.is_some() => {
                    match step {
                        Some(Step::Flow(key)) => {
                            talk.walked(now(), key);
                            for _ in 1..room {
                                match walk.as_mut().map(|(_, steps)| steps.try_recv()) {
                                    Some(Ok(Step::Flow(key))) => talk.walked(now(), key),
                                    Some(Ok(Step::End)) => {
                                        talk.walk_ended();
                                        break;
                                    }
                                    Some(Err(_)) | None => break,
                                }
                            }
                        }
                        Some(Step::End) => talk.walk_ended(),
                        // It could not be read: it begins anew.
                        None => walk = None,
                    }
                }
                names = answer(&mut asked), if asked.is_some() => {
                    asked = None;
                    if let Some(names) = names {
                        local.set_names(names);
                        // What had no name may have one now.
                        talk.lost(now());
                    }
                }
                _ = looks.tick() => {
                    local.clients().settle(now());
                    if asked.is_none() {
                        let (reply, answer) = oneshot::channel();
                        let event = Event::Names(local.names().version, reply);
                        // If it is too busy for that, it is asked again.
                        if self.events.try_send(event).is_ok() {
                            asked = Some(answer);
                        }
                    }
                    let count = local.untold();
                    if count.is_some() && std::mem::replace(&mut untold, count) != count {
                        talk.lost(now());
                    }
                    self.shown.set(Status {
                        runs: true,
                        is_active,
                        is_ipvs: matches!(talk, Talk::Ipvs(_)),
                        figures: talk.figures(now()),
                        outcomes: local.outcomes(),
                    });
                }
                () = sleep_until(start + wait) => {}
            }
        }
    }
}

async fn next_step(walk: &mut Option<(u64, mpsc::Receiver<Step>)>) -> Option<Step> {
    match walk {
        Some((_, steps)) => steps.recv().await,
        None => None,
    }
}

async fn answer(asked: &mut Option<oneshot::Receiver<Option<Names>>>) -> Option<Names> {
    match asked {
        Some(asked) => asked.await.ok().flatten(),
        None => None,
    }
}

/// A thread that walks the tables, as fast as its steps are taken.
fn begin_walk(
    walker: Arc<dyn FlowTables>,
    names: Arc<Names>,
) -> anyhow::Result<mpsc::Receiver<Step>> {
    let (steps, receiver) = mpsc::channel(1_024);
    let walk = move || {
        let walked = walker.walk(&mut |entry| {
            let Some(key) = key_of(&entry, &names) else {
                return ControlFlow::Continue(());
            };
            match steps.blocking_send(Step::Flow(key)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        match walked {
            Ok(()) => drop(steps.blocking_send(Step::End)),
            Err(error) => warn!("connection synchronisation: {error:#}"),
        }
    };
    thread::Builder::new()
        .name("sync-walk".to_owned())
        .spawn(walk)
        .context("starting a walk through the flow tables")?;
    Ok(receiver)
}

/// Who holds the addresses tells; while they come off too, and while the daemon is away for a moment.
#[must_use]
pub const fn is_active(state: &PairState) -> bool {
    match state.role {
        machine::Role::Active | machine::Role::Leaving | machine::Role::Absent => true,
        machine::Role::Starting
        | machine::Role::Standby
        | machine::Role::Yielding
        | machine::Role::Goodbye => false,
    }
}
