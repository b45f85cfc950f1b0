//! Whatever happens, the tables that are kept service by service are those that the whole site gives at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use lb_common::{
    address::Address6,
    maps::{Load, Role, Server, Vlan},
    testing::Lot,
};

use super::{tests::Router, *};
use crate::{
    dataplane::Tables,
    desired::{self, Share},
    health::{Failure, Health, Report},
    model::{
        Check, Family, Forwarding, Origin, Persistence, Probe, Protocol, RealServer, Scheduler,
        Selector, ServiceAddress, Tunnel,
    },
    network::next_hop::{NextHop, Resolution, Resolved},
    rings,
    selectors::{self, Place},
};

/// How many stories are told, each of how many steps.
const STORIES: u64 = 60;
const STEPS: usize = 120;

#[test]
fn the_tables_are_those_of_the_whole_site() {
    let mut reached = Reached::default();
    for seed in 0..STORIES {
        Story::new(seed).tell(&mut reached);
    }
    let Reached {
        crowded,
        refused,
        leaving,
        sorry,
        former,
        rings,
        restarts,
    } = reached;
    for (what, times) in [
        ("a service without room", crowded),
        ("a refused write", refused),
        ("a server that may finish", leaving),
        ("a sorry server that stands in", sorry),
        ("an address of a service that is gone", former),
        ("a ring", rings),
        ("a restart", restarts),
    ] {
        assert!(times > 100, "only {times} times there was {what}");
    }
}

/// How often the stories came to what they are to show.
#[derive(Default)]
struct Reached {
    crowded: usize,
    refused: usize,
    leaving: usize,
    sorry: usize,
    former: usize,
    rings: usize,
    restarts: usize,
}

struct Story {
    seed: u64,
    lot: Lot,
    router: Router,
    site: Site,
    now: Duration,
}

