//! Two directors, two networks and a clock that is not real.

use std::{collections::VecDeque, time::Duration};

use super::{
    director::{Director, Format, Output, Rules, Told},
    key::Key,
    lease::Lease,
    machine::{Begin, Node, Refused, Role, Unfit, Why},
    piranha::Services,
    wire::{Authentication, Path},
};

const MS: Duration = Duration::from_millis(1);
const KEEPALIVE: Duration = Duration::from_millis(200);
const DEADTIME: Duration = Duration::from_millis(700);
/// How long it takes to take the addresses off.
const LOWERING: Duration = Duration::from_millis(2);
/// How many datagrams wait in a socket.
const WAITING: usize = 50;

/// A network in one direction.
#[derive(Debug, Clone, Copy)]
struct Wire {
    is_cut: bool,
    delay: [Duration; 2],
    /// Of so many thousand.
    lost: u64,
    doubled: u64,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            is_cut: false,
            delay: [MS / 10, MS / 5],
            lost: 0,
            doubled: 0,
        }
    }
}

/// A node with what outlives its daemon.
struct Host {
    director: Option<Director>,
    rules: Rules,
    lease: Lease,
    is_raised: bool,
    is_frozen: bool,
    /// Its clock is ahead of the world's.
    ahead: Duration,
    ran: Duration,
    inbox: VecDeque<(Path, Vec<u8>)>,
    /// How long it takes to let go of everything.
    lowering: Duration,
    lowered: Option<Duration>,
    log: Vec<(Duration, Output)>,
    /// When it heard the partner say something last, and when that was said.
    heard: Option<(Duration, Duration)>,
}

struct World {
    now: Duration,
    hosts: [Host; 2],
    /// By sender and path.
    wires: [[Wire; 2]; 2],
    flying: Vec<(Duration, usize, Path, Vec<u8>, Duration)>,
    random: u64,
    /// Since when there have been two owners, and for how long there were most.
    two: Option<Duration>,
    two_longest: Duration,
    none: Option<Duration>,
    none_longest: Duration,
    /// The same of two owners while both heard each other well.
    connected: Option<Duration>,
    two_connected: Duration,
}

const PRIMARY: usize = 0;
const BACKUP: usize = 1;

