//! Bytes → lines of tokens, as Piranha's scanner cut them, with its faults.
//!
//! It looked for the first CR *anywhere ahead*, and for LF only if there was none. And the end of a quoted
//! text it looked for behind the first blank, where it found none if the text had no blank itself.

use std::ops::Range;

/// It had room for as many tokens in a line; what is behind them was never seen.
const MOST_TOKENS: usize = 99;

/// One line that is neither blank nor a comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: usize,
    /// Where it stands in the file, without its end.
    pub(super) place: Range<usize>,
    /// Its tokens, at least one; or where the quotes are wrong.
    pub(super) tokens: Result<Vec<Token<'a>>, Range<usize>>,
}

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// Without its quotes.
    pub(super) text: &'a [u8],
    /// With them.
    pub(super) written: &'a [u8],
    /// Where it stands in the file, quotes included.
    pub(super) place: Range<usize>,
}

impl Token<'_> {
    pub(super) fn is(&self, text: &str) -> bool {
        self.text == text.as_bytes()
    }
}

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// At the first CR ahead, else at LF.
    AsPiranha,
    /// At LF, CR and LF, or CR, whichever comes first.
    Any,
}

/// Goes through a file line by line.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    ends: LineEnds,
    at: usize,
    number: usize,
    /// The next CR, if it is still ahead. Without it each line would search the whole rest of the file.
    next_cr: Option<usize>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8], ends: LineEnds) -> Self {
        Self {
            bytes,
            ends,
            at: 0,
            number: 0,
            next_cr: find(bytes, 0, b'\r'),
        }
    }

    /// The next line, without its end, and where it begins.
    fn take_line(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        if start >= self.bytes.len() {
            return None;
        }
        if self.next_cr.is_some_and(|cr| cr < start) {
            self.next_cr = find(self.bytes, start, b'\r');
        }
        let end = match (self.ends, self.next_cr) {
            (LineEnds::AsPiranha, Some(cr)) => cr,
            (LineEnds::Any, Some(cr)) => {
                find(self.bytes.get(..cr).unwrap_or_default(), start, b'\n').unwrap_or(cr)
            }
            (_, None) => find(self.bytes, start, b'\n').unwrap_or(self.bytes.len()),
        };
        let is_pair = self.ends == LineEnds::Any
            && self
                .bytes
                .get(end..end + 2)
                .is_some_and(|two| two == b"\r\n");
        self.at = end + if is_pair { 2 } else { 1 };
        self.number += 1;
        Some(start..end)
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let place = self.take_line()?;
            let text = self.bytes.get(place.clone()).unwrap_or_default();
            // A line that begins with LF, as the second one of a file with CR and LF does, is blank
            // up to its CR.
            match text.iter().find(|byte| !is_blank(**byte)) {
                None | Some(b'#' | b'\n') => {}
                Some(_) => {
                    return Some(Line {
                        number: self.number,
                        tokens: split(text, place.start),
                        place,
                    });
                }
            }
        }
    }
}

/// The tokens of a line that begins at `offset` in the file.
fn split(text: &[u8], offset: usize) -> Result<Vec<Token<'_>>, Range<usize>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while tokens.len() < MOST_TOKENS {
        let blanks = text.iter().skip(at).take_while(|byte| is_blank(**byte));
        at += blanks.count();
        let Some(first) = text.get(at) else { break };
        let start = at;
        let length = text.iter().skip(at).take_while(|byte| !is_blank(**byte));
        at += length.count();
        let inner = match first {
            b'"' | b'\'' => {
                let close = closing(text, start, at, *first)
                    .ok_or_else(|| offset + start..offset + text.len())?;
                at = close + 1;
                start + 1..close
            }
            _ => start..at,
        };
        tokens.push(Token {
            text: text.get(inner).unwrap_or_default(),
            written: text.get(start..at).unwrap_or_default(),
            place: offset + start..offset + at,
        });
    }
    Ok(tokens)
}

