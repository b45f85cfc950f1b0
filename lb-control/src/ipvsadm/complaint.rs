//! Why a command was not carried out, and with what status it ends.

use std::fmt;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What is said on standard error, without the last line break.
    pub text: String,
    /// With what the program ends.
    pub status: u8,
}

impl Complaint {
    /// The command line is wrong.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            status: 2,
        }
    }

    /// What was asked for cannot be done.
    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            status: 255,
        }
    }

    /// What was asked about cannot be shown.
    pub(super) fn unlisted(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            status: 1,
        }
    }

    /// Where to find out how it is done.
    pub(super) fn try_help(program: &str) -> Self {
        Self::refused(format!(
            "Try `{program} -h' or '{program} --help' for more information."
        ))
    }

    /// The same, about a line of what is restored.
    pub(super) fn at_line(self, line: usize) -> Self {
        Self {
            text: format!("line {line}: {}", self.text.trim_end()),
            status: self.status,
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
