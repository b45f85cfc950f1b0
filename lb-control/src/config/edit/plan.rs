//! What an edit does to the text: which lines come, go, or say something else.

use super::{
    Assignment, DirectivePath, Edit, Part, Place, Value, Which, Why, is_repeatable,
    outline::Address, page::Page, rank, raw::Replacement, word,
};
use crate::config::{
    directives::{self, Entry, GLOBALS, Kind, SERVERS, SERVICES},
    document::{Directive, Document, Item, Server, Service, ServiceKind},
    lexer::Word,
    source::Span,
    suggest,
};

/// The changes of the text, and of what they are thought to change the meaning.
pub(super) struct Plan {
    pub(super) replacements: Vec<Replacement>,
    pub(super) target: Target,
}

/// What changes its meaning.
pub(super) enum Target {
    /// A directive of a block.
    Directive {
        at: Address,
        name: &'static str,
        kind: Kind,
    },
    /// A block that is there.
    Block(Address),
    /// A block that comes, with the words of its directives.
    NewBlock {
        /// The service that it belongs to, if it is a server.
        service: Option<usize>,
        name: String,
        directives: Vec<(&'static str, Vec<String>)>,
    },
}

/// Decides what is to be changed.
pub(super) fn plan(document: &Document, edit: &Edit) -> Result<Plan, Why> {
    let planner = Planner {
        page: Page::new(document),
        document,
    };
    match edit {
        Edit::Set { path, value } => planner.set(path, value),
        Edit::Unset { path } => planner.unset(path),
        Edit::Add { path, value } => planner.add(path, value),
        Edit::Remove { path, value } => planner.remove(path, value),
        Edit::AddBlock { path, directives } => planner.add_block(path, directives),
        Edit::RemoveBlock { path } => planner.remove_block(path),
        Edit::RenameBlock { path, name } => planner.rename(path, name),
    }
}

struct Planner<'d> {
    document: &'d Document,
    page: Page<'d>,
}

/// A block that was found.
#[derive(Clone, Copy)]
enum Found<'d> {
    Global,
    Service(usize, &'d Service),
    Server(usize, usize, &'d Server),
}

impl Found<'_> {
    fn address(self) -> Address {
        match self {
            Self::Global => Address::Global,
            Self::Service(service, _) => Address::Service(service),
            Self::Server(service, server, _) => Address::Server(service, server),
        }
    }

    fn part(self) -> Part {
        match self {
            Self::Global => Part::Global,
            Self::Service(..) => Part::Service,
            Self::Server(..) => Part::Server,
        }
    }
}

/// A row of one of the tables of directives.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    kind: Kind,
}

/// A directive that stands in the file.
#[derive(Clone, Copy)]
struct Statement<'d> {
    row: Row,
    word: &'d Word,
    arguments: &'d [Word],
    sound: bool,
    /// It stands below a server of its service.
    below_servers: bool,
}

impl<'d> Statement<'d> {
    fn new<K>(directive: &'d Directive<K>, below_servers: bool) -> Self {
        Self {
            row: Row {
                name: directive.entry.name,
                kind: directive.entry.kind,
            },
            word: &directive.name,
            arguments: &directive.arguments,
            sound: directive.sound,
            below_servers,
        }
    }

    fn says(&self, words: &[String]) -> bool {
        self.sound && self.arguments.iter().map(|word| &word.text).eq(words)
    }

    /// From the first word of its value to the last.
    fn value(&self) -> Option<Span> {
        Some(Span {
            start: self.arguments.first()?.span.start,
            end: self.arguments.last()?.span.end,
        })
    }
}

/// What stands around `=`.
#[derive(Clone, Copy)]
struct Sign<'d> {
    before: &'d str,
    after: &'d str,
    /// The column of the sign, if names are filled up to it.
    column: Option<usize>,
}

const PLAIN_SIGN: Sign<'static> = Sign {
    before: " ",
    after: " ",
    column: None,
};

/// How far a block's lines are set in.
struct Indents {
    header: String,
    inside: String,
    close: String,
}

/// How far lines are set in below their block if nothing else says so.
const STEP: &str = "    ";

