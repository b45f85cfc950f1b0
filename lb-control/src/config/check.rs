//! `lb check FILE`.

use std::{borrow::Cow, io::Write, path::Path};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Colour, Outcome, Severity, bytes,
    diagnostic::Located,
    interfaces::{self, Interfaces, SystemInterfaces},
    parse,
    render::render,
};

/// How the answer is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text(Colour),
    /// For machines.
    Json,
}

/// The answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `lb run` would take the file.
    Loadable,
    /// It would not.
    Refused,
}

impl Verdict {
    /// The exit status of `lb check`.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Loadable => 0,
            Self::Refused => 1,
        }
    }
}

/// Writes all errors and warnings of a file to `out`, and which of its interfaces are not there.
///
/// # Errors
/// If the file cannot be read, or `out` not written; then nothing is known of the file.
pub fn check(path: &Path, format: Format, out: &mut dyn Write) -> anyhow::Result<Verdict> {
    check_with(path, format, &mut SystemInterfaces, out)
}

/// The same with another source of interfaces.
///
/// # Errors
/// If the file cannot be read, or `out` not written.
pub fn check_with(
    path: &Path,
    format: Format,
    interfaces: &mut dyn Interfaces,
    out: &mut dyn Write,
) -> anyhow::Result<Verdict> {
    let mut outcome = parse(&path.to_string_lossy(), &bytes(path)?);
    interfaces::look(&mut outcome, interfaces);
    let source = &outcome.document.source;
    let loadable = outcome.site.is_some();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &Answer::of(&outcome))?;
            writeln!(out)?;
        }
        Format::Text(colour) => {
            for diagnostic in &outcome.diagnostics {
                out.write_all(render(diagnostic, source, colour).as_bytes())?;
            }
            let count = |severity| {
                outcome
                    .diagnostics
                    .iter()
                    .filter(|one| one.severity == severity)
                    .count()
            };
            let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
            let verdict = if loadable {
                "can be loaded"
            } else {
                "cannot be loaded"
            };
            writeln!(
                out,
                "{}: {verdict}: {errors} errors, {warnings} warnings",
                source.name()
            )?;
        }
    }
    Ok(if loadable {
        Verdict::Loadable
    } else {
        Verdict::Refused
    })
}

/// The answer to `lb check --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CheckReport)]
pub struct Answer<'a> {
    /// Whether it can be loaded.
    pub ok: bool,
    /// The file.
    #[schema(value_type = String)]
    pub file: Cow<'a, str>,
    /// What is wrong with it, or may be.
    pub diagnostics: Vec<Located<'a>>,
}

impl<'a> Answer<'a> {
    /// What there is to say about a file.
    #[must_use]
    pub fn of(outcome: &'a Outcome) -> Self {
        let source = &outcome.document.source;
        let diagnostics = outcome.diagnostics.iter();
        Self {
            ok: outcome.site.is_some(),
            file: source.name().into(),
            diagnostics: diagnostics.map(|one| one.located(source)).collect(),
        }
    }

    /// The same, of nobody else.
    #[must_use]
    pub fn owned(self) -> Answer<'static> {
        Answer {
            ok: self.ok,
            file: self.file.into_owned().into(),
            diagnostics: self.diagnostics.into_iter().map(Located::owned).collect(),
        }
    }
}

/// Everything that there is to say about the bytes of a file on this machine: which of its interfaces are not
/// there, too.
#[must_use]
pub(crate) fn examine(name: &str, bytes: &[u8]) -> Outcome {
    let mut outcome = parse(name, bytes);
    interfaces::look(&mut outcome, &mut SystemInterfaces);
    outcome
}
