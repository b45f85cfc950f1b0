//! One service with all of its real servers.

use std::net::SocketAddr;

use axum::{response::Response, routing::get};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::Asked,
        frame::Area,
        live::Snapshot,
        part::{Canvas, follow, section},
        problem::Problem,
        role::Role,
        router::Page,
        visit::Visit,
        words,
    },
    control::{asof, charts, pager, row_id, service_path},
    events, explain, server,
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
        let drawn = visit.clone();
        return Ok(follow(visit, &shape, move |canvas, now| {
            draw(canvas, now, &drawn, key, page)
        }));
    }
    let now = visit.app.live.now().await;
    let service = find(&now, key);
    let title = match (service, &now.report) {
        (Some(service), _) => service.name.clone(),
        (None, None) => key.to_string(),
        (None, Some(_)) => return Err(Problem::missing(format!("there is no service {key}"))),
    };
    let body = html! {
        p class="crumbs" { a href="/control" { "Control/Monitoring" } " / " span class="mono" { (key) } " · " a href=(explain::path_for(key)) { "Explain a packet" } }
        (section(&path(key, page), &now, |canvas, now| draw(canvas, now, &visit, key, page)))
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

fn draw(canvas: &Canvas, now: &Snapshot, visit: &Visit, key: ServiceId, page: usize) -> Markup {
    html! {
        (asof(canvas, now))
        @match find(now, key) {
            None => p class="empty card" { "There is no service " (key) " any more. " a href="/control" { "All services" } "." },
            Some(service) => {
                (charts(canvas, visit, Some(key)))
                (table(canvas, now, visit, service, page))
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

fn table(
    canvas: &Canvas,
    now: &Snapshot,
    visit: &Visit,
    service: &ServiceStatus,
    page: usize,
) -> Markup {
    let pages = service.servers.len().div_ceil(SERVERS).max(1);
    let page = page.min(pages);
    let shown = service
        .servers
        .iter()
        .skip((page - 1) * SERVERS)
        .take(SERVERS);
    let back = path(service.service, page);
    html! {
        section aria-labelledby="servers" {
            h2 id="servers" { "Real servers" }
            @if service.servers.is_empty() {
                p class="empty card" { "This service has no real servers. " a href="/virtual" { "Add one" } "." }
            } @else {
                div class="scroll" tabindex="0" role="region" aria-labelledby="servers" {
                    table id="table" {
                        thead { tr {
                            th scope="col" { "Real server" }
                            th scope="col" { "State" }
                            th scope="col" class="number" { "Weight" }
                            th scope="col" class="number" { "Active" }
                            th scope="col" class="number" { "Inactive" }
                            th scope="col" class="number" { "New/s" }
                            th scope="col" class="number" { "In" }
                            th scope="col" class="number" { "Out" }
                            th scope="col" class="number" { "Checks" }
                            th scope="col" { "Last failed check" }
                            @if visit.may(Role::Operator) { th scope="col" { span class="hidden" { "Actions" } } }
                        } }
                        tbody {
                            @for server in shown { (row(canvas, now, visit, service, server, &back)) }
                        }
                    }
                }
                (pager(pages, page, |page| path(service.service, page)))
            }
        }
    }
}

fn row(
    canvas: &Canvas,
    now: &Snapshot,
    visit: &Visit,
    service: &ServiceStatus,
    server: &ServerStatus,
    back: &str,
) -> Markup {
    let socket = SocketAddr::new(server.address, server.port);
    let id = row_id(service.service, Some(socket));
    let rates = now.rates.of(&(service.service, Some(socket)));
    let verbs = [Verb::Drain, Verb::Up, Verb::Down, Verb::Auto];
    let deadline = html! {
        input type="number" name="deadline" min="0" max="86400" class="seconds" placeholder="s"
            title="How long it may take to drain, in seconds; as lvs.cf says if it is empty"
            aria-label={ "Seconds that " (server.name) " may take to drain" };
    };
    let part = |name: &str| format!("{id}-{name}");
    html! {
        tr id=(id) {
            th scope="row" {
                (server.name) br; span class="mono soft" { (socket) } " "
                small class="soft" { (server.forwarding.method()) }
            }
            (canvas.cell(&part("state"), "", &server::state(server)))
            (canvas.cell(&part("weight"), "number", &server::weight(server)))
            (canvas.cell(&part("active"), "number", &words::count(server.active.into())))
            (canvas.cell(&part("inactive"), "number", &words::count(server.inactive.into())))
            (canvas.cell(&part("new"), "number", &words::rate(rates.map(|rates| rates.connections))))
            (canvas.cell(&part("in"), "number", &words::byte_rate(rates.map(|rates| rates.bytes_in))))
            (canvas.cell(&part("out"), "number", &words::byte_rate(rates.map(|rates| rates.bytes_out))))
            (canvas.cell(&part("checks"), "number", &words::count(server.checks)))
            (canvas.cell(&part("error"), "wrap", &failure(server)))
            @if visit.may(Role::Operator) {
                td class="actions" { (server::buttons(visit, service, server, back, &verbs, Some(&deadline))) }
            }
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
