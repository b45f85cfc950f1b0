//! Config: the whole text, with its errors in place, in an editor.

use axum::{
    response::Response,
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        draft::LARGEST, form::Form, frame::Area, problem::Problem, role::Role, router::Page,
        session::Notice, visit::Visit, words,
    },
    desk::{APPLY, Desk, TEXT, stale},
    text::{listing, said},
};
use crate::{
    config::{diagnostic::Located, secrets::veiled},
    control::client,
};

/// Every character may take three when it is sent.
const BODY: usize = 3 * LARGEST + 4096;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![
        Page::new("/config", get(show).post(save)).with_body(BODY),
        Page::new("/config/discard", post(discard)),
    ]
}

/// The other pages about the file.
pub(super) fn tabs(here: &str) -> Markup {
    words::tabs(
        "Pages of the configuration",
        here,
        &[
            (TEXT, "Text"),
            (APPLY, "Differences and apply"),
            ("/config/history", "History"),
        ],
    )
}

async fn show(visit: Visit) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    let examined = client::check_config(&visit.app.socket, desk.draft.text()).await;
    let report = examined.map_err(|error| Problem::daemon(&error))?.report;
    let typed = desk.draft.veiled();
    Ok(page(&visit, &desk, &typed, &report.diagnostics, None))
}

fn page(
    visit: &Visit,
    desk: &Desk,
    typed: &str,
    diagnostics: &[Located<'_>],
    wrong: Option<&str>,
) -> Response {
    let may = visit.may(Role::Admin);
    let rows = typed.lines().count().clamp(12, 40);
    let body = html! {
        (desk.bar_on(visit, TEXT))
        (tabs(TEXT))
        p class="hint mono" { (desk.current.path) }
        @if let Some(wrong) = wrong { p class="notice failed" role="alert" id="wrong" { (wrong) } }
        (said(&desk.draft.text().text, diagnostics))
        (listing(&desk.draft.text().text, diagnostics))
        @if may {
            form method="post" action="/config" class="editor" {
                (desk.hidden(visit, None))
                div class="field wide" {
                    label for="f-text" { "Edit the text" }
                    textarea id="f-text" name="text" rows=(rows) spellcheck="false" autocapitalize="off" wrap="off"
                        aria-describedby="f-text-hint" { "\n" (typed) }
                    p class="hint" id="f-text-hint" {
                        "Secrets are hidden: leave their asterisks to keep them. Saving changes your draft only."
                    }
                }
                p class="buttons" { button type="submit" class="main" { "Save draft and check" } }
            }
        }
    };
    visit.page(Area::Config, "Config", &body)
}

/// What the editor sends.
#[derive(Debug, Deserialize)]
struct Typed {
    text: String,
    state: String,
}

async fn save(visit: Visit, Form(typed): Form<Typed>) -> Result<Response, Problem> {
    let mut desk = Desk::open(&visit).await?;
    let wrong = match desk.is_of(&typed.state) {
        true => desk.draft.retype(&typed.text).err().map(|error| error.to_string()),
        false => Some(
            "the draft was changed elsewhere since this page was made; below is what you typed, above what the draft says"
                .to_owned(),
        ),
    };
    match wrong {
        None => {
            desk.keep(&visit);
            Ok(visit.go("/config"))
        }
        Some(wrong) => Ok(page(&visit, &desk, &veiled(&typed.text), &[], Some(&wrong))),
    }
}

/// Which draft is meant.
#[derive(Debug, Deserialize)]
struct Meant {
    state: String,
}

async fn discard(visit: Visit, Form(meant): Form<Meant>) -> Result<Response, Problem> {
    let mut desk = Desk::open(&visit).await?;
    if !desk.is_of(&meant.state) {
        return Ok(stale(&visit, "/config"));
    }
    desk.draft.discard();
    desk.keep(&visit);
    visit.tell(Notice::Done("your changes are discarded".to_owned()));
    Ok(visit.go("/config"))
}
