//! The text of lvs.cf with its errors in place, and how two texts differ. Secrets are asterisks in both.

use maud::{Markup, html};
use similar::{ChangeTag, TextDiff};

use super::super::words;
use crate::{
    config::{self, Class, Severity, diagnostic::Located, highlight, secrets::veiled},
    difference::{Difference, Kind},
};

/// Of a longer text only the lines about which there is something to say are shown, with so many around them.
const AROUND: usize = 3;

/// So many lines are shown at once.
const LINES: usize = 5_000;

/// A text, line by line, each with what there is to say about it below.
pub(super) fn listing(text: &str, said: &[Located<'_>]) -> Markup {
    let document = config::written("lvs.cf", veiled(text).as_bytes());
    let lines: Vec<_> = highlight(&document).collect();
    let is_long = lines.len() > LINES;
    let is_shown = |line: usize| {
        let is_near = |one: &Located<'_>| one.line.abs_diff(line) <= AROUND;
        !is_long || said.iter().any(is_near)
    };
    html! {
        @if is_long {
            p class="hint" { "The file has " (lines.len()) " lines; shown is what there is something to say about." }
        }
        ol class="lines" id="text" {
            @for (index, parts) in lines.iter().enumerate().filter(|(index, _)| is_shown(index + 1)).take(LINES) {
                (line(index + 1, parts, said))
            }
        }
    }
}

fn line(number: usize, parts: &[(Class, &str)], said: &[Located<'_>]) -> Markup {
    let mine: Vec<_> = said.iter().filter(|one| one.line == number).collect();
    let is_wrong = mine.iter().any(|one| one.severity == Severity::Error);
    let class = match (mine.is_empty(), is_wrong) {
        (true, _) => None,
        (false, true) => Some("wrong"),
        (false, false) => Some("warn"),
    };
    html! {
        li id={ "L" (number) } value=(number) class=[class] {
            span class="no" aria-hidden="true" { (number) }
            span class="line" { @for (class, text) in parts { (part(*class, text)) } }
        }
        @for one in &mine {
            li class={ "said " (one.severity.word()) } {
                span class="no" {}
                span class="line" {
                    span class="place" aria-hidden="true" {
                        (" ".repeat(one.column.saturating_sub(1).min(400))) span class="caret" { (carets(one.width)) }
                    }
                    " " span class="why" { strong { (one.severity.word()) ": " } (one.message)
                        @if let Some(help) = &one.help { span class="soft" { " – " (help) } }
                    }
                }
            }
        }
    }
}

fn carets(width: usize) -> String {
    "^".repeat(width.clamp(1, 80))
}

fn part(class: Class, text: &str) -> Markup {
    let class = match class {
        Class::Keyword => "k",
        Class::Name => "n",
        Class::Directive => "d",
        Class::Quoted => "q",
        Class::Value => "v",
        Class::Sign => "s",
        Class::Comment => "c",
        Class::Plain => return html! { (text) },
    };
    html! { span class=(class) { (text) } }
}

/// All that there is to say about a text, with links to the lines.
pub(super) fn said(text: &str, diagnostics: &[Located<'_>]) -> Markup {
    let count = |severity| {
        diagnostics
            .iter()
            .filter(|one| one.severity == severity)
            .count()
    };
    let counts = [
        (count(Severity::Error), "error", "errors"),
        (count(Severity::Warning), "warning", "warnings"),
    ];
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    let title: Vec<_> = counts
        .map(|(count, one, more)| words::counted(count, one, more))
        .collect();
    let lines: Vec<_> = text.lines().collect();
    html! {
        @if !diagnostics.is_empty() {
            section class="card" id="said" {
                h2 { (title.join(", ")) }
                ul class="said" {
                    @for one in diagnostics {
                        li class=(one.severity.word()) {
                            a href={ "#L" (one.line) } {
                                "line " (one.line)
                                @if let Some(directive) = directive(&lines, one.line) { ", " code { (directive) } }
                            }
                            ": " strong { (one.severity.word()) } ": " (one.message)
                            @if let Some(help) = &one.help { span class="soft" { " – " (help) } }
                        }
                    }
                }
            }
        }
    }
}

/// The word that a line begins with, if it is like a directive: nothing that is secret stands there.
fn directive<'t>(lines: &[&'t str], line: usize) -> Option<&'t str> {
    let line = lines.get(line.checked_sub(1)?)?.trim_start();
    let end = line.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let word = line.get(..end.unwrap_or(line.len()))?;
    (1..=32).contains(&word.len()).then_some(word)
}

