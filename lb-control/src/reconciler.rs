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
mod tests;
