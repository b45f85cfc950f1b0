//! Changes of an lvs.cf that leave everything else as it stands: comments, order, layout, line ends, and
//! what nobody understands.
//!
//! ```text
//! Edit ── find ── plan ── raw ── bytes ── parse ── is it what was asked?
//!         where   which lines             again    all or nothing
//! ```
//!
//! What an edit does to the text is decided by lines. Whether it did what was asked is not believed, but
//! read back: the edited text is parsed, and must say the same as before except for what was asked. An
//! edit after which the file has an error that it did not have is refused; those that it has may stay, so
//! that a broken file can be mended step by step.

mod order;
pub(super) mod outline;
mod page;
pub mod path;
mod plan;
pub(super) mod raw;
mod verify;
mod word;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub(super) use self::order::{Part, rank};
pub use self::{
    path::{DirectivePath, NoPath, Path, Place, Which},
    word::Unwritable,
};
use super::{
    Colour, Diagnostic, LARGEST_FILE, Outcome, Severity,
    diagnostic::{Diagnostics, Located},
    names::{Names, SystemNames},
    parse_with, render,
    source::Source,
};
use crate::config::document::Document;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Edit {
    /// A directive says this. If it stands there, its value is replaced; else it comes where its
    /// neighbours are. Of one that is repeated without need, the last is changed, for that is in force;
    /// of one that may be repeated (`address` and `match` of a service), all are replaced.
    Set {
        /// Which directive.
        path: DirectivePath,
        /// What it says: the text itself, without quotes around it.
        value: Value,
    },
    /// A directive goes, with all its repetitions: what holds without it holds again.
    Unset {
        /// Which directive.
        path: DirectivePath,
    },
    /// A directive that may be repeated says this besides.
    Add {
        /// Which directive.
        path: DirectivePath,
        /// What it says besides.
        value: String,
    },
    /// A directive that may be repeated does not say this any more.
    Remove {
        /// Which directive.
        path: DirectivePath,
        /// What it said.
        value: String,
    },
    /// A block comes: a service below the last one of its kind, a server below the last of its service.
    AddBlock {
        /// Its name, and where it is to be.
        path: Place,
        /// What is in it.
        #[serde(default)]
        directives: Vec<Assignment>,
    },
    /// A block goes, with all that is in it and the comment lines directly above.
    RemoveBlock {
        /// Which.
        path: Place,
    },
    /// A block gets another name.
    RenameBlock {
        /// Which.
        path: Place,
        /// What it is called from now on.
        name: String,
    },
}

/// What a directive says: one text, or for one that may be repeated several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Once.
    One(String),
    /// So many times.
    Many(Vec<String>),
}

impl Value {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::One(text.to_owned())
    }
}

/// A directive of a new block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Its name.
    pub directive: String,
    /// What it says, without quotes.
    pub value: String,
}

/// A file that was edited.
#[derive(Debug)]
pub struct Edited {
    /// What is to be written.
    pub bytes: Vec<u8>,
    /// What it means.
    pub outcome: Outcome,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{}{why}", said_of(*index))]
pub struct Refused {
    /// Which edit it was, from 0 on; none if it was no single one.
    pub index: Option<usize>,
    /// What is in its way.
    pub why: Why,
}

fn said_of(index: Option<usize>) -> String {
    index.map_or(String::new(), |index| format!("edit {}: ", index + 1))
}

/// What is in the way of an edit.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// The file has bytes that are 0, or hardly any that are text.
    #[error("this is not a text file")]
    NoText,
    /// It would be larger than a configuration may be.
    #[error("the file would be larger than {LARGEST_FILE} bytes")]
    TooLarge,
    /// No block is called so.
    #[error("there is no {0}")]
    NoBlock(String),
    /// Several blocks are called so.
    #[error("there are {count} blocks called {called}; say which: {called}#1 to {called}#{count}")]
    Ambiguous {
        /// How they are called.
        called: String,
        /// How many there are.
        count: usize,
    },
    /// The block has no name to be changed.
    #[error("the block has no name; correct its first line by hand")]
    NoName,
    /// A block is to be called something.
    #[error("a block needs a name")]
    EmptyName,
    /// There is a block of this name already.
    #[error("there is a {0} already")]
    Exists(String),
    /// No directive is called so there.
    #[error("there is no directive `{directive}` {place}{}", meant(*near))]
    NoDirective {
        /// How it was called.
        directive: String,
        /// Where.
        place: &'static str,
        /// What may have been meant.
        near: Option<&'static str>,
    },
    /// The directive does not stand there.
    #[error("{0} is not set")]
    NotSet(String),
    /// The directive can say one thing only.
    #[error("`{0}` cannot be repeated; set it")]
    NotRepeatable(&'static str),
    /// The directive does not say so.
    #[error("{path} does not say `{value}`")]
    NotSaid {
        /// Which directive.
        path: String,
        /// What it ought to say.
        value: String,
    },
    /// It cannot be written.
    #[error("`{text}` cannot be written: {why}")]
    Unwritable {
        /// The text.
        text: String,
        /// Why not.
        why: Unwritable,
    },
    /// The text cannot be changed so that it says this and else what it said. That is so in files
    /// with missing braces and the like.
    #[error("the file is written in a way that does not allow it; correct its errors by hand")]
    NotAsAsked,
    /// The file would have errors that it does not have now.
    #[error("{}", .0.first())]
    Errors(Errors),
}

fn meant(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!("; did you mean `{near}`?"))
}

