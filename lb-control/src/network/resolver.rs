//! Follows the way to addresses: asks the kernel, listens to it, and tells what changed.
//!
//! One task, one loop: wait for something, let `Followed` absorb it, then settle: ask for the
//! routes and neighbours that are in doubt and tell the news.
//!
//! How soon a server with another MAC address is noticed: at once if it announces itself, as
//! virtual machines and interfaces that come up do. If it does so silently, the check-up probes the
//! old address for three seconds, then everybody is asked: nine seconds at most.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use netlink_packet_route::neighbour::NeighbourMessage;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, sleep},
};
use tracing::{debug, warn};

use super::{
    NetworkError, Refusal,
    followed::Followed,
    kernel::{Kernel, Monitor, Notice},
    links::Links,
    neighbours::{self, Care, Key, Neighbours},
    next_hop::Resolved,
    routes::Route,
};

/// How long a change may take others along: they come in bursts.
const BURST: Duration = Duration::from_millis(20);

/// Time between attempts to open a netlink socket that broke.
const REOPEN: Duration = Duration::from_secs(1);

/// How often the resolver looks by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time between two check-ups: neighbours are probed, missing ones asked for.
    pub check_up: Duration,
    /// Time between two complete readings, in case that something was missed.
    pub reread: Duration,
}

impl Default for Pace {
    /// Five seconds and a minute.
    fn default() -> Self {
        Self {
            check_up: Duration::from_secs(5),
            reread: Duration::from_secs(60),
        }
    }
}

/// A running resolver. It ends when this is dropped.
#[derive(Debug)]
pub struct Handle {
    wishes: mpsc::UnboundedSender<Wish>,
    _task: JoinSet<()>,
}

/// Whom to follow. None is left out: an address that goes and comes back is told of again.
#[derive(Debug)]
enum Wish {
    All(BTreeSet<IpAddr>),
    Changes(BTreeMap<IpAddr, isize>),
}

impl Handle {
    /// The complete set of addresses to follow, from now on. Each one that is new is told of at
    /// least once; after that only changes are.
    pub fn follow(&self, addresses: BTreeSet<IpAddr>) {
        // Without a task nobody hears what becomes of them either.
        let _ = self.wishes.send(Wish::All(addresses));
    }

    /// So many more want each address to be followed than before, or so many fewer. One that nobody wants
    /// any more is forgotten; one that is new is told of at least once.
    pub fn amend(&self, changes: BTreeMap<IpAddr, isize>) {
        if !changes.is_empty() {
            let _ = self.wishes.send(Wish::Changes(changes));
        }
    }
}

/// The task that follows addresses.
pub struct Resolver {
    kernel: Kernel,
    monitor: Monitor,
    followed: Followed,
    wishes: mpsc::UnboundedReceiver<Wish>,
    events: mpsc::Sender<Resolved>,
    check_up: Interval,
    reread: Interval,
}

/// Nobody gives addresses or hears what becomes of them any more.
struct Unneeded;

impl Resolver {
    /// Starts following, in the network namespace of the calling thread; what changes is sent to
    /// `events`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When a netlink socket cannot be opened.
    pub fn spawn(pace: Pace, events: mpsc::Sender<Resolved>) -> Result<Handle, NetworkError> {
        let (sender, wishes) = mpsc::unbounded_channel();
        let (kernel, monitor) =
            open_sockets().map_err(|why| why.when("following routes and neighbours"))?;
        let resolver = Self {
            kernel,
            monitor,
            followed: Followed::default(),
            wishes,
            events,
            check_up: every(pace.check_up),
            reread: every(pace.reread),
        };
        let mut task = JoinSet::new();
        task.spawn(resolver.run());
        Ok(Handle {
            wishes: sender,
            _task: task,
        })
    }

    async fn run(mut self) {
        // Before the first address is looked at: without links nothing can be resolved, and an
        // interval is not always ready when it is asked for its first tick.
        self.reread.reset();
        self.reread().await;
        while let Ok(()) = self.step().await {}
    }

    async fn step(&mut self) -> Result<(), Unneeded> {
        tokio::select! {
            biased;
            _ = self.reread.tick() => self.reread().await,
            wish = self.wishes.recv() => match wish.ok_or(Unneeded)? {
                Wish::All(addresses) => self.followed.follow(&addresses),
                Wish::Changes(changes) => self.followed.amend(&changes),
            },
            _ = self.check_up.tick() => self.check_up().await,
            notice = self.monitor.next() => match notice {
                Some(notice) => self.listen(notice).await,
                None => self.reopen().await,
            },
        }
        if self.followed.unsettled() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Absorbs a notice, and if it matters those that follow on its heels.
    async fn listen(&mut self, notice: Notice) {
        self.absorb(notice);
        if self.followed.unsettled() {
            sleep(BURST).await;
            for notice in self.monitor.waiting() {
                self.absorb(notice);
            }
        }
    }

    fn absorb(&mut self, notice: Notice) {
        match notice {
            Notice::Changed(message) => self.followed.absorb(&message),
            Notice::Lost => {
                debug!("netlink notices were lost; reading everything again");
                self.reread.reset_immediately();
            }
        }
    }

    /// Asks for what is in doubt and tells what changed.
    async fn settle(&mut self) -> Result<(), Unneeded> {
        for address in self.followed.routes_to_ask() {
            match Route::ask(&self.kernel, address).await {
                Ok(route) => self.followed.routed(address, route),
                Err(error) => {
                    warn!(%error, "routes could not be asked for; trying again");
                    self.reopen().await;
                    return Ok(());
                }
            }
        }
        for key in self.followed.neighbours_to_ask() {
            attend(&self.kernel, key, Care::Ask).await;
        }
        for news in self.followed.news() {
            self.events.send(news).await.map_err(|_| Unneeded)?;
        }
        Ok(())
    }

    async fn check_up(&mut self) {
        for (key, care) in self.followed.check_up() {
            attend(&self.kernel, key, care).await;
        }
    }

    async fn reread(&mut self) {
        match read(&self.kernel).await {
            Ok((links, table)) => self.followed.reread(links, &table),
            Err(error) => {
                warn!(%error, "links and neighbours could not be read; trying again");
                self.reopen().await;
            }
        }
    }

    /// Opens the sockets again after they broke and has everything read again; until then all
    /// stays as it was told.
    async fn reopen(&mut self) {
        sleep(REOPEN).await;
        match open_sockets() {
            Ok((kernel, monitor)) => {
                self.kernel = kernel;
                self.monitor = monitor;
                self.reread.reset_immediately();
            }
            Err(error) => warn!(%error, "no netlink socket"),
        }
    }
}

fn open_sockets() -> Result<(Kernel, Monitor), Refusal> {
    Ok((Kernel::open()?, Monitor::open()?))
}

async fn read(kernel: &Kernel) -> Result<(Links, Vec<NeighbourMessage>), Refusal> {
    let links = Links::ask(kernel).await?;
    let neighbours = Neighbours::ask(kernel).await?;
    Ok((links, neighbours))
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn attend(kernel: &Kernel, key: Key, care: Care) {
    let done = match care {
        Care::Ask => neighbours::ask(kernel, key).await,
        Care::Probe(router) => neighbours::probe(kernel, key, router).await,
        Care::Leave => Ok(()),
    };
    if let Err(error) = done {
        // It went just now, or the table is full; the next check-up tries again.
        debug!(link = key.0, address = %key.1, %error, "neighbour not asked");
    }
}
