//! A value as it is written: which words, and in which quotes.

use crate::config::directives::Kind;

/// Why a text cannot be written in an lvs.cf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// A value is a part of a line.
    #[error("it has a line break in it")]
    LineBreak,
    /// Nobody would see them.
    #[error("it has a control character in it")]
    Control,
    /// There is no third kind, and no escape.
    #[error("it needs quotes around it and has both kinds in it")]
    BothQuotes,
}

/// Texts that Piranha's own tool wrote in quotes even if they are a single word, and those that tend to
/// have blanks.
const IN_QUOTES: &[&str] = &[
    "send",
    "expect",
    "send_program",
    "start_cmd",
    "stop_cmd",
    "active_cmd",
    "inactive_cmd",
    "match",
    "mh_secret",
    "heartbeat_key",
];

/// The words of a value: most directives take one, whatever is in it.
pub(super) fn words(kind: Kind, value: &str) -> Vec<String> {
    let split = || value.split_ascii_whitespace().map(String::from);
    match kind {
        Kind::HostAndDevice => split().collect(),
        Kind::List => {
            let inner = split().filter(|word| word != "[" && word != "]");
            let opening = std::iter::once("[".to_owned());
            opening.chain(inner).chain(["]".to_owned()]).collect()
        }
        Kind::Integer
        | Kind::Entries
        | Kind::Boolean
        | Kind::Host
        | Kind::Socket
        | Kind::Mask
        | Kind::Port
        | Kind::Ports
        | Kind::Choice(_)
        | Kind::Flags(_)
        | Kind::Match
        | Kind::Secret
        | Kind::Keys
        | Kind::Text
        | Kind::Time => vec![value.to_owned()],
    }
}

/// The words as they stand in the file, in the quotes that the value before had.
pub(super) fn write(
    directive: &str,
    kind: Kind,
    words: &[String],
    before: Option<char>,
) -> Result<String, Unwritable> {
    let wish = before.or_else(|| IN_QUOTES.contains(&directive).then_some('"'));
    let mut written = Vec::new();
    for word in words {
        let is_bracket = kind == Kind::List && (word == "[" || word == "]");
        written.push(match word.as_str() {
            bracket if is_bracket => bracket.to_owned(),
            word if words.len() > 1 => quoted(word, None)?,
            word => quoted(word, wish)?,
        });
    }
    Ok(written.join(" "))
}

/// The name of a block.
pub(super) fn name(name: &str, before: Option<char>) -> Result<String, Unwritable> {
    match name.ends_with('{') && before.is_none() {
        true => quoted(name, Some('"')),
        false => quoted(name, before),
    }
}

/// A word in the wished quotes if it can be, in others if it must.
fn quoted(word: &str, wish: Option<char>) -> Result<String, Unwritable> {
    if word.contains(['\n', '\r']) {
        return Err(Unwritable::LineBreak);
    }
    if word.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Unwritable::Control);
    }
    let signs = ['"', '\'', '#', '=', '{', '}', '[', ']'];
    let is_sign = |c: char| signs.contains(&c) && (word.len() == 1 || !"[]".contains(c));
    let needs = word.is_empty() || word.contains([' ', '\t']) || word.starts_with(is_sign);
    let wish = wish.or_else(|| needs.then_some('"'));
    let Some(wish) = wish else {
        return Ok(word.to_owned());
    };
    let other = if wish == '"' { '\'' } else { '"' };
    match [wish, other]
        .into_iter()
        .find(|quote| !word.contains(*quote))
    {
        Some(quote) => Ok(format!("{quote}{word}{quote}")),
        None if needs => Err(Unwritable::BothQuotes),
        None => Ok(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_those_that_are_needed() {
        let table = [
            ("6", None, Ok("6")),
            ("6", Some('\''), Ok("'6'")),
            ("", None, Ok("\"\"")),
            ("a b", None, Ok("\"a b\"")),
            ("a b", Some('\''), Ok("'a b'")),
            ("say \"x\"", None, Ok("'say \"x\"'")),
            ("it's", Some('\''), Ok("\"it's\"")),
            ("#1", None, Ok("\"#1\"")),
            ("\"x", None, Ok("'\"x'")),
            ("[server_name]", None, Ok("[server_name]")),
            ("[", None, Ok("\"[\"")),
            ("{", None, Ok("\"{\"")),
            ("a\"b'c", None, Ok("a\"b'c")),
            ("a\"b'c", Some('"'), Ok("a\"b'c")),
            ("a\"b 'c", None, Err(Unwritable::BothQuotes)),
            ("a\nb", None, Err(Unwritable::LineBreak)),
            ("a\rb", None, Err(Unwritable::LineBreak)),
            ("a\x1b", None, Err(Unwritable::Control)),
            ("a\0", None, Err(Unwritable::Control)),
            (r"\r\n", None, Ok(r"\r\n")),
        ];
        for (word, wish, expected) in table {
            let expected = expected.map(String::from);
            assert_eq!(quoted(word, wish), expected, "{word:?} {wish:?}");
        }
    }

    #[test]
    fn values_have_the_words_of_their_kind() {
        let table = [
            (
                "address",
                Kind::HostAndDevice,
                "10.0.0.9  eth0:1",
                "10.0.0.9 eth0:1",
            ),
            ("dirs", Kind::List, "a:b c:d", "[ a:b c:d ]"),
            ("dirs", Kind::List, "[ a:b ]", "[ a:b ]"),
            ("send", Kind::Text, "QUIT", "\"QUIT\""),
            ("load_monitor", Kind::Text, "none", "none"),
            ("port", Kind::Ports, "80", "80"),
        ];
        for (directive, kind, value, expected) in table {
            let written = write(directive, kind, &words(kind, value), None);
            assert_eq!(written.as_deref(), Ok(expected), "{directive}");
        }
    }
}
