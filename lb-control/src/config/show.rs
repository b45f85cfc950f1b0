//! `lb config show`: every directive with what holds, whether the file says so or not.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    Outcome,
    directives::{Entry, GLOBALS, Kind, SERVERS, SERVICES},
    document::{Directive, Document, Item, Server, Service, ServiceKind},
    edit::{self, Part, Place, Which},
    names::Names,
    settings::{ServerSettings, ServiceSettings},
    source::{Source, Span},
    values::NO_ADDRESS,
};

/// All that holds.
#[derive(Debug, Serialize)]
pub struct Effective {
    /// The file.
    pub file: String,
    /// What stands outside of blocks.
    pub global: Directives,
    /// The `virtual` and `failover` blocks, in their order.
    pub services: Vec<ShownService>,
}

/// A `virtual` or `failover` block.
#[derive(Debug, Serialize)]
pub struct ShownService {
    /// `virtual` or `failover`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What `lb config edit` calls it.
    pub path: Place,
    /// Its first line.
    pub line: usize,
    /// What holds in it.
    pub directives: Directives,
    /// Its servers.
    pub servers: Vec<ShownServer>,
}

/// A `server` block.
#[derive(Debug, Serialize)]
pub struct ShownServer {
    /// Its name.
    pub name: String,
    /// What `lb config edit` calls it.
    pub path: Place,
    /// Its first line.
    pub line: usize,
    /// What holds in it.
    pub directives: Directives,
}

/// The directives of one place; in JSON an object with their names as keys.
#[derive(Debug)]
pub struct Directives(pub Vec<(&'static str, Shown)>);

/// What one directive says.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The text, without quotes; several of one that is repeated; none if nothing holds.
    pub value: Option<edit::Value>,
    /// The file does not say it.
    pub default: bool,
    /// The line that says it, the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// It is said and not to be shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// As it is written.
    #[serde(skip)]
    written: Vec<String>,
}

impl Serialize for Directives {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, shown) in &self.0 {
            map.serialize_entry(name, shown)?;
        }
        map.end()
    }
}

/// What holds in a file.
#[must_use]
pub fn effective(outcome: &Outcome, names: &mut dyn Names) -> Effective {
    let document = &outcome.document;
    let settings = outcome.settings(names);
    let virtuals = settings.virtuals.iter();
    let failovers = settings.failovers.iter();
    let mut shown: Vec<_> = virtuals
        .chain(failovers)
        .map(|one| (one.block.span.start, service(document, one)))
        .collect();
    shown.sort_by_key(|(start, _)| *start);
    Effective {
        file: document.source.name().to_owned(),
        global: global(document),
        services: shown.into_iter().map(|(_, service)| service).collect(),
    }
}

fn global(document: &Document) -> Directives {
    let source = &document.source;
    let said: Vec<_> = document.globals.iter().collect();
    let mut shown = table(Part::Global, GLOBALS, &said, source);
    // Without `primary_private` both private addresses are the public ones, as in Piranha.
    let value = |shown: &Directives, name: &str| -> Option<String> {
        let (_, one) = shown.0.iter().find(|(known, _)| *known == name)?;
        one.written.first().cloned()
    };
    if shown.is_default("primary_private") && !shown.is_default("primary") {
        for (private, public) in [("primary_private", "primary"), ("backup_private", "backup")] {
            let public = value(&shown, public);
            shown.inherit(private, public.as_deref());
        }
    }
    shown
}

fn service(document: &Document, settings: &ServiceSettings<'_>) -> ShownService {
    let block = settings.block;
    let source = &document.source;
    let said: Vec<_> = block
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Directive(directive) => Some(directive),
            Item::Server(_) => None,
        })
        .collect();
    let mut directives = table(Part::Service, SERVICES, &said, source);
    if block.kind == ServiceKind::Virtual && directives.is_default("method") {
        let network = document
            .globals
            .iter()
            .rev()
            .find(|one| one.sound && one.entry.name == "network");
        let network = network.map_or("nat", |one| one.value().text.as_str());
        directives.inherit("method", Some(network));
    }
    let same = document
        .services
        .iter()
        .filter(|other| other.kind == block.kind)
        .map(|other| (other.span, other.name.text.as_str()));
    let which = which(same, block.span, &block.name.text);
    let servers = settings.servers.iter();
    ShownService {
        kind: block.kind.word(),
        name: block.name.text.clone(),
        line: source.position(block.span).line,
        directives,
        servers: servers
            .map(|server| self::server(source, block, &which, server))
            .collect(),
        path: Place::Service(block.kind, which),
    }
}

