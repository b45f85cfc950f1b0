//! Diagnostics as people read them: `file:line:column`, the line, a caret.

use std::fmt::Write as _;

use super::{
    diagnostic::{Diagnostic, Severity, printable},
    source::Source,
    suggest::without_secret,
};

/// The longest piece of a line that is shown, in characters.
const WIDTH: usize = 100;
/// How much of it may stand before the caret.
const BEFORE: usize = 60;

/// Whether the terminal understands colours; to honour `NO_COLOR` is up to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Text only.
    Never,
    /// With ANSI escapes.
    Always,
}

/// One diagnostic, several lines, each with its newline.
#[must_use]
pub fn render(diagnostic: &Diagnostic, source: &Source, colour: Colour) -> String {
    let paint = |code: &'static str| match colour {
        Colour::Never => "",
        Colour::Always => code,
    };
    let (bold, reset) = (paint("\x1b[1m"), paint("\x1b[0m"));
    let hue = paint(match diagnostic.severity {
        Severity::Error => "\x1b[1;31m",
        Severity::Warning => "\x1b[1;33m",
    });

    let place = source.position(diagnostic.span);
    let name: String = source.name().chars().map(printable).collect();
    let excerpt = excerpt(diagnostic, source, place.column);
    let mut text = format!(
        "{bold}{name}:{}:{}:{reset} {hue}{}:{reset} {bold}{}{reset}\n",
        place.line,
        place.column,
        diagnostic.severity.word(),
        diagnostic.message,
    );
    let gutter = " ".repeat(place.line.to_string().len().max(4));
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:>width$} | {}",
        place.line,
        excerpt.line,
        width = gutter.len()
    );
    let _ = writeln!(
        text,
        "{gutter} | {}{hue}{}{reset}",
        " ".repeat(excerpt.indent),
        "^".repeat(excerpt.carets)
    );
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(text, "{gutter} = {bold}help:{reset} {help}");
    }
    text
}

struct Excerpt {
    line: String,
    indent: usize,
    carets: usize,
}

/// The part of the line around the caret that fits a screen. Of a secret there are as many asterisks.
fn excerpt(diagnostic: &Diagnostic, source: &Source, column: usize) -> Excerpt {
    let (_, line) = source.line_of(diagnostic.span);
    let caret = column.saturating_sub(1);
    let skipped = caret.saturating_sub(BEFORE);
    let open = without_secret(line).chars().count();
    let mut shown: String = line
        .chars()
        .enumerate()
        .skip(skipped)
        .take(WIDTH)
        .map(|(at, c)| if at < open || is_around(c) { c } else { '*' })
        .map(printable)
        .collect();
    let length = shown.chars().count();
    let mut indent = caret - skipped;
    if skipped > 0 {
        shown.insert(0, '…');
        indent += 1;
    }
    if line.chars().nth(skipped + WIDTH).is_some() {
        shown.push('…');
    }
    let marked = source.slice(diagnostic.span).chars().take(WIDTH).count();
    let room = (skipped + length).saturating_sub(caret);
    Excerpt {
        line: shown,
        indent,
        carets: marked.min(room).max(1),
    }
}

/// Whether a character stands beside values, and is hardly a part of one.
fn is_around(c: char) -> bool {
    c.is_whitespace() || matches!(c, '=' | '"' | '\'')
}

#[cfg(test)]
mod tests {
    use super::{
        super::{diagnostic::Diagnostics, source::Span},
        *,
    };

    fn rendered(text: &str, needle: &str) -> String {
        let source = Source::decode("lvs.cf", text.as_bytes(), &mut Diagnostics::default());
        let start = text.find(needle).unwrap();
        let span = Span {
            start,
            end: start + needle.len(),
        };
        render(
            &Diagnostic::error(span, "no").help("do"),
            &source,
            Colour::Never,
        )
    }

    #[test]
    fn a_caret_stands_under_the_word() {
        assert_eq!(
            rendered("a\n\tkeepalve = 6\n", "keepalve"),
            "lvs.cf:2:2: error: no\n   2 |  keepalve = 6\n     |  ^^^^^^^^\n     = help: do\n"
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let table = [
            (
                "mh_secret = \"tell no one\"\n",
                "   1 | mh_secret = \"**** ** ***\"",
            ),
            (
                "x = 1 mh_secret=tell no one\n",
                "   1 | x = 1 mh_secret=**** ** ***",
            ),
            (
                "# mh_secret tell # no one\n",
                "   1 | # mh_secret **** * ** ***",
            ),
            (
                "mh_secre = \"tell no one\"\n",
                "   1 | mh_secre = \"**** ** ***\"",
            ),
        ];
        for (text, line) in table {
            let shown = rendered(text, "no");
            assert_eq!(shown.lines().nth(1), Some(line), "{shown}");
            let caret = shown.lines().nth(2).and_then(|line| line.find('^'));
            assert_eq!(caret, text.find("no").map(|at| at + 7), "{shown}");
        }
    }

    #[test]
    fn long_lines_are_cut_and_control_characters_are_not_printed() {
        let text = format!("{}x\x1b[31m{}", "a".repeat(1000), "b".repeat(1000));
        let shown = rendered(&text, "x\x1b");
        assert!(
            shown.lines().all(|line| line.chars().count() < 120),
            "{shown}"
        );
        assert!(
            !shown.contains('\x1b') && shown.starts_with("lvs.cf:1:1001:"),
            "{shown}"
        );
        let caret: Vec<_> = shown
            .lines()
            .map(|line| line.chars().collect::<Vec<_>>())
            .collect();
        let at = caret[2].iter().position(|c| *c == '^').unwrap();
        assert_eq!(caret[1][at], 'x');
    }
}
