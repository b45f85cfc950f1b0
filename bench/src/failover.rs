//! `failover`: for how long clients are not served when the active router fails, beside keepalived.
//!
//! The same network of namespaces for both: a client that pings the virtual address each two milliseconds, and two
//! routers. What is measured is the time from the last ping that was answered to the next one that was. After
//! each failure the router comes back; whichever of the two is active then is the next to fail.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use lb_tests::{
    Director, Family, Host, Lab, Method, Network, Pings, Plan, Process, Service, Site, Web,
    status::Status, switch::Link, wait,
};
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::{
    machine::{Build, Machine},
    printer::Printer,
    samples::Samples,
};

/// How often, and what of it.
#[derive(Args)]
pub(crate) struct Options {
    /// How many failures of each kind
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only those in whose name this is, such as lb, keepalived or "10 ms"; all if nothing is said
    who: Option<String>,
    /// Print everything that was measured as JSON
    #[arg(long)]
    json: bool,
}

/// All that was measured.
#[derive(Serialize)]
struct Summary {
    machine: Machine,
    commit: String,
    outages: Vec<Outage>,
}

/// The time without service, in microseconds, a number for each failure.
#[derive(Serialize)]
struct Outage {
    who: String,
    failure: Failure,
    time: Samples,
}

/// What happens to the active router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Failure {
    /// All of it stands still: its daemon does, and no packet comes or goes though the links are up.
    Freeze,
    /// Its links are cut.
    Cut,
    /// Its daemon is ended in good order.
    Stop,
}

impl Failure {
    const ALL: [Self; 3] = [Self::Freeze, Self::Cut, Self::Stop];
}

/// Who takes over the virtual address: a daemon, and how often its partner hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Daemon {
    /// `lb run`; with nothing said, as a new lvs.cf has it.
    Ours(Option<Duration>),
    /// keepalived with so long an advertisement interval.
    Keepalived(Duration),
}

impl fmt::Display for Daemon {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(None) => out.write_str("lb, as by default"),
            Self::Ours(Some(time)) => write!(out, "lb, {} ms", time.as_millis()),
            Self::Keepalived(time) => write!(out, "keepalived, {} ms", time.as_millis()),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(10);

/// What is compared: the same intervals, and what one gets who says nothing.
const DAEMONS: [Daemon; 5] = [
    Daemon::Ours(None),
    Daemon::Ours(Some(SECOND)),
    Daemon::Keepalived(SECOND),
    Daemon::Ours(Some(SHORT)),
    Daemon::Keepalived(SHORT),
];

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

const HEADER: &str = "who                    failure   median ms   10th   90th    most";

/// Measures.
pub(crate) fn run(options: &Options, build: &Build) -> Result<()> {
    let lb = build.lb.as_deref().context("where is lb?")?;
    let machine = Machine::find();
    let printer = Printer::new(options.json);
    printer.line(format_args!("{machine}, commit {}", build.commit))?;
    printer.line(HEADER)?;
    let mut summary = Summary {
        machine,
        commit: build.commit.clone(),
        outages: Vec::new(),
    };
    for daemon in DAEMONS {
        let name = daemon.to_string();
        if options
            .who
            .as_deref()
            .is_some_and(|who| !name.contains(who))
        {
            continue;
        }
        let lab = Lab::new()?;
        let mut pair = Pair::start(&lab, lb, daemon).with_context(|| name.clone())?;
        for failure in Failure::ALL {
            let mut time = Samples::default();
            for _ in 0..options.runs {
                let outage = pair.fail(failure);
                let outage = outage.with_context(|| format!("{daemon}: {failure:?}"))?;
                time.add(u64::try_from(outage.as_micros())?);
            }
            printer.line(line(&name, failure, &time))?;
            summary.outages.push(Outage {
                who: name.clone(),
                failure,
                time,
            });
        }
    }
    printer.end(&summary)
}

fn line(who: &str, failure: Failure, time: &Samples) -> String {
    #[expect(clippy::cast_precision_loss, reason = "to be printed")]
    let [median, tenth, ninetieth, most] =
        [50, 10, 90, 100].map(|percent| time.percentile(percent) as f64 / 1000.0);
    let failure = format!("{failure:?}").to_lowercase();
    format!("{who:<22} {failure:<8} {median:>10.1} {tenth:>6.1} {ninetieth:>6.1} {most:>7.1}")
}

/// The two routers.
struct Pair {
    network: Network,
    daemon: Daemon,
    lb: PathBuf,
    running: Vec<Running>,
    _web: Web,
}

/// A daemon on one of them.
enum Running {
    Ours(Director),
    Keepalived(Process),
}

impl Running {
    fn process(&mut self) -> &mut Process {
        match self {
            Self::Ours(director) => director.daemon(),
            Self::Keepalived(process) => process,
        }
    }
}

const FAMILY: Family = Family::V4;
const PLAN: Plan = Plan {
    method: Method::Nat,
    wiring: lb_tests::Wiring::TwoNets,
    routers: 2,
    servers: 1,
};

impl Pair {
    fn start(lab: &Lab, lb: &Path, daemon: Daemon) -> Result<Self> {
        let network = Network::new(lab, PLAN)?;
        let web = Web::start(&network.servers[0])?;
        let mut pair = Self {
            network,
            daemon,
            lb: lb.to_owned(),
            running: Vec::new(),
            _web: web,
        };
        for index in 0..2 {
            let running = pair.run(index)?;
            pair.running.push(running);
        }
        pair.await_holder(None)?;
        pair.settle()?;
        Ok(pair)
    }

