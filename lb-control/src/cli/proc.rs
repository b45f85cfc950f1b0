//! `lb proc`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::runtime;
use crate::control::{self, client, proc::File};

#[derive(Debug, Args)]
pub(super) struct Proc {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The file's name below /proc/net.
    #[arg(value_enum)]
    file: File,
}

impl Proc {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = runtime()?.block_on(client::proc(&self.socket, self.file))?;
        io::stdout().write_all(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
