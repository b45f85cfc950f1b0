//! What is written in a document, without where: so that it can be compared with what another says.

use crate::config::{
    document::{Directive, Document, Item, ServiceKind},
    lexer::Word,
};

/// All directives and blocks of a document, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Outline {
    pub(super) globals: Vec<Statement>,
    pub(super) services: Vec<ServiceOutline>,
}

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) name: &'static str,
    /// The words of its value, each with the quotes around it, which are a part of some values.
    pub(super) value: Vec<(String, Option<char>)>,
    pub(super) sound: bool,
}

impl Statement {
    /// Whether the words are these, in whatever quotes.
    pub(super) fn says(&self, words: &[String]) -> bool {
        self.sound && self.value.iter().map(|(text, _)| text).eq(words)
    }
}

/// A `virtual` or `failover` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceOutline {
    pub(super) kind: ServiceKind,
    pub(super) name: String,
    pub(super) items: Vec<Part>,
}

/// What is in it. The order decides which port a server inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Statement(Statement),
    Server(ServerOutline),
}

/// A `server` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerOutline {
    pub(super) name: String,
    pub(super) statements: Vec<Statement>,
}

/// Where a block is, counted from 0: the service, and the server among its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    Global,
    Service(usize),
    Server(usize, usize),
}

impl Outline {
    pub(in crate::config) fn of(document: &Document) -> Self {
        let globals = document.globals.iter().map(statement).collect();
        let services = document.services.iter().map(|service| ServiceOutline {
            kind: service.kind,
            name: service.name.text.clone(),
            items: service
                .items
                .iter()
                .map(|item| match item {
                    Item::Directive(directive) => Part::Statement(statement(directive)),
                    Item::Server(server) => Part::Server(ServerOutline {
                        name: server.name.text.clone(),
                        statements: server.directives.iter().map(statement).collect(),
                    }),
                })
                .collect(),
        });
        Self {
            globals,
            services: services.collect(),
        }
    }

    /// Takes all directives of one name out of a block.
    pub(super) fn take(&mut self, at: Address, name: &str) -> Vec<Statement> {
        match at {
            Address::Global => extract(&mut self.globals, name),
            Address::Service(service) => {
                let Some(service) = self.services.get_mut(service) else {
                    return Vec::new();
                };
                let mut taken = Vec::new();
                for part in std::mem::take(&mut service.items) {
                    match part {
                        Part::Statement(one) if one.name == name => taken.push(one),
                        Part::Statement(_) | Part::Server(_) => service.items.push(part),
                    }
                }
                taken
            }
            Address::Server(service, server) => match self.server(service, server) {
                Some(server) => extract(&mut server.statements, name),
                None => Vec::new(),
            },
        }
    }

    /// Takes a block out.
    pub(super) fn take_block(&mut self, at: Address) {
        match at {
            Address::Global => {}
            Address::Service(service) => {
                if service < self.services.len() {
                    self.services.remove(service);
                }
            }
            Address::Server(service, server) => {
                if let Some((items, at)) = self.server_at(service, server) {
                    items.remove(at);
                }
            }
        }
    }

    /// Gives a block another name.
    pub(super) fn rename(&mut self, at: Address, name: &str) {
        match at {
            Address::Global => {}
            Address::Service(service) => {
                if let Some(service) = self.services.get_mut(service) {
                    name.clone_into(&mut service.name);
                }
            }
            Address::Server(service, server) => {
                if let Some(server) = self.server(service, server) {
                    name.clone_into(&mut server.name);
                }
            }
        }
    }

    /// What a block has in it, and what it is called.
    pub(super) fn block(&mut self, at: Address) -> Option<(&str, Vec<Statement>)> {
        match at {
            Address::Global => None,
            Address::Service(service) => {
                let service = self.services.get(service)?;
                let statements = service.items.iter().filter_map(|part| match part {
                    Part::Statement(statement) => Some(statement.clone()),
                    Part::Server(_) => None,
                });
                Some((&service.name, statements.collect()))
            }
            Address::Server(service, server) => {
                let server = self.server(service, server)?;
                Some((&server.name, server.statements.clone()))
            }
        }
    }

    fn server(&mut self, service: usize, server: usize) -> Option<&mut ServerOutline> {
        let (items, at) = self.server_at(service, server)?;
        match items.get_mut(at)? {
            Part::Server(server) => Some(server),
            Part::Statement(_) => None,
        }
    }

    fn server_at(&mut self, service: usize, server: usize) -> Option<(&mut Vec<Part>, usize)> {
        let items = &mut self.services.get_mut(service)?.items;
        let mut servers = items.iter().enumerate().filter(|(_, part)| match part {
            Part::Server(_) => true,
            Part::Statement(_) => false,
        });
        let (at, _) = servers.nth(server)?;
        Some((items, at))
    }
}

fn statement<K>(directive: &Directive<K>) -> Statement {
    let word = |word: &Word| (word.text.clone(), word.quote);
    Statement {
        name: directive.entry.name,
        value: directive.arguments.iter().map(word).collect(),
        sound: directive.sound,
    }
}

fn extract(statements: &mut Vec<Statement>, name: &str) -> Vec<Statement> {
    statements
        .extract_if(.., |statement| statement.name == name)
        .collect()
}