fn rules(node: Node) -> Rules {
    Rules {
        node,
        pair: true,
        keepalive: KEEPALIVE,
        deadtime: DEADTIME,
        failback: false,
        format: Format::Own,
        keys: vec![Key::parse("1:000102030405060708090a0b0c0d0e0f").unwrap()],
        authentication: Authentication::Enforce,
        config: 7,
        services: Services::Virtual,
        letting_go: Duration::ZERO,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let host = |node, ahead| Host {
            director: None,
            rules: rules(node),
            lease: Lease::None,
            is_raised: false,
            is_frozen: false,
            ahead,
            ran: Duration::ZERO,
            inbox: VecDeque::new(),
            lowering: LOWERING,
            lowered: None,
            log: Vec::new(),
            heard: None,
        };
        Self {
            now: Duration::from_secs(1),
            hosts: [
                host(Node::Primary, Duration::from_secs(1_000)),
                host(Node::Backup, Duration::from_secs(5)),
            ],
            wires: Default::default(),
            flying: Vec::new(),
            random: seed * 2 + 1,
            two: None,
            two_longest: Duration::ZERO,
            none: None,
            none_longest: Duration::ZERO,
            connected: None,
            two_connected: Duration::ZERO,
        }
    }

    /// Both run, and the primary is active.
    fn settled() -> Self {
        let mut world = Self::new(1);
        world.start(PRIMARY, Begin::Listen);
        world.start(BACKUP, Begin::Listen);
        world.pass(Duration::from_secs(3));
        assert_eq!(world.owners(), [true, false]);
        world.forget();
        world
    }

    fn forget(&mut self) {
        (self.two, self.none) = (None, None);
        (self.two_longest, self.none_longest) = (Duration::ZERO, Duration::ZERO);
        self.two_connected = Duration::ZERO;
        self.hosts.iter_mut().for_each(|host| host.log.clear());
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn start(&mut self, which: usize, begin: Begin) {
        let epoch = self.draw(u64::MAX - 1) + 1;
        let now = self.now;
        let host = &mut self.hosts[which];
        let local = now + host.ahead;
        let begin = match (begin, host.lease) {
            (Begin::Listen, Lease::Until(until)) if until > local => Begin::Resume(until),
            (begin, _) => begin,
        };
        host.director = Some(Director::new(host.rules.clone(), begin, None, epoch, local));
        host.ran = local;
        host.inbox.clear();
        self.run(which);
    }

    fn kill(&mut self, which: usize) {
        self.hosts[which].director = None;
        self.hosts[which].lowered = None;
        self.hosts[which].inbox.clear();
    }

    fn freeze(&mut self, which: usize, is_frozen: bool) {
        self.hosts[which].is_frozen = is_frozen;
        if !is_frozen {
            self.run(which);
        }
    }

    fn cut(&mut self, from: usize, is_cut: bool) {
        self.wires[from]
            .iter_mut()
            .for_each(|wire| wire.is_cut = is_cut);
    }

    fn with(&mut self, which: usize, what: impl FnOnce(&mut Director, Duration)) {
        let local = self.now + self.hosts[which].ahead;
        if let Some(director) = &mut self.hosts[which].director {
            what(director, local);
        }
        self.run(which);
    }

    fn order(&mut self, which: usize) -> Result<(), Refused> {
        let mut done = Ok(());
        self.with(which, |director, now| done = director.hand_over(now));
        done
    }

    fn unfit(&mut self, which: usize, unfit: bool) {
        let unfit = unfit.then(|| Unfit::Link("eth0".into()));
        self.with(which, |director, now| director.fitness(unfit, now));
    }

    /// As the runner does it.
    fn run(&mut self, which: usize) {
        let now = self.now;
        let host = &mut self.hosts[which];
        if host.is_frozen {
            return;
        }
        let local = now + host.ahead;
        let Some(director) = &mut host.director else {
            return;
        };
        if local - host.ran > host.rules.deadtime / 2 {
            host.inbox.clear();
            director.slept();
        }
        host.ran = local;
        if host.lowered.is_some_and(|at| now >= at) {
            host.lowered = None;
            host.is_raised = false;
            director.let_go(local);
        }
        for (path, bytes) in host.inbox.drain(..) {
            // Why it is not heeded is for people.
            let _ = director.receive(path, &bytes, local);
        }
        for output in director.run(local) {
            let host = &mut self.hosts[which];
            host.log.push((now, output.clone()));
            match output {
                Output::Lease(lease) => host.lease = lease,
                Output::Raise(_) => (host.is_raised, host.lowered) = (true, None),
                Output::Lower(_) => host.lowered = Some(now + host.lowering),
                Output::End => host.director = None,
                Output::Announce(_) | Output::Tell(_) => {}
                Output::Send(messages) => {
                    for (path, bytes) in Path::ALL.into_iter().zip(messages) {
                        self.send(which, path, bytes);
                    }
                }
            }
        }
    }

    fn send(&mut self, from: usize, path: Path, bytes: Vec<u8>) {
        let wire = self.wires[from][path.index()];
        let copies = 1 + usize::from(self.draw(1_000) < wire.doubled);
        for _ in 0..copies {
            let [least, most] = wire.delay;
            let spread = (most - least).as_micros() as u64 + 1;
            let delay = least + Duration::from_micros(self.draw(spread));
            if !wire.is_cut && self.draw(1_000) >= wire.lost {
                self.flying
                    .push((self.now + delay, 1 - from, path, bytes.clone(), self.now));
            }
        }
    }

    fn owners(&self) -> [bool; 2] {
        [PRIMARY, BACKUP].map(|which| match self.hosts[which].lease {
            Lease::None => self.hosts[which].director.is_some(),
            Lease::Standby => false,
            Lease::Until(until) => self.now + self.hosts[which].ahead < until,
        })
    }

    fn role(&self, which: usize) -> Option<Role> {
        self.hosts[which]
            .director
            .as_ref()
            .map(|director| director.machine().role())
    }

    /// Lets time pass in small steps, which see whatever happens in between.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += MS / 4;
            let (due, later) = self
                .flying
                .drain(..)
                .partition(|flight| flight.0 <= self.now);
            self.flying = later;
            let mut due: Vec<_> = due;
            due.sort_by_key(|flight| flight.0);
            for (_, to, path, bytes, sent) in due {
                let now = self.now;
                let host = &mut self.hosts[to];
                if host.director.is_some() && host.inbox.len() < WAITING {
                    host.inbox.push_back((path, bytes));
                    if !host.is_frozen {
                        host.heard = Some((now, sent));
                    }
                }
            }
            for which in [PRIMARY, BACKUP] {
                let host = &self.hosts[which];
                let local = self.now + host.ahead;
                let is_due = host.lowered.is_some_and(|at| self.now >= at)
                    || !host.inbox.is_empty()
                    || host
                        .director
                        .as_ref()
                        .is_some_and(|it| local >= it.deadline());
                if is_due {
                    self.run(which);
                }
            }
            self.watch();
        }
    }

    fn watch(&mut self) {
        let owners = self.owners();
        let note = |is: bool, since: &mut Option<Duration>, longest: &mut Duration, now| match is {
            true => *longest = (*longest).max(now - *since.get_or_insert(now) + MS / 4),
            false => *since = None,
        };
        let both = owners == [true, true];
        note(both, &mut self.two, &mut self.two_longest, self.now);
        note(
            owners == [false, false],
            &mut self.none,
            &mut self.none_longest,
            self.now,
        );
        // Each has heard something that the other said just before.
        let now = self.now;
        let well = self.hosts.iter().all(|host| {
            let lately = |(heard, sent): (Duration, Duration)| {
                now < heard + KEEPALIVE + 20 * MS && heard - sent < 20 * MS
            };
            host.director.is_some() && !host.is_frozen && host.heard.is_some_and(lately)
        });
        let mut longest = self.two_connected;
        note(both && well, &mut self.connected, &mut longest, self.now);
        self.two_connected = longest;
    }

    fn whys(&self, which: usize) -> Vec<Why> {
        let log = self.hosts[which].log.iter();
        let whys = log.filter_map(|(_, output)| match output {
            Output::Raise(why) | Output::Lower(why) | Output::Announce(why) => Some(*why),
            Output::Lease(_) | Output::Send(_) | Output::Tell(_) | Output::End => None,
        });
        whys.collect()
    }
}

