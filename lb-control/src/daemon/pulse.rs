//! Everything that runs, and the way of an event through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use lb_common::maps::Vlan;
use network_interface::{NetworkInterface, NetworkInterfaceConfig as _};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::error;

use super::{
    Options, Reader, Signals,
    changes::Kept,
    connections::{self, Connections},
    decisions::Decisions,
    interfaces::{Interfaces, first_interfaces, way_back},
    load,
    manager::{Manager, Phase},
    pair, secret,
};
use crate::{
    config::{Global, Loaded},
    control::{
        change::{Change, Changes, Made, Refused, Why},
        configuration::Desk,
        order::{Order, Unknown, Verb},
        request::{Comparison, Failover, Reloaded, Request},
        server::{Socket, Sources, serve_metrics},
    },
    dataplane::{
        Dataplane as _,
        bpffs::{Lock, Older, Pins},
        connections::PinnedFlows,
        kernel::{self, Program},
    },
    difference::{Difference, differences, of_files},
    event::Event,
    explain::explainer::Explainer,
    floating::{Floating, Wish},
    fos,
    health::{self, Health, Target, Through, Watch},
    heartbeat::{
        machine::{Refused as Refusal, Role},
        runner::{self, PairState, Setup},
    },
    journal::{About, Journal, Kind},
    model::{
        CheckedAt, Method, Origin, Probe, RealServer, Selector, ServiceId, Site, VirtualService,
    },
    network::{
        links::Links,
        next_hop::{Resolution, Resolved},
        resolver::{self, Pace, Resolver},
    },
    preflight,
    reconciler::{self, Reconciler},
    turnover::{Turnover, turnover},
    waiting_room,
};

/// How often it is looked whose time has ended, and refused writes are tried again.
const TICK: Duration = Duration::from_secs(1);

/// How often interfaces are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How many messages of one kind may wait.
const QUEUE: usize = 4096;

/// Everything that runs.
pub(super) struct Pulse {
    options: Options,
    reader: Reader,
    /// What lvs.cf says.
    file: Site,
    /// What it says of the directors.
    global: Global,
    /// What the bytes of that come down to.
    loaded_digest: watch::Sender<u64>,
    /// What commands say besides.
    kept: Kept,
    /// What is served: both together.
    site: Site,
    journal: Journal,
    program: Program,
    interfaces: Interfaces,
    floating: Floating,
    failovers: fos::Handle,
    /// Who says whether this node is active.
    pair: runner::Handle,
    state: watch::Receiver<PairState>,
    setup: Setup,
    manager: Manager,
    connections: Connections,
    events: mpsc::Sender<Event>,
    ways: mpsc::Receiver<Resolved>,
    reports: mpsc::Receiver<health::Report>,
    resolver: resolver::Handle,
    nannies: health::Handle,
    decisions: Decisions,
    requests: mpsc::Receiver<Request>,
    vlans: BTreeMap<u32, Vlan>,
    /// The tasks that answer commands and readers of metrics.
    commands: JoinSet<()>,
    _lock: Lock,
}

impl Pulse {
    pub(super) async fn start(
        options: Options,
        reader: Reader,
        loaded: Loaded,
        links: &Links,
    ) -> anyhow::Result<Self> {
        let pins = Pins::below(&options.bpffs);
        let was_there = pins.exist();
        let started = Self::start_on(&pins, options, reader, loaded, links).await;
        if started.is_err() && !was_there {
            // The error that kept it from starting is the one to tell.
            let _ = pins.remove();
        }
        started
    }

