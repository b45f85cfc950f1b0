//! Fields and the file: what a form shows of a block of lvs.cf, and which edits make the file say what a form says.

mod table;
mod wrong;

use std::collections::BTreeMap;

pub(in crate::web) use self::{
    table::{FAILOVER, GLOBAL, REDUNDANCY, Row, SCRIPTS, SERVER, Sheet, VIRTUAL},
    wrong::{Wrong, try_edits},
};
use crate::config::{
    directives::{Effect, Kind},
    document::{Directive, Document, Item, Server, Service, ServiceKind},
    edit::{DirectivePath, Edit, Place, Value, Which},
    lexer::Word,
};

/// The field of a form that has the name of a block. No directive is called so.
pub(in crate::web) const NAME: &str = "_name";

/// No value that somebody types is longer, in bytes.
const LONGEST: usize = 16 << 10;

/// A field of a form.
#[derive(Debug, Clone, Copy)]
pub(in crate::web) struct Field {
    pub(in crate::web) row: Row,
    /// What it is called; nothing if as the directive.
    label: &'static str,
    /// Under which heading it stands.
    pub(in crate::web) group: &'static str,
    /// Whether that is closed unless something below it is said.
    pub(in crate::web) folded: bool,
}

impl Field {
    /// What it is called.
    pub(in crate::web) fn label(&self) -> String {
        if !self.label.is_empty() {
            return self.label.to_owned();
        }
        let words = self.row.name.replace('_', " ");
        let mut letters = words.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(letters).collect()
    }

    /// Whether nobody is to read what is in it.
    pub(in crate::web) fn is_secret(&self) -> bool {
        matches!(self.row.kind, Kind::Secret | Kind::Keys)
    }

    /// What people ought to know of it.
    pub(in crate::web) fn hint(&self) -> String {
        let doc = self.row.doc.replace('`', "");
        let without = match self.row.default {
            "" => String::new(),
            default => format!(" Default: {default}."),
        };
        let effect = match self.row.effect {
            Effect::Works | Effect::Note => String::new(),
            Effect::Never { because, .. } => format!(" Without effect: {because}."),
        };
        format!("{doc}{without}{effect}").replace('`', "")
    }
}

impl Sheet {
    /// What one of its fields is called.
    pub(in crate::web) fn label(&self, name: &str) -> String {
        if name == NAME {
            return "Name".to_owned();
        }
        let fields = self.fields();
        let found = fields.iter().find(|field| field.row.name == name);
        found.map_or_else(|| name.to_owned(), Field::label)
    }
}

/// The headings of what no page names.
const REST: &str = "Further directives";

impl Sheet {
    /// All its fields, in order.
    pub(in crate::web) fn fields(&self) -> Vec<Field> {
        let rows = self.part.rows();
        let mut fields = Vec::new();
        for group in self.groups {
            for (name, label) in group.fields {
                let row = rows.iter().find(|row| row.name == *name);
                fields.extend(row.map(|row| Field {
                    row: *row,
                    label,
                    group: group.title,
                    folded: group.folded,
                }));
            }
        }
        if self.has_rest {
            let rest = rows
                .iter()
                .filter(|row| !table::is_named(self.part, row.name));
            fields.extend(rest.map(|row| Field {
                row: *row,
                label: "",
                group: REST,
                folded: true,
            }));
        }
        fields
    }
}

/// What a block says, by directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) struct Said(BTreeMap<&'static str, Vec<String>>);

impl Said {
    /// What stands in a place; nothing if there is no such place.
    pub(in crate::web) fn at(document: &Document, place: &Place) -> Option<Self> {
        let mut said = Self(BTreeMap::new());
        match place {
            Place::Global => said.note(document.globals.iter()),
            Place::Service(..) => return Some(Self::of(document.service(place)?)),
            Place::Server(..) => return Some(Self::of_server(document.server(place)?)),
        }
        Some(said)
    }

    /// What a service says.
    pub(in crate::web) fn of(service: &Service) -> Self {
        let mut said = Self(BTreeMap::new());
        let items = service.items.iter();
        said.note(items.filter_map(|item| match item {
            Item::Directive(directive) => Some(directive),
            Item::Server(_) => None,
        }));
        said
    }

    /// What a server says.
    pub(in crate::web) fn of_server(server: &Server) -> Self {
        let mut said = Self(BTreeMap::new());
        said.note(server.directives.iter());
        said
    }

    fn note<'d, K: Copy + 'static>(&mut self, directives: impl Iterator<Item = &'d Directive<K>>) {
        for directive in directives {
            let words = directive.arguments.iter();
            let words = words.filter(|word| !is_bracket(directive.entry.kind, word));
            let words: Vec<_> = words.map(|word| word.text.as_str()).collect();
            let texts = self.0.entry(directive.entry.name).or_default();
            texts.push(words.join(" "));
        }
    }

    /// What is in force; nothing if the directive does not stand there.
    pub(in crate::web) fn get(&self, name: &str) -> Option<&str> {
        Some(self.0.get(name)?.last()?.as_str())
    }

    /// What a field shows.
    pub(in crate::web) fn shown(&self, row: &Row) -> String {
        let texts = self.0.get(row.name).map(Vec::as_slice).unwrap_or_default();
        match row.repeats {
            true => texts.join("\n"),
            false => texts.last().cloned().unwrap_or_default(),
        }
    }

