//! The one task that writes the maps: recv, absorb, desired, diff, apply. An event costs what it touches: the
//! services of which something has changed.
//!
//! Nobody else calls [`Dataplane::apply`]. A write that the kernel refuses is told and tried again
//! at the next event, at the latest with the next [`Event::Tick`]; it never ends the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_common::address::Address6;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use crate::{
    control::order::{Order, Unknown, Verb},
    counters::Counters,
    dataplane::{Dataplane, Tables},
    desired::{Maker, method, service_address},
    diff::note,
    drain::{self, Drain},
    event::Event,
    ids::{Identity, Ids, Released, Wanted},
    journal::{About, Journal, Kind},
    model::{ServiceId, Site, VirtualService},
    plan::{Holding, Plan},
    rates::Rates,
    rings::turn_after,
    state::{Override, State},
    status::{self, measured},
    sync::connection::Names,
};

/// The keeper of the routing table: lvs.
pub struct Reconciler<D> {
    state: State,
    ids: Ids,
    /// What the maps hold.
    actual: Tables,
    /// What they ought to hold.
    plan: Plan,
    /// What was already complained about, so that it is said once.
    complaints: BTreeSet<String>,
    counters: Counters,
    rates: Rates,
    /// When the daemon started.
    start: Instant,
    journal: Journal,
    /// Who waits until the maps are up to date.
    waiting: Vec<oneshot::Sender<()>>,
    dataplane: D,
    /// Whether it is known what ought to be. Before that nothing is written, for what is found is to stay.
    is_configured: bool,
}

impl<D: Dataplane> Reconciler<D> {
    /// Takes over what the maps hold: a daemon before this one may have left the data plane
    /// forwarding.
    ///
    /// # Errors
    /// If the maps cannot be read.
    pub fn new(dataplane: D) -> Result<Self, D::Error> {
        let actual = dataplane.read()?;
        let reconciler = Self {
            state: State::default(),
            ids: Ids::default(),
            plan: Plan::new(&dataplane.sizes()),
            actual,
            complaints: BTreeSet::new(),
            counters: Counters::default(),
            rates: Rates::default(),
            start: Instant::now(),
            journal: Journal::default(),
            waiting: Vec::new(),
            dataplane,
            is_configured: false,
        };
        Ok(reconciler)
    }

    /// The key of mh's hash that the maps hold, if they do.
    pub fn secret(&self) -> Option<[u64; 2]> {
        let secret = self.actual.settings?.secret;
        (secret != [0; 2]).then_some(secret)
    }

    /// Sets the key of mh's hash for the case that lvs.cf gives none.
    pub const fn set_secret(&mut self, secret: [u64; 2]) {
        self.state.set_secret(secret);
    }

    /// Sets where it is told what happens.
    pub fn set_journal(&mut self, journal: Journal) {
        self.journal = journal;
    }

