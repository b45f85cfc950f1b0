//! What the director knows: the sum of all events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_common::maps::Vlan;

use crate::{
    drain::{Drain, Ended, Why},
    health::{Health, Report},
    ids::Identity,
    model::{Method, Origin, ServiceId, Site, VirtualService},
    network::next_hop::{Resolution, Resolved},
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
    /// The real servers of the site.
    servers: BTreeMap<ServerKey, Terms>,
    /// The VLAN interfaces by index.
    pub vlans: BTreeMap<u32, Vlan>,
    /// What the nannies say last. A server that was never checked is not in it.
    health: BTreeMap<ServerKey, IsUp>,
    /// The ways to real servers.
    ways: BTreeMap<IpAddr, Resolution>,
    /// The addresses whose ways were known once.
    resolved: BTreeSet<IpAddr>,
    /// When each server joined its table, as a number that goes up: the order of IPVS's list.
    joined: BTreeMap<ServerKey, u64>,
    joins: u64,
    /// What operators said, which goes before what nannies say.
    overrides: BTreeMap<ServerKey, Override>,
    /// Those that are no longer asked for and may finish, and until when.
    leaving: BTreeMap<Identity, Duration>,
    /// The key of mh's hash if lvs.cf gives none.
    secret: [u64; 2],
}

/// Whether a nanny found its server well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsUp {
    Yes,
    No,
}

/// What lvs.cf says of a real server.
#[derive(Debug, Clone, Copy)]
struct Terms {
    on_failure: OnFailure,
    /// How long it may finish what it has.
    drain: Duration,
    method: Method,
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
    /// tables and no longer in it may finish what they have.
    pub fn configure(&mut self, mut site: Site, in_tables: impl IntoIterator<Item = Identity>) {
        if site.settings.secret == [0; 2] {
            site.settings.secret = self.secret;
        }
        let before = std::mem::replace(&mut self.site, site);
        self.servers = servers(&self.site);
        let Self {
            servers,
            health,
            joined,
            overrides,
            ..
        } = self;
        health.retain(|key, _| servers.contains_key(key));
        joined.retain(|key, _| servers.contains_key(key));
        overrides.retain(|key, _| servers.contains_key(key));
        for identity in in_tables {
            if self.wants(&identity) {
                self.come_back(&identity);
            } else {
                let drain = self.drain_of(&before, identity.0);
                self.let_leave(identity, drain);
            }
        }
        self.presume();
        let addresses = self.addresses_to_follow();
        self.ways.retain(|address, _| addresses.contains(address));
        self.resolved.retain(|address| addresses.contains(address));
    }

    /// The key of mh's hash where lvs.cf gives none.
    pub const fn set_secret(&mut self, secret: [u64; 2]) {
        self.secret = secret;
    }

    /// A nanny reports. One that watched a server which is no longer in lvs.cf is not heard.
    pub fn report(&mut self, report: Report) {
        let key = (report.service, report.server);
        if !self.servers.contains_key(&key) {
            return;
        }
        let is_up = match report.health {
            Health::Up => IsUp::Yes,
            Health::Down { .. } => IsUp::No,
        };
        self.health.insert(key, is_up);
        self.settle(key);
    }

    /// An operator says what is to become of a real server, or that its nanny decides again. One
    /// that is not in lvs.cf is left alone.
    pub fn set_override(&mut self, key: ServerKey, wanted: Option<Override>) {
        if !self.servers.contains_key(&key) {
            return;
        }
        match wanted {
            Some(wanted) => self.overrides.insert(key, wanted),
            None => self.overrides.remove(&key),
        };
        self.settle(key);
    }

    /// What an operator said of a real server.
    #[must_use]
    pub fn overridden(&self, key: &ServerKey) -> Option<Override> {
        self.overrides.get(key).copied()
    }

    /// How long a real server may finish what it has, unless an operator says otherwise.
    #[must_use]
    pub fn drain(&self, key: &ServerKey) -> Duration {
        self.servers
            .get(key)
            .map_or(Duration::ZERO, |terms| terms.drain)
    }

    /// Lets a server that is in the tables and no longer asked for finish what it has, for as long as
    /// this. One that is leaving already has no more time than it had.
    pub fn let_leave(&mut self, identity: Identity, drain: Duration) {
        if !drain.is_zero() {
            let deadline = self.now.saturating_add(drain);
            self.leaving.entry(identity).or_insert(deadline);
        }
    }

    /// Those that are no longer asked for and may finish what they have, and until when.
    #[must_use]
    pub const fn leaving(&self) -> &BTreeMap<Identity, Duration> {
        &self.leaving
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
        self.leaving.retain(|identity, deadline| {
            let why = why(*deadline, identity);
            ended.extend(why.map(|why| Ended::new(identity, why)));
            why.is_none()
        });
        let mut out = Vec::new();
        for (key, said) in &mut self.overrides {
            let (Override::Drain(Drain::Until(deadline)), Some(terms)) =
                (*said, self.servers.get(key))
            else {
                continue;
            };
            let identity = (key.0, key.1, terms.method);
            if let Some(why) = why(deadline, &identity) {
                *said = Override::Drain(Drain::Done);
                ended.push(Ended::new(&identity, why));
                out.push(*key);
            }
        }
        for key in out {
            self.settle(key);
        }
        ended
    }

