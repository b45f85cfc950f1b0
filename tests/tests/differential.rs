//! The program in the kernel and the same code on the host are given the same packets, the same time
//! and the same chance, and have to do the same. What happens is drawn by lot from a seed
//! ([`Scenario`]), or is a packet of the table with something wrong in it.
//!
//! `LB_DIFFERENTIAL=N` plays N scenarios, `LB_SEED=S` only that one, looking at everything after each
//! step.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    fmt::{Debug, Display},
    mem::{Discriminant, discriminant},
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lb_common::{
    flow::{Flow, FlowKey},
    fragment::FragmentKey,
    maps::NextHop,
    packet::MAX_OFFSET,
    record::{Outcome, Record},
    tables::Route,
    testing::{
        CLOSED, FRONT, FRONT_VLAN_ID, HostFlows, HostPacket, HostTables, Scenario, Site, Step,
        Write, balance, mac, neighbours, seeds, stories, story,
    },
    verdict::{Fate, Reason, Verdict},
};
use nix::{sched, unistd::Pid};

mod kernel;
use kernel::{FLOWS, Program, Time, on_a_router_with};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// How many scenarios are played.
const SCENARIOS: u64 = 2_000;
/// Steps of a scenario.
const STEPS: usize = 1_000;
/// After so many of them everything is compared.
const ROUND: usize = 50;
/// So many steps are told of a difference.
const TOLD: usize = 6;

#[test]
fn scenarios_end_alike() {
    on_a_router_with(Time::Virtual, |program| {
        stay_on_one_cpu()?;
        let mut tally = Tally::default();
        if let Some(seed) = number("LB_SEED")? {
            return play(program, seed, 1, &mut tally);
        }
        let count = number("LB_DIFFERENTIAL")?.unwrap_or(SCENARIOS);
        for seed in 1..=count {
            if let Err(late) = play(program, seed, ROUND, &mut tally) {
                // The same again, to see at which step it begins.
                play(program, seed, 1, &mut tally)?;
                return Err(late);
            }
        }
        println!("{count} scenarios, {tally}");
        tally.ensure_variety()
    });
}

#[test]
fn strange_packets_end_alike() {
    on_a_router_with(Time::Virtual, |program| {
        stay_on_one_cpu()?;
        let mut tally = Tally::default();
        for case in seeds() {
            let mut both = Both::new(program, &case.site)?;
            for (interface, frame) in &case.before {
                both.packet(*interface, frame, &mut tally)?;
            }
            let mut result = both
                .packet(case.interface, &case.input, &mut tally)
                .map(drop);
            let mut count = 0;
            neighbours(&case.input, |frame| {
                if result.is_ok() {
                    count += 1;
                    result = both
                        .look_at(case.interface, frame, count, &mut tally)
                        .with_context(|| format!("{}: {frame:02x?}", case.name));
                }
            });
            result?;
            both.compare().with_context(|| case.name.clone())?;
        }
        println!("{tally}");
        Ok(())
    });
}

#[test]
fn what_a_fuzzer_found_ends_alike() {
    on_a_router_with(Time::Virtual, |program| {
        stay_on_one_cpu()?;
        let mut tally = Tally::default();
        for data in stories() {
            let Some((site, steps)) = story(&data) else {
                continue;
            };
            let mut both = Both::new(program, &site)?;
            let played = steps
                .iter()
                .try_for_each(|step| both.take(step, &mut tally).map(drop))
                .and_then(|()| both.compare());
            played.with_context(|| format!("{data:02x?}"))?;
        }
        println!("{tally}");
        Ok(())
    });
}

/// Counters and rooms of the program are per CPU.
fn stay_on_one_cpu() -> Result<()> {
    let this = Pid::from_raw(0);
    let all = sched::sched_getaffinity(this)?;
    let first = (0..sched::CpuSet::count()).find(|cpu| all.is_set(*cpu).unwrap_or(false));
    let mut one = sched::CpuSet::new();
    one.set(first.context("a CPU")?)?;
    Ok(sched::sched_setaffinity(this, &one)?)
}

fn number(variable: &str) -> Result<Option<u64>> {
    let text = std::env::var(variable).ok();
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.with_context(|| format!("{variable} is no number"))
}