#[test]
fn both_boot_at_once_and_only_the_primary_becomes_active() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.start((seed % 2) as usize, Begin::Listen);
        let pause = MS * world.draw(400) as u32;
        world.pass(pause);
        world.start(1 - (seed % 2) as usize, Begin::Listen);
        world.pass(Duration::from_secs(3));
        assert_eq!(world.owners(), [true, false], "seed {seed}");
        assert_eq!(world.two_longest, Duration::ZERO, "seed {seed}");
        assert_eq!(world.role(BACKUP), Some(Role::Standby), "seed {seed}");
    }
}

#[test]
fn one_alone_becomes_active_after_deadtime_and_one_without_a_partner_at_once() {
    for which in [PRIMARY, BACKUP] {
        let mut world = World::new(1);
        world.start(which, Begin::Listen);
        world.pass(DEADTIME - MS);
        assert!(!world.owners()[which]);
        world.pass(2 * MS);
        assert!(world.owners()[which]);
        assert_eq!(world.whys(which), [Why::Beginning, Why::PartnerDead]);

        let mut world = World::new(1);
        world.hosts[which].rules.pair = false;
        world.start(which, Begin::Listen);
        assert_eq!(world.hosts[which].lease, Lease::None);
        assert_eq!(world.whys(which), [Why::Alone]);
        assert!(world.flying.is_empty());
        world.pass(Duration::from_secs(5));
        assert_eq!(world.whys(which), [Why::Alone]);
    }
}

#[test]
fn a_partner_that_dies_or_freezes_is_followed_within_deadtime_and_never_early() {
    for freeze in [false, true] {
        let mut world = World::settled();
        match freeze {
            true => world.freeze(PRIMARY, true),
            false => world.kill(PRIMARY),
        }
        world.pass(DEADTIME + 2 * MS);
        assert_eq!(world.owners(), [false, true]);
        assert_eq!(world.two_longest, Duration::ZERO);
        assert_eq!(world.whys(BACKUP), [Why::PartnerDead]);
        assert!(world.none_longest < 2 * MS);
        // What it had put on the machine is still there: the lease is what keeps it quiet.
        assert!(world.hosts[PRIMARY].is_raised);
        match freeze {
            true => world.freeze(PRIMARY, false),
            false => world.start(PRIMARY, Begin::Listen),
        }
        world.pass(Duration::from_secs(3));
        assert_eq!(world.owners(), [false, true], "who is active stays so");
        assert!(!world.hosts[PRIMARY].is_raised);
        assert_eq!(world.two_longest, Duration::ZERO);
    }
}

