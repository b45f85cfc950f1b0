//! `flows`: what many flows take: memory, the time to begin them, the time until the sweeper has taken
//! them away.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
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
    memory,
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
    let lab = Lab::new()?;
    let router = bed::router(&lab)?;
    let cost = router.inside(map_cost)?;
    check_room(&cost, options.flows, memory::available()?)?;
    printer.line(Outcome::HEADER)?;
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

/// What maps take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct MapCost {
    /// Whatever the number of flows.
    fixed: f64,
    /// For each entry of a flow table: both families have one.
    per_entry: f64,
}

impl MapCost {
    /// For so many flows with masquerading, which take two entries each.
    fn of(&self, flows: u32) -> f64 {
        self.fixed + self.per_entry * 2.0 * f64::from(flows)
    }
}

/// Looks at a data plane of moderate size.
fn map_cost() -> Result<MapCost> {
    const ENTRIES: u32 = 1 << 16;
    let case = case(Method::Direct, Family::V4, 1);
    let bed = Bed::load(case, ENTRIES, kernel::OBJECT, bed::PLACE)?;
    let memory = memory::of_maps(&bed.pins.maps())?;
    bed.clear()?;
    let (mut growing, mut fixed) = (0, 0);
    for (name, bytes) in memory {
        if GROWING.contains(&name.trim_end_matches(['4', '6'])) {
            growing += bytes;
        } else {
            fixed += bytes;
        }
    }
    Ok(MapCost {
        fixed: fixed as f64,
        per_entry: growing as f64 / f64::from(ENTRIES),
    })
}

/// Refuses what the machine has no memory for: the kernel would end other programs to get it.
fn check_room(cost: &MapCost, flows: u32, available: u64) -> Result<()> {
    // Something has to be left for others.
    let room = available as f64 * 0.9;
    if cost.of(flows) <= room {
        return Ok(());
    }
    let gibibytes = |bytes: f64| bytes / f64::from(1 << 30);
    let fitting = ((room - cost.fixed) / cost.per_entry / 2.0).max(0.0) as u32;
    bail!(
        "the maps for {flows} flows with masquerading take {:.1} GiB, and of the {:.1} GiB of memory that \
         are available a tenth is left to others; there is room for --flows {fitting}",
        gibibytes(cost.of(flows)),
        gibibytes(available as f64),
    );
}

/// The maps that grow with the flows of a family, without its number.
const GROWING: [&str; 3] = ["flows", "half_open", "standing"];

/// Established flows of one real server.
const fn case(method: Method, family: Family, flows: u32) -> Case {
    Case {
        method,
        family,
        protocol: Protocol::Tcp,
        traffic: Traffic::Established(flows),
        services: 1,
        servers: 1,
        scheduler: Scheduler::Rr,
    }
}

fn measure(
    method: Method,
    family: Family,
    flows: u32,
    cpu: usize,
    build: &Build,
) -> Result<Outcome> {
    bed::stay_on(cpu)?;
    let case = case(method, family, flows);
    let bed = Bed::load(case, flows, kernel::OBJECT, bed::PLACE)?;
    let mut driver = Driver::load(&build.driver, bed::INTERFACE)?;
    let memory = memory::of_maps(&bed.pins.maps())?;
    let of_family = format!("{}", if family == Family::V4 { 4 } else { 6 });
    let growing = GROWING.map(|name| format!("{name}{of_family}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_would_fit_is_told() {
        const GIB: u64 = 1 << 30;
        let cost = MapCost {
            fixed: f64::from(1 << 26),
            per_entry: 440.0,
        };
        // Flows, memory in GiB, whether they fit.
        let table = [
            (1 << 20, 2, true),
            (1 << 20, 1, false),
            (10_000_000, 10, true),
            (10_000_000, 9, false),
            (1, 0, false),
        ];
        for (flows, memory, fits) in table {
            let refused = check_room(&cost, flows, memory * GIB);
            assert_eq!(refused.is_ok(), fits, "{flows} in {memory} GiB");
            let Err(refused) = refused else { continue };
            let text = refused.to_string();
            let fitting: u32 = text.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(fitting < flows, "{text}");
            if fitting > 0 {
                check_room(&cost, fitting, memory * GIB).unwrap();
                assert!(
                    check_room(&cost, fitting + 1, memory * GIB).is_err(),
                    "{text}"
                );
            }
        }
    }
}
