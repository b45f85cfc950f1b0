//! Control/Monitoring: the start.

use axum::{response::Response, routing::get};
use maud::html;

use super::super::{frame::Area, problem::Problem, router::Page, visit::Visit};
use crate::control::client;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/", get(start)), Page::new("/control", get(show))]
}

async fn start(visit: Visit) -> Response {
    visit.go("/control")
}

async fn show(visit: Visit) -> Result<Response, Problem> {
    let report = client::status(&visit.app.socket).await;
    let report = report.map_err(|error| Problem::daemon(&error))?;
    let body = html! {
        p { "This node is " (report.role.word()) "." }
    };
    Ok(visit.page(Area::Control, "Control/Monitoring", &body))
}
