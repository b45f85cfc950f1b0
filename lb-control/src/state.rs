//! What the director knows: the sum of all events, and which services they have changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use lb_common::maps::Vlan;

use crate::{
    drain::{Drain, Ended, Why},
    health::{Health, Report},
    ids::Identity,
    model::{
        Method, Origin, Protocol, RealServer, ServiceAddress, ServiceId, Site, VirtualService,
    },
    network::next_hop::{Resolution, Resolved},
    turnover::{self, turnover},
};

/// A real server of a service.
pub type ServerKey = (ServiceId, SocketAddr);

/// What the director knows.
#[derive(Debug, Default)]
pub struct State {
    /// What lvs.cf says.
    pub site: Site,
    /// How long the daemon has run: the clock by which all times here are told.
    pub now: Duration,
    /// The services of the site.
    services: HashMap<ServiceId, Known>,
    /// The VLAN interfaces by index.
    pub vlans: BTreeMap<u32, Vlan>,
    /// The ways to real servers.
    ways: HashMap<IpAddr, Way>,
    /// Which services have servers at which address.
    users: BTreeSet<(IpAddr, ServiceId)>,
    /// How many servers have joined their tables so far.
    joins: u64,
    /// Those whom an operator lets finish until a time.
    draining: BTreeSet<ServerKey>,
    /// Those that are no longer asked for and may finish, and until when.
    leaving: BTreeMap<Identity, Duration>,
    /// The key of mh's hash if lvs.cf gives none.
    secret: [u64; 2],
    /// The services of which something has changed that the tables depend on.
    changed: Changed,
}

/// Services, each once, in the order in which they changed.
#[derive(Debug, Default)]
struct Changed {
    order: Vec<ServiceId>,
    all: HashSet<ServiceId>,
}

/// What is known of a service.
#[derive(Debug)]
struct Known {
    service: Arc<VirtualService>,
    servers: BTreeMap<SocketAddr, Standing>,
}

/// What is known of a real server.
#[derive(Debug, Clone, Copy)]
struct Standing {
    method: Method,
    /// What the nannies say last; nothing of a server that was never checked.
    is_up: Option<IsUp>,
    /// When it joined its table, as a number that goes up: the order of IPVS's list. Nothing while it is not
    /// in it.
    joined: Option<u64>,
    /// What an operator said, which goes before what nannies say.
    said: Option<Override>,
    /// The weight that nannies give it in place of the configured one.
    weight: Option<u16>,
}

/// What is known of the way to an address.
#[derive(Debug)]
struct Way {
    resolution: Resolution,
    /// Whether it was known once.
    was_resolved: bool,
}

/// Whether a nanny found its server well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsUp {
    Yes,
    No,
}

/// What an operator said of a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    /// It is well, whatever its nanny says.
    Up,
    /// It is out of the table, whatever its nanny says.
    Down,
    /// It gets nothing new and leaves the table when it has finished.
    Drain(Drain),
}

/// What becomes of a real server that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    /// It leaves the table.
    Leaves,
    /// It stays with weight 0.
    Quiesces,
}

/// Which part a real server plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It is in the table with its weight; `joined` orders the members.
    Member {
        /// The higher, the later it joined.
        joined: u64,
    },
    /// It is in the table with weight 0: what it has it may finish.
    Quiesced {
        /// As of a member.
        joined: u64,
    },
    /// The same until a time, because an operator said so.
    Draining {
        /// As of a member.
        joined: u64,
        /// When it leaves the table, by [`State::now`].
        deadline: Duration,
    },
    /// It is not in the table.
    Out,
}

