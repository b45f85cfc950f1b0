//! The ways to the clients whose connections were learned. A director that takes over sends their servers' replies on
//! from its first moment, but has never sent these clients anything: its kernel may know neither them nor the gateway
//! before them, and XDP cannot wait for ARP. So the kernel is asked beforehand, and kept knowing.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use tokio::sync::mpsc;

use crate::network::{
    NetworkError,
    resolver::{self, Pace, Resolver},
};

/// How many clients are asked for. Those behind a gateway are all reached by it; of those on a network of this
/// router more would be more ARP than there is traffic.
const MOST: usize = 256;

/// How long a client is asked for after it was heard of at the latest; all that lives is heard of again each minute.
const KEPT: Duration = Duration::from_secs(90);

/// The clients.
pub(super) struct Clients {
    resolver: resolver::Handle,
    recent: BTreeSet<IpAddr>,
    before: BTreeSet<IpAddr>,
    /// When the recent ones become those before.
    turn: Duration,
    is_changed: bool,
}

impl Clients {
    /// None yet. Needs a tokio runtime, in the network namespace of the director.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub(super) fn new(now: Duration) -> Result<Self, NetworkError> {
        let (events, mut told) = mpsc::channel(1);
        let resolver = Resolver::spawn(Pace::default(), events)?;
        // The kernel is to know them; we need not.
        tokio::spawn(async move { while told.recv().await.is_some() {} });
        Ok(Self {
            resolver,
            recent: BTreeSet::new(),
            before: BTreeSet::new(),
            turn: now + KEPT,
            is_changed: false,
        })
    }

    /// A connection of this client was learned.
    pub(super) fn note(&mut self, client: IpAddr) {
        if self.recent.len() < MOST && self.recent.insert(client) {
            self.is_changed |= !self.before.contains(&client);
        }
    }

    /// Has the kernel asked for those that are new. To be called each second or so.
    pub(super) fn settle(&mut self, now: Duration) {
        if now >= self.turn {
            self.turn = now + KEPT;
            self.before = std::mem::take(&mut self.recent);
            self.is_changed = true;
        }
        if std::mem::take(&mut self.is_changed) {
            self.resolver.follow(&self.recent | &self.before);
        }
    }
}