impl Story {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            lot: Lot::new(seed),
            router: Router::new(Rc::default()),
            site: Site::default(),
            now: Duration::ZERO,
        }
    }

    fn tell(mut self, reached: &mut Reached) {
        for step in 0..STEPS {
            let events = self.events(reached);
            let shown: Vec<_> = events.iter().map(kind).collect();
            self.router.reconciler.state.now = self.now;
            self.router.hear_at_once(events);
            let mut memory = self.router.memory.borrow_mut();
            let is_broken = memory.refuse_every != 0;
            memory.written.clear();
            drop(memory);
            let place = format!("seed {}, step {step}: {shown:?}", self.seed);
            if is_broken {
                reached.refused += usize::from(!self.router.reconciler.complaints.is_empty());
            } else if self.router.reconciler.is_configured {
                self.compare(&place, reached);
            }
        }
    }

    /// What happens next, taken in together.
    fn events(&mut self, reached: &mut Reached) -> Vec<Event> {
        let lot = &mut self.lot;
        match lot.below(20) {
            0 => {
                reached.restarts += 1;
                self.router = Router::new(self.router.memory.clone());
                self.now = Duration::ZERO;
                return vec![Event::Configured(self.site.clone())];
            }
            1 => {
                let mut memory = self.router.memory.borrow_mut();
                memory.refuse_every = lot.of(&[1, 2, 3]);
            }
            2..=4 => {
                self.router.memory.borrow_mut().refuse_every = 0;
                // What was refused is written now.
                return vec![Event::Tick];
            }
            5..=7 => {
                self.now += Duration::from_secs(lot.of(&[1, 1, 5, 40]));
                let mut memory = self.router.memory.borrow_mut();
                for id in 0..16 {
                    let load = Load {
                        active: lot.of(&[0, 0, 1]),
                        ..Load::default()
                    };
                    memory.loads.insert(id, load);
                }
                return vec![Event::Tick];
            }
            _ => {}
        }
        let mut events = Vec::new();
        for _ in 0..lot.of(&[1, 1, 2, 6]) {
            events.push(match lot.below(10) {
                0..=2 => {
                    change(&mut self.site, lot);
                    Event::Configured(self.site.clone())
                }
                3..=5 => report(lot),
                6..=7 => way(lot),
                8 => Event::Vlans(vlans(lot)),
                _ => order(lot),
            });
        }
        events
    }

    /// The tables are what the site gives as a whole.
    fn compare(&mut self, place: &str, reached: &mut Reached) {
        let Reconciler {
            state,
            ids,
            actual,
            plan,
            dataplane,
            ..
        } = &mut self.router.reconciler;
        let memory = self.router.memory.borrow();
        assert_eq!(*actual, memory.tables, "{place}");
        state.check(place);
        let sizes = dataplane.sizes();
        let mut wanted = Tables {
            vlans: state.vlans.clone(),
            ..Tables::default()
        };
        let mut slots = BTreeMap::new();
        let services = state.site.services.clone();
        for service in &services {
            let share = Maker {
                state,
                ids,
                actual,
                sizes: &sizes,
            }
            .share(service);
            reached.sorry += usize::from(share.is_sorry);
            lay(&mut wanted, &share);
            let ring = rings::slots(
                service.scheduler,
                service.flags,
                state.site.settings.secret,
                &share.members,
            );
            slots.insert(service.key, (ring, share));
        }
        let mut in_tables = slots.values().filter(|(_, share)| share.entry.is_some());
        let has_ranges = in_tables.any(|(_, share)| selectors::has_ranges(&share.service));
        wanted.settings = Some(desired::settings(&state.site, has_ranges, &sizes));
        for identity in state.leaving().keys() {
            let id = ids.find_server(identity).unwrap();
            let before = actual.servers[&id];
            assert!(
                !wanted.servers.contains_key(&id),
                "{place}: it is asked for"
            );
            let entry = Server {
                weight: 0,
                ..before
            };
            if entry.is_masqueraded() {
                give_role(&mut wanted, entry.address, Role::MASQUERADED);
            }
            wanted.servers.insert(id, entry);
        }
        if !state.leaving().is_empty() {
            for address in actual.addresses.keys() {
                if !wanted.addresses.contains_key(address) {
                    reached.former += 1;
                    give_role(&mut wanted, *address, Role::FORMER);
                }
            }
        }
        reached.leaving += state.leaving().len();
        reached.crowded += plan.crowded().len();

        assert_eq!(actual.settings, wanted.settings, "{place}");
        assert_eq!(actual.vlans, wanted.vlans, "{place}");
        assert_eq!(actual.servers, wanted.servers, "{place}");
        assert_eq!(actual.persistence, wanted.persistence, "{place}");
        assert_eq!(actual.addresses, wanted.addresses, "{place}");
        let words = actual.sieve.iter().filter(|(_, bits)| **bits != 0);
        let words: BTreeMap<_, _> = words.map(|(word, bits)| (*word, *bits)).collect();
        assert_eq!(words, wanted.words(), "{place}");
        let mut thresholds = actual.thresholds.clone();
        thresholds.retain(|id, _| actual.servers.contains_key(id));
        assert_eq!(thresholds, wanted.thresholds, "{place}");

        // Where a ring lies does not matter, but it is its service's alone.
        let mut taken = BTreeSet::new();
        for (key, (ring, share)) in &slots {
            let Some(entry) = share.entry else { continue };
            let places: Vec<_> = selectors::places(&share.service).collect();
            let entries: Vec<_> = places
                .iter()
                .map(|place| match place {
                    Place::Service(key) => actual.services[key],
                    Place::Range(key) => actual.ranges[key],
                })
                .collect();
            let Some(first) = entries.first() else {
                continue;
            };
            assert!(entries.iter().all(|entry| entry == first), "{place}: {key}");
            for slot in first.ring..first.ring + first.slots {
                assert!(taken.insert(slot), "{place}: {key} shares slot {slot}");
            }
            if plan.crowded().contains(key) {
                continue;
            }
            reached.rings += usize::from(!ring.is_empty());
            let (ring_at, slots) = (first.ring, first.slots);
            let laid = lb_common::maps::Service {
                ring: ring_at,
                slots,
                ..entry
            };
            assert_eq!(*first, laid, "{place}: {key}");
            let there = actual.rings.get(&ring_at).filter(|_| slots > 0);
            assert_eq!(there.unwrap_or(&Vec::new()), ring, "{place}: {key}");
        }
        let keys: Vec<_> = actual.services.keys().collect();
        assert_eq!(keys, wanted.services.keys().collect::<Vec<_>>(), "{place}");
        let keys: Vec<_> = actual.ranges.keys().collect();
        assert_eq!(keys, wanted.ranges.keys().collect::<Vec<_>>(), "{place}");
        // Nothing is taken that nobody has.
        assert_eq!(plan.taken_slots(), taken.len(), "{place}");
    }
}

