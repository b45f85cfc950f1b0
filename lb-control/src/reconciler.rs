//! The one task that writes the maps: recv, absorb, desired, diff, apply.
//!
//! Nobody else calls [`Dataplane::apply`]. A write that the kernel refuses is told and tried again
//! at the next event, at the latest with the next [`Event::Tick`]; it never ends the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use lb_common::address::Address6;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::{
    dataplane::{Dataplane, Tables},
    desired::{Desired, desired, lay_rings, method, service_address},
    diff::{diff, note},
    event::Event,
    ids::{Exhausted, Identity, Ids},
    model::{ServiceAddress, VirtualService},
    rings::turn_after,
    state::State,
    status,
};

/// The keeper of the routing table: lvs.
pub struct Reconciler<D> {
    state: State,
    ids: Ids,
    /// What the maps hold.
    actual: Tables,
    /// Who took part in each service when its ring was laid.
    last: Desired,
    /// What was already complained about, so that it is said once.
    complaints: BTreeSet<String>,
    dataplane: D,
}

impl<D: Dataplane> Reconciler<D> {
    /// Takes over what the maps hold: a daemon before this one may have left the data plane
    /// forwarding.
    ///
    /// # Errors
    /// If the maps cannot be read.
    pub fn new(dataplane: D) -> Result<Self, D::Error> {
        let actual = dataplane.read()?;
        let mut reconciler = Self {
            state: State::default(),
            ids: Ids::default(),
            actual,
            last: Desired::default(),
            complaints: BTreeSet::new(),
            dataplane,
        };
        reconciler.restore_ids();
        Ok(reconciler)
    }

    /// Runs until nobody sends events any more.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut batch = Vec::new();
        while events.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let mut is_changed = false;
            for event in batch.drain(..) {
                is_changed |= self.absorb(event);
            }
            if is_changed {
                self.reconcile();
            }
        }
    }

    /// Takes one event in. Whether the maps may have to change.
    fn absorb(&mut self, event: Event) -> bool {
        match event {
            Event::Configured(site) => {
                let is_first = self.state.site.services.is_empty();
                self.state.configure(site);
                if is_first {
                    self.presume_members();
                }
            }
            Event::Health(report) => self.state.report(report),
            Event::Way(resolved) => self.state.resolve(resolved),
            Event::Vlans(vlans) => self.state.vlans = vlans,
            Event::Tick => self.release_ids(),
            Event::Status(reply) => {
                // Whoever asked may have gone away.
                let _ = reply.send(status::report(&self.state, &self.ids, &self.dataplane));
                return false;
            }
        }
        true
    }

    /// Brings the maps to what they ought to hold.
    fn reconcile(&mut self) {
        let sizes = self.dataplane.sizes();
        let mut wanted = desired(&self.state, &mut self.ids, &self.actual, &sizes);
        let laid = lay_rings(&self.state, &mut wanted, &self.actual, &sizes);
        self.continue_turns(&mut wanted);
        let mut complaints = BTreeSet::new();
        complaints.extend(wanted.refused.iter().map(Exhausted::to_string));
        if let Err(service) = laid {
            complaints.insert(format!(
                "no room for the ring of {service}: {} slots in all",
                sizes.ring
            ));
        }
        for change in diff(&self.actual, &wanted.tables) {
            match self.dataplane.apply(&change) {
                Ok(()) => {
                    debug!(?change, "written");
                    note(&mut self.actual, &change);
                }
                Err(error) => {
                    complaints.insert(format!("the kernel refused {change:?}: {error}"));
                }
            }
        }
        for complaint in complaints.difference(&self.complaints) {
            warn!("{complaint}; trying again");
        }
        self.complaints = complaints;
        self.last = wanted;
    }

    /// Where the members of a service change, its scheduler goes on as IPVS's would.
    fn continue_turns(&self, wanted: &mut Desired) {
        for service in &self.state.site.services {
            let (Some(before), Some(after)) = (
                self.last.members.get(&service.key),
                wanted.members.get(&service.key),
            ) else {
                continue;
            };
            let Some(entry) = wanted.services.get(&service.key) else {
                continue;
            };
            if before == after {
                continue;
            }
            if let Ok(turn) = self.dataplane.turn(entry.id) {
                let next = turn_after(service.scheduler, before, after, turn);
                if next != turn {
                    wanted.tables.turns.insert(entry.id, next);
                }
            }
        }
    }

    /// The ids of what the maps hold stay with their owners.
    fn restore_ids(&mut self) {
        for (id, service) in self.found_services() {
            self.ids.restore_service(service, id);
        }
        for (identity, id) in self.found() {
            self.ids.restore_server(identity, id);
        }
    }

    /// The services that the maps hold, by id. One that has several keys is known by the first.
    fn found_services(&self) -> BTreeMap<u32, ServiceAddress> {
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
        found
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
        let wanted = self.wanted();
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
            if wanted.contains(&identity) {
                info!(%service, server = %socket, "forwards already and is kept until it was checked");
                self.state.presume_member((service, socket));
            }
        }
    }

    /// The real servers that lvs.cf asks for.
    fn wanted(&self) -> BTreeSet<Identity> {
        let of_service = |service: &VirtualService| {
            let (key, method) = (service.key, service.method);
            let sockets: Vec<_> = service.servers.iter().map(|server| server.socket).collect();
            sockets.into_iter().map(move |socket| (key, socket, method))
        };
        self.state
            .site
            .services
            .iter()
            .flat_map(of_service)
            .collect()
    }

    fn release_ids(&mut self) {
        let wanted = self.wanted();
        let named: BTreeSet<_> = self
            .state
            .site
            .services
            .iter()
            .map(|service| service.key)
            .collect();
        let Self {
            ids,
            dataplane,
            actual,
            ..
        } = self;
        ids.release(
            |key| named.contains(key),
            |identity| wanted.contains(identity),
            |id| {
                actual.servers.contains_key(&id)
                    || dataplane
                        .load(id)
                        .map_or(true, |load| load.active > 0 || load.inactive > 0)
            },
        );
    }
}

