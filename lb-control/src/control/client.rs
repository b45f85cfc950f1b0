//! The commands' side of the socket.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    http::request,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{net::UnixStream, task::JoinHandle};

use super::{
    CHANGES, CONNECTIONS, DIFF, EVENTS, FAILOVER, METRICS, ON_BEHALF_OF, PROC, RELOAD, SERVER,
    STATUS, TABLE,
    change::{Changes, Made, Refused},
    connection::Wanted,
    metrics::Compat,
    order::{Answer, Order},
    proc,
    request::{Comparison, Failover, Reloaded},
    table::Table,
};
use crate::{journal, model::ServiceId, status::StatusReport};

/// No answer is longer, in bytes.
const MAX_ANSWER: usize = 1 << 30;

/// No line of an answer is longer, in bytes.
const MAX_LINE: usize = 64 << 10;

/// A daemon, and for whom it is asked to change something.
#[derive(Debug, Clone, Copy)]
pub struct Daemon<'a> {
    /// Where it listens.
    pub socket: &'a Path,
    /// Whoever asks asks for somebody else, who is called so ([`super::ON_BEHALF_OF`]).
    pub on_behalf_of: Option<&'a str>,
}

impl<'a> From<&'a Path> for Daemon<'a> {
    fn from(socket: &'a Path) -> Self {
        Self {
            socket,
            on_behalf_of: None,
        }
    }
}

impl<'a> From<&'a PathBuf> for Daemon<'a> {
    fn from(socket: &'a PathBuf) -> Self {
        Self::from(socket.as_path())
    }
}

/// Asks the daemon how things are.
///
/// # Errors
/// If no daemon listens at `socket`, or its answer is not understood.
pub async fn status(socket: &Path) -> anyhow::Result<StatusReport> {
    get(socket, STATUS).await
}

/// Tells the daemon what is to become of a real server. What became of it, in words.
///
/// # Errors
/// If no daemon listens at `socket`, or it knows no such server.
pub async fn order(daemon: impl Into<Daemon<'_>>, order: &Order) -> anyhow::Result<String> {
    let body = ask(daemon, post(SERVER), serde_json::to_vec(order)?).await?;
    let Answer { text } = read(&body.or_else(Problem::raise)?)?;
    Ok(text)
}

/// Has the partner become active, or tells it that this daemon is about to be restarted. What became of it, in words.
///
/// # Errors
/// If no daemon listens at `socket`, or the partner would not take over.
pub async fn failover(daemon: impl Into<Daemon<'_>>, asked: &Failover) -> anyhow::Result<String> {
    let body = ask(daemon, post(FAILOVER), serde_json::to_vec(asked)?).await?;
    let Answer { text } = read(&body.or_else(Problem::raise)?)?;
    Ok(text)
}

/// Asks for the routing table: of one service, else all.
///
/// # Errors
/// If no daemon listens at `socket`, or its answer is not understood.
pub async fn table(socket: &Path, which: Option<ServiceId>) -> anyhow::Result<Table> {
    let path = match which {
        None => TABLE.to_owned(),
        Some(service) => format!("{TABLE}?service={}", encoded(&service.to_string())),
    };
    get(socket, &path).await
}

/// Has the daemon make changes of the table: all of them, or none.
///
/// # Errors
/// If no daemon listens at `socket`, or its answer is not understood. A refusal is an answer.
pub async fn change(
    daemon: impl Into<Daemon<'_>>,
    changes: &Changes,
) -> anyhow::Result<Result<Made, Refused>> {
    Ok(
        match ask(daemon, post(CHANGES), serde_json::to_vec(changes)?).await? {
            Ok(made) => Ok(read(&made)?),
            Err(problem) => match serde_json::from_slice(&problem.body) {
                Ok(refused) => Err(refused),
                Err(_) => problem.raise()?,
            },
        },
    )
}

/// Calls `each` for every flow that is asked for: a line of JSON, a [`super::connection::Connection`], or the
/// one [`super::connection::Count`].
///
/// # Errors
/// If no daemon listens at `socket`, not all could be read, or `each` fails.
pub async fn connections(
    socket: &Path,
    wanted: &Wanted,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let path = format!("{CONNECTIONS}?{}", query(wanted)?);
    let (response, connection) = send(socket.into(), Request::get(path), Vec::new()).await?;
    if !response.status().is_success() {
        return collect(response).await?.or_else(Problem::raise).map(drop);
    }
    let (mut body, mut rest) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the daemon's answer is not complete")?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        rest.extend_from_slice(data);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
            if rest.len() > MAX_LINE {
                bail!("the daemon's answer is not understood: a line without end");
            }
            continue;
        };
        let lines = rest[..end].split(|byte| *byte == b'\n');
        lines.into_iter().try_for_each(&mut each)?;
        rest.drain(..=end);
    }
    connection.abort();
    Ok(())
}

