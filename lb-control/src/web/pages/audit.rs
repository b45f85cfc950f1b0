//! Who did what.

use axum::{response::Response, routing::get};
use maud::html;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    super::{
        form::{Asked, encoded},
        frame::Area,
        role::Role,
        router::Page,
        visit::Visit,
        words,
    },
    control::pager,
};
use crate::status::columns::Tone;

/// So many entries stand on a page.
const ENTRIES: usize = 100;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/audit", get(show)).read_by(Role::Admin)]
}

#[derive(Debug, Deserialize)]
struct View {
    #[serde(default)]
    q: String,
    page: Option<String>,
}

async fn show(visit: Visit, Asked(view): Asked<View>) -> Response {
    let found = visit.app.audit.newest(&view.q);
    let pages = found.len().div_ceil(ENTRIES).max(1);
    let page = view.page.as_deref().and_then(|page| page.parse().ok());
    let page = page.unwrap_or(1_usize).clamp(1, pages);
    let shown: Vec<_> = found
        .iter()
        .skip((page - 1) * ENTRIES)
        .take(ENTRIES)
        .collect();
    let present = visit.app.sessions.present(Instant::now());
    let body = html! {
        section class="card" aria-labelledby="present" {
            h2 id="present" { "Logged in now" }
            ul {
                @for (user, role, address, time) in &present {
                    li { strong { (user) } " (" (role) ") from " span class="mono" { (address) } " for " (words::span(time.as_secs())) }
                }
            }
        }
        form class="inline" id="filter" method="get" action="/audit" role="search" {
            div class="field grow" {
                label for="f-q" { "Search" }
                input id="f-q" name="q" type="search" value=(view.q) placeholder="User, address, what was done";
            }
            button type="submit" { "Show" }
        }
        @if shown.is_empty() {
            p class="empty card" { "Nobody has done anything like that." }
        } @else {
            div class="scroll" tabindex="0" role="region" aria-label="Audit log" {
                table id="audit" {
                    thead { tr {
                        th scope="col" { "When" }
                        th scope="col" { "Who" }
                        th scope="col" { "From" }
                        th scope="col" { "What" }
                        th scope="col" { "Result" }
                    } }
                    tbody {
                        @for entry in shown {
                            tr {
                                td class="when" { (words::time(entry.time)) }
                                th scope="row" { @if entry.user.is_empty() { span class="soft" { "nobody" } } @else { (entry.user) } }
                                td class="mono" { (entry.address) }
                                td class="wrap" { (entry.what) }
                                td class="wrap" {
                                    @if entry.done { (words::badge(Tone::Good, "●", "done")) } @else { (words::badge(Tone::Bad, "✕", "refused")) }
                                    " " (entry.result)
                                }
                            }
                        }
                    }
                }
            }
            (pager(pages, page, |page| format!("/audit?q={}&page={page}", encoded(&view.q))))
        }
        p class="soft" { "The last 2,000 entries; all of them are in " code { (visit.app.audit.path().display()) } " on this node. Times are UTC." }
    };
    visit.page(Area::Audit, "Audit", &body)
}
