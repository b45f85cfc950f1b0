//! A director with its sockets and timers, on a thread of its own: neither a hundred thousand nannies nor a large
//! reload keep it from its time.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};
use tokio::{
    net::UdpSocket,
    runtime,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    director::{Director, Output, PathState, Rules, Told},
    lease::{self, Lease},
    machine::{Begin, Node, Refused, Role, Unfit},
    watch::{Seen, gateway, interfaces_of, links},
    wire::{LONGEST, Path},
};
use crate::{
    floating::{Floating, Wish},
    fos,
    journal::{About, Journal, Kind},
    random,
};

/// How long the rest of the daemon may say nothing. A large reload takes seconds, and the data plane goes on meanwhile.
const HANG: Duration = Duration::from_secs(10);

/// How many datagrams are read before anything else has a turn.
const AT_ONCE: usize = 64;

/// How many commands may wait.
const QUEUE: usize = 64;

/// Everything that the pair needs to know of lvs.cf and of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The rules.
    pub rules: Rules,
    /// By each path the own address and the partner's.
    pub paths: [Option<(IpAddr, IpAddr)>; 2],
    /// The UDP port of both.
    pub port: u16,
    /// A link that is down costs the active role.
    pub monitor_links: bool,
    /// Who has to answer pings.
    pub gateway: Option<IpAddr>,
}

/// What the daemon asks for.
enum Command {
    Amend(Box<Setup>, oneshot::Sender<Result<(), String>>),
    Ready,
    HandOver(oneshot::Sender<Result<(), Refused>>),
    BackWithin(Duration, oneshot::Sender<Result<(), Refused>>),
    Stop(oneshot::Sender<()>),
}

/// How the pair is, for those who ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairState {
    /// The part that this node plays.
    pub role: Role,
    /// Which of the two it is.
    pub node: Node,
    /// There is a partner.
    pub pair: bool,
    /// Why it must not be active.
    pub unfit: Option<Unfit>,
    /// The right of the data plane.
    pub lease: Lease,
    /// When the partner was heard last, what it said, whether it may become active and whether it hears this node;
    /// nothing if it was not heard for `deadtime`.
    pub partner: Option<(Duration, Role, bool, bool)>,
    /// Its lvs.cf is the same.
    pub same_config: Option<bool>,
    /// By each path the own address and the partner's, and what is known of it.
    pub paths: Vec<(Path, IpAddr, IpAddr, PathState)>,
    /// Time between two heartbeats, and silence after which the partner is dead.
    pub times: (Duration, Duration),
}

/// How to talk to the runner. Clones talk to the same.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    alive: Arc<AtomicU64>,
    state: watch::Receiver<PairState>,
}

impl Handle {
    /// The rest of the daemon gets on.
    pub fn alive(&self) {
        self.alive
            .store(super::wire::nanoseconds(now()), Ordering::Relaxed);
    }

    /// The daemon has read everything: this node may become active.
    pub async fn ready(&self) {
        self.tell(Command::Ready).await;
    }

    /// Other settings hold from now on, or none of them.
    ///
    /// # Errors
    /// If a socket cannot be opened.
    pub async fn amend(&self, setup: Setup) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Amend(Box::new(setup), reply)).await;
        answer
            .await
            .unwrap_or_else(|_| Err("the heartbeat has ended".to_owned()))
    }

    /// The partner is to be active.
    ///
    /// # Errors
    /// If it would not take over.
    pub async fn hand_over(&self) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::HandOver(reply)).await;
        answer.await.unwrap_or(Err(Refused::NotActive))
    }

    /// When the daemon is told to end, it will be back within this time: the partner waits for it.
    ///
    /// # Errors
    /// If this node is not the active one of a pair.
    pub async fn back_within(&self, time: Duration) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::BackWithin(time, reply)).await;
        answer.await.unwrap_or(Err(Refused::NotActive))
    }

    /// The daemon ends: takes the addresses off and says goodbye, unless it will be back.
    pub async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Stop(reply)).await;
        // If nobody answers, it has ended.
        let _ = answer.await;
    }

    /// How the pair is.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<PairState> {
        self.state.clone()
    }

    async fn tell(&self, command: Command) {
        // If nobody listens, it has ended; whoever waits for an answer will see.
        let _ = self.commands.send(command).await;
    }
}

/// The time since boot, sleep included.
#[must_use]
pub fn now() -> Duration {
    // Linux has had this clock since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default()
}