    async fn start_on(
        pins: &Pins,
        mut options: Options,
        reader: Reader,
        loaded: Loaded,
        links: &Links,
    ) -> anyhow::Result<Self> {
        let setup = pair::setup(&loaded)?;
        let loaded_digest = watch::Sender::new(loaded.digest);
        let file = loaded.site;
        let mut kept = Kept::open(&options.changes, pins.exist());
        let mut changes = kept.changes.clone();
        changes.settle(&file);
        let site = changes.apply(&file);
        preflight::warn_of_settings(&site);
        // What can be refused comes before what changes the data plane.
        let socket = Socket::listen(&options.socket, options.socket_group.as_deref())?;
        let metrics = match options.metrics {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        pins.create()?;
        let lock = pins.lock()?;
        let sizes = options.sizes(&site)?;
        let older = Older::below(&options.bpffs)?;
        let (mut program, dataplane) = kernel::load(pins, sizes, way_back(&options, links))?;
        // Changes by command have to find room in the maps as they are.
        options.sizes = dataplane.sizes();
        let mut reconciler = Reconciler::new(dataplane).context("reading the maps")?;
        let secret = match reconciler.secret() {
            Some(secret) => secret,
            None => secret::draw().context("drawing the key of mh's hash")?,
        };
        reconciler.set_secret(secret);
        secret::tell_pairs(&site);
        let journal = Journal::default();
        reconciler.set_journal(journal.clone());

        // The data plane knows whether it may steer before the first packet comes.
        let keeper = pair::keeper(pins)?;
        let is_forced = options.force_active;
        let (pair, floating, failovers) =
            runner::start(setup.clone(), is_forced, keeper, journal.clone()).await?;
        floating.wish(Wish::Commands(pair::hooks(&loaded.global)));
        let state = pair.state();

        let mut interfaces = Interfaces::new(journal.clone());
        for name in first_interfaces(&options, &site) {
            older.hand_over(&name, pins)?;
            interfaces.attach(&mut program, &name, options.mode)?;
        }

        let (events, queue) = mpsc::channel(reconciler::BURST);
        let (way_sender, ways) = mpsc::channel(QUEUE);
        let (report_sender, reports) = mpsc::channel(QUEUE);
        let resolver = Resolver::spawn(Pace::default(), way_sender)?;
        let nannies = Watch::spawn(report_sender).context("starting the nannies")?;
        tokio::spawn(reconciler.run(queue));
        let (held, in_vain) = program.held()?;
        tokio::spawn(waiting_room::keep(held, in_vain));
        let (decisions, log) = Decisions::new(events.clone(), journal.clone());
        let (request_sender, requests) = mpsc::channel(QUEUE);
        let connections = Connections::new(pins.clone(), events.clone(), pair.state());
        let sources = Sources {
            events: events.clone(),
            requests: request_sender,
            flows: Arc::new(PinnedFlows::new(pins.clone())),
            explainer: Explainer::new(pins.clone()),
            log,
            nannies: nannies.clone(),
            interfaces: interfaces.shown(),
            pair: pair.state(),
            failovers: failovers.report(),
            sync: connections.shown(),
            journal: journal.clone(),
            measured: Arc::default(),
            desk: Desk::new(&options.config, loaded_digest.subscribe()),
        };
        let mut commands = JoinSet::new();
        if let Some(listener) = metrics {
            commands.spawn(serve_metrics(listener, sources.clone()));
        }
        commands.spawn(socket.serve(sources));

        kept.set(changes, &site);
        let mut pulse = Self {
            options,
            reader,
            file,
            global: loaded.global,
            loaded_digest,
            kept,
            site: Site::default(),
            journal,
            program,
            interfaces,
            floating,
            failovers,
            pair,
            state,
            setup,
            manager: Manager::of_this_daemon(),
            connections,
            events,
            ways,
            reports,
            resolver,
            nannies,
            decisions,
            requests,
            vlans: BTreeMap::new(),
            commands,
            _lock: lock,
        };
        pulse.look_at_vlans(links).await?;
        if let Err(error) = pulse.begin(site).await {
            pulse.stop().await;
            return Err(error);
        }
        older.remove()?;
        let commands = &pulse.site.sync_daemons;
        pulse
            .connections
            .amend(&pulse.global, &pulse.setup, commands);
        pulse.pair.ready().await;
        let role = pulse.role();
        let text = format!("STARTING PULSE: {}", role.name());
        pulse.journal.tell(Kind::Started, About::ALL, text);
        pulse.manager.status(role.name());
        pulse.manager.phase(Phase::Ready);
        Ok(pulse)
    }

    /// The first site. What a daemon before this one left on other interfaces comes off.
    async fn begin(&mut self, site: Site) -> anyhow::Result<()> {
        self.configure(site).await?;
        for order in self.kept.orders() {
            let who = "the daemon before".to_owned();
            // What becomes of it is in the log.
            let (reply, _) = oneshot::channel();
            self.tell(Event::Ordered { order, who, reply }).await?;
        }
        if !self.options.interfaces.is_empty() {
            self.program.detach_all_but(&self.options.interfaces)?;
        }
        Ok(())
    }

    /// Makes a site the one that is served, or changes nothing.
    async fn configure(&mut self, site: Site) -> anyhow::Result<()> {
        // The addresses are what the kernel may refuse, so they come first.
        let kept = self.floating.keep(site.addresses.clone()).await;
        kept.map_err(anyhow::Error::msg)?;
        self.failovers.amend(site.failovers.clone());
        self.serve(site).await
    }

    /// The part that this node plays.
    fn role(&self) -> Role {
        self.state.borrow().role
    }

    /// Makes a site with the same addresses the one that is served. Whoever is told so may rely on it: the maps
    /// hold it then.
    async fn serve(&mut self, mut site: Site) -> anyhow::Result<()> {
        let difference = turnover(&self.site.services, &mut site.services);
        self.tell(Event::Configured(site.clone())).await?;
        self.nannies.amend(targets_that_differ(&difference));
        self.resolver.amend(difference.addresses());
        self.site = site;
        self.written().await
    }

    /// The way of an event: whatever happens is passed on, until we are told to stop.
    pub(super) async fn pass_on(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = self.state.borrow().role;
        loop {
            tokio::select! {
                Some(report) = self.reports.recv() => {
                    tell_health(&self.journal, &report);
                    self.tell(Event::Health(report)).await?;
                }
                Some(resolved) = self.ways.recv() => {
                    self.attach_on_the_way(&resolved).await;
                    self.tell(Event::Way(resolved)).await?;
                }
                _ = ticks.tick() => {
                    self.pair.alive();
                    self.tell(Event::Tick).await?;
                }
                Ok(()) = self.state.changed() => {
                    let role = self.state.borrow_and_update().role;
                    // Whatever else changes there, the service manager is told of nothing more.
                    if std::mem::replace(&mut told, role) != role {
                        self.manager.status(role.name());
                    }
                }
                _ = looks.tick() => {
                    if let Ok(links) = Links::read().await {
                        self.interfaces.note_modes(&links);
                        self.look_at_vlans(&links).await?;
                    }
                }
                Some(asked) = self.decisions.asked() => {
                    self.decisions.carry_out(&mut self.program, asked);
                }
                Some(request) = self.requests.recv() => self.answer(request).await,
                _ = signals.hangup.recv() => {
                    // What it says has been logged.
                    let _ = self.reload(false, "SIGHUP").await;
                }
                _ = signals.terminate.recv() => {
                    self.end(15);
                    return Ok(());
                }
                _ = signals.interrupt.recv() => {
                    self.end(2);
                    return Ok(());
                }
            }
        }
    }

    fn end(&self, signal: i32) {
        let text = format!("Terminating due to signal {signal}");
        self.journal.tell(Kind::Stopping, About::ALL, text);
    }

    /// A command asks for something.
    async fn answer(&mut self, request: Request) {
        // Whoever asked may have gone away.
        match request {
            Request::Change {
                changes,
                who,
                reply,
            } => drop(reply.send(self.change(&changes, &who).await)),
            Request::Order { order, who, reply } => {
                // If nobody keeps the routing table any more, nobody answers either.
                if let Some(answer) = self.order(order, who).await {
                    drop(reply.send(answer));
                }
            }
            Request::Reload {
                discard,
                who,
                reply,
            } => drop(reply.send(self.reload(discard, &who).await)),
            Request::Failover { asked, who, reply } => self.fail_over(asked, who, reply),
            Request::Compare { written, reply } => {
                let compared = match written {
                    Some(written) => {
                        let (global, site) = *written;
                        Ok(self.compare_with(&global, site, Vec::new()))
                    }
                    None => self.compare().await,
                };
                drop(reply.send(compared.map_err(|error| format!("{error:#}"))));
            }
            Request::Target {
                service,
                server,
                reply,
            } => drop(reply.send(self.target(&service, &server))),
        }
    }

    /// Hands over to the partner, or tells it to wait. The daemon goes on meanwhile.
    fn fail_over(
        &self,
        Failover { back_within_ms }: Failover,
        who: String,
        reply: oneshot::Sender<Result<String, Refusal>>,
    ) {
        let (pair, mut state, journal) =
            (self.pair.clone(), self.state.clone(), self.journal.clone());
        let patience = self.setup.rules.deadtime * 2 + self.setup.rules.letting_go;
        tokio::spawn(async move {
            let done = match back_within_ms.map(Duration::from_millis) {
                Some(time) => pair.back_within(time).await.map(|()| {
                    format!(
                        "when this daemon ends, the partner waits for {} s",
                        time.as_secs_f64()
                    )
                }),
                None => match pair.hand_over().await {
                    Ok(()) => {
                        let is_done = |state: &PairState| {
                            state
                                .partner
                                .is_some_and(|(_, role, ..)| role == Role::Active)
                        };
                        let taken = timeout(patience, state.wait_for(is_done)).await;
                        Ok(match taken {
                            Ok(_) => "the partner is active".to_owned(),
                            Err(_) => "handed over, but the partner does not take it".to_owned(),
                        })
                    }
                    Err(refused) => Err(refused),
                },
            };
            let text = match &done {
                Ok(text) => format!("failover: {text}"),
                Err(refused) => format!("failover refused: {refused}"),
            };
            journal.tell(Kind::Ordered, About::ALL.by(&who), text);
            // Whoever asked may have gone away.
            let _ = reply.send(done);
        });
    }

    /// Passes an order on, and keeps it if it is obeyed.
    async fn order(&mut self, order: Order, who: String) -> Option<Result<String, Unknown>> {
        let key = order.find(&self.site);
        let (reply, answer) = oneshot::channel();
        let event = Event::Ordered {
            order: order.clone(),
            who,
            reply,
        };
        self.tell(event).await.ok()?;
        let answer = answer.await.ok()?;
        self.written().await.ok()?;
        if let (Ok(key), Ok(_)) = (key, &answer) {
            self.kept.note(&self.site, key, &order);
        }
        Some(answer)
    }

    /// Makes all of the changes, or none.
    async fn change(&mut self, list: &Changes, who: &str) -> Result<Made, Refused> {
        let mut changes = self.kept.changes.clone();
        changes.make(&self.file, &list.changes)?;
        connections::check(&list.changes)?;
        let site = changes.apply(&self.file);
        let room = self.options.sizes;
        room_for(&site, room.services, room.servers)?;
        let changed = differences(&self.site, &site);
        let made = Made {
            changed: changed.len(),
            notes: notes(&site),
        };
        if list.dry_run {
            return Ok(made);
        }
        let failed = |error: anyhow::Error| Refused {
            index: None,
            why: Why::Failed,
            text: format!("{error:#}"),
        };
        if !changed.is_empty() {
            self.serve(site).await.map_err(failed)?;
            self.connections.command(&self.site.sync_daemons);
        }
        for change in &list.changes {
            if let Change::Zero { service } = change {
                self.tell(Event::Zero(*service)).await.map_err(failed)?;
                let about = service.map_or(About::ALL, About::service);
                let text = "counters begin anew";
                self.journal.tell(Kind::Zeroed, about.by(who), text);
            }
        }
        self.kept.set(changes, &self.site);
        let about = About::ALL.by(who);
        self.journal.tell_all(Kind::Changed, about, &changed);
        Ok(made)
    }

    /// lvs.cf is read again, and changes by command are forgotten if that is asked for. One that is not fit to
    /// be used changes nothing.
    async fn reload(&mut self, discard: bool, who: &str) -> Result<Reloaded, String> {
        self.manager.phase(Phase::Reloading);
        let file = self.options.config.display().to_string();
        let about = About::ALL.by(who);
        let reloaded = match self.reloaded(discard).await {
            Ok((changed, warnings)) => {
                self.journal.tell_all(Kind::Changed, about, &changed);
                let text = format!("{file} was read again, {} different", changed.len());
                self.journal.tell(Kind::Reloaded, about, text);
                Ok(Reloaded {
                    file,
                    changed,
                    warnings,
                })
            }
            Err(error) => {
                let text = format!("{error:#}; everything stays as it was");
                self.journal.tell(Kind::ReloadRefused, about, text.clone());
                Err(text)
            }
        };
        self.manager.phase(Phase::Ready);
        reloaded
    }

    async fn reloaded(&mut self, discard: bool) -> anyhow::Result<(Vec<Difference>, Vec<String>)> {
        let loaded = load(&self.options.config, &self.reader).await?;
        let setup = pair::setup(&loaded)?;
        let Loaded {
            mut site,
            global,
            digest,
            warnings,
            ..
        } = loaded;
        // What has not changed is known by being the same, from here on.
        turnover(&self.file.services, &mut site.services);
        let links = Links::read().await?;
        preflight::interfaces(&links, &site, &self.options.interfaces)?;
        preflight::warn_of_settings(&site);
        for name in first_interfaces(&self.options, &site) {
            self.interfaces
                .attach(&mut self.program, &name, self.options.mode)?;
        }
        let mut changes = self.kept.changes.clone();
        if discard {
            changes.make(&site, &[Change::Revert])?;
        }
        changes.settle(&site);
        let effective = changes.apply(&site);
        let changed = of_files((&self.global, &self.site), (&global, &effective));
        let amended = self.pair.amend(setup.clone()).await;
        amended.map_err(anyhow::Error::msg)?;
        if let Err(error) = self.configure(effective).await {
            // It held a moment ago.
            let _ = self.pair.amend(self.setup.clone()).await;
            return Err(error);
        }
        self.floating.wish(Wish::Commands(pair::hooks(&global)));
        self.setup = setup;
        self.connections
            .amend(&global, &self.setup, &self.site.sync_daemons);
        self.global = global;
        self.file = site;
        self.loaded_digest.send_replace(digest);
        self.kept.set(changes, &self.site);
        Ok((changed, warnings))
    }

    /// What a reload would change, and what commands have changed.
    async fn compare(&self) -> anyhow::Result<Comparison> {
        let Loaded {
            global,
            site,
            warnings,
            ..
        } = load(&self.options.config, &self.reader).await?;
        Ok(self.compare_with(&global, site, warnings))
    }

    /// The same if lvs.cf meant this.
    fn compare_with(&self, global: &Global, mut site: Site, warnings: Vec<String>) -> Comparison {
        turnover(&self.file.services, &mut site.services);
        let mut changes = self.kept.changes.clone();
        changes.settle(&site);
        Comparison {
            file: self.options.config.display().to_string(),
            reload: of_files((&self.global, &self.site), (global, &changes.apply(&site))),
            commands: differences(&self.file, &self.site),
            warnings,
        }
    }

    /// How a real server is checked, if it is.
    fn target(&self, service: &str, server: &str) -> Result<Option<Target>, Unknown> {
        let asked = Order {
            verb: Verb::Auto,
            service: service.to_owned(),
            server: server.to_owned(),
            deadline: None,
        };
        let (service, server) = asked.find(&self.site)?;
        let mut services = self.site.services.iter();
        let found = services.find(|one| one.key == service);
        let targets = found.map(|one| targets_of(one)).unwrap_or_default();
        Ok(targets.into_iter().find(|one| one.server == server))
    }

    /// The program also has to be where the real servers are, for their replies.
    async fn attach_on_the_way(&mut self, resolved: &Resolved) {
        let Resolution::Resolved(hop) = &resolved.resolution else {
            return;
        };
        if !self.options.interfaces.is_empty() || !self.interfaces.is_new(hop.interface) {
            return;
        }
        let Ok(links) = Links::read().await else {
            return;
        };
        let Some(link) = links.at(hop.interface) else {
            return;
        };
        self.interfaces
            .attach_if_possible(&mut self.program, &link.name, self.options.mode);
    }

    async fn look_at_vlans(&mut self, links: &Links) -> anyhow::Result<()> {
        let vlans: BTreeMap<_, _> = links
            .iter()
            .filter_map(|link| {
                let vlan = link.vlan.as_ref()?;
                Some((
                    link.index,
                    Vlan {
                        parent: vlan.parent?,
                        id: u32::from(vlan.id),
                    },
                ))
            })
            .collect();
        if vlans != self.vlans {
            self.vlans.clone_from(&vlans);
            self.tell(Event::Vlans(vlans)).await?;
        }
        Ok(())
    }

    /// Waits until the maps are as everything that was told wants them.
    async fn written(&self) -> anyhow::Result<()> {
        let (reply, written) = oneshot::channel();
        self.tell(Event::Written(reply)).await?;
        written.await.map_err(gone)
    }

    async fn tell(&self, event: Event) -> anyhow::Result<()> {
        let told = self.events.send(event).await;
        told.map_err(gone)
    }

    /// Takes off what was put on the machine. The data plane stays.
    pub(super) async fn stop(&mut self) {
        self.manager.phase(Phase::Stopping);
        if let Err(error) = self.program.end_log() {
            error!("{error:#}");
        }
        self.pair.stop().await;
        self.connections.stop();
        // With it goes the socket.
        self.commands.shutdown().await;
        self.manager.last_words();
    }
}

/// What whoever waits for the reconciler is told if it has ended.
fn gone<E>(_: E) -> anyhow::Error {
    anyhow!("nobody keeps the routing table any more")
}

/// Listens for readers of metrics.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("listening on {address} for readers of metrics"))
}

