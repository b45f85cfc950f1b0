//! Handing over to the partner, after a look at what that means.

use axum::{response::Response, routing::get};
use maud::html;

use super::super::{frame::Area, problem::Problem, role::Role, router::Page, visit::Visit, words};
use crate::{
    control::{client, request::Failover},
    status::Role as Part,
};

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/failover", get(show).post(hand_over)).read_by(Role::Admin)]
}

async fn show(visit: Visit) -> Result<Response, Problem> {
    let now = visit.app.live.now().await;
    let Some(report) = &now.report else {
        let why = now.gone.clone().unwrap_or_default();
        return Err(Problem::daemon(&anyhow::anyhow!(why)));
    };
    let pair = report.pair.as_ref();
    let partner = pair.and_then(|pair| pair.partner.as_ref());
    let is_able = report.role == Part::Active && partner.is_some_and(|partner| partner.fit);
    let keeps = report.sync.as_ref().is_some_and(|sync| sync.in_sync);
    let body = html! {
        section class="card" {
            dl class="facts" {
                dt { "This node" } dd { (words::role(report.role)) }
                dt { "Partner" }
                dd {
                    @match (pair, partner) {
                        (None, _) => "there is none",
                        (Some(_), None) => "it is not heard",
                        (Some(_), Some(partner)) => {
                            (partner.role) ", heard " (partner.heard_ms_ago) " ms ago, "
                            @if partner.fit { "able to take over" } @else { "not able to take over" }
                        }
                    }
                }
                dt { "lvs.cf" }
                dd {
                    @match pair.and_then(|pair| pair.same_config) {
                        Some(true) => "the same on both",
                        Some(false) => "not the same on both: the partner will serve what its own file says",
                        None => "it is not known whether both are the same",
                    }
                }
                dt { "Connections" }
                dd {
                    @if keeps { "the partner knows them, they go on" }
                    @else { "the partner does not know all of them; those that it does not know end" }
                }
            }
        }
        @if is_able {
            form method="post" action="/failover" id="failover" {
                (visit.token())
                p { "The partner becomes active and takes the virtual addresses over; this node goes on standby." }
                div class="buttons" {
                    button type="submit" class="danger" { "Fail over now" }
                    a class="button" href="/control" { "Cancel" }
                }
            }
        } @else {
            p class="notice warn" { "Nothing can be handed over now: this node has to be active, and its partner heard and able to take over." }
            p { a class="button" href="/control" { "Back" } }
        }
    };
    Ok(visit.page(Area::Redundancy, "Fail over to the partner", &body))
}

async fn hand_over(visit: Visit) -> Response {
    let asked = Failover::default();
    match client::failover(visit.daemon(), &asked).await {
        Ok(text) => visit.done("fail over", Ok(&text)),
        Err(error) => visit.done("fail over", Err(&format!("{error:#}"))),
    }
    visit.app.live.refresh().await;
    visit.go("/control")
}
