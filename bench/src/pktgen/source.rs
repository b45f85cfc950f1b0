//! Who sends: the kernel's pktgen, or test runs of our own driver, one on each CPU.

use std::{
    fmt,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::ValueEnum;
use lb_common::recipe::Recipe;
use lb_tests::Family;
use serde::Serialize;

use super::{
    load::Size,
    module::{self, Module},
};
use crate::{
    bed,
    case::Case,
    frame::{Ends, Numbers, Packet},
    generator::Generator,
};

/// Which generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The kernel's pktgen
    Pktgen,
    /// Live frames of a test run of our own program
    Live,
}

/// A generator on as many CPUs as are to send.
pub(crate) enum Source {
    Module(Module),
    Live(Vec<Generator>),
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    pub(crate) case: Case,
    pub(crate) size: Size,
    pub(crate) packet: Packet,
    pub(crate) ends: Ends,
    pub(crate) out: Out,
    pub(crate) order: Order,
    /// Which of the rounds this is, and how many there are: flows that are new are new in each of them.
    pub(crate) round: u32,
    pub(crate) rounds: u32,
    /// How long it is to last. To call the kernel again takes live frames some ten milliseconds.
    pub(crate) time: Duration,
}

/// The interface by which it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// How many queues for sending it has.
    pub(crate) queues: usize,
}

/// Which flow comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The one after the one before.
    InTurn,
    /// Any. New flows are new in any case.
    ByLot,
}

/// What was sent.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    /// By all CPUs together.
    pub(crate) per_second: f64,
}

/// So many packets are made by a call of the kernel that is to tell how long they take.
const FIRST: u32 = 4_096;

impl Sent {
    /// And what another CPU sent in its time.
    pub(crate) fn add(&mut self, packets: u64, time: Duration) {
        self.packets += packets;
        self.per_second += packets as f64 / time.as_secs_f64().max(1e-9);
    }
}

impl Kind {
    /// The one that is asked for, or pktgen if there is one.
    pub(crate) fn choose(asked: Option<Self>) -> Result<Self> {
        match asked {
            Some(Self::Live) => Ok(Self::Live),
            Some(Self::Pktgen) if module::provide() => Ok(Self::Pktgen),
            Some(Self::Pktgen) => anyhow::bail!("this kernel has no pktgen, nor a module of it"),
            None if module::provide() => Ok(Self::Pktgen),
            None => Ok(Self::Live),
        }
    }

    /// Whether it can make these packets: pktgen has one client over IPv6, which is too few for new flows.
    pub(crate) fn can_send(self, case: &Case) -> bool {
        match self {
            Self::Pktgen => case.flows().is_some() || case.family == Family::V4,
            Self::Live => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pktgen => "pktgen",
            Self::Live => "live frames",
        })
    }
}

impl Source {
    /// To be called on the host that sends, as all that follows.
    pub(crate) fn open(kind: Kind, cpus: usize, driver: &Path) -> Result<Self> {
        Ok(match kind {
            Kind::Pktgen => Self::Module(Module::take(cpus)?),
            Kind::Live => {
                let each = (0..cpus).map(|_| Generator::load(driver));
                Self::Live(each.collect::<Result<_>>()?)
            }
        })
    }

    /// Sends on each CPU until `observe` has returned, or so many packets on each; then it is told.
    pub(crate) fn run<T>(
        &mut self,
        stream: &Stream,
        limit: Option<u32>,
        observe: impl FnOnce(&Receiver<()>) -> Result<T>,
    ) -> Result<(Sent, T)> {
        match self {
            Self::Module(module) => module.run(stream, limit, observe),
            Self::Live(generators) => run_live(generators, stream, limit, observe),
        }
    }

    /// Sends so many packets on each CPU.
    pub(crate) fn send(&mut self, stream: &Stream, packets: u32) -> Result<Sent> {
        let all = |over: &Receiver<()>| Ok(over.recv()?);
        Ok(self.run(stream, Some(packets), all)?.0)
    }
}

