//! A document as lines on a page: what stands above and below, how far lines are set in, and how they end.

use super::raw::Replacement;
use crate::config::{
    document::Document,
    lexer::{Line, lex},
    source::{Source, Span},
};

/// The lines of a document.
pub(super) struct Page<'d> {
    source: &'d Source,
    lines: Vec<Line>,
}

impl<'d> Page<'d> {
    pub(super) fn new(document: &'d Document) -> Self {
        Self {
            source: &document.source,
            lines: lex(&document.source).collect(),
        }
    }

    /// The line that a place is in.
    pub(super) fn line_at(&self, place: usize) -> usize {
        let after = self.lines.partition_point(|line| line.span.start <= place);
        after.saturating_sub(1)
    }

    pub(super) fn line(&self, line: usize) -> Option<&Line> {
        self.lines.get(line)
    }

    pub(super) fn slice(&self, span: Span) -> &'d str {
        self.source.slice(span)
    }

    fn text(&self, line: usize) -> &'d str {
        self.line(line).map_or("", |line| self.slice(line.span))
    }

    /// The blanks that a line begins with.
    pub(super) fn indent(&self, line: usize) -> &'d str {
        let text = self.text(line);
        let rest = text.trim_start_matches([' ', '\t']);
        text.strip_suffix(rest).unwrap_or_default()
    }

    pub(super) fn is_blank(&self, line: usize) -> bool {
        self.text(line).trim_matches([' ', '\t']).is_empty()
    }

    fn is_comment(&self, line: usize) -> bool {
        let is_silent = self.line(line).is_some_and(|line| line.words.is_empty());
        is_silent && !self.is_blank(line)
    }

    /// The first of the comment lines that stand directly above a line; the line itself if there is none.
    pub(super) fn with_comments(&self, line: usize) -> usize {
        let mut first = line;
        while first > 0 && self.is_comment(first - 1) {
            first -= 1;
        }
        first
    }

    /// The line with the opening brace of a block, whose first line is `header`.
    pub(super) fn opening(&self, header: usize) -> usize {
        let lone = |line: &Line| line.words.first().is_some_and(|word| word.is("{"));
        let has_brace = self.line(header).is_some_and(|line| {
            let mut words = line.words.iter();
            words.any(|word| word.quote.is_none() && word.text.ends_with('{'))
        });
        if has_brace {
            return header;
        }
        let mut below = self.lines.iter().enumerate().skip(header + 1);
        match below.find(|(_, line)| !line.words.is_empty()) {
            Some((at, line)) if lone(line) => at,
            Some(_) | None => header,
        }
    }

    /// Whether a line closes a block.
    pub(super) fn closes(&self, line: usize) -> bool {
        let words = self.line(line).map(|line| line.words.as_slice());
        words
            .and_then(<[_]>::first)
            .is_some_and(|word| word.is("}"))
    }

    /// Where the line after a line begins.
    fn next(&self, line: usize) -> usize {
        self.line(line + 1)
            .map_or(self.source.text().len(), |next| next.span.start)
    }

    /// How a line ends; empty for the last one.
    fn ending(&self, line: usize) -> &'d str {
        self.line(line).map_or("", |this| {
            let (start, end) = (this.span.end, self.next(line));
            self.slice(Span { start, end })
        })
    }

    /// How lines end in this file.
    fn usual_ending(&self) -> &'d str {
        match self.ending(0) {
            "" => "\n",
            ending => ending,
        }
    }

    /// New lines below one.
    pub(super) fn below(&self, line: usize, new: &[String]) -> Replacement {
        let at = self.next(line);
        let with = match self.ending(line) {
            "" => {
                let ending = self.usual_ending();
                new.iter()
                    .fold(String::new(), |text, line| text + ending + line)
            }
            ending => lines(new, ending),
        };
        insert(at, with)
    }

    /// New lines above one.
    pub(super) fn above(&self, line: usize, new: &[String]) -> Replacement {
        let ending = match self.ending(line) {
            "" => self.usual_ending(),
            ending => ending,
        };
        let at = self.line(line).map_or(0, |line| line.span.start);
        insert(at, lines(new, ending))
    }

    /// New lines at the end of the file.
    pub(super) fn at_the_end(&self, new: &[String]) -> Replacement {
        let last = self.lines.len().saturating_sub(1);
        // That of the last line that has one: LF behind CR would be one line end, not two.
        let ending = match self.ending(last.saturating_sub(1)) {
            "" => self.usual_ending(),
            ending => ending,
        };
        let is_open = self
            .line(last)
            .is_some_and(|line| line.span.start < line.span.end);
        let start = if is_open { ending } else { "" };
        let with = format!("{start}{}", lines(new, ending));
        insert(self.source.text().len(), with)
    }

    /// Lines that go, with their ends.
    pub(super) fn without(&self, first: usize, last: usize) -> Replacement {
        let start = self.line(first).map_or(0, |line| line.span.start);
        let span = Span {
            start,
            end: self.next(last).max(start),
        };
        Replacement {
            span,
            with: String::new(),
        }
    }

    /// The end of the text.
    pub(super) fn end(&self) -> usize {
        self.source.text().len()
    }

    /// How many lines there are. The text behind the last line end is one, even if it is empty.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The last line that has something on it.
    pub(super) fn last_written(&self) -> Option<usize> {
        (0..self.lines.len())
            .rev()
            .find(|line| !self.is_blank(*line))
    }
}

fn lines(new: &[String], ending: &str) -> String {
    new.iter()
        .fold(String::new(), |text, line| text + line + ending)
}

fn insert(at: usize, with: String) -> Replacement {
    Replacement {
        span: Span { start: at, end: at },
        with,
    }
}
