//! `packet`: nanoseconds per packet in the kernel, the balancer's own.
//!
//! The balancer, a program that does nothing in its place, and the kernel's empty loop are measured in
//! turn, in chunks of a few milliseconds each: what disturbs one of them disturbs the others. How quiet a
//! round was is told by its empty loop.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use lb_common::{
    recipe::{Recipe, Target},
    testing::checksums,
};
use lb_control::model::Scheduler;
use lb_tests::Lab;
use serde::Serialize;

use crate::{
    bed::{self, Bed, Fates},
    case::{Case, Traffic},
    machine::{Build, Machine},
    printer::Printer,
    samples::Samples,
};

/// What to measure, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the cases whose names have all of these words in them
    #[arg(value_name = "CASE")]
    words: Vec<String>,
    /// Every case that there is, not only those that tell most
    #[arg(long)]
    all: bool,
    /// Only name the cases
    #[arg(long)]
    list: bool,
    /// Print everything that was measured as JSON
    #[arg(long)]
    json: bool,
    /// How many quiet chunks of each; five times as many are measured if the others are not
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    chunks: u32,
    /// How long a chunk takes, in microseconds
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(100..))]
    chunk: u64,
    /// How many entries the flow table has; twice as many with masquerading
    #[arg(long, default_value_t = 1 << 21)]
    flows: u32,
    /// The CPU to measure on; the last one if not given
    #[arg(long)]
    cpu: Option<usize>,
}

impl Options {
    /// How many chunks of each are measured at most.
    const fn most_chunks(&self) -> usize {
        self.chunks as usize * 5
    }
}

/// Fewer rounds than this say nothing.
const FEW: usize = 10;

/// All that was measured.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    commit: String,
    cpu: usize,
    flow_table: u32,
    cases: Vec<Outcome>,
}

/// What a case cost, in nanoseconds per packet.
#[derive(Serialize)]
struct Outcome {
    case: String,
    packets_per_chunk: u32,
    /// How many rounds were quiet: the empty loop took no more than a quarter longer than it ever did. What
    /// follows is of those, or of all if they are fewer than [`FEW`].
    quiet_rounds: usize,
    /// The balancer's own cost: the 10th percentile of `balancer` less that of `driver`.
    net_p10: i64,
    /// The same of medians.
    net_median: i64,
    /// How far the 10th and the 90th percentile of `balancer` are apart.
    spread: u64,
    /// The least that the empty loop took, in this case and those before.
    fastest: u64,
    /// What was not as the case wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    complaint: Option<String>,
    /// The kernel's loop round a program that does nothing.
    empty: Samples,
    /// A fresh packet and a call of the program that does nothing.
    driver: Samples,
    /// A fresh packet and a call of the balancer.
    balancer: Samples,
}

/// Measures.
pub(crate) fn run(options: &Options, build: &Build) -> Result<()> {
    let cases = if options.all {
        Case::all()
    } else {
        Case::important()
    };
    let cases: Vec<_> = cases
        .into_iter()
        .filter(|case| case.is_meant_by(&options.words))
        .collect();
    if cases.is_empty() {
        bail!("no case has all of these words: --list names them, --all --list names more");
    }
    if options.list {
        return cases.iter().try_for_each(|case| Printer::Table.line(case));
    }
    let machine = Machine::find();
    let cpu = options.cpu.unwrap_or(machine.cpus.saturating_sub(1));
    let printer = Printer::new(options.json);
    printer.line(format_args!(
        "{machine}, on CPU {cpu}, commit {}",
        build.commit
    ))?;
    printer.line(Outcome::HEADER)?;
    let lab = Lab::new()?;
    let router = bed::router(&lab)?;
    let mut report = Report {
        machine,
        commit: build.commit.clone(),
        cpu,
        flow_table: options.flows,
        cases: Vec::new(),
    };
    let mut fastest = u64::MAX / 5;
    for case in cases {
        let outcome = router.inside(|| measure(case, cpu, fastest, options, &build.driver))?;
        fastest = outcome.fastest;
        printer.line(outcome.line())?;
        report.cases.push(outcome);
    }
    printer.end(&report)
}