/// Starts the thread. When this returns, the data plane has the right that it ought to have.
///
/// # Errors
/// If there can be no thread, or no socket.
pub async fn start(
    setup: Setup,
    is_forced: bool,
    keeper: Box<dyn lease::Keeper>,
    journal: Journal,
) -> anyhow::Result<(Handle, Floating, fos::Handle)> {
    let (commands, asked) = mpsc::channel(QUEUE);
    let alive = Arc::new(AtomicU64::new(super::wire::nanoseconds(now())));
    let (told, started) = oneshot::channel();
    let (floating, wishes) = Floating::new(journal.clone());
    let (services, orders) = fos::Handle::new(floating.clone(), journal.clone());
    let thread = thread::Builder::new().name("heartbeat".to_owned());
    let holding = Holding {
        floating: floating.clone(),
        report: services.report(),
        services: services.clone(),
    };
    let is_alive = Arc::clone(&alive);
    thread.spawn(move || {
        let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(told.send(Err(error.to_string()))),
        };
        runtime.block_on(async {
            let (let_go, gone) = mpsc::channel(1);
            // Nobody guesses it, and it is not 0.
            let epoch = random::number().max(1);
            let begun = Runner::new(setup, is_forced, keeper, journal, holding, is_alive, epoch);
            let runner = match begun {
                Ok(runner) => runner,
                Err(error) => return drop(told.send(Err(error))),
            };
            let mut held = JoinSet::new();
            held.spawn(wishes.run(let_go));
            held.spawn(orders.run());
            runner.run(asked, gone, told).await;
        });
    })?;
    let state = started
        .await
        .map_err(|_| anyhow::anyhow!("the heartbeat has not begun"))?;
    let state = state.map_err(anyhow::Error::msg)?;
    let handle = Handle {
        commands,
        alive,
        state,
    };
    Ok((handle, floating, services))
}

/// What an active node has: addresses and services.
struct Holding {
    floating: Floating,
    services: fos::Handle,
    /// How these are.
    report: watch::Receiver<fos::Report>,
}

struct Runner {
    setup: Setup,
    director: Director,
    keeper: Box<dyn lease::Keeper>,
    journal: Journal,
    holding: Holding,
    alive: Arc<AtomicU64>,
    sockets: [Option<UdpSocket>; 2],
    watches: JoinSet<()>,
    seen: (mpsc::Sender<Seen>, mpsc::Receiver<Seen>),
    link_down: Option<String>,
    gateway_lost: Option<String>,
    is_ready: bool,
    is_gateway_known: bool,
    back_within: Option<Duration>,
    has_ended: bool,
    /// What the socket said last, so that it is said once.
    complaint: Option<String>,
}

/// What woke it up.
enum Woken {
    Datagram(Path, io::Result<(usize, SocketAddr)>),
    Command(Option<Command>),
    Seen(Option<Seen>),
    LetGo,
    Services,
    Time,
}

impl Runner {
    fn new(
        setup: Setup,
        is_forced: bool,
        keeper: Box<dyn lease::Keeper>,
        journal: Journal,
        holding: Holding,
        alive: Arc<AtomicU64>,
        epoch: u64,
    ) -> Result<Self, String> {
        let sockets = open(&setup)?;
        let begin = match keeper.get() {
            _ if is_forced => Begin::Forced,
            Lease::Until(until) => Begin::Resume(until),
            Lease::None | Lease::Standby => Begin::Listen,
        };
        let unfit = Some(Unfit::NotReady);
        let director = Director::new(setup.rules.clone(), begin, unfit, epoch, now());
        let mut runner = Self {
            director,
            keeper,
            journal,
            holding,
            alive,
            sockets,
            watches: JoinSet::new(),
            seen: mpsc::channel(QUEUE),
            link_down: None,
            gateway_lost: None,
            is_ready: false,
            is_gateway_known: false,
            back_within: None,
            has_ended: false,
            complaint: None,
            setup,
        };
        runner.watch();
        Ok(runner)
    }