#[test]
fn a_standby_node_that_froze_does_not_take_over_when_it_thaws() {
    for time in [400, 800, 5_000, 600_000] {
        let mut world = World::settled();
        world.freeze(BACKUP, true);
        world.pass(MS * time);
        world.freeze(BACKUP, false);
        world.pass(Duration::from_secs(3));
        assert_eq!(world.owners(), [true, false], "{time}");
        assert_eq!(
            (world.whys(PRIMARY), world.whys(BACKUP)),
            (vec![], vec![]),
            "{time}"
        );
        if time > 5_000 {
            break;
        }
    }
}

#[test]
fn a_daemon_that_is_back_within_its_lease_goes_on() {
    let mut world = World::settled();
    world.kill(PRIMARY);
    world.pass(MS * 300);
    world.start(PRIMARY, Begin::Listen);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.owners(), [true, false]);
    assert_eq!(world.whys(PRIMARY), [Why::Resumed]);
    assert_eq!(world.whys(BACKUP), []);
    assert_eq!(world.none_longest, Duration::ZERO);
}

#[test]
fn a_planned_absence_is_waited_for_and_no_longer() {
    for is_back in [true, false] {
        let mut world = World::settled();
        world.with(PRIMARY, |it, now| {
            it.stop(Some(Duration::from_secs(5)), now)
        });
        // Its last words are said more than once.
        assert!(world.hosts[PRIMARY].director.is_none());
        world.pass(Duration::from_secs(4));
        assert_eq!(world.owners(), [true, false]);
        if is_back {
            world.start(PRIMARY, Begin::Listen);
        }
        world.pass(Duration::from_secs(4));
        assert_eq!(world.owners(), [is_back, !is_back]);
        assert_eq!(world.two_longest, Duration::ZERO);
        assert!(world.none_longest < 2 * MS);
    }
}

#[test]
fn a_clean_stop_is_followed_at_once() {
    for which in [PRIMARY, BACKUP] {
        let mut world = World::settled();
        if which == BACKUP {
            world.order(PRIMARY).unwrap();
            world.pass(MS * 50);
        }
        world.forget();
        world.with(which, |director, now| director.stop(None, now));
        world.pass(LOWERING + 2 * MS);
        assert!(world.owners()[1 - which] && !world.owners()[which]);
        assert_eq!(world.whys(1 - which), [Why::PartnerLeaves]);
        assert_eq!(world.two_longest, Duration::ZERO);
    }
}

/// The partner's last word is old, so a goodbye that answers to it is not believed. It is said again in answer to the next.
#[test]
fn a_goodbye_that_comes_too_late_is_said_again_at_once() {
    for is_order in [false, true] {
        let mut world = World::settled();
        world.cut(BACKUP, true);
        world.pass(DEADTIME * 3 / 5);
        world.cut(BACKUP, false);
        match is_order {
            true => world.order(PRIMARY).unwrap(),
            false => world.with(PRIMARY, |director, now| director.stop(None, now)),
        }
        world.pass(LOWERING + 3 * MS);
        assert_eq!(world.owners(), [false, true], "order: {is_order}");
        assert_eq!(world.two_longest, Duration::ZERO);
        let ended = world.hosts[PRIMARY].director.is_none();
        assert_eq!(ended, !is_order, "it ends when the partner is active");
    }
}

/// A node that ends does not hear this one any more; that is no reason to be in doubt about the lease.
#[test]
fn who_took_over_from_one_that_ends_stays_active() {
    for silence in (300..380).step_by(3) {
        let mut world = World::settled();
        world.cut(BACKUP, true);
        world.pass(MS * silence);
        world.with(PRIMARY, |director, now| director.stop(None, now));
        world.pass(Duration::from_secs(3));
        assert_eq!(world.owners(), [false, true], "{silence}");
        let whys = world.whys(BACKUP);
        assert!(
            matches!(whys[..], [Why::PartnerLeaves | Why::PartnerDead]),
            "{silence}: {whys:?}"
        );
    }
}

/// Nobody takes over, and it ends all the same; what it says meanwhile is not much.
#[test]
fn a_goodbye_that_nobody_heeds_takes_a_tenth_of_a_second() {
    let mut world = World::settled();
    world.unfit(BACKUP, true);
    world.pass(MS * 300);
    world.forget();
    world.with(PRIMARY, |director, now| director.stop(None, now));
    world.pass(LOWERING + MS * 99);
    assert_eq!(world.role(PRIMARY), Some(Role::Goodbye));
    world.pass(2 * MS);
    assert_eq!(world.role(PRIMARY), None);
    let is_message = |(_, output): &&(_, Output)| matches!(output, Output::Send(_));
    let said = world.hosts[PRIMARY].log.iter().filter(is_message).count();
    assert!(said < 12, "{said} messages");
}

