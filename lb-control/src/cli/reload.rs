//! `lb reload`.

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use super::{output, runtime};
use crate::control::{self, client, request::Reloaded};

#[derive(Debug, Args)]
pub(super) struct Reload {
    /// What was changed by command is forgotten, too: the table is what lvs.cf says.
    #[arg(long)]
    discard: bool,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let reloaded = runtime()?.block_on(client::reload(&self.socket, self.discard))?;
        for warning in &reloaded.warnings {
            writeln!(io::stderr(), "{warning}")?;
        }
        output::print(&Answer(reloaded), self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Answer(Reloaded);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reloaded { file, changed, .. } = &self.0;
        if changed.is_empty() {
            return writeln!(f, "{file} was read again: nothing is different");
        }
        changed.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