impl<'d> Planner<'d> {
    fn set(&self, path: &DirectivePath, value: &Value) -> Result<Plan, Why> {
        let (found, row) = self.directive(path)?;
        let stand = self.named(found, row.name);
        let texts = value.texts();
        let replacements = if is_repeatable(found.part(), row.name) {
            if texts.is_empty() {
                return self.unset(path);
            }
            self.replace_all(found, row, &stand, texts)?
        } else {
            let [text] = texts else {
                return Err(Why::NotRepeatable(row.name));
            };
            match stand.last() {
                Some(last) => vec![self.replace_value(last, text)?],
                None => vec![self.insert(found, row, text)?],
            }
        };
        Ok(directive_plan(found, row, replacements))
    }

    /// The first of them in the place of the first one that stands there, and so on; those that are too
    /// many go, those that are missing come below.
    fn replace_all(
        &self,
        found: Found<'d>,
        row: Row,
        stand: &[Statement<'d>],
        texts: &[String],
    ) -> Result<Vec<Replacement>, Why> {
        let mut replacements = Vec::new();
        for (statement, text) in stand.iter().zip(texts) {
            replacements.push(self.replace_value(statement, text)?);
        }
        for surplus in stand.iter().skip(texts.len()) {
            replacements.push(self.without_statement(surplus));
        }
        let missing = texts.get(stand.len()..).unwrap_or_default();
        if let Some(last) = stand.last() {
            let mut new = Vec::new();
            for text in missing {
                new.push(self.like(found, last, row, text)?);
            }
            if !new.is_empty() {
                replacements.push(self.page.below(self.line_of(last), &new));
            }
        } else {
            let mut all: Option<Replacement> = None;
            for text in missing {
                let one = self.insert(found, row, text)?;
                match &mut all {
                    None => all = Some(one),
                    Some(all) => all.with.push_str(&one.with),
                }
            }
            replacements.extend(all);
        }
        Ok(replacements)
    }

    fn unset(&self, path: &DirectivePath) -> Result<Plan, Why> {
        let (found, row) = self.directive(path)?;
        let stand = self.named(found, row.name);
        if stand.is_empty() {
            return Err(Why::NotSet(path.to_string()));
        }
        let replacements = stand
            .iter()
            .map(|one| self.without_statement(one))
            .collect();
        Ok(directive_plan(found, row, replacements))
    }

    fn add(&self, path: &DirectivePath, value: &str) -> Result<Plan, Why> {
        let (found, row) = self.repeatable(path)?;
        let replacement = match self.named(found, row.name).last() {
            Some(last) => {
                let new = self.like(found, last, row, value)?;
                self.page.below(self.line_of(last), &[new])
            }
            None => self.insert(found, row, value)?,
        };
        Ok(directive_plan(found, row, vec![replacement]))
    }

    fn remove(&self, path: &DirectivePath, value: &str) -> Result<Plan, Why> {
        let (found, row) = self.repeatable(path)?;
        let words = word::words(row.kind, value);
        let stand = self.named(found, row.name);
        let Some(one) = stand.iter().find(|one| one.says(&words)) else {
            return Err(Why::NotSaid {
                path: path.to_string(),
                value: value.to_owned(),
            });
        };
        Ok(directive_plan(
            found,
            row,
            vec![self.without_statement(one)],
        ))
    }

    fn repeatable(&self, path: &DirectivePath) -> Result<(Found<'d>, Row), Why> {
        let (found, row) = self.directive(path)?;
        match is_repeatable(found.part(), row.name) {
            true => Ok((found, row)),
            false => Err(Why::NotRepeatable(row.name)),
        }
    }

    /// The line of a directive goes, and what is behind it there. Comments above stay: they often
    /// stand for several lines.
    fn without_statement(&self, statement: &Statement<'d>) -> Replacement {
        let line = self.line_of(statement);
        self.page.without(line, line)
    }

    /// Another value, in the place of the one that stands there.
    fn replace_value(&self, statement: &Statement<'d>, text: &str) -> Result<Replacement, Why> {
        let quote = match statement.arguments {
            [word] if statement.sound => word.quote,
            _ => None,
        };
        let row = statement.row;
        let value = written(row, text, quote)?;
        if let Some(span) = statement.value().filter(|_| statement.sound) {
            return Ok(Replacement { span, with: value });
        }
        // Nobody knows where its value ends: all of the line is it, up to a comment.
        let line = self.page.line(self.line_of(statement));
        let words = line.map_or(&[][..], |line| line.words.as_slice());
        let start = statement.word.span.end;
        let behind = words.iter().filter(|word| word.span.start >= start);
        let kept = behind.take_while(|word| !word.begins_comment());
        let end = kept.last().map_or(start, |word| word.span.end);
        Ok(Replacement {
            span: Span { start, end },
            with: format!(" = {value}"),
        })
    }

    /// A new line with a directive, where its neighbours are.
    fn insert(&self, found: Found<'d>, row: Row, text: &str) -> Result<Replacement, Why> {
        let statements = self.statements(found);
        let part = found.part();
        let own = rank(part, row.name);
        // What stands below servers is out of its order; and servers inherit what is above them.
        let ahead = || statements.iter().filter(|one| !one.below_servers);
        let before = ahead()
            .filter(|one| rank(part, one.row.name) < own)
            .max_by_key(|one| rank(part, one.row.name));
        let after = ahead().min_by_key(|one| rank(part, one.row.name));
        if let Some(neighbour) = before {
            let new = self.like(found, neighbour, row, text)?;
            return Ok(self.page.below(self.line_of(neighbour), &[new]));
        }
        if let Some(neighbour) = after {
            let new = self.like(found, neighbour, row, text)?;
            let line = self.line_of(neighbour);
            // Comments above a line belong to it, but those that the file begins with belong to all.
            let above = match self.page.with_comments(line) {
                0 => line,
                first => first,
            };
            return Ok(self.page.above(above, &[new]));
        }
        let value = written(row, text, None)?;
        match found {
            Found::Global => {
                let new = format!("{} = {value}", row.name);
                Ok(match self.document.services.first() {
                    Some(first) => {
                        let header = self.page.line_at(first.span.start);
                        let above = match self.page.with_comments(header) {
                            0 => header,
                            first => first,
                        };
                        self.page.above(above, &[new, String::new()])
                    }
                    None => self.page.at_the_end(&[new]),
                })
            }
            Found::Service(_, service) => {
                let header = self.page.line_at(service.span.start);
                let indent = self.service_indents(service).inside;
                Ok(self.first_line(header, &indent, row, &value))
            }
            Found::Server(service, _, server) => {
                let header = self.page.line_at(server.span.start);
                let service = self.document.services.get(service);
                let indent = match service {
                    Some(service) => {
                        self.server_indents(service, self.page.indent(header))
                            .inside
                    }
                    None => STEP.to_owned(),
                };
                Ok(self.first_line(header, &indent, row, &value))
            }
        }
    }

    fn first_line(&self, header: usize, indent: &str, row: Row, value: &str) -> Replacement {
        let sign = self.any_sign();
        let new = format!("{indent}{}{value}", sign.follow(row.name));
        self.page.below(self.page.opening(header), &[new])
    }

    /// A line that looks like the one of a neighbour.
    fn like(
        &self,
        found: Found<'d>,
        neighbour: &Statement<'d>,
        row: Row,
        text: &str,
    ) -> Result<String, Why> {
        let indent = self.page.indent(self.line_of(neighbour));
        let quote = match neighbour.arguments {
            [word] if neighbour.row.name == row.name => word.quote,
            _ => None,
        };
        let value = written(row, text, quote)?;
        let mut sign = self.sign(neighbour);
        if sign.before == " " {
            // The longest name of a column that others are filled up to.
            let siblings = self.statements(found);
            let mut columns = siblings.iter().filter_map(|one| self.sign(one).column);
            let own = neighbour.row.name.len() + 1;
            sign.column = columns.find(|column| *column == own);
        }
        let name = sign.follow(row.name);
        Ok(format!("{indent}{name}{value}"))
    }

    fn sign(&self, statement: &Statement<'d>) -> Sign<'d> {
        let Some(value) = statement.value() else {
            return PLAIN_SIGN;
        };
        let around = Span {
            start: statement.word.span.end,
            end: value.start,
        };
        let Some((before, after)) = self.page.slice(around).split_once('=') else {
            return PLAIN_SIGN;
        };
        let is_filled = before.len() > 1 && before.bytes().all(|c| c == b' ');
        let column = statement.row.name.len() + before.len();
        Sign {
            before,
            after,
            column: is_filled.then_some(column),
        }
    }

    /// What stands around `=` elsewhere in the file.
    fn any_sign(&self) -> Sign<'d> {
        let blocks = self.document.services.iter().flat_map(|service| {
            service.items.iter().filter_map(|item| match item {
                Item::Directive(directive) => Some(Statement::new(directive, false)),
                Item::Server(_) => None,
            })
        });
        let global = self.statements(Found::Global);
        let mut all = blocks.chain(global);
        let first = all.find(|statement| statement.sound);
        match first.map(|statement| self.sign(&statement)) {
            // Filled up to a column that fits other names.
            Some(sign) if sign.column.is_some() => PLAIN_SIGN,
            Some(sign) => sign,
            None => PLAIN_SIGN,
        }
    }

    fn add_block(&self, path: &Place, directives: &[Assignment]) -> Result<Plan, Why> {
        let (Place::Service(_, which) | Place::Server(_, _, which)) = path else {
            return Err(Why::EmptyName);
        };
        let name = match which {
            Which {
                name: Some(name),
                nth: None,
            } if !name.is_empty() => name.as_str(),
            Which { .. } => return Err(Why::EmptyName),
        };
        match self.find(path) {
            Ok(_) | Err(Why::Ambiguous { .. }) => return Err(Why::Exists(path.to_string())),
            Err(_) => {}
        }
        let (replacement, service, part) = match path {
            Place::Service(kind, _) => (
                self.new_service(*kind, name, directives)?,
                None,
                Part::Service,
            ),
            Place::Server(kind, of, _) => {
                let found = self.find(&Place::Service(*kind, of.clone()))?;
                let Found::Service(index, service) = found else {
                    return Err(Why::EmptyName);
                };
                let new = self.new_server(service, name, directives)?;
                (new, Some(index), Part::Server)
            }
            Place::Global => return Err(Why::EmptyName),
        };
        let mut said = Vec::new();
        for Assignment { directive, value } in directives {
            let row = row(part, directive)?;
            said.push((row.name, word::words(row.kind, value)));
        }
        Ok(Plan {
            replacements: vec![replacement],
            target: Target::NewBlock {
                service,
                name: name.to_owned(),
                directives: said,
            },
        })
    }

    fn new_service(
        &self,
        kind: ServiceKind,
        name: &str,
        directives: &[Assignment],
    ) -> Result<Replacement, Why> {
        let services = &self.document.services;
        let indents = match services.last() {
            Some(last) => self.service_indents(last),
            None => Indents {
                header: String::new(),
                inside: STEP.to_owned(),
                close: String::new(),
            },
        };
        let mut lines = self.block(kind.word(), name, &indents, Part::Service, directives)?;
        let same = services.iter().rev().find(|one| one.kind == kind);
        // The web tool wrote failover blocks first.
        let follower = services.first().filter(|_| kind == ServiceKind::Failover);
        Ok(match (same, follower) {
            (None, Some(first)) => {
                lines.push(String::new());
                let header = self.page.line_at(first.span.start);
                let above = match self.page.with_comments(header) {
                    0 => header,
                    first => first,
                };
                self.page.above(above, &lines)
            }
            (Some(last), _) if self.is_closed(last) => {
                lines.insert(0, String::new());
                self.page.below(self.page.line_at(last.span.end), &lines)
            }
            (Some(_) | None, _) => {
                let mut above = match services.last() {
                    Some(last) => self.missing_braces(last),
                    None => Vec::new(),
                };
                if self.page.last_written().is_some() {
                    above.push(String::new());
                }
                above.append(&mut lines);
                self.page.at_the_end(&above)
            }
        })
    }

    fn new_server(
        &self,
        service: &Service,
        name: &str,
        directives: &[Assignment],
    ) -> Result<Replacement, Why> {
        let inside = self.service_indents(service).inside;
        let indents = self.server_indents(service, &inside);
        let lines = self.block("server", name, &indents, Part::Server, directives)?;
        let mut servers = service.items.iter().filter_map(|item| match item {
            Item::Server(server) => Some(server),
            Item::Directive(_) => None,
        });
        if let Some(last) = servers.next_back() {
            let end = self.page.line_at(last.span.end);
            if self.page.closes(end) {
                return Ok(self.page.below(end, &lines));
            }
            let mut closed = vec![format!("{}}}", indents.close)];
            closed.extend(lines);
            return Ok(self.page.at_the_end(&closed));
        }
        if self.is_closed(service) {
            let end = self.page.line_at(service.span.end);
            return Ok(self.page.above(end, &lines));
        }
        Ok(self.page.at_the_end(&lines))
    }

    /// The lines of a new block.
    fn block(
        &self,
        keyword: &str,
        name: &str,
        indents: &Indents,
        part: Part,
        directives: &[Assignment],
    ) -> Result<Vec<String>, Why> {
        let sign = self.any_sign();
        let written_name = word::name(name, None).map_err(|why| Why::Unwritable {
            text: name.to_owned(),
            why,
        })?;
        let mut lines = vec![format!("{}{keyword} {written_name} {{", indents.header)];
        for Assignment { directive, value } in directives {
            let row = row(part, directive)?;
            let value = written(row, value, None)?;
            lines.push(format!(
                "{}{}{value}",
                indents.inside,
                sign.follow(row.name)
            ));
        }
        lines.push(format!("{}}}", indents.close));
        Ok(lines)
    }

    fn remove_block(&self, path: &Place) -> Result<Plan, Why> {
        let found = self.find(path)?;
        let span = match found {
            Found::Global => return Err(Why::NoBlock("block without a name".into())),
            Found::Service(_, service) => service.span,
            Found::Server(_, _, server) => server.span,
        };
        let page = &self.page;
        let header = page.line_at(span.start);
        // A comment that speaks of a block which is gone would speak of the next one. But what the
        // file begins with speaks of the file.
        let mut first = match page.with_comments(header) {
            0 => header,
            first => first,
        };
        let mut last = page.line_at(span.end).max(header);
        let is_end = |line: usize| (line + 1..page.len()).all(|below| page.is_blank(below));
        let blank_above = first == 0 || page.is_blank(first - 1);
        if blank_above && last + 1 < page.len() && page.is_blank(last + 1) && !is_end(last) {
            last += 1;
        } else if first > 0 && blank_above && is_end(last) {
            first -= 1;
        }
        // A block that is never closed goes to the end of the file, where the next one may begin.
        if !page.closes(page.line_at(span.end)) && span.end < page.end() {
            return Err(Why::NotAsAsked);
        }
        Ok(Plan {
            replacements: vec![page.without(first, last)],
            target: Target::Block(found.address()),
        })
    }

    fn rename(&self, path: &Place, name: &str) -> Result<Plan, Why> {
        let found = self.find(path)?;
        if name.is_empty() {
            return Err(Why::EmptyName);
        }
        let (word, renamed) = match (found, path) {
            (Found::Service(_, service), Place::Service(kind, _)) => {
                (&service.name, Place::Service(*kind, Which::named(name)))
            }
            (Found::Server(_, _, server), Place::Server(kind, of, _)) => (
                &server.name,
                Place::Server(*kind, of.clone(), Which::named(name)),
            ),
            _ => return Err(Why::NoBlock("block without a name".into())),
        };
        if word.text.is_empty() {
            return Err(Why::NoName);
        }
        if word.text != name {
            match self.find(&renamed) {
                Ok(_) | Err(Why::Ambiguous { .. }) => {
                    return Err(Why::Exists(renamed.to_string()));
                }
                Err(_) => {}
            }
        }
        let touches = word.quote.is_none() && self.page.slice(word.span) != word.text;
        let with = word::name(name, word.quote).map_err(|why| Why::Unwritable {
            text: name.to_owned(),
            why,
        })?;
        let brace = if touches { " {" } else { "" };
        Ok(Plan {
            replacements: vec![Replacement {
                span: word.span,
                with: format!("{with}{brace}"),
            }],
            target: Target::Block(found.address()),
        })
    }

    fn find(&self, place: &Place) -> Result<Found<'d>, Why> {
        let (kind, which, server) = match place {
            Place::Global => return Ok(Found::Global),
            Place::Service(kind, which) => (*kind, which, None),
            Place::Server(kind, which, server) => (*kind, which, Some(server)),
        };
        let services = self.document.services.iter().enumerate();
        let candidates = services
            .filter(|(_, service)| service.kind == kind && is_meant(which, &service.name))
            .collect();
        let called = || Place::Service(kind, which.clone()).to_string();
        let (index, service) = choose(candidates, which, called)?;
        let Some(wanted) = server else {
            return Ok(Found::Service(index, service));
        };
        let servers = service.items.iter().filter_map(|item| match item {
            Item::Server(server) => Some(server),
            Item::Directive(_) => None,
        });
        let candidates = servers
            .enumerate()
            .filter(|(_, server)| is_meant(wanted, &server.name))
            .collect();
        let (number, server) = choose(candidates, wanted, || place.to_string())?;
        Ok(Found::Server(index, number, server))
    }

