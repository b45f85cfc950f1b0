//! `lb config`: the configuration as a file.

mod diff;
mod edit;
mod fmt;
mod show;
mod versions;

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{CONFIG, import, output};
use crate::config::{
    Colour,
    marks::{self, LeftOut},
};

#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Prints every directive with what holds; defaults are comments.
    Show(show::Show),
    /// Writes files anew in canonical text, with the same meaning and the same comments.
    Fmt(fmt::Fmt),
    /// Changes the file, by an editor or by the options; what is not changed stays as it is written.
    Edit(edit::Edit),
    /// Shows what a reload would change, and what was changed by command; or how two files differ.
    Diff(super::diff::Diff),
    /// Lists the versions of the file that `lb` replaced.
    History(versions::History),
    /// Puts a version in the place of the file; the file becomes the newest version.
    Rollback(versions::Rollback),
    /// Prints the lvs.cf for a keepalived.conf, for what `ipvsadm -S` printed, or for a running IPVS; exit
    /// status 1 if something could not be carried over, which is told by line.
    Import(import::Import),
    /// Prints the `fwmark` and `match` lines for the marks that a firewall sets; exit status 1 if
    /// a rule could not be carried over.
    ImportMarks {
        /// What iptables-save, ip6tables-save, `iptables -t mangle -S` or `nft list ruleset`
        /// printed; - for standard input.
        file: PathBuf,
        /// The answer as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What could be carried over.
#[derive(Debug, Serialize)]
struct Imported {
    /// Lines of lvs.cf.
    text: String,
    /// What could not.
    left_out: Vec<NotImported>,
}

/// What could not be carried over.
#[derive(Debug, Serialize)]
struct NotImported {
    /// Its line, from 1.
    line: usize,
    /// Why not.
    why: String,
}

impl Config {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::ImportMarks { file, json } => import_marks(&file, json),
            Verb::Show(show) => show.run(),
            Verb::Diff(diff) => diff.run(),
            Verb::Fmt(fmt) => fmt.run(),
            Verb::Edit(edit) => edit.run(),
            Verb::History(history) => history.run(),
            Verb::Rollback(rollback) => rollback.run(),
            Verb::Import(import) => import.run(),
        }
    }
}

fn import_marks(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        ("standard input".into(), text)
    } else {
        let reading = || format!("reading {}", file.display());
        let text = fs::read_to_string(file).with_context(reading)?;
        (file.to_string_lossy(), text)
    };
    let imported = marks::import(&text);
    if json {
        let left_out = imported
            .left_out
            .iter()
            .map(|LeftOut { line, why }| NotImported {
                line: *line,
                why: why.to_string(),
            });
        output::print_json(&Imported {
            text: imported.to_string(),
            left_out: left_out.collect(),
        })?;
    } else {
        write!(io::stdout().lock(), "{imported}")?;
    }
    for LeftOut { line, why } in &imported.left_out {
        writeln!(io::stderr().lock(), "{name}:{line}: left out: {why}")?;
    }
    Ok(match imported.left_out.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// How the director takes a changed file over.
const RELOAD: &str = "a running director takes it over by `lb reload`";

/// Where a file is, as an argument of those who change or show it.
#[derive(Debug, Args)]
struct Whose {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

/// Colours for standard output.
fn colour() -> Colour {
    match output::wants_colour() {
        true => Colour::Always,
        false => Colour::Never,
    }
}