#[test]
fn who_is_told_to_hands_over_at_once_and_does_not_take_it_back() {
    let mut world = World::settled();
    for from in [PRIMARY, BACKUP, PRIMARY] {
        world.forget();
        assert_eq!(world.order(1 - from), Err(Refused::NotActive));
        assert_eq!(world.order(from), Ok(()));
        world.pass(LOWERING + 2 * MS);
        assert!(world.owners()[1 - from] && !world.owners()[from]);
        world.pass(Duration::from_secs(3));
        assert!(world.owners()[1 - from] && !world.owners()[from]);
        assert_eq!(world.whys(from), [Why::Ordered]);
        assert_eq!(world.whys(1 - from), [Why::PartnerYields]);
        assert_eq!(world.two_longest, Duration::ZERO);
    }
    world.unfit(PRIMARY, true);
    world.pass(MS * 300);
    assert_eq!(world.order(BACKUP), Err(Refused::NotAble));
    world.kill(PRIMARY);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.order(BACKUP), Err(Refused::Silent));
}

/// With failover services, which are stopped first.
#[test]
fn nobody_takes_over_before_everything_is_let_go() {
    let (long, most) = (Duration::from_secs(3), Duration::from_secs(5));
    for (limit, after) in [(most, long), (Duration::ZERO, DEADTIME)] {
        let mut world = World::settled();
        for which in [PRIMARY, BACKUP] {
            world.hosts[which].lowering = long;
            world.hosts[which].rules.letting_go = limit;
            let rules = world.hosts[which].rules.clone();
            world.with(which, |director, now| director.amend(rules, now));
        }
        assert_eq!(world.order(PRIMARY), Ok(()));
        world.pass(after - 5 * MS);
        assert_eq!(world.role(PRIMARY), Some(Role::Leaving), "{limit:?}");
        assert_ne!(world.role(BACKUP), Some(Role::Active), "{limit:?}");
        world.pass(10 * MS);
        assert_eq!(world.role(BACKUP), Some(Role::Active), "{limit:?}");
        assert_eq!(world.two_longest, Duration::ZERO);
    }
}

/// A failover service fails here; the other node takes it, and gives it back when it fails there, but no sooner.
#[test]
fn a_service_that_fails_moves_once() {
    let mut world = World::settled();
    let fails = || Some(Unfit::Service("web: it does not answer".into()));
    world.with(PRIMARY, |director, now| director.fitness(fails(), now));
    world.pass(LOWERING + 2 * MS);
    assert_eq!(world.owners(), [false, true]);
    world.with(BACKUP, |director, now| director.fitness(fails(), now));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.owners(), [false, true], "nobody is better");
    world.with(PRIMARY, |director, now| director.fitness(None, now));
    world.pass(DEADTIME);
    assert_eq!(world.owners(), [true, false]);
    assert_eq!(world.two_longest, Duration::ZERO);
}

#[test]
fn who_hands_over_to_one_that_dies_takes_over_again() {
    let mut world = World::settled();
    assert_eq!(world.order(PRIMARY), Ok(()));
    world.kill(BACKUP);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.owners(), [true, false]);
    assert!(world.none_longest < DEADTIME + 5 * MS);
}

#[test]
fn a_primary_that_is_back_gets_its_part_with_failback_only() {
    for failback in [false, true] {
        let mut world = World::new(1);
        world
            .hosts
            .iter_mut()
            .for_each(|host| host.rules.failback = failback);
        world.start(BACKUP, Begin::Listen);
        world.pass(Duration::from_secs(2));
        world.start(PRIMARY, Begin::Listen);
        world.pass(DEADTIME);
        assert_eq!(world.owners(), [false, true]);
        world.pass(Duration::from_secs(5));
        assert_eq!(world.owners(), [failback, !failback]);
        assert_eq!(world.two_longest, Duration::ZERO);
    }
}

#[test]
fn one_network_is_enough() {
    for path in Path::ALL {
        let mut world = World::settled();
        for from in [PRIMARY, BACKUP] {
            world.wires[from][path.index()].is_cut = true;
        }
        world.pass(Duration::from_secs(5));
        assert_eq!(world.owners(), [true, false]);
        assert_eq!((world.whys(PRIMARY), world.whys(BACKUP)), (vec![], vec![]));
        let told = Output::Tell(Told::Path(path, false));
        assert!(
            world
                .hosts
                .iter()
                .all(|host| host.log.iter().any(|(_, it)| *it == told))
        );
    }
    // Each direction by another one.
    let mut world = World::settled();
    world.wires[PRIMARY][0].is_cut = true;
    world.wires[BACKUP][1].is_cut = true;
    world.pass(Duration::from_secs(5));
    assert_eq!((world.whys(PRIMARY), world.whys(BACKUP)), (vec![], vec![]));
}

