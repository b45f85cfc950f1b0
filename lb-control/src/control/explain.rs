//! `GET /v1/explain`: what would become of a packet, without doing it.

use axum::{
    Json,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};

use super::{
    EXPLAIN,
    ask::ask,
    routes::{Failure, Problem, Said},
    server::Sources,
};
use crate::{
    event::Event,
    explain::{
        explainer::{NotExplained, Wanted},
        names::Names,
        story::Story,
    },
};

/// What the data plane would do with a packet that came now, step by step. The program itself is tried, on the tables
/// in use, and nothing happens: nothing is sent, remembered or counted.
#[utoipa::path(
    get,
    path = EXPLAIN,
    tag = "table",
    params(Wanted),
    responses(
        (status = 200, description = "What would become of it", body = Story),
        (status = 400, description = "The question is not understood, or there is no such packet", body = Problem),
        (status = 422, description = "It cannot be tried: there is no such interface, or no data plane", body = Problem),
        (status = 503, description = "Too many others ask, or the daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn explain(
    Shared(sources): Shared<Sources>,
    Said(wanted): Said<Wanted>,
) -> Result<Response, Failure> {
    let names = Names::of(&ask(&sources.events, Event::Status).await?);
    let explained = sources.explainer.explain(&wanted, names).await;
    let story = explained.map_err(|why| {
        let status = match why {
            NotExplained::Unfit(_) => StatusCode::BAD_REQUEST,
            NotExplained::Busy => StatusCode::SERVICE_UNAVAILABLE,
            NotExplained::Failed(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Failure(status, why.to_string())
    })?;
    Ok(Json(story).into_response())
}