/// A real server came or went, in the words that Piranha's operators look for.
fn tell_health(journal: &Journal, report: &health::Report) {
    let server = report.server;
    let about = About::server(report.service, server);
    match &report.health {
        Health::Up => {
            let text = format!("[ active ] making {server} available");
            journal.tell(Kind::ServerUp, about, text);
        }
        Health::Down { reason } => {
            let text =
                format!("[inactive] shutting down {server} due to connection failure: {reason}");
            journal.tell(Kind::ServerDown, about, text);
        }
        // That comes too often to be told.
        Health::Weighs { .. } => {}
    }
}

/// What an operator may not expect of services that were added by command.
fn notes(site: &Site) -> Vec<String> {
    let added = |service: &&Arc<VirtualService>| service.origin == Origin::Command;
    let services = site.services.iter().filter(added);
    let wanted: BTreeSet<_> = services
        .flat_map(|service| service.selectors.iter().map(|one| one.address))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let Ok(interfaces) = NetworkInterface::show() else {
        return Vec::new();
    };
    let held: BTreeSet<_> = interfaces
        .iter()
        .flat_map(|interface| interface.addr.iter().map(|addr| addr.ip()))
        .collect();
    let missing = wanted.difference(&held);
    missing
        .map(|address| {
            format!("{address} is not on this router: its packets have to be routed here")
        })
        .collect()
}

