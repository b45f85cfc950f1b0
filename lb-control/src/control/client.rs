//! The commands' side of the socket.

use std::path::Path;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, http::request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{
    SERVER, STATUS,
    order::{Answer, Order},
};
use crate::status::StatusReport;

/// No answer is longer, in bytes.
const MAX_ANSWER: usize = 256 << 20;

/// Asks the daemon how things are.
///
/// # Errors
/// If no daemon listens at `socket`, or its answer is not understood.
pub async fn status(socket: &Path) -> anyhow::Result<StatusReport> {
    let request = Request::get(STATUS);
    let body = ask(socket, request, Bytes::new()).await?;
    serde_json::from_slice(&body).context("the daemon's answer is not understood")
}

/// Tells the daemon what is to become of a real server. What became of it, in words.
///
/// # Errors
/// If no daemon listens at `socket`, or it knows no such server.
pub async fn order(socket: &Path, order: &Order) -> anyhow::Result<String> {
    let request = Request::post(SERVER).header("content-type", "application/json");
    let body = ask(socket, request, serde_json::to_vec(order)?.into()).await?;
    let answer: Answer =
        serde_json::from_slice(&body).context("the daemon's answer is not understood")?;
    Ok(answer.text)
}

async fn ask(socket: &Path, request: request::Builder, body: Bytes) -> anyhow::Result<Bytes> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no daemon answers at {}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = request.header("host", "lb").body(Full::new(body))?;
    let response = sender
        .send_request(request)
        .await
        .context("asking the daemon")?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("reading the daemon's answer: {error}"))?
        .to_bytes();
    connection.abort();
    if !status.is_success() {
        // What was wrong with the question is said in words.
        if let Ok(Answer { text }) = serde_json::from_slice(&body) {
            bail!(text);
        }
        bail!("the daemon answers {status}");
    }
    Ok(body)
}
