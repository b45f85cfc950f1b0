//! Lines → a tree of directives and blocks.

use super::text::Line;
use crate::import::report::{Place, Report};

/// A directive, or a block with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    /// Its name and what follows it, without quotes.
    pub(super) words: Vec<String>,
    /// What stands between its braces, if it has any.
    pub(super) inside: Option<Vec<Node>>,
}

impl Node {
    /// What it is called.
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The words behind its name.
    pub(super) fn values(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first of them; empty if there is none.
    pub(super) fn value(&self) -> &str {
        self.values().first().map_or("", String::as_str)
    }

    /// What is in the block.
    pub(super) fn inside(&self) -> &[Self] {
        self.inside.as_deref().unwrap_or_default()
    }

    /// As it was written, cut if it is long.
    pub(super) fn written(&self) -> String {
        let text = self.words.join(" ");
        let mut shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
        if text.chars().count() > 60 {
            shown.push('…');
        }
        shown
    }
}

/// Blocks of keepalived are in each other four deep.
const DEEPEST: usize = 16;

/// The tree that the lines are. What does not fit together is told.
pub(super) fn tree(lines: &[Line], report: &mut Report) -> Vec<Node> {
    let mut builder = Builder {
        open: Vec::new(),
        nodes: Vec::new(),
        too_deep: 0,
        report,
    };
    for line in lines {
        builder.line(line);
    }
    builder.finish()
}

struct Builder<'a> {
    /// The blocks that are open, each with what stands beside it.
    open: Vec<(Node, Vec<Node>)>,
    /// What is in the innermost of them.
    nodes: Vec<Node>,
    /// Blocks that are open, too deep to be kept.
    too_deep: usize,
    report: &'a mut Report,
}

impl Builder<'_> {
    fn line(&mut self, line: &Line) {
        let mut node: Option<Node> = None;
        for word in words(&line.text) {
            match word {
                Word::Open => {
                    let block = node.take();
                    self.open(block, &line.place);
                }
                Word::Close => {
                    self.add(node.take());
                    self.close(&line.place);
                }
                Word::Text(text) => {
                    let new = || Node {
                        place: line.place.clone(),
                        words: Vec::new(),
                        inside: None,
                    };
                    node.get_or_insert_with(new).words.push(text);
                }
            }
        }
        self.add(node);
    }

    fn add(&mut self, node: Option<Node>) {
        if self.too_deep == 0 {
            self.nodes.extend(node);
        }
    }

    /// The block's name may stand on the line before.
    fn open(&mut self, block: Option<Node>, place: &Place) {
        if self.too_deep > 0 || self.open.len() >= DEEPEST {
            if self.too_deep == 0 {
                let why = format!("blocks are in each other more than {DEEPEST} deep");
                self.report.left_out(place, why);
            }
            self.too_deep += 1;
            return;
        }
        let before = self
            .nodes
            .pop_if(|last| block.is_none() && last.inside.is_none());
        let block = block.or(before).unwrap_or_else(|| {
            self.report.left_out(place, "a block without a name");
            Node {
                place: place.clone(),
                words: Vec::new(),
                inside: None,
            }
        });
        self.open.push((block, std::mem::take(&mut self.nodes)));
    }

    fn close(&mut self, place: &Place) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        let Some((mut block, beside)) = self.open.pop() else {
            self.report.left_out(place, "a closing brace too many");
            return;
        };
        block.inside = Some(std::mem::replace(&mut self.nodes, beside));
        self.nodes.push(block);
    }

    fn finish(mut self) -> Vec<Node> {
        self.too_deep = 0;
        while let Some((block, _)) = self.open.last() {
            let place = block.place.clone();
            let why = format!("the closing brace of `{}` is missing", block.written());
            self.report.left_out(&place, why);
            self.close(&place);
        }
        self.nodes
    }
}

/// A piece of a line.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Open,
    Close,
    Text(String),
}

/// The words of a line. Quotes hold blanks together and vanish; a backslash means the next character.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut was_quoted = false;
    let mut rest = text.chars().peekable();
    let mut quote: Option<char> = None;
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => {
                let meant = escaped(&mut rest);
                word.get_or_insert_default().extend(meant);
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                // One that is never closed is a character like any other.
                if rest.clone().any(|other| other == c) {
                    quote = Some(c);
                    was_quoted = true;
                    word.get_or_insert_default();
                } else {
                    word.get_or_insert_default().push(c);
                }
            }
            (c, None) if c.is_whitespace() => {
                end(&mut words, word.take(), was_quoted);
                was_quoted = false;
            }
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    end(&mut words, word, was_quoted);
    words
}

/// A finished word; braces that touch it are taken off.
fn end(words: &mut Vec<Word>, word: Option<String>, was_quoted: bool) {
    let Some(word) = word else { return };
    if was_quoted {
        words.push(Word::Text(word));
        return;
    }
    let brace = |c: char| if c == '{' { Word::Open } else { Word::Close };
    let is_brace = ['{', '}'];
    let bare = word.trim_start_matches(is_brace);
    let before = word.len() - bare.len();
    // `${NAME}` that stands for nothing keeps its braces.
    let inner = match bare.contains("${") {
        true => bare,
        false => bare.trim_end_matches(is_brace),
    };
    words.extend(word.chars().take(before).map(brace));
    if !inner.is_empty() {
        words.push(Word::Text(inner.to_owned()));
    }
    words.extend(bare.chars().skip(inner.chars().count()).map(brace));
}

/// What stands for one character after a backslash.
fn escaped(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let first = rest.next()?;
    let mut digits = |base: u32, most: usize, first: u32| {
        let mut number = first;
        for _ in 0..most {
            let Some(digit) = rest.peek().and_then(|c| c.to_digit(base)) else {
                break;
            };
            number = number * base + digit;
            rest.next();
        }
        char::from_u32(number)
    };
    match first {
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'E' => Some('\u{1b}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        'x' => digits(16, 2, 0),
        '0'..='7' => digits(8, 2, first.to_digit(8).unwrap_or(0)),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_braces_and_quotes() {
        let table = [
            ("a b", "a|b"),
            ("a {", "a|OPEN"),
            ("a{", "a|OPEN"),
            ("a { b 1 }", "a|OPEN|b|1|CLOSE"),
            ("b 1}", "b|1|CLOSE"),
            ("}}", "CLOSE|CLOSE"),
            ("abcd\" efg h \"mnop", "abcd efg h mnop"),
            ("path \"/a b\" c", "path|/a b|c"),
            ("path '/a \"b\"'", "path|/a \"b\""),
            ("a \"{\"", "a|{"),
            (r"a\ b \x41\102\n", "a b|AB\n"),
            ("it's {", "it's|OPEN"),
            ("x/${UNKNOWN}", "x/${UNKNOWN}"),
            ("", ""),
            ("a \"\" b", "a||b"),
            ("\\", ""),
        ];
        for (text, expected) in table {
            let said: Vec<_> = words(text)
                .into_iter()
                .map(|word| match word {
                    Word::Open => "OPEN".to_owned(),
                    Word::Close => "CLOSE".to_owned(),
                    Word::Text(text) => text,
                })
                .collect();
            assert_eq!(said.join("|"), expected, "{text:?}");
        }
    }
}
