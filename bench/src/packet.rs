//! `packet`: nanoseconds per packet in the kernel, the balancer's own.
//!
//! The balancer, a program that does nothing in its place, and the kernel's empty loop are measured in
//! turn, in chunks of a few milliseconds each: what disturbs one of them disturbs the others. How quiet a
//! round was is told by its empty loop. A second balancer, of another object, may take part in the rounds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use lb_common::{
    recipe::{Recipe, Target},
    testing::checksums,
};
use lb_control::{dataplane::kernel, model::Scheduler};
use lb_tests::Lab;
use serde::Serialize;

use crate::{
    bed::{self, Bed, Fates},
    case::{Case, Traffic},
    driver::Driver,
    layout,
    machine::{Build, Machine},
    printer::Printer,
    rounds::{Cost, Ratio, Round, Rounds},
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
    /// Another object to compare with, in the same rounds: a file, or a commit of which it is built
    #[arg(long, value_name = "FILE|COMMIT")]
    against: Option<PathBuf>,
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

/// All that was measured.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    commit: String,
    cpu: usize,
    flow_table: u32,
    /// The object that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<PathBuf>,
    cases: Vec<Outcome>,
}

/// What a case cost, in nanoseconds per packet.
#[derive(Serialize)]
struct Outcome {
    case: String,
    packets_per_chunk: u32,
    /// How many rounds were quiet: the empty loop took no more than a quarter longer than it ever did. What
    /// follows is of those, or of all if they are too few.
    quiet_rounds: usize,
    /// The balancer's own cost.
    #[serde(flatten)]
    cost: Cost,
    /// That of the balancer that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_cost: Option<Cost>,
    /// The first divided by the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<Ratio>,
    /// What was not as the case wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    complaint: Option<String>,
    #[serde(flatten)]
    rounds: Rounds,
}

/// The object that it is compared with.
type Base = Option<Vec<u8>>;

/// Where the other balancer is pinned.
const BASE_PLACE: &str = "/sys/fs/bpf/lb-base";

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
    let base: Base = options.against.as_deref().map(object).transpose()?;
    printer.line(Outcome::header(base.is_some()))?;
    let lab = Lab::new()?;
    let router = bed::router(&lab)?;
    let mut report = Report {
        machine,
        commit: build.commit.clone(),
        cpu,
        flow_table: options.flows,
        against: options.against.clone(),
        cases: Vec::new(),
    };
    let mut fastest = u64::MAX / 5;
    for case in cases {
        let measured = router.inside(|| {
            bed::stay_on(cpu)?;
            measure(case, fastest, base.as_deref(), options, &build.driver)
        });
        let outcome = measured.with_context(|| case.to_string())?;
        fastest = outcome.rounds.fastest;
        printer.line(outcome.line())?;
        report.cases.push(outcome);
    }
    printer.end(&report)
}

/// An object that can be compared with ours.
fn object(path: &Path) -> Result<Vec<u8>> {
    let object = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    layout::check(kernel::OBJECT, &object).with_context(|| path.display().to_string())?;
    Ok(object)
}