/// Has the daemon read lvs.cf again, and forget changes by command if told to.
///
/// # Errors
/// If no daemon listens at `socket`, or it does not take the file.
pub async fn reload(daemon: impl Into<Daemon<'_>>, discard: bool) -> anyhow::Result<Reloaded> {
    let path = format!("{RELOAD}?discard={discard}");
    let body = ask(daemon, post(&path), Vec::new()).await?;
    read(&body.or_else(Problem::raise)?)
}

/// Asks what a reload would change.
///
/// # Errors
/// If no daemon listens at `socket`, or it would not take the file.
pub async fn compare(socket: &Path) -> anyhow::Result<Comparison> {
    get(socket, DIFF).await
}

/// Asks for events: those after a number, else the newest ones; if there are none, it waits so many seconds
/// for one.
///
/// # Errors
/// If no daemon listens at `socket`, or its answer is not understood.
pub async fn events(
    socket: &Path,
    after: Option<u64>,
    limit: usize,
    wait: u64,
) -> anyhow::Result<journal::Page> {
    let after = after.map_or_else(String::new, |after| format!("&after={after}"));
    get(
        socket,
        &format!("{EVENTS}?limit={limit}&wait={wait}{after}"),
    )
    .await
}

/// Asks for what is measured, as text for Prometheus.
///
/// # Errors
/// If no daemon listens at `socket`.
pub async fn metrics(socket: &Path, compat: Option<Compat>) -> anyhow::Result<Bytes> {
    let path = match compat {
        None => METRICS.to_owned(),
        Some(Compat::Ipvs) => format!("{METRICS}?compat=ipvs"),
    };
    text(socket, &path).await
}

/// Asks for the text of a file as IPVS has it below `/proc/net`.
///
/// # Errors
/// If no daemon listens at `socket`.
pub async fn proc(socket: &Path, file: proc::File) -> anyhow::Result<Bytes> {
    text(socket, &PROC.replace("{file}", &file.to_string())).await
}

async fn text(socket: &Path, path: &str) -> anyhow::Result<Bytes> {
    let body = ask(socket, Request::get(path), Vec::new()).await?;
    body.or_else(Problem::raise)
}

async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<T> {
    let body = ask(socket, Request::get(path), Vec::new()).await?;
    read(&body.or_else(Problem::raise)?)
}

fn post(path: &str) -> request::Builder {
    Request::post(path).header("content-type", "application/json")
}

fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the daemon's answer is not understood")
}

/// An answer that says why there is none.
struct Problem {
    status: StatusCode,
    body: Bytes,
}

impl Problem {
    /// As an error: what was wrong with the question is said in words.
    fn raise<T>(self) -> anyhow::Result<T> {
        match serde_json::from_slice(&self.body) {
            Ok(Answer { text }) => bail!(text),
            Err(_) => bail!("the daemon answers {}", self.status),
        }
    }
}

/// The words of a query.
fn query<T: Serialize>(question: &T) -> anyhow::Result<String> {
    let Value::Object(words) = serde_json::to_value(question)? else {
        bail!("a query has words");
    };
    let word = |(name, value): (&String, &Value)| {
        let value = match value.as_str() {
            Some(text) => encoded(text),
            None => encoded(&value.to_string()),
        };
        format!("{name}={value}")
    };
    Ok(words.iter().map(word).collect::<Vec<_>>().join("&"))
}

/// A value of a query (RFC 3986 §3.4).
fn encoded(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    value.bytes().map(encode).collect()
}

async fn ask(
    daemon: impl Into<Daemon<'_>>,
    request: request::Builder,
    body: Vec<u8>,
) -> anyhow::Result<Result<Bytes, Problem>> {
    let (response, connection) = send(daemon.into(), request, body).await?;
    let answer = collect(response).await;
    connection.abort();
    answer
}

/// The head of the answer, and what brings the rest of it.
async fn send(
    Daemon {
        socket,
        on_behalf_of,
    }: Daemon<'_>,
    mut request: request::Builder,
    body: Vec<u8>,
) -> anyhow::Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>)> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no daemon answers at {}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    if let Some(name) = on_behalf_of {
        request = request.header(ON_BEHALF_OF, name);
    }
    let request = request
        .header("host", "lb")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender
        .send_request(request)
        .await
        .context("asking the daemon")?;
    Ok((response, connection))
}

async fn collect(response: Response<Incoming>) -> anyhow::Result<Result<Bytes, Problem>> {
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("reading the daemon's answer: {error}"))?
        .to_bytes();
    Ok(match status.is_success() {
        true => Ok(body),
        false => Err(Problem { status, body }),
    })
}