    fn directive(&self, path: &DirectivePath) -> Result<(Found<'d>, Row), Why> {
        let found = self.find(&path.place)?;
        Ok((found, row(found.part(), &path.directive)?))
    }

    fn statements(&self, found: Found<'d>) -> Vec<Statement<'d>> {
        match found {
            Found::Global => {
                let globals = self.document.globals.iter();
                globals.map(|one| Statement::new(one, false)).collect()
            }
            Found::Service(_, service) => {
                let mut below = false;
                let mut statements = Vec::new();
                for item in &service.items {
                    match item {
                        Item::Directive(directive) => {
                            statements.push(Statement::new(directive, below));
                        }
                        Item::Server(_) => below = true,
                    }
                }
                statements
            }
            Found::Server(_, _, server) => {
                let directives = server.directives.iter();
                directives.map(|one| Statement::new(one, false)).collect()
            }
        }
    }

    fn named(&self, found: Found<'d>, name: &str) -> Vec<Statement<'d>> {
        let mut statements = self.statements(found);
        statements.retain(|statement| statement.row.name == name);
        statements
    }

    fn line_of(&self, statement: &Statement<'d>) -> usize {
        self.page.line_at(statement.word.span.start)
    }

    /// Whether a service has its own closing brace.
    fn is_closed(&self, service: &Service) -> bool {
        let of_server = service.items.iter().any(|item| match item {
            Item::Server(server) => server.span.end == service.span.end,
            Item::Directive(_) => false,
        });
        !of_server && self.page.closes(self.page.line_at(service.span.end))
    }

    /// The braces that are missing at the end of the file.
    fn missing_braces(&self, last: &Service) -> Vec<String> {
        if self.is_closed(last) {
            return Vec::new();
        }
        let mut braces = Vec::new();
        if let Some(Item::Server(server)) = last.items.last() {
            let end = self.page.line_at(server.span.end);
            let header = self.page.line_at(server.span.start);
            if !self.page.closes(end) {
                braces.push(format!("{}}}", self.page.indent(header)));
            }
        }
        let header = self.page.line_at(last.span.start);
        braces.push(format!("{}}}", self.page.indent(header)));
        braces
    }

    fn service_indents(&self, service: &Service) -> Indents {
        let page = &self.page;
        let own = |service: &Service| -> Option<&'d str> {
            let first = service.items.first()?;
            let place = match first {
                Item::Directive(directive) => directive.name.span.start,
                Item::Server(server) => {
                    let header = page.line_at(server.span.start);
                    return Some(page.indent(header));
                }
            };
            Some(page.indent(page.line_at(place)))
        };
        let header = page.indent(page.line_at(service.span.start));
        let mut others = self.document.services.iter().rev();
        let inside = own(service).or_else(|| others.find_map(own));
        let close = match self.is_closed(service) {
            true => page.indent(page.line_at(service.span.end)),
            false => header,
        };
        Indents {
            header: header.to_owned(),
            inside: inside.map_or_else(|| format!("{header}{STEP}"), String::from),
            close: close.to_owned(),
        }
    }

    /// As other servers are, first those of the same service.
    fn server_indents(&self, service: &Service, inside: &str) -> Indents {
        let page = &self.page;
        let of = |service: &Service| -> Option<Indents> {
            service.items.iter().rev().find_map(|item| match item {
                Item::Directive(_) => None,
                Item::Server(server) => {
                    let first = server.directives.first()?;
                    let header = page.indent(page.line_at(server.span.start));
                    let end = page.line_at(server.span.end);
                    let close = if page.closes(end) {
                        page.indent(end)
                    } else {
                        header
                    };
                    Some(Indents {
                        header: header.to_owned(),
                        inside: page.indent(page.line_at(first.name.span.start)).to_owned(),
                        close: close.to_owned(),
                    })
                }
            })
        };
        let mut others = self.document.services.iter().rev();
        let found = of(service).or_else(|| {
            let other = others.find_map(of);
            other.filter(|other| other.header == inside)
        });
        found.unwrap_or_else(|| Indents {
            header: inside.to_owned(),
            inside: format!("{inside}{STEP}"),
            close: inside.to_owned(),
        })
    }
}

impl Sign<'_> {
    /// A name and the sign behind it.
    fn follow(self, name: &str) -> String {
        let Self {
            before,
            after,
            column,
        } = self;
        match column {
            Some(column) => format!("{name:<width$} ={after}", width = column.saturating_sub(1)),
            None => format!("{name}{before}={after}"),
        }
    }
}

