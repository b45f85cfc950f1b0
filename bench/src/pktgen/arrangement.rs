//! A router with something that forwards, a generator before it, and sinks behind.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use lb_control::dataplane::bpffs::Pins;
use lb_tests::Lab;
use serde::Serialize;

use super::{
    load::Load,
    source::{Kind, Order, Out, Sent, Source, Stream},
    window::{Window, all_that_came},
};
use crate::{
    bed,
    case::{Case, Traffic},
    frame::Packet,
    generator::Generator,
    ipvs,
    samples::Samples,
    through::{CLIENTS, Cables, OUTSIDE, SERVERS, Through},
};

/// What forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarder {
    /// A program that has nothing to decide.
    Redirect,
    Balancer,
    Ipvs,
}

/// What of it has to be kept.
enum Kept {
    Redirect(#[expect(dead_code, reason = "it forwards as long as it lives")] Generator),
    Balancer(Pins),
    Ipvs,
}

/// All of it, and what was seen.
pub(crate) struct Arrangement {
    source: Source,
    sinks: Generator,
    kept: Kept,
    through: Through,
    stream: Stream,
    /// Packets per second at the sink, of each round.
    rates: Samples,
    sent: u64,
    arrived: u64,
    /// How many packets each CPU may send in a round; `None`: as many as it can.
    limit: Option<u32>,
}

/// What was seen at the sink.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// The median of all rounds.
    packets_per_second: u64,
    packets_per_second_and_cpu: u64,
    pub(super) lost_percent: f64,
    sent: u64,
    arrived: u64,
    rounds: Samples,
}

/// Long enough for the longest frame behind the longest header of a tunnel: GUE over IPv6 has 52 bytes.
const MTU: u32 = 1_600;

impl Stream {
    /// Through a router of the lab.
    pub(super) fn through(load: &Load, kind: Kind, rounds: u32, length: Duration) -> Self {
        Self {
            rounds,
            time: Window::needs(length),
            order: Order::ByLot,
            ..Self::of(load.case.packet(), load, kind)
        }
    }

    fn of(packet: Packet, load: &Load, kind: Kind) -> Self {
        let (name, index) = if packet.is_from_server() {
            (OUTSIDE[1], SERVERS)
        } else {
            (OUTSIDE[0], CLIENTS)
        };
        Self {
            kind,
            case: load.case,
            size: load.size,
            packet,
            ends: packet.ends(&load.case),
            out: Out {
                name: name.to_owned(),
                index,
                queues: load.size.cpus,
            },
            order: Order::InTurn,
            round: 0,
            rounds: 1,
            time: Duration::ZERO,
        }
    }
}

impl Arrangement {
    /// Sets it up and has the flows begun.
    pub(crate) fn new(
        lab: &Lab,
        forwarder: Forwarder,
        stream: Stream,
        entries: u32,
        driver: &Path,
    ) -> Result<Self> {
        let case = stream.case;
        let cables = Cables {
            family: case.family,
            // Whichever CPUs send, the queue is that of the CPU.
            queues: stream.size.cpus,
            mtu: MTU,
        };
        let entries = entries * if case.method.is_masquerading() { 2 } else { 1 };
        let through = Through::new(lab, cables)?;
        let kept = match forwarder {
            Forwarder::Redirect => {
                Kept::Redirect(through.redirect(stream.packet, &case, driver)?)
            }
            Forwarder::Balancer => Kept::Balancer(through.balance(&case, entries)?),
            Forwarder::Ipvs => {
                through.receive_in_turns()?;
                through.router.inside(|| ipvs::set_up(&case))?;
                Kept::Ipvs
            }
        };
        let (source, sinks) = through.outside.inside(|| {
            let mut sinks = Generator::load(driver)?;
            for interface in OUTSIDE {
                sinks.end_at(interface)?;
            }
            let source = Source::open(stream.kind, stream.size.cpus, driver)?;
            Ok((source, sinks))
        })?;
        let mut arrangement = Self {
            limit: limit(&case, entries, &stream),
            source,
            sinks,
            kept,
            through,
            stream,
            rates: Samples::default(),
            sent: 0,
            arrived: 0,
        };
        arrangement.begin()?;
        Ok(arrangement)
    }

    /// Has the flows established.
    fn begin(&mut self) -> Result<()> {
        let Self {
            source,
            stream,
            kept,
            through,
            ..
        } = self;
        let (Some(flows), Kept::Balancer(_) | Kept::Ipvs) = (stream.case.flows(), &kept) else {
            return Ok(());
        };
        through.outside.inside(|| {
            for packet in bed::beginning(stream.case.method) {
                let load = Load {
                    case: stream.case,
                    size: stream.size,
                };
                source
                    .send(&Stream::of(*packet, &load, stream.kind), flows)
                    .context("beginning flows")?;
            }
            Ok(())
        })
    }

    /// One round.
    pub(crate) fn measure(&mut self, round: u32, length: Duration) -> Result<()> {
        let Self {
            source,
            sinks,
            stream,
            limit,
            ..
        } = self;
        stream.round = round;
        let (rate, sent, arrived) = self.through.outside.inside(|| {
            let before = sinks.sunk()?;
            let (Sent { packets, .. }, window) = source.run(stream, *limit, |over| {
                Window::open(sinks, over, length, limit.is_some())
            })?;
            let arrived = all_that_came(sinks)? - before;
            Ok((window.per_second(), packets, arrived))
        })?;
        self.rates.add(rate);
        self.sent += sent;
        self.arrived += arrived;
        Ok(())
    }

    pub(crate) fn figure(&self, cpus: usize) -> Figure {
        let median = self.rates.percentile(50);
        let lost = self.sent.saturating_sub(self.arrived);
        Figure {
            packets_per_second: median,
            packets_per_second_and_cpu: median / cpus as u64,
            lost_percent: lost as f64 * 100.0 / self.sent.max(1) as f64,
            sent: self.sent,
            arrived: self.arrived,
            rounds: self.rates.clone(),
        }
    }

    /// What is wrong if other flows are known than were begun.
    pub(crate) fn complaint(&self) -> Result<Option<String>> {
        let Some(flows) = self.stream.case.flows() else {
            return Ok(None);
        };
        let (who, known) = match &self.kept {
            Kept::Redirect(_) => return Ok(None),
            Kept::Balancer(pins) => {
                let known = || bed::known_flows(pins);
                ("lvs-xdp", self.through.router.inside(known)?)
            }
            Kept::Ipvs => ("IPVS", self.through.router.inside(ipvs::connections)?),
        };
        let begun = flows * self.stream.size.cpus as u32;
        Ok((known != begun).then(|| format!("{who} knows {known} flows of {begun}")))
    }
}

/// Flows that are new are no more, in all rounds, than half the table holds: it never gets crowded.
fn limit(case: &Case, entries: u32, stream: &Stream) -> Option<u32> {
    let parts = if case.method.is_masquerading() { 4 } else { 2 };
    (case.traffic == Traffic::New)
        .then(|| (entries / parts / stream.rounds / stream.size.cpus as u32).max(1))
}

impl Figure {
    pub(super) fn millions(&self) -> f64 {
        self.packets_per_second as f64 / 1e6
    }

    /// How many times as much as another, to the hundredth.
    pub(super) fn ratio(&self, other: &Self) -> f64 {
        let ratio = self.packets_per_second as f64 / other.packets_per_second.max(1) as f64;
        (ratio * 100.0).round() / 100.0
    }
}
