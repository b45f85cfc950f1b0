//! What an answer is worth, from its bytes alone.

use super::failure::{Failure, quoted};
use crate::model::Expect;

/// How much of an answer a regular expression gets to see.
const REGEX_SEES: usize = 4096;

/// What can be said about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is what was expected, whatever follows.
    Matched,
    /// Too early to say.
    NeedMore,
    /// It is something else, whatever follows.
    Mismatch(Failure),
}

/// Whether more of an answer can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The peer may send more.
    Open,
    /// The peer closed, or the datagram is complete.
    Ended,
}

/// The most bytes of an answer that are ever looked at; no more need be read or kept.
pub fn appetite(expect: &Expect) -> usize {
    match expect {
        Expect::Anything => 1,
        Expect::Prefix(prefix) => prefix.len(),
        Expect::Regex(_) => REGEX_SEES,
    }
}

/// Compares what has been received so far with what is expected. [`Verdict::NeedMore`] comes only
/// while less than [`appetite`] bytes were received and the rest is open.
pub fn judge(expect: &Expect, received: &[u8], rest: Rest) -> Verdict {
    let matched = match expect {
        Expect::Anything => !received.is_empty(),
        Expect::Prefix(prefix) => received.starts_with(prefix),
        Expect::Regex(regex) => regex.is_match(received),
    };
    let hopeless = match expect {
        Expect::Prefix(prefix) => !prefix.starts_with(received),
        Expect::Anything | Expect::Regex(_) => false,
    };
    if matched {
        return Verdict::Matched;
    }
    if rest == Rest::Open && !hopeless && received.len() < appetite(expect) {
        return Verdict::NeedMore;
    }
    let expected = wanted(expect);
    Verdict::Mismatch(if received.is_empty() {
        Failure::Empty { expected }
    } else {
        Failure::WrongAnswer {
            answered: quoted(received),
            expected,
        }
    })
}

/// What is expected, in words.
#[must_use]
pub fn wanted(expect: &Expect) -> String {
    match expect {
        Expect::Anything => "anything".to_owned(),
        Expect::Prefix(prefix) => quoted(prefix),
        Expect::Regex(regex) => format!("a match of {}", quoted(regex.as_str().as_bytes())),
    }
}

/// Whether a program printed what it has to print. One newline at the end does not count.
pub(super) fn printed(expect: &str, output: &[u8]) -> Result<(), Failure> {
    let text = output.strip_suffix(b"\n").unwrap_or(output);
    if text == expect.as_bytes() {
        return Ok(());
    }
    Err(Failure::WrongOutput {
        printed: quoted(output),
        expected: quoted(expect.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Is {
        Matched,
        NeedMore,
        Mismatch(&'static str),
    }

    fn prefix(text: &str) -> Expect {
        Expect::Prefix(text.into())
    }

    fn regex(pattern: &str) -> Expect {
        Expect::Regex(regex::bytes::Regex::new(pattern).unwrap())
    }

    #[test]
    fn answers() {
        use Rest::{Ended, Open};
        let banner = |length| vec![b'x'; length];
        let table: Vec<(Expect, Vec<u8>, Rest, Is)> = vec![
            (Expect::Anything, b"".into(), Open, Is::NeedMore),
            (Expect::Anything, b"x".into(), Open, Is::Matched),
            (
                Expect::Anything,
                b"".into(),
                Ended,
                Is::Mismatch("ended without an answer, expected anything"),
            ),
            (prefix("HTTP"), b"".into(), Open, Is::NeedMore),
            (prefix("HTTP"), b"HT".into(), Open, Is::NeedMore),
            (prefix("HTTP"), b"HTTP".into(), Open, Is::Matched),
            (prefix("HTTP"), b"HTTP/1.1 500".into(), Open, Is::Matched),
            (
                prefix("HTTP"),
                b"HT".into(),
                Ended,
                Is::Mismatch(r#"answered "HT", expected "HTTP""#),
            ),
            (
                prefix("HTTP"),
                b"SSH".into(),
                Open,
                Is::Mismatch(r#"answered "SSH", expected "HTTP""#),
            ),
            (
                prefix("HTTP"),
                b"".into(),
                Ended,
                Is::Mismatch(r#"ended without an answer, expected "HTTP""#),
            ),
            (prefix(""), b"".into(), Open, Is::Matched),
            (
                regex("20[06] OK"),
                b"HTTP/1.1 206 OK".into(),
                Open,
                Is::Matched,
            ),
            (regex("^O"), b"NO".into(), Open, Is::NeedMore),
            (
                regex("^O"),
                b"NO".into(),
                Ended,
                Is::Mismatch(r#"answered "NO", expected a match of "^O""#),
            ),
            (regex("y"), banner(4095), Open, Is::NeedMore),
            (
                regex("y"),
                banner(4096),
                Open,
                Is::Mismatch(concat!(
                    "answered \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"…, ",
                    "expected a match of \"y\""
                )),
            ),
        ];
        for (expect, received, rest, is) in table {
            let verdict = judge(&expect, &received, rest);
            let case = format!("{expect:?} {} {rest:?}", received.escape_ascii());
            match is {
                Is::Matched => assert_eq!(verdict, Verdict::Matched, "{case}"),
                Is::NeedMore => assert_eq!(verdict, Verdict::NeedMore, "{case}"),
                Is::Mismatch(text) => match verdict {
                    Verdict::Mismatch(failure) => assert_eq!(failure.to_string(), text, "{case}"),
                    Verdict::Matched | Verdict::NeedMore => panic!("{case}: {verdict:?}"),
                },
            }
        }
    }

    #[test]
    fn outputs() {
        let table: [(&str, &[u8], bool); 7] = [
            ("OK", b"OK", true),
            ("OK", b"OK\n", true),
            ("OK", b"OK\n\n", false),
            ("OK", b"OK, but", false),
            ("OK", b"", false),
            ("", b"\n", true),
            ("", b"", true),
        ];
        for (expect, output, good) in table {
            assert_eq!(
                printed(expect, output).is_ok(),
                good,
                "{expect:?} {output:?}"
            );
        }
    }
}
