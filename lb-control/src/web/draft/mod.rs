//! What a user of the web tool has changed and not applied yet: a text, and the version of lvs.cf that it was made
//! of. Nothing here touches what runs, or knows of HTTP.
//!
//! Two people may have a draft each. The second who applies finds that lvs.cf is not the version his draft was
//! made of: his changes are carried over to what it says now, and where both changed the same lines he decides.

mod merge;
mod typed;

use std::{collections::BTreeMap, sync::Arc};

pub(in crate::web) use self::merge::{Choice, Piece, Unsettled};
use self::{
    merge::{clean, pieces, settled},
    typed::typed,
};
use crate::{
    config::{
        self,
        document::Document,
        edit::{Edit, Refused, edit_with},
        names::Trust,
        secrets::{Lost, unveiled, veiled},
        store::Fingerprint,
        text::{Encoding, Text, Unencodable},
    },
    control::configuration::Current,
};

/// No draft is larger, in bytes: two thousand services with ten servers each have room.
pub(in crate::web) const LARGEST: usize = 4 << 20;

/// So many drafts are kept; of more, the one that was not used for the longest time goes.
pub(in crate::web) const MOST: usize = 32;

/// What one user has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) struct Draft {
    /// The file.
    path: String,
    /// What it was made of.
    version: Fingerprint,
    base: Arc<Text>,
    /// What it says.
    mine: Text,
    /// Tells that from what it may come to say. Every form has it, and to reckon it takes long for a large file.
    state: Fingerprint,
}

/// Why a draft is as it was.
#[derive(Debug, thiserror::Error)]
pub(in crate::web) enum NotDrafted {
    /// An edit cannot be made.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A secret was hidden, and its line changed.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A character cannot be in the file.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// It would be larger than drafts may be.
    #[error("the text is larger than {LARGEST} bytes; edit the file with `lb config edit`")]
    TooLarge,
    /// It has bytes that are 0.
    #[error("this is not a text: it has bytes that are 0")]
    NoText,
}

/// What became of a draft while lvs.cf was changed by somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) enum Followed {
    /// lvs.cf was not changed.
    Same,
    /// The draft had no changes, or lvs.cf says the same by now: it is what lvs.cf is.
    Renewed,
    /// The changes of the draft were carried over.
    Carried,
    /// Both changed the same lines; the draft is as it was until it is settled.
    Apart(Vec<Piece>),
}

impl Draft {
    /// One without changes.
    ///
    /// # Errors
    /// If the file is too large for a draft.
    pub(in crate::web) fn of(current: &Current) -> Result<Self, NotDrafted> {
        let text = Arc::new(current.text.clone());
        within(&text.text)?;
        let state = match text.encoding {
            // It is the same: the bytes are the text.
            Encoding::Utf8 if current.version != Fingerprint::absent() => current.version.clone(),
            Encoding::Utf8 | Encoding::Latin1 => Fingerprint::of(text.text.as_bytes()),
        };
        Ok(Self {
            path: current.path.clone(),
            version: current.version.clone(),
            mine: Text::clone(&text),
            state,
            base: text,
        })
    }

    /// The version of lvs.cf that it was made of.
    #[must_use]
    pub(in crate::web) fn version(&self) -> &Fingerprint {
        &self.version
    }

    /// What lvs.cf said then.
    #[must_use]
    pub(in crate::web) fn base(&self) -> &str {
        &self.base.text
    }

    /// What it says.
    #[must_use]
    pub(in crate::web) fn text(&self) -> &Text {
        &self.mine
    }

    /// What it says, for eyes that are not to see secrets.
    #[must_use]
    pub(in crate::web) fn veiled(&self) -> String {
        veiled(&self.mine.text)
    }

    /// Whether it differs from what it was made of.
    #[must_use]
    pub(in crate::web) fn is_changed(&self) -> bool {
        *self.base != self.mine
    }

    /// Tells what it says from what it may come to say: a form that was made of something else is not to be
    /// believed.
    #[must_use]
    pub(in crate::web) fn state(&self) -> &Fingerprint {
        &self.state
    }

    fn say(&mut self, mine: Text) {
        self.state = Fingerprint::of(mine.text.as_bytes());
        self.mine = mine;
    }

    /// Whether it has errors, so that it cannot be applied. The daemon may find more: it looks at the machine too.
    pub(in crate::web) fn has_errors(&self) -> bool {
        let bytes = self.mine.text.as_bytes();
        let outcome = config::parse_with(&self.path, bytes, &mut Trust::default());
        let mut found = outcome.diagnostics.iter();
        found.any(|one| one.severity == config::Severity::Error)
    }

    /// What is written in it, with or without errors.
    #[must_use]
    pub(in crate::web) fn document(&self) -> Document {
        config::written(&self.path, self.mine.text.as_bytes())
    }

    /// Makes all edits, or none.
    ///
    /// # Errors
    /// If one cannot be made, or the text would have an error that it does not have.
    pub(in crate::web) fn edit(&mut self, edits: &[Edit]) -> Result<(), NotDrafted> {
        if edits.is_empty() {
            return Ok(());
        }
        // The daemon looks names up, when the text is checked; here nobody is asked.
        let bytes = self.bytes_for(edits)?;
        let edited = edit_with(&self.path, &bytes, edits, &mut Trust::default())?;
        let text = Text::decode(&edited.bytes);
        within(&text.text)?;
        self.say(text);
        Ok(())
    }

