//! What the daemon answers on its socket: a function for each path and method.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Query, State as Shared},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use super::{
    CHANGES, DIFF, RELOAD, SERVER, STATUS, TABLE,
    change::{Changes, Refused, Why},
    order::Order,
    request::Request,
    server::{Peer, Sources},
};
use crate::{event::Event, model::ServiceId};

/// No question is longer, in bytes: a restore of a hundred thousand real servers has room.
const LONGEST: usize = 64 << 20;

/// All paths.
pub(super) fn routes(sources: Sources) -> Router {
    Router::new()
        .route(STATUS, get(status))
        .route(TABLE, get(table))
        .route(SERVER, post(order))
        .route(CHANGES, post(change))
        .route(RELOAD, post(reload))
        .route(DIFF, get(compare))
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(sources)
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
}

/// Why a question has no answer, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Problem {
    /// One line.
    text: String,
}

/// What an answer is in place of one.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        (status, Json(Problem { text })).into_response()
    }
}

fn ending<E>(_: E) -> Failure {
    let text = "the daemon is about to end".to_owned();
    Failure(StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn nothing_here() -> Failure {
    let text = "there is nothing at this path".to_owned();
    Failure(StatusCode::NOT_FOUND, text)
}

async fn not_so() -> Failure {
    let text = "this path has another method".to_owned();
    Failure(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// The body of a question.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    let unclear = |error| {
        let text = format!("the question is not understood: {error}");
        Failure(StatusCode::BAD_REQUEST, text)
    };
    serde_json::from_slice(body).map_err(unclear)
}

async fn status(Shared(sources): Shared<Sources>) -> Result<Response, Failure> {
    let (reply, answer) = oneshot::channel();
    let asked = sources.events.send(Event::Status(reply)).await;
    asked.map_err(ending)?;
    let mut report = answer.await.map_err(ending)?;
    report.add_probes(&sources.nannies.snapshot().await);
    report.add_interfaces(&sources.interfaces.borrow());
    Ok(Json(report).into_response())
}

/// Which part of the table is asked for.
#[derive(Debug, Deserialize)]
struct Part {
    service: Option<ServiceId>,
}

async fn table(
    Shared(sources): Shared<Sources>,
    Query(Part { service }): Query<Part>,
) -> Result<Response, Failure> {
    let (reply, answer) = oneshot::channel();
    let asked = sources.events.send(Event::Table(service, reply)).await;
    asked.map_err(ending)?;
    let table = answer.await.map_err(ending)?;
    Ok(Json(table).into_response())
}

async fn order(
    Shared(sources): Shared<Sources>,
    ConnectInfo(Peer(who)): ConnectInfo<Peer>,
    body: Bytes,
) -> Result<Response, Failure> {
    let order: Order = read(&body)?;
    let (reply, answer) = oneshot::channel();
    let event = Event::Ordered { order, who, reply };
    sources.events.send(event).await.map_err(ending)?;
    match answer.await.map_err(ending)? {
        Ok(text) => Ok(Json(super::order::Answer { text }).into_response()),
        Err(unknown) => Err(Failure(StatusCode::NOT_FOUND, unknown.to_string())),
    }
}

async fn change(
    Shared(sources): Shared<Sources>,
    ConnectInfo(Peer(who)): ConnectInfo<Peer>,
    body: Bytes,
) -> Result<Response, Failure> {
    let changes: Changes = match read(&body) {
        Ok(changes) => changes,
        Err(Failure(status, text)) => {
            let refused = Refused {
                index: None,
                why: Why::Invalid,
                text,
            };
            return Ok((status, Json(refused)).into_response());
        }
    };
    let (reply, answer) = oneshot::channel();
    let request = Request::Change {
        changes,
        who,
        reply,
    };
    sources.requests.send(request).await.map_err(ending)?;
    Ok(match answer.await.map_err(ending)? {
        Ok(made) => Json(made).into_response(),
        Err(refused) => {
            let status = match refused.why {
                Why::NoService | Why::NoServer => StatusCode::NOT_FOUND,
                Why::ServiceExists | Why::ServerExists => StatusCode::CONFLICT,
                Why::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
                Why::Full => StatusCode::INSUFFICIENT_STORAGE,
                Why::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, Json(refused)).into_response()
        }
    })
}

async fn reload(
    Shared(sources): Shared<Sources>,
    ConnectInfo(Peer(who)): ConnectInfo<Peer>,
) -> Result<Response, Failure> {
    let (reply, answer) = oneshot::channel();
    let request = Request::Reload { who, reply };
    sources.requests.send(request).await.map_err(ending)?;
    match answer.await.map_err(ending)? {
        Ok(reloaded) => Ok(Json(reloaded).into_response()),
        Err(text) => Err(Failure(StatusCode::UNPROCESSABLE_ENTITY, text)),
    }
}

async fn compare(Shared(sources): Shared<Sources>) -> Result<Response, Failure> {
    let (reply, answer) = oneshot::channel();
    let asked = sources.requests.send(Request::Compare(reply)).await;
    asked.map_err(ending)?;
    match answer.await.map_err(ending)? {
        Ok(comparison) => Ok(Json(comparison).into_response()),
        Err(text) => Err(Failure(StatusCode::UNPROCESSABLE_ENTITY, text)),
    }
}
