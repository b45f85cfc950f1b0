//! Packets that were not steered, and why.

use axum::{response::Response, routing::get};
use lb_common::verdict::Reason;
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::Asked,
        frame::Area,
        live::Snapshot,
        part::{Canvas, follow, section},
        router::Page,
        visit::Visit,
        words,
    },
    control::asof,
};
use crate::status::{StatusReport, columns::Tone};

const PATH: &str = "/drops";

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new(PATH, get(show))]
}

#[derive(Debug, Deserialize)]
struct View {
    follow: Option<String>,
}

async fn show(visit: Visit, Asked(view): Asked<View>) -> Response {
    if let Some(shape) = view.follow {
        return follow(visit, &shape, PATH.to_owned(), draw);
    }
    let now = visit.app.live.now().await;
    let body = html! {
        (tabs(PATH))
        (section(&visit, PATH, &now, draw))
    };
    visit.page(Area::Drops, "Packets that were not steered", &body)
}

fn draw(canvas: &Canvas, now: &Snapshot) -> Markup {
    html! {
        (asof(canvas, now))
        @if let Some(report) = &now.report {
            (reasons(canvas, now, report))
            (interfaces(canvas, report))
        }
    }
}

fn reasons(canvas: &Canvas, now: &Snapshot, report: &StatusReport) -> Markup {
    html! {
        @if report.unsteered.is_empty() {
            p class="empty card" { "Every packet so far was steered, or was not ours." }
        } @else {
            div class="scroll" tabindex="0" role="region" aria-label="Reasons" {
                table id="reasons" {
                    thead { tr {
                        th scope="col" { "Reason" }
                        th scope="col" { "Fate" }
                        th scope="col" class="number" { "Packets" }
                        th scope="col" class="number" { "Per second" }
                        th scope="col" { "What it means" }
                    } }
                    tbody {
                        @for count in &report.unsteered {
                            @let id = format!("reason-{}", count.reason);
                            @let rate = now.drops.get(&count.reason).copied();
                            tr id=(id) {
                                th scope="row" { (count.reason) }
                                td { (fate(&count.fate)) }
                                (canvas.cell(&format!("{id}-packets"), "number", &count.packets))
                                (canvas.cell(&format!("{id}-rate"), "number", &words::rate(rate)))
                                td class="wrap soft" { (meaning(&count.reason)) }
                            }
                        }
                    }
                }
            }
        }
        @if !report.events.is_empty() {
            h2 { "What else happened in the data plane" }
            div class="scroll" tabindex="0" role="region" aria-label="What else happened" {
                table id="happened" {
                    thead { tr { th scope="col" { "What" } th scope="col" class="number" { "How often" } } }
                    tbody {
                        @for count in &report.events {
                            tr {
                                th scope="row" { (count.event) }
                                (canvas.cell(&format!("happened-{}", count.event), "number", &count.count))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn fate(fate: &str) -> Markup {
    match fate {
        "drop" => words::badge(Tone::Bad, "✕", "dropped"),
        "answer" => words::badge(Tone::Between, "↩", "answered"),
        "pass" => words::badge(Tone::Faint, "↑", "to the kernel"),
        other => words::badge(Tone::Faint, "?", other),
    }
}

/// What a reason means, if this program knows it.
fn meaning(reason: &str) -> &'static str {
    let known = Reason::ALL.iter().find(|known| known.name() == reason);
    known.map_or("", |known| known.meaning())
}

fn interfaces(canvas: &Canvas, report: &StatusReport) -> Markup {
    html! {
        h2 { "Interfaces" }
        @if report.interfaces.is_empty() {
            p class="empty card" { "The program is on no interface." }
        } @else {
            div class="scroll" tabindex="0" role="region" aria-label="Interfaces" {
                table id="interfaces" {
                    thead { tr {
                        th scope="col" { "Interface" }
                        th scope="col" { "XDP" }
                        th scope="col" class="number" { "Packets in" }
                        th scope="col" class="number" { "Bytes in" }
                        th scope="col" class="number" { "Steered" }
                        th scope="col" class="number" { "To the kernel" }
                        th scope="col" class="number" { "Dropped" }
                    } }
                    tbody {
                        @for one in &report.interfaces {
                            @let id = format!("interface-{}", one.index);
                            tr {
                                th scope="row" { (one.name) }
                                td { (one.mode) }
                                (canvas.cell(&format!("{id}-packets"), "number", &words::count(one.packets)))
                                (canvas.cell(&format!("{id}-bytes"), "number", &words::bytes(one.bytes)))
                                (canvas.cell(&format!("{id}-steered"), "number", &words::count(one.steered)))
                                (canvas.cell(&format!("{id}-passed"), "number", &words::count(one.passed)))
                                (canvas.cell(&format!("{id}-dropped"), "number", &words::count(one.dropped)))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The pages about single packets.
pub(super) fn tabs(here: &str) -> Markup {
    words::tabs(
        "Pages about packets",
        here,
        &[("/drops", "Not steered"), ("/explain", "Explain a packet")],
    )
}
