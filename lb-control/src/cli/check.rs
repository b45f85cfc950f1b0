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
    /// As Piranha 0.8.6 reads it: every extension is an error; with --json the very answer of its parser.
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let format = match (self.json, output::wants_colour()) {
            (true, _) => Format::Json,
            (false, true) => Format::Text(Colour::Always),
            (false, false) => Format::Text(Colour::Never),
        };
        let mut out = io::stdout().lock();
        let verdict = match self.strict {
            true => config::check_strict(&self.file, format, &mut out)?,
            false => config::check(&self.file, format, &mut out)?,
        };
        Ok(ExitCode::from(verdict.exit_status()))
    }
}
