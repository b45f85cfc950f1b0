//! `flows`: what many flows take: memory, the time to begin them, the time until the sweeper has taken
//! them away.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::maps::MapData;
use clap::Args;
use lb_control::{
    dataplane::kernel,
    model::{Protocol, Scheduler},
};
use lb_tests::{Family, Lab};
use serde::Serialize;

use crate::{
    bed::{self, Bed},
    case::{Case, Method, Traffic},
    driver::Driver,
    machine::{Build, Machine},
    printer::Printer,
};

/// How many, and how to tell.
#[derive(Args)]
pub(crate) struct Options {
    /// How many flows of each method and family
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    flows: u32,
    /// Print everything that was measured as JSON
    #[arg(long)]
    json: bool,
    /// The CPU to measure on; the last one if not given
    #[arg(long)]
    cpu: Option<usize>,
}

/// All that was measured.
#[derive(Serialize)]
struct Report {
    machine: Machine,
    commit: String,
    cases: Vec<Outcome>,
}

/// What the flows of one method and family take.
#[derive(Serialize)]
struct Outcome {
    method: &'static str,
    family: &'static str,
    flows: u32,
    /// What the maps that grow with the flows of a family take, in bytes.
    memory: u64,
    /// The same for each flow.
    memory_per_flow: f64,
    /// What all maps together take, in bytes: those of the other family too.
    memory_of_all: u64,
    /// How long it took to begin and establish them, by two packets or three each, in seconds.
    filled_in: f64,
    /// How long after their real servers had gone the last of them was taken away, in seconds; none if
    /// that took longer than [`LIMIT`].
    swept_in: Option<f64>,
}

/// How long the sweeper is waited for.
const LIMIT: Duration = Duration::from_secs(300);

/// Measures.
pub(crate) fn run(options: &Options, build: &Build) -> Result<()> {
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
        cases: Vec::new(),
    };
    for method in [Method::Direct, Method::Nat] {
        for family in [Family::V4, Family::V6] {
            let outcome = router.inside(|| measure(method, family, options.flows, cpu, build))?;
            printer.line(outcome.line())?;
            report.cases.push(outcome);
        }
    }
    printer.end(&report)
}

fn measure(
    method: Method,
    family: Family,
    flows: u32,
    cpu: usize,
    build: &Build,
) -> Result<Outcome> {
    bed::stay_on(cpu)?;
    let case = Case {
        method,
        family,
        protocol: Protocol::Tcp,
        traffic: Traffic::Established(flows),
        services: 1,
        servers: 1,
        scheduler: Scheduler::Rr,
    };
    let bed = Bed::load(case, flows, kernel::OBJECT, bed::PLACE)?;
    let mut driver = Driver::load(&build.driver, bed::INTERFACE)?;
    let memory = memory(&bed.pins.maps())?;
    let of_family = format!("{}", if family == Family::V4 { 4 } else { 6 });
    let growing = ["flows", "half_open", "standing"].map(|name| format!("{name}{of_family}"));
    let sum = |wanted: &dyn Fn(&String) -> bool| {
        let wanted = memory.iter().filter(|(name, _)| wanted(name));
        wanted.map(|(_, bytes)| bytes).sum::<u64>()
    };
    let begun = Instant::now();
    bed.prepare(&mut driver)?;
    let filled_in = begun.elapsed();
    bed.take_servers_away()?;
    let swept_in = bed.wait_for_the_last(LIMIT)?;
    drop(driver);
    bed.clear()?;
    let bytes = sum(&|name| growing.contains(name));
    Ok(Outcome {
        method: method.name(),
        family: if family == Family::V4 { "v4" } else { "v6" },
        flows,
        memory: bytes,
        memory_per_flow: bytes as f64 / f64::from(flows),
        memory_of_all: sum(&|_| true),
        filled_in: filled_in.as_secs_f64(),
        swept_in: swept_in.map(|time| time.as_secs_f64()),
    })
}

/// What the kernel says that each map takes, in bytes.
fn memory(maps: &Path) -> Result<Vec<(String, u64)>> {
    let mut memory = Vec::new();
    for entry in fs::read_dir(maps)? {
        let path = entry?.path();
        let map =
            MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))?;
        let info = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
        let info = fs::read_to_string(&info).with_context(|| format!("reading {info}"))?;
        let bytes = info
            .lines()
            .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
            .with_context(|| format!("the kernel does not say what {} takes", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        memory.push((name.into_owned(), bytes));
    }
    Ok(memory)
}

impl Outcome {
    const HEADER: &str =
        "method  family     flows  bytes/flow  all maps MiB  filled in s  swept in s";

    fn line(&self) -> String {
        let swept = self.swept_in.map_or_else(
            || format!("> {}", LIMIT.as_secs()),
            |time| format!("{time:.1}"),
        );
        format!(
            "{:<7} {:<6} {:>9} {:>11.0} {:>13} {:>12.1} {:>11}",
            self.method,
            self.family,
            self.flows,
            self.memory_per_flow,
            self.memory_of_all.div_ceil(1 << 20),
            self.filled_in,
            swept,
        )
    }
}
