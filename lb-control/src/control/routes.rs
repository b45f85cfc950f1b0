//! What the daemon answers on its socket: a function for each path and method.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequestParts, Query, State as Shared},
    http::{StatusCode, request::Parts},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use super::{
    CHANGES, CONFIG, CONFIG_CHECK, CONFIG_VERSION, CONFIG_VERSIONS, CONNECTIONS, DIFF,
    EVENT_STREAM, EVENTS, EXPLAIN, FAILOVER, LOG, METRICS, OPENAPI, PROBE, PROC, RELOAD, SERVER,
    STATUS, TABLE,
    ask::ask,
    change::{Changes, Made, Refused, Why},
    configuration,
    connection::{Connection, Wanted},
    events, explain, listing, log, metrics, openapi,
    order::{Answer, Order},
    probe, proc,
    request::{Comparison, Failover, Reloaded, Request},
    serve::{Room, bounded},
    server::Sources,
    table::Table,
    who::{Behalf, Who},
};
use crate::{event::Event, model::ServiceId, status::StatusReport, sync::runner::is_active};

/// All paths.
pub(super) fn paths() -> Vec<(&'static str, MethodRouter<Sources>)> {
    vec![
        (STATUS, get(status)),
        (TABLE, get(table)),
        (CONNECTIONS, get(connections)),
        (SERVER, post(order)),
        (CHANGES, post(change)),
        (RELOAD, post(reload)),
        (DIFF, get(compare)),
        (FAILOVER, post(failover)),
        (
            CONFIG,
            get(configuration::current).put(configuration::replace),
        ),
        (CONFIG_CHECK, post(configuration::check)),
        (CONFIG_VERSIONS, get(configuration::kept)),
        (CONFIG_VERSION, get(configuration::kept_one)),
        (PROBE, post(probe::probe)),
        (EXPLAIN, get(explain::explain)),
        (EVENTS, get(events::page)),
        (EVENT_STREAM, get(events::follow)),
        (LOG, get(log::follow).post(log::on).delete(log::off)),
        (METRICS, get(metrics::metrics)),
        (PROC, get(proc::file)),
        (OPENAPI, get(openapi::document)),
    ]
}

/// Whatever the daemon answers on its socket.
pub(super) fn routes(sources: Sources) -> Router {
    router(paths(), sources)
}

/// What it answers to everybody who reaches it over TCP: what is measured, and nothing else.
pub(super) fn public(sources: Sources) -> Router {
    router(vec![(METRICS, get(metrics::metrics))], sources)
}

fn router(paths: Vec<(&'static str, MethodRouter<Sources>)>, sources: Sources) -> Router {
    let router = paths
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        });
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Room::default(), bounded))
        .with_state(sources)
}

/// Why a question has no answer, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// One line.
    text: String,
}

/// What an answer is in place of one.
#[derive(Debug)]
pub(super) struct Failure(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        (status, Json(Problem { text })).into_response()
    }
}

/// Those who answer are gone.
pub(super) fn ending<E>(_: E) -> Failure {
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

/// What a question says behind its path.
pub(super) struct Said<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Said<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(said)) => Ok(Self(said)),
            Err(error) => {
                let text = format!("the question is not understood: {}", error.body_text());
                Err(Failure(StatusCode::BAD_REQUEST, text))
            }
        }
    }
}

/// The body of a question.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    let unclear = |error| {
        let text = format!("the question is not understood: {error}");
        Failure(StatusCode::BAD_REQUEST, text)
    };
    serde_json::from_slice(body).map_err(unclear)
}

/// How things are: services, real servers, interfaces, what was not steered.
#[utoipa::path(
    get,
    path = STATUS,
    tag = "table",
    responses(
        (status = 200, description = "As it is now", body = StatusReport),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn status(Shared(sources): Shared<Sources>) -> Result<Response, Failure> {
    let mut report = ask(&sources.events, Event::Status).await?;
    report.add_probes(&sources.nannies.snapshot().await);
    sources.complete(&mut report);
    Ok(Json(report).into_response())
}

/// Which part of the table is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// One service only, if it is there.
    service: Option<ServiceId>,
}

