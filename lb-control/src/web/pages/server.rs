//! A real server: how it is written, and what an operator may do with it.

use axum::{response::Response, routing::post};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    super::{
        form::Form,
        problem::Problem,
        role::Role,
        router::Page,
        visit::{Visit, own_path},
        words,
    },
    routing,
};
use crate::{
    control::{
        client,
        order::{Order, Verb},
    },
    status::{ServerState, ServerStatus, ServiceStatus},
};

pub(in crate::web) fn pages() -> Vec<Page> {
    vec![Page::new("/server", post(order)).written_by(Role::Operator)]
}

/// Whether it gets connections; while it drains, how far it is.
pub(super) fn state(server: &ServerStatus) -> Markup {
    html! {
        (words::state(server.state))
        @if let (Some(open), Some(left)) = (server.open, server.seconds_left) {
            " " small class="soft" { (open) " left, " (words::span(left)) " at most" }
        } @else if let Some(said) = &server.overridden {
            " " small class="soft" { (by_order(said, server.state)) }
        }
        @if let Some(held) = server.held_seconds {
            " " small class="soft" { "held back for " (words::span(held)) }
        }
        @if server.local { " " small class="soft" { "local" } }
    }
}

/// That an operator wanted it so; if it is not so, what he wanted.
fn by_order(said: &str, state: ServerState) -> String {
    let is_so = match state {
        ServerState::Draining | ServerState::Drained => said == "drain",
        ServerState::Up | ServerState::Down | ServerState::Quiesced | ServerState::Unknown => {
            said == state.word()
        }
    };
    match is_so {
        true => "by order".to_owned(),
        false => format!("ordered {said}"),
    }
}

pub(super) fn weight(server: &ServerStatus) -> Markup {
    html! {
        (server.effective_weight)
        @if server.effective_weight != server.weight { small class="soft" { " of " (server.weight) } }
    }
}

/// Why it gets none, if it ought to.
pub(super) fn trouble(server: &ServerStatus) -> Option<Markup> {
    let is_well = matches!(
        server.state,
        ServerState::Up | ServerState::Draining | ServerState::Drained
    );
    if is_well && server.unreachable.is_none() {
        return None;
    }
    match (&server.unreachable, &server.last_error) {
        (Some(why), _) => Some(html! { (why) }),
        (None, Some(why)) => Some(html! {
            (why)
            @if let Some(at) = server.last_error_time { " " small class="soft" { "at " (words::time(at)) } }
        }),
        (None, None) => None,
    }
}

/// The buttons of an operator: those that make a difference now.
pub(super) fn actions(service: &ServiceStatus, server: &ServerStatus) -> Markup {
    let verbs: &[Verb] = match server.overridden.as_deref() {
        Some("drain") => &[Verb::Auto, Verb::Down],
        Some("down") => &[Verb::Auto, Verb::Up],
        Some(_) => &[Verb::Auto, Verb::Drain],
        None if server.state == ServerState::Up => &[Verb::Drain, Verb::Down],
        None => &[Verb::Up, Verb::Down],
    };
    buttons(service, server, verbs)
}

/// What all buttons of a page send: one form, which has the token of the session, for hundreds of lines that have none
/// of it and are the same for everybody. `more` is what else it asks. It stands outside of what lives on the page.
pub(super) fn orders(visit: &Visit, back: &str, more: &Markup) -> Markup {
    html! {
        @if visit.may(Role::Operator) {
            form id="orders" method="post" action="/server" {
                (visit.token())
                input type="hidden" name="back" value=(back);
                // Who presses Enter in a field orders nothing.
                button type="submit" disabled hidden { "None" }
                (more)
            }
        }
    }
}

/// A button for each verb.
pub(super) fn buttons(service: &ServiceStatus, server: &ServerStatus, verbs: &[Verb]) -> Markup {
    let socket = routing::socket(server);
    html! {
        @for verb in verbs {
            button form="orders" name="order" value={ (verb) " " (socket) " " (service.service) } class="small"
                aria-label={ (name(*verb)) " " (server.name) " " (socket) }
                data-confirm=[(*verb == Verb::Down).then(|| format!("Take {} out at once? Its connections end.", server.name))]
                { (name(*verb)) }
        }
    }
}

/// What stands on a button.
pub(super) const fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::Drain => "Drain",
        Verb::Up => "Up",
        Verb::Down => "Down",
        Verb::Auto => "Auto",
    }
}

pub(super) const fn meaning(verb: Verb) -> &'static str {
    match verb {
        Verb::Drain => "It gets nothing new and leaves when it has finished",
        Verb::Up => "It gets connections, whatever its checks say",
        Verb::Down => "It leaves at once, and its connections end",
        Verb::Auto => "Its checks decide again",
    }
}

#[derive(Debug, Deserialize)]
struct Said {
    /// The verb, the server and its service, with blanks in between.
    order: String,
    #[serde(default)]
    deadline: String,
    back: Option<String>,
}

impl Said {
    fn order(&self) -> Option<Order> {
        let mut words = self.order.splitn(3, ' ');
        let verb = words.next()?;
        let verb = Verb::ALL.into_iter().find(|one| one.to_string() == verb)?;
        let (server, service) = (words.next()?.to_owned(), words.next()?.to_owned());
        let deadline = match self.deadline.trim() {
            "" => None,
            text => Some(text.parse().ok()?),
        };
        Some(Order {
            verb,
            service,
            server,
            deadline,
        })
    }
}

async fn order(visit: Visit, Form(said): Form<Said>) -> Result<Response, Problem> {
    let unclear = || {
        Problem::unclear(
            "an order is a verb, a server and its service, and perhaps a whole number of seconds",
        )
    };
    let order = said.order().ok_or_else(unclear)?;
    let answer = client::order(visit.daemon(), &order).await;
    let what = format!("{} {} of {}", order.verb, order.server, order.service);
    match answer {
        Ok(text) => visit.done(&what, Ok(&text)),
        Err(error) => visit.done(&what, Err(&format!("{error:#}"))),
    }
    visit.app.live.refresh().await;
    Ok(visit.go(own_path(said.back.as_deref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_told_once() {
        let table = [
            ("drain", ServerState::Drained, "by order"),
            ("drain", ServerState::Draining, "by order"),
            ("down", ServerState::Down, "by order"),
            ("up", ServerState::Down, "ordered up"),
            ("drain", ServerState::Unknown, "ordered drain"),
        ];
        for (said, state, expected) in table {
            assert_eq!(by_order(said, state), expected, "{said} {state:?}");
        }
    }
}