/// Whether a site fits into the tables.
fn room_for(site: &Site, services: u32, servers: u32) -> Result<(), Refused> {
    let full = |what: &str, there: usize, limit: u32| Refused {
        index: None,
        why: Why::Full,
        text: format!("{there} {what} are more than the {limit} that there is room for"),
    };
    let keys = site
        .services
        .iter()
        .map(|one| one.selectors.len().max(1))
        .sum();
    if keys > services as usize {
        return Err(full("virtual services", keys, services));
    }
    let of_service =
        |one: &Arc<VirtualService>| one.servers.len() + usize::from(one.sorry_server.is_some());
    // Number 0 is no server.
    let there = site.services.iter().map(of_service).sum::<usize>() + 1;
    if there > servers as usize {
        return Err(full("real servers", there - 1, servers - 1));
    }
    Ok(())
}

/// What the nannies have to watch.
pub(crate) fn targets(site: &Site) -> Vec<Target> {
    let services = site.services.iter();
    services.flat_map(|service| targets_of(service)).collect()
}

/// The same of one service.
fn targets_of(service: &VirtualService) -> Vec<Target> {
    let virtual_addresses = asked_addresses(service);
    let targets = service.servers.iter().filter_map(|server| {
        Some(Target {
            service: service.key,
            server: server.socket,
            address: SocketAddr::new(server.socket.ip(), server.check_port),
            protocol: service.check_protocol,
            through: through(server, &virtual_addresses),
            weight: server.weight,
            probe: service.probe.clone()?,
        })
    });
    targets.collect()
}