impl State {
    /// lvs.cf was read. What is known of servers that are still in it stays; those that are in the
    /// tables and no longer in it may finish what they have: `in_tables` tells those of a service. Who leaves
    /// now, and until when.
    pub fn configure<Found>(
        &mut self,
        mut site: Site,
        mut in_tables: impl FnMut(ServiceId) -> Found,
    ) -> Vec<(Identity, Duration)>
    where
        Found: IntoIterator<Item = Identity>,
    {
        if site.settings.secret == [0; 2] {
            site.settings.secret = self.secret;
        }
        if site.settings.secret != self.site.settings.secret {
            self.changed.extend(self.services.keys().copied());
        }
        let difference = turnover(&self.site.services, &mut site.services);
        self.site = site;
        // Before the others are taken away: what is known of an address is not lost between two services.
        for service in &difference.come {
            let users = turnover::addresses(service);
            self.users
                .extend(users.map(|address| (address, service.key)));
        }
        let come: HashSet<_> = difference.come.iter().map(|service| service.key).collect();
        for service in &difference.gone {
            self.changed.push(service.key);
            if !come.contains(&service.key)
                && let Some(known) = self.services.remove(&service.key)
            {
                self.end_draining(service.key, &known.servers);
            }
        }
        let mut leave = Vec::new();
        for service in &difference.come {
            self.changed.push(service.key);
            self.learn(service);
        }
        for service in &difference.gone {
            self.forget_addresses(service);
            let is_there = self.services.get(&service.key);
            let drain = is_there.map_or(service.drain, |known| known.service.drain);
            for identity in in_tables(service.key) {
                leave.extend(self.found(identity, drain));
            }
        }
        self.presume(&difference.come);
        leave
    }

    /// A service is as lvs.cf says now. What is known of its servers stays.
    fn learn(&mut self, service: &Arc<VirtualService>) {
        let mut before = self
            .services
            .remove(&service.key)
            .map(|known| known.servers)
            .unwrap_or_default();
        let standing = |server: &RealServer| {
            let known = before.remove(&server.socket).unwrap_or(Standing::NEW);
            let method = server.forwarding.method();
            // Whom nobody watches has the weight that is configured.
            let weight = known.weight.filter(|_| service.probe.is_some());
            let known = Standing { weight, ..known };
            (server.socket, Standing { method, ..known })
        };
        let known = Known {
            service: Arc::clone(service),
            servers: service.servers.iter().map(standing).collect(),
        };
        self.services.insert(service.key, known);
        self.end_draining(service.key, &before);
    }

    /// These servers of a service are no longer in lvs.cf: what an operator said is forgotten.
    fn end_draining(&mut self, service: ServiceId, gone: &BTreeMap<SocketAddr, Standing>) {
        for (socket, standing) in gone {
            if is_draining(standing.said) {
                self.draining.remove(&(service, *socket));
            }
        }
    }

    /// A service is not, or no longer as it was: what is known of addresses that nobody has any more goes.
    fn forget_addresses(&mut self, before: &VirtualService) {
        let key = before.key;
        let still: HashSet<_> = self
            .services
            .get(&key)
            .into_iter()
            .flat_map(|known| turnover::addresses(&known.service))
            .collect();
        for address in turnover::addresses(before) {
            if !still.contains(&address) && self.users.remove(&(address, key)) {
                let is_used = self.users_of(address).next().is_some();
                if !is_used {
                    self.ways.remove(&address);
                }
            }
        }
    }

    /// The services with servers at an address.
    fn users_of(&self, address: IpAddr) -> impl Iterator<Item = ServiceId> {
        let users = self.users.range((address, FIRST_SERVICE)..);
        users
            .take_while(move |(other, _)| *other == address)
            .map(|(_, service)| *service)
    }

    /// A server is in the tables: if it is asked for it stays, else it may finish for as long as this. Until
    /// when, if it leaves now.
    pub fn found(&mut self, identity: Identity, drain: Duration) -> Option<(Identity, Duration)> {
        if self.wants(&identity) {
            self.come_back(&identity);
            return None;
        }
        self.let_leave(identity, drain)
    }

    /// How long servers of a service may finish, as far as lvs.cf says.
    #[must_use]
    pub fn drain_of(&self, service: ServiceId) -> Duration {
        let known = self.services.get(&service);
        known.map_or(VirtualService::DRAIN, |known| known.service.drain)
    }

