//! lvs.cf: from the bytes of a file to the `Site` that it means.
//!
//! ```text
//! bytes ── source ─ lexer ─ parse ── Document ── read ── Settings ── model ── (Global, Site)
//!                                 what is written   as Piranha held it    what it means
//! ```
//!
//! All steps are total: any bytes become a value or diagnostics. Every error is told, not only the
//! first; each has its place. A document keeps the whole text, so nothing is lost by reading it.

mod addresses;
mod assignment;
mod balancing;
pub(crate) mod check;
mod checked_at;
pub mod diagnostic;
pub mod directives;
pub mod document;
pub mod edit;
pub mod excerpt;
mod failovers;
pub mod format;
mod forwarding;
mod global;
mod highlight;
pub mod interfaces;
mod kinds;
pub mod lexer;
pub mod marks;
mod model;
pub mod names;
mod numbers;
pub mod parse;
pub mod piranha;
mod probe;
mod read;
mod render;
pub mod reread;
mod scheduling;
pub mod secrets;
mod selectors;
mod servers;
pub mod settings;
pub mod show;
mod source;
pub mod store;
mod strict;
mod suggest;
pub mod text;
pub mod values;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use self::names::{Names, SystemNames};
pub use self::{
    check::{Format, Verdict, check, check_with},
    diagnostic::{Diagnostic, Severity},
    global::{ConnectionSync, Director, Global},
    highlight::{Class, highlight},
    probe::{expect, unescape},
    render::{Colour, render},
    settings::Mode,
    source::{Position, Source, Span},
    strict::{check_strict, check_strict_with},
};
use crate::model::Site;

/// A larger file is none that a person or a tool wrote: 10,000 services of 10 servers are 20 MiB.
pub const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// Everything that there is to say about the bytes of a file.
#[derive(Debug)]
pub struct Outcome {
    /// What the file means, if it has no errors.
    pub site: Option<(Global, Site)>,
    /// Errors and warnings in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// What was written, with or without errors.
    pub document: document::Document,
}

/// A file that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The settings of the directors.
    pub global: Global,
    /// The services and addresses.
    pub site: Site,
    /// What the bytes of the file come down to, to tell whether two nodes have the same.
    pub digest: u64,
    /// What the author of the file ought to know, each as `file:line:column: warning: …`.
    pub warnings: Vec<String>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("reading {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is far too large for a configuration.
    #[error("{}: larger than {LARGEST_FILE} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It has errors; `lb check` shows them all.
    #[error("{first}{}", and_more(*errors))]
    Refused {
        /// The first error, as `file:line:column: error: …`.
        first: String,
        /// How many there are.
        errors: usize,
    },
}

fn and_more(errors: usize) -> String {
    match errors {
        0 | 1 => String::new(),
        errors => format!(" (and {} more)", errors - 1),
    }
}

/// Reads the file at `path` for use.
///
/// # Errors
/// If it cannot be read or has errors.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let bytes = bytes(path)?;
    usable(parse(&path.to_string_lossy(), &bytes), digest(&bytes))
}

/// FNV-1a: nothing that keeps anybody from making two files with the same.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// What can be used of a file.
fn usable(outcome: Outcome, digest: u64) -> Result<Loaded, LoadError> {
    let Outcome {
        site,
        diagnostics,
        document,
    } = outcome;
    let line = |diagnostic: &Diagnostic| one_line(diagnostic, &document.source);
    match site {
        Some((global, site)) => Ok(Loaded {
            global,
            site,
            digest,
            warnings: diagnostics.iter().map(line).collect(),
        }),
        None => {
            let mut errors = diagnostics
                .iter()
                .filter(|one| one.severity == Severity::Error);
            let first = errors.next().map(line).unwrap_or_default();
            Err(LoadError::Refused {
                first,
                errors: errors.count() + 1,
            })
        }
    }
}

/// What `bytes` mean; `name` is the file's name for diagnostics. Names in it are looked up by the
/// system's resolver; a file of literal addresses asks nobody.
#[must_use]
pub fn parse(name: &str, bytes: &[u8]) -> Outcome {
    parse_with(name, bytes, &mut SystemNames::default())
}

/// The same with another source of names.
#[must_use]
pub fn parse_with(name: &str, bytes: &[u8], names: &mut dyn Names) -> Outcome {
    let mut diagnostics = diagnostic::Diagnostics::default();
    let document = document(name, bytes, &mut diagnostics);
    let mut reader = values::Reader {
        names,
        diagnostics: &mut diagnostics,
    };
    let settings = read::settings(&document, &mut reader);
    let meaning = model::understand(&settings, &document, &mut diagnostics);
    let site = (!diagnostics.refuse()).then_some(meaning);
    Outcome {
        site,
        diagnostics: diagnostics.finish(),
        document,
    }
}

/// What is written in `bytes`, whatever it means and whatever is wrong with it.
#[must_use]
pub fn written(name: &str, bytes: &[u8]) -> document::Document {
    document(name, bytes, &mut diagnostic::Diagnostics::default())
}

impl Outcome {
    /// The values of all directives with defaults filled in, as Piranha held them.
    #[must_use]
    pub fn settings(&self, names: &mut dyn Names) -> settings::Settings<'_> {
        let mut said_before = diagnostic::Diagnostics::default();
        let mut reader = values::Reader {
            names,
            diagnostics: &mut said_before,
        };
        read::settings(&self.document, &mut reader)
    }
}

fn document(
    name: &str,
    bytes: &[u8],
    diagnostics: &mut diagnostic::Diagnostics,
) -> document::Document {
    if bytes.contains(&0) {
        let error = Diagnostic::error(
            Span::default(),
            "this is not a text file: it has bytes that are 0",
        );
        diagnostics.push(error);
        return parse::parse(Source::decode(name, b"\n", diagnostics), diagnostics);
    }
    parse::parse(Source::decode(name, bytes, diagnostics), diagnostics)
}

/// The bytes of a file, if it is not absurdly large. Devices and pipes are bounded too.
fn bytes(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error| LoadError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

fn one_line(diagnostic: &Diagnostic, source: &Source) -> String {
    let Position { line, column } = source.position(diagnostic.span);
    let word = diagnostic.severity.word();
    format!(
        "{}:{line}:{column}: {word}: {}",
        source.name(),
        diagnostic.message
    )
}
