//! `lb`: the one program of lvs-xdp.
#![forbid(unsafe_code)]

use std::{
    fmt::Display,
    fs,
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use lb_control::{
    config::{
        self, Colour, Format,
        marks::{self, LeftOut},
    },
    control::{
        self, client,
        log::{self, Wish},
        order::Order,
    },
    daemon,
    dataplane::{Sizes, kernel::Mode},
    explain,
};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// Linux Virtual Server on XDP.
#[derive(Parser)]
#[command(name = "lb", version, propagate_version = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// The daemon: balances what lvs.cf says.
    Run(Run),
    /// Says what is wrong with an lvs.cf; exit status 0 if it can be loaded.
    Check {
        /// The file.
        file: PathBuf,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes lvs.cf from what other programs print.
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Shows services, real servers, and what the nannies say.
    Status {
        /// The daemon's socket.
        #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
        socket: PathBuf,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tells what the data plane would do with a packet, step by step, without doing it; exit status 0 if
    /// all packets could be tried.
    Explain(Explain),
    /// The decision log: prints it as it comes, or switches it on or off.
    Log {
        /// Without it the log is printed.
        #[command(subcommand)]
        switch: Option<Switch>,
        /// The daemon's socket.
        #[arg(long, global = true, value_name = "PATH", default_value = control::SOCKET)]
        socket: PathBuf,
    },
    /// Lists packets that were not steered, by reason, and what else happened.
    Drops {
        /// The daemon's socket.
        #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
        socket: PathBuf,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Says what is to become of a real server.
    Server {
        #[command(subcommand)]
        order: ServerVerb,
        /// The daemon's socket.
        #[arg(long, value_name = "PATH", default_value = control::SOCKET, global = true)]
        socket: PathBuf,
    },
    /// Takes the data plane off its interfaces and frees its maps.
    Detach {
        /// Where things are pinned.
        #[arg(long, value_name = "DIR", default_value = BPFFS)]
        bpffs: PathBuf,
    },
}

#[derive(Subcommand)]
enum Switch {
    /// One line for what becomes of a packet, until it is switched off or the daemon ends.
    On {
        /// One packet of N is logged, by chance.
        #[arg(long, value_name = "N", default_value_t = 1,
              value_parser = clap::value_parser!(u32).range(1..))]
        sample: u32,
        /// Only packets that end here.
        #[arg(long)]
        drops_only: bool,
    },
    /// Costs nothing again.
    Off,
}

#[derive(Args)]
#[group(skip)]
struct Explain {
    /// The packet in words: `tcp 198.51.100.7:4321 192.0.2.10:80 flags S`.
    #[arg(
        long,
        value_name = "WORDS",
        required_unless_present = "pcap",
        conflicts_with = "pcap"
    )]
    tuple: Option<String>,
    /// Packets from a capture, pcap or pcapng, of Ethernet.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Where packets are written as they would leave, as pcap.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The interface that they come in by; else the first that the program is on.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Where things are pinned.
    #[arg(long, value_name = "DIR", default_value = BPFFS)]
    bpffs: PathBuf,
    /// The daemon's socket; without the daemon there are addresses instead of names.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// Prints the `fwmark` and `match` lines for the marks that a firewall sets; exit status 1 if
    /// a rule could not be carried over.
    ImportMarks {
        /// What iptables-save, ip6tables-save, `iptables -t mangle -S` or `nft list ruleset`
        /// printed; - for standard input.
        file: PathBuf,
    },
}

#[derive(Subcommand)]
enum ServerVerb {
    /// It gets nothing new, and leaves the table when it has finished.
    Drain {
        #[command(flatten)]
        which: Which,
        /// For how long it may finish; else as long as lvs.cf says. What is left then ends.
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u32>,
    },
    /// It gets connections, whatever its checks say.
    Up(Which),
    /// It leaves the table at once, whatever its checks say.
    Down(Which),
    /// Its checks decide again.
    Auto(Which),
}

#[derive(Args)]
struct Which {
    /// The service: its name in lvs.cf, or ADDRESS:PORT.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The real server: its name in lvs.cf, or ADDRESS[:PORT].
    #[arg(value_name = "SERVER")]
    server: String,
}

impl From<ServerVerb> for Order {
    fn from(verb: ServerVerb) -> Self {
        let (verb, Which { service, server }, deadline) = match verb {
            ServerVerb::Drain { which, deadline } => (control::order::Verb::Drain, which, deadline),
            ServerVerb::Up(which) => (control::order::Verb::Up, which, None),
            ServerVerb::Down(which) => (control::order::Verb::Down, which, None),
            ServerVerb::Auto(which) => (control::order::Verb::Auto, which, None),
        };
        Self {
            verb,
            service,
            server,
            deadline,
        }
    }
}