    async fn run(
        mut self,
        mut asked: mpsc::Receiver<Command>,
        mut gone: mpsc::Receiver<()>,
        started: oneshot::Sender<Result<watch::Receiver<PairState>, String>>,
    ) {
        self.tell_start();
        self.carry_out(now()).await;
        let (state, states) = watch::channel(self.state());
        if started.send(Ok(states)).is_err() {
            return;
        }
        let mut buffers = [[0; LONGEST + 1]; 2];
        let mut stopping: Option<oneshot::Sender<()>> = None;
        loop {
            let before = now();
            let [public, private] = &mut buffers;
            let woken = tokio::select! {
                biased;
                got = receive(self.sockets[0].as_ref(), public) => Woken::Datagram(Path::Public, got),
                got = receive(self.sockets[1].as_ref(), private) => Woken::Datagram(Path::Private, got),
                Some(()) = gone.recv() => Woken::LetGo,
                command = asked.recv() => Woken::Command(command),
                seen = self.seen.1.recv() => Woken::Seen(seen),
                Ok(()) = self.holding.report.changed() => Woken::Services,
                () = sleep(self.director.deadline().saturating_sub(before)) => Woken::Time,
            };
            let now = now();
            let has_slept =
                now.saturating_sub(before) > self.setup.rules.deadtime / 2 && self.setup.rules.pair;
            if has_slept {
                self.forget_what_waits();
            }
            match woken {
                Woken::Datagram(..) if has_slept => {}
                Woken::Datagram(path, got) => {
                    self.heard(path, got, &buffers[path.index()], now);
                    self.hear_more(now);
                }
                Woken::LetGo => self.director.let_go(now),
                Woken::Command(Some(Command::Stop(reply))) => {
                    stopping = Some(reply);
                    self.director.stop(self.back_within, now);
                }
                Woken::Command(Some(command)) => self.obey(command, now),
                // The daemon is gone without a word.
                Woken::Command(None) => return,
                Woken::Seen(seen) => self.note(seen, now),
                // How they are is looked at below.
                Woken::Services | Woken::Time => {}
            }
            self.judge(now);
            self.carry_out(now).await;
            state.send_if_modified(|last| {
                let new = self.state();
                let is_new = *last != new;
                *last = new;
                is_new
            });
            if self.has_ended {
                break;
            }
        }
        // What was said last is said again; one datagram may be lost.
        for _ in 0..3 {
            sleep(Duration::from_millis(5)).await;
            self.carry_out(now()).await;
        }
        if let Some(stopping) = stopping {
            // Whoever waited may be gone.
            let _ = stopping.send(());
        }
    }

    fn tell_start(&self) {
        if !self.setup.rules.pair {
            return;
        }
        let text = match self.setup.rules.node {
            Node::Primary => "STARTING PULSE AS MASTER",
            Node::Backup => "STARTING PULSE AS BACKUP",
        };
        self.journal.tell(Kind::Pair, About::ALL, text);
    }

    /// What was sent while this process slept says nothing of how things are.
    fn forget_what_waits(&mut self) {
        let mut buffer = [0; LONGEST + 1];
        for socket in self.sockets.iter().flatten() {
            while socket.try_recv_from(&mut buffer).is_ok() {}
        }
        self.director.slept();
    }

    fn hear_more(&mut self, now: Duration) {
        let mut buffer = [0; LONGEST + 1];
        for path in Path::ALL {
            for _ in 0..AT_ONCE {
                let Some(socket) = &self.sockets[path.index()] else {
                    break;
                };
                match socket.try_recv_from(&mut buffer) {
                    Ok(got) => self.heard(path, Ok(got), &buffer, now),
                    Err(_) => break,
                }
            }
        }
    }