/// Plays the scenario of a seed on both sides.
fn play(program: &mut Program, seed: u64, round: usize, tally: &mut Tally) -> Result<()> {
    let mut scenario = Scenario::new(seed);
    let mut both = Both::new(program, &scenario.site)?;
    let mut last = VecDeque::new();
    for number in 1..=STEPS {
        let step = scenario.step();
        let outcome = both.take(&step, tally);
        last.push_back(step);
        if last.len() > TOLD {
            last.pop_front();
        }
        let alike = outcome.and_then(|output| {
            if let Some(output) = output {
                scenario.came_out(&output);
            }
            if number % round == 0 {
                both.compare()?;
            }
            Ok(())
        });
        alike.with_context(|| {
            let steps: Vec<_> = last.iter().map(|step| format!("  {step:02x?}")).collect();
            format!(
                "step {number} of seed {seed}; to repeat it: LB_SEED={seed}\n{}\n",
                steps.join("\n")
            )
        })?;
    }
    Ok(())
}

/// Both sides, with the same tables.
struct Both<'a> {
    program: &'a mut Program,
    host: HostTables,
}

impl<'a> Both<'a> {
    fn new(program: &'a mut Program, site: &Site) -> Result<Self> {
        program.set_up(site)?;
        let mut host = site.tables();
        host.settings.flows = host.settings.flows.min(FLOWS);
        host.settings.half_open = host.settings.half_open.min(FLOWS);
        host.routes = Some(route);
        host.capacity = FLOWS as usize;
        host.fragments = usize::MAX;
        host.ears = usize::MAX;
        program.set_clock(host.clock.get(), host.random.get())?;
        Ok(Self { program, host })
    }

    /// Has a step happen on both sides. The packet that is forwarded, if it is one.
    fn take(&mut self, step: &Step, tally: &mut Tally) -> Result<Option<Vec<u8>>> {
        match step {
            Step::Packet(interface, frame) => self.packet(*interface, frame, tally),
            Step::Time(ticks) => {
                self.host.advance(*ticks);
                let random = self.program.random()?;
                self.program.set_clock(self.host.clock.get(), random)?;
                Ok(None)
            }
            Step::Sweep(steps) => {
                self.program.sweep(*steps)?;
                tally.sweeps += 1;
                survived(|| self.host.sweep_on(*steps))?;
                Ok(None)
            }
            Step::Learn(record) => {
                self.learn(record, tally)?;
                Ok(None)
            }
            Step::Write(write) => {
                tally.writes.insert(discriminant(write));
                write.apply(&mut self.host);
                self.program.write(write)?;
                Ok(None)
            }
        }
    }

    /// Has both sides learn a record.
    fn learn(&mut self, record: &Record, tally: &mut Tally) -> Result<()> {
        let mut ours = *record;
        survived(|| {
            // What became of it is in the record.
            self.host.learn(&mut ours);
        })?;
        let theirs = self.program.learn(record)?;
        tally.learned.insert(ours.outcome);
        same("record", &theirs, &ours)
    }

    /// Gives both sides a packet. If they forward it, what comes out.
    fn packet(
        &mut self,
        interface: u32,
        frame: &[u8],
        tally: &mut Tally,
    ) -> Result<Option<Vec<u8>>> {
        let (action, output) = self.program.balance(interface, frame)?;
        let mut packet = HostPacket::new(frame, interface);
        let mut verdict = Ok(Verdict::Pass);
        survived(|| verdict = balance(&mut packet, &self.host))?;
        tally.count(verdict);
        let expected = action_of(verdict);
        ensure!(
            action == expected,
            "the kernel's action is {action}, on the host it is {expected}: {verdict:?}\n{:?}\n{:?}",
            self.program.reasons()?,
            self.host.reasons.borrow()
        );
        if action == XDP_DROP {
            return Ok(None);
        }
        ensure!(
            output == packet.bytes(),
            "{verdict:?}\n  {output:02x?} in the kernel\n  {:02x?} on the host",
            packet.bytes()
        );
        if action == XDP_PASS {
            ensure!(
                output == frame,
                "it is changed and passes: {verdict:?}\n  {output:02x?}"
            );
            return Ok(None);
        }
        Ok(Some(output))
    }

    /// As [`Self::packet`], and compares everything now and then.
    fn look_at(
        &mut self,
        interface: u32,
        frame: &[u8],
        count: usize,
        tally: &mut Tally,
    ) -> Result<()> {
        self.packet(interface, frame, tally)?;
        if count.is_multiple_of(ROUND) {
            self.compare()?;
        }
        Ok(())
    }

