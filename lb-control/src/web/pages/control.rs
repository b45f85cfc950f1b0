//! Control/Monitoring: the part of this node and of its partner, how much there is, and the routing table.

use axum::{
    response::{IntoResponse as _, Response},
    routing::get,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        chart::{Line, Unit, chart},
        form::{Asked, Field, encoded},
        frame::Area,
        history::Sample,
        live::{Live, Snapshot},
        part::{Canvas, follow, section},
        problem::sentence,
        role::Role,
        router::Page,
        visit::Visit,
        words,
    },
    events,
    routing::{self, count, row_id, socket},
    server,
};
use crate::{
    model::ServiceId,
    status::{
        ServerState, ServerStatus, ServiceStatus, StatusReport, columns::Tone,
        connections::SyncStatus, pair::PairStatus,
    },
    watch::{rates::Counts, rows},
};

/// So many lines of the table stand on a page; a service is not torn apart.
const LINES: usize = 120;

/// So many real servers of each; the page of the service has all of them.
const SERVERS: usize = 20;

/// So many of the last events.
const EVENTS: usize = 8;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/", get(start)), Page::new("/control", get(show))]
}

async fn start(visit: Visit) -> Response {
    visit.go("/control")
}

/// Which part of the table is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
struct View {
    /// Services with this text in them or in one of their servers.
    #[serde(default)]
    q: String,
    #[serde(default)]
    show: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    page: Option<String>,
    follow: Option<String>,
}

impl View {
    /// From 1 on.
    fn page(&self) -> usize {
        let page = self.page.as_deref().and_then(|page| page.parse().ok());
        page.unwrap_or(1).max(1)
    }

    fn path(&self, page: usize) -> String {
        let Self { q, show, sort, .. } = self;
        let mut words = Vec::new();
        for (name, value) in [("q", q), ("show", show), ("sort", sort)] {
            if !value.is_empty() {
                words.push(format!("{name}={}", encoded(value)));
            }
        }
        if page > 1 {
            words.push(format!("page={page}"));
        }
        match words.is_empty() {
            true => "/control".to_owned(),
            false => format!("/control?{}", words.join("&")),
        }
    }
}

async fn show(visit: Visit, Asked(view): Asked<View>) -> Response {
    if let Some(shape) = view.follow.clone() {
        let (path, app) = (view.path(view.page()), visit.app.clone());
        return follow(visit, &shape, path, move |canvas, now| {
            draw(canvas, now, &app.live, &view)
        });
    }
    let now = visit.app.live.now().await;
    let path = view.path(view.page());
    let live = section(&visit, &path, &now, |canvas, now| {
        draw(canvas, now, &visit.app.live, &view)
    });
    let body = html! { (server::orders(&visit, &path, &html! {})) (live) };
    visit
        .page(Area::Control, "Control/Monitoring", &body)
        .into_response()
}

fn draw(canvas: &Canvas, now: &Snapshot, live: &Live, view: &View) -> Markup {
    html! {
        (asof(canvas, now))
        @match &now.report {
            None => p class="empty" { "Nothing is known of this node until its daemon answers." },
            Some(report) => {
                (tiles(canvas, now, report))
                (charts(canvas, live, None))
                (table(canvas, now, report, view))
                (latest(canvas, now))
            }
        }
    }
}

/// When this was so, and whether it still is.
pub(super) fn asof(canvas: &Canvas, now: &Snapshot) -> Markup {
    let gone = html! {
        @if let Some(why) = &now.gone {
            p class="notice failed" {
                strong { "The daemon does not answer: " } (sentence(why))
                @if now.report.is_some() { " What stands below was so at " (words::clock(now.at)) " UTC." }
            }
        }
    };
    html! {
        p class="asof" {
            span class="live" id="pulse" { "as of " }
            (canvas.span("asof", &words::clock(now.at))) " UTC"
        }
        (canvas.block("gone", "", &gone))
    }
}

