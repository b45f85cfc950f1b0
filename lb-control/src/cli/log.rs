//! `lb log`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::runtime;
use crate::control::{
    self,
    log::{self, Wish},
};

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Without it the log is printed.
    #[command(subcommand)]
    switch: Option<Switch>,
    /// The daemon's socket.
    #[arg(long, global = true, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
}

#[derive(Debug, Subcommand)]
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

impl Log {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let wish = match self.switch {
            None => {
                let mut out = io::stdout().lock();
                runtime()?.block_on(log::read_along(&self.socket, |lines| {
                    out.write_all(lines)?;
                    out.flush()
                }))?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(Switch::On { sample, drops_only }) => Some(Wish { sample, drops_only }),
            Some(Switch::Off) => None,
        };
        runtime()?.block_on(log::switch(&self.socket, wish))?;
        Ok(ExitCode::SUCCESS)
    }
}