    /// Everything that is remembered and counted.
    fn compare(&mut self) -> Result<()> {
        self.compare_held()?;
        same("told", &self.program.told()?, &self.host.told.take())?;
        let (program, host) = (&*self.program, &self.host);
        same("reasons", &program.reasons()?, &host.reasons.borrow())?;
        same("events", &program.events()?, &host.events.borrow())?;
        same("random numbers", &program.random()?, &host.random.get())?;
        same_flows("flows4", &program.flows4()?, &host.v4.borrow())?;
        same_flows("flows6", &program.flows6()?, &host.v6.borrow())?;
        let (v4, v6) = (host.v4.borrow(), host.v6.borrow());
        for (queue, length) in (0..).zip([
            v4.half_open.len(),
            v4.standing.len(),
            v6.half_open.len(),
            v6.standing.len(),
        ]) {
            let queued = program.queued(queue)? as usize;
            same(format_args!("length of queue {queue}"), &queued, &length)?;
        }
        for (family, census) in (0..).zip([v4.census, v6.census]) {
            same("census", &program.census(family)?, &census)?;
        }
        for id in 0..host.servers.len() as u32 {
            let load = host.loads.borrow().get(&id).copied().unwrap_or_default();
            same(
                format_args!("load of server {id}"),
                &program.load_of(id)?,
                &load,
            )?;
            let traffic = host.traffic.borrow().get(&id).copied();
            let traffic = traffic.unwrap_or_default();
            same(
                format_args!("traffic of server {id}"),
                &program.traffic_of(id)?,
                &traffic,
            )?;
        }
        for (service, turn) in &*host.turns.borrow() {
            same("turn", &program.turn(*service)?, turn)?;
        }
        let localities = program.entries("localities")?;
        same("localities", &localities, &host.localities.borrow())?;
        same_fragments("fragments4", program, &v4)?;
        same_fragments("fragments6", program, &v6)
    }
}

impl Both<'_> {
    /// What was given into the daemon's hands since the last time.
    fn compare_held(&mut self) -> Result<()> {
        // The host keeps what headers can be in.
        let mut held = self.program.held()?;
        held.iter_mut()
            .for_each(|frame| frame.truncate(MAX_OFFSET + 1));
        same("held frames", &held, &self.host.held.take())
    }
}

/// A panic on the host is a difference too.
fn survived(run: impl FnOnce()) -> Result<()> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        anyhow!("the host panics: {}", text.unwrap_or_default())
    })
}

fn same<T: PartialEq + Debug>(what: impl Display, kernel: &T, host: &T) -> Result<()> {
    ensure!(
        kernel == host,
        "{what}:\n  {kernel:?} in the kernel\n  {host:?} on the host"
    );
    Ok(())
}

fn same_flows<A: Ord + Copy + Debug>(
    what: &str,
    kernel: &BTreeMap<FlowKey<A>, Flow<A>>,
    host: &HostFlows<A>,
) -> Result<()> {
    let host = host.flows.iter().map(|(key, entry)| (*key, entry.flow()));
    same_entries(what, kernel, &host.collect())
}

fn same_fragments<A: Ord + Copy + Debug>(
    what: &str,
    program: &Program,
    host: &HostFlows<A>,
) -> Result<()>
where
    FragmentKey<A>: aya::Pod,
    Flow<A>: aya::Pod,
{
    same_entries(what, &program.entries(what)?, &host.fragments)
}

/// Tells only the entries that differ.
fn same_entries<K: Ord + Copy + Debug, V: PartialEq + Debug>(
    what: &str,
    kernel: &BTreeMap<K, V>,
    host: &BTreeMap<K, V>,
) -> Result<()> {
    for key in kernel.keys().chain(host.keys()) {
        let (kernel, host) = (kernel.get(key), host.get(key));
        same(format_args!("{what}, {key:?}"), &kernel, &host)?;
    }
    Ok(())
}

fn action_of(verdict: Result<Verdict, Reason>) -> u32 {
    match verdict {
        Ok(Verdict::Pass) => XDP_PASS,
        Ok(Verdict::Transmit) => XDP_TX,
        Ok(Verdict::Hold) => XDP_DROP,
        Ok(Verdict::Redirect(_)) => XDP_REDIRECT,
        Err(reason) => match reason.fate() {
            Fate::Pass => XDP_PASS,
            Fate::Drop | Fate::Answer => XDP_DROP,
        },
    }
}