    /// Runs until nobody sends events any more.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut batch = Vec::new();
        while events.recv_many(&mut batch, BURST).await > 0 {
            self.state.now = self.start.elapsed();
            let mut is_changed = false;
            for event in batch.drain(..) {
                is_changed |= self.absorb(event);
            }
            batch.shrink_to(USUAL);
            if is_changed {
                self.reconcile();
            }
            for waiting in self.waiting.drain(..) {
                // Whoever waits may have gone away.
                let _ = waiting.send(());
            }
        }
    }

    /// Takes one event in. Whether the maps may have to change.
    fn absorb(&mut self, event: Event) -> bool {
        match event {
            Event::Configured(site) => self.configure(site),
            Event::Health(report) => self.state.report(report),
            Event::Way(resolved) => self.state.resolve(resolved),
            Event::Vlans(vlans) => {
                self.plan.set_vlans(&vlans, &self.actual);
                self.state.vlans = vlans;
            }
            Event::Tick => return self.tick(),
            Event::Written(reply) => {
                self.waiting.push(reply);
                return false;
            }
            Event::Ordered { order, who, reply } => {
                let answer = self.obey(&order, &who);
                let is_changed = answer.is_ok();
                // Whoever ordered may have gone away.
                let _ = reply.send(answer);
                return is_changed;
            }
            Event::Zero(which) => {
                let Self {
                    ids,
                    counters,
                    rates,
                    dataplane,
                    ..
                } = self;
                if let Err(error) = counters.clear(which, ids, rates, dataplane) {
                    warn!(%error, "not all counters begin anew");
                }
                return false;
            }
            Event::Table(which, reply) => {
                let Self {
                    state,
                    ids,
                    counters,
                    rates,
                    dataplane,
                    ..
                } = self;
                let table = status::table::table(state, ids, counters, rates, dataplane, which);
                // Whoever asked may have gone away.
                let _ = reply.send(table);
                return false;
            }
            Event::Overall(reply) => {
                // Whoever asked may have gone away.
                let _ = reply.send(status::overall(&self.dataplane));
                return false;
            }
            Event::Measure(from, reply) => {
                let Self {
                    state,
                    ids,
                    plan,
                    counters,
                    rates,
                    dataplane,
                    ..
                } = self;
                let stands_in = |service| plan.holding(service).is_some_and(Holding::is_sorry);
                let measured =
                    measured::measured(state, ids, counters, rates, dataplane, stands_in, from);
                // Whoever asked may have gone away.
                let _ = reply.send(measured);
                return false;
            }
            Event::Owners(reply) => {
                let servers = self.ids.servers();
                let owners = servers.map(|(identity, id)| (id, (identity.0, identity.1)));
                // Whoever asked may have gone away.
                let _ = reply.send(owners.collect());
                return false;
            }
            Event::Names(known, reply) => {
                let ids = &self.ids;
                let is_news = ids.version() != known;
                let names =
                    is_news.then(|| Names::new(ids.version(), ids.servers(), ids.services()));
                // Whoever asked may have gone away.
                let _ = reply.send(names);
                return false;
            }
            Event::Status(reply) => {
                let Self {
                    state,
                    ids,
                    plan,
                    counters,
                    dataplane,
                    ..
                } = self;
                let report = status::report(state, ids, plan, counters, dataplane);
                // Whoever asked may have gone away.
                let _ = reply.send(report);
                return false;
            }
        }
        true
    }

    /// lvs.cf was read. Whoever is in the tables and no longer asked for may finish.
    fn configure(&mut self, site: Site) {
        if !std::mem::replace(&mut self.is_configured, true) {
            self.take_over(site);
            return;
        }
        let Self {
            state,
            ids,
            actual,
            plan,
            journal,
            ..
        } = self;
        let in_tables = |service: ServiceId| {
            ids.doubt(service);
            let servers = ids.servers_of(service);
            let found = servers.filter(|(_, id)| actual.servers.contains_key(id));
            found.map(|(identity, _)| identity).collect::<Vec<_>>()
        };
        for ((service, server, _), deadline) in state.configure(site, in_tables) {
            if !plan.holding(service).is_some_and(Holding::is_sorry) {
                let seconds = deadline.saturating_sub(state.now).as_secs();
                let text = format!("is no longer wanted and may finish, for at most {seconds} s");
                journal.tell(Kind::Leaving, About::server(service, server), text);
            }
        }
        plan.set_floating(floating(&state.site));
        // There may be room now.
        state.look_at_again(plan.crowded().iter().copied());
    }

    /// The first site: what the maps hold stays with those of it whom it belongs to.
    fn take_over(&mut self, site: Site) {
        self.state.configure(site, |_| []);
        self.restore_ids();
        for (identity, _) in self.found() {
            let drain = self.state.drain_of(identity.0);
            self.state.found(identity, drain);
        }
        self.presume_members();
        self.plan.take_over(&self.actual);
        self.plan.set_vlans(&self.state.vlans, &self.actual);
        self.plan.set_floating(floating(&self.state.site));
    }

    /// A second has passed. Whether the maps may have to change.
    fn tick(&mut self) -> bool {
        let Self {
            state,
            ids,
            dataplane,
            ..
        } = self;
        let open = |identity: &Identity| {
            let Some(id) = ids.find_server(identity) else {
                return 0;
            };
            // One whose flows cannot be counted has as much time as any.
            dataplane
                .load(id)
                .map_or(u32::MAX, |load| drain::open(&load))
        };
        let ended = state.end_drains(open);
        for ended in &ended {
            let about = About::server(ended.service, ended.server);
            let text = format!("leaves the table: {}", ended.why);
            self.journal.tell(Kind::Left, about, text);
        }
        self.release_ids();
        let Self {
            state,
            actual,
            rates,
            dataplane,
            ..
        } = self;
        rates.measure(state.now, actual.servers.keys().copied(), dataplane);
        // There may be room now.
        self.state
            .look_at_again(self.plan.crowded().iter().copied());
        !ended.is_empty() || !self.complaints.is_empty()
    }

    /// An operator says what is to become of a real server.
    ///
    /// # Errors
    /// [`Unknown`] if there is no such server.
    fn obey(&mut self, order: &Order, who: &str) -> Result<String, Unknown> {
        let key = order.find(&self.state.site)?;
        let (service, server) = key;
        let before = self.state.overridden(&key);
        let wanted = match order.verb {
            Verb::Up => Some(Override::Up),
            Verb::Down => Some(Override::Down),
            Verb::Auto => None,
            Verb::Drain => Some(match (before, order.deadline) {
                // Once more, and no other time is asked for.
                (Some(drained @ Override::Drain(_)), None) => drained,
                (Some(drained @ Override::Drain(Drain::Done)), Some(_)) => drained,
                (_, deadline) => {
                    let time = deadline.map_or_else(
                        || self.state.drain(&key),
                        |seconds| Duration::from_secs(seconds.into()),
                    );
                    Override::Drain(Drain::within(self.state.now, time))
                }
            }),
        };
        let is_new = wanted != before;
        self.state.set_override(key, wanted);
        let about = About::server(service, server).by(who);
        let again = if is_new { "" } else { ", as before" };
        let text = format!("ordered {}{again}", order.verb);
        self.journal.tell(Kind::Ordered, about, text);
        let text = match wanted {
            None => "its checks decide".to_owned(),
            Some(Override::Up) => "up, whatever its checks say".to_owned(),
            Some(Override::Down) => "down, whatever its checks say".to_owned(),
            Some(Override::Drain(Drain::Done)) => "drained".to_owned(),
            Some(Override::Drain(Drain::Until(deadline))) => {
                let left = deadline.saturating_sub(self.state.now).as_secs();
                format!("draining, for at most {left} s")
            }
        };
        Ok(format!("{server} of {service}: {text}"))
    }

    /// Brings the maps to what they ought to hold: of each service that has changed, what it put there before
    /// is taken back and what it puts there now is compared with what they hold.
    fn reconcile(&mut self) {
        if !self.is_configured {
            return;
        }
        let changed = self.state.take_changed();
        // All before any: what one has no longer another may have now.
        let before: Vec<_> = changed
            .iter()
            .map(|service| self.plan.withdraw(*service))
            .collect();
        for (service, before) in changed.into_iter().zip(before) {
            self.place(service, before.as_ref());
            self.tell_of_sorry(service, before.as_ref());
            self.let_finish(service);
        }
        // What became of it has been seen to.
        self.state.take_changed();
        self.write();
    }

    /// Puts what a service ought to have into the plan.
    fn place(&mut self, key: ServiceId, before: Option<&Holding>) {
        let Self {
            state,
            ids,
            actual,
            plan,
            dataplane,
            ..
        } = self;
        let Some(service) = state.service(key).map(Arc::clone) else {
            return;
        };
        let maker = &mut Maker {
            state,
            ids,
            actual,
            sizes: &dataplane.sizes(),
        };
        let share = maker.share(&service);
        if before.is_some_and(Holding::is_sorry)
            && !share.is_sorry
            && let Some(socket) = service.sorry_server
        {
            let identity = (key, socket, service.forwarding.method());
            state.let_leave(identity, service.drain.min(drain::SORRY));
        }
        plan.put(share, &state.site, actual);
        self.continue_turns(&service, before);
    }

    /// Tells if the sorry server of a service stands in that did not, or the other way round.
    fn tell_of_sorry(&self, service: ServiceId, before: Option<&Holding>) {
        let stands_in = self.plan.holding(service).is_some_and(Holding::is_sorry);
        if stands_in == before.is_some_and(Holding::is_sorry) {
            return;
        }
        let text = match stands_in {
            true => "the sorry server stands in: no real server takes connections",
            false => "the sorry server steps back",
        };
        self.journal
            .tell(Kind::Sorry, About::service(service), text);
    }

    /// Those of a service that are no longer asked for stay in the tables with weight 0 while they may. So does
    /// a sorry server that has stood in until now.
    fn let_finish(&mut self, service: ServiceId) {
        let Self {
            state,
            ids,
            actual,
            plan,
            ..
        } = self;
        let leaving: Vec<_> = state.leaving_of(service).collect();
        for identity in leaving {
            let is_wanted = |id| plan.holding(service).is_some_and(|it| it.has(id));
            let id = ids.find_server(&identity).filter(|id| !is_wanted(*id));
            match id.and_then(|id| Some((id, *actual.servers.get(&id)?))) {
                Some((id, before)) => plan.stay(identity, id, before, actual),
                None => state.forget_leaving(&identity),
            }
        }
    }

    /// Where the members of a service change, its scheduler goes on as IPVS's would.
    fn continue_turns(&mut self, service: &VirtualService, before: Option<&Holding>) {
        let (Some(before), Some(after)) = (before, self.plan.holding(service.key)) else {
            return;
        };
        let (Some(_), Some(id)) = (before.id(), after.id()) else {
            return;
        };
        if before.members() == after.members() {
            return;
        }
        if let Ok(turn) = self.dataplane.turn(id) {
            let next = turn_after(service.scheduler, before.members(), after.members(), turn);
            if next != turn {
                self.plan.set_turn(id, next);
            }
        }
    }

    /// Writes what is otherwise in the maps than it ought to be.
    fn write(&mut self) {
        let Self {
            state,
            plan,
            actual,
            dataplane,
            ..
        } = self;
        let may_finish = !state.leaving().is_empty();
        let changes = plan.changes(&state.site, may_finish, actual, &dataplane.sizes());
        let mut complaints: BTreeSet<String> = plan.complaints().cloned().collect();
        for change in changes {
            match dataplane.apply(&change) {
                Ok(()) => {
                    debug!(?change, "written");
                    plan.written(actual, &change);
                    note(actual, &change);
                }
                Err(error) => {
                    complaints.insert(format!("the kernel refused {change:?}: {error}"));
                    plan.refused(change);
                }
            }
        }
        for complaint in complaints.difference(&self.complaints) {
            let text = format!("{complaint}; trying again");
            self.journal.tell(Kind::Trouble, About::ALL, text);
        }
        self.complaints = complaints;
    }

    /// The ids of what the maps hold stay with their owners.
    fn restore_ids(&mut self) {
        for (id, service) in self.found_services() {
            self.ids.restore_service(service, id);
        }
        for (identity, id) in self.found() {
            self.ids.restore_server(identity, id);
        }
        // Maps that were made just now have no flows.
        let is_used = self
            .actual
            .settings
            .is_some_and(|settings| settings.flows > 0);
        let limit = if is_used {
            self.dataplane.sizes().servers
        } else {
            0
        };
        for id in 1..limit {
            let has_flows = || {
                self.dataplane
                    .load(id)
                    .is_ok_and(|load| load.active > 0 || load.inactive > 0)
            };
            if self.actual.servers.contains_key(&id) || has_flows() {
                self.ids.restore_orphan(id);
            }
        }
    }

    /// The services that the maps hold, by id. One that has several keys is known by the first; a group of
    /// the site, by its mark.
    fn found_services(&self) -> BTreeMap<u32, ServiceId> {
        let Tables {
            services, ranges, ..
        } = &self.actual;
        let single = services.iter().filter_map(|(key, entry)| {
            let address = service_address(key.address, key.port, key.protocol)?;
            Some((entry.id, address))
        });
        let ranges = ranges.iter().filter_map(|((key, _), entry)| {
            let address = service_address(Address6(key.address), key.port, key.protocol)?;
            Some((entry.id, address))
        });
        let mut found = BTreeMap::new();
        for (id, address) in single.chain(ranges) {
            let first = found.entry(id).or_insert(address);
            *first = address.min(*first);
        }
        let mut known = BTreeMap::new();
        for service in &self.state.site.services {
            if let Some(first) = service.selectors.first() {
                known.insert(first.key(), service.key);
            }
        }
        let name = |(id, address)| (id, known.get(&address).copied().unwrap_or(address.into()));
        found.into_iter().map(name).collect()
    }

    /// The real servers that the maps hold.
    fn found(&self) -> Vec<(Identity, u32)> {
        let services = self.found_services();
        let found = self.actual.servers.iter().filter_map(|(id, server)| {
            let service = *services.get(&server.service)?;
            let socket = SocketAddr::new(server.address.into(), server.port.get());
            Some(((service, socket, method(server.method)?), *id))
        });
        found.collect()
    }

    /// Real servers that the maps hold stay until a nanny has looked at them.
    fn presume_members(&mut self) {
        let mut found = self.found();
        // The rings still tell in which order they joined: the last one comes first.
        let mut places = BTreeMap::new();
        let services = self.actual.entries().filter(|service| service.slots > 0);
        let rings = services.filter_map(|service| self.actual.rings.get(&service.ring));
        for (place, id) in rings.flatten().enumerate() {
            places.entry(*id).or_insert(place);
        }
        found.sort_by_key(|(_, id)| std::cmp::Reverse(places.get(id).copied()));
        for (identity, _) in found {
            let (service, socket, _) = identity;
            if self.state.wants(&identity) {
                info!(%service, server = %socket, "forwards already and is kept until it was checked");
                self.state.presume_member((service, socket));
            }
        }
    }

    /// Gives ids free that nobody has any more, of services that have changed.
    fn release_ids(&mut self) {
        let Self {
            state,
            ids,
            dataplane,
            actual,
            counters,
            ..
        } = self;
        let wants_service = |key: &ServiceId| match state.service(*key) {
            Some(_) => Wanted::Yes,
            None if state.leaving_of(*key).next().is_some() => Wanted::Waits,
            None => Wanted::No,
        };
        let wants_server =
            |identity: &Identity| state.wants(identity) || state.wants_sorry(identity);
        let is_used = |id| {
            actual.servers.contains_key(&id)
                || dataplane
                    .load(id)
                    .map_or(true, |load| load.active > 0 || load.inactive > 0)
        };
        let released = ids.release(wants_service, wants_server, is_used);
        if released == Released::default() {
            return;
        }
        for ((service, ..), id) in released.servers {
            counters.keep(service, id, dataplane);
        }
        counters.retain(|service| wants_service(service) != Wanted::No);
    }
}

