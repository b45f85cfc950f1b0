//! `lb metrics`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::runtime;
use crate::control::{self, client, metrics::Compat};

#[derive(Debug, Args)]
pub(super) struct Metrics {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// Other metrics beside our own; ipvs: those that node_exporter makes of IPVS, by the same names.
    #[arg(long, value_enum)]
    compat: Option<Compat>,
}

impl Metrics {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = runtime()?.block_on(client::metrics(&self.socket, self.compat))?;
        io::stdout().write_all(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