    /// Puts a real server into its table or takes it out, as nanny and operator say.
    fn settle(&mut self, key: ServerKey) {
        let Some(terms) = self.servers.get(&key) else {
            return;
        };
        let leaves = terms.on_failure == OnFailure::Leaves;
        let is_up = self.health.get(&key);
        match (self.overrides.get(&key), is_up) {
            (Some(Override::Up), _) | (None, Some(IsUp::Yes)) => self.join(key),
            (Some(Override::Down | Override::Drain(Drain::Done)), _) => {
                self.joined.remove(&key);
            }
            (Some(Override::Drain(Drain::Until(_))) | None, Some(IsUp::No)) if leaves => {
                self.joined.remove(&key);
            }
            (Some(Override::Drain(Drain::Until(_))) | None, _) => {}
        }
    }

    /// A server that was about to leave is asked for again. Until it was checked it gets nothing new.
    fn come_back(&mut self, identity: &Identity) {
        if self.leaving.remove(identity).is_some() {
            self.join((identity.0, identity.1));
        }
    }

    /// How long servers of a service may finish.
    fn drain_of(&self, before: &Site, service: ServiceId) -> Duration {
        let services = self.site.services.iter().chain(&before.services);
        services
            .filter(|known| known.key == service)
            .map(|known| known.drain)
            .next()
            .unwrap_or(VirtualService::DRAIN)
    }

    /// Whether lvs.cf asks for this server by this method.
    #[must_use]
    pub fn wants(&self, (service, socket, method): &Identity) -> bool {
        self.servers
            .get(&(*service, *socket))
            .is_some_and(|terms| terms.method == *method)
    }

    /// A way is known, or no longer.
    pub fn resolve(&mut self, resolved: Resolved) {
        if matches!(resolved.resolution, Resolution::Resolved(_)) {
            self.resolved.insert(resolved.address);
        }
        self.ways.insert(resolved.address, resolved.resolution);
    }

    /// The part of a real server.
    #[must_use]
    pub fn part(&self, key: &ServerKey) -> Part {
        let Some(&joined) = self.joined.get(key) else {
            return Part::Out;
        };
        match (self.overrides.get(key), self.health.get(key)) {
            (Some(Override::Up), _) | (None, Some(IsUp::Yes)) => Part::Member { joined },
            (Some(Override::Drain(Drain::Until(deadline))), _) => Part::Draining {
                joined,
                deadline: *deadline,
            },
            (Some(Override::Down | Override::Drain(Drain::Done)), _) => Part::Out,
            (None, Some(IsUp::No) | None) => Part::Quiesced { joined },
        }
    }

    /// Takes a server for a member that it was before the daemon started: it forwards already, and
    /// the nanny will say soon whether it may go on.
    pub fn presume_member(&mut self, key: ServerKey) {
        if self.has(&key) {
            self.health.insert(key, IsUp::Yes);
            self.join(key);
        }
    }

    /// Takes servers for well that nobody watches, or that are to be until they were checked, in the order
    /// in which the site names them.
    fn presume(&mut self) {
        let site = std::mem::take(&mut self.site);
        for service in &site.services {
            for server in &service.servers {
                let key = (service.key, server.socket);
                let is_new = match self.health.get(&key) {
                    Some(IsUp::Yes) => false,
                    Some(IsUp::No) => service.probe.is_none(),
                    None => service.probe.is_none() || server.origin == Origin::Command,
                };
                if is_new {
                    self.health.insert(key, IsUp::Yes);
                    self.settle(key);
                }
            }
        }
        self.site = site;
    }

    /// The way to a real server, if it is known.
    #[must_use]
    pub fn way(&self, address: IpAddr) -> Option<&Resolution> {
        self.ways.get(&address)
    }

    /// Whether the way to a real server was known once since the daemon started.
    #[must_use]
    pub fn was_resolved(&self, address: IpAddr) -> bool {
        self.resolved.contains(&address)
    }

    /// Whether this real server is in lvs.cf.
    #[must_use]
    pub fn has(&self, key: &ServerKey) -> bool {
        self.servers.contains_key(key)
    }

    fn addresses_to_follow(&self) -> BTreeSet<IpAddr> {
        followed(&self.site)
    }

    fn join(&mut self, key: ServerKey) {
        self.joined.entry(key).or_insert_with(|| {
            self.joins += 1;
            self.joins
        });
    }
}

/// The addresses whose ways have to be known.
#[must_use]
pub fn followed(site: &Site) -> BTreeSet<IpAddr> {
    let of_service = |service: &VirtualService| {
        let servers = service.servers.iter().map(|server| server.socket.ip());
        let sorry = service.sorry_server.map(|socket| socket.ip());
        servers.chain(sorry).collect::<Vec<_>>()
    };
    let services = site.services.iter();
    services.flat_map(|service| of_service(service)).collect()
}

fn servers(site: &Site) -> BTreeMap<ServerKey, Terms> {
    let of_service = |service: &VirtualService| {
        let terms = Terms {
            on_failure: if service.quiesce {
                OnFailure::Quiesces
            } else {
                OnFailure::Leaves
            },
            drain: service.drain,
            method: service.forwarding.method(),
        };
        let key = service.key;
        let terms = service.servers.iter().map(|server| {
            let method = server.forwarding.method();
            ((key, server.socket), Terms { method, ..terms })
        });
        terms.collect::<Vec<_>>()
    };
    let services = site.services.iter();
    services.flat_map(|service| of_service(service)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        health::Failure,
        model::{Check, Forwarding, Probe, Protocol, RealServer, Scheduler, ServiceAddress},
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
        let probe = Probe {
            check: Check::Talk {
                send: None,
                expect: None,
            },
            interval: Duration::from_secs(1),
            reentry: Duration::from_secs(1),
        };
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
            state.configure(site(quiesce, true), []);
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
                        state.configure(site(quiesce, *is_in), [in_tables]);
                    }
                }
                assert_eq!(shown(&state), *expected, "{what}, at second {second}");
            }
        }
    }
}
