//! What the tables are after this and that has happened.

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
