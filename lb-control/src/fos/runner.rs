//! The failover services with their programs and sockets, on the thread of the heartbeat. What is wished of the
//! addresses goes through here: services stand between them and the part that the node plays.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::sleep_until,
};
use tracing::warn;

use super::machine::{Deed, Machine, Shown, Ticket, Which};
use crate::{
    errand,
    floating::{Floating, Wish},
    health::{Outcome, Target, probe_once},
    journal::{About, Journal},
    model::FailoverService,
};

/// What is to become of the services.
enum Order {
    /// The node is active: the addresses go up, then the services start.
    Raise,
    /// It is not: the services end, then the addresses come off.
    Lower,
    /// These are the services.
    Amend(Vec<Arc<FailoverService>>),
}

/// How the services are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What keeps this node from being active.
    pub trouble: Option<String>,
    /// The services, in the order of the file.
    pub services: Vec<Shown>,
}

/// How to talk to the runner. Clones talk to the same.
#[derive(Debug, Clone)]
pub struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    report: watch::Receiver<Report>,
}

impl Handle {
    /// The one who is told, and the one who does.
    #[must_use]
    pub fn new(floating: Floating, journal: Journal) -> (Self, Runner) {
        let (orders, asked) = mpsc::unbounded_channel();
        let (told, report) = watch::channel(Report::default());
        let runner = Runner {
            orders: asked,
            told,
            floating,
            journal,
            machine: Machine::default(),
            raised: None,
            tasks: JoinSet::new(),
            program: None,
        };
        (Self { orders, report }, runner)
    }

    /// The node is active.
    pub fn raise(&self) {
        self.tell(Order::Raise);
    }

    /// It is not. When the services have ended, the addresses come off.
    pub fn lower(&self) {
        self.tell(Order::Lower);
    }

    /// These are the services from now on.
    pub fn amend(&self, services: Vec<Arc<FailoverService>>) {
        self.tell(Order::Amend(services));
    }

    /// How they are.
    #[must_use]
    pub fn report(&self) -> watch::Receiver<Report> {
        self.report.clone()
    }

    fn tell(&self, order: Order) {
        // When nobody is there any more, the daemon ends.
        let _ = self.orders.send(order);
    }
}

/// Who does it.
#[derive(Debug)]
pub struct Runner {
    orders: mpsc::UnboundedReceiver<Order>,
    told: watch::Sender<Report>,
    floating: Floating,
    journal: Journal,
    machine: Machine,
    /// Tells when the addresses are up.
    raised: Option<oneshot::Receiver<()>>,
    tasks: JoinSet<Ended>,
    /// The program that runs.
    program: Option<AbortHandle>,
}

/// A task has ended.
#[derive(Debug)]
enum Ended {
    Program(Result<String, String>),
    Check(Ticket, Outcome),
}

impl Runner {
    /// Does it until nobody asks any more. Programs that are under way then are ended.
    pub async fn run(mut self) {
        loop {
            let due = self.machine.deadline();
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                () = raised(&mut self.raised) => {
                    self.raised = None;
                    self.machine.raise(now());
                }
                Some(ended) = self.tasks.join_next_with_id() => self.conclude(ended),
                () = until(due) => self.machine.tick(now()),
            }
            self.carry_out();
            let report = Report {
                trouble: self.machine.trouble(),
                services: self.machine.shown(),
            };
            self.told.send_if_modified(|last| {
                let is_new = *last != report;
                *last = report;
                is_new
            });
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Raise => {
                self.floating.wish(Wish::Raise);
                let (reply, raised) = oneshot::channel();
                self.floating.wish(Wish::Done(reply));
                self.raised = Some(raised);
            }
            Order::Lower => {
                self.raised = None;
                self.machine.lower(now());
            }
            Order::Amend(services) => self.machine.amend(&services, now()),
        }
    }

    fn conclude(&mut self, ended: Result<(Id, Ended), JoinError>) {
        match ended {
            Ok((_, Ended::Program(outcome))) => {
                self.program = None;
                self.machine.ended(outcome, now());
            }
            Ok((_, Ended::Check(ticket, outcome))) => {
                self.machine.checked(ticket, outcome, now());
            }
            // It was broken off.
            Err(error)
                if self
                    .program
                    .as_ref()
                    .is_some_and(|it| it.id() == error.id()) =>
            {
                self.program = None;
                let text = "it was ended: this node lets go".to_owned();
                self.machine.ended(Err(text), now());
            }
            // A check is broken off by nobody.
            Err(error) => warn!(%error, "a check broke off"),
        }
    }

    fn carry_out(&mut self) {
        for deed in self.machine.take_deeds() {
            match deed {
                Deed::Run(which, service) => {
                    let run = async move {
                        let command = match which {
                            Which::Start => &service.start,
                            Which::Stop => &service.stop,
                        };
                        Ended::Program(errand::run(command, service.limit).await)
                    };
                    self.program = Some(self.tasks.spawn(run));
                }
                Deed::Break => {
                    if let Some(program) = &self.program {
                        program.abort();
                    }
                }
                Deed::Check(ticket, service) => {
                    let target = target(&service);
                    self.tasks
                        .spawn(async move { Ended::Check(ticket, probe_once(&target).await) });
                }
                Deed::LetGo => self.floating.wish(Wish::Lower),
                Deed::Tell(kind, text) => self.journal.tell(kind, About::ALL, text),
            }
        }
    }
}

/// The time that nannies count by; in tests it is tokio's.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn raised(waiting: &mut Option<oneshot::Receiver<()>>) {
    match waiting {
        // If nobody answers, nobody keeps the addresses any more, and the daemon ends.
        Some(raised) => drop(raised.await),
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// How to find out whether it is well.
fn target(service: &FailoverService) -> Target {
    let address = service.address;
    Target {
        service: service.id().into(),
        server: address,
        address: SocketAddr::new(address.ip(), service.check_port),
        protocol: service.check_protocol,
        through: None,
        weight: 1,
        probe: service.probe.clone(),
    }
}
