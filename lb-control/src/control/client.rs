//! The commands' side of the socket.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

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
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

use super::{
    CHANGES, CONFIG, CONFIG_CHECK, CONFIG_VERSION, CONFIG_VERSIONS, CONNECTIONS, DIFF, EVENTS,
    EXPLAIN, FAILOVER, METRICS, ON_BEHALF_OF, PROBE, PROC, RELOAD, SERVER, STATUS, TABLE,
    change::{Changes, Made, Refused},
    configuration::{Current, Examined, Kept, KeptOne, Outdated, Replaced, Replacement},
    connection::Wanted,
    metrics::Compat,
    order::{Answer, Order},
    probe::{Trial, Tried},
    proc,
    request::{Comparison, Failover, Reloaded},
    table::Table,
};
use crate::{
    config::{check::Answer as Report, text::Text},
    explain::{explainer, story::Story},
    journal,
    model::ServiceId,
    status::StatusReport,
};

/// No answer is longer, in bytes.
const MAX_ANSWER: usize = 1 << 30;

/// When an answer takes so long, it is looked whether the daemon gets on at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it has to show that.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

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
    let (response, connection) = send(socket, Request::get(path), Vec::new()).await?;
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

/// Asks for lvs.cf as it stands.
///
/// # Errors
/// If no daemon listens at `socket`, or it cannot read the file.
pub async fn config(socket: &Path) -> anyhow::Result<Current> {
    get(socket, CONFIG).await
}

/// Has a text checked that may become lvs.cf.
///
/// # Errors
/// If no daemon listens at `socket`, or the text cannot be one. That it has errors is an answer.
pub async fn check_config(socket: &Path, text: &Text) -> anyhow::Result<Examined> {
    let body = ask(socket, post(CONFIG_CHECK), serde_json::to_vec(text)?).await?;
    read(&body.or_else(Problem::raise)?)
}

/// Why lvs.cf was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReplaced {
    /// It is another than the one that the text was made of.
    Outdated(Outdated),
    /// The text has errors.
    Errors(Report<'static>),
}

/// Has lvs.cf written.
///
/// # Errors
/// If no daemon listens at `socket`, or it cannot write the file. A refusal is an answer.
pub async fn replace_config(
    daemon: impl Into<Daemon<'_>>,
    replacement: &Replacement,
) -> anyhow::Result<Result<Replaced, NotReplaced>> {
    let request = Request::put(CONFIG).header("content-type", "application/json");
    let answer = ask(daemon, request, serde_json::to_vec(replacement)?).await?;
    let Problem { status, body } = match answer {
        Ok(body) => return Ok(Ok(read(&body)?)),
        Err(problem) => problem,
    };
    let refused = match status {
        StatusCode::CONFLICT => serde_json::from_slice(&body)
            .map(NotReplaced::Outdated)
            .ok(),
        StatusCode::UNPROCESSABLE_ENTITY => {
            serde_json::from_slice(&body).map(NotReplaced::Errors).ok()
        }
        _ => None,
    };
    match refused {
        Some(refused) => Ok(Err(refused)),
        None => Problem { status, body }.raise(),
    }
}

/// Asks for the versions of lvs.cf that were replaced, the newest first.
///
/// # Errors
/// If no daemon listens at `socket`, or it cannot read them.
pub async fn config_versions(socket: &Path) -> anyhow::Result<Kept> {
    get(socket, CONFIG_VERSIONS).await
}

/// Asks for one of them.
///
/// # Errors
/// If no daemon listens at `socket`, or there is no such version.
pub async fn config_version(socket: &Path, number: u64) -> anyhow::Result<KeptOne> {
    let path = CONFIG_VERSION.replace("{number}", &number.to_string());
    get(socket, &path).await
}

/// Has a real server checked once.
///
/// # Errors
/// If no daemon listens at `socket`, or the server is not known, not checked, or not decided in time.
pub async fn probe(daemon: impl Into<Daemon<'_>>, trial: &Trial) -> anyhow::Result<Tried> {
    let body = ask(daemon, post(PROBE), serde_json::to_vec(trial)?).await?;
    read(&body.or_else(Problem::raise)?)
}

