//! `POST /v1/probe`: a real server is checked once, here and now, whatever its nanny thinks.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{
    PROBE,
    ask::ask,
    request::Request,
    routes::{Failure, Problem, ending, read},
    server::Sources,
    who::{Behalf, Who},
};
use crate::{
    config::{edit::Place, excerpt::excerpt, text::Text},
    daemon::targets,
    health::{
        Target,
        trial::{Checked, check},
    },
    journal::{About, Kind},
    model::Protocol,
};

/// No check takes longer.
const LONGEST: Duration = Duration::from_secs(30);

/// Whom to check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Trial {
    /// A server of a text that need not be in force; it and its service count as switched on.
    Written {
        /// The text.
        #[serde(flatten)]
        text: Text,
        /// Which of its servers: `virtual/web/server/one`.
        #[schema(value_type = String)]
        place: Place,
    },
    /// A server of the table that runs.
    Running {
        /// The service, as in an order.
        service: String,
        /// The real server, as in an order.
        server: String,
    },
}

/// What the check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tried {
    /// Where the server was checked.
    #[schema(value_type = String, example = "10.0.0.11:80")]
    pub address: SocketAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// What happened.
    #[serde(flatten)]
    pub checked: Checked,
}

/// Checks a real server once, as its service says, and tells each step.
#[utoipa::path(
    post,
    path = PROBE,
    tag = "table",
    params(Behalf),
    request_body = Trial,
    responses(
        (status = 200, description = "What the check found", body = Tried),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 404, description = "There is no such server, or more than one", body = Problem),
        (status = 422, description = "The server is not checked, or what is said of it has errors", body = Problem),
        (status = 503, description = "Too many checks are under way, or the daemon is about to end", body = Problem),
        (status = 504, description = "The check took too long", body = Problem),
    ),
)]
pub(super) async fn probe(
    Shared(sources): Shared<Sources>,
    Who(who): Who,
    body: Bytes,
) -> Result<Response, Failure> {
    let trial: Trial = read(&body)?;
    let Ok(_place) = sources.desk.trials.clone().try_acquire_owned() else {
        let text = "too many checks are under way; try again".to_owned();
        return Err(Failure(StatusCode::SERVICE_UNAVAILABLE, text));
    };
    let target = match trial {
        Trial::Written { text, place } => written(&sources, text, place).await?,
        Trial::Running { service, server } => {
            let request = |reply| Request::Target {
                service,
                server,
                reply,
            };
            let found = ask(&sources.requests, request).await?;
            found.map_err(|unknown| Failure(StatusCode::NOT_FOUND, unknown.to_string()))?
        }
    };
    let Some(target) = target else {
        let text = "the server is not checked: its service has no check".to_owned();
        return Err(Failure(StatusCode::UNPROCESSABLE_ENTITY, text));
    };
    let address = target.address;
    let about = About::ALL.by(&who);
    let text = format!("{address} is tried by hand");
    sources.journal.tell(Kind::Ordered, about, text);
    let Ok(checked) = timeout(LONGEST, check(&target)).await else {
        let text = format!("{address} was not decided within {LONGEST:?}");
        return Err(Failure(StatusCode::GATEWAY_TIMEOUT, text));
    };
    let tried = Tried {
        address,
        protocol: target.protocol,
        checked,
    };
    Ok(Json(tried).into_response())
}

/// The server that a text names.
async fn written(sources: &Sources, text: Text, place: Place) -> Result<Option<Target>, Failure> {
    let document = sources.desk.examine(text).await?.document;
    let excerpted = tokio::task::spawn_blocking(move || excerpt(&document, &place)).await;
    match excerpted.map_err(ending)? {
        Ok(site) => Ok(targets(&site).pop()),
        Err(why) => Err(Failure(StatusCode::UNPROCESSABLE_ENTITY, why.to_string())),
    }
}