/// What an event is, in a few words.
fn kind(event: &Event) -> String {
    let mut text = format!("{event:?}");
    text.truncate(120);
    text
}

/// Puts what a service gives into the tables.
fn lay(tables: &mut Tables, share: &Share) {
    let Some(entry) = share.entry else { return };
    for address in selectors::addresses(&share.service) {
        give_role(tables, address, Role::VIRTUAL);
    }
    for place in selectors::places(&share.service) {
        match place {
            Place::Service(key) => drop(tables.services.insert(key, entry)),
            Place::Range(key) => drop(tables.ranges.insert(key, entry)),
        }
    }
    if let Some(persistence) = desired::persistence(&share.service) {
        tables.persistence.insert(entry.id, persistence);
    }
    tables.servers.extend(share.servers.iter().copied());
    tables.thresholds.extend(share.thresholds.iter().copied());
    for (_, server) in share.servers.iter().filter(|(_, it)| it.is_masqueraded()) {
        give_role(tables, server.address, Role::MASQUERADED);
    }
}

fn give_role(tables: &mut Tables, address: Address6, role: Role) {
    let roles = tables.addresses.entry(address).or_default();
    *roles = roles.and(role);
}

/// How many services the stories know by number: more than the tables hold.
const SERVICES: usize = 10;

/// Where packets may go: no two of them overlap, and whose they are is drawn by lot.
fn selector(number: usize) -> Selector {
    let first = 100 * number as u16;
    Selector {
        address: [10, 0, 0, (number % 4) as u8].into(),
        protocol: Protocol::Tcp,
        first,
        last: first + [0, 0, 6][number % 3],
    }
}

fn socket(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, number as u8], 80))
}

/// lvs.cf is another one.
fn change(site: &mut Site, lot: &mut Lot) {
    match lot.below(8) {
        0 => drop(site.services.pop()),
        1 => site.services.reverse(),
        2 => site.settings.secret = [lot.of(&[0, 1]), 7],
        3 => site.settings.sloppy_tcp ^= true,
        _ => {}
    }
    let number = lot.below(SERVICES);
    let name = format!("s{number}");
    let found = site.services.iter().position(|it| it.name == name);
    let taken: BTreeSet<_> = site
        .services
        .iter()
        .filter(|other| other.name != name)
        .flat_map(|other| other.selectors.clone())
        .collect();
    let mut service = service(number, &taken, lot);
    match found {
        Some(place) if lot.chance(25) => drop(site.services.remove(place)),
        Some(place) => {
            let before = &site.services[place];
            // Mostly it is the same service, of which something else is changed.
            if lot.chance(80) {
                (service.key, service.selectors) = (before.key, before.selectors.clone());
            }
            site.services[place] = Arc::new(service);
        }
        None => site.services.push(Arc::new(service)),
    }
    let mut keys = BTreeSet::new();
    site.services.retain(|service| keys.insert(service.key));
}