fn run_live<T>(
    generators: &mut [Generator],
    stream: &Stream,
    limit: Option<u32>,
    observe: impl FnOnce(&Receiver<()>) -> Result<T>,
) -> Result<(Sent, T)> {
    let stop = &AtomicBool::new(false);
    let (finished, over) = mpsc::channel();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (cpu, generator) in generators.iter_mut().enumerate() {
            let finished = finished.clone();
            threads.push(scope.spawn(move || {
                let begun = Instant::now();
                let sent = match limit {
                    Some(limit) => push(generator, cpu, stream, limit),
                    None => push_until(generator, cpu, stream, stop),
                };
                // Nobody listens any more if it was stopped.
                let _ = finished.send(());
                Ok::<_, anyhow::Error>((sent?, begun.elapsed()))
            }));
        }
        let seen = observe(&over);
        stop.store(true, Ordering::Relaxed);
        let mut sent = Sent::default();
        for thread in threads {
            let (packets, time) = match thread.join() {
                Ok(done) => done?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            sent.add(packets, time);
        }
        Ok((sent, seen?))
    })
}

/// Sends so many packets from one CPU.
fn push(generator: &mut Generator, cpu: usize, stream: &Stream, packets: u32) -> Result<u64> {
    bed::stay_on(cpu)?;
    generator.push(&stream.recipe(cpu), packets)?;
    Ok(packets.into())
}

/// Sends from one CPU until it is told to stop; how many packets.
fn push_until(
    generator: &mut Generator,
    cpu: usize,
    stream: &Stream,
    stop: &AtomicBool,
) -> Result<u64> {
    bed::stay_on(cpu)?;
    let recipe = stream.recipe(cpu);
    let (mut sent, mut packets) = (0, FIRST);
    while !stop.load(Ordering::Relaxed) {
        let each = generator.push(&recipe, packets)?.max(1);
        sent += u64::from(packets);
        let fitting = stream.time.as_nanos() / u128::from(each);
        packets = u32::try_from(fitting).unwrap_or(u32::MAX).max(FIRST);
    }
    Ok(sent)
}

impl Stream {
    /// How long frames really are: none is shorter than its headers.
    pub(crate) fn length(&self) -> usize {
        match self.kind {
            Kind::Pktgen => module::length(self.size.bytes, self.ends.client.is_ipv6()),
            Kind::Live => self.size.bytes,
        }
    }

    /// How a CPU makes its packets: each has flows of its own.
    fn recipe(&self, cpu: usize) -> Recipe {
        let numbers = match (self.case.flows(), self.order) {
            (Some(count), Order::InTurn) => Numbers::InOrder { first: 0, count },
            (Some(count), Order::ByLot) => Numbers::ByLot { count },
            (None, Order::InTurn | Order::ByLot) => bed::NEW,
        };
        let mut recipe = self
            .packet
            .recipe_of(self.length(), &self.case, &self.ends, numbers);
        if self.case.flows().is_none() {
            recipe.mask >>= self.size.cpus.next_power_of_two().ilog2();
        }
        recipe.first += cpu as u32 * (recipe.mask + 1);
        recipe.target = self.out.index;
        recipe
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lb_control::model::Protocol;

    use super::*;
    use crate::case::{Method, Traffic};

    #[test]
    fn each_cpu_has_flows_of_its_own() {
        for traffic in [Traffic::Established(1_024), Traffic::New] {
            let case = Case::new(Method::Direct, Family::V4, Protocol::Udp, traffic);
            let stream = Stream {
                kind: Kind::Live,
                case,
                size: Size { bytes: 64, cpus: 3 },
                packet: case.packet(),
                ends: case.packet().ends(&case),
                out: Out {
                    name: "x".to_owned(),
                    index: 7,
                    queues: 1,
                },
                order: Order::ByLot,
                round: 0,
                rounds: 1,
                time: Duration::ZERO,
            };
            let mut ranges = BTreeSet::new();
            for cpu in 0..3 {
                let recipe = stream.recipe(cpu);
                assert_eq!(recipe.target, 7);
                assert!(recipe.first + recipe.mask < Recipe::CLIENTS, "{traffic}");
                ranges.insert((recipe.first, recipe.first + recipe.mask));
            }
            let ranges: Vec<_> = ranges.into_iter().collect();
            for pair in ranges.windows(2) {
                assert!(pair[0].1 < pair[1].0, "{traffic}: {ranges:?}");
            }
        }
    }
}