fn measure(
    case: Case,
    cpu: usize,
    fastest: u64,
    options: &Options,
    driver: &Path,
) -> Result<Outcome> {
    bed::stay_on(cpu)?;
    let mut bed = Bed::load(case, options.flows, driver)?;
    bed.prepare()?;
    let (packet, numbers, limit) = bed.traffic();
    let recipe = packet.recipe(&case, numbers);
    let fresh = Recipe {
        target: Target::Bare as u32,
        ..recipe
    };
    for _ in 0..16 {
        let frame = bed.driver.look(&recipe)?;
        checksums(&frame).map_err(|wrong| anyhow!("the driver made a wrong packet: {wrong:?}"))?;
    }
    let before = bed.fates()?;
    let (packets, tried) = size_of_chunk(&mut bed, &recipe, limit, options)?;
    let mut outcome = Outcome {
        case: case.to_string(),
        packets_per_chunk: packets,
        quiet_rounds: 0,
        net_p10: 0,
        net_median: 0,
        spread: 0,
        fastest,
        complaint: None,
        empty: Samples::default(),
        driver: Samples::default(),
        balancer: Samples::default(),
    };
    while outcome.quiet() < options.chunks as usize && outcome.rounds() < options.most_chunks() {
        let empty = bed.driver.run_bare(packets)?;
        let driver = bed.driver.run(&fresh, packets)?;
        let balancer = bed.driver.run(&recipe, packets)?;
        let empty = empty.per_packet.as_nanos() as u64;
        outcome.fastest = outcome.fastest.min(empty);
        outcome.empty.add(empty);
        outcome.driver.add(driver.per_packet.as_nanos() as u64);
        outcome.balancer.add(balancer.per_packet.as_nanos() as u64);
    }
    let fates = bed.fates()?.since(&before);
    let sent = u64::from(packets) * outcome.rounds() as u64 + tried;
    outcome.complaint = complaint(&case, &fates, sent);
    outcome.summarize();
    bed.clear()?;
    Ok(outcome)
}

/// How many packets make a chunk, and how many were sent to find that out.
fn size_of_chunk(
    bed: &mut Bed,
    recipe: &Recipe,
    limit: u64,
    options: &Options,
) -> Result<(u32, u64)> {
    const FIRST: u32 = 512;
    let most = limit / (options.most_chunks() as u64 + 1);
    let (mut per_packet, mut sent) = (u64::MAX, 0);
    // The first packets find all caches cold.
    for _ in 0..4 {
        let run = bed.driver.run(recipe, FIRST)?;
        per_packet = per_packet.min(run.per_packet.as_nanos() as u64).max(1);
        sent += u64::from(FIRST);
    }
    let packets = (options.chunk * 1_000 / per_packet).min(most).max(1);
    Ok((u32::try_from(packets)?, sent))
}

/// What is wrong if packets met another fate than they are measured for.
fn complaint(case: &Case, fates: &Fates, sent: u64) -> Option<String> {
    let is_repeatable = case.scheduler == Scheduler::Mh && !case.method.is_masquerading();
    let (fate, as_wanted) = match case.traffic {
        Traffic::Foreign => ("passed", fates.passed),
        Traffic::Full if !is_repeatable => ("dropped", fates.dropped),
        Traffic::Established(_)
        | Traffic::New
        | Traffic::Full
        | Traffic::Flood
        | Traffic::Stateless(_) => ("steered", fates.steered),
    };
    if as_wanted == sent {
        return None;
    }
    let reasons: Vec<_> = fates
        .reasons
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    Some(format!(
        "{as_wanted} of {sent} were {fate} ({})",
        reasons.join(", ")
    ))
}

impl Outcome {
    const HEADER: &str = "case                                             net p10  median  spread  driver  empty  quiet";

    /// How many chunks of each there are.
    fn rounds(&self) -> usize {
        self.empty.values().len()
    }

    /// How many rounds were quiet.
    fn quiet(&self) -> usize {
        self.quiet_ones().count()
    }

    /// Which rounds were quiet. Only the empty loop decides it, which knows nothing of the balancer.
    fn quiet_ones(&self) -> impl Iterator<Item = usize> {
        let limit = self.fastest * 5 / 4;
        let rounds = self.empty.values().iter().enumerate();
        rounds
            .filter(move |(_, empty)| **empty <= limit)
            .map(|(round, _)| round)
    }

    fn summarize(&mut self) {
        let quiet: Vec<_> = self.quiet_ones().collect();
        self.quiet_rounds = quiet.len();
        let of = |samples: &Samples| {
            if quiet.len() < FEW {
                samples.clone()
            } else {
                samples.only(&quiet)
            }
        };
        let (driver, balancer) = (of(&self.driver), of(&self.balancer));
        let net = |percent| balancer.percentile(percent) as i64 - driver.percentile(percent) as i64;
        self.net_p10 = net(10);
        self.net_median = net(50);
        self.spread = balancer.spread();
    }

    fn line(&self) -> String {
        let mut line = format!(
            "{:<48} {:>7} {:>7} {:>7} {:>7} {:>6} {:>5}%",
            self.case,
            self.net_p10,
            self.net_median,
            self.spread,
            self.driver.percentile(10),
            self.empty.percentile(10),
            self.quiet_rounds * 100 / self.rounds().max(1),
        );
        if let Some(complaint) = &self.complaint {
            line.push_str("  ! ");
            line.push_str(complaint);
        }
        line
    }
}
