use std::net::Ipv4Addr;

use super::*;
use crate::{
    health::Failure,
    model::{Check, Probe},
};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(6);
const HELD: Duration = Duration::from_secs(180);

fn service(name: &str, port: u16) -> Arc<FailoverService> {
    let check = Check::Talk {
        send: None,
        expect: None,
    };
    Arc::new(FailoverService {
        name: name.to_owned(),
        address: (Ipv4Addr::new(192, 0, 2, 10), port).into(),
        protocol: Protocol::Tcp,
        start: vec!["start".into(), name.into()],
        stop: vec!["stop".into(), name.into()],
        limit: 10 * SECOND,
        check_port: port,
        check_protocol: Protocol::Tcp,
        probe: Probe {
            jitter: 0,
            ..Probe::new(check, INTERVAL, Duration::ZERO)
        },
        held: HELD,
    })
}

fn refused() -> Outcome {
    Err(Failure::NoAnswer { within: INTERVAL })
}

/// A machine, its clock, and what became of its services, in words.
struct Node {
    machine: Machine,
    now: Instant,
    checks: Vec<(String, Ticket)>,
    told: Vec<String>,
}

impl Node {
    /// One that is on standby and knows that its services do not run.
    fn standby(services: &[Arc<FailoverService>]) -> Self {
        let mut node = Self::fresh();
        node.does(|machine, now| machine.lower(now));
        node.does(|machine, now| machine.amend(services, now));
        for _ in services {
            node.ends(Ok(()));
        }
        assert_eq!(node.states(), vec![State::Stopped; services.len()]);
        node
    }

    fn fresh() -> Self {
        Self {
            machine: Machine::default(),
            now: Instant::now(),
            checks: Vec::new(),
            told: Vec::new(),
        }
    }

    /// What follows, in words; checks and what is told are kept.
    fn does(&mut self, what: impl FnOnce(&mut Machine, Instant)) -> Vec<String> {
        what(&mut self.machine, self.now);
        let mut done = Vec::new();
        for deed in self.machine.take_deeds() {
            match deed {
                Deed::Run(which, service) => {
                    let command = match which {
                        Which::Start => &service.start,
                        Which::Stop => &service.stop,
                    };
                    done.push(command.join(" "));
                }
                Deed::Break => done.push("break".to_owned()),
                Deed::LetGo => done.push("let go".to_owned()),
                Deed::Check(ticket, service) => self.checks.push((service.name.clone(), ticket)),
                Deed::Tell(_, text) => self.told.push(text),
            }
        }
        done
    }

    /// The program that runs ends so.
    fn ends(&mut self, how: Result<(), ()>) -> Vec<String> {
        let outcome = match how {
            Ok(()) => Ok("exit status: 0".to_owned()),
            Err(()) => Err("exit status: 1".to_owned()),
        };
        self.does(|machine, now| machine.ended(outcome, now))
    }

    /// All checks that are under way end so.
    fn answer(&mut self, outcome: &Outcome) -> Vec<String> {
        let mut done = Vec::new();
        for (_, ticket) in std::mem::take(&mut self.checks) {
            let outcome = outcome.clone();
            done.extend(self.does(|machine, now| machine.checked(ticket, outcome, now)));
        }
        done
    }

    fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.does(Machine::tick)
    }

    fn states(&self) -> Vec<State> {
        self.machine.shown().iter().map(|one| one.state).collect()
    }

    /// Active, and everything runs.
    fn active(services: &[Arc<FailoverService>]) -> Self {
        let mut node = Self::standby(services);
        node.does(|machine, now| machine.raise(now));
        for _ in services {
            node.ends(Ok(()));
        }
        node.answer(&Ok(()));
        assert_eq!(node.states(), vec![State::Running; services.len()]);
        node
    }
}

#[test]
fn services_start_in_order_and_stop_in_the_other() {
    let mut node = Node::standby(&[service("disk", 1), service("base", 2), service("web", 3)]);
    assert_eq!(node.does(|machine, now| machine.raise(now)), ["start disk"]);
    assert_eq!(node.ends(Ok(())), ["start base"]);
    assert_eq!(node.ends(Ok(())), ["start web"]);
    assert_eq!(node.ends(Ok(())), [""; 0]);
    assert_eq!(node.states(), [State::Starting; 3]);
    assert_eq!(node.answer(&Ok(())), [""; 0]);
    assert_eq!(node.states(), [State::Running; 3]);

    assert_eq!(node.does(|machine, now| machine.lower(now)), ["stop web"]);
    // One that cannot be stopped does not keep the others.
    assert_eq!(node.ends(Err(())), ["stop base"]);
    assert_eq!(node.ends(Ok(())), ["stop disk"]);
    assert_eq!(node.ends(Ok(())), ["let go"]);
    assert!(
        node.told
            .contains(&"stop_cmd of web failed: exit status: 1".to_owned())
    );
    assert_eq!(node.machine.trouble(), None);
    // Again: there is nothing to stop.
    assert_eq!(node.does(|machine, now| machine.lower(now)), ["let go"]);
}