    /// Starts the daemon of a router.
    fn run(&self, index: usize) -> Result<Running> {
        let router = &self.network.routers[index];
        match self.daemon {
            Daemon::Ours(interval) => {
                let director = Director::start(&self.lb, router, PLAN, &site(interval))?;
                Ok(Running::Ours(director))
            }
            Daemon::Keepalived(interval) => {
                router.write(KEEPALIVED, &keepalived(index, interval))?;
                let mut command = Command::new("keepalived");
                command.args(["--dont-fork", "--vrrp", "--use-file", KEEPALIVED]);
                command.args(["--log-console", "--pid", "/run/keepalived.pid"]);
                command.args(["--vrrp_pid", "/run/vrrp.pid"]);
                Ok(Running::Keepalived(Process::start(router, &mut command)?))
            }
        }
    }

    /// The active router fails, and comes back as the backup. For how long nobody answered.
    fn fail(&mut self, failure: Failure) -> Result<Duration> {
        let victim = self.await_holder(None)?;
        let pings = Pings::start(&self.network.client, FAMILY.vip())?;
        await_some(&pings)?;
        let router = self.network.routers[victim].clone();
        match failure {
            Failure::Freeze => {
                // First the daemon: its last words would be a goodbye otherwise.
                self.signal(victim, Signal::SIGSTOP)?;
                self.isolate(&router, true)?;
            }
            Failure::Cut => self.set_links(&router, Link::Down)?,
            Failure::Stop => {
                self.signal(victim, Signal::SIGTERM)?;
                self.running[victim].process().wait()?;
            }
        }
        self.await_holder(Some(1 - victim))?;
        await_answer(&self.network.client)?;
        let answers = pings.stop()?;
        match failure {
            Failure::Freeze => {
                self.isolate(&router, false)?;
                self.signal(victim, Signal::SIGCONT)?;
            }
            Failure::Cut => self.set_links(&router, Link::Up)?,
            Failure::Stop => self.running[victim] = self.run(victim)?,
        }
        // Which of the two it is then is up to them.
        self.await_holder(None)?;
        self.settle()?;
        answers.outage()
    }

    /// Sends a signal to a daemon, and to its children.
    fn signal(&mut self, index: usize, signal: Signal) -> Result<()> {
        match (&mut self.running[index], signal) {
            // What speaks VRRP is its child.
            (Running::Keepalived(_), Signal::SIGSTOP | Signal::SIGCONT) => {
                let line = format!(
                    "kill -{} $(cat /run/keepalived.pid /run/vrrp.pid)",
                    signal as i32
                );
                self.network.routers[index]
                    .run("sh", ["-c", &line])
                    .map(drop)
            }
            (running, signal) => running.process().signal(signal),
        }
    }

