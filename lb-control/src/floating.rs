//! The floating addresses of this node: on their interfaces while it is active, off while it is not. What lvs.cf wants
//! and the part that the node plays come from two sides and meet here.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::interval,
};

use crate::{
    errand,
    heartbeat::{lease::Lease, runner, wire::nanoseconds},
    journal::{About, Journal, Kind},
    model::FloatingAddress,
    network::{
        addresses::{Addresses, Raised},
        announce::Announcement,
    },
};

/// When what the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What is to become of the addresses.
#[derive(Debug)]
pub enum Wish {
    /// This node is active.
    Raise,
    /// It is not.
    Lower,
    /// Others have to learn once more where they are.
    Announce,
    /// These are the addresses from now on, or, if the kernel refuses, still the ones before.
    Keep(Vec<FloatingAddress>, oneshot::Sender<Result<(), String>>),
    /// These programs run when the part changes.
    Commands(Hooks),
    /// Tell when all that was wished before has been done.
    Done(oneshot::Sender<()>),
}

/// Programs that run when a node becomes active, or no longer is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// The first of these: program and arguments; none if it is empty.
    pub active: Vec<String>,
    /// The other one.
    pub inactive: Vec<String>,
    /// How long each may take.
    pub limit: Duration,
}

/// Where wishes go.
#[derive(Debug, Clone)]
pub struct Floating {
    wishes: mpsc::UnboundedSender<Wish>,
    right: Until,
}

/// Until when this node may say that the addresses are here: nanoseconds since boot.
#[derive(Debug, Clone, Default)]
struct Until(Arc<AtomicU64>);

impl Until {
    fn set(&self, lease: Lease) {
        let until = match lease {
            Lease::None => u64::MAX,
            Lease::Standby => 0,
            Lease::Until(until) => nanoseconds(until),
        };
        self.0.store(until, Ordering::Relaxed);
    }

    fn is_now(&self) -> bool {
        nanoseconds(runner::now()) < self.0.load(Ordering::Relaxed)
    }
}

impl Floating {
    /// The one who wishes, and the one who does.
    #[must_use]
    pub fn new(journal: Journal) -> (Self, Keeper) {
        let (sender, wishes) = mpsc::unbounded_channel();
        let right = Until::default();
        let keeper = Keeper {
            wishes,
            journal,
            right: right.clone(),
        };
        let floating = Self {
            wishes: sender,
            right,
        };
        (floating, keeper)
    }

    /// The data plane was told so.
    pub fn may(&self, lease: Lease) {
        self.right.set(lease);
    }

    /// Wishes something. It is done in order.
    pub fn wish(&self, wish: Wish) {
        // When nobody is there any more, the daemon ends.
        let _ = self.wishes.send(wish);
    }

    /// These are the addresses from now on.
    ///
    /// # Errors
    /// If the kernel refuses one; everything is as it was then.
    pub async fn keep(&self, addresses: Vec<FloatingAddress>) -> Result<(), String> {
        let (reply, kept) = oneshot::channel();
        self.wish(Wish::Keep(addresses, reply));
        kept.await
            .unwrap_or_else(|_| Err("nobody keeps the addresses any more".to_owned()))
    }
}

/// Who does what is wished.
#[derive(Debug)]
pub struct Keeper {
    wishes: mpsc::UnboundedReceiver<Wish>,
    journal: Journal,
    right: Until,
}

impl Keeper {
    /// Does it until nobody wishes any more; says when the addresses are off.
    pub async fn run(mut self, let_go: mpsc::Sender<()>) {
        let addresses = match Addresses::open() {
            Ok(addresses) => addresses,
            Err(error) => {
                return self
                    .journal
                    .tell(Kind::Trouble, About::ALL, error.to_string());
            }
        };
        let (hooks, orders) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(run_hooks(orders, self.journal.clone()));
        let mut kept = Kept {
            addresses,
            wanted: Vec::new(),
            is_up: false,
            is_known: false,
            has_failed: false,
            announcement: None,
            commands: Hooks::default(),
            hooks,
            journal: self.journal,
            right: self.right,
        };
        let mut retries = interval(RETRY);
        loop {
            tokio::select! {
                wish = self.wishes.recv() => match wish {
                    Some(wish) => {
                        if kept.grant(wish).await {
                            // The heartbeat has ended if nobody hears it.
                            let _ = let_go.send(()).await;
                        }
                    }
                    None => return,
                },
                _ = retries.tick(), if kept.has_failed => {
                    if kept.settle().await {
                        let _ = let_go.send(()).await;
                    }
                }
            }
        }
    }
}

struct Kept {
    addresses: Addresses,
    wanted: Vec<FloatingAddress>,
    is_up: bool,
    /// It was said what is wanted; before that nothing is taken off an active node.
    is_known: bool,
    has_failed: bool,
    announcement: Option<Announcement>,
    commands: Hooks,
    hooks: mpsc::UnboundedSender<(Vec<String>, Duration)>,
    journal: Journal,
    right: Until,
}

