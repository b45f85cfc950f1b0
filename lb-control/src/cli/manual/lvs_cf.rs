//! lvs.cf(5), from the table of directives.

use std::io;

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::{MANUAL, verbatim};
use crate::{
    cli::CONFIG,
    config::directives::{Effect, Entry, GLOBALS, Kind, SERVERS, SERVICES},
};

const EXAMPLE: &str = "\
network = nat
nat_router = 10.0.0.254 eth1:1
nat_nmask = 255.255.255.0

# The web servers
virtual web {
    active = 1
    address = 192.0.2.10 eth0:1
    port = 80
    scheduler = wlc
    timeout = 6
    reentry = 15
    server one {
        address = 10.0.0.11
        active = 1
        weight = 1
    }
    server two {
        address = 10.0.0.12
        active = 1
        weight = 2
    }
}";

const SYNTAX: &[&str] = &[
    "One directive per line: `name = value`. Names and words are lower case.",
    "A block opens with `{` on the line of its name and closes with `}` on a line of its own. \
     `virtual` and `failover` blocks stand outside of any block, `server` blocks inside of them.",
    "A line that begins with `#` is a comment.",
    "A value with blanks needs quotes, `\"…\"` or `'…'`.",
    "Of a directive that is repeated in a block the last one holds.",
    "Blocks and servers are off unless they say `active = 1`.",
    "Directives that are called extensions are those of lvs-xdp: Piranha refuses a file that has them.",
];

/// The page, with the macros of man(7).
pub(super) fn page() -> io::Result<Vec<u8>> {
    let mut roff = Roff::new();
    let source = concat!("lvs-xdp ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["lvs.cf", "5", "", source, MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("lvs.cf - configuration of the Linux Virtual Server")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([
        roman("What "),
        bold("lb-run"),
        roman("(8) balances. It is the file of Piranha, with extensions. "),
        bold("lb-check"),
        roman("(1) tells what is wrong with one."),
    ]);
    roff.control("SH", ["SYNTAX"]);
    for rule in SYNTAX {
        roff.control("PP", []);
        roff.text(words(rule));
    }
    directives(&mut roff, "DIRECTIVES OUTSIDE OF BLOCKS", GLOBALS);
    directives(
        &mut roff,
        "DIRECTIVES OF VIRTUAL AND FAILOVER BLOCKS",
        SERVICES,
    );
    directives(&mut roff, "DIRECTIVES OF SERVER BLOCKS", SERVERS);
    roff.control("SH", ["EXAMPLE"]);
    verbatim(&mut roff, EXAMPLE);
    roff.control("SH", ["FILES"]);
    roff.text([italic(CONFIG)]);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("lb"),
        roman("(8), "),
        bold("lb-check"),
        roman("(1), "),
        bold("lb-nanny"),
        roman("(1)"),
    ]);
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok(text)
}

fn directives<K>(roff: &mut Roff, title: &str, table: &[Entry<K>]) {
    roff.control("SH", [title]);
    for entry in table {
        roff.control("TP", []);
        roff.text(vec![
            bold(entry.name),
            roman(" = "),
            italic(value(entry.kind)),
        ]);
        let mut text = words(entry.doc);
        if !entry.default.is_empty() {
            text.extend([roman(" Without it "), bold(entry.default), roman(".")]);
        }
        text.extend([
            roman(" Example: "),
            bold(format!("{} = {}", entry.name, entry.kind.example())),
            roman("."),
        ]);
        text.extend(effect(entry));
        roff.text(text);
    }
}

/// What stands after `=`: words as they are, else what it is.
fn value(kind: Kind) -> String {
    kind.describe().replace(", ", " | ")
}

/// Whether it does something, as far as that has to be said.
fn effect<K>(entry: &Entry<K>) -> Vec<Inline> {
    let mut text = match entry.effect {
        Effect::Works => Vec::new(),
        Effect::Never { because, .. } => words(&format!(" No effect: {because}.")),
        Effect::Note => vec![roman(" No effect: a note for people and tools.")],
    };
    if entry.extension {
        text.push(roman(" An extension."));
    }
    text
}

/// What stands between backticks is bold.
fn words(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(number, part)| match number % 2 {
            0 => roman(part),
            _ => bold(part),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directive_is_there() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        let names = GLOBALS.iter().map(|entry| entry.name);
        let names = names.chain(SERVICES.iter().map(|entry| entry.name));
        for name in names.chain(SERVERS.iter().map(|entry| entry.name)) {
            assert!(page.contains(&format!("\n\\fB{name}\\fR = ")), "{name}");
        }
    }

    #[test]
    fn the_example_can_be_loaded() {
        let outcome = crate::config::parse("example", EXAMPLE.as_bytes());
        assert!(outcome.site.is_some());
        assert!(outcome.diagnostics.is_empty(), "{:?}", outcome.diagnostics);
    }
}
