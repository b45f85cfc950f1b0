//! `lb config fmt`: the same meaning in canonical text.
//!
//! Four blanks for each block around, one blank on both sides of `=`, `NAME {`, a blank line between
//! blocks and never two, LF. Comments keep their words and their order. One behind a directive moves to a
//! line of its own above it, since Piranha refuses the file otherwise; one behind a closing brace stays,
//! for Piranha takes that. Missing braces at the end are put there. Quotes stay as they are: to Piranha
//! they were a part of some values.

use std::collections::HashMap;

use super::{
    Severity,
    document::{Directive, Document, Item},
    edit::{Errors, outline::Outline, raw::Raw},
    lexer::{Line, Word, lex},
    names::{Names, SystemNames},
    parse_with,
    source::Span,
};

/// Why a file stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum Unformatted {
    /// It has bytes that are 0, or hardly any that are text.
    #[error("this is not a text file")]
    NoText,
    /// It has errors.
    #[error("it has errors: {}", .0.first())]
    Errors(Errors),
    /// It would mean something else. This is a fault of the program.
    #[error("in canonical text it would mean something else; please report this")]
    Changed,
}

/// The file in canonical text. Host names that are in it are looked up.
///
/// # Errors
/// If it has errors.
pub fn format(name: &str, bytes: &[u8]) -> Result<Vec<u8>, Unformatted> {
    format_with(name, bytes, &mut SystemNames::default())
}

/// The same with another source of names.
///
/// # Errors
/// As [`format`].
pub fn format_with(
    name: &str,
    bytes: &[u8],
    names: &mut dyn Names,
) -> Result<Vec<u8>, Unformatted> {
    let raw = Raw::new(bytes).ok_or(Unformatted::NoText)?;
    let mut said = parse_with(name, bytes, names);
    if said.site.is_none() {
        said.diagnostics
            .retain(|one| one.severity == Severity::Error);
        return Err(Unformatted::Errors(Errors {
            source: said.document.source,
            diagnostics: said.diagnostics,
        }));
    }
    let formatted = Formatter::new(&said.document, &raw).run();
    let again = parse_with(name, &formatted, names);
    let same = Outline::of(&again.document) == Outline::of(&said.document);
    match same && again.site == said.site {
        true => Ok(formatted),
        false => Err(Unformatted::Changed),
    }
}

/// A line of the new text.
struct Entry {
    what: What,
    level: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Blank,
    Comment,
    Directive,
    /// A block begins.
    Open,
    /// A block ends.
    Close,
}

struct Formatter<'d> {
    document: &'d Document,
    raw: &'d Raw<'d>,
    /// Where the words of a directive's value stand, by where its name begins.
    values: HashMap<usize, Vec<Span>>,
    /// The names of blocks, by where they begin.
    names: HashMap<usize, &'d Word>,
    entries: Vec<Entry>,
    level: usize,
}

impl<'d> Formatter<'d> {
    fn new(document: &'d Document, raw: &'d Raw<'d>) -> Self {
        let mut values = HashMap::new();
        let mut names = HashMap::new();
        document
            .globals
            .iter()
            .for_each(|one| note(one, &mut values));
        for service in &document.services {
            names.insert(service.name.span.start, &service.name);
            for item in &service.items {
                match item {
                    Item::Directive(directive) => note(directive, &mut values),
                    Item::Server(server) => {
                        names.insert(server.name.span.start, &server.name);
                        server
                            .directives
                            .iter()
                            .for_each(|one| note(one, &mut values));
                    }
                }
            }
        }
        Self {
            document,
            raw,
            values,
            names,
            entries: Vec::new(),
            level: 0,
        }
    }

    fn run(mut self) -> Vec<u8> {
        for line in lex(&self.document.source) {
            self.line(&line);
        }
        while self.level > 0 {
            self.close(b"}".to_vec());
        }
        self.text()
    }

    fn line(&mut self, line: &Line) {
        let Some((first, rest)) = line.words.split_first() else {
            return self.silent(line);
        };
        match first.text.as_str() {
            "}" => {
                let mut text = b"}".to_vec();
                if let Some(more) = rest.first() {
                    text.push(b' ');
                    text.extend(self.until_end(more.span.start, line));
                }
                self.close(text);
            }
            // It was put behind the name of its block.
            "{" => {
                if let Some(comment) = rest.first() {
                    self.comment(comment.span.start, line);
                }
            }
            "virtual" | "failover" | "server" => self.header(&first.text, line),
            _ => self.directive(first, line),
        }
    }

    /// A blank line or a comment.
    fn silent(&mut self, line: &Line) {
        let text = self.until_end(line.span.start, line);
        match text.is_empty() {
            true => self.push(What::Blank, Vec::new()),
            false => self.push(What::Comment, text),
        }
    }

    fn header(&mut self, keyword: &str, line: &Line) {
        let Some(word) = line.words.get(1) else {
            return;
        };
        let name = self.names.get(&word.span.start).copied().unwrap_or(word);
        let mut text = format!("{keyword} ").into_bytes();
        match name.quote {
            Some(_) => text.extend_from_slice(self.raw.slice(name.span)),
            None => text.extend_from_slice(name.text.as_bytes()),
        }
        text.extend_from_slice(b" {");
        let mut behind = line.words.iter().skip(2);
        if let Some(comment) = behind.find(|word| word.begins_comment()) {
            self.comment(comment.span.start, line);
        }
        if self.level == 0 {
            // Above the comments that speak of the block.
            let comments = self.entries.iter().rev();
            let count = comments.take_while(|one| one.what == What::Comment).count();
            let blank = Entry {
                what: What::Blank,
                level: 0,
                bytes: Vec::new(),
            };
            self.entries.insert(self.entries.len() - count, blank);
        }
        self.push(What::Open, text);
        self.level += 1;
    }