/// How many events are taken in before the maps are brought up to date.
const MAX_BATCH: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

    use lb_common::maps::Load;

    use super::*;
    use crate::{
        dataplane::{
            Change,
            fake::{Fake, Memory},
        },
        desired::service_key,
        health::{Failure, Health, Report},
        model::{Check, Probe, Protocol, RealServer, Scheduler, Site, VirtualService},
        network::next_hop::{NextHop, Resolution, Resolved},
    };

    const SERVICE: ServiceAddress = ServiceAddress {
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        port: 80,
        protocol: Protocol::Tcp,
    };

    fn socket(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, last], 80))
    }

    fn site(scheduler: Scheduler, quiesce: bool, servers: &[u8]) -> Site {
        Site {
            services: vec![VirtualService {
                quiesce,
                servers: servers
                    .iter()
                    .map(|last| RealServer::new(&format!("rs{last}"), socket(*last), 1))
                    .collect(),
                ..VirtualService::new("web", SERVICE, scheduler, probe())
            }],
            ..Site::default()
        }
    }

    fn probe() -> Probe {
        Probe {
            check: Check::Talk {
                send: None,
                expect: None,
            },
            interval: Duration::from_secs(1),
            reentry: Duration::from_secs(1),
        }
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
    struct Router {
        memory: Rc<RefCell<Memory>>,
        reconciler: Reconciler<Fake>,
    }

    impl Router {
        fn new(memory: Rc<RefCell<Memory>>) -> Self {
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

        /// The ids in the ring of the service.
        fn ring(&self) -> Vec<u32> {
            let memory = self.memory.borrow();
            let service = memory.tables.services[&service_key(&SERVICE)];
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
            matches!(changes.last(), Some(Change::NoServer(1))),
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

    #[test]
    fn a_refused_write_is_tried_again() {
        let mut router = Router::new(Rc::default());
        router.memory.borrow_mut().is_broken = true;
        let events = [
            Event::Configured(site(Scheduler::Rr, false, &[1])),
            way(1),
            up(1),
        ];
        assert_eq!(router.hear(events), []);
        router.memory.borrow_mut().is_broken = false;
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
        let mut router = Router::new(Rc::default());
        router.hear([
            Event::Configured(site(Scheduler::Rr, false, &[1])),
            way(1),
            up(1),
        ]);
        router.memory.borrow_mut().loads.insert(
            1,
            Load {
                active: 1,
                inactive: 0,
                ..Load::default()
            },
        );
        router.hear([
            Event::Configured(site(Scheduler::Rr, false, &[2])),
            Event::Tick,
            way(2),
            up(2),
        ]);
        assert_eq!(router.weights(), [(2, 1)]);
        router.memory.borrow_mut().loads.clear();
        router.hear([Event::Tick]);
        router.hear([
            Event::Configured(site(Scheduler::Rr, false, &[2, 3])),
            way(3),
            up(3),
        ]);
        assert_eq!(router.weights(), [(1, 1), (2, 1)]);
    }
}
