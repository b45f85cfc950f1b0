//! The way to the partner: one connection for the challenge and the file.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    super::token::random, Address, CHALLENGE, CHALLENGE_PATH, CONFIG_PATH, DIGEST, Digest,
    Fingerprint, Nonce, PROOF, Pushed, asking_proof, client_proof, proof::is_of_server,
};
use crate::{
    control::configuration::{Outdated, Replaced},
    health::of_anybody,
    heartbeat::key::Key,
};

/// For a connection and its handshake.
const REACH: Duration = Duration::from_secs(5);

/// For an answer: the partner checks the file, writes it and reads it again.
const ANSWER: Duration = Duration::from_secs(60);

/// No answer is longer, in bytes.
const LONGEST: usize = 8 << 20;

/// The partner said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) enum NotPushed {
    /// Its file is none of those that this one was made of.
    Outdated(Outdated),
    /// For another reason, in words.
    Refused(String),
}

/// What is answered to somebody who asks for a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::web) struct Given {
    /// The challenge.
    pub(in crate::web) challenge: String,
    /// That it is from somebody who has the key.
    pub(in crate::web) proof: String,
}

/// Has the partner write lvs.cf. The first of the keys signs.
///
/// # Errors
/// If it is not reached, does not have the key, or its answer is not understood. A refusal is an answer.
pub(in crate::web) async fn push(
    address: Address,
    keys: &[Key],
    pushed: &Pushed,
) -> anyhow::Result<Result<Replaced, NotPushed>> {
    let Some(key) = keys.first() else {
        bail!("there is no key for the partner; `lb web key` makes one");
    };
    let reached = timeout(REACH, reach(address)).await;
    let (mut sender, certificate) = reached
        .map_err(|_| anyhow!("no answer within {REACH:?}"))
        .flatten()
        .with_context(|| format!("reaching {address}"))?;

    let nonce = Nonce::of(&random()?);
    let path = format!("{CHALLENGE_PATH}?nonce={}", nonce.as_str());
    let question = Request::get(path).header(PROOF, asking_proof(key, &nonce, &certificate));
    let (status, body) = ask(&mut sender, question, Vec::new()).await?;
    let stranger = || {
        anyhow!(
            "{address} does not have our key, or somebody is in between; nothing was sent to it"
        )
    };
    match status {
        StatusCode::OK => {}
        // It says so of us. That it has our key it has not shown either.
        StatusCode::FORBIDDEN => return Err(stranger()),
        _ => bail!("{address} gives no challenge: {}", words(status, &body)),
    }
    let Given { challenge, proof } =
        serde_json::from_slice(&body).context("the partner's answer is not understood")?;
    if !is_of_server(keys, (&nonce, &challenge, &certificate), &proof) {
        return Err(stranger());
    }

    let body = serde_json::to_vec(pushed)?;
    let digest = Digest::of(&body);
    let request = Request::post(CONFIG_PATH)
        .header("content-type", "application/json")
        .header(CHALLENGE, &challenge)
        .header(DIGEST, digest.as_str())
        .header(PROOF, client_proof(key, &challenge, &certificate, &digest));
    let (status, body) = ask(&mut sender, request, body).await?;
    Ok(match status {
        StatusCode::OK => {
            Ok(serde_json::from_slice(&body).context("the partner's answer is not understood")?)
        }
        StatusCode::CONFLICT => Err(match serde_json::from_slice(&body) {
            Ok(outdated) => NotPushed::Outdated(outdated),
            Err(_) => NotPushed::Refused(words(status, &body)),
        }),
        _ => Err(NotPushed::Refused(words(status, &body))),
    })
}

/// A connection, and the certificate that was seen in its handshake.
async fn reach(address: Address) -> anyhow::Result<(SendRequest<Full<Bytes>>, Fingerprint)> {
    let stream = TcpStream::connect(address.0).await?;
    let config = of_anybody().map_err(anyhow::Error::msg)?;
    let name = ServerName::from(address.0.ip());
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default();
    let first = certificates.first().context("it has no certificate")?;
    let certificate = Fingerprint::of(first);
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    Ok((sender, certificate))
}

async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::http::request::Builder,
    body: Vec<u8>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let request = request
        .header("host", "partner")
        .body(Full::new(Bytes::from(body)))?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        anyhow::Ok((status, body))
    };
    let answered = timeout(ANSWER, answered).await;
    answered
        .map_err(|_| anyhow!("no answer within {ANSWER:?}"))
        .flatten()
        .context("asking the partner")
}

/// What is said in place of an answer.
fn words(status: StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        text: String,
    }
    match serde_json::from_slice(body) {
        Ok(Problem { text }) => text.chars().take(500).collect(),
        Err(_) => format!("it answers {status}"),
    }
}
