//! Changes of the table on their way to the daemon, and what became of them.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
};

use clap::Args;
use serde::Serialize;

use super::output;
use crate::control::{
    change::{Change, Changes, Made},
    client,
};

/// How changes are made.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct How {
    /// Nothing is changed: it is only asked whether it could be.
    #[arg(long)]
    dry_run: bool,
}

/// What became of changes.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    /// What was changed.
    #[serde(skip)]
    what: &'a str,
    #[serde(skip)]
    verb: &'a str,
    dry_run: bool,
    #[serde(flatten)]
    made: Made,
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, verb, .. } = self;
        match (self.made.changed, self.dry_run) {
            (0, _) => writeln!(f, "{what}: nothing is different"),
            (_, true) => writeln!(f, "{what}: could be {verb}"),
            (_, false) => writeln!(f, "{what}: {verb}"),
        }
    }
}

impl How {
    /// Has the daemon make changes of `what`, all or none, and says so: it is `verb` then.
    ///
    /// # Errors
    /// If they are refused, or there is no daemon.
    pub(super) async fn make(
        self,
        socket: &Path,
        changes: Vec<Change>,
        (what, verb): (&str, &str),
        json: bool,
    ) -> anyhow::Result<()> {
        let changes = Changes {
            changes,
            dry_run: self.dry_run,
        };
        let made = client::change(socket, &changes).await??;
        for note in &made.notes {
            writeln!(io::stderr(), "lb: note: {note}")?;
        }
        let outcome = Outcome {
            what,
            verb,
            dry_run: self.dry_run,
            made,
        };
        output::print(&outcome, json)
    }
}
