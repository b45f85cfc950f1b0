//! What would become different, in lvs.cf and in the table that runs; and then it does.

use axum::{response::Response, routing::get};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::Form,
        frame::Area,
        problem::{Problem, sentence},
        role::Role,
        router::Page,
        session::Notice,
        visit::Visit,
    },
    config::tabs,
    desk::{Desk, stale},
    text::{difference, said, table},
};
use crate::{
    config::store::Fingerprint,
    control::{
        client::{self, NotReplaced},
        configuration::{Examined, Replacement, Stage, Step},
    },
};

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/config/apply", get(show).post(apply))]
}

async fn show(visit: Visit) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    let examined = client::check_config(&visit.app.socket, desk.draft.text()).await;
    let Examined { report, comparison } = examined.map_err(|error| Problem::daemon(&error))?;
    let in_file = difference(desk.draft.base(), &desk.draft.text().text);
    let is_ready = report.ok && desk.apart.is_none();
    let body = html! {
        (desk.bar(&visit))
        (tabs("/config/apply"))
        (said(&report.diagnostics))
        h2 { "In lvs.cf" }
        @match &in_file {
            Some(diff) => (diff),
            None => p class="empty" { "Nothing would be different in " (desk.current.path) "." },
        }
        h2 { "In the table that runs" }
        @match &comparison {
            Some(comparison) => {
                (table(&comparison.reload, "Nothing would be different in the table."))
                @if !comparison.commands.is_empty() {
                    details {
                        summary { (comparison.commands.len()) " changes by command stay in force" }
                        (table(&comparison.commands, ""))
                    }
                }
            }
            None => p class="empty" { "The text has errors, so it cannot be applied." },
        }
        @if visit.may(Role::Admin) && is_ready { (buttons(&visit, &desk)) }
        @if !is_ready && visit.may(Role::Admin) {
            p { a class="button" href=(if desk.apart.is_some() { "/config/apart" } else { "/config" }) { "Mend it" } }
        }
    };
    Ok(visit.page(Area::Config, "Differences and apply", &body))
}

fn buttons(visit: &Visit, desk: &Desk) -> Markup {
    html! {
        form method="post" action="/config/apply" class="card" id="apply" {
            (desk.hidden(visit, None))
            input type="hidden" name="version" value=(desk.draft.version());
            p { "The file is written, what it was is kept in the history, and the daemon reads it." }
            p class="buttons" {
                button type="submit" class="main" name="do" value="apply" { "Apply" }
                button type="submit" name="do" value="write" class="quiet" { "Write only, do not reload" }
            }
        }
    }
}

/// What somebody has seen and wants.
#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    /// The draft that he saw.
    state: String,
    /// The version of lvs.cf that he saw it compared with.
    version: String,
    /// What is to be done.
    #[serde(rename = "do", default)]
    what: String,
}

async fn apply(visit: Visit, Form(wish): Form<Wish>) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    if desk.apart.is_some() {
        return Ok(visit.go("/config/apart"));
    }
    if !desk.is_of(&wish.state) || desk.draft.version().to_string() != wish.version {
        return Ok(stale(&visit, "/config/apply"));
    }
    let replacement = Replacement {
        text: desk.draft.text().clone(),
        based_on: desk.draft.version().clone(),
        reload: wish.what != "write",
        discard: false,
    };
    let what = "apply lvs.cf";
    let replaced = match client::replace_config(visit.daemon(), &replacement).await {
        Ok(Ok(replaced)) => replaced,
        Ok(Err(NotReplaced::Outdated(outdated))) => {
            visit.done(what, Err(&outdated.text));
            return Ok(visit.go("/config/apply"));
        }
        Ok(Err(NotReplaced::Errors(report))) => {
            let first = report.diagnostics.first().map_or("", |one| &one.message);
            visit.done(what, Err(&format!("the text has errors: {first}")));
            return Ok(visit.go("/config"));
        }
        Err(error) => {
            visit.done(what, Err(&format!("{error:#}")));
            return Ok(visit.go("/config/apply"));
        }
    };
    tell(
        &visit,
        what,
        &replaced.steps,
        &desk.draft.version().clone(),
        &replaced.version,
    );
    Ok(visit.go("/config/apply"))
}

/// Each step and what became of it: on the next page, and all of them in the audit log.
pub(super) fn tell(
    visit: &Visit,
    what: &str,
    steps: &[Step],
    from: &Fingerprint,
    to: &Fingerprint,
) {
    for Step { step, done, text } in steps {
        let word = match step {
            Stage::Check => "check",
            Stage::Write => "write",
            Stage::Reload => "reload",
        };
        let line = format!("{word}: {}", sentence(text));
        visit.tell(match done {
            true => Notice::Done(line),
            false => Notice::Failed(line),
        });
    }
    let short = |version: &Fingerprint| version.to_string().chars().take(12).collect::<String>();
    let last = steps.last();
    let text = last.map_or("", |step| step.text.as_str());
    let versions = format!("{what}, {} to {}", short(from), short(to));
    match last.is_none_or(|step| step.done) {
        true => visit.audit(&versions, Ok(text)),
        false => visit.audit(&versions, Err(text)),
    }
}
