//! What the partner's web tool asks of this one. It has no session: it proves with each push that it has the key.

use std::{net::IpAddr, sync::LazyLock};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::Semaphore, time::Instant};

use super::super::{
    app::App,
    draft::LARGEST,
    form::Asked,
    guard,
    partner::{
        CHALLENGE, CHALLENGE_PATH, CONFIG_PATH, Complaint, DIGEST, Digest, Given, Nonce, PROOF,
        Partner, Pushed, asks, is_of_client, server_proof,
    },
    token::random,
};
use crate::{
    control::{
        client::{self, Daemon, NotReplaced},
        configuration::{Outdated, Replacement},
    },
    heartbeat::key::Key,
    journal::since_1970,
};

/// What the audit log calls it.
const WHAT: &str = "push lvs.cf from the partner";

/// What is said to those who prove the wrong thing.
const STRANGER: &str = "the proof is wrong: the partner has another key, or somebody is in between";

/// Every character of a text may take six in JSON.
const BODY: usize = 6 * LARGEST + (64 << 10);

/// One push at a time is read and carried out.
static TURN: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(1));

/// Those of all paths that need no session but a key.
pub(in crate::web) fn routes() -> Router<App> {
    Router::new()
        .route(CHALLENGE_PATH, get(challenge))
        .route(CONFIG_PATH, post(take))
}

/// Why not, for a program.
#[derive(Debug)]
struct No(StatusCode, String);

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        (status, Json(json!({ "text": text }))).into_response()
    }
}

fn no(status: StatusCode, text: impl Into<String>) -> No {
    No(status, text.into())
}