/// What the router of these tests answers when it is asked for a way: the host's side of `ip route`.
fn route(interface: u32, destination: IpAddr, length: usize) -> Route {
    // What is never forwarded is not so before anything else is asked, but for IPv6 only.
    if let IpAddr::V6(address) = destination
        && (address.is_multicast() || address.is_unicast_link_local() || address.is_loopback())
    {
        return Route::None(Reason::NoRoute);
    }
    if interface == CLOSED {
        return Route::None(Reason::ForwardingOff);
    }
    let way = match destination {
        IpAddr::V4(address) => match address.octets() {
            // The router's own, and broadcast; a net's lowest address is a host's since Linux 5.14.
            [192, 0, 2, 1 | 255] | [192, 168, 20, 1 | 255] | [10, 0, 0 | 3, 1 | 255] => Way::None,
            [192, 0, 2, 254] | [198, 51, 100, _] => Way::Gateway,
            [192, 168, 20, 254] | [198, 51, 101, _] => Way::Vlan,
            [192, 0, 2, _] | [192, 168, 20, _] | [10, 0, 0 | 3, _] | [203, 0, 113, _] => {
                Way::Silent
            }
            _ => Way::None,
        },
        IpAddr::V6(address) => match address.segments() {
            [0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0 | 1]
            | [0xfd20 | 0xfd00 | 0xfd03, 0, 0, 0, 0, 0, 0, 0 | 1] => Way::None,
            [0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0xfe] | [0x2001, 0xdb8, 0xc, 0, ..] => Way::Gateway,
            [0xfd20, 0, 0, 0, 0, 0, 0, 0xfe] | [0x2001, 0xdb8, 0xd, 0, ..] => Way::Vlan,
            [0x2001, 0xdb8, 0xa | 0xe, 0, ..] | [0xfd20 | 0xfd00 | 0xfd03, 0, 0, 0, ..] => {
                Way::Silent
            }
            _ => Way::None,
        },
    };
    if way == Way::None {
        return Route::None(Reason::NoRoute);
    }
    if length > 1_500 {
        return Route::TooBig(1_500);
    }
    let (vlan, last) = match way {
        Way::Gateway => (0, 0xc1),
        Way::Vlan => (FRONT_VLAN_ID as u16, 0xc2),
        Way::Silent | Way::None => return Route::NoNeighbour,
    };
    Route::Via(NextHop {
        interface: FRONT,
        vlan,
        mac: mac(last),
        source_mac: mac(0x01),
        mtu: 1_500,
    })
}

#[derive(PartialEq, Eq)]
enum Way {
    Gateway,
    Vlan,
    Silent,
    None,
}

/// How many packets, and what became of them.
#[derive(Default)]
struct Tally {
    packets: u64,
    sweeps: u64,
    writes: HashSet<Discriminant<Write>>,
    learned: BTreeSet<Outcome>,
    verdicts: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn count(&mut self, verdict: Result<Verdict, Reason>) {
        self.packets += 1;
        let name = match verdict {
            Ok(Verdict::Pass) => "passed",
            Ok(Verdict::Hold) => "held",
            Ok(Verdict::Transmit) => "sent back",
            Ok(Verdict::Redirect(_)) => "redirected",
            Err(reason) => reason.name(),
        };
        *self.verdicts.entry(name).or_default() += 1;
    }

    /// Scenarios that go nowhere show nothing.
    fn ensure_variety(&self) -> Result<()> {
        for wanted in ["passed", "held", "sent back", "redirected"]
            .into_iter()
            .chain(WANTED.iter().map(|reason| reason.name()))
        {
            if !self.verdicts.contains_key(wanted) {
                bail!("no packet was {wanted}");
            }
        }
        let kinds = self.writes.len();
        ensure!(kinds == Write::KINDS, "{kinds} kinds of writes");
        for wanted in LEARNED {
            ensure!(self.learned.contains(&wanted), "no record was {wanted:?}");
        }
        Ok(())
    }
}

/// What has to come of some record. The rest takes two CPUs.
const LEARNED: [Outcome; 8] = [
    Outcome::LEARNED,
    Outcome::RENEWED,
    Outcome::ENDED,
    Outcome::ABSENT,
    Outcome::STRANGE,
    Outcome::FULL,
    Outcome::TAKEN,
    Outcome::MALFORMED,
];

/// What has to happen to some packet. The others take two CPUs, or are answered.
const WANTED: [Reason; 13] = [
    Reason::Malformed,
    Reason::NoFlow,
    Reason::FlowTableFull,
    Reason::ReplyTaken,
    Reason::NextHopUnknown,
    Reason::NoRoute,
    Reason::ForwardingOff,
    Reason::Unanswered,
    Reason::ServerGone,
    Reason::BadChecksum,
    Reason::NoPort,
    Reason::Martian,
    Reason::Fragment,
];

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (packets, sweeps) = (self.packets, self.sweeps);
        write!(f, "{packets} packets, {sweeps} sweeps: {:?}", self.verdicts)
    }
}
