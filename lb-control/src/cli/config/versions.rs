//! `lb config history` and `lb config rollback`.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use super::{RELOAD, Whose, colour, diff};
use crate::{
    cli::output,
    config::{
        self, Severity,
        store::{Listed, Store},
    },
};

#[derive(Debug, Args)]
pub(super) struct History {
    #[command(flatten)]
    whose: Whose,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let versions = Store::at(&self.whose.config)?.history()?;
        let listed = List(versions.iter().rev().map(Listed::from).collect());
        output::print(&listed, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// All versions, the newest first.
#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Listed>);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "there are no versions");
        }
        writeln!(f, "{:>6}  {:20}  {:>8}  file", "number", "written", "bytes")?;
        for one in &self.0 {
            let (number, size) = (one.number, one.size);
            let path = &one.path;
            writeln!(f, "{number:>6}  {:20}  {size:>8}  {path}", one.written)?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The number of the version, as `lb config history` shows it; else the newest.
    #[arg(value_name = "N")]
    number: Option<u64>,
    #[command(flatten)]
    whose: Whose,
}

impl Rollback {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let store = Store::at(&self.whose.config)?;
        let now = store.read()?;
        let (version, stored) = store.version(self.number)?;
        let name = version.path.to_string_lossy();
        let outcome = config::parse(&name, &stored.bytes);
        if outcome.site.is_none() {
            let mut err = io::stderr().lock();
            let errors = outcome.diagnostics.iter();
            for one in errors.filter(|one| one.severity == Severity::Error) {
                let source = &outcome.document.source;
                write!(err, "{}", config::render(one, source, colour()))?;
            }
            writeln!(err, "lb: {name}: has errors; nothing was written")?;
            return Ok(ExitCode::FAILURE);
        }
        store.write(&stored.bytes, &now.fingerprint)?;
        let mut out = io::stdout().lock();
        let path = store.path().to_string_lossy();
        diff::write(&mut out, (&path, &name), &now.bytes, &stored.bytes)?;
        writeln!(
            out,
            "{path} is what it was in version {}; {RELOAD}",
            version.number
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