    fn close(&mut self, text: Vec<u8>) {
        self.level = self.level.saturating_sub(1);
        self.push(What::Close, text);
        if self.level == 0 {
            self.push(What::Blank, Vec::new());
        }
    }

    fn directive(&mut self, name: &Word, line: &Line) {
        let values = self.values.remove(&name.span.start).unwrap_or_default();
        let mut text = name.text.clone().into_bytes();
        text.extend_from_slice(b" =");
        for span in &values {
            text.push(b' ');
            text.extend_from_slice(self.raw.slice(*span));
        }
        let end = values.last().map_or(name.span.end, |last| last.end);
        let mut behind = line.words.iter().filter(|word| word.span.start >= end);
        if let Some(comment) = behind.next() {
            self.comment(comment.span.start, line);
        }
        self.push(What::Directive, text);
    }

    /// What stands from a place to the end of a line becomes a line of its own.
    fn comment(&mut self, start: usize, line: &Line) {
        let text = self.until_end(start, line);
        self.push(What::Comment, text);
    }

    fn until_end(&self, start: usize, line: &Line) -> Vec<u8> {
        let end = line.span.end;
        let bytes = self.raw.slice(Span { start, end });
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let first = bytes.iter().position(|byte| !is_blank(byte));
        let last = bytes.iter().rposition(|byte| !is_blank(byte));
        match (first, last) {
            (Some(first), Some(last)) => bytes.get(first..=last).unwrap_or_default().to_vec(),
            _ => Vec::new(),
        }
    }

    fn push(&mut self, what: What, bytes: Vec<u8>) {
        let level = self.level;
        self.entries.push(Entry { what, level, bytes });
    }

    /// The lines, without the blank ones that are too many.
    fn text(self) -> Vec<u8> {
        let mut kept: Vec<Entry> = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            let above = kept.last().map(|one| one.what);
            match (entry.what, above) {
                (What::Blank, None | Some(What::Blank | What::Open)) => continue,
                (What::Close, Some(What::Blank)) => drop(kept.pop()),
                _ => {}
            }
            kept.push(entry);
        }
        while kept.last().is_some_and(|last| last.what == What::Blank) {
            kept.pop();
        }
        if kept.is_empty() {
            // A file without a byte is an error, one without a word is none.
            return b"\n".to_vec();
        }
        let mut text = Vec::new();
        for Entry { level, bytes, .. } in kept {
            if !bytes.is_empty() {
                text.resize(text.len() + level * STEP, b' ');
            }
            text.extend_from_slice(&bytes);
            text.push(b'\n');
        }
        text
    }
}

/// How far a block is set in.
const STEP: usize = 4;

fn note<K>(directive: &Directive<K>, values: &mut HashMap<usize, Vec<Span>>) {
    let spans = directive.arguments.iter().map(|word| word.span).collect();
    values.insert(directive.name.span.start, spans);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &[u8]) -> String {
        let bytes = format("lvs.cf", text).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn texts() {
        let table = [
            ("\n", "\n"),
            ("\u{feff}  keepalive=6\r\n", "keepalive = 6\n"),
            (
                "\n\n# a\n\n\n# b\nkeepalive\t=\t6\n\n",
                "# a\n\n# b\nkeepalive = 6\n",
            ),
            (
                "keepalive = 6   # why  not \n",
                "# why  not\nkeepalive = 6\n",
            ),
            (
                "rsh_command = \"a b\"# x\n".trim_end_matches("# x\n"),
                "rsh_command = \"a b\"\n",
            ),
            (
                "keepalive = 6\n# of web\nvirtual web{ # w\n\n  # first\nport=80\n\nserver s\n # of s\n{ # one\nweight = 2\n}# x\n\n",
                "keepalive = 6\n\n# of web\n# w\nvirtual web {\n    # first\n    port = 80\n\n    server s {\n        # of s\n        # one\n        weight = 2\n    } # x\n}\n",
            ),
            (
                "virtual a {\n}\nvirtual \"b c\" {\n    dirs =  [ a:b   c:d ]\n} # end\n#z\nkeepalive = 3\n",
                "virtual a {\n}\n\nvirtual \"b c\" {\n    dirs = [ a:b c:d ]\n} # end\n\n#z\nkeepalive = 3\n",
            ),
        ];
        for (text, expected) in table {
            // `}# x` is one word, and what follows a brace is ignored.
            let text = text.replace("}# x", "} # x");
            assert_eq!(formatted(text.as_bytes()), expected, "{text}");
            assert_eq!(formatted(expected.as_bytes()), expected);
        }
    }

    #[test]
    fn strange_bytes_in_comments_stay() {
        let bytes = format("lvs.cf", b"  # \xe4\nkeepalive=6\t\n\t# \xfc").unwrap();
        assert_eq!(bytes, b"# \xe4\nkeepalive = 6\n# \xfc\n");
    }

    #[test]
    fn files_with_errors_are_refused() {
        let error = format("lvs.cf", b"keepalive = x\n").unwrap_err();
        assert_eq!(error.to_string(), "it has errors: time expected, not `x`");
        assert!(format("lvs.cf", b"a\0").is_err());
        assert!(format("lvs.cf", b"").is_err());
    }
}