/// Errors that a file would have.
#[derive(Debug)]
pub struct Errors {
    /// The file as it would be.
    pub source: Source,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

impl Errors {
    pub(super) fn first(&self) -> &str {
        self.diagnostics
            .first()
            .map_or("there would be errors", |one| one.message.as_str())
    }

    /// For people, with carets.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        let render = |one| render(one, &self.source, colour);
        self.diagnostics.iter().map(render).collect()
    }

    /// For programs.
    pub fn located(&self) -> impl Iterator<Item = Located<'_>> {
        self.diagnostics.iter().map(|one| one.located(&self.source))
    }
}

/// Makes all edits in their order, or none. `name` is that of the file, for diagnostics. Host names that
/// are in it are looked up.
///
/// # Errors
/// If one of them cannot be made, or the file would have an error that it does not have.
pub fn edit(name: &str, bytes: &[u8], edits: &[Edit]) -> Result<Edited, Refused> {
    edit_with(name, bytes, edits, &mut SystemNames::default())
}

/// The same with another source of names.
///
/// # Errors
/// As [`edit`].
pub fn edit_with(
    name: &str,
    bytes: &[u8],
    edits: &[Edit],
    names: &mut dyn Names,
) -> Result<Edited, Refused> {
    let mut edited = bytes.to_vec();
    for (index, one) in edits.iter().enumerate() {
        edited = step(name, &edited, one).map_err(|why| Refused {
            index: Some(index),
            why,
        })?;
    }
    let refused = |why| Refused { index: None, why };
    let outcome = parse_with(name, &edited, names);
    let before = parse_with(name, bytes, names);
    let new = new_errors(&before.diagnostics, &outcome.diagnostics);
    if new.is_empty() {
        return Ok(Edited {
            bytes: edited,
            outcome,
        });
    }
    Err(refused(Why::Errors(Errors {
        source: outcome.document.source,
        diagnostics: new,
    })))
}

/// The bytes after one edit, of which is known that they say what was asked.
fn step(name: &str, bytes: &[u8], edit: &Edit) -> Result<Vec<u8>, Why> {
    let raw = raw::Raw::new(bytes).ok_or(Why::NoText)?;
    let (before, said) = document(name, bytes);
    let plan = plan::plan(&before, edit)?;
    let edited = raw.replace(plan.replacements);
    if edited.len() as u64 > LARGEST_FILE {
        return Err(Why::TooLarge);
    }
    let (after, says) = document(name, &edited);
    if verify::is_as_asked(&before, &after, edit, &plan.target) {
        return Ok(edited);
    }
    let diagnostics = new_errors(&said, &says);
    if diagnostics.is_empty() {
        return Err(Why::NotAsAsked);
    }
    Err(Why::Errors(Errors {
        source: after.source,
        diagnostics,
    }))
}

/// What is written, and what is wrong with how it is written.
fn document(name: &str, bytes: &[u8]) -> (Document, Vec<Diagnostic>) {
    let mut diagnostics = Diagnostics::default();
    let document = super::document(name, bytes, &mut diagnostics);
    (document, diagnostics.finish())
}

/// The errors that were not there before. They are told apart by what they say, for their places move.
fn new_errors(before: &[Diagnostic], after: &[Diagnostic]) -> Vec<Diagnostic> {
    let errors = |list: &'_ [Diagnostic]| -> Vec<Diagnostic> {
        let mut list = list.to_vec();
        list.retain(|one| one.severity == Severity::Error);
        list
    };
    let mut known: HashMap<String, usize> = HashMap::new();
    for one in errors(before) {
        *known.entry(one.message).or_default() += 1;
    }
    let mut new = errors(after);
    new.retain(|one| match known.get_mut(&one.message) {
        Some(count @ 1..) => {
            *count -= 1;
            false
        }
        Some(_) | None => true,
    });
    new
}

/// The name of a block in the quotes that it needs. One that has both kinds in it cannot have come from a
/// file, and is written as it is.
pub(super) fn written_name(name: &str) -> String {
    word::name(name, None).unwrap_or_else(|_| name.to_owned())
}

/// Which directives say more if they are repeated.
pub(super) fn is_repeatable(part: Part, directive: &str) -> bool {
    part == Part::Service && matches!(directive, "address" | "match")
}

#[cfg(test)]
mod tests;