#[test]
fn a_node_without_its_network_gives_way_and_does_not_take_over() {
    let mut world = World::settled();
    world.unfit(PRIMARY, true);
    world.pass(LOWERING + 3 * MS);
    assert_eq!(world.owners(), [false, true]);
    world.kill(BACKUP);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.owners(), [false, false]);
    world.unfit(PRIMARY, false);
    world.pass(DEADTIME);
    assert_eq!(world.owners(), [false, false], "it listens first");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.owners(), [true, false]);

    // If neither has a network, nothing is gained by moving.
    let mut world = World::settled();
    world.unfit(BACKUP, true);
    world.pass(MS * 5);
    world.unfit(PRIMARY, true);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.owners(), [true, false]);
    world.unfit(BACKUP, false);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.owners(), [false, true]);

    // It has lost everything at once.
    let mut world = World::settled();
    world.cut(PRIMARY, true);
    world.cut(BACKUP, true);
    world.pass(DEADTIME / 2);
    world.unfit(PRIMARY, true);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.owners(), [false, true]);
    // When its network is back it is heard, and says that it has heard nothing for long: nobody minds.
    world.forget();
    world.cut(PRIMARY, false);
    world.cut(BACKUP, false);
    world.unfit(PRIMARY, false);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.owners(), [false, true]);
    assert_eq!((world.whys(PRIMARY), world.whys(BACKUP)), (vec![], vec![]));
    world.with(BACKUP, |director, _| {
        let able = director
            .machine()
            .partner()
            .is_some_and(|partner| partner.fit);
        assert!(able, "it would take over again");
    });

    // The same, and the first messages take a second. It comes and goes at first.
    world.unfit(PRIMARY, true);
    world.unfit(PRIMARY, false);
    world.unfit(PRIMARY, true);
    world.cut(PRIMARY, true);
    world.cut(BACKUP, true);
    world.pass(Duration::from_secs(5));
    world.unfit(PRIMARY, false);
    world.pass(Duration::from_secs(1));
    world.cut(PRIMARY, false);
    world.cut(BACKUP, false);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.owners(), [false, true]);
    assert_eq!(world.two_longest, Duration::ZERO);
}

/// A standby node that hears nobody has to have heard its gateway since: it may be the one that is cut off.
#[test]
fn silence_of_everybody_is_not_the_partners() {
    let mut world = World::settled();
    let pinged = |world: &mut World, gateway_answers: bool| {
        if gateway_answers {
            world.with(BACKUP, |director, now| director.gateway(Some(now), now));
        }
        world.pass(KEEPALIVE / 2);
    };
    for _ in 0..5 {
        pinged(&mut world, true);
    }
    world.kill(PRIMARY);
    for _ in 0..20 {
        pinged(&mut world, false);
    }
    assert_eq!(world.owners(), [false, false], "it may be cut off itself");
    let deadline = world.hosts[BACKUP].director.as_ref().unwrap().deadline();
    let local = world.now + world.hosts[BACKUP].ahead;
    assert!(deadline > local + MS, "it waits, and does not spin");
    pinged(&mut world, true);
    assert_eq!(world.owners(), [false, true]);
    assert_eq!(world.whys(BACKUP), [Why::PartnerDead]);

    // A gateway that answers all the time delays nothing.
    let mut world = World::settled();
    pinged(&mut world, true);
    world.kill(PRIMARY);
    let killed = world.now;
    while world.now < killed + DEADTIME + 2 * MS {
        world.with(BACKUP, |director, now| director.gateway(Some(now), now));
        world.pass(MS);
    }
    assert_eq!(world.owners(), [false, true]);
}

#[test]
fn when_a_split_heals_the_primary_stays_and_announces_again() {
    for healing in [[PRIMARY, BACKUP], [BACKUP, PRIMARY]] {
        let mut world = World::settled();
        world.cut(PRIMARY, true);
        world.cut(BACKUP, true);
        world.pass(Duration::from_secs(5));
        assert_eq!(
            world.owners(),
            [true, true],
            "two that hear nothing cannot know"
        );
        world.forget();
        world.cut(healing[0], false);
        world.pass(MS * 10);
        world.cut(healing[1], false);
        world.pass(KEEPALIVE + 10 * MS);
        assert_eq!(world.owners(), [true, false]);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.owners(), [true, false]);
        let announced = world.whys(PRIMARY);
        assert!(!announced.is_empty() && announced.iter().all(|why| *why == Why::Healed));
        assert_eq!(world.whys(BACKUP), [Why::PartnerActive]);
        assert_eq!(world.none_longest, Duration::ZERO);
    }
}

