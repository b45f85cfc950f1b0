//! What is answered at `/v1/config` and below.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequestParts, Path, State as Shared},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    super::{
        CONFIG, CONFIG_CHECK, CONFIG_VERSION, CONFIG_VERSIONS,
        ask::ask,
        request::{Reloaded, Request},
        routes::{Failure, Problem, read},
        server::Sources,
        who::{Behalf, Who},
    },
    Current, Examined, Kept, KeptOne, Outdated, Replaced, Replacement, Report, Stage, Step,
    desk::{Fit, NotWritten, located},
};
use crate::{
    config::text::Text,
    journal::{About, Kind},
};

/// lvs.cf as it stands, and whether that is what runs.
#[utoipa::path(
    get,
    path = CONFIG,
    tag = "configuration",
    responses(
        (status = 200, description = "As it stands", body = Current),
        (status = 500, description = "It cannot be read", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(in crate::control) async fn current(
    Shared(sources): Shared<Sources>,
) -> Result<Response, Failure> {
    Ok(Json(sources.desk.current().await?).into_response())
}

/// Checks a text, and tells what a reload of it would change. Nothing is changed.
#[utoipa::path(
    post,
    path = CONFIG_CHECK,
    tag = "configuration",
    request_body = Text,
    responses(
        (status = 200, description = "What there is to say about it", body = Examined),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 413, description = "It is too large for an lvs.cf", body = Problem),
        (status = 422, description = "It cannot be written in the file's encoding", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(in crate::control) async fn check(
    Shared(sources): Shared<Sources>,
    body: Bytes,
) -> Result<Response, Failure> {
    let text: Text = read(&body)?;
    let outcome = sources.desk.examine(text).await?;
    let report = Report::of(&outcome).owned();
    let comparison = match outcome.site {
        Some(meant) => {
            let written = Some(Box::new(meant));
            let request = |reply| Request::Compare { written, reply };
            let compared = ask(&sources.requests, request).await?;
            Some(compared.map_err(|text| Failure(StatusCode::UNPROCESSABLE_ENTITY, text))?)
        }
        None => None,
    };
    Ok(Json(Examined { report, comparison }).into_response())
}

/// Writes lvs.cf, if it still is the version that the new text was made of, and has it read again if asked to.
/// What it was is kept as a version. A text with errors is not written.
#[utoipa::path(
    put,
    path = CONFIG,
    tag = "configuration",
    params(Behalf),
    request_body = Replacement,
    responses(
        (status = 200, description = "It is written; the steps tell whether it is in force", body = Replaced),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 409, description = "The file is another by now, or is just being written", body = Outdated),
        (status = 413, description = "It is too large for an lvs.cf", body = Problem),
        (status = 422, description = "The text has errors", body = Report<'_>),
        (status = 500, description = "It cannot be written", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(in crate::control) async fn replace(
    Shared(sources): Shared<Sources>,
    Who(who): Who,
    body: Bytes,
) -> Result<Response, Failure> {
    let Replacement {
        text,
        based_on,
        reload,
        discard,
    } = read(&body)?;
    let Fit { bytes, outcome } = sources.desk.read(text).await?;
    if outcome.site.is_none() {
        let report = Report::of(&outcome);
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(report)).into_response());
    }
    let (version, kept) = match sources.desk.write(bytes, based_on.clone()).await {
        Ok(written) => written,
        Err(NotWritten::Failed(failure)) => return Err(failure),
        Err(NotWritten::Outdated(outdated)) => {
            return Ok((StatusCode::CONFLICT, Json(outdated)).into_response());
        }
    };
    let file = sources.desk.name();
    let text = match (&kept, version == based_on) {
        (_, true) => format!("{file} says this already"),
        (Some(kept), false) => format!("{file} is written; version {} is what it was", kept.number),
        (None, false) => format!("{file} is written"),
    };
    if version != based_on {
        let about = About::ALL.by(&who);
        sources.journal.tell(Kind::Written, about, text.clone());
    }
    let done = |step, text| Step {
        step,
        done: true,
        text,
    };
    let warnings = outcome.diagnostics.len();
    let mut steps = vec![
        done(Stage::Check, format!("no errors, {warnings} warnings")),
        done(Stage::Write, text),
    ];
    let mut reloaded = None;
    if reload {
        match reload_now(&sources, discard, who).await? {
            Ok(done_so) => {
                let text = format!("{file} was read again, {} different", done_so.changed.len());
                steps.push(done(Stage::Reload, text));
                reloaded = Some(done_so);
            }
            Err(text) => steps.push(Step {
                step: Stage::Reload,
                done: false,
                text,
            }),
        }
    }
    let replaced = Replaced {
        version,
        steps,
        diagnostics: located(&outcome),
        reloaded,
    };
    Ok(Json(replaced).into_response())
}

/// Has the daemon read lvs.cf again.
pub(in crate::control) async fn reload_now(
    sources: &Sources,
    discard: bool,
    who: String,
) -> Result<Result<Reloaded, String>, Failure> {
    let request = |reply| Request::Reload {
        discard,
        who,
        reply,
    };
    ask(&sources.requests, request).await
}

/// The versions of lvs.cf that were replaced, the newest first.
#[utoipa::path(
    get,
    path = CONFIG_VERSIONS,
    tag = "configuration",
    responses(
        (status = 200, description = "Those that are kept", body = Kept),
        (status = 500, description = "They cannot be read", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(in crate::control) async fn kept(
    Shared(sources): Shared<Sources>,
) -> Result<Response, Failure> {
    Ok(Json(sources.desk.kept().await?).into_response())
}

/// Which version is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::control) struct Number {
    /// Its number.
    number: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::<Self>::from_request_parts(parts, state).await {
            Ok(Path(number)) => Ok(number),
            Err(error) => {
                let text = format!("versions have numbers: {}", error.body_text());
                Err(Failure(StatusCode::BAD_REQUEST, text))
            }
        }
    }
}

/// What lvs.cf said in a version that was replaced. To go back to it, `PUT` it.
#[utoipa::path(
    get,
    path = CONFIG_VERSION,
    tag = "configuration",
    params(Number),
    responses(
        (status = 200, description = "What it said", body = KeptOne),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 404, description = "There is no such version", body = Problem),
        (status = 500, description = "It cannot be read", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(in crate::control) async fn kept_one(
    Shared(sources): Shared<Sources>,
    Number { number }: Number,
) -> Result<Response, Failure> {
    Ok(Json(sources.desk.kept_one(number).await?).into_response())
}