    /// The services that have changed since this was asked last.
    pub fn take_changed(&mut self) -> Vec<ServiceId> {
        std::mem::take(&mut self.changed).order
    }

    /// These services are looked at again.
    pub fn look_at_again(&mut self, services: impl IntoIterator<Item = ServiceId>) {
        self.changed.extend(services);
    }

    /// A service of the site.
    #[must_use]
    pub fn service(&self, key: ServiceId) -> Option<&Arc<VirtualService>> {
        self.services.get(&key).map(|known| &known.service)
    }

    /// The key of mh's hash where lvs.cf gives none.
    pub const fn set_secret(&mut self, secret: [u64; 2]) {
        self.secret = secret;
    }

    /// A nanny reports. One that watched a server which is no longer in lvs.cf is not heard.
    pub fn report(&mut self, report: Report) {
        self.change((report.service, report.server), |standing| {
            match report.health {
                Health::Up => standing.is_up = Some(IsUp::Yes),
                Health::Down { .. } => standing.is_up = Some(IsUp::No),
                Health::Weighs { weight } => standing.weight = weight,
            }
        });
    }

    /// An operator says what is to become of a real server, or that its nanny decides again. One
    /// that is not in lvs.cf is left alone.
    pub fn set_override(&mut self, key: ServerKey, wanted: Option<Override>) {
        self.change(key, |standing| standing.said = wanted);
    }

    /// Something is known of a server, who joins its table or leaves it by that. What is not in lvs.cf is left
    /// alone.
    fn change(&mut self, key: ServerKey, change: impl FnOnce(&mut Standing)) {
        let (service, socket) = key;
        let Some(known) = self.services.get_mut(&service) else {
            return;
        };
        let Some(standing) = known.servers.get_mut(&socket) else {
            return;
        };
        let before = *standing;
        change(standing);
        standing.settle(on_failure(&known.service), &mut self.joins);
        if standing.part() != before.part() || standing.weight != before.weight {
            self.changed.push(service);
        }
        match (is_draining(before.said), is_draining(standing.said)) {
            (false, true) => drop(self.draining.insert(key)),
            (true, false) => drop(self.draining.remove(&key)),
            (true, true) | (false, false) => {}
        }
    }

    /// The weight of a real server while it is a member, if nannies give it another one than is configured.
    #[must_use]
    pub fn weight(&self, key: &ServerKey) -> Option<u16> {
        self.standing(key)?.weight
    }

    /// What an operator said of a real server.
    #[must_use]
    pub fn overridden(&self, key: &ServerKey) -> Option<Override> {
        self.standing(key)?.said
    }

    /// How long a real server may finish what it has, unless an operator says otherwise.
    #[must_use]
    pub fn drain(&self, (service, socket): &ServerKey) -> Duration {
        let known = self.services.get(service);
        known
            .filter(|known| known.servers.contains_key(socket))
            .map_or(Duration::ZERO, |known| known.service.drain)
    }

    /// Lets a server that is in the tables and no longer asked for finish what it has, for as long as
    /// this. One that is leaving already has no more time than it had. Until when, if it leaves now.
    pub fn let_leave(
        &mut self,
        identity: Identity,
        drain: Duration,
    ) -> Option<(Identity, Duration)> {
        if drain.is_zero() || self.leaving.contains_key(&identity) {
            return None;
        }
        let deadline = self.now.saturating_add(drain);
        self.leaving.insert(identity, deadline);
        self.changed.push(identity.0);
        Some((identity, deadline))
    }

    /// Those that are no longer asked for and may finish what they have, and until when.
    #[must_use]
    pub const fn leaving(&self) -> &BTreeMap<Identity, Duration> {
        &self.leaving
    }

    /// Those of one service.
    pub fn leaving_of(&self, service: ServiceId) -> impl Iterator<Item = Identity> {
        let first = (service, FIRST_SOCKET, Method::Nat);
        let leaving = self.leaving.range(first..);
        leaving
            .take_while(move |((other, ..), _)| *other == service)
            .map(|(identity, _)| *identity)
    }

