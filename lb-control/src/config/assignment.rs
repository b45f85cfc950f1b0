//! `name = value`: the words of one line → Directive.

use super::{
    diagnostic::{Diagnostic, Diagnostics, quote},
    directives::{self, Entry, GLOBALS, Kind, SERVERS, SERVICES},
    document::Directive,
    lexer::{Fault, Line, Word},
    source::Span,
    suggest::{self, without_secret},
};

/// One directive, if its name is known in this place.
pub(super) fn read<K>(
    table: &'static [Entry<K>],
    place: &str,
    line: &Line,
    diagnostics: &mut Diagnostics,
) -> Option<Directive<K>> {
    let (name, rest) = line.words.split_first()?;
    let Some(entry) = directives::find(table, &name.text) else {
        diagnostics.push(if diagnostics.full_of_errors() {
            // To search for the name that was meant takes time, and nobody will read it.
            Diagnostic::error(name.span, "unknown directive")
        } else {
            unknown(table, place, name)
        });
        return None;
    };
    if let Some(span) = line.glued_equals {
        liberty(span, "no blanks around `=`", diagnostics);
    }
    let (arguments, sound) = arguments(entry, name, rest, diagnostics);
    Some(Directive {
        entry,
        name: name.clone(),
        arguments,
        sound,
    })
}

/// The words after `=`, as many as the directive takes.
fn arguments<K>(
    entry: &Entry<K>,
    name: &Word,
    rest: &[Word],
    diagnostics: &mut Diagnostics,
) -> (Vec<Word>, bool) {
    let given = match rest.split_first() {
        Some((equals, given)) if equals.is("=") => given,
        Some((other, _)) => {
            let message = format!("`=` expected after {}", quote(entry.name));
            diagnostics.push(Diagnostic::error(other.span, message));
            return (Vec::new(), false);
        }
        None => {
            let message = format!(
                "missing arguments: {} = {}",
                entry.name,
                entry.kind.example()
            );
            diagnostics.push(Diagnostic::error(name.span, message));
            return (Vec::new(), false);
        }
    };
    let wanted = match entry.kind {
        Kind::HostAndDevice => 2,
        Kind::List => given
            .iter()
            .position(|word| word.is("]"))
            .map_or(1, |end| end + 1),
        Kind::Integer
        | Kind::Time
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
        | Kind::Text => 1,
    };
    let Some((taken, extra)) = given.split_at_checked(wanted) else {
        let last = given.last().unwrap_or(name);
        let message = format!(
            "missing arguments: {} = {}",
            entry.name,
            entry.kind.example()
        );
        diagnostics.push(Diagnostic::error(last.span, message));
        return (given.to_vec(), false);
    };
    let mut sound = true;
    for word in taken {
        sound &= quotes(word, diagnostics);
    }
    // The words behind a bad quote would only repeat its error.
    if sound {
        sound = match entry.kind {
            // They are likely a part of it.
            Kind::Secret | Kind::Keys => nothing_more_than(extra, "the second word", diagnostics),
            Kind::HostAndDevice
            | Kind::List
            | Kind::Integer
            | Kind::Time
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
            | Kind::Text => nothing_more(extra, diagnostics),
        };
    }
    (taken.to_vec(), sound)
}

fn unknown<K>(table: &[Entry<K>], place: &str, name: &Word) -> Diagnostic {
    let said = quote(without_secret(&name.text));
    let elsewhere = [
        (
            directives::find(GLOBALS, &name.text).is_some(),
            "outside of blocks",
        ),
        (
            directives::find(SERVICES, &name.text).is_some(),
            "in virtual blocks",
        ),
        (
            directives::find(SERVERS, &name.text).is_some(),
            "in server blocks",
        ),
    ];
    if let Some((_, allowed)) = elsewhere.into_iter().find(|(known, _)| *known) {
        return Diagnostic::error(name.span, format!("{said} cannot stand in {place}")).help(
            format!("it belongs {allowed}; is a brace missing or too many above?"),
        );
    }
    let error = Diagnostic::error(name.span, format!("unknown directive {said} in {place}"));
    if name.text.contains(|c: char| c.is_whitespace()) {
        return error.help("there is a special blank (no-break space or the like) in it");
    }
    let blocks = ["virtual", "failover", "server"];
    let names = table.iter().map(|entry| entry.name).chain(blocks);
    match suggest::nearest(&name.text, names) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// Says so if there is something after the end of a directive, and whether that can be borne.
pub(super) fn nothing_more(extra: &[Word], diagnostics: &mut Diagnostics) -> bool {
    let first = extra.first().map(|word| quote(&word.text));
    nothing_more_than(extra, &first.unwrap_or_default(), diagnostics)
}

/// The same, with what the message calls the first word of it.
fn nothing_more_than(extra: &[Word], called: &str, diagnostics: &mut Diagnostics) -> bool {
    let Some(first) = extra.first() else {
        return true;
    };
    let last = extra.last().unwrap_or(first);
    let span = Span {
        start: first.span.start,
        end: last.span.end,
    };
    if first.begins_comment() {
        liberty(span, "a comment after a directive", diagnostics);
        return true;
    }
    let message = format!("unexpected arguments from {called} on");
    diagnostics
        .push(Diagnostic::error(span, message).help("text with blanks needs quotes around it"));
    false
}

/// Says so if the quotes around a word are wrong.
pub(super) fn quotes(word: &Word, diagnostics: &mut Diagnostics) -> bool {
    let error = match word.fault {
        None => return true,
        Some(Fault::Unclosed) => Diagnostic::error(word.span, "the quotation is not closed")
            .help("quotes end on their line; a quote inside a text needs the other kind around it"),
        Some(Fault::Glued) => Diagnostic::error(word.span, "no blank after the closing quote")
            .help("a quote inside a text needs the other kind of quotes around the text"),
    };
    diagnostics.push(error);
    false
}

/// Something that Piranha refused and that is accepted here.
pub(super) fn liberty(span: Span, message: &str, diagnostics: &mut Diagnostics) {
    let message = format!("{message}; Piranha would refuse the file");
    diagnostics.push(Diagnostic::warning(span, message).liberty());
}
