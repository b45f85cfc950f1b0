//! The command line of `lb`: a file for each family of commands, with its arguments and what it does.

mod check;
mod config;
mod detach;
mod drops;
mod explain;
pub mod ipvsadm;
mod log;
pub mod output;
mod run;
mod server;
mod status;

use std::{io, process::ExitCode};

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
    /// Makes lvs.cf from what other programs print.
    Config(config::Config),
    /// Shows services, real servers, and what the nannies say.
    Status(status::Status),
    /// Tells what the data plane would do with a packet, step by step, without doing it; exit status 0 if
    /// all packets could be tried.
    Explain(explain::Explain),
    /// The decision log: prints it as it comes, or switches it on or off.
    Log(log::Log),
    /// Lists packets that were not steered, by reason, and what else happened.
    Drops(drops::Drops),
    /// Says what is to become of a real server.
    Server(server::Server),
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
            Verb::Explain(explain) => explain.run(),
            Verb::Log(log) => log.run(),
            Verb::Drops(drops) => drops.run(),
            Verb::Server(server) => server.run(),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Command;

    #[test]
    fn the_command_line_is_sound() {
        Command::command().debug_assert();
    }
}
