//! `lb explain`.

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;

use super::{BPFFS, runtime};
use crate::{
    control,
    explain::{self, Options, Packets},
};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Explain {
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

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let packets = match (self.tuple, self.pcap) {
            (Some(words), _) => Packets::Tuple(words),
            (None, path) => Packets::Capture(path.unwrap_or_default()),
        };
        let options = Options {
            packets,
            interface: self.interface,
            out: self.out,
            bpffs: self.bpffs,
            socket: self.socket,
            json: self.json,
        };
        let mut out = io::stdout().lock();
        Ok(
            match runtime()?.block_on(explain::run(&options, &mut out))? {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            },
        )
    }
}