fn tiles(canvas: &Canvas, now: &Snapshot, report: &StatusReport) -> Markup {
    let sum = now.rates.sum();
    let servers = || report.services.iter().flat_map(|service| &service.servers);
    let active: u64 = servers().map(|server| u64::from(server.active)).sum();
    let inactive: u64 = servers().map(|server| u64::from(server.inactive)).sum();
    let troubled: usize = report.services.iter().map(rows::troubled).sum();
    let flows = u64::from(report.flows.ipv4.max(report.flows.ipv6));
    let full = flows * 100 / u64::from(report.flows.capacity.max(1));
    let drops: u64 = now.drops.values().sum();
    let (partner, partner_more) = partner(report.pair.as_ref());
    let (sync, sync_more) = sync(report.sync.as_ref());
    html! {
        dl class="tiles" {
            (tile(canvas, "role", "This node", &words::role(report.role), &node(report.pair.as_ref())))
            (tile(canvas, "partner", "Partner", &partner, &html! {
                (partner_more)
                @if report.pair.is_some() && canvas.may(Role::Admin) { " " a href="/failover" { "Fail over…" } }
            }))
            (tile(canvas, "sync", "Connection sync", &sync, &sync_more))
            (tile(canvas, "servers", "Real servers", &html! {
                @match troubled {
                    0 => (words::badge(Tone::Good, "●", "all well")),
                    _ => (words::badge(Tone::Bad, "✕", &format!("{troubled} in trouble"))),
                }
            }, &html! { (servers().count()) " in " (words::counted(report.services.len(), "service", "services")) }))
            (tile(canvas, "active", "Connections", &words::count(active), &html! {
                (words::count(inactive)) " inactive, "
                (words::rate(sum.map(|sum| sum.connections))) " new/s"
            }))
            (tile(canvas, "traffic", "Traffic in", &words::byte_rate(sum.map(|sum| sum.bytes_in)), &html! {
                "out " (words::byte_rate(sum.map(|sum| sum.bytes_out)))
            }))
            (tile(canvas, "flows", "Flow table", &format!("{full} %"), &html! {
                (words::count(flows)) " of " (words::count(u64::from(report.flows.capacity)))
            }))
            (tile(canvas, "drops", "Not steered", &html! { (words::count(drops)) "/s" }, &html! {
                a href="/drops" { "Why" }
            }))
        }
    }
}

fn tile(canvas: &Canvas, id: &str, name: &str, value: &impl maud::Render, more: &Markup) -> Markup {
    let id = format!("tile-{id}");
    html! {
        div class="tile" {
            dt { (name) }
            dd id=(id) { (canvas.part(&id, value)) }
            @let id = format!("{id}-more");
            dd id=(id) { (canvas.part(&id, more)) }
        }
    }
}

fn node(pair: Option<&PairStatus>) -> Markup {
    html! {
        @match pair {
            None => "alone, without a partner",
            Some(pair) => {
                (pair.node)
                @if let Some(why) = &pair.unfit { ", cannot become active: " (why) }
                @if let Some(lease) = pair.lease_ms { ", lease " (lease / 100 * 100) " ms" }
            }
        }
    }
}

fn partner(pair: Option<&PairStatus>) -> (Markup, Markup) {
    let Some(pair) = pair else {
        let none = words::badge(Tone::Faint, "–", "none");
        return (none, html! { "no " code { "backup" } " in lvs.cf" });
    };
    let Some(partner) = &pair.partner else {
        let silent = words::badge(Tone::Bad, "✕", "not heard");
        return (silent, html! { "for " (pair.deadtime_ms) " ms or more" });
    };
    let tone = match (partner.fit, partner.hears) {
        (true, true) => Tone::Good,
        (true, false) | (false, _) => Tone::Between,
    };
    let shape = if partner.role == "active" {
        "▲"
    } else {
        "△"
    };
    let more = html! {
        @if !partner.fit { "not able to take over " }
        @if !partner.hears { "does not hear this node " }
        @match pair.same_config {
            Some(false) => "has another lvs.cf",
            Some(true) => "has the same lvs.cf",
            None => "heard",
        }
    };
    (words::badge(tone, shape, &partner.role), more)
}

fn sync(sync: Option<&SyncStatus>) -> (Markup, Markup) {
    let Some(sync) = sync else {
        let off = words::badge(Tone::Faint, "–", "off");
        return (off, html! { "a failover ends connections" });
    };
    let badge = match (sync.partner, sync.in_sync) {
        (false, _) => words::badge(Tone::Bad, "✕", "partner not heard"),
        (true, true) => words::badge(Tone::Good, "●", "in sync"),
        (true, false) => words::badge(Tone::Between, "◑", "not complete"),
    };
    let more = match sync.tells {
        true => {
            html! { (words::count(sync.unsynced)) " not told yet, " (sync.lag_ms) " ms behind" }
        }
        false => html! { (words::count(sync.heard)) " heard" },
    };
    (badge, more)
}

