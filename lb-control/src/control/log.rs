//! The decision log over the socket: switching it on and off, and reading along.

use std::path::Path;

use anyhow::{Context, bail};
use axum::{
    body::Body,
    extract::State as Shared,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixStream,
    sync::{broadcast, mpsc, oneshot},
};
use utoipa::ToSchema;

use super::{
    LOG,
    order::Answer,
    routes::{Failure, Problem, read},
    server::Sources,
    who::{Behalf, Who},
};

/// No refusal is longer, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// What is to become of the decision log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// One packet of so many is logged, by chance.
    #[schema(minimum = 1)]
    pub sample: u32,
    /// Only packets that end here.
    pub drops_only: bool,
}

/// What is asked of the decision log.
#[derive(Debug)]
pub struct Asked {
    /// A wish, or that it be switched off.
    pub wish: Option<Wish>,
    /// Who asks.
    pub who: String,
    /// Where the answer goes: an error in words.
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// Who carries wishes out, and whose lines are read.
#[derive(Debug, Clone)]
pub struct Log {
    /// Takes wishes.
    pub wishes: mpsc::Sender<Asked>,
    /// Gives lines.
    pub lines: broadcast::Sender<String>,
}

/// Switches the decision log on.
#[utoipa::path(
    post,
    path = LOG,
    tag = "log",
    params(Behalf),
    request_body = Wish,
    responses(
        (status = 204, description = "It is on"),
        (status = 400, description = "The question is not understood", body = Problem),
        (status = 500, description = "It cannot be switched on", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn on(
    Shared(sources): Shared<Sources>,
    Who(who): Who,
    body: Bytes,
) -> Result<Response, Failure> {
    let wish: Wish = read(&body)?;
    if wish.sample == 0 {
        let text = "one of 0 packets is none".to_owned();
        return Err(Failure(StatusCode::BAD_REQUEST, text));
    }
    ask(&sources.log, Some(wish), who).await
}

/// Switches the decision log off.
#[utoipa::path(
    delete,
    path = LOG,
    tag = "log",
    params(Behalf),
    responses(
        (status = 204, description = "It is off"),
        (status = 500, description = "It cannot be switched off", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn off(
    Shared(sources): Shared<Sources>,
    Who(who): Who,
) -> Result<Response, Failure> {
    ask(&sources.log, None, who).await
}

async fn ask(log: &Log, wish: Option<Wish>, who: String) -> Result<Response, Failure> {
    match super::ask::ask(&log.wishes, |reply| Asked { wish, who, reply }).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(text) => Err(Failure(StatusCode::INTERNAL_SERVER_ERROR, text)),
    }
}

/// Lines as they come. Whoever reads too slowly misses some, and is told how many.
#[utoipa::path(
    get,
    path = LOG,
    tag = "log",
    responses(
        (status = 200, description = "Lines without end", body = String, content_type = "text/plain"),
    ),
)]
pub(super) async fn follow(Shared(sources): Shared<Sources>) -> Response {
    let lines = sources.log.lines.subscribe();
    // The head of the answer goes out with its first piece.
    let first = Ok::<_, std::io::Error>(Bytes::new());
    let rest = stream::unfold(lines, |mut lines| async {
        let line = match lines.recv().await {
            Ok(line) => line,
            Err(broadcast::error::RecvError::Lagged(missed)) => format!("{missed} lines missed"),
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((Ok(Bytes::from(line + "\n")), lines))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::iter([first]), rest));
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

/// Switches the decision log of the daemon on, or off.
///
/// # Errors
/// If no daemon listens at `socket`, or it cannot.
pub async fn switch(socket: &Path, wish: Option<Wish>) -> anyhow::Result<()> {
    let (method, body) = match wish {
        Some(wish) => (Method::POST, serde_json::to_vec(&wish)?),
        None => (Method::DELETE, Vec::new()),
    };
    send(socket, method, body).await.map(drop)
}

/// Calls `print` for each line that the daemon logs, until it ends or `print` fails.
///
/// # Errors
/// If no daemon listens at `socket`, or a line cannot be printed.
pub async fn read_along(
    socket: &Path,
    mut print: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let mut body = send(socket, Method::GET, Vec::new()).await?;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the daemon has ended")?;
        if let Some(lines) = frame.data_ref() {
            print(lines)?;
        }
    }
    Ok(())
}

async fn send(
    socket: &Path,
    method: Method,
    body: Vec<u8>,
) -> anyhow::Result<hyper::body::Incoming> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no daemon answers at {}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(LOG)
        .header("host", "lb")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender
        .send_request(request)
        .await
        .context("asking the daemon")?;
    let status = response.status();
    if status.is_success() {
        return Ok(response.into_body());
    }
    let refusal = Limited::new(response.into_body(), MAX_REFUSAL)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("reading the daemon's answer: {error}"))?
        .to_bytes();
    match serde_json::from_slice(&refusal) {
        Ok(Answer { text }) => bail!(text),
        Err(_) => bail!("the daemon answers {status}"),
    }
}
