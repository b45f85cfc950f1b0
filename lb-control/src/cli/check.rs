//! `lb check`.

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;

use super::output;
use crate::config::{self, Colour, Format};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file.
    file: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let format = match (self.json, output::wants_colour()) {
            (true, _) => Format::Json,
            (false, true) => Format::Text(Colour::Always),
            (false, false) => Format::Text(Colour::Never),
        };
        let verdict = config::check(&self.file, format, &mut io::stdout().lock())?;
        Ok(ExitCode::from(verdict.exit_status()))
    }
}
