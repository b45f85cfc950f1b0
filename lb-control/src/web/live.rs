//! How things are now: one task asks the daemon, and everybody who looks shares what it hears.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    app::App,
    drawing::Drawings,
    history::{History, STEP},
};
use crate::{
    control::{STATUS, client},
    journal::{Entry, KEPT, since_1970},
    status::StatusReport,
    watch::rates::Rates,
};

/// How often the daemon is asked while somebody looks.
const OFTEN: Duration = Duration::from_secs(1);

/// How often it is asked while nobody does: for the history.
const SELDOM: Duration = Duration::from_secs(STEP);

/// A pause is so many times as long as the daemon took for its answer: large sites are asked less often, and asking
/// never takes the daemon more than a fiftieth of a core, however many look on.
const SHARE: u32 = 50;

/// For changes one does not wait so long.
const HASTE: u32 = 5;

/// How long the daemon may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A page waits so long for news if there is something older to show.
const MOMENT: Duration = Duration::from_millis(30);

/// After a change a page waits longer, to show what became of it.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// What is younger is news.
const NEWS: Duration = Duration::from_millis(800);

/// So many streams there may be.
const STREAMS: usize = 128;

/// How things are, or were when the daemon last answered.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// When it answered, in milliseconds since 1970.
    pub(super) at: u64,
    /// None if it never did.
    pub(super) report: Option<Arc<StatusReport>>,
    pub(super) rates: Arc<Rates>,
    /// How many packets are not steered in a second, by reason.
    pub(super) drops: Arc<HashMap<String, u64>>,
    /// What happened, the oldest first.
    pub(super) events: Arc<VecDeque<Entry>>,
    /// Why it does not answer now.
    pub(super) gone: Option<String>,
    /// When it was asked.
    asked: Instant,
    /// How long its answer took, until it was understood.
    took: Duration,
}

/// How things are, and how they were.
#[derive(Debug)]
pub(super) struct Live {
    now: watch::Sender<Option<Arc<Snapshot>>>,
    history: Mutex<History>,
    /// What those who look on see of it.
    pub(super) drawings: Drawings,
    /// Somebody wants to know now.
    wish: Notify,
    /// How many look on.
    looking: AtomicUsize,
    streams: Arc<Semaphore>,
    began: Instant,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            now: watch::Sender::new(None),
            history: Mutex::default(),
            drawings: Drawings::default(),
            wish: Notify::new(),
            looking: AtomicUsize::new(0),
            streams: Arc::new(Semaphore::new(STREAMS)),
            began: Instant::now(),
        }
    }
}

impl Live {
    /// How things are, for a page: news if they come in a moment, else what is there.
    pub(super) async fn now(&self) -> Arc<Snapshot> {
        let last = self.now.borrow().clone();
        match last {
            Some(last) if last.asked.elapsed() < NEWS => last,
            // They would not come in a moment.
            Some(last) if last.took > MOMENT => {
                self.wish.notify_one();
                last
            }
            Some(last) => self.newer(&last, MOMENT).await,
            None => self.first().await,
        }
    }

    /// After something was changed: the next page is to show it.
    pub(super) async fn refresh(&self) {
        let last = self.now.borrow().clone();
        if let Some(last) = last {
            self.newer(&last, AFTERWARDS).await;
        }
    }

    async fn newer(&self, last: &Arc<Snapshot>, patience: Duration) -> Arc<Snapshot> {
        let since = Instant::now();
        let mut now = self.now.subscribe();
        self.wish.notify_one();
        let is_newer =
            |now: &Option<Arc<Snapshot>>| now.as_ref().is_some_and(|now| now.asked >= since);
        match timeout(patience, now.wait_for(is_newer)).await {
            Ok(Ok(now)) => now.clone().unwrap_or_else(|| Arc::clone(last)),
            Ok(Err(_)) | Err(_) => {
                let now = self.now.borrow().clone();
                now.unwrap_or_else(|| Arc::clone(last))
            }
        }
    }

    async fn first(&self) -> Arc<Snapshot> {
        let mut now = self.now.subscribe();
        match timeout(PATIENCE, now.wait_for(Option::is_some)).await {
            Ok(Ok(now)) => now.clone(),
            Ok(Err(_)) | Err(_) => None,
        }
        .unwrap_or_else(|| Arc::new(Snapshot::unknown("the daemon takes long to answer")))
    }

