//! What lvs.cf said before, how it differs from now, and how to go back.

use axum::{extract::Path, response::Response, routing::get};
use maud::html;
use serde::Deserialize;

use super::{
    super::{
        form::Form, frame::Area, problem::Problem, role::Role, router::Page, session::Notice,
        visit::Visit,
    },
    config::tabs,
    desk::{Desk, stale},
    text::{difference, listing},
};
use crate::control::client;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![
        Page::new("/config/history", get(list)),
        Page::new("/config/history/{number}", get(show).post(take_back)),
    ]
}

async fn list(visit: Visit) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    let kept = client::config_versions(&visit.app.socket).await;
    let versions = kept.map_err(|error| Problem::daemon(&error))?.versions;
    let body = html! {
        (desk.bar(&visit))
        (tabs("/config/history"))
        @if versions.is_empty() {
            p class="empty" { "There are no versions yet: lvs.cf was not written by lb so far." }
        } @else {
            div class="scroll" tabindex="0" role="region" aria-label="Versions" {
                table id="versions" {
                    thead { tr {
                        th scope="col" class="number" { "Version" } th scope="col" { "Written" }
                        th scope="col" class="number" { "Bytes" } th scope="col" { "File" }
                    } }
                    tbody {
                        @for one in &versions {
                            tr {
                                th scope="row" class="number" { a href={ "/config/history/" (one.number) } { (one.number) } }
                                td { time datetime=(one.written) { (one.written.replace('T', " ").replace('Z', " UTC")) } }
                                td class="number" { (one.size) }
                                td class="mono wrap" { (one.path) }
                            }
                        }
                    }
                }
            }
            p class="hint" { "The last ten are kept. Who wrote them is in the audit log and in the events." }
        }
    };
    Ok(visit.page(Area::Config, "History", &body))
}

async fn show(visit: Visit, Path(number): Path<u64>) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    let old = client::config_version(&visit.app.socket, number).await;
    let old = old.map_err(|error| Problem::missing(format!("{error:#}")))?;
    let back = difference(&desk.current.text.text, &old.text.text);
    let body = html! {
        (desk.bar(&visit))
        (tabs("/config/history"))
        p { "Written " time datetime=(old.listed.written) { (old.listed.written.replace('T', " ").replace('Z', " UTC")) } ", " (old.listed.size) " bytes, " code { (old.listed.path) } }
        h2 { "What going back to it would change" }
        @match &back {
            Some(diff) => {
                (diff)
                @if visit.may(Role::Admin) {
                    form method="post" action={ "/config/history/" (number) } class="card" {
                        (desk.hidden(&visit, None))
                        p {
                            "Its text becomes your draft; you see what that changes in the table before you apply it."
                            @if desk.draft.is_changed() { " " strong { "The changes in your draft go." } }
                        }
                        p class="buttons" { button type="submit" class="main" { "Roll back to version " (number) } }
                    }
                }
            }
            None => p class="empty" { "lvs.cf says just this." },
        }
        h2 { "Its text" }
        (listing(&old.text.text, &[]))
    };
    Ok(visit.page(Area::Config, &format!("Version {number}"), &body))
}

/// Which draft may be replaced.
#[derive(Debug, Deserialize)]
struct Meant {
    state: String,
}

async fn take_back(
    visit: Visit,
    Path(number): Path<u64>,
    Form(meant): Form<Meant>,
) -> Result<Response, Problem> {
    let mut desk = Desk::open(&visit).await?;
    if !desk.is_of(&meant.state) {
        return Ok(stale(&visit, &format!("/config/history/{number}")));
    }
    if desk.apart.is_some() {
        return Ok(visit.go("/config/apart"));
    }
    let old = client::config_version(&visit.app.socket, number).await;
    let old = old.map_err(|error| Problem::missing(format!("{error:#}")))?;
    let replaced = desk.draft.replace(&old.text);
    replaced.map_err(|error| Problem::unclear(error.to_string()))?;
    desk.keep(&visit);
    let text = format!("your draft says what version {number} said; apply it to go back");
    visit.tell(Notice::Done(text));
    Ok(visit.go("/config/apply"))
}
