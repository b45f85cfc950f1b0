//! What is printed: a table that grows with each measurement, and everything as JSON when all is measured.

use std::io::{Write as _, stderr, stdout};

use anyhow::Result;
use serde::Serialize;

/// Where the table goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printer {
    /// To standard output.
    Table,
    /// To standard error; JSON goes to standard output.
    Json,
}

impl Printer {
    /// As the option `--json` says.
    pub(crate) const fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Table }
    }

    /// A line of the table.
    pub(crate) fn line(self, line: impl std::fmt::Display) -> Result<()> {
        match self {
            Self::Table => writeln!(stdout(), "{line}")?,
            Self::Json => writeln!(stderr(), "{line}")?,
        }
        Ok(())
    }

    /// Everything, if that is wanted.
    pub(crate) fn end(self, report: &impl Serialize) -> Result<()> {
        if self == Self::Json {
            serde_json::to_writer(stdout(), report)?;
            writeln!(stdout())?;
        }
        Ok(())
    }
}
