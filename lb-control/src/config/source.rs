//! The text of one lvs.cf and where its lines are. Line ends may be LF, CRLF or CR.

use serde::Serialize;

use super::diagnostic::{Diagnostic, Diagnostics};

/// A text with more bytes that are not UTF-8 is none.
const MOST_STRANGE: usize = 100_000;

/// Bytes from `start` up to, but without, `end` of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

/// Where people look: both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line; a tab is one character.
    pub column: usize,
}

/// The text of a file, unchanged, under the name that diagnostics show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// Each line without its end, and without the byte order mark of the first.
    lines: Vec<Span>,
}

impl Source {
    /// Bytes of a file become text. Bytes that are not UTF-8 are tolerated in comments (many old
    /// files have Latin-1 there) and errors elsewhere.
    pub(super) fn decode(name: &str, bytes: &[u8], diagnostics: &mut Diagnostics) -> Self {
        let mut text = String::with_capacity(bytes.len());
        let mut strange = Vec::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if let Some(byte) = chunk.invalid().first() {
                let start = text.len();
                text.push(char::REPLACEMENT_CHARACTER);
                if strange.len() == MOST_STRANGE {
                    let message = "too many bytes are not UTF-8 text";
                    diagnostics.push(Diagnostic::error(Span::default(), message));
                    break;
                }
                strange.push((
                    *byte,
                    Span {
                        start,
                        end: text.len(),
                    },
                ));
            }
        }
        let lines = lines(&text);
        let source = Self {
            name: name.to_owned(),
            text,
            lines,
        };
        for (byte, span) in strange {
            let comment = source.line_of(span).1.trim_start().starts_with('#');
            let found = format!("byte 0x{byte:02x} is not UTF-8 text");
            diagnostics.push(if comment {
                Diagnostic::warning(span, format!("{found}; it is in a comment and ignored"))
            } else {
                Diagnostic::error(span, found)
                    .help("convert the file, e.g. `iconv -f latin1 -t utf8`")
            });
        }
        source
    }

    /// The name of the file as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text as it was read, byte order mark and line ends included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines without their ends.
    pub(super) fn lines(&self) -> &[Span] {
        &self.lines
    }

    /// The text at a span; nothing if there is no such span.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line and column of a span's first character.
    #[must_use]
    pub fn position(&self, span: Span) -> Position {
        let (index, line) = self.line_of(span);
        let start = self.lines.get(index).map_or(0, |line| line.start);
        let before = line.get(..span.start.saturating_sub(start)).unwrap_or(line);
        Position {
            line: index + 1,
            column: before.chars().count() + 1,
        }
    }

    /// A place in words: `file:line`.
    pub(super) fn place(&self, span: Span) -> String {
        format!("{}:{}", self.name, self.position(span).line)
    }

    /// The index and the text of the line that a span begins in.
    pub(super) fn line_of(&self, span: Span) -> (usize, &str) {
        let after = self.lines.partition_point(|line| line.start <= span.start);
        let index = after.saturating_sub(1);
        (
            index,
            self.lines.get(index).map_or("", |line| self.slice(*line)),
        )
    }
}

fn lines(text: &str) -> Vec<Span> {
    let mut lines = Vec::new();
    let mut start = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let bytes = text.as_bytes();
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'\n' if at > start || bytes.get(at.wrapping_sub(1)) != Some(&b'\r') => {
                lines.push(Span { start, end: at });
                start = at + 1;
            }
            // The second half of CRLF: the line was ended by its CR.
            b'\n' => start = at + 1,
            b'\r' => {
                lines.push(Span { start, end: at });
                start = at + 1;
            }
            _ => {}
        }
    }
    lines.push(Span {
        start,
        end: text.len(),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_lf_crlf_or_cr() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[""]),
            ("a", &["a"]),
            ("a\nb\n", &["a", "b", ""]),
            ("a\r\nb\r\n", &["a", "b", ""]),
            ("a\rb\r", &["a", "b", ""]),
            ("a\n\nb", &["a", "", "b"]),
            ("a\r\n\r\nb", &["a", "", "b"]),
            ("a\r\r\nb", &["a", "", "b"]),
            ("\u{feff}\na", &["", "a"]),
        ];
        for (text, expected) in table {
            let found: Vec<_> = lines(text).iter().map(|s| &text[s.start..s.end]).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let source = Source::decode(
            "f",
            "\u{feff}äöü x\r\n\ty".as_bytes(),
            &mut Diagnostics::default(),
        );
        let at = |needle: char| {
            let start = source.text().find(needle).unwrap();
            let position = source.position(Span {
                start,
                end: start + 1,
            });
            (position.line, position.column)
        };
        assert_eq!(at('ä'), (1, 1));
        assert_eq!(at('x'), (1, 5));
        assert_eq!(at('y'), (2, 2));
    }
}