#[test]
fn a_link_that_works_one_way_never_makes_two_owners() {
    for (active, silent) in [
        (PRIMARY, PRIMARY),
        (PRIMARY, BACKUP),
        (BACKUP, PRIMARY),
        (BACKUP, BACKUP),
    ] {
        let mut world = World::settled();
        if active == BACKUP {
            world.order(PRIMARY).unwrap();
            world.pass(MS * 300);
            world.forget();
        }
        world.cut(silent, true);
        world.pass(Duration::from_secs(10));
        let expected = [PRIMARY, BACKUP].map(|which| match silent == active {
            // The other one hears nothing and takes over; the one that is not heard has let go by then.
            true => which != active,
            false => which == active,
        });
        assert_eq!(world.owners(), expected, "{active} {silent}");
        assert_eq!(world.two_longest, Duration::ZERO, "{active} {silent}");
        assert!(
            world.none_longest < KEEPALIVE,
            "{active} {silent}: {:?}",
            world.none_longest
        );
        let before = world.owners();
        world.cut(silent, false);
        world.pass(Duration::from_secs(3));
        assert_eq!(world.owners(), before, "{active} {silent}");
        assert_eq!(world.two_longest, Duration::ZERO, "{active} {silent}");
    }
}

#[test]
fn a_split_that_heals_one_way_ends() {
    for silent in [PRIMARY, BACKUP] {
        let mut world = World::settled();
        world.cut(PRIMARY, true);
        world.cut(BACKUP, true);
        world.pass(Duration::from_secs(5));
        world.cut(1 - silent, false);
        world.pass(Duration::from_secs(2));
        assert!(
            !world.owners()[silent] && world.owners()[1 - silent],
            "{silent}"
        );
    }
}

#[test]
fn a_clock_that_steps_costs_the_lease_and_nothing_else() {
    for which in [PRIMARY, BACKUP] {
        let mut world = World::settled();
        world.hosts[which].ahead += Duration::from_secs(3_600);
        world.pass(Duration::from_secs(5));
        assert_eq!(world.two_longest, Duration::ZERO);
        assert!(world.owners().contains(&true));
        assert!(
            world.none_longest <= DEADTIME + KEEPALIVE,
            "{:?}",
            world.none_longest
        );
        if which == BACKUP {
            assert_eq!(world.whys(PRIMARY), []);
        }
    }
}

#[test]
fn an_old_pulse_on_the_other_side_is_understood() {
    let mut world = World::new(3);
    world
        .hosts
        .iter_mut()
        .for_each(|host| host.rules.format = Format::Piranha);
    world.start(PRIMARY, Begin::Listen);
    world.start(BACKUP, Begin::Listen);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.owners(), [true, false]);
    world.kill(PRIMARY);
    world.pass(DEADTIME + 5 * MS);
    assert_eq!(world.owners(), [false, true]);
    world.start(PRIMARY, Begin::Listen);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.owners(), [false, true]);
    assert_eq!(world.two_longest, Duration::ZERO);
}

/// Piranha's standby looks at the services itself.
#[test]
fn an_old_pulse_that_wants_failover_services_gets_them() {
    let rules = Rules {
        format: Format::Piranha,
        services: Services::Failover,
        ..rules(Node::Primary)
    };
    let mut now = Duration::from_secs(1);
    let mut director = Director::new(rules, Begin::Forced, None, 1, now);
    let mut say = |director: &mut Director, bytes: u32| {
        now += MS;
        director
            .receive(Path::Public, &bytes.to_le_bytes(), now)
            .unwrap();
        director.run(now)
    };
    let is_lowered = |outputs: &[Output]| outputs.contains(&Output::Lower(Why::Ordered));
    assert!(!is_lowered(&say(&mut director, 0xdead_beef)));
    assert!(is_lowered(&say(&mut director, 0xdead_dada)));
    director.let_go(now + MS);
    let said = director
        .run(now + MS)
        .into_iter()
        .find_map(|output| match output {
            Output::Send([first, _]) => Some(first),
            Output::Lease(_)
            | Output::Raise(_)
            | Output::Lower(_)
            | Output::Announce(_)
            | Output::Tell(_)
            | Output::End => None,
        });
    assert_eq!(said, Some(0xdead_beef_u32.to_le_bytes().to_vec()));
}