    /// The same, or what somebody has sent of it.
    pub(in crate::web) fn or_sent(&self, row: &Row, form: Option<&[(String, String)]>) -> String {
        let sent = form.and_then(|form| form.iter().find(|(field, _)| field == row.name));
        sent.map_or_else(|| self.shown(row), |(_, value)| value.clone())
    }

    /// Whether a directive stands there.
    pub(in crate::web) fn says(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether it is switched on.
    pub(in crate::web) fn is_active(&self) -> bool {
        self.get("active").is_some_and(|active| active == "1")
    }
}

fn is_bracket(kind: Kind, word: &Word) -> bool {
    kind == Kind::List && (word.is("[") || word.is("]"))
}

/// The edits that make a block say what a form says: of those fields alone that are different, so that everything
/// else stays as it stands. Each with the field that it is for.
pub(in crate::web) fn edits(
    sheet: &Sheet,
    place: &Place,
    said: &Said,
    form: &[(String, String)],
) -> Result<Vec<(&'static str, Edit)>, Wrong> {
    let sent = |name: &str| {
        let found = form.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    };
    let mut edits = Vec::new();
    let mut wrong = Wrong::default();
    for field in sheet.fields() {
        let name = field.row.name;
        let Some(value) = sent(name) else {
            continue;
        };
        if value.len() > LONGEST {
            wrong.at(name, format!("this is longer than {LONGEST} bytes"));
            continue;
        }
        let path = DirectivePath {
            place: place.clone(),
            directive: name.to_owned(),
        };
        if field.is_secret() {
            let takes_away = sent(&format!("{name}{REMOVE}")) == Some("1");
            if takes_away && said.says(name) {
                edits.push((name, Edit::Unset { path }));
            } else if !value.is_empty() {
                let value = Value::from(value);
                edits.push((name, Edit::Set { path, value }));
            }
            continue;
        }
        let value = value.replace("\r\n", "\n");
        if value == said.shown(&field.row) {
            continue;
        }
        if field.row.repeats {
            let lines = value.lines().map(str::trim).filter(|line| !line.is_empty());
            let lines: Vec<_> = lines.map(str::to_owned).collect();
            edits.push((name, lines_edit(path, lines)));
        } else if value.is_empty() {
            edits.push((name, Edit::Unset { path }));
        } else {
            let value = Value::from(value.as_str());
            edits.push((name, Edit::Set { path, value }));
        }
    }
    match wrong.is_empty() {
        true => Ok(edits),
        false => Err(wrong),
    }
}

/// What the box beside a secret is called that takes it away.
pub(in crate::web) const REMOVE: &str = "-remove";

fn lines_edit(path: DirectivePath, lines: Vec<String>) -> Edit {
    match <[String; 1]>::try_from(lines) {
        Ok([line]) => Edit::Set {
            path,
            value: Value::One(line),
        },
        Err(lines) if lines.is_empty() => Edit::Unset { path },
        Err(lines) => Edit::Set {
            path,
            value: Value::Many(lines),
        },
    }
}

/// How each of some blocks is called so that only this one is meant: by its name if it has one that no other has, else
/// by its number.
fn which<'d>(names: impl Iterator<Item = &'d str> + Clone) -> Vec<Which> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names.clone() {
        *counts.entry(name).or_default() += 1;
    }
    let one = |(index, name): (usize, &str)| {
        let has_both = name.contains('"') && name.contains('\'');
        let can_be_said = !name.is_empty() && !has_both;
        match can_be_said && counts.get(name) == Some(&1) {
            true => Which::named(name),
            false => Which {
                name: None,
                nth: Some(index + 1),
            },
        }
    };
    names.enumerate().map(one).collect()
}

/// All services of a kind with their places, in order.
pub(in crate::web) fn services(document: &Document, kind: ServiceKind) -> Vec<(Place, &Service)> {
    let services = document.services.iter().filter(|one| one.kind == kind);
    let names = services.clone().map(|one| one.name.text.as_str());
    let places = which(names).into_iter();
    places
        .map(|which| Place::Service(kind, which))
        .zip(services)
        .collect()
}

/// The servers of a service with their places, in order.
pub(in crate::web) fn servers<'d>(place: &Place, service: &'d Service) -> Vec<(Place, &'d Server)> {
    let (Place::Service(kind, of) | Place::Server(kind, of, _)) = place else {
        return Vec::new();
    };
    let names = service.servers().map(|server| server.name.text.as_str());
    let places = which(names).into_iter();
    let places = places.map(|which| Place::Server(*kind, of.clone(), which));
    places.zip(service.servers()).collect()
}

/// The place that a block has after its name was changed.
pub(in crate::web) fn renamed(before: &Document, after: &Document, place: &Place) -> Option<Place> {
    match place {
        Place::Global => Some(Place::Global),
        Place::Service(kind, _) => {
            let service = before.service(place)?;
            let all = before.services.iter().filter(|one| one.kind == *kind);
            let index = all.clone().position(|one| std::ptr::eq(one, service))?;
            let (place, _) = services(after, *kind).into_iter().nth(index)?;
            Some(place)
        }
        Place::Server(kind, which, _) => {
            let server = before.server(place)?;
            let mut all = before.service(place)?.servers();
            let index = all.position(|one| std::ptr::eq(one, server))?;
            let service = Place::Service(*kind, which.clone());
            let (place, _) = servers(&service, after.service(&service)?)
                .into_iter()
                .nth(index)?;
            Some(place)
        }
    }
}

#[cfg(test)]
mod tests;
