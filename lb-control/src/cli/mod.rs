//! The command line of `lb`: a file for each family of commands, with its arguments and what it does.

mod changing;
mod check;
mod completions;
mod config;
mod connections;
mod detach;
mod diff;
mod doctor;
mod drops;
mod events;
mod explain;
mod failover;
mod import;
pub mod ipvsadm;
mod log;
mod manual;
mod metrics;
mod named;
mod nanny;
pub mod output;
mod proc;
mod reload;
mod run;
mod server;
mod service;
mod stats;
mod status;
mod terms;
mod watch;
mod web;

use std::{io, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

/// Where things are pinned unless told otherwise.
const BPFFS: &str = "/sys/fs/bpf/lb";

/// Where the configuration is unless told otherwise.
const CONFIG: &str = "/etc/sysconfig/ha/lvs.cf";

/// Linux Virtual Server on XDP.
#[derive(Debug, Parser)]
#[command(name = "lb", version, propagate_version = true)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The daemon: balances what lvs.cf says.
    Run(run::Run),
    /// Says what is wrong with an lvs.cf; exit status 0 if it can be loaded.
    Check(check::Check),
    /// Shows, changes and formats lvs.cf, keeps its versions, and makes it from what other programs print.
    Config(config::Config),
    /// Shows services, real servers, and what the nannies say.
    Status(status::Status),
    /// Shows services and real servers live, on the whole terminal, with keys to drain a server or bring it back.
    Watch(watch::Watch),
    /// The web tool: a page for everything that is shown and configured, by https on port 3636.
    Web(web::Web),
    /// Tells what the data plane would do with a packet, step by step, without doing it; exit status 0 if
    /// all packets could be tried.
    Explain(explain::Explain),
    /// The decision log: prints it as it comes, or switches it on or off.
    Log(log::Log),
    /// Lists packets that were not steered, by reason, and what else happened.
    Drops(drops::Drops),
    /// What happened last: servers that came and went, orders, changes, reloads.
    Events(events::Events),
    /// What is measured, as text for Prometheus.
    Metrics(metrics::Metrics),
    /// A file of IPVS below /proc/net as programs read it, made of the running table.
    Proc(proc::Proc),
    /// Lists, adds, changes and removes virtual services, at once and besides what lvs.cf says.
    Service(service::Service),
    /// Lists, adds, changes and removes real servers, and says what is to become of one.
    Server(server::Server),
    /// Lists the connections that are remembered, and clients that stay with their server.
    Connections(connections::Connections),
    /// Shows what services and real servers have counted, or how much comes in a second.
    Stats(stats::Stats),
    /// Has the daemon read lvs.cf again, and prints what is different now; one that is not fit to be used changes nothing.
    Reload(reload::Reload),
    /// Has the partner become active, if it is heard and able to; or tells it that this daemon is about to be restarted.
    Failover(failover::Failover),
    /// Says what of this machine keeps a director from working, or from working fast, and how to mend it; exit status 0
    /// if there is no fault.
    Doctor(doctor::Doctor),
    /// Checks one real server now, and explains the outcome; exit status 0 if it is well.
    Nanny(nanny::Nanny),
    /// Prints what a shell needs to complete the command line.
    Completions(completions::Completions),
    /// Shows a page of the manual, or writes all of them.
    Man(manual::Manual),
    /// The commands of ipvsadm, for this daemon; `lb ipvsadm -h` tells them.
    Ipvsadm(ipvsadm::Ipvsadm),
    /// Takes the data plane off its interfaces and frees its maps.
    Detach(detach::Detach),
}

impl Command {
    /// Does what was asked for. The exit status: 0 if it is done, 1 if the answer is no.
    ///
    /// # Errors
    /// If it was refused or failed; in one line, for people.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Run(run) => run.run(),
            Verb::Check(check) => check.run(),
            Verb::Config(config) => config.run(),
            Verb::Status(status) => status.run(),
            Verb::Watch(watch) => watch.run(),
            Verb::Web(web) => web.run(),
            Verb::Explain(explain) => explain.run(),
            Verb::Log(log) => log.run(),
            Verb::Drops(drops) => drops.run(),
            Verb::Events(events) => events.run(),
            Verb::Metrics(metrics) => metrics.run(),
            Verb::Proc(proc) => proc.run(),
            Verb::Service(service) => service.run(),
            Verb::Server(server) => server.run(),
            Verb::Connections(connections) => connections.run(),
            Verb::Stats(stats) => stats.run(),
            Verb::Reload(reload) => reload.run(),
            Verb::Failover(failover) => failover.run(),
            Verb::Doctor(doctor) => doctor.run(),
            Verb::Nanny(nanny) => nanny.run(),
            Verb::Completions(completions) => completions.run(),
            Verb::Man(manual) => manual.run(),
            Verb::Ipvsadm(ipvsadm) => ipvsadm.run(),
            Verb::Detach(detach) => detach.run(),
        }
    }
}

/// What a command waits with.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Seconds, with a point if need be.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "seconds, such as 6 or 0.5".to_owned();
    let seconds = text.parse().map_err(|_| wrong())?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    Some(time).filter(|time| !time.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Command;

    #[test]
    fn the_command_line_is_sound() {
        Command::command().debug_assert();
    }
}
