//! `lb config show`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;

use super::{Whose, colour};
use crate::{
    cli::output,
    config::{
        self, Severity,
        names::SystemNames,
        show::{Effective, effective},
        store::Store,
    },
};

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    whose: Whose,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let path = &self.whose.config;
        let stored = Store::at(path)?.read()?;
        let mut names = SystemNames::default();
        let outcome = config::parse_with(&path.to_string_lossy(), &stored.bytes, &mut names);
        if outcome.site.is_none() {
            let mut err = io::stderr().lock();
            for diagnostic in &outcome.diagnostics {
                if diagnostic.severity == Severity::Error {
                    let source = &outcome.document.source;
                    write!(err, "{}", config::render(diagnostic, source, colour()))?;
                }
            }
            return Ok(ExitCode::FAILURE);
        }
        let effective: Effective = effective(&outcome, &mut names);
        output::print(&effective, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}