#[test]
fn forced_active_is_at_once_and_the_primary_stays() {
    for which in [PRIMARY, BACKUP] {
        let mut world = World::new(1);
        world.start(1 - which, Begin::Listen);
        world.pass(Duration::from_secs(2));
        world.start(which, Begin::Forced);
        assert!(world.owners()[which]);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.owners(), [true, false]);
    }
}

#[test]
fn settings_change_while_it_runs() {
    let mut world = World::settled();
    for which in [BACKUP, PRIMARY] {
        let rules = Rules {
            keepalive: MS * 20,
            deadtime: MS * 70,
            ..world.hosts[which].rules.clone()
        };
        world.hosts[which].rules = rules.clone();
        world.with(which, |director, now| director.amend(rules, now));
    }
    world.pass(Duration::from_secs(1));
    assert_eq!((world.whys(PRIMARY), world.whys(BACKUP)), (vec![], vec![]));
    world.kill(PRIMARY);
    world.pass(MS * 75);
    assert_eq!(world.owners(), [false, true]);

    // The backup is taken out of the file, and put in again.
    let alone = Rules {
        pair: false,
        ..world.hosts[BACKUP].rules.clone()
    };
    world.with(BACKUP, |director, now| director.amend(alone, now));
    assert_eq!(world.hosts[BACKUP].lease, Lease::None);
    let pair = world.hosts[BACKUP].rules.clone();
    world.with(BACKUP, |director, now| director.amend(pair, now));
    assert!(matches!(world.hosts[BACKUP].lease, Lease::Until(_)));
    assert!(world.owners()[BACKUP]);
}

/// Anything happens at any time: two that hear each other are never both owners for longer than a message takes, and
/// when everything works again there is one owner.
#[test]
fn whatever_happens() {
    for seed in 1..=300 {
        let mut world = World::new(seed);
        world.start(PRIMARY, Begin::Listen);
        world.start(BACKUP, Begin::Listen);
        for _ in 0..12 {
            let which = world.draw(2) as usize;
            match world.draw(13) {
                0 => world.kill(which),
                1 if world.hosts[which].director.is_none() => world.start(which, Begin::Listen),
                2 => world.freeze(which, true),
                3 => world.freeze(which, false),
                4 => world.cut(which, true),
                5 => world.cut(which, false),
                6 => {
                    let path = world.draw(2) as usize;
                    world.wires[which][path].is_cut ^= true;
                }
                7 => {
                    let most = MS * (world.draw(300) as u32 + 1);
                    world.wires[which]
                        .iter_mut()
                        .for_each(|wire| wire.delay[1] = most);
                }
                8 => {
                    let (lost, doubled) = (world.draw(400), world.draw(400));
                    for wire in &mut world.wires[which] {
                        (wire.lost, wire.doubled) = (lost, doubled);
                    }
                }
                9 => {
                    let step = MS * world.draw(2_000) as u32;
                    world.hosts[which].ahead += step;
                }
                10 if !world.hosts[which].is_frozen => drop(world.order(which)),
                11 if !world.hosts[which].is_frozen => {
                    let unfit = world.draw(2) == 0;
                    world.unfit(which, unfit);
                }
                12 if !world.hosts[which].is_frozen => {
                    let back = (world.draw(2) == 0).then_some(Duration::from_secs(1));
                    world.with(which, |director, now| director.stop(back, now));
                }
                _ => {}
            }
            let time = MS * world.draw(1_500) as u32;
            world.pass(time);
        }
        assert!(
            world.two_connected <= KEEPALIVE,
            "seed {seed}: {:?}",
            world.two_connected
        );
        world.wires = Default::default();
        for which in [PRIMARY, BACKUP] {
            world.freeze(which, false);
            if world.hosts[which].director.is_none() {
                world.start(which, Begin::Listen);
            }
            world.unfit(which, false);
        }
        world.pass(Duration::from_secs(4));
        assert_eq!(
            world.owners().iter().filter(|it| **it).count(),
            1,
            "seed {seed}: {:?}",
            world.owners()
        );
        world.forget();
        world.pass(Duration::from_secs(2));
        assert_eq!(
            (world.two_longest, world.none_longest),
            Default::default(),
            "seed {seed}"
        );
    }
}