fn server(
    source: &Source,
    service: &Service,
    of: &Which,
    settings: &ServerSettings<'_>,
) -> ShownServer {
    let block: &Server = settings.block;
    let said: Vec<_> = block.directives.iter().collect();
    let mut directives = table(Part::Server, SERVERS, &said, source);
    if directives.is_default("port") {
        // That of the service, as it stands above.
        let port = Some(settings.port).filter(|port| *port != 0);
        directives.inherit("port", port.map(|port| port.to_string()).as_deref());
    }
    let same = service.items.iter().filter_map(|item| match item {
        Item::Server(server) => Some((server.span, server.name.text.as_str())),
        Item::Directive(_) => None,
    });
    let which = which(same, block.span, &block.name.text);
    ShownServer {
        name: block.name.text.clone(),
        path: Place::Server(service.kind, of.clone(), which),
        line: source.position(block.span).line,
        directives,
    }
}

/// How a block is called among its like.
fn which<'d>(same: impl Iterator<Item = (Span, &'d str)>, this: Span, name: &str) -> Which {
    let called: Vec<_> = same.filter(|(_, other)| *other == name).collect();
    let nth = called.iter().position(|(span, _)| *span == this);
    Which {
        name: Some(name.to_owned()),
        nth: nth.filter(|_| called.len() > 1).map(|nth| nth + 1),
    }
}

/// All rows of a table, in the order in which they are written.
fn table<K>(
    part: Part,
    rows: &'static [Entry<K>],
    said: &[&Directive<K>],
    source: &Source,
) -> Directives {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|entry| edit::rank(part, entry.name));
    let row = |entry: &'static Entry<K>| {
        let mut of_row = said.iter().copied();
        let mut found: Vec<_> = of_row
            .by_ref()
            .filter(|one| one.sound && one.entry.name == entry.name)
            .collect();
        if !edit::is_repeatable(part, entry.name) {
            found.drain(..found.len().saturating_sub(1));
        }
        (entry.name, shown(entry, &found, source))
    };
    Directives(rows.into_iter().map(row).collect())
}

fn shown<K>(entry: &Entry<K>, said: &[&Directive<K>], source: &Source) -> Shown {
    let Some(last) = said.last() else {
        let nothing = entry.default.is_empty()
            || (entry.default == NO_ADDRESS.to_string() && !matches!(entry.kind, Kind::Mask));
        let default = (!nothing).then_some(entry.default);
        return Shown {
            value: default.map(edit::Value::from),
            default: true,
            line: None,
            secret: false,
            written: default.map(String::from).into_iter().collect(),
        };
    };
    let secret = matches!(entry.kind, Kind::Secret | Kind::Keys);
    let text = |one: &&Directive<K>| {
        let words = one.arguments.iter().map(|word| word.text.as_str());
        words.collect::<Vec<_>>().join(" ")
    };
    let written = |one: &&Directive<K>| {
        let words = one.arguments.iter().map(|word| source.slice(word.span));
        words.collect::<Vec<_>>().join(" ")
    };
    let value = match said {
        [one] => edit::Value::One(text(one)),
        all => edit::Value::Many(all.iter().map(text).collect()),
    };
    Shown {
        value: (!secret).then_some(value),
        default: false,
        line: Some(source.position(last.name.span).line),
        secret,
        written: match secret {
            true => Vec::new(),
            false => said.iter().map(written).collect(),
        },
    }
}

impl Directives {
    fn is_default(&self, name: &str) -> bool {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.is_some_and(|(_, shown)| shown.default)
    }

    /// What holds where the file says nothing comes from elsewhere in it.
    fn inherit(&mut self, name: &str, value: Option<&str>) {
        let found = self.0.iter_mut().find(|(known, _)| *known == name);
        if let Some((_, shown)) = found {
            *shown = Shown {
                value: value.map(edit::Value::from),
                default: true,
                line: None,
                secret: false,
                written: value.map(String::from).into_iter().collect(),
            };
        }
    }

