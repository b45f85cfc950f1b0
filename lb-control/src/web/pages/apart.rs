//! Two people changed the same lines: the second chooses what is to hold.

use axum::{response::Response, routing::get};
use maud::{Markup, html};

use super::{
    super::{
        draft::{Choice, Piece},
        form::Form,
        frame::Area,
        problem::Problem,
        role::Role,
        router::Page,
        session::Notice,
        visit::Visit,
    },
    desk::Desk,
    fields::{Sent, sent},
};
use crate::config::secrets::veiled;

/// So many lines around are shown.
const AROUND: usize = 4;

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/config/apart", get(show).post(settle))]
}

async fn show(visit: Visit) -> Result<Response, Problem> {
    let desk = Desk::open(&visit).await?;
    let Some(pieces) = &desk.apart else {
        return Ok(visit.go("/config/apply"));
    };
    let mut numbers = 0..;
    let body = html! {
        p {
            "Since you began, somebody else has changed lvs.cf, in places where you have changed it too. Everything else \
             was carried over. Choose for each place; nothing is in force until you apply."
        }
        form method="post" action="/config/apart" {
            (desk.hidden(&visit, None))
            input type="hidden" name="version" value=(desk.current.version);
            @for piece in pieces {
                @match piece {
                    Piece::Agreed(text) => (agreed(text)),
                    Piece::Apart { base, mine, theirs } => {
                        (choices(numbers.next().unwrap_or_default(), base, mine, theirs))
                    }
                }
            }
            @if visit.may(Role::Admin) {
                p class="buttons" { button type="submit" class="main" { "Go on with this" } }
            }
        }
        form method="post" action="/config/discard" {
            (desk.hidden(&visit, None))
            button type="submit" class="quiet" { "Discard my changes" }
        }
    };
    Ok(visit.page(Area::Config, "Two have changed the same", &body))
}

/// What both agree on: its beginning and its end.
fn agreed(text: &str) -> Markup {
    let text = veiled(text);
    let lines: Vec<_> = text.lines().collect();
    let is_long = lines.len() > 2 * AROUND;
    let head: Vec<_> = lines
        .iter()
        .take(if is_long { AROUND } else { lines.len() })
        .collect();
    let tail: Vec<_> = lines
        .iter()
        .skip(if is_long {
            lines.len() - AROUND
        } else {
            lines.len()
        })
        .collect();
    html! {
        pre class="agreed" {
            @for line in &head { (line) "\n" }
            @if is_long { "… " (lines.len() - 2 * AROUND) " lines …\n" }
            @for line in &tail { (line) "\n" }
        }
    }
}

fn choices(number: usize, base: &str, mine: &str, theirs: &str) -> Markup {
    let name = format!("choice-{number}");
    let texts = [
        (Choice::Mine, "Mine", mine.to_owned()),
        (Choice::Theirs, "What lvs.cf says now", theirs.to_owned()),
        (
            Choice::Both,
            "Both, one below the other",
            format!("{theirs}{mine}"),
        ),
    ];
    html! {
        fieldset class="choice" {
            legend { "Place " (number + 1) }
            details { summary { "What it was before" } pre { (shown(base)) } }
            @for (choice, label, text) in &texts {
                div class="option" {
                    label {
                        input type="radio" name=(name) value=(choice.word()) required; " " (label)
                    }
                    pre { (shown(text)) }
                }
            }
        }
    }
}

fn shown(text: &str) -> String {
    match text {
        "" => "(nothing)".to_owned(),
        text => veiled(text),
    }
}

async fn settle(visit: Visit, Form(form): Form<Sent>) -> Result<Response, Problem> {
    let mut desk = Desk::open(&visit).await?;
    let count = match &desk.apart {
        Some(pieces) => {
            let apart = pieces
                .iter()
                .filter(|one| matches!(one, Piece::Apart { .. }));
            apart.count()
        }
        None => return Ok(visit.go("/config/apply")),
    };
    let choice = |number| Choice::named(sent(&form, &format!("choice-{number}"))?);
    let choices: Vec<_> = (0..count).filter_map(choice).collect();
    let seen = sent(&form, "version").unwrap_or_default();
    let state = sent(&form, "state").unwrap_or_default();
    match desk.draft.settle(&desk.current, (seen, state), &choices) {
        Ok(()) => {
            desk.keep(&visit);
            visit.tell(Notice::Done(
                "your draft is one of lvs.cf as it is now".to_owned(),
            ));
            Ok(visit.go("/config/apply"))
        }
        Err(why) => {
            visit.tell(Notice::Failed(why.to_string()));
            Ok(visit.go("/config/apart"))
        }
    }
}