fn measure(
    case: Case,
    fastest: u64,
    base: Option<&[u8]>,
    options: &Options,
    driver: &Path,
) -> Result<Outcome> {
    let mut driver = Driver::load(driver, bed::INTERFACE)?;
    let mut beds = vec![Bed::load(case, options.flows, kernel::OBJECT, bed::PLACE)?];
    if let Some(base) = base {
        let bed = Bed::load(case, options.flows, base, BASE_PLACE);
        beds.push(bed.context("the object that it is compared with")?);
    }
    for bed in &beds {
        bed.prepare(&mut driver)?;
    }
    let (packet, numbers, limit) = beds[0].traffic();
    let recipe = packet.recipe(&case, numbers);
    for _ in 0..16 {
        let frame = driver.look(&recipe)?;
        checksums(&frame).map_err(|wrong| anyhow!("the driver made a wrong packet: {wrong:?}"))?;
    }
    let before: Vec<_> = beds.iter().map(Bed::fates).collect::<Result<_>>()?;
    let (packets, tried) = size_of_chunk(&beds, &mut driver, &recipe, limit, options)?;
    let mut rounds = Rounds::new(fastest, base.is_some());
    while rounds.quiet() < options.chunks as usize && rounds.count() < options.most_chunks() {
        rounds.add(round(&beds, &mut driver, &recipe, packets, rounds.count())?);
    }
    let sent = u64::from(packets) * rounds.count() as u64 + tried;
    let mut complaints = Vec::new();
    for ((bed, before), which) in beds.iter().zip(&before).zip(["", "base: "]) {
        let complaint = complaint(&case, &bed.fates()?.since(before), sent);
        complaints.extend(complaint.map(|complaint| format!("{which}{complaint}")));
    }
    drop(driver);
    for bed in beds {
        bed.clear()?;
    }
    Ok(Outcome {
        case: case.to_string(),
        packets_per_chunk: packets,
        quiet_rounds: rounds.quiet(),
        cost: rounds.cost(),
        base_cost: rounds.base_cost(),
        ratio: rounds.ratio(),
        complaint: (!complaints.is_empty()).then(|| complaints.join("; ")),
        rounds,
    })
}

/// A chunk of each.
fn round(
    beds: &[Bed],
    driver: &mut Driver,
    recipe: &Recipe,
    packets: u32,
    number: usize,
) -> Result<Round> {
    let fresh = Recipe {
        target: Target::Bare as u32,
        ..*recipe
    };
    let empty = driver.run_bare(packets)?.nanoseconds();
    let bare = driver.run(&fresh, packets)?.nanoseconds();
    let mut each = [None; 2];
    let mut turns: Vec<_> = beds.iter().zip(&mut each).collect();
    // The one that comes first finds the caches as the driver left them, and not always the same one shall.
    if number % 2 == 1 {
        turns.reverse();
    }
    for (bed, time) in turns {
        *time = Some(bed.run(driver, recipe, packets)?.nanoseconds());
    }
    let [balancer, base] = each;
    Ok(Round {
        empty,
        driver: bare,
        balancer: balancer.context("a round without the balancer")?,
        base,
    })
}

/// How many packets make a chunk, and how many were sent to find that out.
fn size_of_chunk(
    beds: &[Bed],
    driver: &mut Driver,
    recipe: &Recipe,
    limit: u64,
    options: &Options,
) -> Result<(u32, u64)> {
    const FIRST: u32 = 512;
    let most = limit / (options.most_chunks() as u64 + 1);
    let (mut per_packet, mut sent) = (u64::MAX, 0);
    // The first packets find all caches cold.
    for _ in 0..4 {
        for bed in beds {
            let run = bed.run(driver, recipe, FIRST)?;
            per_packet = per_packet.min(run.nanoseconds()).max(1);
        }
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
    const fn header(is_compared: bool) -> &'static str {
        if is_compared {
            "case                                            base p10  median  new p10  median  ratio p10  median           of pairs  quiet"
        } else {
            "case                                             net p10  median  spread  driver  empty  quiet"
        }
    }

    fn line(&self) -> String {
        let (driver, empty, quiet) = self.rounds.conditions();
        let Cost {
            net_p10,
            net_median,
            spread,
        } = self.cost;
        let mut line = format!("{:<48} ", self.case);
        line += &match (self.base_cost, self.ratio) {
            (Some(base), Some(ratio)) => {
                let [low, middle, high] = ratio.of_pairs;
                format!(
                    "{:>7} {:>7} {net_p10:>8} {net_median:>7} {:>10.3} {:>7.3} {low:>6.3} {middle:.3} \
                     {high:.3} {quiet:>5}%",
                    base.net_p10, base.net_median, ratio.p10, ratio.median
                )
            }
            _ => format!(
                "{net_p10:>7} {net_median:>7} {spread:>7} {driver:>7} {empty:>6} {quiet:>5}%"
            ),
        };
        if let Some(complaint) = &self.complaint {
            line.push_str("  ! ");
            line.push_str(complaint);
        }
        line
    }
}
