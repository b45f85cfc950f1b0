//! `lb detach`.

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;

use super::{BPFFS, output};
use crate::daemon;

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Where things are pinned.
    #[arg(long, value_name = "DIR", default_value = BPFFS)]
    bpffs: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Answer {
    /// Whether there was something to take away.
    detached: bool,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.detached {
            true => "the data plane is detached\n",
            false => "nothing was attached\n",
        })
    }
}

impl Detach {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let detached = daemon::detach(&self.bpffs)?;
        output::print(&Answer { detached }, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}
