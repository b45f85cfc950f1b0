//! What happened: the daemon's journal.

use axum::{response::Response, routing::get};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::{Asked, Field, encoded},
        frame::Area,
        live::Snapshot,
        part::{Canvas, follow, section},
        router::Page,
        visit::Visit,
        words,
    },
    control::{asof, pager, service_path},
};
use crate::journal::{Entry, Kind};

/// So many events stand on a page.
const EVENTS: usize = 100;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/events", get(show))]
}

#[derive(Debug, Clone, Default, Deserialize)]
struct View {
    /// Events with all these words in them.
    #[serde(default)]
    q: String,
    #[serde(default)]
    kind: String,
    page: Option<String>,
    follow: Option<String>,
}

impl View {
    fn page(&self) -> usize {
        let page = self.page.as_deref().and_then(|page| page.parse().ok());
        page.unwrap_or(1).max(1)
    }

    fn path(&self, page: usize) -> String {
        let (q, kind) = (encoded(&self.q), encoded(&self.kind));
        format!("/events?q={q}&kind={kind}&page={page}")
    }

    fn has(&self, event: &Entry) -> bool {
        if !self.kind.is_empty() && event.kind.name() != self.kind {
            return false;
        }
        let text = event.to_string().to_lowercase();
        let words = self.q.to_lowercase();
        words.split_whitespace().all(|word| text.contains(word))
    }
}

async fn show(visit: Visit, Asked(view): Asked<View>) -> Response {
    if let Some(shape) = view.follow.clone() {
        let path = view.path(view.page());
        return follow(visit, &shape, path, move |canvas, now| {
            draw(canvas, now, &view)
        });
    }
    let now = visit.app.live.now().await;
    let path = view.path(view.page());
    let body = section(&visit, &path, &now, |canvas, now| draw(canvas, now, &view));
    visit.page(Area::Events, "Events", &body)
}

fn draw(canvas: &Canvas, now: &Snapshot, view: &View) -> Markup {
    let found: Vec<_> = now
        .events
        .iter()
        .rev()
        .filter(|event| view.has(event))
        .collect();
    let pages = found.len().div_ceil(EVENTS).max(1);
    let page = view.page().min(pages);
    let shown = found.into_iter().skip((page - 1) * EVENTS).take(EVENTS);
    let shown: Vec<_> = shown.collect();
    let lines = html! {
        @if shown.is_empty() { p class="empty card" { "Nothing like that has happened since the daemon started." } }
        @else { (lines(shown.into_iter())) }
        (pager(pages, page, |page| view.path(page)))
    };
    let mut kinds = vec![("", "All")];
    kinds.extend(Kind::ALL.map(|kind| (kind.name(), kind.name())));
    html! {
        (asof(canvas, now))
        form class="inline" id="filter" method="get" action="/events" role="search" data-auto {
            div class="field grow" {
                label for="f-q" { "Search" }
                input id="f-q" name="q" type="search" value=(view.q) placeholder="Words of the event, address, user";
            }
            (Field::new("kind", "Kind").value(&view.kind).choice(&kinds))
            button type="submit" { "Show" }
        }
        (canvas.block("events", "", &lines))
        p class="soft" { "The daemon keeps the last 1,000 events in memory; its log has all of them. Times are UTC." }
    }
}

/// Who it was for people: the one for whom it was asked, else the user's name; all of it stands in the title.
fn person(who: &str) -> &str {
    if let Some((_, person)) = who.split_once(" for ") {
        return person;
    }
    let name = who
        .rsplit_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    name.unwrap_or(who)
}

/// Events as a table.
pub(super) fn lines<'a>(events: impl Iterator<Item = &'a Entry>) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="region" aria-label="Events" {
            table class="events" {
                thead { tr {
                    th scope="col" { "When" }
                    th scope="col" { "Kind" }
                    th scope="col" { "About" }
                    th scope="col" { "What" }
                    th scope="col" { "By" }
                } }
                tbody { @for event in events { (line(event)) } }
            }
        }
    }
}

fn line(event: &Entry) -> Markup {
    html! {
        tr {
            td class="when" { (words::time(event.time)) }
            td { (words::kind(event.kind)) }
            td class="mono about" {
                @if let Some(service) = event.service { a href=(service_path(service)) { (service) } }
                @if let Some(server) = event.server { br; (server) }
            }
            td class="wrap" { (event.text) }
            td class="soft by" { @if let Some(who) = &event.who { span title=(who) { (person(who)) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_called_by_their_names() {
        let table = [
            (
                "uid 990 pid 12 (piranha) for ada from 192.0.2.7",
                "ada from 192.0.2.7",
            ),
            ("uid 0 pid 4711 (root)", "root"),
            ("uid 4000 pid 7", "uid 4000 pid 7"),
            ("somebody", "somebody"),
        ];
        for (who, expected) in table {
            assert_eq!(person(who), expected);
        }
    }
}
