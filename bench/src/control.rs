//! `control`: what the control plane takes to serve many services: the file, the tables, a change of them.
//!
//! Each run is a process of its own, whose memory is told too. The reconciler and what writes the tables are
//! the daemon's; nannies, netlink and sockets are left out: what they would tell is told at once, the reports of
//! nannies in no order, as they come.

use std::{
    env,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use lb_control::{
    config::reread::Rereader,
    control::order::{Order, Verb},
    dataplane::{
        Sizes,
        bpffs::Pins,
        kernel::{self, Back},
    },
    difference::differences,
    event::Event,
    health::{Failure, Health, Report},
    model::{ServiceId, Site},
    reconciler::Reconciler,
    turnover::turnover,
};
use lb_tests::Lab;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime,
    sync::{
        mpsc::{self, Sender},
        oneshot,
    },
    task::yield_now,
};

use crate::{
    bed,
    counted::{Counted, Writes},
    machine::{Build, Machine},
    memory,
    printer::Printer,
    samples::Samples,
    scale::Scale,
    site,
};

/// How large, and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Services, real servers of each, and the scheduler, as in 100x3-rr or 10000x3-rr+1x1000-mh; several
    /// that tell most if not given
    #[arg(value_name = "SCALE")]
    scales: Vec<Scale>,
    /// How many runs of each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Print everything that was measured as JSON
    #[arg(long)]
    json: bool,
    /// One run, told as JSON
    #[arg(long, hide = true)]
    once: bool,
}

/// All that was measured.
#[derive(Serialize)]
struct Summary {
    machine: Machine,
    commit: String,
    /// Whether the compiler left the checks of debugging in: figures are too high then.
    debug: bool,
    scales: Vec<Outcome>,
}

/// What one scale takes.
#[derive(Serialize)]
struct Outcome {
    scale: String,
    /// Bytes of lvs.cf.
    file: u64,
    /// What all maps take, in bytes.
    maps: u64,
    /// What the process has in memory once the tables are filled, in bytes; a number for each run.
    process: Samples,
    steps: Vec<Measured>,
}

/// What a step takes. Times are in microseconds, a number for each run.
#[derive(Serialize)]
struct Measured {
    step: Step,
    /// Time that passed.
    wall: Samples,
    /// Time that CPUs spent, in the process and for it in the kernel.
    cpu: Samples,
    /// What was written. It is the same in each run.
    writes: Writes,
}

/// What was measured in one process.
#[derive(Serialize, Deserialize)]
struct Run {
    file: u64,
    maps: u64,
    process: u64,
    steps: Vec<Taken>,
}

/// What a step took in it.
#[derive(Serialize, Deserialize)]
struct Taken {
    step: Step,
    wall: u64,
    cpu: u64,
    writes: Writes,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    /// lvs.cf, from its bytes to what it means.
    Parse,
    /// From empty tables until all servers are in them.
    Fill,
    /// One line of the file is another, the last weight: from its bytes until it is in the tables.
    Reload,
    /// One server of the last service has another weight by command.
    Weight,
    /// One server of the last service is found to have failed.
    Failure,
    /// Another next hop to one server of the last service.
    Way,
    /// An operator takes a server of the last service out.
    Order,
    /// A second passes in which nothing happens.
    Tick,
    /// A thousand real servers are measured for Prometheus: for so long a scrape holds up all else.
    Measure,
    /// Somebody asks for the routing table.
    Table,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Fill => "fill",
            Self::Reload => "reload",
            Self::Weight => "weight",
            Self::Failure => "failure",
            Self::Way => "way",
            Self::Order => "order",
            Self::Tick => "tick",
            Self::Measure => "measure",
            Self::Table => "table",
        }
    }
}

/// Measures.
pub(crate) fn run(options: &Options, build: &Build) -> Result<()> {
    let scales = if options.scales.is_empty() {
        Scale::usual()?
    } else {
        options.scales.clone()
    };
    if options.once {
        let scale = scales.first().context("which scale?")?;
        return Printer::Json.end(&once(scale)?);
    }
    let machine = Machine::find();
    let printer = Printer::new(options.json);
    printer.line(format_args!("{machine}, commit {}", build.commit))?;
    let debug = cfg!(debug_assertions);
    if debug {
        printer.line("! built for debugging: figures are too high")?;
    }
    printer.line(HEADER)?;
    let mut summary = Summary {
        machine,
        commit: build.commit.clone(),
        debug,
        scales: Vec::new(),
    };
    for scale in &scales {
        let runs: Result<Vec<Run>> = (0..options.runs).map(|_| apart(scale)).collect();
        let outcome = Outcome::of(scale, &runs.with_context(|| scale.to_string())?)?;
        for line in outcome.lines() {
            printer.line(line)?;
        }
        summary.scales.push(outcome);
    }
    printer.end(&summary)
}