/// The addresses that go with the right to steer.
fn floating(site: &Site) -> BTreeSet<Address6> {
    let addresses = site.addresses.iter();
    addresses.map(|floating| floating.address.into()).collect()
}

/// How many events may wait, and are taken in before the maps are brought up to date. The more the better: what
/// several say of one service is written once, so a burst is over sooner for all of them.
pub const BURST: usize = 1 << 16;

/// For how many events there is room all the time.
const USUAL: usize = 1 << 10;

#[cfg(test)]
mod oracle;

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use lb_common::maps::{Load, MethodKind, Role, Traffic};

    use super::*;
    use crate::{
        dataplane::{
            Change,
            fake::{Fake, Memory},
        },
        desired::service_key,
        health::{Failure, Health, Report},
        model::{Check, Forwarding, Probe, Protocol, RealServer, Scheduler, ServiceAddress},
        network::next_hop::{NextHop, Resolution, Resolved},
    };

    const SERVICE: ServiceId = ServiceId::Address(ADDRESS);
    const ADDRESS: ServiceAddress = ServiceAddress {
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        port: 80,
        protocol: Protocol::Tcp,
    };

    fn socket(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, last], 80))
    }

    fn site(scheduler: Scheduler, quiesce: bool, servers: &[u8]) -> Site {
        Site {
            services: vec![Arc::new(VirtualService {
                quiesce,
                servers: servers
                    .iter()
                    .map(|last| {
                        RealServer::new(&format!("rs{last}"), socket(*last), Forwarding::Nat, 1)
                    })
                    .collect(),
                ..VirtualService::new("web", ADDRESS, scheduler, probe())
            })],
            ..Site::default()
        }
    }

    fn probe() -> Probe {
        Probe::new(
            Check::Talk {
                send: None,
                expect: None,
            },
            Duration::from_secs(1),
            Duration::from_secs(1),
        )
    }

    fn up(last: u8) -> Event {
        Event::Health(Report {
            service: SERVICE,
            server: socket(last),
            health: Health::Up,
        })
    }

    fn down(last: u8) -> Event {
        let reason = Failure::Empty {
            expected: "x".to_owned(),
        };
        Event::Health(Report {
            service: SERVICE,
            server: socket(last),
            health: Health::Down { reason },
        })
    }

    fn way(last: u8) -> Event {
        Event::Way(Resolved {
            address: socket(last).ip(),
            resolution: Resolution::Resolved(NextHop {
                interface: 2,
                vlan: None,
                source_mac: [2, 0, 0, 0, 0, 1],
                mac: [2, 0, 0, 0, 0, last],
                mtu: 1500,
                source: None,
            }),
        })
    }

    /// A reconciler on maps in memory.
    pub(super) struct Router {
        pub(super) memory: Rc<RefCell<Memory>>,
        pub(super) reconciler: Reconciler<Fake>,
    }

    impl Router {
        pub(super) fn new(memory: Rc<RefCell<Memory>>) -> Self {
            let reconciler = Reconciler::new(Fake(memory.clone())).unwrap();
            Self { memory, reconciler }
        }

        fn hear(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Change> {
            self.memory.borrow_mut().written.clear();
            for event in events {
                if self.reconciler.absorb(event) {
                    self.reconciler.reconcile();
                }
            }
            self.memory.borrow().written.clone()
        }

        /// Events that are taken in together.
        pub(super) fn hear_at_once(&mut self, events: Vec<Event>) {
            let mut is_changed = false;
            for event in events {
                is_changed |= self.reconciler.absorb(event);
            }
            if is_changed {
                self.reconciler.reconcile();
            }
        }

        /// So many seconds after the start.
        fn at(&mut self, second: u64) -> Vec<Change> {
            self.reconciler.state.now = Duration::from_secs(second);
            self.hear([Event::Tick])
        }

        /// A server has so many flows, of which some are closing.
        fn has_flows(&self, id: u32, active: u32, inactive: u32, closing: u32) {
            let load = Load {
                active,
                inactive,
                closing,
                persistent: 5,
                ..Load::default()
            };
            self.memory.borrow_mut().loads.insert(id, load);
        }

        /// The answer to an order about a server of the service.
        fn order(&mut self, verb: Verb, server: &str, deadline: Option<u32>) -> String {
            let order = Order {
                verb,
                service: "web".to_owned(),
                server: server.to_owned(),
                deadline,
            };
            let (reply, mut answer) = tokio::sync::oneshot::channel();
            let who = "uid 0".to_owned();
            self.hear([Event::Ordered { order, who, reply }]);
            match answer.try_recv().unwrap() {
                Ok(text) => text,
                Err(unknown) => unknown.to_string(),
            }
        }

        fn status(&mut self) -> status::StatusReport {
            let (reply, mut answer) = tokio::sync::oneshot::channel();
            self.hear([Event::Status(reply)]);
            answer.try_recv().unwrap()
        }

        /// The ids in the ring of the service.
        fn ring(&self) -> Vec<u32> {
            let memory = self.memory.borrow();
            let service = memory.tables.services[&service_key(&ADDRESS)];
            memory
                .tables
                .rings
                .get(&service.ring)
                .filter(|_| service.slots > 0)
                .cloned()
                .unwrap_or_default()
        }

        fn weights(&self) -> Vec<(u32, u16)> {
            let memory = self.memory.borrow();
            memory
                .tables
                .servers
                .iter()
                .map(|(id, server)| (*id, server.weight))
                .collect()
        }
    }

    #[test]
    fn a_server_is_in_the_table_while_it_is_well() {
        let mut router = Router::new(Rc::default());
        router.hear([
            Event::Configured(site(Scheduler::Rr, false, &[1, 2])),
            way(1),
            way(2),
        ]);
        assert_eq!((router.ring(), router.weights()), (vec![], vec![]));
        router.hear([up(1)]);
        assert_eq!((router.ring(), router.weights()), (vec![1], vec![(1, 1)]));
        router.hear([up(2)]);
        assert_eq!(
            router.ring(),
            [2, 1],
            "the one that joined last comes first"
        );
        let changes = router.hear([down(1)]);
        assert_eq!((router.ring(), router.weights()), (vec![2], vec![(2, 1)]));
        assert!(
            matches!(
                changes[..],
                [Change::Ring(..), Change::Turn(..) | Change::Service(..), ..]
            ),
            "{changes:?}"
        );
        assert!(
            matches!(
                changes[..],
                [
                    ..,
                    Change::NoServer(1),
                    Change::NoAddress(_),
                    Change::Sieve(_, 0)
                ]
            ),
            "{changes:?}"
        );
        router.hear([up(1)]);
        assert_eq!(
            (router.ring(), router.weights()),
            (vec![1, 2], vec![(1, 1), (2, 1)])
        );
    }

    #[test]
    fn a_quiesced_server_may_finish() {
        let mut router = Router::new(Rc::default());
        router.hear([
            Event::Configured(site(Scheduler::Wlc, true, &[1])),
            way(1),
            up(1),
            down(1),
        ]);
        assert_eq!((router.ring(), router.weights()), (vec![], vec![(1, 0)]));
    }

    #[test]
    fn nannies_move_weights() {
        let weighs = |weight| {
            Event::Health(Report {
                service: SERVICE,
                server: socket(1),
                health: Health::Weighs { weight },
            })
        };
        let mut router = Router::new(Rc::default());
        // A weight that is known before the server comes is its weight from the first moment on.
        router.hear([
            Event::Configured(site(Scheduler::Wlc, false, &[1])),
            way(1),
            weighs(Some(7)),
            up(1),
        ]);
        // What is told, and the ring and the weight after it.
        let table: [(Event, &[u32], u16); 6] = [
            (up(1), &[1], 7),
            (weighs(Some(9)), &[1], 9),
            // It drains, and is in the table all the while.
            (weighs(Some(0)), &[], 0),
            (weighs(None), &[1], 1),
            (weighs(Some(3)), &[1], 3),
            // The file is read again: what nannies say stays.
            (Event::Configured(site(Scheduler::Wlc, true, &[1])), &[1], 3),
        ];
        for (event, ring, weight) in table {
            let shown = format!("{event:?}");
            router.hear([event]);
            assert_eq!(
                (router.ring(), router.weights()),
                (ring.to_vec(), vec![(1, weight)]),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_server_that_cannot_be_reached_gets_nothing_new() {
        let mut router = Router::new(Rc::default());
        router.hear([Event::Configured(site(Scheduler::Rr, false, &[1])), up(1)]);
        assert_eq!((router.ring(), router.weights()), (vec![], vec![(1, 1)]));
        router.hear([way(1)]);
        assert_eq!(router.ring(), [1]);
    }

    #[test]
    fn what_has_not_changed_is_not_written() {
        let mut router = Router::new(Rc::default());
        router.hear([
            Event::Configured(site(Scheduler::Sh, false, &[1])),
            way(1),
            up(1),
        ]);
        let again = Event::Configured(site(Scheduler::Sh, false, &[1]));
        assert_eq!(router.hear([again, way(1), up(1), Event::Tick]), []);
    }

    #[tokio::test]
    async fn whoever_waits_is_told_when_the_maps_are_as_they_ought_to_be() {
        let router = Router::new(Rc::default());
        let memory = router.memory.clone();
        let (events, queue) = mpsc::channel(8);
        let (reply, written) = oneshot::channel();
        let configured = Event::Configured(site(Scheduler::Rr, false, &[1]));
        for event in [configured, Event::Written(reply)] {
            events.send(event).await.unwrap();
        }
        let told = async {
            written.await.unwrap();
            assert_eq!(memory.borrow().tables.services.len(), 1);
            drop(events);
        };
        tokio::join!(router.reconciler.run(queue), told);
    }

    #[test]
    fn a_refused_write_is_tried_again() {
        let mut router = Router::new(Rc::default());
        router.memory.borrow_mut().refuse_every = 1;
        let events = [
            Event::Configured(site(Scheduler::Rr, false, &[1])),
            way(1),
            up(1),
        ];
        assert_eq!(router.hear(events), []);
        router.memory.borrow_mut().refuse_every = 0;
        router.hear([Event::Tick]);
        assert_eq!(router.ring(), [1]);
    }

    #[test]
    fn a_restarted_daemon_takes_over_what_forwards() {
        let mut before = Router::new(Rc::default());
        before.hear([
            Event::Configured(site(Scheduler::Rr, false, &[1, 2])),
            way(1),
            way(2),
            up(1),
            up(2),
        ]);
        let (ring, weights) = (before.ring(), before.weights());

        let mut after = Router::new(before.memory.clone());
        let changes = after.hear([Event::Configured(site(Scheduler::Rr, false, &[1, 2]))]);
        assert_eq!(after.weights(), weights, "{changes:?}");
        assert_eq!(
            after.ring(),
            ring,
            "nobody left although nobody was checked"
        );
        assert_eq!(changes, [], "what forwards already is not written again");
        after.hear([down(1)]);
        assert_eq!(after.ring(), [2]);
    }

    #[test]
    fn an_id_waits_for_the_last_flow() {
        let site = |servers: &[u8]| {
            let mut site = site(Scheduler::Rr, false, servers);
            Arc::make_mut(&mut site.services[0]).drain = Duration::ZERO;
            Event::Configured(site)
        };
        let mut router = Router::new(Rc::default());
        router.hear([site(&[1]), way(1), up(1)]);
        router.has_flows(1, 1, 0, 0);
        router.hear([site(&[2]), Event::Tick, way(2), up(2)]);
        assert_eq!(router.weights(), [(2, 1)]);
        router.memory.borrow_mut().loads.clear();
        router.hear([Event::Tick]);
        router.hear([site(&[2, 3]), way(3), up(3)]);
        assert_eq!(router.weights(), [(1, 1), (2, 1)]);
    }

    /// What was written besides what follows from addresses.
    fn besides_addresses(mut changes: Vec<Change>) -> Vec<Change> {
        changes.retain(|change| {
            !matches!(
                change,
                Change::Address(..) | Change::NoAddress(_) | Change::Sieve(..)
            )
        });
        changes
    }

    fn two_servers() -> Router {
        let mut router = Router::new(Rc::default());
        router.hear([
            Event::Configured(site(Scheduler::Rr, false, &[1, 2])),
            way(1),
            way(2),
            up(1),
            up(2),
        ]);
        router
    }

    #[test]
    fn a_server_that_leaves_the_file_may_finish() {
        let mut router = two_servers();
        router.has_flows(1, 3, 1, 1);
        router.hear([Event::Configured(site(Scheduler::Rr, false, &[2]))]);
        assert_eq!(
            (router.ring(), router.weights()),
            (vec![2], vec![(1, 0), (2, 1)])
        );
        let leaving = router.status().leaving;
        assert_eq!(leaving.len(), 1);
        assert_eq!((leaving[0].open, leaving[0].seconds_left), (3, 30));
        assert_eq!(router.at(29), []);
        assert_eq!(besides_addresses(router.at(30)), [Change::NoServer(1)]);
        assert_eq!(
            (router.weights(), router.status().leaving),
            (vec![(2, 1)], vec![])
        );
    }

    #[test]
    fn a_server_that_has_finished_leaves_before() {
        let mut router = two_servers();
        router.has_flows(1, 1, 2, 2);
        router.hear([Event::Configured(site(Scheduler::Rr, false, &[2]))]);
        assert_eq!(router.at(1), []);
        // Closing connections and clients that stay are not waited for.
        router.has_flows(1, 0, 3, 3);
        assert_eq!(besides_addresses(router.at(2)), [Change::NoServer(1)]);
    }

    #[test]
    fn a_server_that_comes_back_has_its_id_and_is_checked_first() {
        let mut router = two_servers();
        router.has_flows(1, 1, 0, 0);
        router.hear([Event::Configured(site(Scheduler::Rr, false, &[2]))]);
        router.hear([
            Event::Configured(site(Scheduler::Rr, false, &[1, 2])),
            way(1),
        ]);
        assert_eq!(
            (router.ring(), router.weights()),
            (vec![2], vec![(1, 0), (2, 1)])
        );
        router.hear([up(1)]);
        assert_eq!(router.weights(), [(1, 1), (2, 1)]);
        assert_eq!(router.at(60), []);
    }

    #[test]
    fn the_servers_of_a_service_that_is_gone_may_finish_too() {
        let mut router = two_servers();
        router.has_flows(1, 1, 0, 0);
        router.hear([Event::Configured(Site::default())]);
        assert_eq!(router.weights(), [(1, 0), (2, 0)]);
        assert_eq!(router.memory.borrow().tables.services.len(), 0);
        assert_eq!(besides_addresses(router.at(1)), [Change::NoServer(2)]);
        // Its packets are still found by both addresses, and by neither when it is gone.
        let roles = |router: &Router| -> Vec<Role> {
            let memory = router.memory.borrow();
            memory.tables.addresses.values().copied().collect()
        };
        assert!(roles(&router).contains(&Role::FORMER));
        assert!(roles(&router).contains(&Role::MASQUERADED));
        assert_eq!(besides_addresses(router.at(30)), [Change::NoServer(1)]);
        assert_eq!(roles(&router), []);
    }

    #[test]
    fn a_restarted_daemon_lets_them_finish_that_are_gone_from_the_file() {
        let before = two_servers();
        before.has_flows(1, 1, 0, 0);
        let mut after = Router::new(before.memory.clone());
        after.hear([Event::Configured(site(Scheduler::Rr, false, &[2]))]);
        assert_eq!(
            (after.ring(), after.weights()),
            (vec![2], vec![(1, 0), (2, 1)])
        );
        assert_eq!(besides_addresses(after.at(30)), [Change::NoServer(1)]);
    }

    #[test]
    fn orders_go_before_checks_and_say_what_became_of_them() {
        let mut router = two_servers();
        router.has_flows(1, 1, 0, 0);
        let draining = "10.0.1.1:80 of TCP 10.0.0.1:80: draining, for at most";
        assert_eq!(
            router.order(Verb::Drain, "rs1", None),
            format!("{draining} 30 s")
        );
        assert_eq!(
            (router.ring(), router.weights()),
            (vec![2], vec![(1, 0), (2, 1)])
        );
        router.at(10);
        assert_eq!(
            router.order(Verb::Drain, "10.0.1.1", None),
            format!("{draining} 20 s")
        );
        let text = router.order(Verb::Drain, "10.0.1.1:80", Some(60));
        assert_eq!(text, format!("{draining} 60 s"));
        let server = router.status().services[0].servers[0].clone();
        assert_eq!(server.state, status::ServerState::Draining);
        assert_eq!((server.open, server.seconds_left), (Some(1), Some(60)));
        assert_eq!(server.overridden.as_deref(), Some("drain"));

        // What was said survives a reload.
        router.hear([
            Event::Configured(site(Scheduler::Rr, false, &[1, 2])),
            up(1),
        ]);
        assert_eq!(router.weights(), [(1, 0), (2, 1)]);
        let changes = router.at(70);
        assert!(
            matches!(
                changes[..],
                [
                    Change::NoServer(1),
                    Change::NoAddress(_),
                    Change::Sieve(_, 0)
                ]
            ),
            "{changes:?}"
        );
        assert!(
            router
                .order(Verb::Drain, "rs1", Some(9))
                .ends_with(": drained")
        );
        assert_eq!(router.weights(), [(2, 1)]);

        router.order(Verb::Up, "rs1", None);
        router.hear([down(1)]);
        assert_eq!(router.weights(), [(1, 1), (2, 1)]);
        router.order(Verb::Auto, "rs1", None);
        assert_eq!(router.weights(), [(2, 1)]);
        router.order(Verb::Down, "rs2", None);
        assert_eq!((router.ring(), router.weights()), (vec![], vec![]));
        assert_eq!(
            router.order(Verb::Up, "rs3", None),
            "no real server is called “rs3”; there are rs1 (10.0.1.1:80), rs2 (10.0.1.2:80)"
        );
    }

    #[test]
    fn what_happens_is_told_once() {
        let mut with_sorry = site(Scheduler::Rr, false, &[1]);
        Arc::make_mut(&mut with_sorry.services[0]).sorry_server = Some(socket(9));
        let mut router = Router::new(Rc::default());
        let journal = Journal::default();
        router.reconciler.set_journal(journal.clone());
        router.hear([Event::Configured(with_sorry.clone()), way(1), way(9)]);
        router.hear([up(1)]);
        router.order(Verb::Down, "rs1", None);
        router.order(Verb::Down, "rs1", None);
        router.order(Verb::Auto, "rs1", None);
        let id = router.ring()[0];
        router.has_flows(id, 1, 0, 0);
        Arc::make_mut(&mut with_sorry.services[0]).servers.clear();
        router.hear([Event::Configured(with_sorry)]);
        router.at(30);

        let told = journal.page(Some(0), 100).events;
        let told: Vec<_> = told
            .iter()
            .map(|entry| (entry.kind, entry.server, &*entry.text))
            .collect();
        let stands_in = "the sorry server stands in: no real server takes connections";
        let expected = [
            (Kind::Sorry, None, stands_in),
            (Kind::Sorry, None, "the sorry server steps back"),
            (Kind::Ordered, Some(socket(1)), "ordered down"),
            (Kind::Sorry, None, stands_in),
            (Kind::Ordered, Some(socket(1)), "ordered down, as before"),
            (Kind::Ordered, Some(socket(1)), "ordered auto"),
            (Kind::Sorry, None, "the sorry server steps back"),
            (
                Kind::Leaving,
                Some(socket(1)),
                "is no longer wanted and may finish, for at most 30 s",
            ),
            (Kind::Sorry, None, stands_in),
            (
                Kind::Left,
                Some(socket(1)),
                "leaves the table: its time is over: 1 flows end",
            ),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_sorry_server_stands_in_while_there_is_no_other() {
        let mut with_sorry = site(Scheduler::Rr, false, &[1]);
        Arc::make_mut(&mut with_sorry.services[0]).sorry_server = Some(socket(9));
        let mut router = Router::new(Rc::default());
        router.hear([Event::Configured(with_sorry), way(1)]);
        assert!(router.ring().is_empty(), "its way is not known");
        router.hear([way(9)]);
        let sorry = router.ring();
        assert_eq!((sorry.len(), router.weights()), (1, vec![(sorry[0], 1)]));
        assert!(
            router.status().services[0]
                .sorry
                .as_ref()
                .is_some_and(|it| it.active)
        );

        router.has_flows(sorry[0], 1, 0, 0);
        router.hear([up(1)]);
        let other = router.ring();
        assert_ne!(other, sorry);
        assert_eq!(router.weights(), [(sorry[0], 0), (other[0], 1)]);
        assert_eq!(router.at(29), []);
        assert_eq!(
            besides_addresses(router.at(30)),
            [Change::NoServer(sorry[0])]
        );

        router.hear([down(1)]);
        assert_eq!(
            (router.ring(), router.weights()),
            (sorry.clone(), vec![(sorry[0], 1)])
        );
        // It does not matter that it was about to leave.
        router.hear([up(1), down(1)]);
        assert_eq!(
            (router.ring(), router.weights()),
            (sorry.clone(), vec![(sorry[0], 1)])
        );
        assert_eq!(router.at(90), []);
        assert_eq!(router.status().leaving, []);
    }

    #[test]
    fn what_a_service_has_counted_never_goes_down() {
        let mut router = two_servers();
        let traffic = |connections| Traffic {
            connections,
            packets_in: 2 * connections,
            ..Traffic::default()
        };
        for (id, connections) in [(1, 100), (2, 20)] {
            let mut memory = router.memory.borrow_mut();
            memory.traffic.insert(id, traffic(connections));
        }
        let counted = |router: &mut Router| {
            let service = &router.status().services[0];
            (service.connections, service.packets_in)
        };
        assert_eq!(counted(&mut router), (120, 240));
        router.hear([Event::Configured(site(Scheduler::Rr, false, &[2]))]);
        router.at(1);
        router.at(2);
        assert_eq!(counted(&mut router), (120, 240), "one has left");
        // Another one gets its id, and begins to count anew.
        router.hear([
            Event::Configured(site(Scheduler::Rr, false, &[2, 3])),
            way(3),
            up(3),
        ]);
        assert_eq!(router.weights(), [(1, 1), (2, 1)]);
        let services = router.status().services;
        let each: Vec<_> = services[0]
            .servers
            .iter()
            .map(|it| it.connections)
            .collect();
        assert_eq!(each, [20, 0]);
        router.memory.borrow_mut().traffic.insert(1, traffic(3));
        assert_eq!(counted(&mut router), (123, 246));
    }

    #[test]
    fn a_router_itself_may_be_a_real_server() {
        let mut router = two_servers();
        router.hear([Event::Way(Resolved {
            address: socket(1).ip(),
            resolution: Resolution::Local,
        })]);
        let server = router.status().services[0].servers[0].clone();
        assert!(server.local && server.unreachable.is_none());
        assert_eq!(server.state, status::ServerState::Up);
        assert_eq!(router.ring(), [2, 1]);
        let method = router.memory.borrow().tables.servers[&1].method;
        assert_eq!(method, MethodKind::LOCAL);
    }
}
