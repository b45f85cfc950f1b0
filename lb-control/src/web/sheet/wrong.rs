//! What is wrong with a form, told at the field that it is about, in the words of the parser.

use std::collections::BTreeMap;

use crate::{
    config::{
        self, Diagnostic,
        document::{Directive, Document, Item},
        edit::{Edit, Errors, Place, Refused, Why},
    },
    web::draft::{Draft, NotDrafted},
};

/// What is wrong with a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::web) struct Wrong {
    fields: BTreeMap<String, String>,
    /// What is about no field of the form.
    pub(in crate::web) others: Vec<String>,
}

impl Wrong {
    /// What is wrong with a field, if anything.
    pub(in crate::web) fn of(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// The fields with which something is wrong.
    pub(in crate::web) fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    pub(in crate::web) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.others.is_empty()
    }

    /// How many things are.
    pub(in crate::web) fn count(&self) -> usize {
        self.fields.len() + self.others.len()
    }

    /// Something is wrong with a field.
    pub(in crate::web) fn at(&mut self, field: &str, text: String) {
        self.fields.entry(field.to_owned()).or_insert(text);
    }

    fn note(&mut self, error: &NotDrafted, field: Option<&str>, place: &Place) {
        let refused = match error {
            NotDrafted::Refused(Refused { why, .. }) => why,
            NotDrafted::Lost(_)
            | NotDrafted::Unencodable(_)
            | NotDrafted::TooLarge
            | NotDrafted::NoText => return self.say(field, error.to_string()),
        };
        let Why::Errors(Errors {
            source,
            diagnostics,
        }) = refused
        else {
            return self.say(field, refused.to_string());
        };
        let document = config::parse(source.name(), source.text().as_bytes()).document;
        for one in diagnostics {
            let text = in_words(one);
            let at = directive_at(&document, place, one).or(field);
            match at {
                Some(at) => self.at(at, text),
                None => {
                    let line = source.position(one.span).line;
                    self.others.push(format!("line {line}: {text}"));
                }
            }
        }
    }

    fn say(&mut self, field: Option<&str>, text: String) {
        match field {
            Some(field) => self.at(field, text),
            None => self.others.push(text),
        }
    }
}

fn in_words(diagnostic: &Diagnostic) -> String {
    match &diagnostic.help {
        Some(help) => format!("{}: {help}", diagnostic.message),
        None => diagnostic.message.clone(),
    }
}

/// Which directive of a block a diagnostic is about.
fn directive_at(document: &Document, place: &Place, about: &Diagnostic) -> Option<&'static str> {
    fn find<'d, K: Copy + 'static>(
        mut directives: impl Iterator<Item = &'d Directive<K>>,
        at: usize,
    ) -> Option<&'static str> {
        let found = directives.find(|one| {
            let end = one
                .arguments
                .last()
                .map_or(one.name.span.end, |word| word.span.end);
            (one.name.span.start..=end).contains(&at)
        });
        found.map(|one| one.entry.name)
    }
    let at = about.span.start;
    match place {
        Place::Global => find(document.globals.iter(), at),
        Place::Service(..) => {
            let items = document.service(place)?.items.iter();
            let directives = items.filter_map(|item| match item {
                Item::Directive(directive) => Some(directive),
                Item::Server(_) => None,
            });
            find(directives, at)
        }
        Place::Server(..) => find(document.server(place)?.directives.iter(), at),
    }
}

/// Makes all edits of a form, or none: then it is told of each field what is wrong with it.
pub(in crate::web) fn try_edits(
    draft: &mut Draft,
    place: &Place,
    edits: &[(&'static str, Edit)],
) -> Result<(), Wrong> {
    let all: Vec<_> = edits.iter().map(|(_, edit)| edit.clone()).collect();
    let Err(error) = draft.edit(&all) else {
        return Ok(());
    };
    let mut wrong = Wrong::default();
    for (field, edit) in edits {
        let alone = std::slice::from_ref(edit);
        if let Err(error) = draft.clone().edit(alone) {
            wrong.note(&error, Some(field), place);
        }
    }
    if wrong.is_empty() {
        // Each is right by itself, and all together are not.
        let index = match &error {
            NotDrafted::Refused(refused) => refused.index,
            NotDrafted::Lost(_)
            | NotDrafted::Unencodable(_)
            | NotDrafted::TooLarge
            | NotDrafted::NoText => None,
        };
        let field = index
            .and_then(|index| edits.get(index))
            .map(|(field, _)| *field);
        wrong.note(&error, field, place);
    }
    Err(wrong)
}
