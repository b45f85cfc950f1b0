//! What every page that edits begins with: lvs.cf as it is now, and what its user has changed and not applied.

use axum::response::Response;
use maud::{Markup, html};

use super::super::{
    draft::{Draft, Followed, NotDrafted, Piece},
    problem::Problem,
    role::Role,
    session::Notice,
    visit::Visit,
    words,
};
use crate::{
    config::{document::Document, edit::Place},
    control::{client, configuration::Current},
};

/// Where the text is, with what is wrong with it.
pub(super) const TEXT: &str = "/config";

/// Where it is applied.
pub(super) const APPLY: &str = "/config/apply";

/// What somebody edits.
pub(super) struct Desk {
    pub(super) current: Current,
    pub(super) draft: Draft,
    /// Somebody else has changed the same lines of lvs.cf meanwhile.
    pub(super) apart: Option<Vec<Piece>>,
    /// Who else has changes that are not applied.
    others: Vec<String>,
}

impl Desk {
    /// Asks the daemon for the file. The draft goes along with what became of it.
    pub(super) async fn open(visit: &Visit) -> Result<Self, Problem> {
        let current = client::config(&visit.app.socket).await;
        let current = current.map_err(|error| Problem::daemon(&error))?;
        let user = &visit.session.user;
        let mut drafts = visit.app.drafts();
        let others = drafts.others(user).into_iter().map(str::to_owned).collect();
        let kept = drafts.get(user).cloned();
        let had_changes = kept.is_some();
        let mut draft = match kept {
            Some(draft) => draft,
            None => Draft::of(&current).map_err(|error| too_large(&error))?,
        };
        let followed = draft.follow(&current).map_err(|error| too_large(&error))?;
        let apart = match followed {
            Followed::Same => None,
            Followed::Renewed => {
                drafts.keep(user, draft.clone());
                None
            }
            Followed::Carried => {
                drafts.keep(user, draft.clone());
                if had_changes {
                    let text = "somebody else has changed lvs.cf meanwhile; your changes were carried over to it";
                    visit.tell(Notice::Done(text.to_owned()));
                }
                None
            }
            Followed::Apart(pieces) => Some(pieces),
        };
        drop(drafts);
        Ok(Self {
            current,
            draft,
            apart,
            others,
        })
    }

    /// Keeps what was changed.
    pub(super) fn keep(&self, visit: &Visit) {
        let user = &visit.session.user;
        visit.app.drafts().keep(user, self.draft.clone());
    }

    /// What is written in the draft.
    pub(super) fn document(&self) -> Document {
        self.draft.document()
    }

    /// Whether a form was made of what the draft says now.
    pub(super) fn is_of(&self, state: &str) -> bool {
        self.draft.state().to_string() == state
    }

    /// What every form has in it that changes the draft.
    pub(super) fn hidden(&self, visit: &Visit, place: Option<&Place>) -> Markup {
        html! {
            (visit.token())
            input type="hidden" name="state" value=(self.draft.state());
            @if let Some(place) = place { input type="hidden" name="at" value=(place); }
        }
    }

    /// What stands above every page that edits: that nothing is in force yet, and where to go on.
    pub(super) fn bar(&self, visit: &Visit) -> Markup {
        self.bar_on(visit, "")
    }

    /// The same on one of the pages that it leads to.
    pub(super) fn bar_on(&self, visit: &Visit, here: &str) -> Markup {
        let is_changed = self.draft.is_changed();
        let has_errors = is_changed && self.draft.has_errors();
        let (next, name) = match has_errors {
            true => (TEXT, "See what is wrong"),
            false => (APPLY, "Review and apply"),
        };
        html! {
            @if self.apart.is_some() {
                p class="notice failed" id="apart" role="alert" {
                    strong { "Somebody else has changed the same lines of lvs.cf. " }
                    "Nothing is lost: " a href="/config/apart" { "choose what is to hold" } "."
                }
            }
            @if is_changed {
                div class="notice info draft" id="draft" {
                    p {
                        strong { "Your changes are not in force. " }
                        (lines(self.draft.base(), &self.draft.text().text)) "."
                        @if has_errors { " " strong { "They have errors, so they cannot be applied yet." } }
                    }
                    @if here != next { a class="button main" href=(next) { (name) } }
                    form method="post" action="/config/discard" {
                        (self.hidden(visit, None))
                        button type="submit" class="quiet" { "Discard" }
                    }
                }
            } @else if !self.current.loaded {
                p class="notice warn" id="not-loaded" {
                    "lvs.cf is not what runs: it was changed and not reloaded. "
                    @if here != APPLY { a href=(APPLY) { "Review and reload" } }
                }
            }
            @if !self.others.is_empty() && visit.may(Role::Admin) {
                p class="hint" {
                    (self.others.join(", ")) (if self.others.len() == 1 { " also has" } else { " also have" })
                    " changes that are not applied."
                }
            }
            @if !visit.may(Role::Admin) {
                p class="hint" { "You may look at this; changing it is for admins." }
            }
        }
    }
}

fn too_large(error: &NotDrafted) -> Problem {
    Problem::unclear(error.to_string())
}

/// How many lines differ, in words.
fn lines(before: &str, after: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    let changes = diff.iter_all_changes();
    let count = changes
        .filter(|change| change.tag() != similar::ChangeTag::Equal)
        .count();
    words::counted(count, "line of lvs.cf differs", "lines of lvs.cf differ")
}

/// The form is not of what the draft says now: it was changed in another window, or is gone.
pub(super) fn stale(visit: &Visit, path: &str) -> Response {
    let text = "the draft was changed elsewhere since this page was made; look again, nothing was changed by it";
    visit.tell(Notice::Failed(text.to_owned()));
    visit.go(path)
}
