//! One service with all of its real servers.

use std::net::SocketAddr;

use axum::{response::Response, routing::get};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::Asked,
        frame::Area,
        live::{Live, Snapshot},
        part::{Canvas, follow, section},
        problem::Problem,
        role::Role,
        router::Page,
        visit::Visit,
        words,
    },
    control::{asof, charts, pager, service_path},
    events, explain,
    routing::{self, count, row_id, socket},
    server,
};
use crate::{
    control::order::Verb,
    model::ServiceId,
    status::{ServerStatus, ServiceStatus, columns::Tone},
};

/// So many real servers stand on a page.
const SERVERS: usize = 100;

/// So many of the last events.
const EVENTS: usize = 15;

/// With fewer days left, the end of a certificate is told loudly.
const SOON: i64 = 14;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/service", get(show))]
}

#[derive(Debug, Clone, Deserialize)]
struct View {
    id: String,
    page: Option<String>,
    follow: Option<String>,
}

async fn show(visit: Visit, Asked(view): Asked<View>) -> Result<Response, Problem> {
    let wrong = |_| Problem::missing(format!("no service is called “{}”", view.id));
    let key: ServiceId = view.id.parse().map_err(wrong)?;
    let page = view.page.as_deref().and_then(|page| page.parse().ok());
    let page = page.unwrap_or(1_usize).max(1);
    if let Some(shape) = view.follow {
        let app = visit.app.clone();
        return Ok(follow(
            visit,
            &shape,
            path(key, page),
            move |canvas, now| draw(canvas, now, &app.live, key, page),
        ));
    }
    let now = visit.app.live.now().await;
    let service = find(&now, key);
    let title = match (service, &now.report) {
        (Some(service), _) => service.name.clone(),
        (None, None) => key.to_string(),
        (None, Some(_)) => return Err(Problem::missing(format!("there is no service {key}"))),
    };
    let path = path(key, page);
    let live = section(&visit, &path, &now, |canvas, now| {
        draw(canvas, now, &visit.app.live, key, page)
    });
    let body = html! {
        p class="crumbs" { a href="/control" { "Control/Monitoring" } " / " span class="mono" { (key) } " · " a href=(explain::path_for(key)) { "Explain a packet" } }
        (live)
        @if visit.may(Role::Operator) {
            section class="card" aria-labelledby="terms" {
                h2 id="terms" { "Orders for its real servers" }
                (server::orders(&visit, &path, &terms()))
            }
        }
    };
    Ok(visit.page(Area::Control, &title, &body))
}

fn path(key: ServiceId, page: usize) -> String {
    match page {
        1 => service_path(key),
        page => format!("{}&page={page}", service_path(key)),
    }
}

fn find(now: &Snapshot, key: ServiceId) -> Option<&ServiceStatus> {
    let report = now.report.as_ref()?;
    report
        .services
        .iter()
        .find(|service| service.service == key)
}

fn draw(canvas: &Canvas, now: &Snapshot, live: &Live, key: ServiceId, page: usize) -> Markup {
    html! {
        (asof(canvas, now))
        @match find(now, key) {
            None => p class="empty card" { "There is no service " (key) " any more. " a href="/control" { "All services" } "." },
            Some(service) => {
                (charts(canvas, live, Some(key)))
                (table(canvas, now, service, page))
                (facts(canvas, service))
                (happened(canvas, now, key))
            }
        }
    }
}