impl Kept {
    /// Does what is wished; whether the addresses came off.
    async fn grant(&mut self, wish: Wish) -> bool {
        match wish {
            Wish::Raise => {
                self.is_up = true;
                self.settle().await;
                self.announcement = None;
                self.announce(self.wanted.clone());
                self.hook(self.commands.active.clone());
                false
            }
            Wish::Lower => {
                self.is_up = false;
                self.announcement = None;
                let is_off = self.settle().await;
                self.hook(self.commands.inactive.clone());
                is_off
            }
            Wish::Announce => {
                self.announcement = None;
                self.announce(self.wanted.clone());
                false
            }
            Wish::Commands(commands) => {
                self.commands = commands;
                false
            }
            Wish::Done(reply) => {
                // Whoever waited may be gone.
                let _ = reply.send(());
                false
            }
            Wish::Keep(addresses, reply) => {
                let kept = self.keep(addresses).await;
                // Whoever wished may be gone.
                let _ = reply.send(kept);
                false
            }
        }
    }

    async fn keep(&mut self, addresses: Vec<FloatingAddress>) -> Result<(), String> {
        if !self.is_up {
            (self.wanted, self.is_known) = (addresses, true);
            return Ok(());
        }
        let before = std::mem::replace(&mut self.wanted, addresses);
        let was_known = std::mem::replace(&mut self.is_known, true);
        let known: HashSet<_> = before.iter().cloned().collect();
        // The addresses are what the kernel may refuse, so those that go are left for last.
        if let Err(error) = self.raise(&known).await {
            (self.wanted, self.is_known) = (before, was_known);
            if was_known {
                self.settle().await;
            }
            return Err(error);
        }
        self.lower(true).await?;
        let new = self
            .wanted
            .iter()
            .filter(|one| !known.contains(one))
            .cloned();
        self.announce(new.collect());
        Ok(())
    }

    /// Makes the interfaces what they ought to be; whether none of the addresses is on them now. What is refused is
    /// told once, and tried again later.
    async fn settle(&mut self) -> bool {
        let done = match self.is_up {
            true if !self.is_known => Ok(()),
            true => match self.raise(&HashSet::new()).await {
                Ok(()) => self.lower(true).await,
                Err(error) => Err(error),
            },
            false => self.lower(false).await,
        };
        let has_failed = done.is_err();
        if let Err(error) = done
            && !self.has_failed
        {
            self.journal.tell(Kind::Trouble, About::ALL, error);
        }
        self.has_failed = has_failed;
        !self.is_up && !has_failed
    }

    async fn raise(&mut self, known: &HashSet<FloatingAddress>) -> Result<(), String> {
        let raised = self.addresses.raise_all(&self.wanted).await;
        for (address, raised) in self.wanted.iter().zip(raised.map_err(|it| it.to_string())?) {
            let what = match raised {
                Raised::Added => "added",
                Raised::Kept | Raised::Foreign if known.contains(address) => continue,
                Raised::Kept => "kept",
                Raised::Foreign => "was there, and will stay",
            };
            let (address, interface) = (address.address, &address.interface);
            let text = format!("virtual address {address} on {interface}: {what}");
            self.journal.tell(Kind::Address, About::ALL, text);
        }
        Ok(())
    }

    /// Takes off all of ours, or all but those that are wanted.
    async fn lower(&mut self, but_wanted: bool) -> Result<(), String> {
        let keep = if but_wanted { &self.wanted[..] } else { &[] };
        let lowered = self.addresses.lower_all_but(keep).await;
        for address in lowered.map_err(|error| error.to_string())? {
            let text = format!("virtual address {address} taken off");
            self.journal.tell(Kind::Address, About::ALL, text);
        }
        Ok(())
    }

    fn announce(&mut self, addresses: Vec<FloatingAddress>) {
        match &mut self.announcement {
            _ if addresses.is_empty() => {}
            Some(announcement) => announcement.also(addresses),
            None => {
                let right = self.right.clone();
                let may = Arc::new(move || right.is_now());
                self.announcement = Some(Announcement::start(addresses, may));
            }
        }
    }

    fn hook(&self, command: Vec<String>) {
        if !command.is_empty() {
            // It goes with the daemon.
            let _ = self.hooks.send((command, self.commands.limit));
        }
    }
}

/// Runs programs, one after the other.
async fn run_hooks(mut orders: mpsc::UnboundedReceiver<(Vec<String>, Duration)>, journal: Journal) {
    while let Some((command, limit)) = orders.recv().await {
        let name = command.join(" ");
        let text = match errand::run(&command, limit).await {
            Ok(text) => format!("{name}: {text}"),
            Err(text) => format!("{name} failed: {text}"),
        };
        journal.tell(Kind::Command, About::ALL, text);
    }
}