fn directive_plan(found: Found<'_>, row: Row, replacements: Vec<Replacement>) -> Plan {
    Plan {
        replacements,
        target: Target::Directive {
            at: found.address(),
            name: row.name,
            kind: row.kind,
        },
    }
}

fn written(row: Row, text: &str, quote: Option<char>) -> Result<String, Why> {
    let words = word::words(row.kind, text);
    word::write(row.name, row.kind, &words, quote).map_err(|why| Why::Unwritable {
        text: match matches!(row.kind, Kind::Secret | Kind::Keys) {
            true => "the secret".to_owned(),
            false => text.to_owned(),
        },
        why,
    })
}

fn row(part: Part, name: &str) -> Result<Row, Why> {
    fn find<K>(table: &'static [Entry<K>], name: &str, place: &'static str) -> Result<Row, Why> {
        match directives::find(table, name) {
            Some(entry) => Ok(Row {
                name: entry.name,
                kind: entry.kind,
            }),
            None => Err(Why::NoDirective {
                directive: name.to_owned(),
                place,
                near: suggest::nearest(name, table.iter().map(|entry| entry.name)),
            }),
        }
    }
    match part {
        Part::Global => find(GLOBALS, name, "outside of blocks"),
        Part::Service => find(SERVICES, name, "in virtual and failover blocks"),
        Part::Server => find(SERVERS, name, "in server blocks"),
    }
}

fn is_meant(which: &Which, name: &Word) -> bool {
    which
        .name
        .as_ref()
        .is_none_or(|wanted| *wanted == name.text)
}

/// The one that is meant.
fn choose<T>(mut candidates: Vec<T>, which: &Which, called: impl Fn() -> String) -> Result<T, Why> {
    let count = candidates.len();
    match which.nth {
        Some(nth) if nth <= count => Ok(candidates.swap_remove(nth - 1)),
        Some(_) => Err(Why::NoBlock(called())),
        None if count > 1 => Err(Why::Ambiguous {
            called: called(),
            count,
        }),
        None => candidates.pop().ok_or_else(|| Why::NoBlock(called())),
    }
}
