//! The decision log over the socket: switching it on and off, and reading along.

use std::path::Path;

use anyhow::{Context, bail};
use axum::{
    Json, Router,
    body::Body,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
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

/// The path of the decision log.
const LOG: &str = "/v1/log";

/// No refusal is longer, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// What is to become of the decision log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// One packet of so many is logged, by chance.
    pub sample: u32,
    /// Only packets that end here.
    pub drops_only: bool,
}

/// A wish, or the wish that it be switched off, and where the answer goes: an error in words.
pub type Asked = (Option<Wish>, oneshot::Sender<Result<(), String>>);

/// Who carries wishes out, and whose lines are read.
#[derive(Debug, Clone)]
pub struct Log {
    /// Takes wishes.
    pub wishes: mpsc::Sender<Asked>,
    /// Gives lines.
    pub lines: broadcast::Sender<String>,
}

/// What the daemon answers below the path of the decision log.
pub(super) fn routes(log: Log) -> Router {
    let log_route = get(follow).post(on).delete(off);
    Router::new().route(LOG, log_route).with_state(log)
}

async fn on(Shared(log): Shared<Log>, Json(wish): Json<Wish>) -> Response {
    ask(&log, Some(wish)).await
}

async fn off(Shared(log): Shared<Log>) -> Response {
    ask(&log, None).await
}

async fn ask(log: &Log, wish: Option<Wish>) -> Response {
    let (reply, answer) = oneshot::channel();
    if log.wishes.send((wish, reply)).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match answer.await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Lines as they come. Whoever reads too slowly misses some, and is told how many.
async fn follow(Shared(log): Shared<Log>) -> Body {
    let lines = log.lines.subscribe();
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
    Body::from_stream(futures_util::StreamExt::chain(stream::iter([first]), rest))
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
    bail!(
        "the daemon answers {status}: {}",
        String::from_utf8_lossy(&refusal)
    );
}
