//! `lb check --strict`: what Piranha would have said of a file, and every place where it and `lb` differ.

use std::{collections::HashSet, io::Write, path::Path};

use super::{
    Format, Outcome, Verdict, bytes,
    diagnostic::{Diagnostic, Diagnostics, Severity},
    directives::{GLOBALS, SERVERS, SERVICES, find},
    names::{Names, SystemNames},
    parse_with,
    piranha::{self, Answer, Fault, Refusal},
    render::{Colour, render},
    source::{Source, Span},
};

/// Lines that Piranha refuses are told up to this number.
const MOST: usize = 500;

/// Writes what Piranha 0.8.6 would have answered to a file: as JSON exactly that; as text also all the
/// lines that it would have refused, had it gone on, and what it read otherwise than it is meant.
///
/// # Errors
/// If the file cannot be read, or `out` not written.
pub fn check_strict(path: &Path, format: Format, out: &mut dyn Write) -> anyhow::Result<Verdict> {
    let name = path.to_string_lossy();
    let bytes = bytes(path)?;
    check_strict_with(&name, &bytes, format, &mut SystemNames::default(), out)
}

/// The same for a text that has been read, and with another source of names.
///
/// # Errors
/// If `out` cannot be written.
pub fn check_strict_with(
    name: &str,
    bytes: &[u8],
    format: Format,
    names: &mut dyn Names,
    out: &mut dyn Write,
) -> anyhow::Result<Verdict> {
    let answer = piranha::parse(bytes, names);
    let is_same = match format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &answer)?;
            writeln!(out)?;
            answer.is_loaded()
        }
        Format::Text(colour) => text(name, bytes, &answer, colour, names, out)?,
    };
    Ok(match is_same {
        true => Verdict::Loadable,
        false => Verdict::Refused,
    })
}

fn text(
    name: &str,
    bytes: &[u8],
    answer: &Answer,
    colour: Colour,
    names: &mut dyn Names,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    if let Answer::Refused(Refusal { fault, line, .. }) = answer {
        let text = fault.text();
        writeln!(out, "pulse: error parsing {name} at line {line}: {text}")?;
    }
    let source = Source::decode(name, bytes, &mut Diagnostics::default());
    let differences = differences(bytes, &source, &parse_with(name, bytes, names), names);
    for difference in &differences {
        out.write_all(render(difference, &source, colour).as_bytes())?;
    }
    let verdict = if answer.is_loaded() {
        "Piranha 0.8.6 would load it"
    } else {
        "Piranha 0.8.6 would refuse it"
    };
    let count = differences.len();
    writeln!(
        out,
        "{name}: {verdict}; {count} places are not as it reads them"
    )?;
    Ok(answer.is_loaded() && differences.is_empty())
}

/// Everything that is not as Piranha had it, in the order of the file, as errors.
fn differences(
    bytes: &[u8],
    source: &Source,
    outcome: &Outcome,
    names: &mut dyn Names,
) -> Vec<Diagnostic> {
    let mut lines = HashSet::new();
    let mut differences = Vec::new();
    let mut offsets = Offsets { bytes, at: (0, 0) };
    for refusal in piranha::refusals(bytes, names, MOST) {
        let start = offsets.of(refusal.place.start);
        let span = Span {
            start,
            end: offsets.of(refusal.place.end),
        };
        lines.insert(source.position(span).line);
        let message = format!("Piranha: {}", refusal.fault.text());
        let error = Diagnostic::error(span, message);
        differences.push(error.help(reason(refusal.fault, span, source, outcome)));
    }
    if bytes.is_empty() {
        let message = format!("Piranha: {}", Fault::Empty.text());
        differences.push(Diagnostic::error(Span::default(), message));
    }
    for liberty in outcome.diagnostics.iter().filter(|one| one.liberty) {
        if lines.insert(outcome.document.source.position(liberty.span).line) {
            differences.push(Diagnostic {
                severity: Severity::Error,
                ..liberty.clone()
            });
        }
    }
    differences.sort_by_key(|one| one.span.start);
    differences
}

/// Why Piranha refuses a line, as far as it is told by what is made of it here.
fn reason(fault: Fault, span: Span, source: &Source, outcome: &Outcome) -> String {
    let word = source.slice(span);
    let is_ours = find(GLOBALS, word).is_some_and(|entry| entry.extension)
        || find(SERVICES, word).is_some_and(|entry| entry.extension)
        || find(SERVERS, word).is_some_and(|entry| entry.extension);
    if fault == Fault::Command && is_ours {
        return "this directive is an extension, and not for Piranha".into();
    }
    let line = |span| outcome.document.source.position(span).line;
    let here = source.position(span).line;
    let mut errors = outcome
        .diagnostics
        .iter()
        .filter(|one| line(one.span) == here);
    match errors.find(|one| one.severity == Severity::Error || one.liberty) {
        Some(error) if error.severity == Severity::Error => {
            format!("it is an error here too: {}", error.message)
        }
        Some(liberty) => format!("it is only a warning here: {}", liberty.message),
        None if fault == Fault::Quotation || word.starts_with(['"', '\'']) => {
            "Piranha takes nothing behind a quoted word, not even blanks".into()
        }
        None => "it is an extension, and not for Piranha".into(),
    }
}

/// Places in the bytes of a file to places in its text, where bytes that are no text take more room. To
/// be asked in ascending order.
struct Offsets<'a> {
    bytes: &'a [u8],
    /// The last place in the bytes, and in the text.
    at: (usize, usize),
}

impl Offsets<'_> {
    fn of(&mut self, place: usize) -> usize {
        let (byte, text) = self.at;
        // The rest of a line may have been told of before a word in it.
        let between = self.bytes.get(byte..place).unwrap_or_default();
        let length = String::from_utf8_lossy(between).len();
        if place >= byte {
            self.at = (place, text + length);
        }
        self.at.1
    }
}
