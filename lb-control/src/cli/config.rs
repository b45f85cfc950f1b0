//! `lb config`.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::config::marks::{self, LeftOut};

#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Prints the `fwmark` and `match` lines for the marks that a firewall sets; exit status 1 if
    /// a rule could not be carried over.
    ImportMarks {
        /// What iptables-save, ip6tables-save, `iptables -t mangle -S` or `nft list ruleset`
        /// printed; - for standard input.
        file: PathBuf,
    },
}

impl Config {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::ImportMarks { file } => import_marks(&file),
        }
    }
}

fn import_marks(file: &Path) -> anyhow::Result<ExitCode> {
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
    write!(io::stdout().lock(), "{imported}")?;
    for LeftOut { line, why } in &imported.left_out {
        writeln!(io::stderr().lock(), "{name}:{line}: left out: {why}")?;
    }
    Ok(match imported.left_out.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