/// The keys and what they are for, if there are any.
fn known(app: &App) -> Result<(&Partner, Vec<Key>), No> {
    let missing = || {
        no(
            StatusCode::NOT_FOUND,
            "this web tool has no key for a partner",
        )
    };
    let partner = app.partner().ok_or_else(missing)?;
    match partner.keys() {
        Ok(keys) if !keys.is_empty() => Ok((partner, keys)),
        Ok(_) => Err(missing()),
        Err(error) => {
            tracing::error!("{error}");
            let text = "the key for the partner cannot be read; the log of the web tool says why";
            Err(no(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    }
}

#[derive(Debug, Deserialize)]
struct Question {
    nonce: String,
}

async fn challenge(
    State(app): State<App>,
    Asked(Question { nonce }): Asked<Question>,
    request: Request,
) -> Result<Response, No> {
    let (partner, keys) = known(&app)?;
    let (Some(first), Some(certificate)) = (keys.first(), &partner.fingerprint) else {
        let text = "this web tool is behind a proxy and has no certificate of its own; nothing can be pushed to it";
        return Err(no(StatusCode::NOT_FOUND, text));
    };
    let nonce = Nonce::read(&nonce);
    let nonce = nonce.ok_or_else(|| no(StatusCode::BAD_REQUEST, "that is no nonce"))?;
    let proof = word(request.headers(), PROOF).unwrap_or("");
    if !asks(&keys, &nonce, certificate, proof) {
        let why = no(StatusCode::FORBIDDEN, STRANGER);
        let address = guard::address(&app, &request);
        complain(&app, address, (Complaint::Stranger, &why));
        return Err(why);
    }
    let random =
        random().map_err(|error| no(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let challenge = partner.challenges.give(&random, since_1970());
    let proof = server_proof(first, &nonce, &challenge, certificate);
    Ok(Json(Given { challenge, proof }).into_response())
}

/// Writes the file of a partner who proves that it is one, and says what became of it.
async fn take(State(app): State<App>, request: Request) -> Result<Response, Response> {
    let address = guard::address(&app, &request);
    let (parts, body) = request.into_parts();
    let refused = |(complaint, why)| {
        complain(&app, address, (complaint, &why));
        why.into_response()
    };
    let digest = proven(&app, &parts.headers).map_err(refused)?;
    let Ok(_turn) = TURN.try_acquire() else {
        return Err(no(
            StatusCode::SERVICE_UNAVAILABLE,
            "another push is under way; try again",
        )
        .into_response());
    };
    let body = guard::complete(Body::new(body), BODY).await?;
    if Digest::of(&body) != digest {
        let text = "the body is not the one that was signed";
        return Err(refused((Complaint::Echo, no(StatusCode::FORBIDDEN, text))));
    }
    let pushed: Pushed = serde_json::from_slice(&body).map_err(|error| {
        let text = format!("what was pushed is not understood: {error}");
        no(StatusCode::BAD_REQUEST, text).into_response()
    })?;
    let user: String = pushed
        .user
        .chars()
        .filter(|c| !c.is_control())
        .take(64)
        .collect();
    let name = format!("{user} at the partner {address}");
    let done = write(&app, &name, pushed).await;
    let result = match &done {
        Ok((_, text)) => Ok(text.as_str()),
        Err((_, text)) => Err(text.as_str()),
    };
    app.audit.write(&user, address, WHAT, result);
    done.map(|(response, _)| response)
        .map_err(|(response, _)| response)
}

/// Somebody proved nothing, or the wrong thing.
fn complain(app: &App, address: IpAddr, (what, No(_, text)): (Complaint, &No)) {
    let complains = |partner: &Partner| partner.complains(what, Instant::now());
    if app.partner().is_some_and(complains) {
        app.audit.write("", address, WHAT, Err(text));
    }
}

fn word<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The digest of the body that a partner is about to send.
fn proven(app: &App, headers: &HeaderMap) -> Result<Digest, (Complaint, No)> {
    let (partner, keys) = known(app).map_err(|why| (Complaint::Stranger, why))?;
    let forbidden = |what, text: &str| (what, no(StatusCode::FORBIDDEN, text));
    let text = |name| word(headers, name);
    let (Some(challenge), Some(digest), Some(proof), Some(certificate)) = (
        text(CHALLENGE),
        text(DIGEST).and_then(Digest::read),
        text(PROOF),
        &partner.fingerprint,
    ) else {
        return Err(forbidden(Complaint::Stranger, "there is no proof"));
    };
    if !is_of_client(&keys, (challenge, certificate, &digest), proof) {
        return Err(forbidden(Complaint::Stranger, STRANGER));
    }
    let taken = partner.challenges.take(challenge, since_1970());
    taken.map_err(|why| forbidden(Complaint::Echo, &why.to_string()))?;
    Ok(digest)
}

type Told = (Response, String);

async fn write(app: &App, name: &str, pushed: Pushed) -> Result<Told, Told> {
    let failed = |error: anyhow::Error| {
        let text = format!("{error:#}");
        (no(StatusCode::BAD_GATEWAY, &text).into_response(), text)
    };
    let current = client::config(&app.socket).await.map_err(failed)?;
    // A file that says this already is as good as one that it was made of.
    let is_known = pushed.ancestors.contains(&current.version) || current.text == pushed.text;
    if !is_known && !pushed.overwrite {
        return Err(outdated(Outdated {
            text: format!(
                "{} was changed there, and the new text was not made of that; nothing was written",
                current.path
            ),
            version: current.version,
        }));
    }
    let replacement = Replacement {
        text: pushed.text,
        based_on: current.version,
        reload: true,
        discard: false,
    };
    let daemon = Daemon {
        socket: &app.socket,
        on_behalf_of: Some(name),
    };
    match client::replace_config(daemon, &replacement)
        .await
        .map_err(failed)?
    {
        Ok(replaced) => {
            let last = replaced.steps.last();
            let text = last.map_or_else(String::new, |step| step.text.clone());
            Ok((Json(replaced).into_response(), text))
        }
        Err(NotReplaced::Outdated(why)) => Err(outdated(why)),
        Err(NotReplaced::Errors(report)) => {
            let errors = report.diagnostics.iter();
            let first = errors
                .map(|one| one.message.as_ref())
                .next()
                .unwrap_or_default();
            let text = format!("the text has errors there: {first}");
            Err((
                no(StatusCode::UNPROCESSABLE_ENTITY, &text).into_response(),
                text,
            ))
        }
    }
}

fn outdated(outdated: Outdated) -> Told {
    let text = outdated.text.clone();
    ((StatusCode::CONFLICT, Json(outdated)).into_response(), text)
}