    fn heard(
        &mut self,
        path: Path,
        got: io::Result<(usize, SocketAddr)>,
        buffer: &[u8],
        now: Duration,
    ) {
        let (length, from) = match got {
            Ok(got) => got,
            // The partner's port is closed: its pulse is not there. Nothing follows from that.
            Err(error) => return debug!(%error, path = path.name(), "heartbeat not received"),
        };
        let Some((_, partner)) = self.setup.paths[path.index()] else {
            return;
        };
        if from.ip().to_canonical() != partner {
            return debug!(%from, "Unexpected heartbeat");
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        match self.director.receive(path, bytes, now) {
            Ok(()) => self.complaint = None,
            Err(why) => {
                // Said once, until one is good again: whoever can send could fill the log.
                if self.complaint.as_ref() != Some(&why) {
                    debug!(%from, path = path.name(), "{why}");
                    if !why.starts_with("a heartbeat") {
                        let text = format!("from {from} ({}): {why}", path.name());
                        self.journal.tell(Kind::Trouble, About::ALL, text);
                    }
                    self.complaint = Some(why);
                }
            }
        }
    }

    fn obey(&mut self, command: Command, now: Duration) {
        // Whoever asked may have gone away.
        match command {
            Command::Amend(setup, reply) => {
                let _ = reply.send(self.amend(*setup, now));
            }
            Command::Ready => {
                self.alive
                    .store(super::wire::nanoseconds(now), Ordering::Relaxed);
                self.is_ready = true;
            }
            Command::HandOver(reply) => {
                let _ = reply.send(self.director.hand_over(now));
            }
            Command::BackWithin(time, reply) => {
                let is_active = self.director.machine().role() == Role::Active;
                let done = match (self.setup.rules.pair, is_active) {
                    (false, _) => Err(Refused::NoPartner),
                    (true, false) => Err(Refused::NotActive),
                    (true, true) => Ok(()),
                };
                if done.is_ok() {
                    self.back_within = Some(time);
                }
                let _ = reply.send(done);
            }
            Command::Stop(_) => {}
        }
    }

    fn amend(&mut self, setup: Setup, now: Duration) -> Result<(), String> {
        if setup == self.setup {
            return Ok(());
        }
        let same = (setup.paths, setup.port) == (self.setup.paths, self.setup.port)
            && setup.rules.pair == self.setup.rules.pair;
        if !same {
            // Those that stay would be in the way of themselves.
            let before = std::mem::take(&mut self.sockets);
            drop(before);
            match open(&setup) {
                Ok(sockets) => self.sockets = sockets,
                Err(error) => {
                    self.sockets = open(&self.setup)?;
                    return Err(error);
                }
            }
        }
        self.setup = setup;
        self.director.amend(self.setup.rules.clone(), now);
        self.watch();
        Ok(())
    }

    fn watch(&mut self) {
        self.watches = JoinSet::new();
        (self.link_down, self.gateway_lost) = (None, None);
        self.is_gateway_known = self.setup.gateway.is_none();
        let unheard = self.setup.gateway.map(|_| Duration::ZERO);
        self.director.gateway(unheard, now());
        self.seen = mpsc::channel(QUEUE);
        let Setup {
            rules,
            paths,
            monitor_links,
            gateway: router,
            ..
        } = &self.setup;
        if !rules.pair {
            return;
        }
        let (pace, patience) = (rules.keepalive, rules.deadtime);
        if *monitor_links {
            let own: Vec<_> = paths.iter().flatten().map(|(own, _)| *own).collect();
            self.watches
                .spawn(links(interfaces_of(&own), pace, self.seen.0.clone()));
        }
        if let Some(router) = router {
            self.watches
                .spawn(gateway(*router, pace, patience, self.seen.0.clone()));
        }
    }

    fn note(&mut self, seen: Option<Seen>, now: Duration) {
        match seen {
            Some(Seen::Link(down)) => self.link_down = down,
            Some(Seen::Answered(at)) => {
                self.gateway_lost = None;
                self.is_gateway_known = true;
                self.director.gateway(Some(at), now);
            }
            Some(Seen::Lost(gateway)) => {
                self.gateway_lost = Some(gateway);
                self.is_gateway_known = true;
            }
            None => {}
        }
    }

    /// Whether this node may be active.
    fn judge(&mut self, now: Duration) {
        let alive = Duration::from_nanos(self.alive.load(Ordering::Relaxed));
        let limit = HANG.max(self.setup.rules.deadtime * 2);
        let is_known = self.is_gateway_known || !self.setup.rules.pair;
        let unfit = if let Some(name) = &self.link_down {
            Some(Unfit::Link(name.clone()))
        } else if let Some(gateway) = &self.gateway_lost {
            Some(Unfit::Gateway(gateway.clone()))
        } else if self.is_ready && now > alive + limit {
            Some(Unfit::Hung)
        } else if !self.is_ready || !is_known {
            Some(Unfit::NotReady)
        } else {
            self.failing_service()
        };
        if self.director.machine().said_unfit() != unfit.as_ref() {
            self.director.fitness(unfit, now);
        }
    }

    /// A service that fails costs the active role only while there is somebody who could do better.
    fn failing_service(&self) -> Option<Unfit> {
        let partner = self.director.machine().partner();
        let is_there = partner.is_some_and(|partner| partner.role != Role::Goodbye);
        let trouble = self.holding.report.borrow().trouble.clone();
        trouble.filter(|_| is_there).map(Unfit::Service)
    }

    async fn carry_out(&mut self, now: Duration) {
        for output in self.director.run(now) {
            match output {
                Output::Lease(lease) => {
                    self.holding.floating.may(lease);
                    if let Err(error) = self.keeper.set(lease) {
                        let text = format!("the lease is not written: {error}");
                        self.journal.tell(Kind::Trouble, About::ALL, text);
                    }
                }
                Output::Send(messages) => self.send(&messages),
                Output::Raise(why) => {
                    let text = why.text(self.setup.rules.node);
                    if self.setup.rules.pair {
                        self.journal.tell(Kind::Active, About::ALL, text);
                    }
                    self.holding.services.raise();
                }
                Output::Lower(why) => {
                    let text = why.text(self.setup.rules.node);
                    if self.setup.rules.pair {
                        self.journal.tell(Kind::Standby, About::ALL, text);
                    }
                    self.holding.services.lower();
                }
                Output::Announce(why) => {
                    let text = why.text(self.setup.rules.node);
                    self.journal.tell(Kind::Active, About::ALL, text);
                    self.holding.floating.wish(Wish::Announce);
                }
                Output::Tell(told) => self.tell(told),
                Output::End => self.has_ended = true,
            }
        }
    }

    fn tell(&self, told: Told) {
        let (kind, text) = match told {
            Told::Partner(text) => (Kind::Pair, text),
            Told::Silent => (Kind::Pair, "the partner is not heard any more".to_owned()),
            Told::Path(path, true) => (
                Kind::Pair,
                format!("heartbeats come by the {} path", path.name()),
            ),
            Told::Path(path, false) => (
                Kind::Trouble,
                format!("no heartbeats come by the {} path", path.name()),
            ),
            Told::Trouble(text) => (Kind::Trouble, text),
            Told::Fitness(text) => (Kind::Pair, text),
        };
        self.journal.tell(kind, About::ALL, text);
    }

    fn send(&self, messages: &[Vec<u8>; 2]) {
        for ((socket, paths), message) in self.sockets.iter().zip(&self.setup.paths).zip(messages) {
            let (Some(socket), Some((_, partner))) = (socket, paths) else {
                continue;
            };
            // A full buffer or a link that is down is like a message that is lost.
            if let Err(error) =
                socket.try_send_to(message, SocketAddr::new(*partner, self.setup.port))
            {
                debug!(%error, %partner, "heartbeat not sent");
            }
        }
    }

    fn state(&self) -> PairState {
        let machine = self.director.machine();
        let paths = Path::ALL
            .into_iter()
            .zip(&self.setup.paths)
            .zip(self.director.paths());
        let paths = paths.filter_map(|((path, ends), state)| {
            let (own, partner) = (*ends)?;
            Some((path, own, partner, *state))
        });
        PairState {
            role: machine.role(),
            node: self.setup.rules.node,
            pair: self.setup.rules.pair,
            unfit: machine.unfit().cloned(),
            lease: machine.lease(),
            partner: machine
                .partner()
                .map(|it| (it.heard, it.role, it.fit, !it.deaf)),
            same_config: self.director.is_same_config(),
            paths: paths.collect(),
            times: (self.setup.rules.keepalive, self.setup.rules.deadtime),
        }
    }
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

/// A socket for each path that there is. Of the two paths one may fail.
fn open(setup: &Setup) -> Result<[Option<UdpSocket>; 2], String> {
    let mut sockets = [None, None];
    if !setup.rules.pair {
        return Ok(sockets);
    }
    let mut failed = Vec::new();
    for (socket, ends) in sockets.iter_mut().zip(&setup.paths) {
        let Some((own, _)) = ends else {
            continue;
        };
        match bound(SocketAddr::new(*own, setup.port)) {
            Ok(opened) => *socket = Some(opened),
            Err(error) => failed.push(format!("cannot create heartbeat socket at {own}: {error}")),
        }
    }
    match failed.first() {
        Some(first) if sockets.iter().all(Option::is_none) => Err(first.clone()),
        Some(first) => {
            warn!("{first}; the other path has to do");
            Ok(sockets)
        }
        None => Ok(sockets),
    }
}

fn bound(own: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(own), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if own.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&own.into())?;
    UdpSocket::from_std(socket.into())
}
