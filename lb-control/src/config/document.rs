//! What was written: the text, and which directive stands in which block. Nothing is lost; every
//! part knows its place in the text, so an editor changes the text there and leaves the rest.

use super::{
    directives::{Entry, GlobalKey, ServerKey, ServiceKey},
    lexer::Word,
    source::{Source, Span},
};

/// One lvs.cf.
#[derive(Debug)]
pub struct Document {
    /// The text, with its comments and its layout.
    pub source: Source,
    /// The directives outside of blocks.
    pub globals: Vec<Directive<GlobalKey>>,
    /// The `virtual` and `failover` blocks.
    pub services: Vec<Service>,
}

impl Document {
    /// Whether a directive stands outside of blocks.
    #[must_use]
    pub fn says(&self, key: GlobalKey) -> bool {
        self.globals.iter().any(|directive| directive.key() == key)
    }
}

/// `name = value`.
#[derive(Debug)]
pub struct Directive<K: 'static> {
    /// Its row in the table of directives.
    pub entry: &'static Entry<K>,
    /// The name as it stands in the text.
    pub name: Word,
    /// What stands after `=`.
    pub arguments: Vec<Word>,
    /// Whether the line could be understood. If not, that has been said.
    pub sound: bool,
}

impl<K: Copy> Directive<K> {
    /// Which directive it is.
    pub fn key(&self) -> K {
        self.entry.key
    }

    /// The first word after `=`; the name itself if there is none.
    pub fn value(&self) -> &Word {
        self.arguments.first().unwrap_or(&self.name)
    }

    /// The word after that, if the directive takes two.
    pub fn second(&self) -> &Word {
        self.arguments.get(1).unwrap_or(&self.name)
    }
}

/// The two kinds of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// Balanced among real servers.
    Virtual,
    /// Run on one of the directors.
    Failover,
}

impl ServiceKind {
    /// The word that opens the block.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::Failover => "failover",
        }
    }
}

/// A `virtual` or `failover` block.
#[derive(Debug)]
pub struct Service {
    /// Which of the two.
    pub kind: ServiceKind,
    /// Its name; empty if it is missing, which has been said.
    pub name: Word,
    /// What is in it. The order decides which `port` a server inherits.
    pub items: Vec<Item>,
    /// From its first line to its closing brace.
    pub span: Span,
}

impl Service {
    /// Whether a directive stands in the block.
    #[must_use]
    pub fn says(&self, key: ServiceKey) -> bool {
        self.items.iter().any(|item| match item {
            Item::Directive(directive) => directive.key() == key,
            Item::Server(_) => false,
        })
    }

    /// Where a directive's value stands (the last one, for that is in force), or the block's name.
    #[must_use]
    pub fn place(&self, key: ServiceKey) -> Span {
        let said = self.items.iter().rev().find_map(|item| match item {
            Item::Directive(directive) if directive.key() == key => Some(directive.value().span),
            Item::Directive(_) | Item::Server(_) => None,
        });
        said.unwrap_or(self.name.span)
    }
}

/// A part of a service block.
#[derive(Debug)]
pub enum Item {
    /// A directive of the service.
    Directive(Directive<ServiceKey>),
    /// A `server` block.
    Server(Server),
}

/// A `server` block.
#[derive(Debug)]
pub struct Server {
    /// Its name.
    pub name: Word,
    /// Its directives.
    pub directives: Vec<Directive<ServerKey>>,
    /// From its first line to its closing brace.
    pub span: Span,
}

impl Server {
    /// Whether a directive stands in the block.
    #[must_use]
    pub fn says(&self, key: ServerKey) -> bool {
        self.directives.iter().any(|one| one.key() == key)
    }

    /// Where a directive's value stands, or the block's name.
    #[must_use]
    pub fn place(&self, key: ServerKey) -> Span {
        let said = self
            .directives
            .iter()
            .rev()
            .find(|directive| directive.key() == key);
        said.map_or(self.name.span, |directive| directive.value().span)
    }
}