/// The virtual addresses at which the servers of a service are asked, each once; none if they are asked at their own.
fn asked_addresses(service: &VirtualService) -> Vec<IpAddr> {
    let is_asked = |probe: &Probe| probe.at == CheckedAt::Vip;
    if !service.probe.as_ref().is_some_and(is_asked) {
        return Vec::new();
    }
    let is_alike = |selector: &&Selector| selector.protocol == service.check_protocol;
    let alike = service.selectors.iter().filter(is_alike);
    let mut addresses: BTreeSet<_> = alike.map(|selector| selector.address).collect();
    if addresses.is_empty() {
        // It is checked by another protocol than it serves.
        addresses = service.selectors.iter().map(|one| one.address).collect();
    }
    addresses.into_iter().collect()
}

/// How a server is asked at virtual addresses. One that packets reach rewritten (by command) has none.
fn through(server: &RealServer, addresses: &[IpAddr]) -> Option<Arc<Through>> {
    if addresses.is_empty() || server.forwarding.method() == Method::Nat {
        return None;
    }
    Some(Arc::new(Through {
        addresses: addresses.to_vec(),
        server: server.socket,
        forwarding: server.forwarding,
    }))
}

/// The same of the services that differ; nothing of those that are gone.
fn targets_that_differ(turnover: &Turnover) -> BTreeMap<ServiceId, Vec<Target>> {
    let gone = turnover.gone.iter().map(|it| (it.key, Vec::new()));
    let come = turnover.come.iter().map(|it| (it.key, targets_of(it)));
    gone.chain(come).collect()
}
