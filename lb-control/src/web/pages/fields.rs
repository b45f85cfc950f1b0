//! The fields of a page, out of the table of directives.

use maud::{Markup, html};

use super::super::{
    form,
    sheet::{Field, REMOVE, Said, Sheet, Wrong},
};
use crate::config::directives::Kind;

/// What somebody sent: fields and values.
pub(super) type Sent = Vec<(String, String)>;

/// What a form said in a field.
pub(super) fn sent<'a>(form: &'a Sent, name: &str) -> Option<&'a str> {
    let found = form.iter().find(|(field, _)| field == name);
    found.map(|(_, value)| value.as_str())
}

/// All fields of a sheet: what the file says, or what was sent and refused.
pub(super) fn fields(sheet: &Sheet, said: &Said, form: Option<&Sent>, wrong: &Wrong) -> Markup {
    let fields = sheet.fields();
    let groups = fields.chunk_by(|one, other| one.group == other.group);
    let form = form.map(Vec::as_slice);
    html! {
        @for group in groups {
            @if let Some(first) = group.first() {
                @if first.folded {
                    details open[group.iter().any(|one| is_needed(one, said, wrong))] {
                        summary { (first.group) }
                        div class="grid" { @for one in group { (field(one, said, form, wrong)) } }
                    }
                } @else {
                    fieldset {
                        legend { (first.group) }
                        div class="grid" { @for one in group { (field(one, said, form, wrong)) } }
                    }
                }
            }
        }
    }
}

fn is_needed(field: &Field, said: &Said, wrong: &Wrong) -> bool {
    let name = field.row.name;
    // Whether a block is switched on is seen elsewhere.
    said.says(name) && name != "active" || wrong.of(name).is_some()
}

fn field(field: &Field, said: &Said, form: Option<&[(String, String)]>, wrong: &Wrong) -> Markup {
    let (label, hint) = (field.label(), field.hint());
    let name = field.row.name;
    let value = said.or_sent(&field.row, form);
    let input = form::Field::new(name, &label)
        .value(&value)
        .hint(&hint)
        .error(wrong.of(name));
    if field.is_secret() {
        return secret(name, said.says(name), input);
    }
    let default = match field.row.default {
        "" => "not said".to_owned(),
        default => format!("not said ({default})"),
    };
    match field.row.kind {
        Kind::Boolean => choice(
            input,
            &value,
            &default,
            &[("1", "yes (1)"), ("0", "no (0)")],
        ),
        Kind::Choice(words) => {
            let words: Vec<_> = words
                .iter()
                .map(|word| (*word, meant(name, word)))
                .collect();
            choice(input, &value, &default, &words)
        }
        _ if field.row.repeats => input.lines(value.lines().count().max(1) + 1),
        Kind::Integer
        | Kind::Time
        | Kind::Entries
        | Kind::Host
        | Kind::Socket
        | Kind::HostAndDevice
        | Kind::Mask
        | Kind::Port
        | Kind::Ports
        | Kind::Flags(_)
        | Kind::Match
        | Kind::Text
        | Kind::List => input.text(),
        // Handled above: nobody is to read them.
        Kind::Secret | Kind::Keys => input.password("off"),
    }
}

/// One of some words, or nothing; and what the file says, if that is none of them.
fn choice(input: form::Field<'_>, value: &str, default: &str, words: &[(&str, &str)]) -> Markup {
    let mut choices = vec![("", default)];
    choices.extend(words);
    if choices.iter().all(|(word, _)| *word != value) {
        choices.push((value, value));
    }
    input.choice(&choices)
}

/// What people call the words of Piranha's buttons and menus.
fn meant<'a>(directive: &str, word: &'a str) -> &'a str {
    match (directive, word) {
        ("network" | "method", "nat") => "NAT",
        ("network" | "method", "direct") => "Direct Routing",
        ("network" | "method", "tunnel") => "Tunneling",
        ("method", "fullnat") => "Full NAT",
        ("scheduler", "rr") => "Round robin (rr)",
        ("scheduler", "wrr") => "Weighted round robin (wrr)",
        ("scheduler", "lc") => "Least-connection (lc)",
        ("scheduler", "wlc") => "Weighted least-connections (wlc)",
        ("scheduler", "lblc") => "Locality-Based Least-Connection (lblc)",
        ("scheduler", "lblcr") => "Locality-Based Least-Connection (R) (lblcr)",
        ("scheduler", "dh") => "Destination Hash (dh)",
        ("scheduler", "sh") => "Source Hash (sh)",
        ("scheduler", "mh") => "Maglev Hash (mh)",
        ("scheduler", "sed") => "Shortest expected delay (sed)",
        ("scheduler", "nq") => "Never queue (nq)",
        ("scheduler", "fo") => "Failover (fo)",
        ("scheduler", "ovf") => "Overflow (ovf)",
        ("scheduler", "twos") => "Best of two (twos)",
        (_, word) => word,
    }
}

/// A secret is never shown. It stays unless another is typed, or the box is ticked.
fn secret(name: &str, is_said: bool, input: form::Field<'_>) -> Markup {
    let state = match is_said {
        true => "Set. Leave this empty to keep it.",
        false => "Not set.",
    };
    let remove = format!("{name}{REMOVE}");
    html! {
        (input.password("off"))
        p class="hint" { (state) }
        @if is_said { (form::Field::new(&remove, "Take it away").tick()) }
    }
}

/// What is wrong with a form, above it: links to the fields, where it is told.
pub(super) fn summary(sheet: &Sheet, wrong: &Wrong) -> Markup {
    html! {
        @if !wrong.is_empty() {
            div class="notice failed" role="alert" id="wrong" {
                p {
                    strong {
                        @match wrong.count() {
                            1 => "Something is wrong, and nothing was changed.",
                            count => { (count) " things are wrong, and nothing was changed." }
                        }
                    }
                }
                ul {
                    @for field in wrong.fields() { li { a href={ "#f-" (field) } { (sheet.label(field)) } } }
                    @for one in &wrong.others { li { (one) } }
                }
            }
        }
    }
}
