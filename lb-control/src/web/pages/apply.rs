//! What would become different, in lvs.cf and in the table that runs; and then it does.

use axum::{response::Response, routing::get};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::{self, Form},
        frame::Area,
        partner::{self, Address, NotPushed, Partner, Pushed},
        problem::{Problem, sentence},
        role::Role,
        router::Page,
        session::Notice,
        visit::Visit,
        words,
    },
    config::tabs,
    desk::{APPLY, Desk, stale},
    text::{difference, said, table},
};
use crate::{
    config::{store::Fingerprint, text::Text},
    control::{
        client::{self, NotReplaced},
        configuration::{Examined, Outdated, Replacement, Stage, Step},
    },
    heartbeat::key::Key,
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
    let partner = reachable(&visit).await;
    let body = html! {
        (desk.bar_on(&visit, APPLY))
        (tabs(APPLY))
        (said(&desk.draft.text().text, &report.diagnostics))
        h2 { "In lvs.cf" }
        @match &in_file {
            Some(diff) => (diff),
            None => p class="empty" { "Nothing would be different in " (desk.current.path) "." },
        }
        h2 { "In what runs" }
        @match &comparison {
            Some(comparison) => {
                (table(&comparison.reload, "Nothing would be different in what runs."))
                @if !comparison.commands.is_empty() {
                    details {
                        summary { (words::counted(comparison.commands.len(), "change by command stays", "changes by command stay")) " in force" }
                        (table(&comparison.commands, ""))
                    }
                }
            }
            None => p class="empty" { "The text has errors, so it cannot be applied." },
        }
        @if visit.may(Role::Admin) && is_ready { (buttons(&visit, &desk, &partner)) }
        @if !is_ready && visit.may(Role::Admin) {
            p { a class="button" href=(if desk.apart.is_some() { "/config/apart" } else { "/config" }) { "Mend it" } }
        }
    };
    Ok(visit.page(Area::Config, "Differences and apply", &body))
}

/// Where the partner's tool is, if there is one and a key for it; else what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reachable {
    /// Here, with these keys.
    At(Address, Vec<Key>),
    /// There is a partner, and no key.
    NoKey(String),
    /// There is no partner.
    Alone,
}

/// What is to be done where the sandbox cannot be opened for one port only.
const LATE: &str = "the key came after this web tool was started, and its sandbox lets it connect only if the key is \
                    there then; start lb web again (whoever is logged in has to log in again)";

async fn reachable(visit: &Visit) -> Reachable {
    let said = visit.app.partner().and_then(|partner| partner.address);
    let address = match said {
        Some(address) => Some(address),
        None => {
            let report = client::status(&visit.app.socket).await.ok();
            let pair = report.and_then(|report| report.pair);
            let path = pair.and_then(|pair| pair.paths.into_iter().next());
            path.map(|path| Address::from(path.partner))
        }
    };
    let Some(address) = address else {
        return Reachable::Alone;
    };
    let partner = visit.app.partner();
    match partner.map(Partner::keys) {
        Some(Ok(keys)) if !keys.is_empty() => match partner.is_some_and(|it| it.is_open) {
            true => Reachable::At(address, keys),
            false => Reachable::NoKey(LATE.to_owned()),
        },
        Some(Err(why)) => Reachable::NoKey(why),
        Some(Ok(_)) | None => {
            Reachable::NoKey("there is no key for the partner; lb web key makes one".to_owned())
        }
    }
}