fn service(number: usize, taken: &BTreeSet<Selector>, lot: &mut Lot) -> VirtualService {
    let mut selectors: Vec<_> = (0..lot.of(&[1, 1, 1, 3]))
        .map(|_| selector(1 + lot.below(SERVICES)))
        .filter(|selector| !taken.contains(selector))
        .collect();
    selectors.sort();
    selectors.dedup();
    let mark = ServiceId::Mark {
        mark: 1 + number as u32,
        family: Family::Ipv4,
    };
    let key = match selectors.first() {
        Some(first) if lot.chance(70) => first.key().into(),
        Some(_) | None => mark,
    };
    let forwarding = lot.of(&[
        Forwarding::Nat,
        Forwarding::Nat,
        Forwarding::Direct,
        Forwarding::Tunnel {
            tunnel: Tunnel::Ipip,
        },
    ]);
    let mut servers: Vec<RealServer> = Vec::new();
    for _ in 0..lot.below(5) {
        let socket = socket(lot.below(6));
        if servers.iter().any(|other| other.socket == socket) {
            continue;
        }
        let name = format!("r{}", socket.ip());
        let way = lot.of(&[forwarding, forwarding, forwarding, Forwarding::Direct]);
        let mut server = RealServer::new(&name, socket, way, lot.of(&[0, 1, 1, 2, 3]));
        server.upper = lot.of(&[0, 0, 5]);
        server.origin = lot.of(&[Origin::File, Origin::File, Origin::Command]);
        servers.push(server);
    }
    let probe = Probe::new(
        Check::Talk {
            send: None,
            expect: None,
        },
        Duration::from_secs(1),
        Duration::from_secs(1),
    );
    let address = ServiceAddress {
        address: [10, 0, 0, 0].into(),
        port: 1,
        protocol: Protocol::Tcp,
    };
    let scheduler = lot.of(&[
        Scheduler::Rr,
        Scheduler::Wrr,
        Scheduler::Wlc,
        Scheduler::Sh,
        Scheduler::Dh,
    ]);
    // Its ring is too long for the tables, and takes long to lay.
    let scheduler = if lot.chance(1) {
        Scheduler::Mh
    } else {
        scheduler
    };
    VirtualService {
        key,
        selectors,
        forwarding,
        persistence: lot.chance(30).then(|| Persistence {
            timeout: Duration::from_secs(lot.of(&[10, 300])),
            mask: [255; 4].into(),
        }),
        sorry_server: lot.chance(40).then(|| socket(lot.below(6))),
        drain: Duration::from_secs(lot.of(&[0, 30])),
        quiesce: lot.chance(50),
        probe: lot.chance(80).then_some(probe.clone()),
        servers,
        ..VirtualService::new(&format!("s{number}"), address, scheduler, probe)
    }
}

fn some_service(lot: &mut Lot) -> ServiceId {
    if lot.chance(30) {
        let mark = 1 + lot.below(SERVICES) as u32;
        return ServiceId::Mark {
            mark,
            family: Family::Ipv4,
        };
    }
    selector(1 + lot.below(SERVICES)).key().into()
}

fn report(lot: &mut Lot) -> Event {
    let reason = Failure::Empty {
        expected: "x".to_owned(),
    };
    Event::Health(Report {
        service: some_service(lot),
        server: socket(lot.below(6)),
        health: match lot.below(20) {
            0..12 => Health::Up,
            12..18 => Health::Down { reason },
            _ => Health::Weighs {
                weight: lot.of(&[None, Some(0), Some(5)]),
            },
        },
    })
}

fn way(lot: &mut Lot) -> Event {
    let hop = NextHop {
        interface: 2,
        vlan: None,
        source_mac: [2, 0, 0, 0, 0, 1],
        mac: [2, 0, 0, 0, 0, lot.of(&[7, 8])],
        mtu: 1500,
        source: Some([10, 0, 1, 99].into()),
    };
    let reason = "no route".to_owned();
    Event::Way(Resolved {
        address: socket(lot.below(6)).ip(),
        resolution: match lot.below(6) {
            0 => Resolution::Unresolved { reason },
            1 => Resolution::Local,
            _ => Resolution::Resolved(hop),
        },
    })
}

fn vlans(lot: &mut Lot) -> BTreeMap<u32, Vlan> {
    let vlan = |index: u32| (index, Vlan { parent: 2, id: 7 });
    (3..3 + lot.below(3) as u32).map(vlan).collect()
}

fn order(lot: &mut Lot) -> Event {
    let (reply, _) = tokio::sync::oneshot::channel();
    Event::Ordered {
        order: Order {
            verb: lot.of(&[Verb::Up, Verb::Down, Verb::Auto, Verb::Drain, Verb::Drain]),
            service: format!("s{}", lot.below(SERVICES)),
            server: format!("r{}", socket(lot.below(6)).ip()),
            deadline: lot.of(&[None, None, Some(0), Some(10)]),
        },
        who: "somebody".to_owned(),
        reply,
    }
}
