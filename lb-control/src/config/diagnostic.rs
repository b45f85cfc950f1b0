//! What is to be said about a file: errors and warnings with their place.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::source::{Position, Source, Span};

/// More than this of one severity tells nobody anything new.
const MOST: usize = 500;

/// Whether the file can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is loaded; something is not as its author may think.
    Warning,
}

impl Severity {
    /// The word in front of the message.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing to say about a place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The text it is about.
    pub span: Span,
    /// Piranha refused this, or read it otherwise.
    pub liberty: bool,
}

impl Diagnostic {
    /// Something that makes the file unusable.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            help: None,
            span,
            liberty: false,
        }
    }

    /// Something that the author of the file ought to know.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says that Piranha refused this, or read it otherwise.
    #[must_use]
    pub fn liberty(mut self) -> Self {
        self.liberty = true;
        self
    }

    /// The same with line and column, for machines.
    #[must_use]
    pub fn located<'a>(&'a self, source: &'a Source) -> Located<'a> {
        let Position { line, column } = source.position(self.span);
        let (_, rest) = source.line_of(self.span);
        let rest = rest.chars().skip(column - 1).count();
        Located {
            file: source.name().into(),
            line,
            column,
            width: source
                .slice(self.span)
                .chars()
                .count()
                .clamp(1, rest.max(1)),
            severity: self.severity,
            message: self.message.as_str().into(),
            help: self.help.as_deref().map(Cow::Borrowed),
        }
    }
}

/// A diagnostic as machines read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Diagnostic)]
pub struct Located<'a> {
    /// The file.
    #[schema(value_type = String)]
    pub file: Cow<'a, str>,
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
    /// How many characters of the line it is about, from 1.
    #[serde(default)]
    pub width: usize,
    /// Whether the file can be used in spite of it.
    pub severity: Severity,
    /// What is wrong.
    #[schema(value_type = String)]
    pub message: Cow<'a, str>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub help: Option<Cow<'a, str>>,
}

impl Located<'_> {
    /// The same, of nobody else.
    #[must_use]
    pub fn owned(self) -> Located<'static> {
        Located {
            file: self.file.into_owned().into(),
            line: self.line,
            column: self.column,
            width: self.width,
            severity: self.severity,
            message: self.message.into_owned().into(),
            help: self.help.map(|help| help.into_owned().into()),
        }
    }
}

/// Everything said so far; bounded, for a file may be 64 MiB of nonsense.
#[derive(Debug, Default)]
pub struct Diagnostics {
    said: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// Notes one more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let count = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MOST {
            self.said.push(diagnostic);
        }
    }

    /// Notes an error, and what to do about it.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, help: &str) {
        self.push(Diagnostic::error(span, message).help(help));
    }

    /// Notes a warning, and what to do about it.
    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, help: &str) {
        self.push(Diagnostic::warning(span, message).help(help));
    }

    /// Whether a further error would only be counted.
    #[must_use]
    pub(super) fn full_of_errors(&self) -> bool {
        self.errors >= MOST
    }

    /// Whether the file is to be refused.
    #[must_use]
    pub fn refuse(&self) -> bool {
        self.errors > 0
    }

    /// All in the order of the file, with a last word about those that were too many.
    #[must_use]
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.said.sort_by_key(|diagnostic| diagnostic.span.start);
        let end = self.said.last().map_or(Span::default(), |last| last.span);
        for (count, severity) in [
            (self.errors, Severity::Error),
            (self.warnings, Severity::Warning),
        ] {
            if count > MOST {
                let message = format!("{} more {}s are not shown", count - MOST, severity.word());
                self.said.push(Diagnostic {
                    severity,
                    message,
                    help: None,
                    span: end,
                    liberty: false,
                });
            }
        }
        self.said
    }
}

/// A piece of the file inside a message: in backticks, printable, of bounded length.
#[must_use]
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).map(printable).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// A character that does nothing but take its place: no control codes, no change of direction.
#[must_use]
pub(super) fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => '�',
        c if c.is_control() => '�',
        c => c,
    }
}