    fn write(&self, indent: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, shown) in &self.0 {
            let mark = if shown.default { "# " } else { "" };
            for written in &shown.written {
                writeln!(f, "{indent}{mark}{name} = {written}")?;
            }
            if shown.secret {
                writeln!(f, "{indent}# {name} is set and not shown")?;
            } else if shown.written.is_empty() {
                writeln!(f, "{indent}# {name} is not set")?;
            }
        }
        Ok(())
    }
}

/// As lvs.cf; what the file does not say is in comments.
impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.global.write("", f)?;
        for service in &self.services {
            let name = edit::written_name(&service.name);
            writeln!(f, "\n{} {name} {{", service.kind)?;
            service.directives.write("    ", f)?;
            for server in &service.servers {
                let name = edit::written_name(&server.name);
                writeln!(f, "    server {name} {{")?;
                server.directives.write("        ", f)?;
                writeln!(f, "    }}")?;
            }
            writeln!(f, "}}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::names::SystemNames, *};

    const FILE: &str = "primary = 192.0.2.2\nmh_secret = \"tell it to no one\"\nnetwork = direct\n\
        virtual \"a b\" {\n    active = 1\n    address = 10.0.0.9 eth0:1\n    send = \"QUIT\"\n    \
        fwmark = 7\n    match = \"tcp 10.0.0.9:80\"\n    match = \"tcp 10.0.0.9:443\"\n    port = 81\n    \
        server s {\n        active = 1\n        address = 10.0.0.1\n        weight = 0x2\n    }\n    \
        server s {\n        address = 10.0.0.2\n        port = 8080\n    }\n}\n";

    fn shown(text: &str) -> Effective {
        let outcome = super::super::parse("lvs.cf", text.as_bytes());
        assert!(outcome.site.is_some(), "{:?}", outcome.diagnostics);
        effective(&outcome, &mut SystemNames::default())
    }

    #[test]
    fn what_is_said_and_what_holds_without() {
        let json = serde_json::to_value(shown(FILE)).unwrap();
        let service = &json["services"][0];
        let table = [
            (
                &json["global"]["keepalive"],
                r#"{"value":"2","default":true}"#,
            ),
            (
                &json["global"]["primary"],
                r#"{"value":"192.0.2.2","default":false,"line":1}"#,
            ),
            (
                &json["global"]["primary_private"],
                r#"{"value":"192.0.2.2","default":true}"#,
            ),
            (
                &json["global"]["mh_secret"],
                r#"{"value":null,"default":false,"line":2,"secret":true}"#,
            ),
            (
                &service["directives"]["address"],
                r#"{"value":"10.0.0.9 eth0:1","default":false,"line":6}"#,
            ),
            (
                &service["directives"]["match"],
                r#"{"value":["tcp 10.0.0.9:80","tcp 10.0.0.9:443"],"default":false,"line":10}"#,
            ),
            (
                &service["directives"]["method"],
                r#"{"value":"direct","default":true}"#,
            ),
            (
                &service["directives"]["send"],
                r#"{"value":"QUIT","default":false,"line":7}"#,
            ),
            (
                &service["directives"]["expect"],
                r#"{"value":null,"default":true}"#,
            ),
            (
                &service["servers"][0]["directives"]["port"],
                r#"{"value":"81","default":true}"#,
            ),
            (
                &service["servers"][1]["path"],
                r#""virtual/a b/server/s#2""#,
            ),
        ];
        for (found, expected) in table {
            let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
            assert_eq!(*found, expected);
        }
    }

    #[test]
    fn the_text_means_what_the_file_means() {
        let without_secret = FILE.replace("mh_secret = \"tell it to no one\"\n", "");
        for file in [
            without_secret.as_str(),
            include_str!("../../tests/data/web-tool.cf"),
        ] {
            let text = shown(file).to_string();
            let again = super::super::parse("lvs.cf", text.as_bytes());
            let before = super::super::parse("lvs.cf", file.as_bytes());
            let site = |outcome: &Outcome| outcome.site.as_ref().map(|(_, site)| site.clone());
            assert_eq!(
                site(&again).unwrap().addresses,
                site(&before).unwrap().addresses
            );
            assert_eq!(shown(&text).to_string(), text);
        }
        let text = shown(FILE).to_string();
        assert!(!text.contains("no one"), "{text}");
        assert!(
            text.contains("# mh_secret is set and not shown\n"),
            "{text}"
        );
        assert!(
            text.contains("    # port = 81\n        weight = 0x2\n"),
            "{text}"
        );
    }
}