    /// This one does not leave any more: it is asked for again, or is not in the tables.
    pub fn forget_leaving(&mut self, identity: &Identity) {
        self.leaving.remove(identity);
    }

    /// Ends the time of those that have none left, or nothing left to finish: `open` says how many
    /// flows a server has that are not closing. They are out of the tables from now on.
    pub fn end_drains(&mut self, open: impl Fn(&Identity) -> u32) -> Vec<Ended> {
        let mut ended = Vec::new();
        let now = self.now;
        let why = |deadline: Duration, identity: &Identity| match open(identity) {
            0 => Some(Why::Finished),
            left if deadline <= now => Some(Why::Deadline { left }),
            _ => None,
        };
        let changed = &mut self.changed;
        self.leaving.retain(|identity, deadline| {
            let why = why(*deadline, identity);
            if why.is_some() {
                changed.push(identity.0);
            }
            ended.extend(why.map(|why| Ended::new(identity, why)));
            why.is_none()
        });
        let mut out = Vec::new();
        for key in &self.draining {
            let Some(standing) = self.standing(key) else {
                continue;
            };
            let Some(Override::Drain(Drain::Until(deadline))) = standing.said else {
                continue;
            };
            let identity = (key.0, key.1, standing.method);
            if let Some(why) = why(deadline, &identity) {
                ended.push(Ended::new(&identity, why));
                out.push(*key);
            }
        }
        for key in out {
            self.set_override(key, Some(Override::Drain(Drain::Done)));
        }
        ended
    }

    /// A server that was about to leave is asked for again. Until it was checked it gets nothing new.
    fn come_back(&mut self, identity: &Identity) {
        if self.leaving.remove(identity).is_some() {
            let (service, socket, _) = *identity;
            let joins = &mut self.joins;
            let known = self.services.get_mut(&service);
            if let Some(standing) = known.and_then(|known| known.servers.get_mut(&socket)) {
                standing.join(joins);
            }
            self.changed.push(service);
        }
    }

    /// Whether lvs.cf asks for this server by this method.
    #[must_use]
    pub fn wants(&self, (service, socket, method): &Identity) -> bool {
        self.standing(&(*service, *socket))
            .is_some_and(|standing| standing.method == *method)
    }

    /// Whether lvs.cf asks for this one as a sorry server.
    #[must_use]
    pub fn wants_sorry(&self, (service, socket, method): &Identity) -> bool {
        self.service(*service).is_some_and(|service| {
            service.sorry_server == Some(*socket) && service.forwarding.method() == *method
        })
    }

    /// A way is known, or no longer. One to an address that no server has is of no use.
    pub fn resolve(&mut self, resolved: Resolved) {
        let Resolved {
            address,
            resolution,
        } = resolved;
        if self.users_of(address).next().is_none() {
            return;
        }
        let before = self.ways.get(&address);
        if before.is_some_and(|way| way.resolution == resolution) {
            return;
        }
        let was_resolved = before.is_some_and(|way| way.was_resolved)
            || matches!(resolution, Resolution::Resolved(_));
        let way = Way {
            resolution,
            was_resolved,
        };
        self.ways.insert(address, way);
        let users: Vec<_> = self.users_of(address).collect();
        self.changed.extend(users);
    }

    /// The part of a real server.
    #[must_use]
    pub fn part(&self, key: &ServerKey) -> Part {
        self.standing(key).map_or(Part::Out, Standing::part)
    }

    /// Takes a server for a member that it was before the daemon started: it forwards already, and
    /// the nanny will say soon whether it may go on.
    pub fn presume_member(&mut self, (service, socket): ServerKey) {
        let known = self.services.get_mut(&service);
        if let Some(standing) = known.and_then(|known| known.servers.get_mut(&socket)) {
            standing.is_up = Some(IsUp::Yes);
            standing.join(&mut self.joins);
            self.changed.push(service);
        }
    }