/// Traffic and connections of the last hour, of a service or of all.
pub(super) fn charts(canvas: &Canvas, live: &Live, service: Option<ServiceId>) -> Markup {
    let samples = live.history(|history| history.of(service));
    let line = |name, value: fn(&Sample) -> f32| Line {
        name,
        values: samples.iter().map(value).collect(),
    };
    let traffic = [
        line("in", |sample| sample.bytes_in),
        line("out", |sample| sample.bytes_out),
    ];
    let active = [line("active", |sample| sample.active)];
    let new = [line("per second", |sample| sample.connections)];
    html! {
        section class="columns" aria-label="How much there was" {
            (canvas.block("chart-traffic", "card", &chart("Throughput", Unit::Bytes, &traffic)))
            (canvas.block("chart-active", "card", &chart("Connections", Unit::Count, &active)))
            (canvas.block("chart-new", "card", &chart("New connections", Unit::Count, &new)))
        }
    }
}

fn table(canvas: &Canvas, now: &Snapshot, report: &StatusReport, view: &View) -> Markup {
    let found = find(report, now, view);
    let pages = in_pages(&found);
    let page = view.page().min(pages.len().max(1));
    let shown = pages.get(page - 1).copied().unwrap_or_default();
    let pages = pages.len();
    html! {
        section aria-labelledby="routing" {
            div class="headed" {
                h2 id="routing" { "Current LVS routing table" }
                (canvas.span("found", &html! {
                    @match (found.len(), report.services.len()) {
                        (found, all) if found == all => (words::counted(all, "service", "services")),
                        (found, all) => { (found) " of " (words::counted(all, "service", "services")) },
                    }
                }))
            }
            (filter(view))
            @if report.services.is_empty() {
                p class="empty card" { "There are no services yet. " a href="/virtual" { "Add a virtual server" } "." }
            } @else if shown.is_empty() {
                p class="empty card" { "No service is like that. " a href="/control" { "Show all" } "." }
            } @else {
                div class="scroll" tabindex="0" role="region" aria-labelledby="routing" {
                    table id="table" {
                        (routing::head(canvas, "Service and real servers", &[]))
                        tbody {
                            @for service in shown { (service_rows(canvas, now, service)) }
                        }
                    }
                }
                (pager(pages, page, |page| view.path(page)))
            }
        }
    }
}

/// As many services on each page as have room there.
fn in_pages<'a, 'b>(found: &'b [&'a ServiceStatus]) -> Vec<&'b [&'a ServiceStatus]> {
    let mut pages = Vec::new();
    let (mut first, mut lines) = (0, 0);
    for (place, service) in found.iter().enumerate() {
        // Its own line, those of its servers, and perhaps one that tells how many more there are.
        let own = 1 + service.servers.len().min(SERVERS + 1);
        if place > first && lines + own > LINES {
            pages.push(&found[first..place]);
            (first, lines) = (place, 0);
        }
        lines += own;
    }
    if first < found.len() {
        pages.push(&found[first..]);
    }
    pages
}

/// The services that are asked for, in the order that is asked for.
fn find<'a>(report: &'a StatusReport, now: &Snapshot, view: &View) -> Vec<&'a ServiceStatus> {
    let text = view.q.trim().to_lowercase();
    let mut found: Vec<_> = report
        .services
        .iter()
        .filter(|service| text.is_empty() || rows::has(service, &text))
        .filter(|service| view.show != "trouble" || rows::troubled(service) > 0)
        .collect();
    let rate = |service: &ServiceStatus| now.rates.of(&(service.service, None)).unwrap_or_default();
    let active = |service: &ServiceStatus| {
        let servers = service.servers.iter();
        servers.map(|server| u64::from(server.active)).sum::<u64>()
    };
    use std::cmp::Reverse;
    match view.sort.as_str() {
        "name" => found.sort_by_cached_key(|service| service.name.to_lowercase()),
        "active" => found.sort_by_cached_key(|service| Reverse(active(service))),
        "new" => found.sort_by_cached_key(|service| Reverse(rate(service).connections)),
        "traffic" => found.sort_by_cached_key(|service| {
            let Counts {
                bytes_in,
                bytes_out,
                ..
            } = rate(service);
            Reverse(bytes_in.saturating_add(bytes_out))
        }),
        "trouble" => found.sort_by_cached_key(|service| Reverse(rows::troubled(service))),
        _ => {}
    }
    found
}

