//! The commands' side of the socket.

use std::path::Path;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::STATUS;
use crate::status::StatusReport;

/// No answer is longer, in bytes.
const MAX_ANSWER: usize = 256 << 20;

/// Asks the daemon how things are.
///
/// # Errors
/// If no daemon listens at `socket`, or its answer is not understood.
pub async fn status(socket: &Path) -> anyhow::Result<StatusReport> {
    let body = get(socket, STATUS).await?;
    serde_json::from_slice(&body).context("the daemon's answer is not understood")
}

async fn get(socket: &Path, path: &str) -> anyhow::Result<Bytes> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no daemon answers at {}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "lb")
        .body(Empty::<Bytes>::new())?;
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
        bail!("the daemon answers {status}");
    }
    Ok(body)
}
