//! Text → lines of words. Nothing is refused here: a word knows what is wrong with it, and whoever
//! uses the word says so (the quotes of a comment need not be closed).

use super::source::{Source, Span};

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// All of it, without its end.
    pub span: Span,
    /// Its words; none if it is blank or a comment.
    pub words: Vec<Word>,
    /// Where `=` touches its neighbours, which Piranha refused.
    pub glued_equals: Option<Span>,
}

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it says, without quotes. Backslashes are still as written.
    pub text: String,
    /// Where it stands, quotes included.
    pub span: Span,
    /// The quotes around it.
    pub quote: Option<char>,
    /// What is wrong with them.
    pub fault: Option<Fault>,
}

impl Word {
    /// Whether this is the sign `sign`, not a quoted text that looks like it.
    #[must_use]
    pub fn is(&self, sign: &str) -> bool {
        self.quote.is_none() && self.text == sign
    }

    /// Whether a comment begins here, if the line is already complete.
    #[must_use]
    pub fn begins_comment(&self) -> bool {
        self.quote.is_none() && self.text.starts_with('#')
    }
}

/// What can be wrong with quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The line ends before the closing quote.
    Unclosed,
    /// There is no blank after the closing quote.
    Glued,
}

/// All lines of the file, one after the other.
pub fn lex(source: &Source) -> impl Iterator<Item = Line> {
    source
        .lines()
        .iter()
        .map(|span| lex_line(source.slice(*span), *span))
}

fn lex_line(text: &str, span: Span) -> Line {
    let mut line = Line {
        span,
        words: Vec::new(),
        glued_equals: None,
    };
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_start_matches(BLANKS).len();
        at += blanks;
        let rest = rest.get(blanks..).unwrap_or_default();
        if rest.is_empty() || (line.words.is_empty() && rest.starts_with('#')) {
            return line;
        }
        let mut word = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => quoted(rest, quote),
            _ => bare(rest),
        };
        let length = split_equals(&mut word, &line).unwrap_or(word.span.end);
        if length < word.span.end || (blanks == 0 && word.is("=")) || touches_equals(&line, blanks)
        {
            let sign = if line.words.is_empty() { length } else { 0 };
            let start = span.start + at + sign;
            line.glued_equals.get_or_insert(Span {
                start,
                end: start + 1,
            });
        }
        word.text.truncate(if word.quote.is_some() {
            word.text.len()
        } else {
            length
        });
        word.span = Span {
            start: span.start + at,
            end: span.start + at + length,
        };
        line.words.push(word);
        at += length;
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Whether the word after `=` follows without a blank.
fn touches_equals(line: &Line, blanks: usize) -> bool {
    blanks == 0 && line.words.len() == 2 && line.words.last().is_some_and(|word| word.is("="))
}

/// `primary=10.0.0.1`: how much of the word stands before, or is, the sign. Only the sign after a
/// directive's name is meant; everywhere else `=` is a character like any other.
fn split_equals(word: &mut Word, line: &Line) -> Option<usize> {
    if word.quote.is_some() {
        return None;
    }
    match line.words.as_slice() {
        [] => word.text.find('=').filter(|at| *at > 0),
        [name] if !["virtual", "failover", "server"].contains(&name.text.as_str()) => {
            word.text.starts_with('=').then_some(1)
        }
        _ => None,
    }
}

fn bare(rest: &str) -> Word {
    let end = rest.find(BLANKS).unwrap_or(rest.len());
    Word {
        text: rest.get(..end).unwrap_or_default().to_owned(),
        span: Span { start: 0, end },
        quote: None,
        fault: None,
    }
}

fn quoted(rest: &str, quote: char) -> Word {
    let inner = rest.get(1..).unwrap_or_default();
    let Some(close) = inner.find(quote) else {
        return Word {
            text: inner.to_owned(),
            span: Span {
                start: 0,
                end: rest.len(),
            },
            quote: Some(quote),
            fault: Some(Fault::Unclosed),
        };
    };
    let after = inner.get(close + 1..).unwrap_or_default();
    let glued = after.find(BLANKS).unwrap_or(after.len());
    Word {
        text: inner.get(..close).unwrap_or_default().to_owned(),
        span: Span {
            start: 0,
            end: close + 2 + glued,
        },
        quote: Some(quote),
        fault: (glued > 0).then_some(Fault::Glued),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let table: [(&str, &[&str]); 17] = [
            ("", &[]),
            ("  # comment", &[]),
            ("a = b", &["a", "=", "b"]),
            ("\ta\t=  b ", &["a", "=", "b"]),
            ("a=b", &["a", "=", "b"]),
            ("a= b", &["a", "=", "b"]),
            ("a =b", &["a", "=", "b"]),
            ("a=b=c", &["a", "=", "b=c"]),
            ("a = =", &["a", "=", "="]),
            ("a = \"b c\" ", &["a", "=", "b c"]),
            ("a=\"b c\"", &["a", "=", "b c"]),
            ("a = 'b \"c'", &["a", "=", "b \"c"]),
            ("a = b\"c d", &["a", "=", "b\"c", "d"]),
            ("a = \"\"", &["a", "=", ""]),
            ("a = 6 # 'tis", &["a", "=", "6", "#", "tis"]),
            ("virtual =x {", &["virtual", "=x", "{"]),
            ("= a", &["=", "a"]),
        ];
        for (text, expected) in table {
            let line = lex_line(
                text,
                Span {
                    start: 0,
                    end: text.len(),
                },
            );
            let words: Vec<_> = line.words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(words, expected, "{text:?}");
        }
    }

    #[test]
    fn faults_of_quotes_and_glued_signs_are_noted() {
        let table = [
            ("a = \"b", Some(Fault::Unclosed), false),
            ("a = \"b'", Some(Fault::Unclosed), false),
            ("a = \"b\"c d", Some(Fault::Glued), false),
            ("a = \"b\" ", None, false),
            ("a=b", None, true),
            ("a= b", None, true),
            ("a =\"b\"", None, true),
        ];
        for (text, fault, glued) in table {
            let line = lex_line(
                text,
                Span {
                    start: 0,
                    end: text.len(),
                },
            );
            assert_eq!(
                line.words.iter().find_map(|word| word.fault),
                fault,
                "{text:?}"
            );
            assert_eq!(line.glued_equals.is_some(), glued, "{text:?}");
        }
    }

    #[test]
    fn spans_are_those_of_the_text() {
        let text = "  send=\"a b\"  x";
        let line = lex_line(
            text,
            Span {
                start: 0,
                end: text.len(),
            },
        );
        let spans: Vec<_> = line
            .words
            .iter()
            .map(|w| &text[w.span.start..w.span.end])
            .collect();
        assert_eq!(spans, ["send", "=", "\"a b\"", "x"]);
    }
}
