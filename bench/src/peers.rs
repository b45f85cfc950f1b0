//! `peers`: the balancer where a harness of others can find it, beside a program of theirs: pinned, with its
//! tables filled.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use lb_control::{
    dataplane::{
        Sizes,
        bpffs::Pins,
        kernel::{self, Back},
    },
    model::{Protocol, Scheduler},
};
use lb_tests::Family;
use nix::net::if_::if_nametoindex;
use serde::Serialize;

use crate::{
    bed,
    case::{Case, Method, Traffic},
    machine::Build,
    printer::Printer,
    site::{self, Site},
};

/// What is pinned.
#[derive(Args)]
pub(crate) struct Options {
    /// Where, on a bpf filesystem
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/lb-bench")]
    bpffs: PathBuf,
    /// How packets reach real servers
    #[arg(long, value_enum, default_value_t = Method::Tunnel)]
    method: Method,
    /// How many services there are of each family and protocol
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    services: u32,
    /// How many real servers each of them has
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    servers: u32,
    /// How many entries the flow table of each family has
    #[arg(long, default_value_t = 1 << 21)]
    flows: u32,
    /// The interface by which real servers are reached; packets that come in by it are sent back by
    /// `XDP_TX`. A test run (BPF_PROG_TEST_RUN) has them come in by lo unless it says otherwise
    #[arg(long, default_value = "lo")]
    interface: String,
    /// Take it away again
    #[arg(long)]
    remove: bool,
    /// Print where everything is as JSON
    #[arg(long)]
    json: bool,
}

/// Where everything is.
#[derive(Serialize)]
struct Report {
    commit: String,
    /// The program, of type XDP.
    program: PathBuf,
    /// The folder of its maps.
    maps: PathBuf,
    method: &'static str,
    servers_per_service: u32,
    /// Protocol, address and port of each service.
    services: Vec<String>,
}

/// Pins, or takes the pins away.
pub(crate) fn run(options: &Options, build: &Build) -> Result<()> {
    let pins = Pins::below(&options.bpffs);
    if options.remove {
        if !pins.remove()? {
            bail!("nothing is pinned in {}", options.bpffs.display());
        }
        return Ok(());
    }
    if pins.exist() {
        bail!(
            "something is pinned in {} already; --remove takes it away",
            options.bpffs.display()
        );
    }
    let pinned = pin(options, &pins);
    let sites = match pinned {
        Ok(sites) => sites,
        Err(error) => {
            // Half of it is of no use to anybody.
            let _ = pins.remove();
            return Err(error);
        }
    };
    let report = Report {
        commit: build.commit.clone(),
        program: pins.programs().join("balance"),
        maps: pins.maps(),
        method: options.method.name(),
        servers_per_service: options.servers,
        services: sites
            .iter()
            .flat_map(Site::keys)
            .map(|key| key.to_string())
            .collect(),
    };
    if options.json {
        return Printer::Json.end(&report);
    }
    let printer = Printer::Table;
    printer.line(format_args!("program   {}", report.program.display()))?;
    printer.line(format_args!("maps      {}", report.maps.display()))?;
    printer.line(format_args!(
        "services  {} with {} real servers each, {}:",
        report.services.len(),
        report.servers_per_service,
        report.method
    ))?;
    for service in report.services.iter().take(8) {
        printer.line(format_args!("          {service}"))?;
    }
    printer.line("--remove takes it away again")
}

/// Both families and protocols, in one data plane.
fn pin(options: &Options, pins: &Pins) -> Result<Vec<Site>> {
    let interface = if_nametoindex(options.interface.as_str())
        .with_context(|| format!("there is no interface {}", options.interface))?;
    let mut sites = Vec::new();
    for family in [Family::V4, Family::V6] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let case = Case {
                method: options.method,
                family,
                protocol,
                traffic: Traffic::New,
                services: options.services,
                servers: options.servers,
                scheduler: if options.services > 1 {
                    Scheduler::Rr
                } else {
                    Scheduler::Mh
                },
            };
            sites.push(bed::site(&case, interface));
        }
    }
    pins.create()?;
    let sizes = Sizes {
        flows: options.flows,
        half_open: options.flows,
        ..Sizes::default()
    };
    let (_program, dataplane) = kernel::load(pins, sizes, Back::Transmit)?;
    site::fill(&sites, dataplane)?;
    Ok(sites)
}