    fn switches(&self) -> [&lb_tests::switch::Switch; 2] {
        [&self.network.outside, &self.network.inside]
    }

    fn isolate(&self, router: &Host, isolated: bool) -> Result<()> {
        let mut switches = self.switches().into_iter();
        switches.try_for_each(|switch| switch.set_silent(router, isolated))
    }

    fn set_links(&self, router: &Host, link: Link) -> Result<()> {
        let mut switches = self.switches().into_iter();
        switches.try_for_each(|switch| switch.set_link(router, link))
    }

    /// Which routers hold the virtual address.
    fn holders(&self) -> Result<Vec<usize>> {
        let mut holders = Vec::new();
        for (index, router) in self.network.routers.iter().enumerate() {
            let printed = router.run("ip", ["-o", "address", "show"])?;
            if printed.contains(&format!(" {}/", FAMILY.vip())) {
                holders.push(index);
            }
        }
        Ok(holders)
    }

    /// Waits until one holds it: this one, among others perhaps, if one is named.
    fn await_holder(&self, index: Option<usize>) -> Result<usize> {
        wait::until("a router holds the virtual address", LIMIT, || {
            let holders = self.holders()?;
            Ok(match (index, &holders[..]) {
                (Some(index), holders) => holders.contains(&index).then_some(index),
                (None, [index]) => Some(*index),
                (None, _) => None,
            })
        })
    }

    /// Waits until both know of each other, and clients are answered.
    fn settle(&self) -> Result<()> {
        await_answer(&self.network.client)?;
        for running in &self.running {
            match running {
                Running::Ours(director) => {
                    let is_settled = |it: &Status| {
                        it.is_complete() && ["active", "standby"].contains(&&*it.role)
                    };
                    director.await_status("it has its role, all servers are up", is_settled)?;
                }
                Running::Keepalived(process) => {
                    wait::until("keepalived has its role", LIMIT, || {
                        let printed = process.printed();
                        let last = printed.lines().rev().find(|line| line.contains("Entering"));
                        let is_settled =
                            |line: &str| line.contains("BACKUP") || line.contains("MASTER");
                        Ok(last.is_some_and(is_settled).then_some(()))
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// Waits until there is an answer to a ping.
fn await_answer(client: &Host) -> Result<()> {
    let vip = FAMILY.vip().to_string();
    wait::until("the virtual address answers", LIMIT, || {
        let output = client.output("ping", ["-c", "1", "-W", "1", &vip])?;
        Ok(output.status.success().then_some(()))
    })
}

/// Waits until some pings are on their way: an outage has a begin.
fn await_some(pings: &Pings) -> Result<()> {
    wait::until("somebody pings", LIMIT, || {
        Ok((pings.answered() > 10).then_some(()))
    })
}

/// lvs.cf; with three heartbeats missing the partner is dead, as with keepalived.
fn site(interval: Option<Duration>) -> Site {
    let mut site = Site::new(Method::Nat)
        .with(Service::web(FAMILY, PLAN.servers))
        .paired();
    if let Some(interval) = interval {
        let millis = interval.as_millis();
        site.directives.push(format!("keepalive = {millis}ms"));
        site.directives.push(format!("deadtime = {}ms", 3 * millis));
    }
    site
}

const KEEPALIVED: &str = "/run/keepalived.conf";

/// keepalived.conf of a router; the one that is active stays so.
fn keepalived(index: usize, interval: Duration) -> String {
    let (vip, priority) = (FAMILY.vip(), 100 - index);
    let interval = interval.as_secs_f64();
    let version = if interval < 1.0 { "vrrp_version 3" } else { "" };
    format!(
        "global_defs {{
    {version}
    vrrp_garp_master_refresh 0
}}
vrrp_instance one {{
    state BACKUP
    nopreempt
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int {interval}
    virtual_ipaddress {{
        {vip}/32 dev eth0
    }}
}}
"
    )
}
