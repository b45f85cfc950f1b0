//! `lb config diff`.

use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use super::{output, runtime};
use crate::{
    config,
    control::{self, client, request::Comparison},
    difference::{Difference, of_files},
};

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Two files to compare, without a daemon; else lvs.cf and the table that runs.
    #[arg(value_names = ["OLD", "NEW"], num_args = 2)]
    files: Vec<PathBuf>,
    /// Exit status 1 if there are differences.
    #[arg(long)]
    exit_code: bool,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let is_same = match &self.files[..] {
            [old, new] => self.compare_files(old, new)?,
            _ => self.compare_with_daemon()?,
        };
        Ok(match is_same || !self.exit_code {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn compare_with_daemon(&self) -> anyhow::Result<bool> {
        let comparison = runtime()?.block_on(client::compare(&self.socket))?;
        warn(&comparison.warnings)?;
        let is_same = comparison.reload.is_empty() && comparison.commands.is_empty();
        output::print(&WithDaemon(comparison), self.json)?;
        Ok(is_same)
    }

    fn compare_files(&self, old: &Path, new: &Path) -> anyhow::Result<bool> {
        let (old, new) = (config::load(old)?, config::load(new)?);
        let warnings = [old.warnings, new.warnings].concat();
        warn(&warnings)?;
        let compared = OfFiles {
            differences: of_files((&old.global, &old.site), (&new.global, &new.site)),
            warnings,
        };
        output::print(&compared, self.json)?;
        Ok(compared.differences.is_empty())
    }
}

fn warn(warnings: &[String]) -> io::Result<()> {
    let mut err = io::stderr().lock();
    warnings.iter().try_for_each(|line| writeln!(err, "{line}"))
}

/// How two files differ.
#[derive(Debug, Serialize)]
struct OfFiles {
    differences: Vec<Difference>,
    warnings: Vec<String>,
}

impl fmt::Display for OfFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.differences.iter();
        lines.try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct WithDaemon(Comparison);

impl fmt::Display for WithDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison {
            file,
            reload,
            commands,
            warnings: _,
        } = &self.0;
        let mut part = |lines: &[Difference], none: &str, some: &str| {
            if lines.is_empty() {
                return writeln!(f, "{none}");
            }
            writeln!(f, "{some}:")?;
            lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
        };
        part(
            reload,
            &format!("a reload of {file} would change nothing"),
            &format!("a reload of {file} would change"),
        )?;
        part(
            commands,
            "nothing was changed by command",
            "changed by command, which a reload keeps",
        )
    }
}