fn facts(canvas: &Canvas, service: &ServiceStatus) -> Markup {
    let sorry = html! {
        @match &service.sorry {
            None => "none",
            Some(sorry) => {
                span class="mono" { (SocketAddr::new(sorry.address, sorry.port)) } " "
                @if sorry.active { (words::badge(Tone::Between, "◑", "stands in")) } @else { "stands by" }
                ", " (words::count(sorry.connections)) " connections so far"
                @if let Some(why) = &sorry.unreachable { ", " (why) }
            }
        }
    };
    let counted = html! {
        (words::count(service.connections)) " connections, "
        (words::bytes(service.bytes_in)) " in, " (words::bytes(service.bytes_out)) " out"
    };
    html! {
        section class="card" aria-labelledby="facts" {
            h2 id="facts" { "The service" }
            dl class="facts" {
                dt { "Scheduling" } dd { (service.scheduler) }
                dt { "Forwarding" } dd { (service.method) }
                dt { "Sorry server" } dd id="sorry" { (canvas.part("sorry", &sorry)) }
                dt { "Counted" } dd id="counted" { (canvas.part("counted", &counted)) }
            }
        }
    }
}

fn table(canvas: &Canvas, now: &Snapshot, service: &ServiceStatus, page: usize) -> Markup {
    let pages = service.servers.len().div_ceil(SERVERS).max(1);
    let page = page.min(pages);
    let shown = service
        .servers
        .iter()
        .skip((page - 1) * SERVERS)
        .take(SERVERS);
    html! {
        section aria-labelledby="servers" {
            h2 id="servers" { "Real servers" }
            @if service.servers.is_empty() {
                p class="empty card" { "This service has no real servers. " a href="/virtual" { "Add one" } "." }
            } @else {
                div class="scroll" tabindex="0" role="region" aria-labelledby="servers" {
                    table id="table" {
                        (routing::head(canvas, "Real server", &[("number", "Checks"), ("", "Last failed check")]))
                        tbody {
                            @for server in shown { (row(canvas, now, service, server)) }
                        }
                    }
                }
                (pager(pages, page, |page| path(service.service, page)))
            }
        }
    }
}

fn row(canvas: &Canvas, now: &Snapshot, service: &ServiceStatus, server: &ServerStatus) -> Markup {
    let socket = socket(server);
    let id = row_id(service.service, Some(socket));
    let mut cells = routing::cells(now, service, server);
    cells.push(count(server.checks));
    cells.push(("wrap", failure(server)));
    html! {
        tr id=(id) {
            th scope="row" {
                (server.name) br; span class="mono soft" { (socket) } " "
                small class="soft" { (server.forwarding.method()) }
            }
            (canvas.cells(&id, &cells))
            @if canvas.may(Role::Operator) {
                td class="actions" { (server::buttons(service, server, &Verb::ALL)) }
            }
        }
    }
}

/// What draining may take, and what the buttons mean.
fn terms() -> Markup {
    html! {
        div class="field" {
            label for="deadline" { "Seconds that draining may take" }
            input type="number" id="deadline" name="deadline" min="0" max="86400" placeholder="as lvs.cf says";
        }
        dl class="facts" {
            @for verb in Verb::ALL { dt { (server::name(verb)) } dd { (server::meaning(verb)) "." } }
        }
    }
}

fn failure(server: &ServerStatus) -> Markup {
    html! {
        @if let Some(why) = &server.unreachable { (why) br; }
        @match &server.last_error {
            None => span class="soft" { "none" },
            Some(why) => {
                (why)
                @if let Some(at) = server.last_error_time { br; small class="soft" { (words::time(at)) } }
            }
        }
        @if let Some(days) = server.certificate_days {
            br;
            @if days < SOON { (words::badge(Tone::Bad, "✕", &format!("certificate: {days} days left"))) }
            @else { small class="soft" { "certificate: " (days) " days left" } }
        }
    }
}

fn happened(canvas: &Canvas, now: &Snapshot, key: ServiceId) -> Markup {
    let mut of_service = now
        .events
        .iter()
        .rev()
        .filter(|event| event.service == Some(key))
        .peekable();
    let lines = html! {
        @if of_service.peek().is_none() { p class="empty" { "Nothing has happened to it since the daemon started." } }
        @else { (events::lines(of_service.take(EVENTS))) }
    };
    html! {
        section aria-labelledby="latest" {
            h2 id="latest" { "What happened to it" }
            (canvas.block("latest-lines", "", &lines))
        }
    }
}
