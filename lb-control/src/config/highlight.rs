//! Which part of a line is what, for those who colour it.

use super::{
    directives::{Entry, GLOBALS, SERVERS, SERVICES, find},
    document::Document,
    lexer::{Line, Word, lex},
};

/// What a part of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What opens a block.
    Keyword,
    /// The name of a block.
    Name,
    /// The name of a directive.
    Directive,
    /// A quoted value.
    Quoted,
    /// Another value.
    Value,
    /// `=`, a brace, a bracket.
    Sign,
    /// A comment.
    Comment,
    /// What stands between.
    Plain,
}

/// The parts of all lines, in order: each line in the order of its parts, with nothing left out.
pub fn highlight(document: &Document) -> impl Iterator<Item = Vec<(Class, &str)>> {
    let source = &document.source;
    lex(source).map(move |line| {
        let text = source.slice(line.span);
        let mut parts = Vec::new();
        let mut from = 0;
        for (class, start, end) in classes(&line) {
            let (start, end) = (start - line.span.start, end - line.span.start);
            parts.push((Class::Plain, text.get(from..start).unwrap_or_default()));
            parts.push((class, text.get(start..end).unwrap_or_default()));
            from = end;
        }
        let rest = text.get(from..).unwrap_or_default();
        let class = match rest.trim_start().starts_with('#') {
            true => Class::Comment,
            false => Class::Plain,
        };
        parts.push((class, rest));
        parts.retain(|(_, text)| !text.is_empty());
        parts
    })
}

fn classes(line: &Line) -> Vec<(Class, usize, usize)> {
    let mut classes = Vec::new();
    let opens = line.words.first().is_some_and(opens);
    for (index, word) in line.words.iter().enumerate() {
        if word.begins_comment() && index > 0 {
            classes.push((Class::Comment, word.span.start, line.span.end));
            break;
        }
        let class = match word {
            word if is_sign(word) => Class::Sign,
            _ if index == 0 && opens => Class::Keyword,
            _ if index == 1 && opens => Class::Name,
            word if index == 0 && is_directive(&word.text) => Class::Directive,
            word if word.quote.is_some() => Class::Quoted,
            _ if index > 0 => Class::Value,
            _ => Class::Plain,
        };
        classes.push((class, word.span.start, word.span.end));
    }
    // Words that were told apart where `=` touches them have the signs between them.
    classes.retain(|(_, start, end)| start < end);
    classes.dedup_by(|later, before| later.1 < before.2);
    classes
}

fn opens(word: &Word) -> bool {
    ["virtual", "failover", "server"]
        .iter()
        .any(|it| word.is(it))
}

fn is_sign(word: &Word) -> bool {
    ["=", "{", "}", "[", "]"].iter().any(|sign| word.is(sign))
}

fn is_directive(name: &str) -> bool {
    fn has<K>(table: &'static [Entry<K>], name: &str) -> bool {
        find(table, name).is_some()
    }
    has(GLOBALS, name) || has(SERVICES, name) || has(SERVERS, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::written;

    #[test]
    fn parts_are_what_they_are() {
        use Class::{Comment, Directive, Keyword, Name, Plain, Quoted, Sign, Value};
        let table: [(&str, &[(Class, &str)]); 8] = [
            ("# all of it", &[(Comment, "# all of it")]),
            (
                "virtual web {",
                &[
                    (Keyword, "virtual"),
                    (Plain, " "),
                    (Name, "web"),
                    (Plain, " "),
                    (Sign, "{"),
                ],
            ),
            (
                "  port = 80 # why",
                &[
                    (Plain, "  "),
                    (Directive, "port"),
                    (Plain, " "),
                    (Sign, "="),
                    (Plain, " "),
                    (Value, "80"),
                    (Plain, " "),
                    (Comment, "# why"),
                ],
            ),
            (
                "send = \"a # b\"",
                &[
                    (Directive, "send"),
                    (Plain, " "),
                    (Sign, "="),
                    (Plain, " "),
                    (Quoted, "\"a # b\""),
                ],
            ),
            ("}", &[(Sign, "}")]),
            ("prot", &[(Plain, "prot")]),
            ("", &[]),
            ("   ", &[(Plain, "   ")]),
        ];
        for (line, expected) in table {
            let document = written("f", format!("{line}\n").as_bytes());
            let found = highlight(&document).next().unwrap();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn no_character_is_lost_or_doubled() {
        let lines = [
            "port=80",
            "a= b",
            "x ={",
            "\"open",
            "'a'b' c",
            "virtual\tw{ # {",
            "=\"=\"=",
            "} } }",
            "ü = ö # ä",
            "[ a:b ]",
            "#",
            " # x",
            "port = #",
            "a#b = c#d",
        ];
        for line in lines {
            let document = written("f", line.as_bytes());
            let all = highlight(&document).flatten().map(|(_, text)| text);
            assert_eq!(all.collect::<String>(), line);
        }
    }
}
