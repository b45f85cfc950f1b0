//! `lb drops`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{output, runtime};
use crate::control::{self, client};

#[derive(Debug, Args)]
pub(super) struct Drops {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Drops {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let status = runtime()?.block_on(client::status(&self.socket))?;
        output::print(&status.drops(), self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}
