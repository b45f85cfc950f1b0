//! What happened, over the socket: page by page, or as it comes.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State as Shared,
    http::HeaderMap,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::{
    routes::{Problem, Said},
    server::Sources,
};
use crate::journal::{Entry, Journal, KEPT, Page};

/// Nobody waits longer for the next event, in seconds.
const LONGEST_WAIT: u64 = 60;

/// How many events are told at once.
const AT_ONCE: usize = 100;

/// Which events are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those after this number, the oldest first; without it, the newest ones.
    after: Option<u64>,
    /// No more than so many; 100 if nothing is said, 1000 at most.
    limit: Option<usize>,
    /// If there are none, so many seconds are waited for one; 60 at most. Needs `after`.
    wait: Option<u64>,
}

/// The last things that happened.
#[utoipa::path(
    get,
    path = super::EVENTS,
    tag = "events",
    params(Which),
    responses(
        (status = 200, description = "Some of them", body = Page),
        (status = 400, description = "The question is not understood", body = Problem),
    ),
)]
pub(super) async fn page(
    Shared(sources): Shared<Sources>,
    Said(Which { after, limit, wait }): Said<Which>,
) -> Response {
    let journal = &sources.journal;
    if let (Some(after), Some(wait)) = (after, wait) {
        let wait = Duration::from_secs(wait.min(LONGEST_WAIT));
        // If nothing came, that is the answer.
        let _ = timeout(wait, journal.wait(after)).await;
    }
    let limit = limit.unwrap_or(AT_ONCE).min(KEPT);
    Json(journal.page(after, limit)).into_response()
}

/// From where on a stream of events begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// Those after this number; without it and without the header `Last-Event-ID`, those that come from now on.
    after: Option<u64>,
}

/// Things as they happen, as server-sent events: `id` is the number, `event` the kind, `data` an event in JSON.
#[utoipa::path(
    get,
    path = super::EVENT_STREAM,
    tag = "events",
    params(
        From,
        ("Last-Event-ID" = Option<u64>, Header, description = "The number of the last event that was read"),
    ),
    responses(
        (status = 200, description = "Events without end", body = Entry, content_type = "text/event-stream"),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 503, description = "Too many follow already", body = Problem),
    ),
)]
pub(super) async fn follow(
    Shared(sources): Shared<Sources>,
    Said(From { after }): Said<From>,
    headers: HeaderMap,
) -> Response {
    let read_up_to = headers
        .get("last-event-id")
        .and_then(|number| number.to_str().ok()?.parse().ok());
    let journal = sources.journal;
    let after = read_up_to
        .or(after)
        .unwrap_or_else(|| journal.page(None, 0).newest);
    Sse::new(events(journal, after))
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn events(journal: Journal, after: u64) -> impl Stream<Item = Result<Event, Infallible>> {
    let begin = (journal, after, VecDeque::<Entry>::new());
    stream::unfold(begin, |(journal, mut after, mut waiting)| async move {
        let entry = loop {
            if let Some(entry) = waiting.pop_front() {
                break entry;
            }
            journal.wait(after).await;
            waiting.extend(journal.page(Some(after), AT_ONCE).events);
        };
        after = entry.number;
        let event = Event::default()
            .id(entry.number.to_string())
            .event(entry.kind.name())
            .json_data(&entry)
            .unwrap_or_default();
        Some((Ok(event), (journal, after, waiting)))
    })
}