    /// The bytes that edits are made of. A file that is not UTF-8 takes only what it can hold.
    fn bytes_for(&self, edits: &[Edit]) -> Result<Vec<u8>, NotDrafted> {
        if self.mine.encoding != Encoding::Utf8 {
            // What an edit adds would be UTF-8 in the middle of Latin-1.
            let added = serde_json::to_value(edits).unwrap_or_default();
            if let Some(c) = strange(&added) {
                return Err(Unencodable(c).into());
            }
        }
        Ok(self.mine.encode()?)
    }

    /// It says what somebody typed into a browser, who did not see secrets and cannot see line ends.
    ///
    /// # Errors
    /// If it cannot be what the file says.
    pub(in crate::web) fn retype(&mut self, text: &str) -> Result<(), NotDrafted> {
        within(text)?;
        if text.contains('\0') {
            return Err(NotDrafted::NoText);
        }
        let original = &self.mine.text;
        let whole = typed(original, &unveiled(&text.replace("\r\n", "\n"), original)?);
        let mine = self.mine.with(whole);
        mine.encode()?;
        within(&mine.text)?;
        self.say(mine);
        Ok(())
    }

    /// It says what another file said.
    ///
    /// # Errors
    /// If that is too large for a draft.
    pub(in crate::web) fn replace(&mut self, text: &Text) -> Result<(), NotDrafted> {
        within(&text.text)?;
        self.say(text.clone());
        Ok(())
    }

    /// It says what it was made of.
    pub(in crate::web) fn discard(&mut self) {
        self.say(Text::clone(&self.base));
    }

    /// Goes along with what lvs.cf has become.
    ///
    /// # Errors
    /// If the text would be too large.
    pub(in crate::web) fn follow(&mut self, current: &Current) -> Result<Followed, NotDrafted> {
        if current.version == self.version {
            return Ok(Followed::Same);
        }
        if !self.is_changed() || current.text == self.mine {
            *self = Self::of(current)?;
            return Ok(Followed::Renewed);
        }
        let (base, mine, theirs) = (&self.base.text, &self.mine.text, &current.text.text);
        let pieces = pieces(base, mine, theirs);
        match clean(&pieces) {
            Some(text) => {
                self.carry(current, text)?;
                Ok(Followed::Carried)
            }
            None => Ok(Followed::Apart(pieces)),
        }
    }

    /// Carries its changes over to what lvs.cf has become, and where both changed the same lines does as somebody
    /// chose who saw `seen` of lvs.cf and `state` of this.
    ///
    /// # Errors
    /// If he saw something else, or has not chosen everywhere.
    pub(in crate::web) fn settle(
        &mut self,
        current: &Current,
        (seen, state): (&str, &str),
        choices: &[Choice],
    ) -> Result<(), Unsettled> {
        if current.version.to_string() != seen || self.state().to_string() != state {
            return Err(Unsettled::Changed);
        }
        let (base, mine, theirs) = (&self.base.text, &self.mine.text, &current.text.text);
        let text = settled(&pieces(base, mine, theirs), choices)?;
        self.carry(current, text).map_err(|_| Unsettled::TooLarge)
    }

    fn carry(&mut self, current: &Current, text: String) -> Result<(), NotDrafted> {
        within(&text)?;
        *self = Self::of(current)?;
        self.say(current.text.with(text));
        Ok(())
    }
}

fn within(text: &str) -> Result<(), NotDrafted> {
    match text.len() {
        0..=LARGEST => Ok(()),
        _ => Err(NotDrafted::TooLarge),
    }
}

/// The first character of a JSON text that is not ASCII.
fn strange(value: &serde_json::Value) -> Option<char> {
    value.to_string().chars().find(|c| !c.is_ascii())
}

/// The drafts of all users.
#[derive(Debug, Default)]
pub(in crate::web) struct Drafts {
    drafts: BTreeMap<String, (u64, Draft)>,
    /// Goes up with each use.
    clock: u64,
}

impl Drafts {
    /// A user's draft, if he has one.
    pub(in crate::web) fn get(&mut self, user: &str) -> Option<&mut Draft> {
        self.clock += 1;
        let (used, draft) = self.drafts.get_mut(user)?;
        *used = self.clock;
        Some(draft)
    }

    /// Keeps a draft for a user. One without changes need not be kept.
    pub(in crate::web) fn keep(&mut self, user: &str, draft: Draft) {
        self.clock += 1;
        if !draft.is_changed() {
            self.drafts.remove(user);
            return;
        }
        self.drafts.insert(user.to_owned(), (self.clock, draft));
        while self.drafts.len() > MOST {
            let oldest = self.drafts.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(user, _)| user.clone()) else {
                return;
            };
            self.drafts.remove(&oldest);
        }
    }

    /// Users with changes, but for one.
    #[must_use]
    pub(in crate::web) fn others(&self, user: &str) -> Vec<&str> {
        let users = self.drafts.keys().map(String::as_str);
        users.filter(|other| *other != user).collect()
    }
}

#[cfg(test)]
mod tests;