    /// Takes servers for well that nobody watches, or that are to be until they were checked, in the order
    /// in which the site names them.
    fn presume(&mut self, services: &[Arc<VirtualService>]) {
        for service in services {
            let Some(known) = self.services.get_mut(&service.key) else {
                continue;
            };
            for server in &service.servers {
                let Some(standing) = known.servers.get_mut(&server.socket) else {
                    continue;
                };
                let is_new = match standing.is_up {
                    Some(IsUp::Yes) => false,
                    Some(IsUp::No) => service.probe.is_none(),
                    None => service.probe.is_none() || server.origin == Origin::Command,
                };
                if is_new {
                    standing.is_up = Some(IsUp::Yes);
                    standing.settle(on_failure(service), &mut self.joins);
                }
            }
        }
    }

    /// The way to a real server, if it is known.
    #[must_use]
    pub fn way(&self, address: IpAddr) -> Option<&Resolution> {
        self.ways.get(&address).map(|way| &way.resolution)
    }

    /// Whether the way to a real server was known once since the daemon started.
    #[must_use]
    pub fn was_resolved(&self, address: IpAddr) -> bool {
        self.ways.get(&address).is_some_and(|way| way.was_resolved)
    }

    /// Whether this real server is in lvs.cf.
    #[must_use]
    pub fn has(&self, key: &ServerKey) -> bool {
        self.standing(key).is_some()
    }

    fn standing(&self, (service, socket): &ServerKey) -> Option<&Standing> {
        self.services.get(service)?.servers.get(socket)
    }
}

impl Standing {
    /// A server of which nothing is known.
    const NEW: Self = Self {
        method: Method::Nat,
        is_up: None,
        joined: None,
        said: None,
        weight: None,
    };

    /// Puts it into its table or takes it out, as nanny and operator say.
    fn settle(&mut self, on_failure: OnFailure, joins: &mut u64) {
        let leaves = on_failure == OnFailure::Leaves;
        match (self.said, self.is_up) {
            (Some(Override::Up), _) | (None, Some(IsUp::Yes)) => self.join(joins),
            (Some(Override::Down | Override::Drain(Drain::Done)), _) => self.joined = None,
            (Some(Override::Drain(Drain::Until(_))) | None, Some(IsUp::No)) if leaves => {
                self.joined = None;
            }
            (Some(Override::Drain(Drain::Until(_))) | None, _) => {}
        }
    }

    fn join(&mut self, joins: &mut u64) {
        self.joined.get_or_insert_with(|| {
            *joins += 1;
            *joins
        });
    }

    fn part(&self) -> Part {
        let Some(joined) = self.joined else {
            return Part::Out;
        };
        match (self.said, self.is_up) {
            (Some(Override::Up), _) | (None, Some(IsUp::Yes)) => Part::Member { joined },
            (Some(Override::Drain(Drain::Until(deadline))), _) => {
                Part::Draining { joined, deadline }
            }
            (Some(Override::Down | Override::Drain(Drain::Done)), _) => Part::Out,
            (None, Some(IsUp::No) | None) => Part::Quiesced { joined },
        }
    }
}

impl Changed {
    fn push(&mut self, service: ServiceId) {
        if self.all.insert(service) {
            self.order.push(service);
        }
    }

    fn extend(&mut self, services: impl IntoIterator<Item = ServiceId>) {
        for service in services {
            self.push(service);
        }
    }
}

const FIRST_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// No socket comes before this one.
pub const FIRST_SOCKET: SocketAddr = SocketAddr::new(FIRST_ADDRESS, 0);

/// No service comes before this one.
const FIRST_SERVICE: ServiceId = ServiceId::Address(ServiceAddress {
    address: FIRST_ADDRESS,
    port: 0,
    protocol: Protocol::Tcp,
});

fn on_failure(service: &VirtualService) -> OnFailure {
    if service.quiesce {
        OnFailure::Quiesces
    } else {
        OnFailure::Leaves
    }
}