/// Where a quoted text that begins at `start` ends; its first blank, or the end of the line, is at `blank`.
fn closing(text: &[u8], start: usize, blank: usize, quote: u8) -> Option<usize> {
    if blank < text.len() {
        return find(text, blank, quote);
    }
    // The last word of the line: its last character has to be the quote. The first one ends it.
    if text.last() != Some(&quote) {
        return None;
    }
    find(text, start + 1, quote)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn find(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.iter()
        .position(|byte| *byte == wanted)
        .map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of a line and its tokens, if its quotes are right.
    type Found = (usize, Option<Vec<String>>);

    fn lines(text: &str, ends: LineEnds) -> Vec<Found> {
        let show = |token: Token<'_>| String::from_utf8_lossy(token.text).into_owned();
        Scanner::new(text.as_bytes(), ends)
            .map(|line| {
                let tokens = line
                    .tokens
                    .map(|tokens| tokens.into_iter().map(show).collect());
                (line.number, tokens.ok())
            })
            .collect()
    }

    #[test]
    fn tokens() {
        let table: [(&str, Option<&[&str]>); 21] = [
            ("a = b", Some(&["a", "=", "b"])),
            ("\ta\t=  b \t", Some(&["a", "=", "b"])),
            ("a=b", Some(&["a=b"])),
            ("a = b#c", Some(&["a", "=", "b#c"])),
            ("a = b\"c d", Some(&["a", "=", "b\"c", "d"])),
            ("a = \"b\"", Some(&["a", "=", "b"])),
            ("a = ''", Some(&["a", "=", ""])),
            ("a = \"b c\"", Some(&["a", "=", "b c"])),
            ("a = \"b c\" ", Some(&["a", "=", "b c"])),
            ("a = \"b # c\"", Some(&["a", "=", "b # c"])),
            ("a = 'b \"c'", Some(&["a", "=", "b \"c"])),
            // The fault: behind the first blank there is no quote.
            ("a = \"b\" ", None),
            ("\"a\" = b", None),
            ("virtual \"w\" {", None),
            // The same fault takes the opening quote of the next text for the closing one.
            ("a = \"b\" \"c d\"", Some(&["a", "=", "b\" ", "c", "d\""])),
            ("a = \"b", None),
            ("a = \"b c", None),
            ("a = \"b'", None),
            ("a = \"b\"c", None),
            ("a = \"", None),
            // No escapes: the quote ends the text, what follows is the next token.
            (
                r#"a = "b \"c\" d""#,
                Some(&["a", "=", "b \\", "c\\\"", "d\""]),
            ),
        ];
        for (text, expected) in table {
            let found = lines(text, LineEnds::AsPiranha);
            let found = found.first().and_then(|(_, tokens)| tokens.as_ref());
            let found: Option<Vec<&str>> =
                found.map(|tokens| tokens.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_end_at_the_first_cr_ahead() {
        type Lines = &'static [(usize, &'static str)];
        let table: [(&str, Lines, Lines); 8] = [
            ("a\nb", &[(1, "a"), (2, "b")], &[(1, "a"), (2, "b")]),
            ("a\rb\r", &[(1, "a"), (2, "b")], &[(1, "a"), (2, "b")]),
            ("# c\n\n a", &[(3, "a")], &[(3, "a")]),
            (
                "a\r\nb\r\nc\r\n",
                &[(1, "a")],
                &[(1, "a"), (2, "b"), (3, "c")],
            ),
            (
                "a\r\nb\nc",
                &[(1, "a"), (3, "b"), (4, "c")],
                &[(1, "a"), (2, "b"), (3, "c")],
            ),
            (
                "a\nb\rc",
                &[(1, "a\nb"), (2, "c")],
                &[(1, "a"), (2, "b"), (3, "c")],
            ),
            ("# a\nb\rc", &[(2, "c")], &[(2, "b"), (3, "c")]),
            ("\na\r", &[], &[(2, "a")]),
        ];
        for (text, piranha, any) in table {
            for (ends, expected) in [(LineEnds::AsPiranha, piranha), (LineEnds::Any, any)] {
                let found: Vec<_> = lines(text, ends)
                    .into_iter()
                    .map(|(number, tokens)| (number, tokens.unwrap().join(" ")))
                    .collect();
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(number, text)| (*number, (*text).to_owned()))
                    .collect();
                assert_eq!(found, expected, "{text:?} {ends:?}");
            }
        }
    }
}