/// The routing table with its counters and rates.
#[utoipa::path(
    get,
    path = TABLE,
    tag = "table",
    params(Part),
    responses(
        (status = 200, description = "As it is now", body = Table),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn table(
    Shared(sources): Shared<Sources>,
    Said(Part { service }): Said<Part>,
) -> Result<Response, Failure> {
    let mut table = ask(&sources.events, |reply| Event::Table(service, reply)).await?;
    table.sync_daemons = sources.sync.daemons(is_active(&sources.pair.borrow()));
    Ok(Json(table).into_response())
}

/// The flows that are remembered, and clients that stay with their server: a line of JSON for each, as they are
/// read, in no order; an answer that breaks off is not complete.
#[utoipa::path(
    get,
    path = CONNECTIONS,
    tag = "table",
    params(Wanted),
    responses(
        (status = 200, description = "Lines, each a `Connection`; with `count=true` the one line `{\"connections\": N}`",
         body = Connection, content_type = "application/x-ndjson"),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 503, description = "Too many others read them, or the daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn connections(
    Shared(sources): Shared<Sources>,
    Said(wanted): Said<Wanted>,
) -> Result<Response, Failure> {
    let owners = ask(&sources.events, Event::Owners).await?;
    let listing = listing::begin(sources.flows, wanted, owners);
    listing.ok_or_else(|| {
        let text = "too many others read the connections; try again".to_owned();
        Failure(StatusCode::SERVICE_UNAVAILABLE, text)
    })
}

/// Says what is to become of a real server.
#[utoipa::path(
    post,
    path = SERVER,
    tag = "table",
    params(Behalf),
    request_body = Order,
    responses(
        (status = 200, description = "What became of it", body = Answer),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 404, description = "There is no such server, or more than one", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn order(
    Shared(sources): Shared<Sources>,
    Who(who): Who,
    body: Bytes,
) -> Result<Response, Failure> {
    let order: Order = read(&body)?;
    let request = |reply| Request::Order { order, who, reply };
    match ask(&sources.requests, request).await? {
        Ok(text) => Ok(Json(Answer { text }).into_response()),
        Err(unknown) => Err(Failure(StatusCode::NOT_FOUND, unknown.to_string())),
    }
}

/// Changes the table, besides what lvs.cf says: all of the changes are made, or none.
#[utoipa::path(
    post,
    path = CHANGES,
    tag = "table",
    params(Behalf),
    request_body = Changes,
    responses(
        (status = 200, description = "They were made, or could be made", body = Made),
        (status = 400, description = "The question is not understood", body = Refused),
        (status = 404, description = "There is no such service or server", body = Refused),
        (status = 409, description = "There is such a service or server already", body = Refused),
        (status = 422, description = "The terms cannot be, or do not go together", body = Refused),
        (status = 500, description = "The system refused it", body = Refused),
        (status = 503, description = "The daemon is about to end", body = Problem),
        (status = 507, description = "There is no room for it", body = Refused),
    ),
)]
pub(super) async fn change(
    Shared(sources): Shared<Sources>,
    Who(who): Who,
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
    let request = |reply| Request::Change {
        changes,
        who,
        reply,
    };
    Ok(match ask(&sources.requests, request).await? {
        Ok(made) => Json(made).into_response(),
        Err(refused) => {
            let status = match refused.why {
                Why::NoService | Why::NoServer | Why::NoDaemon => StatusCode::NOT_FOUND,
                Why::ServiceExists | Why::ServerExists | Why::DaemonRuns => StatusCode::CONFLICT,
                Why::Invalid | Why::NoInterface => StatusCode::UNPROCESSABLE_ENTITY,
                Why::Full => StatusCode::INSUFFICIENT_STORAGE,
                Why::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, Json(refused)).into_response()
        }
    })
}

/// What is to be done besides reading lvs.cf again.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Besides {
    /// What was changed by command is forgotten.
    #[serde(default)]
    #[param(required = false)]
    discard: bool,
}

/// Reads lvs.cf again.
#[utoipa::path(
    post,
    path = RELOAD,
    tag = "configuration",
    params(Besides, Behalf),
    responses(
        (status = 200, description = "It is in force", body = Reloaded),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 422, description = "It is not fit to be used; everything stays as it was", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn reload(
    Shared(sources): Shared<Sources>,
    Said(Besides { discard }): Said<Besides>,
    Who(who): Who,
) -> Result<Response, Failure> {
    match configuration::reload_now(&sources, discard, who).await? {
        Ok(reloaded) => Ok(Json(reloaded).into_response()),
        Err(text) => Err(Failure(StatusCode::UNPROCESSABLE_ENTITY, text)),
    }
}

/// Has the partner become active, if it is heard and able to; or tells it that this daemon is about to be restarted.
#[utoipa::path(
    post,
    path = FAILOVER,
    tag = "pair",
    params(Behalf),
    request_body = Failover,
    responses(
        (status = 200, description = "The partner is active, or waits", body = Answer),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 409, description = "There is no partner, or it would not take over", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn failover(
    Shared(sources): Shared<Sources>,
    Who(who): Who,
    body: Bytes,
) -> Result<Response, Failure> {
    let asked: Failover = read(&body)?;
    let request = |reply| Request::Failover { asked, who, reply };
    match ask(&sources.requests, request).await? {
        Ok(text) => Ok(Json(Answer { text }).into_response()),
        Err(refused) => Err(Failure(StatusCode::CONFLICT, refused.to_string())),
    }
}

/// What a reload would change, and what was changed by command.
#[utoipa::path(
    get,
    path = DIFF,
    tag = "configuration",
    responses(
        (status = 200, description = "The differences", body = Comparison),
        (status = 422, description = "lvs.cf is not fit to be used", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn compare(Shared(sources): Shared<Sources>) -> Result<Response, Failure> {
    let request = |reply| Request::Compare {
        written: None,
        reply,
    };
    match ask(&sources.requests, request).await? {
        Ok(comparison) => Ok(Json(comparison).into_response()),
        Err(text) => Err(Failure(StatusCode::UNPROCESSABLE_ENTITY, text)),
    }
}
