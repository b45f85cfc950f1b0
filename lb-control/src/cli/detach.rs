//! `lb detach`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::BPFFS;
use crate::daemon;

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Where things are pinned.
    #[arg(long, value_name = "DIR", default_value = BPFFS)]
    bpffs: PathBuf,
}

impl Detach {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = if daemon::detach(&self.bpffs)? {
            "the data plane is detached"
        } else {
            "nothing was attached"
        };
        writeln!(io::stdout(), "{text}")?;
        Ok(ExitCode::SUCCESS)
    }
}