/// One run in a process of its own.
fn apart(scale: &Scale) -> Result<Run> {
    let program = env::current_exe().context("cannot tell where this program is")?;
    let output = Command::new(program)
        .args(["control", "--once", &scale.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the run has failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// One run, in this process.
fn once(scale: &Scale) -> Result<Run> {
    let text = scale.lvs_cf();
    let bytes = text.clone().into_bytes();
    let mut clock = Clock::default();
    let mut reader = Rereader::default();
    let parsed = clock.measure(Step::Parse, || {
        (reader.read("lvs.cf", bytes).ok(), Writes::default())
    });
    let site = parsed.context("the lvs.cf that was made is wrong")?.site;
    let lab = Lab::new()?;
    lab.host("director")?.inside(|| {
        let pins = Pins::below(Path::new(bed::PLACE));
        pins.create()?;
        let (_program, dataplane) = kernel::load(&pins, sizes(&site), Back::Transmit)?;
        let (dataplane, writes) = Counted::new(dataplane);
        let reconciler = Reconciler::new(dataplane).context("reading the tables")?;
        let (sender, receiver) = mpsc::channel(site.services.len() + 2 * servers(&site) + 1);
        let mut process = 0;
        let runtime = runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let told = async {
                for (step, told) in steps(&site, &text)? {
                    let (before, begun) = (writes.get(), Moment::now()?);
                    let events = match told {
                        Told::Events(events) => events,
                        Told::File(text) => {
                            vec![Event::Configured(reread(&mut reader, &site, text)?)]
                        }
                    };
                    tell(&sender, events).await?;
                    clock.add(step, begun.until_now()?, writes.get().since(before));
                    if step == Step::Fill {
                        process = memory::of_process()?;
                    }
                }
                // Without a sender the reconciler ends.
                drop(sender);
                anyhow::Ok(())
            };
            tokio::join!(reconciler.run(receiver), told).1
        })?;
        Ok(Run {
            file: text.len() as u64,
            maps: memory::of_maps(&pins.maps())?
                .iter()
                .map(|(_, bytes)| bytes)
                .sum(),
            process,
            steps: clock.0,
        })
    })
}

/// What the daemon does with a file that it reads again.
fn reread(reader: &mut Rereader, before: &Site, text: String) -> Result<Site> {
    let mut site = reader.read("lvs.cf", text.into_bytes())?.site;
    turnover(&before.services, &mut site.services);
    let changed = differences(before, &site);
    ensure!(changed.len() == 1, "not one thing was changed: {changed:?}");
    Ok(site)
}

/// Maps that are large enough: the usual ones, if they are.
fn sizes(site: &Site) -> Sizes {
    let usual = Sizes::default();
    let needed = u32::try_from(servers(site) + 1).unwrap_or(u32::MAX);
    Sizes {
        servers: usual.servers.max(needed.next_power_of_two()),
        ..usual
    }
}

fn servers(site: &Site) -> usize {
    let each = site.services.iter().map(|service| service.servers.len());
    each.sum()
}

/// Waits until the reconciler has done everything that it was told. It shares our thread, and has nothing
/// left to do when it waits for more.
async fn tell(sender: &Sender<Event>, events: Vec<Event>) -> Result<()> {
    for event in events {
        sender.try_send(event).map_err(|error| anyhow!("{error}"))?;
    }
    while sender.capacity() < sender.max_capacity() {
        yield_now().await;
    }
    Ok(())
}

/// What happens in a step.
#[derive(Debug)]
enum Told {
    /// The reconciler is told this.
    Events(Vec<Event>),
    /// lvs.cf is this now.
    File(String),
}

/// What happens, step by step.
fn steps(site: &Site, text: &str) -> Result<Vec<(Step, Told)>> {
    let last = site.services.last().context("there is no service")?;
    let server = last.servers.last().context("there is no server")?;
    let (key, socket) = (last.key, server.socket);
    let mut fill = vec![Event::Configured(site.clone())];
    let mut reports = Vec::new();
    for service in &site.services {
        for server in &service.servers {
            fill.push(site::way(server.socket.ip(), bed::INTERFACE, site::MTU));
            reports.push((service.key, server.socket));
        }
    }
    // A prime number leaps over all of them, each once.
    for number in 0..reports.len() {
        let (service, server) = reports[number * LEAP % reports.len()];
        fill.push(report(service, server, Health::Up));
    }
    let (head, tail) = text.rsplit_once("weight = 1").context("no weight")?;
    let file = format!("{head}weight = 2{tail}");
    let mut changed = site.clone();
    let services = &mut changed.services;
    if let Some(service) = services.last_mut().map(Arc::make_mut)
        && let Some(server) = service.servers.last_mut()
    {
        server.weight = 3;
    }
    let reason = Failure::Empty {
        expected: "an answer".to_owned(),
    };
    let order = Order {
        verb: Verb::Down,
        service: last.name.clone(),
        server: server.name.clone(),
        deadline: None,
    };
    let (reply, _) = oneshot::channel();
    let ordered = Event::Ordered {
        order,
        who: "the bench".to_owned(),
        reply,
    };
    let steps = [
        (Step::Fill, Told::Events(fill)),
        (Step::Reload, Told::File(file)),
        (Step::Weight, Told::Events(vec![Event::Configured(changed)])),
        (
            Step::Way,
            Told::Events(vec![site::way(socket.ip(), bed::INTERFACE, site::MTU - 8)]),
        ),
        (
            Step::Failure,
            Told::Events(vec![report(key, socket, Health::Down { reason })]),
        ),
        (Step::Order, Told::Events(vec![ordered])),
        (Step::Tick, Told::Events(vec![Event::Tick])),
        (
            Step::Measure,
            Told::Events(vec![Event::Measure(0, oneshot::channel().0)]),
        ),
        (
            Step::Table,
            Told::Events(vec![Event::Table(None, oneshot::channel().0)]),
        ),
    ];
    Ok(steps.into())
}

/// A prime number that is larger than the reports are many.
const LEAP: usize = 15_485_863;

const fn report(service: ServiceId, server: SocketAddr, health: Health) -> Event {
    Event::Health(Report {
        service,
        server,
        health,
    })
}

/// What the steps took so far.
#[derive(Default)]
struct Clock(Vec<Taken>);

impl Clock {
    fn measure<T>(&mut self, step: Step, what: impl FnOnce() -> (Option<T>, Writes)) -> Option<T> {
        let begun = Moment::now().ok()?;
        let (result, writes) = what();
        self.add(step, begun.until_now().ok()?, writes);
        result
    }

    fn add(&mut self, step: Step, (wall, cpu): (Duration, Duration), writes: Writes) {
        self.0.push(Taken {
            step,
            wall: wall.as_micros() as u64,
            cpu: cpu.as_micros() as u64,
            writes,
        });
    }
}

/// A moment, by the clock on the wall and by that of this process.
struct Moment {
    wall: Instant,
    cpu: Duration,
}

impl Moment {
    fn now() -> Result<Self> {
        Ok(Self {
            wall: Instant::now(),
            cpu: clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into(),
        })
    }

    /// What has passed since.
    fn until_now(&self) -> Result<(Duration, Duration)> {
        let now = Self::now()?;
        Ok((now.wall - self.wall, now.cpu.saturating_sub(self.cpu)))
    }
}

const HEADER: &str =
    "scale                  step      wall ms   spread   cpu ms   spread  changes  entries";

impl Outcome {
    fn of(scale: &Scale, runs: &[Run]) -> Result<Self> {
        let first = runs.first().context("there was no run")?;
        let mut outcome = Self {
            scale: scale.to_string(),
            file: first.file,
            maps: first.maps,
            process: Samples::default(),
            steps: Vec::new(),
        };
        for taken in &first.steps {
            outcome.steps.push(Measured {
                step: taken.step,
                wall: Samples::default(),
                cpu: Samples::default(),
                writes: taken.writes,
            });
        }
        for run in runs {
            outcome.process.add(run.process);
            for (measured, taken) in outcome.steps.iter_mut().zip(&run.steps) {
                measured.wall.add(taken.wall);
                measured.cpu.add(taken.cpu);
            }
        }
        Ok(outcome)
    }

    fn lines(&self) -> Vec<String> {
        let milliseconds = |micros: u64| micros as f64 / 1_000.0;
        let mut lines: Vec<_> = self
            .steps
            .iter()
            .map(|measured| {
                let Measured {
                    step,
                    wall,
                    cpu,
                    writes,
                } = measured;
                let refused = if writes.refused == 0 {
                    String::new()
                } else {
                    format!("  ! {} were refused", writes.refused)
                };
                format!(
                    "{:<22} {:<7} {:>9.2} {:>8.2} {:>8.2} {:>8.2} {:>8} {:>8}{refused}",
                    self.scale,
                    step.name(),
                    milliseconds(wall.percentile(50)),
                    milliseconds(wall.spread()),
                    milliseconds(cpu.percentile(50)),
                    milliseconds(cpu.spread()),
                    writes.changes,
                    writes.entries,
                )
            })
            .collect();
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        lines.push(format!(
            "{:<22} memory  maps {:.0} MiB, process {:.1} MiB, lvs.cf {:.1} MiB",
            self.scale,
            mebibytes(self.maps),
            mebibytes(self.process.percentile(50)),
            mebibytes(self.file),
        ));
        lines
    }
}

#[cfg(test)]
mod tests {
    use lb_control::config;

    use super::*;

    #[test]
    fn an_outcome_is_of_all_runs() {
        let runs: Vec<_> = [4_000, 1_000, 2_000]
            .into_iter()
            .map(|wall| Run {
                file: 1 << 20,
                maps: 3 << 20,
                process: 5 << 20,
                steps: vec![Taken {
                    step: Step::Weight,
                    wall,
                    cpu: 500,
                    writes: Writes {
                        changes: 2,
                        entries: 9,
                        refused: 0,
                    },
                }],
            })
            .collect();
        let scale = "1x3-rr".parse().unwrap();
        let lines = Outcome::of(&scale, &runs).unwrap().lines();
        let words: Vec<Vec<_>> = lines
            .iter()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words[0],
            ["1x3-rr", "weight", "2.00", "1.00", "0.50", "0.00", "2", "9"]
        );
        assert!(
            lines[1].ends_with("maps 3 MiB, process 5.0 MiB, lvs.cf 1.0 MiB"),
            "{lines:?}"
        );
    }

    #[test]
    fn one_server_changes_and_then_fails() {
        let scale: Scale = "2x2-rr".parse().unwrap();
        let site = config::parse("lvs.cf", scale.lvs_cf().as_bytes()).site;
        let steps = steps(&site.unwrap().1, &scale.lvs_cf()).unwrap();
        let shown: Vec<_> = steps.iter().map(|(step, _)| step.name()).collect();
        assert_eq!(
            shown,
            [
                "fill", "reload", "weight", "way", "failure", "order", "tick", "measure", "table"
            ]
        );
        let events = |place: usize| match &steps[place].1 {
            Told::Events(events) => events,
            Told::File(text) => panic!("{text}"),
        };
        assert_eq!(
            events(0).len(),
            1 + 2 * 4,
            "the site, and way and health of each server"
        );
        let mut servers: Vec<_> = events(0)
            .iter()
            .filter_map(|event| {
                let Event::Health(report) = event else {
                    return None;
                };
                Some(report.server)
            })
            .collect();
        servers.sort_unstable();
        servers.dedup();
        assert_eq!(servers.len(), 4, "each once");
        let Event::Configured(changed) = &events(2)[0] else {
            panic!("{:?}", steps[2]);
        };
        let weights = |site: &Site| -> Vec<_> {
            let servers = site.services.iter().flat_map(|service| &service.servers);
            servers.map(|server| server.weight).collect()
        };
        assert_eq!(weights(changed), [1, 1, 1, 3]);
        let Told::File(text) = &steps[1].1 else {
            panic!("{:?}", steps[1]);
        };
        let reread = config::parse("lvs.cf", text.as_bytes()).site.unwrap().1;
        assert_eq!(weights(&reread), [1, 1, 1, 2]);
    }
}