const fn is_draining(said: Option<Override>) -> bool {
    matches!(said, Some(Override::Drain(Drain::Until(_))))
}

#[cfg(test)]
impl State {
    /// What is kept beside the site is what follows from it.
    pub(crate) fn check(&self, place: &str) {
        let site = &self.site.services;
        assert_eq!(self.services.len(), site.len(), "{place}");
        let mut users = BTreeSet::new();
        let mut draining = BTreeSet::new();
        for service in site {
            let known = &self.services[&service.key];
            assert!(Arc::ptr_eq(&known.service, service), "{place}");
            let sockets: BTreeSet<_> = service.servers.iter().map(|it| it.socket).collect();
            assert!(known.servers.keys().eq(&sockets), "{place}");
            users.extend(turnover::addresses(service).map(|it| (it, service.key)));
            let said = known.servers.iter().filter(|(_, it)| is_draining(it.said));
            draining.extend(said.map(|(socket, _)| (service.key, *socket)));
        }
        assert_eq!(self.users, users, "{place}");
        assert_eq!(self.draining, draining, "{place}");
        let used: BTreeSet<_> = users.iter().map(|(address, _)| *address).collect();
        assert!(self.ways.keys().all(|it| used.contains(it)), "{place}");
        assert!(self.changed.order.is_empty(), "{place}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        health::Failure,
        model::{Check, Forwarding, Probe, Scheduler},
    };

    const ADDRESS: ServiceAddress = ServiceAddress {
        address: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        port: 80,
        protocol: Protocol::Tcp,
    };
    const SERVICE: ServiceId = ServiceId::Address(ADDRESS);

    /// What happens to the server.
    enum Step {
        Well,
        Failed,
        Told(Option<Override>),
        /// A second has passed, and it has so many flows open.
        Tick(u32),
        /// lvs.cf is read again: with it, or without.
        Reload(bool),
    }
    use Step::{Failed, Reload, Tick, Told, Well};

    fn key() -> ServerKey {
        (SERVICE, SocketAddr::from(([10, 0, 1, 1], 80)))
    }

    fn site(quiesce: bool, is_in: bool) -> Site {
        let probe = Probe::new(
            Check::Talk {
                send: None,
                expect: None,
            },
            Duration::from_secs(1),
            Duration::from_secs(1),
        );
        let servers = is_in.then(|| RealServer::new("rs", key().1, Forwarding::Nat, 1));
        Site {
            services: vec![Arc::new(VirtualService {
                quiesce,
                servers: servers.into_iter().collect(),
                ..VirtualService::new("web", ADDRESS, Scheduler::Rr, probe)
            })],
            ..Site::default()
        }
    }

    fn report(health: Health) -> Report {
        Report {
            service: SERVICE,
            server: key().1,
            health,
        }
    }

    fn shown(state: &State) -> String {
        let part = match state.part(&key()) {
            Part::Member { .. } => "member".to_owned(),
            Part::Quiesced { .. } => "quiesced".to_owned(),
            Part::Draining { deadline, .. } => format!("draining until {}", deadline.as_secs()),
            Part::Out => "out".to_owned(),
        };
        match state.leaving().values().next() {
            Some(deadline) => format!("{part}, leaving until {}", deadline.as_secs()),
            None => part,
        }
    }

    fn until(seconds: u64) -> Option<Override> {
        Some(Override::Drain(Drain::Until(Duration::from_secs(seconds))))
    }

    #[test]
    fn nanny_operator_and_time_decide_together() {
        const UP: Option<Override> = Some(Override::Up);
        const DOWN: Option<Override> = Some(Override::Down);
        const DONE: Option<Override> = Some(Override::Drain(Drain::Done));
        // What it shows; whether a server that fails stays; at which second what happens, and what
        // part the server plays then.
        type Row<'a> = (&'a str, bool, &'a [(u64, Step, &'a str)]);
        let table: [Row; 12] = [
            (
                "a nanny alone",
                false,
                &[(0, Well, "member"), (1, Failed, "out"), (2, Well, "member")],
            ),
            (
                "a nanny alone, with quiesce_server",
                true,
                &[
                    (0, Failed, "out"),
                    (1, Well, "member"),
                    (2, Failed, "quiesced"),
                ],
            ),
            (
                "up goes before the nanny, which is heard again after auto",
                false,
                &[
                    (0, Told(UP), "member"),
                    (1, Failed, "member"),
                    (2, Told(UP), "member"),
                    (3, Told(None), "out"),
                    (4, Well, "member"),
                ],
            ),
            (
                "down goes before the nanny",
                true,
                &[
                    (0, Well, "member"),
                    (1, Told(DOWN), "out"),
                    (2, Failed, "out"),
                    (3, Well, "out"),
                    (4, Told(None), "member"),
                ],
            ),
            (
                "a drained server leaves at its deadline and stays out",
                false,
                &[
                    (0, Well, "member"),
                    (1, Told(until(31)), "draining until 31"),
                    (30, Tick(7), "draining until 31"),
                    (31, Tick(7), "out"),
                    (32, Well, "out"),
                    (33, Told(UP), "member"),
                ],
            ),
            (
                "one that has finished leaves before",
                false,
                &[
                    (0, Well, "member"),
                    (1, Told(until(31)), "draining until 31"),
                    (2, Tick(1), "draining until 31"),
                    (3, Tick(0), "out"),
                    (4, Told(None), "member"),
                ],
            ),
            (
                "one that has no time leaves at once",
                false,
                &[(0, Well, "member"), (1, Told(DONE), "out")],
            ),
            (
                "one that dies while it drains leaves at once",
                false,
                &[
                    (0, Well, "member"),
                    (1, Told(until(31)), "draining until 31"),
                    (2, Failed, "out"),
                    (3, Tick(9), "out"),
                ],
            ),
            (
                "but not with quiesce_server",
                true,
                &[
                    (0, Well, "member"),
                    (1, Told(until(31)), "draining until 31"),
                    (2, Failed, "draining until 31"),
                    (3, Told(None), "quiesced"),
                ],
            ),
            (
                "one that leaves lvs.cf may finish, and its time does not begin anew",
                false,
                &[
                    (0, Well, "member"),
                    (10, Reload(false), "out, leaving until 40"),
                    (20, Reload(false), "out, leaving until 40"),
                    (39, Tick(1), "out, leaving until 40"),
                    (40, Tick(1), "out"),
                ],
            ),
            (
                "one that comes back gets nothing until it was checked",
                false,
                &[
                    (0, Well, "member"),
                    (10, Reload(false), "out, leaving until 40"),
                    (20, Reload(true), "quiesced"),
                    (21, Well, "member"),
                ],
            ),
            (
                "what an operator said is forgotten with the server",
                false,
                &[
                    (0, Well, "member"),
                    (1, Told(DOWN), "out"),
                    (2, Reload(true), "out"),
                    (3, Reload(false), "out, leaving until 33"),
                    (4, Reload(true), "quiesced"),
                    (5, Well, "member"),
                ],
            ),
        ];
        for (what, quiesce, steps) in table {
            let mut state = State::default();
            state.configure(site(quiesce, true), |_| []);
            for (second, step, expected) in steps {
                state.now = Duration::from_secs(*second);
                match step {
                    Well => state.report(report(Health::Up)),
                    Failed => {
                        let reason = Failure::Empty {
                            expected: "x".to_owned(),
                        };
                        state.report(report(Health::Down { reason }));
                    }
                    Told(wanted) => state.set_override(key(), *wanted),
                    Tick(open) => drop(state.end_drains(|_| *open)),
                    Reload(is_in) => {
                        let in_tables = (SERVICE, key().1, Method::Nat);
                        state.configure(site(quiesce, *is_in), |_| [in_tables]);
                    }
                }
                assert_eq!(shown(&state), *expected, "{what}, at second {second}");
            }
        }
    }
}