/// Asks what would become of a packet.
///
/// # Errors
/// If no daemon listens at `socket`, or the packet cannot be tried.
pub async fn explain(socket: &Path, wanted: &explainer::Wanted) -> anyhow::Result<Story> {
    get(socket, &format!("{EXPLAIN}?{}", query(wanted)?)).await
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

/// What stands at a path.
///
/// # Errors
/// If no daemon listens at `socket`.
pub(crate) async fn text(socket: &Path, path: &str) -> anyhow::Result<Bytes> {
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

/// What an answer says.
///
/// # Errors
/// If it is not understood.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
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
    let daemon = daemon.into();
    let (response, connection) = send(daemon, request, body).await?;
    let answer = while_alive(daemon.socket, collect(response)).await;
    connection.abort();
    answer?
}

/// Waits for the daemon for as long as it takes, if it gets on. An order may take a while, and an event may never come;
/// but one that is frozen answers nobody.
async fn while_alive<T>(socket: &Path, answer: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        if let Ok(answer) = timeout(PATIENCE, &mut answer).await {
            return Ok(answer);
        }
        let question = Request::get(format!("{EVENTS}?limit=0&wait=0"));
        let asked = async {
            let (mut sender, connection) = connect(socket).await?;
            let response = sender.send_request(request(question, Vec::new())?).await;
            connection.abort();
            anyhow::Ok(response.map(drop)?)
        };
        // If that breaks, so does what is waited for, with a reason of its own.
        if timeout(SIGN_OF_LIFE, asked).await.is_err() {
            bail!(
                "the daemon at {} does not answer: its process is there, but does not get on",
                socket.display()
            );
        }
    }
}

/// The head of the answer, and what brings the rest of it.
///
/// # Errors
/// If no daemon answers.
pub(crate) async fn send(
    daemon: impl Into<Daemon<'_>>,
    mut request: request::Builder,
    body: Vec<u8>,
) -> anyhow::Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>)> {
    let Daemon {
        socket,
        on_behalf_of,
    } = daemon.into();
    if let Some(name) = on_behalf_of {
        request = request.header(ON_BEHALF_OF, name);
    }
    let (mut sender, connection) = connect(socket).await?;
    let sent = sender.send_request(self::request(request, body)?);
    let response = while_alive(socket, sent).await?;
    Ok((response.context("asking the daemon")?, connection))
}

type Asking = http1::SendRequest<Full<Bytes>>;

async fn connect(socket: &Path) -> anyhow::Result<(Asking, JoinHandle<hyper::Result<()>>)> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no daemon answers at {}", socket.display()))?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    Ok((sender, tokio::spawn(connection)))
}

fn request(request: request::Builder, body: Vec<u8>) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = Full::new(Bytes::from(body));
    Ok(request.header("host", "lb").body(body)?)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
        time::sleep,
    };

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// A frozen daemon: the kernel takes connections for it.
    #[tokio::test(start_paused = true)]
    async fn a_frozen_daemon_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("lb.sock");
        let _frozen = UnixListener::bind(&socket).unwrap();
        let error = status(&socket).await.unwrap_err().to_string();
        assert!(
            error.ends_with("its process is there, but does not get on"),
            "{error}"
        );
        let error = connections(&socket, &Wanted::default(), |_| Ok(()))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }

    /// One that takes an hour for its answer, and a second for anything else.
    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_gets_on_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("lb.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let is_first = ASKED.fetch_add(1, Ordering::Relaxed) == 0;
                tokio::spawn(async move {
                    let mut question = [0; 1024];
                    assert!(stream.read(&mut question).await.unwrap() > 0);
                    sleep(if is_first {
                        HOUR
                    } else {
                        Duration::from_secs(1)
                    })
                    .await;
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
                    stream.write_all(answer).await.unwrap();
                });
            }
        });
        let answer = metrics(&socket, None).await.unwrap();
        assert_eq!(&answer[..], b"hi");
        assert!(ASKED.load(Ordering::Relaxed) > 100);
    }
}