#[test]
fn a_node_without_services_lets_go_at_once() {
    let mut node = Node::fresh();
    assert_eq!(node.does(|machine, now| machine.raise(now)), [""; 0]);
    assert_eq!(node.does(|machine, now| machine.lower(now)), ["let go"]);
    assert_eq!(node.machine.deadline(), None);
}

#[test]
fn what_a_daemon_before_this_one_started_is_looked_at_first() {
    let services = [service("base", 2), service("web", 3)];
    let mut node = Node::fresh();
    node.does(|machine, now| machine.raise(now));
    assert_eq!(
        node.does(|machine, now| machine.amend(&services, now)),
        [""; 0]
    );
    assert_eq!(node.checks.len(), 1);
    assert_eq!(node.answer(&Ok(())), [""; 0]);
    // The second one does not run.
    assert_eq!(node.states(), [State::Running, State::Unknown]);
    assert_eq!(node.answer(&refused()), ["stop web"]);
    assert_eq!(node.ends(Ok(())), ["start web"]);
    node.ends(Ok(()));
    node.answer(&Ok(()));
    assert_eq!(node.states(), [State::Running; 2]);
    assert_eq!(node.machine.trouble(), None);
}

#[test]
fn a_service_that_fails_keeps_its_node_from_being_active_for_a_while() {
    let mut node = Node::active(&[service("base", 2), service("web", 3)]);
    node.pass(INTERVAL);
    let (_, ticket) = node.checks.remove(1);
    node.answer(&Ok(()));
    let done = node.does(|machine, now| machine.checked(ticket, refused(), now));
    assert_eq!(done, [""; 0]);
    assert_eq!(node.states(), [State::Running, State::Failed]);
    assert_eq!(
        node.machine.trouble(),
        Some("web: no answer within 6s".into())
    );

    // It hands over.
    assert_eq!(node.does(|machine, now| machine.lower(now)), ["stop web"]);
    assert_eq!(node.ends(Ok(())), ["stop base"]);
    assert_eq!(node.ends(Ok(())), ["let go"]);
    node.pass(HELD - SECOND);
    assert!(node.machine.trouble().is_some());
    assert_eq!(node.machine.deadline(), Some(node.now + SECOND));
    node.pass(SECOND);
    assert_eq!(node.machine.trouble(), None);
    assert_eq!(node.machine.deadline(), None);
}

#[test]
fn where_nobody_takes_it_over_a_failed_service_is_started_again() {
    let mut node = Node::active(&[service("web", 3)]);
    for pause in [1, 2, 4, 8, 16, 32, 64, 64] {
        node.pass(INTERVAL);
        assert_eq!(node.answer(&refused()), [""; 0]);
        assert_eq!(node.states(), [State::Failed]);
        assert_eq!(node.pass(pause * SECOND - SECOND / 10), [""; 0], "{pause}");
        assert_eq!(node.pass(SECOND / 10), ["stop web"], "{pause}");
        assert_eq!(node.ends(Ok(())), ["start web"]);
        node.ends(Ok(()));
        // A check of the time before says nothing.
        node.checks.drain(..node.checks.len() - 1);
        assert_eq!(node.states(), [State::Starting]);
        assert!(node.machine.trouble().is_some());
        node.answer(&Ok(()));
        assert_eq!(node.states(), [State::Running]);
        assert_eq!(node.machine.trouble(), None);
    }
    // Well for long enough, it is as if nothing had been.
    while node.machine.shown()[0].checks < HELD.as_secs() / INTERVAL.as_secs() + 2 {
        node.pass(INTERVAL);
        node.answer(&Ok(()));
    }
    node.pass(INTERVAL);
    node.answer(&refused());
    assert_eq!(node.pass(SECOND), ["stop web"]);
}

#[test]
fn a_service_that_is_well_again_by_itself_goes_on() {
    let mut node = Node::active(&[service("web", 3)]);
    for pause in [1, 2, 4, 8] {
        node.pass(INTERVAL);
        node.answer(&refused());
        node.pass(pause * SECOND);
        node.ends(Ok(()));
        node.ends(Ok(()));
        node.answer(&Ok(()));
    }
    node.pass(INTERVAL);
    node.answer(&refused());
    assert_eq!(node.states(), [State::Failed]);
    // The pause is 16 s by now, and a check comes before its end.
    assert_eq!(node.pass(INTERVAL), [""; 0]);
    node.answer(&Ok(()));
    assert_eq!(node.states(), [State::Running]);
    assert_eq!(node.pass(10 * SECOND), [""; 0]);
    assert_eq!(node.machine.trouble(), None);
}