#[derive(Args)]
struct Run {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/sysconfig/ha/lvs.cf")]
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
    /// Be active at once. This release knows no partner and always is.
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

/// Where things are pinned unless told otherwise.
const BPFFS: &str = "/sys/fs/bpf/lb";

#[derive(Clone, Copy, Default, ValueEnum)]
enum Xdp {
    /// By the driver where it can, else by the kernel.
    #[default]
    Auto,
    /// By the driver.
    Native,
    /// By the kernel's own packet handling: anywhere, but slowly.
    Generic,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

fn main() -> ExitCode {
    match run(Command::parse().verb) {
        Ok(code) => code,
        // Whoever reads us has seen enough: `lb status | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "lb: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Run(run) => {
            log_to_stderr(run.log_format);
            let options = daemon::Options {
                config: run.config,
                interfaces: run.interfaces,
                mode: match run.xdp {
                    Xdp::Auto => Mode::Auto,
                    Xdp::Native => Mode::Native,
                    Xdp::Generic => Mode::Generic,
                },
                bpffs: run.bpffs,
                socket: run.socket,
                flows: run.flows,
                half_open: run.half_open,
                sizes: Sizes {
                    services: run.services,
                    servers: run.servers,
                    ..Sizes::default()
                },
            };
            runtime()?.block_on(daemon::run(options))?;
        }
        Verb::Check { file, json } => {
            let colour = if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
                Colour::Always
            } else {
                Colour::Never
            };
            let format = if json {
                Format::Json
            } else {
                Format::Text(colour)
            };
            let verdict = config::check(&file, format, &mut io::stdout().lock())?;
            return Ok(ExitCode::from(verdict.exit_status()));
        }
        Verb::Config {
            verb: ConfigVerb::ImportMarks { file },
        } => return import_marks(&file),
        Verb::Status { socket, json } => {
            let status = runtime()?.block_on(client::status(&socket))?;
            print(&status, json)?;
        }
        Verb::Drops { socket, json } => {
            let status = runtime()?.block_on(client::status(&socket))?;
            print(&status.drops(), json)?;
        }
        Verb::Server { order, socket } => {
            let text = runtime()?.block_on(client::order(&socket, &order.into()))?;
            writeln!(io::stdout(), "{text}")?;
        }
        Verb::Log { switch, socket } => {
            let wish = match switch {
                None => {
                    let mut out = io::stdout().lock();
                    runtime()?.block_on(log::read_along(&socket, |lines| {
                        out.write_all(lines)?;
                        out.flush()
                    }))?;
                    return Ok(ExitCode::SUCCESS);
                }
                Some(Switch::On { sample, drops_only }) => Some(Wish { sample, drops_only }),
                Some(Switch::Off) => None,
            };
            runtime()?.block_on(log::switch(&socket, wish))?;
        }
        Verb::Explain(asked) => {
            let packets = match (asked.tuple, asked.pcap) {
                (Some(words), _) => explain::Packets::Tuple(words),
                (None, path) => explain::Packets::Capture(path.unwrap_or_default()),
            };
            let options = explain::Options {
                packets,
                interface: asked.interface,
                out: asked.out,
                bpffs: asked.bpffs,
                socket: asked.socket,
                json: asked.json,
            };
            let mut out = io::stdout().lock();
            if !runtime()?.block_on(explain::run(&options, &mut out))? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Verb::Detach { bpffs } => {
            let text = if daemon::detach(&bpffs)? {
                "the data plane is detached"
            } else {
                "nothing was attached"
            };
            writeln!(io::stdout(), "{text}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn import_marks(file: &Path) -> anyhow::Result<ExitCode> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        ("standard input".into(), text)
    } else {
        let reading = || format!("reading {}", file.display());
        let text = fs::read_to_string(file).with_context(reading)?;
        (file.to_string_lossy(), text)
    };
    let imported = marks::import(&text);
    write!(io::stdout().lock(), "{imported}")?;
    for LeftOut { line, why } in &imported.left_out {
        writeln!(io::stderr().lock(), "{name}:{line}: left out: {why}")?;
    }
    Ok(match imported.left_out.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn print<T: Serialize + Display>(answer: &T, json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, answer)?;
        writeln!(out)?;
    } else {
        write!(out, "{answer}")?;
    }
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = match cause.downcast_ref::<io::Error>() {
            Some(error) => Some(error.kind()),
            None => cause
                .downcast_ref::<serde_json::Error>()
                .and_then(serde_json::Error::io_error_kind),
        };
        kind == Some(io::ErrorKind::BrokenPipe)
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn log_to_stderr(format: LogFormat) {
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
