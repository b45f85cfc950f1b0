//! What the data plane costs. `cargo xtask bench` builds and runs this, as root.
//!
//! [`packet`] is the time per packet, [`flows`] the memory of flows, [`control`] what the control plane takes
//! for a [`scale`](scale::Scale) of services, [`probes`] what nannies take, [`web`] what
//! the web tool takes, for its pages and for each [`browser`] that looks on, [`peers`] is for others to measure. A [`case`](case::Case) is one
//! measurement; [`bed`] is the router that it is made on, filled by [`site`] as the daemon would, and
//! [`driver`] makes the packets inside the kernel, which [`frame`] describes to it.
//! [`rounds`] are what is made of many short measurements; [`layout`] tells whether two objects compare.
//! [`vm`] counts instructions instead, of packets that go [`through`] a router from the [`generator`] to a
//! sink, be it ours or one with [`ipvs`]; [`pktgen`] counts packets per second there. Nothing here passes or
//! fails on a figure.
#![forbid(unsafe_code)]

mod bed;
mod browser;
mod busy;
mod case;
mod control;
mod counted;
mod driver;
mod failover;
mod flows;
mod frame;
mod generator;
mod ipvs;
mod layout;
mod machine;
mod memory;
mod packet;
mod peers;
mod pktgen;
mod printer;
mod probes;
mod rounds;
mod samples;
mod scale;
mod site;
mod softirq;
mod through;
mod vm;
mod web;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

/// What the data plane costs.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(flatten)]
    build: machine::Build,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Time per packet in the kernel, the balancer's own
    Packet(packet::Options),
    /// Memory of many flows, the time to begin them and to take them away
    Flows(flows::Options),
    /// What the control plane takes for many services: the file, the tables, a change of them
    Control(control::Options),
    /// Time without service when a router of a pair fails, beside keepalived
    Failover(failover::Options),
    /// What checks of many real servers cost: time and memory of the nannies
    Probes(probes::Options),
    /// What the web tool takes for a large site: its pages, and viewers that look on
    Web(web::Options),
    /// Instructions per packet beside IPVS, in a guest
    Vm(vm::Options),
    /// Packets per second through a router, beside a mere redirect and IPVS
    Pktgen(pktgen::Options),
    /// Pin the balancer, its tables filled, for somebody else's harness
    Peers(peers::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if !lb_tests::lab::is_root() {
        bail!("this loads programs into the kernel and makes network namespaces, which needs root");
    }
    match &arguments.bench {
        Bench::Packet(options) => packet::run(options, &arguments.build),
        Bench::Flows(options) => flows::run(options, &arguments.build),
        Bench::Control(options) => control::run(options, &arguments.build),
        Bench::Failover(options) => failover::run(options, &arguments.build),
        Bench::Probes(options) => probes::run(options),
        Bench::Web(options) => web::run(options, &arguments.build),
        Bench::Vm(options) => vm::run(options, &arguments.build),
        Bench::Pktgen(options) => pktgen::run(options, &arguments.build),
        Bench::Peers(options) => peers::run(options, &arguments.build),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }
}