#[test]
fn a_service_has_three_intervals_to_answer_after_its_start() {
    let mut node = Node::standby(&[service("web", 3)]);
    node.does(|machine, now| machine.raise(now));
    node.ends(Ok(()));
    let mut checks = 0;
    while node.states() == [State::Starting] {
        checks += node.checks.len();
        node.answer(&refused());
        node.pass(SECOND);
        assert!(checks < 100);
    }
    assert_eq!(checks, 18, "each second");
    let trouble = "web: it does not answer after its start: no answer within 6s";
    assert_eq!(node.machine.trouble().as_deref(), Some(trouble));
}

#[test]
fn a_start_that_fails_holds_up_the_next_one_for_a_moment() {
    let mut node = Node::standby(&[service("base", 2), service("web", 3)]);
    node.does(|machine, now| machine.raise(now));
    assert_eq!(node.ends(Err(())), [""; 0], "the node may hand over");
    let trouble = "base: start_cmd failed: exit status: 1";
    assert_eq!(node.machine.trouble().as_deref(), Some(trouble));
    // Nobody took over. What failed is started again, and then the other one.
    assert_eq!(node.pass(SECOND), ["stop base"]);
    assert_eq!(node.ends(Ok(())), ["start base"]);
    assert_eq!(node.ends(Err(())), [""; 0]);
    assert_eq!(
        node.pass(SECOND),
        ["start web"],
        "base has to wait for two seconds"
    );
}

#[test]
fn a_start_is_broken_off_when_the_node_is_to_let_go() {
    let mut node = Node::standby(&[service("web", 3)]);
    assert_eq!(node.does(|machine, now| machine.raise(now)), ["start web"]);
    assert_eq!(node.does(|machine, now| machine.lower(now)), ["break"]);
    assert_eq!(
        node.ends(Err(())),
        ["stop web"],
        "nobody knows how far it was"
    );
    assert_eq!(node.ends(Ok(())), ["let go"]);
    assert_eq!(node.machine.trouble(), None);

    // It is wanted again before its start has ended.
    node.does(|machine, now| machine.raise(now));
    node.does(|machine, now| machine.lower(now));
    node.does(|machine, now| machine.raise(now));
    assert_eq!(node.ends(Err(())), ["stop web"]);
    assert_eq!(node.ends(Ok(())), ["start web"]);
    assert_eq!(node.machine.trouble(), None);
}

#[test]
fn another_file_stops_what_is_gone_and_starts_what_is_new() {
    let (base, web) = (service("base", 2), service("web", 3));
    let mut node = Node::active(&[base.clone(), web.clone()]);
    let same = Arc::new(FailoverService {
        start: vec!["other".into()],
        ..FailoverService::clone(&web)
    });
    let amended = [service("mail", 25), same];
    let done = node.does(|machine, now| machine.amend(&amended, now));
    assert_eq!(done, ["stop base"]);
    // The new one is looked at, for it may run.
    assert_eq!(node.ends(Ok(())), [""; 0]);
    assert_eq!(node.states(), [State::Unknown, State::Running]);
    let (_, ticket) = node.checks.pop().unwrap();
    let done = node.does(|machine, now| machine.checked(ticket, refused(), now));
    assert_eq!(done, ["stop mail"]);
    assert_eq!(node.ends(Ok(())), ["start mail"]);
    node.ends(Ok(()));
    node.answer(&Ok(()));
    assert_eq!(node.states(), [State::Running; 2]);

    let done = node.does(|machine, now| machine.amend(&[], now));
    assert_eq!(done, ["stop web"]);
    assert_eq!(node.ends(Ok(())), ["stop mail"]);
    assert_eq!(node.ends(Ok(())), [""; 0], "the node stays active");
    assert_eq!(node.states(), []);
}

#[test]
fn services_without_programs_are_only_checked() {
    let address = Arc::new(FailoverService {
        start: Vec::new(),
        stop: Vec::new(),
        ..FailoverService::clone(&service("web", 3))
    });
    let mut node = Node::standby_without_programs(&[address]);
    assert_eq!(node.does(|machine, now| machine.raise(now)), [""; 0]);
    assert_eq!(node.states(), [State::Starting]);
    node.answer(&Ok(()));
    assert_eq!(node.states(), [State::Running]);
    assert_eq!(node.does(|machine, now| machine.lower(now)), ["let go"]);
}

impl Node {
    fn standby_without_programs(services: &[Arc<FailoverService>]) -> Self {
        let mut node = Self::fresh();
        node.does(|machine, now| machine.lower(now));
        node.does(|machine, now| machine.amend(services, now));
        node
    }
}
