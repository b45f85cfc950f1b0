//! `lb run`.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::{BPFFS, CONFIG, runtime};
use crate::{
    control, daemon,
    dataplane::{Sizes, kernel::Mode},
};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// An interface to run on, repeatable; else those of the virtual IPs and of the routes to the
    /// real servers.
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// How the program is run by an interface.
    #[arg(long, value_enum, default_value_t)]
    xdp: Xdp,
    /// Where things are pinned.
    #[arg(long, value_name = "DIR", default_value = BPFFS)]
    bpffs: PathBuf,
    /// Where commands are listened for.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The group that may use the socket, besides root: whoever is in it may do everything.
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// Where everybody who can reach it is told what is measured, over HTTP at /metrics; nowhere by default.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Where changes by command are kept while the data plane lives; else beside the socket.
    #[arg(long, value_name = "FILE")]
    changes: Option<PathBuf>,
    /// Be active at once, without listening for the partner first. If that is active too, the primary stays so.
    #[arg(long)]
    force_active: bool,
    /// How many flows each address family's table holds; a masqueraded flow takes two places. Goes
    /// before `flow_table` in lvs.cf.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=1 << 26))]
    flows: Option<u32>,
    /// How many of them may be half-open; else `half_open` in lvs.cf, else half of them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1 << 26))]
    half_open: Option<u32>,
    /// How many virtual services there may be; each address, port and protocol of a group counts.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().services,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    services: u32,
    /// How many real servers there may be, each counted once per service.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().servers,
          value_parser = clap::value_parser!(u32).range(2..=1 << 22))]
    servers: u32,
    /// How messages are written to standard error.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Xdp {
    /// By the driver where it can, else by the kernel.
    #[default]
    Auto,
    /// By the driver.
    Native,
    /// By the kernel's own packet handling: anywhere, but slowly.
    Generic,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A line of JSON.
    Json,
}

impl Run {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        log_to_stderr(self.log_format);
        let changes = self
            .changes
            .unwrap_or_else(|| self.socket.with_file_name("changes.json"));
        let options = daemon::Options {
            changes,
            force_active: self.force_active,
            config: self.config,
            interfaces: self.interfaces,
            mode: match self.xdp {
                Xdp::Auto => Mode::Auto,
                Xdp::Native => Mode::Native,
                Xdp::Generic => Mode::Generic,
            },
            bpffs: self.bpffs,
            socket: self.socket,
            socket_group: self.socket_group,
            metrics: self.metrics,
            flows: self.flows,
            half_open: self.half_open,
            sizes: Sizes {
                services: self.services,
                servers: self.servers,
                ..Sizes::default()
            },
        };
        runtime()?.block_on(daemon::run(options))?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn log_to_stderr(format: LogFormat) {
    // A single level is meant for what this program says, not for the libraries below it.
    let wanted = std::env::var("LB_LOG").unwrap_or_else(|_| "info".to_owned());
    let wanted = match wanted.parse::<tracing::Level>() {
        Ok(level) => format!("warn,lb={level},lb_control={level}"),
        Err(_) => wanted,
    };
    let filter = EnvFilter::new(wanted);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}