fn buttons(visit: &Visit, desk: &Desk, partner: &Reachable) -> Markup {
    let is_changed = desk.draft.is_changed();
    html! {
        form method="post" action="/config/apply" class="card" id="apply" {
            (desk.hidden(visit, None))
            input type="hidden" name="version" value=(desk.draft.version());
            @if is_changed || !desk.current.loaded {
                p { "The file is written, what it was is kept in the history, and the daemon reads it." }
            } @else {
                p { "lvs.cf is what runs." }
            }
            @match partner {
                Reachable::At(address, _) => {
                    p { "The partner's web tool is at " code { (address) } "." }
                    (form::Field::new("overwrite", "Replace whatever the partner's file says")
                        .hint("Otherwise it is left alone if it was changed there.").tick())
                }
                Reachable::NoKey(why) => p class="hint" { "Nothing can be pushed to the partner: " (why) "." },
                Reachable::Alone => {},
            }
            p class="buttons" {
                @if is_changed || !desk.current.loaded {
                    button type="submit" class="main" name="do" value="apply" { "Apply" }
                }
                @if let Reachable::At(..) = partner {
                    button type="submit" name="do" value="push" {
                        (if is_changed { "Apply and push to the partner" } else { "Push to the partner" })
                    }
                }
                @if is_changed {
                    button type="submit" name="do" value="write" class="quiet" { "Write only, do not reload" }
                }
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
    /// Whatever the partner's file says.
    #[serde(default)]
    overwrite: String,
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
    tell(&visit, what, "", &replaced.steps);
    visit.app.live.refresh().await;
    let is_in_force = replaced.steps.iter().all(|step| step.done);
    if wish.what == "push" {
        match is_in_force {
            true => push_it(&visit, desk.draft.text(), wish.overwrite == "1").await,
            false => visit.tell(Notice::Failed(
                "nothing was pushed to the partner".to_owned(),
            )),
        }
    }
    Ok(visit.go("/config/apply"))
}

/// What is said when the partner did not take it.
const STAYS: &str = "here it is applied, and stays so";

/// Has the partner write what was applied here.
async fn push_it(visit: &Visit, text: &Text, overwrite: bool) {
    let what = "push lvs.cf to the partner";
    let (address, keys) = match reachable(visit).await {
        Reachable::At(address, keys) => (address, keys),
        Reachable::NoKey(why) => return visit.done(what, Err(&why)),
        Reachable::Alone => return visit.done(what, Err("there is no partner")),
    };
    let pushed = Pushed {
        text: text.clone(),
        ancestors: ancestors(visit).await,
        overwrite,
        user: visit.session.user.clone(),
    };
    match partner::push(address, &keys, &pushed).await {
        Ok(Ok(replaced)) => tell(visit, what, "partner, ", &replaced.steps),
        Ok(Err(NotPushed::Outdated(Outdated { text, .. }))) => {
            visit.done(
                what,
                Err(&format!("the partner left its file alone: {text}; {STAYS}")),
            );
        }
        Ok(Err(NotPushed::Refused(why))) => {
            visit.done(
                what,
                Err(&format!("the partner refuses it: {why}; {STAYS}")),
            );
        }
        Err(error) => visit.done(what, Err(&format!("{error:#}; {STAYS}"))),
    }
}

/// The versions that lvs.cf was made of: those that are kept here. The partner's may be one of them.
async fn ancestors(visit: &Visit) -> Vec<Fingerprint> {
    let socket = &visit.app.socket;
    let kept = client::config_versions(socket).await;
    let mut found = Vec::new();
    for one in kept.map(|kept| kept.versions).unwrap_or_default() {
        // One that was taken away just now is no ancestor that matters.
        if let Ok(version) = client::config_version(socket, one.number).await {
            found.push(version.version);
        }
    }
    found
}

/// Each step and what became of it: on the next page, and the last of them in the audit log.
fn tell(visit: &Visit, what: &str, whose: &str, steps: &[Step]) {
    for Step { step, done, text } in steps {
        let word = match step {
            Stage::Check => "check",
            Stage::Write => "write",
            Stage::Reload => "reload",
        };
        let line = format!("{whose}{word}: {}", sentence(text));
        visit.tell(match done {
            true => Notice::Done(line),
            false => Notice::Failed(line),
        });
    }
    let text: Vec<_> = steps.iter().map(|step| step.text.as_str()).collect();
    let text = text.join("; ");
    match steps.iter().all(|step| step.done) {
        true => visit.audit(what, Ok(&text)),
        false => visit.audit(what, Err(&text)),
    }
}