/// How two texts differ, as `diff -u` shows it; nothing if they do not.
pub(super) fn difference(before: &str, after: &str) -> Option<Markup> {
    if before == after {
        return None;
    }
    let (before, after) = (veiled(before), veiled(after));
    let diff = TextDiff::from_lines(before.as_str(), after.as_str());
    let unified = diff.unified_diff();
    let hunks: Vec<_> = unified.iter_hunks().collect();
    Some(html! {
        div class="diff" id="diff" role="group" aria-label="How lvs.cf becomes different" {
            @for hunk in &hunks {
                div class="hunk" { (hunk.header()) }
                @for change in hunk.iter_changes() {
                    @let (class, sign, word) = signs(change.tag());
                    div class=[class] {
                        @if let Some(word) = word { span class="hidden" { (word) } }
                        (sign) (change.value().trim_end_matches(['\n', '\r']))
                    }
                }
            }
            @if hunks.is_empty() || before == after {
                div class="hunk" { "Only what is hidden differs: a secret." }
            }
        }
    })
}

const fn signs(tag: ChangeTag) -> (Option<&'static str>, &'static str, Option<&'static str>) {
    match tag {
        ChangeTag::Equal => (None, " ", None),
        ChangeTag::Delete => (Some("del"), "-", Some("removed: ")),
        ChangeTag::Insert => (Some("add"), "+", Some("added: ")),
    }
}

/// What becomes different in the table that runs.
pub(super) fn table(differences: &[Difference], none: &str) -> Markup {
    html! {
        @if differences.is_empty() {
            p class="empty" { (none) }
        } @else {
            div class="diff" id="table" role="group" aria-label="What becomes different in what runs" {
                @for one in differences.iter().take(LINES) {
                    @let class = match one.kind { Kind::Added => Some("add"), Kind::Removed => Some("del"), Kind::Changed => None };
                    div class=[class] { (one) }
                }
                @if differences.len() > LINES { div class="hunk" { "… and " (differences.len() - LINES) " more" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser says of a text, for as long as it is looked at.
    fn with_said<T>(text: &str, look: impl FnOnce(&[Located<'_>]) -> T) -> T {
        let outcome = config::parse("f", text.as_bytes());
        let source = &outcome.document.source;
        let diagnostics = outcome.diagnostics.iter();
        look(
            &diagnostics
                .map(|one| one.located(source))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn what_is_counted_is_there() {
        let error = "keepalive = six\n";
        let warning = "virtual a {\n}\n";
        let head = |text: &str| with_said(text, |located| said(text, located).into_string());
        let shown = head(error);
        assert!(
            shown.contains("<h2>1 error</h2>") || shown.contains("<h2>1 error, "),
            "{shown}"
        );
        assert!(!shown.contains("errors"), "{shown}");
        assert!(shown.contains("line 1, <code>keepalive</code>"), "{shown}");
        assert!(head(&error.repeat(2)).contains("<h2>2 errors"));
        assert!(!head(warning).contains(" 0 "));
    }

    #[test]
    fn nothing_of_a_file_is_markup() {
        let evil = "# <script>alert(1)</script>\nvirtual \"<b>\" {\nsend = \"</ol><img src=x>\"\n<i> = <i>\n}\n";
        let shown = with_said(evil, |located| {
            assert!(!located.is_empty());
            [
                listing(evil, located),
                said(evil, located),
                difference("", evil).unwrap(),
            ]
        });
        for markup in shown {
            let text = markup.into_string();
            for tag in ["<script", "<b>", "<img", "<i>"] {
                assert!(!text.contains(tag), "{tag}: {text}");
            }
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let (before, after) = (
            "mh_secret = \"tell no one of it\"\n",
            "mh_secret = \"tell no one at all\"\n",
        );
        let shown = [listing(after, &[]), difference(before, after).unwrap()];
        for markup in shown {
            assert!(!markup.into_string().contains("tell"));
        }
        let same = difference(
            "mh_secret = \"aaaaaaaaaaaaaaaa\"",
            "mh_secret = \"bbbbbbbbbbbbbbbb\"",
        )
        .unwrap();
        assert!(same.into_string().contains("a secret"));
        assert!(difference("a", "a").is_none());
    }

    #[test]
    fn what_is_wrong_stands_below_its_place() {
        let text = "primary = 10.0.0.1\nkeepalive = six\n";
        let shown = with_said(text, |located| listing(text, located).into_string());
        let line = shown.split("id=\"L2\"").nth(1).unwrap();
        assert!(line.contains("class=\"wrong\""), "{line}");
        assert!(
            line.contains(
                "<span class=\"place\" aria-hidden=\"true\">            <span class=\"caret\">^^^</span>"
            ),
            "{line}"
        );
    }

    #[test]
    fn of_a_long_file_what_matters_is_shown() {
        let text = "# line\n".repeat(LINES + 10) + "keepalive = six\n";
        let shown = with_said(&text, |located| listing(&text, located).into_string());
        assert!(shown.contains(&format!("id=\"L{}\"", LINES + 11)));
        assert!(!shown.contains("id=\"L2000\""));
    }
}
