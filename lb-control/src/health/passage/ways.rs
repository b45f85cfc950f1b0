//! How the servers are reached that are checked at virtual addresses. The resolver is another one than that of the data
//! plane, so that `lb nanny` has one too; both ask the same kernel.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::lock;
use crate::network::{
    NetworkError,
    next_hop::{Resolution, Resolved},
    resolver::{Handle, Pace, Resolver},
};

/// How long the way to a server is followed that nobody asks for any more.
const KEPT: Duration = Duration::from_secs(600);

/// How many messages of the resolver may wait.
const QUEUE: usize = 256;

pub(super) struct Ways {
    known: Mutex<BTreeMap<IpAddr, Known>>,
    changed: watch::Sender<()>,
    resolver: Handle,
}

struct Known {
    resolution: Option<Resolution>,
    asked: Instant,
}

impl Ways {
    /// Needs a tokio runtime; what the resolver tells has to be handed to [`Self::learn`].
    ///
    /// # Errors
    /// If there is no netlink socket.
    pub(super) fn follow() -> Result<(Self, mpsc::Receiver<Resolved>), NetworkError> {
        let (sender, news) = mpsc::channel(QUEUE);
        let ways = Self {
            known: Mutex::default(),
            changed: watch::Sender::default(),
            resolver: Resolver::spawn(Pace::default(), sender)?,
        };
        Ok((ways, news))
    }

    /// The way to a server. One that is not known, or not there, is waited for.
    pub(super) async fn to(&self, server: IpAddr, patience: Duration) -> Option<Resolution> {
        let mut changes = self.changed.subscribe();
        let waiting = async {
            loop {
                match self.known(server) {
                    Some(Resolution::Unresolved { .. }) | None => {}
                    Some(way) => return way,
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match timeout(patience, waiting).await {
            Ok(way) => Some(way),
            Err(_elapsed) => self.known(server),
        }
    }

    /// What is known, which is asked for if it is nothing.
    fn known(&self, server: IpAddr) -> Option<Resolution> {
        let asked = Instant::now();
        let mut known = lock(&self.known);
        if let Some(known) = known.get_mut(&server) {
            known.asked = asked;
            return known.resolution.clone();
        }
        let resolution = None;
        known.insert(server, Known { resolution, asked });
        self.resolver.amend(BTreeMap::from([(server, 1)]));
        None
    }

    /// The resolver tells of a way.
    pub(super) fn learn(&self, news: Resolved) {
        if let Some(known) = lock(&self.known).get_mut(&news.address) {
            known.resolution = Some(news.resolution);
        }
        self.changed.send_replace(());
    }

    /// Forgets those that nobody asks for any more.
    pub(super) fn sweep(&self, now: Instant) {
        let mut gone = BTreeMap::new();
        lock(&self.known).retain(|server, known| {
            let is_kept = now.saturating_duration_since(known.asked) < KEPT;
            if !is_kept {
                gone.insert(*server, -1);
            }
            is_kept
        });
        self.resolver.amend(gone);
    }
}
