//! Whether an edit did what was asked, and nothing else: by what both texts say when they are parsed.

use super::{
    Edit,
    outline::{Address, Outline, Part, Statement},
    plan::Target,
    word,
};
use crate::config::document::Document;

pub(super) fn is_as_asked(
    before: &Document,
    after: &Document,
    edit: &Edit,
    target: &Target,
) -> bool {
    let (mut before, mut after) = (Outline::of(before), Outline::of(after));
    match target {
        Target::Directive { at, name, kind } => {
            let said = before.take(*at, name);
            let says = after.take(*at, name);
            let asked = |value: &str| word::words(*kind, value);
            before == after && is_said(edit, &said, &says, &asked)
        }
        Target::Block(at) => match edit {
            Edit::RenameBlock { name, .. } => {
                before.rename(*at, name);
                before == after
            }
            Edit::RemoveBlock { .. } => {
                before.take_block(*at);
                before == after
            }
            Edit::Set { .. }
            | Edit::Unset { .. }
            | Edit::Add { .. }
            | Edit::Remove { .. }
            | Edit::AddBlock { .. } => false,
        },
        Target::NewBlock {
            service,
            name,
            directives,
        } => {
            let Some(at) = new_block(&before, &after, *service) else {
                return false;
            };
            let Some((called, statements)) = after.block(at) else {
                return false;
            };
            let is_named = called == name;
            let says = statements.len() == directives.len()
                && statements
                    .iter()
                    .zip(directives)
                    .all(|(one, (name, words))| one.name == *name && one.says(words));
            after.take_block(at);
            is_named && says && before == after
        }
    }
}

fn is_said(
    edit: &Edit,
    said: &[Statement],
    says: &[Statement],
    asked: &dyn Fn(&str) -> Vec<String>,
) -> bool {
    match edit {
        Edit::Set { value, .. } => match value.texts() {
            [text] => {
                let (last, rest) = match says.split_last() {
                    Some(split) => split,
                    None => return false,
                };
                let old = said.len().saturating_sub(1);
                // Repetitions that were without effect are as they were, or all are replaced.
                let stay = rest.iter().eq(said.iter().take(old)) || rest.is_empty();
                last.says(&asked(text)) && stay
            }
            texts => {
                texts.len() == says.len()
                    && texts
                        .iter()
                        .zip(says)
                        .all(|(text, one)| one.says(&asked(text)))
            }
        },
        Edit::Unset { .. } => says.is_empty(),
        Edit::Add { value, .. } => match says.split_last() {
            Some((new, rest)) => rest == said && new.says(&asked(value)),
            None => false,
        },
        Edit::Remove { value, .. } => {
            let words = asked(value);
            let mut expected = said.to_vec();
            match said.iter().position(|one| one.says(&words)) {
                Some(at) => drop(expected.remove(at)),
                None => return false,
            }
            expected == says
        }
        Edit::AddBlock { .. } | Edit::RemoveBlock { .. } | Edit::RenameBlock { .. } => false,
    }
}

/// The block that one outline has and the other has not: the first at which they differ.
fn new_block(before: &Outline, after: &Outline, service: Option<usize>) -> Option<Address> {
    let first = |pairs: usize, differ: &dyn Fn(usize) -> bool| {
        (0..pairs).find(|at| differ(*at)).unwrap_or(pairs)
    };
    match service {
        None => {
            let differ = |at: usize| before.services.get(at) != after.services.get(at);
            Some(Address::Service(first(before.services.len(), &differ)))
        }
        Some(service) => {
            let servers = |outline: &Outline| {
                let items = &outline.services.get(service)?.items;
                let servers = items.iter().filter_map(|part| match part {
                    Part::Server(server) => Some(server.clone()),
                    Part::Statement(_) => None,
                });
                Some(servers.collect::<Vec<_>>())
            };
            let (old, new) = (servers(before)?, servers(after)?);
            let differ = |at: usize| old.get(at) != new.get(at);
            Some(Address::Server(service, first(old.len(), &differ)))
        }
    }
}
