//! Global Settings and Redundancy.

use axum::{response::Response, routing::get};
use maud::{Markup, html};

use super::{
    super::{
        form::Form,
        frame::Area,
        problem::Problem,
        role::Role,
        router::Page,
        sheet::{GLOBAL, REDUNDANCY, Said, Sheet, Wrong, edits, try_edits},
        visit::Visit,
    },
    desk::{Desk, stale},
    fields::{Sent, fields, sent, summary},
};
use crate::config::edit::{DirectivePath, Edit, Place};

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![
        Page::new("/global", get(global).post(accept_global)),
        Page::new("/redundancy", get(redundancy).post(accept_redundancy)),
    ]
}

async fn global(visit: Visit) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    Ok(show(&visit, Area::Global, &desk, None, &Wrong::default()))
}

async fn redundancy(visit: Visit) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    Ok(show(
        &visit,
        Area::Redundancy,
        &desk,
        None,
        &Wrong::default(),
    ))
}

async fn accept_global(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    accept(visit, Area::Global, form).await
}

async fn accept_redundancy(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    accept(visit, Area::Redundancy, form).await
}

fn sheet(area: Area) -> &'static Sheet {
    match area == Area::Redundancy {
        true => &REDUNDANCY,
        false => &GLOBAL,
    }
}

fn show(visit: &Visit, area: Area, desk: &Desk, form: Option<&Sent>, wrong: &Wrong) -> Response {
    let document = desk.document();
    let Some(said) = Said::at(&document, &Place::Global) else {
        return visit.go("/config");
    };
    let may = visit.may(Role::Admin);
    let is_redundant = area == Area::Redundancy;
    let is_active = said.get("backup_active") == Some("1");
    let body = html! {
        (desk.bar(visit))
        (summary(sheet(area), wrong))
        @if is_redundant { (backup(is_active)) }
        form method="post" action=(area.path()) class="sheet" {
            (desk.hidden(visit, None))
            fieldset class="all" disabled[!may] {
                (fields(sheet(area), &said, form, wrong))
                @if may {
                    p class="buttons" {
                        button type="submit" class="main" name="do" value="accept" { "Accept" }
                        @if is_redundant && is_active {
                            button type="submit" name="do" value="disable" class="quiet" { "Disable" }
                            button type="submit" name="do" value="reset" class="quiet" { "Reset" }
                        } @else if is_redundant {
                            button type="submit" name="do" value="enable" class="quiet" { "Enable" }
                        }
                    }
                }
            }
        }
    };
    visit.page(area, area.name(), &body)
}

fn backup(is_active: bool) -> Markup {
    html! {
        p { "Backup: " strong class=(if is_active { "state good" } else { "state" }) id="backup" {
            (if is_active { "active" } else { "inactive" })
        } }
    }
}

/// What RESET takes back, as in Piranha: the addresses, the times and the port of the heartbeat.
const RESET: [&str; 5] = [
    "backup",
    "backup_private",
    "keepalive",
    "deadtime",
    "heartbeat_port",
];

async fn accept(visit: Visit, area: Area, form: Sent) -> Result<Response, Problem> {
    let mut desk = Desk::open(&visit).await?;
    if !desk.is_of(sent(&form, "state").unwrap_or_default()) {
        return Ok(stale(&visit, area.path()));
    }
    let document = desk.document();
    let Some(said) = Said::at(&document, &Place::Global) else {
        return Ok(stale(&visit, area.path()));
    };
    let set = |directive: &'static str, value: &str| {
        let path = DirectivePath {
            place: Place::Global,
            directive: directive.to_owned(),
        };
        let value = value.into();
        (directive, Edit::Set { path, value })
    };
    let wishes = match sent(&form, "do") {
        Some("enable") => Ok(vec![set("backup_active", "1")]),
        Some("disable") => Ok(vec![set("backup_active", "0")]),
        Some("reset") => Ok(RESET
            .into_iter()
            .filter(|directive| said.says(directive))
            .map(|directive| {
                let path = DirectivePath {
                    place: Place::Global,
                    directive: directive.to_owned(),
                };
                (directive, Edit::Unset { path })
            })
            .collect()),
        Some(_) | None => edits(sheet(area), &Place::Global, &said, &form),
    };
    let tried = wishes.and_then(|wishes| {
        try_edits(&mut desk.draft, &Place::Global, &wishes)?;
        Ok(wishes.len())
    });
    match tried {
        Ok(_) => {
            desk.keep(&visit);
            Ok(visit.go(area.path()))
        }
        Err(wrong) => Ok(show(&visit, area, &desk, Some(&form), &wrong)),
    }
}