    /// The last hour.
    pub(super) fn history<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        // Whoever panicked with it in hand left it whole.
        look(&self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What comes next, for a stream; none if there are too many streams.
    pub(super) fn look(app: &App) -> Option<Looking> {
        let place = Arc::clone(&app.live.streams).try_acquire_owned().ok()?;
        app.live.looking.fetch_add(1, Ordering::Relaxed);
        app.live.wish.notify_one();
        Some(Looking {
            app: app.clone(),
            now: app.live.now.subscribe(),
            _place: place,
        })
    }
}

/// Somebody looks on, until it is dropped.
#[derive(Debug)]
pub(super) struct Looking {
    app: App,
    now: watch::Receiver<Option<Arc<Snapshot>>>,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Looking {
    /// How things are now, or as soon as that changes.
    pub(super) async fn next(&mut self) -> Option<Arc<Snapshot>> {
        loop {
            self.now.changed().await.ok()?;
            let now = self.now.borrow_and_update().clone();
            if now.is_some() {
                return now;
            }
        }
    }

    /// Whatever is there counts as new.
    pub(super) fn begin(&mut self) {
        self.now.mark_changed();
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.app.live.looking.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Snapshot {
    pub(super) fn unknown(why: &str) -> Self {
        Self {
            at: milliseconds(),
            report: None,
            rates: Arc::default(),
            drops: Arc::default(),
            events: Arc::default(),
            gone: Some(why.to_owned()),
            asked: Instant::now(),
            took: Duration::ZERO,
        }
    }
}

/// Asks the daemon, for ever.
pub(super) async fn keep(app: App) {
    let mut written = None;
    loop {
        let asked = Instant::now();
        let answer = ask(&app).await;
        // One that does not answer costs nothing.
        let took = answer.as_ref().map_or(Duration::ZERO, |(_, _, took)| *took);
        let last = app.live.now.borrow().clone();
        let now = next(last.as_deref(), answer, asked, asked - app.live.began);
        write_down(&app, &now, &mut written, asked);
        app.live.now.send_replace(Some(Arc::new(now)));
        pause(&app, took).await;
    }
}

/// Waits until it is time to ask again.
async fn pause(app: &App, took: Duration) {
    let live = &app.live;
    let is_watched = || live.looking.load(Ordering::Relaxed) > 0;
    let usual = if is_watched() { OFTEN } else { SELDOM };
    tokio::select! {
        () = sleep(usual.max(took * SHARE).min(SELDOM)) => {}
        () = live.wish.notified() => sleep((took * HASTE).min(OFTEN)).await,
    }
}

/// How things are, what happened, and how long the daemon took to say so.
type Answer = (StatusReport, Vec<Entry>, Duration);

async fn ask(app: &App) -> Result<Answer, String> {
    let last = app.live.now.borrow().clone();
    let after = last.and_then(|last| Some(last.events.back()?.number));
    let asking = async {
        let asked = Instant::now();
        let page = client::events(&app.socket, after, KEPT, 0).await?;
        let text = client::text(&app.socket, STATUS).await?;
        let took = asked.elapsed();
        // What this takes is not the daemon's time.
        Ok((client::read(&text)?, page.events, took))
    };
    match timeout(PATIENCE, asking).await {
        Ok(answer) => answer.map_err(|error: anyhow::Error| format!("{error:#}")),
        Err(_) => Err(format!("the daemon takes longer than {PATIENCE:?}")),
    }
}

/// What is known after an answer.
fn next(
    last: Option<&Snapshot>,
    answer: Result<Answer, String>,
    asked: Instant,
    clock: Duration,
) -> Snapshot {
    let unknown;
    let last = match last {
        Some(last) => last,
        None => {
            unknown = Snapshot::unknown("");
            &unknown
        }
    };
    let (report, new, _) = match answer {
        Ok(answer) => answer,
        Err(why) => {
            return Snapshot {
                rates: Arc::default(),
                drops: Arc::default(),
                gone: Some(why),
                asked,
                took: Duration::ZERO,
                ..last.clone()
            };
        }
    };
    let mut events = Arc::clone(&last.events);
    if !new.is_empty() {
        let events = Arc::make_mut(&mut events);
        events.extend(new);
        let old = events.len().saturating_sub(KEPT);
        events.drain(..old);
    }
    let mut rates = Rates::clone(&last.rates);
    // By a clock that does not step.
    rates.add(&report, clock);
    let before = last.report.as_ref().filter(|_| last.gone.is_none());
    let drops = before.map(|before| report.drops_since(before, asked - last.asked));
    Snapshot {
        at: milliseconds(),
        report: Some(Arc::new(report)),
        rates: Arc::new(rates),
        drops: Arc::new(drops.unwrap_or_default()),
        events,
        gone: None,
        asked,
        took: asked.elapsed(),
    }
}

/// Into the history, if it is time to.
fn write_down(app: &App, now: &Snapshot, written: &mut Option<Instant>, asked: Instant) {
    let passed = written.map(|written| asked - written);
    if passed.is_some_and(|passed| passed < SELDOM - OFTEN / 2) {
        return;
    }
    *written = Some(asked);
    let mut history = app
        .live
        .history
        .lock()
        // Whoever panicked with it in hand left it whole.
        .unwrap_or_else(PoisonError::into_inner);
    match (&now.report, &now.gone) {
        (Some(report), None) => history.add(report, passed.unwrap_or(SELDOM).as_secs_f32()),
        (Some(_) | None, _) => history.skip(),
    }
}

fn milliseconds() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}