fn filter(view: &View) -> Markup {
    let shows = [("", "All"), ("trouble", "Only with trouble")];
    let sorts = [
        ("", "As in lvs.cf"),
        ("name", "By name"),
        ("trouble", "Trouble first"),
        ("active", "Most active first"),
        ("new", "Most new connections first"),
        ("traffic", "Most traffic first"),
    ];
    html! {
        form class="inline" id="filter" method="get" action="/control" role="search" data-auto {
            div class="field grow" {
                label for="f-q" { "Search" }
                input id="f-q" name="q" type="search" value=(view.q) placeholder="Name, address or state";
            }
            (Field::new("show", "Show").value(&view.show).choice(&shows))
            (Field::new("sort", "Order").value(&view.sort).choice(&sorts))
            button type="submit" { "Show" }
        }
    }
}

/// Other pages of the same.
pub(super) fn pager(pages: usize, page: usize, path: impl Fn(usize) -> String) -> Markup {
    html! {
        @if pages > 1 {
            nav class="pages" aria-label="Pages" {
                @if page > 1 { a class="button" rel="prev" href=(path(page - 1)) { "← Previous" } }
                span { "Page " (page) " of " (pages) }
                @if page < pages { a class="button" rel="next" href=(path(page + 1)) { "Next →" } }
            }
        }
    }
}

/// The address of the page of a service.
pub(super) fn service_path(service: ServiceId) -> String {
    format!("/service?id={}", encoded(&service.to_string()))
}

fn service_rows(canvas: &Canvas, now: &Snapshot, service: &ServiceStatus) -> Markup {
    let key = service.service;
    let id = row_id(key, None);
    let sum = |value: fn(&ServerStatus) -> u32| {
        let servers = service.servers.iter();
        servers.map(|server| u64::from(value(server))).sum::<u64>()
    };
    let is_up = |server: &&ServerStatus| server.state == ServerState::Up;
    let up = service.servers.iter().filter(is_up).count();
    let [new, bytes_in, bytes_out] = routing::rates(now, &(key, None));
    let cells = [
        ("", well(service, up)),
        ("", html! {}),
        count(sum(|server| server.active)),
        count(sum(|server| server.inactive)),
        new,
        bytes_in,
        bytes_out,
    ];
    let more = service.servers.len().saturating_sub(SERVERS);
    html! {
        tr class="service" id=(id) {
            th scope="rowgroup" {
                a href=(service_path(key)) { (service.name) } " "
                span class="mono soft" { (key) } " "
                small class="soft" { (service.scheduler) " · " (service.method) }
            }
            (canvas.cells(&id, &cells))
            @if canvas.may(Role::Operator) { td {} }
        }
        @for server in service.servers.iter().take(SERVERS) { (server_row(canvas, now, service, server)) }
        @if more > 0 {
            tr class="server" { td colspan="9" { a href=(service_path(key)) { "and " (more) " more" } } }
        }
    }
}

fn well(service: &ServiceStatus, up: usize) -> Markup {
    let all = service.servers.len();
    let is_sorry = service.sorry.as_ref().is_some_and(|sorry| sorry.active);
    let tone = match up {
        _ if is_sorry => Tone::Between,
        0 => Tone::Bad,
        up if up == all => Tone::Good,
        _ => Tone::Between,
    };
    let shape = match tone {
        Tone::Good => "●",
        Tone::Bad => "✕",
        Tone::Between | Tone::Faint => "◑",
    };
    let text = match is_sorry {
        true => "sorry server".to_owned(),
        false => format!("{up} of {all}"),
    };
    words::badge(tone, shape, &text)
}

fn server_row(
    canvas: &Canvas,
    now: &Snapshot,
    service: &ServiceStatus,
    server: &ServerStatus,
) -> Markup {
    let socket = socket(server);
    let id = row_id(service.service, Some(socket));
    let mut cells = routing::cells(now, service, server);
    if canvas.may(Role::Operator) {
        cells.push(("actions", server::actions(service, server)));
    }
    html! {
        tr class="server" id=(id) {
            th scope="row" { (server.name) " " span class="mono soft" { (socket) } }
            (canvas.cells(&id, &cells))
        }
        @if let Some(trouble) = server::trouble(server) {
            tr class="note" { td colspan="9" id={ (id) "-note" } { (canvas.part(&format!("{id}-note"), &trouble)) } }
        }
    }
}

fn latest(canvas: &Canvas, now: &Snapshot) -> Markup {
    let lines = html! {
        @if now.events.is_empty() { p class="empty" { "Nothing has happened since the daemon started." } }
        @else { (events::lines(now.events.iter().rev().take(EVENTS))) }
    };
    html! {
        section aria-labelledby="latest" {
            div class="headed" {
                h2 id="latest" { "What happened last" }
                a href="/events" { "All events" }
            }
            (canvas.block("latest-lines", "", &lines))
        }
    }
}
