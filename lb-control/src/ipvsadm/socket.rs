//! The daemon, at the other end of its socket.

use std::{io, path::PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    http::{StatusCode, request},
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, runtime::Runtime};

use super::director::{Director, Fault};
use crate::control::{
    change::{Changes, Made, Refused},
    connection::Connection,
    table::Table,
};

/// Where changes are taken.
const CHANGES: &str = "/v1/changes";

/// Where the table is told.
const TABLE: &str = "/v1/table";

/// Where connections are told.
const CONNECTIONS: &str = "/v1/connections";

/// No line about a connection is longer, in bytes.
const MAX_LINE: usize = 64 << 10;

/// The daemon, at the other end of its socket.
#[derive(Debug)]
pub struct Daemon {
    socket: PathBuf,
    runtime: Runtime,
}

impl Daemon {
    /// The one that listens at `socket`; it is not called before it is asked something.
    ///
    /// # Errors
    /// If this process may not wait for anything.
    pub fn at(socket: PathBuf) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self { socket, runtime })
    }

    async fn ask(
        &self,
        request: request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, Fault> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                return Fault::Denied;
            }
            let socket = self.socket.display();
            Fault::Other(format!("no daemon answers at {socket}: {error}"))
        })?;
        let unasked = |error: hyper::Error| Fault::Other(format!("asking the daemon: {error}"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(unasked)?;
        // It ends with the answer, or with this process.
        tokio::spawn(connection);
        let request = request
            .header("host", "lb")
            .body(Full::new(body))
            .map_err(|error| Fault::Other(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(unasked)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
            return Err(Fault::Denied);
        }
        let body = collect(response).await?;
        Err(match serde_json::from_slice::<Refused>(&body) {
            Ok(refused) => Fault::Refused(refused),
            Err(_) => Fault::Other(format!("the daemon answers {status}")),
        })
    }

    async fn connections(
        &self,
        each: &mut dyn FnMut(Connection) -> io::Result<()>,
    ) -> Result<(), Fault> {
        let response = self.ask(Request::get(CONNECTIONS), Bytes::new()).await?;
        let mut body = response.into_body();
        let mut waiting: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| lost(&error))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            waiting.extend_from_slice(data);
            let whole = match waiting.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => end + 1,
                None if waiting.len() > MAX_LINE => {
                    return Err(misunderstood(&"a line without end"));
                }
                None => continue,
            };
            lines(&waiting[..whole], each)?;
            waiting.drain(..whole);
        }
        lines(&waiting, each)
    }
}

impl Director for Daemon {
    fn table(&mut self) -> Result<Table, Fault> {
        let body = self.runtime.block_on(async {
            let response = self.ask(Request::get(TABLE), Bytes::new()).await?;
            collect(response).await
        })?;
        serde_json::from_slice(&body).map_err(|error| misunderstood(&error))
    }

    fn connections(
        &mut self,
        each: &mut dyn FnMut(Connection) -> io::Result<()>,
    ) -> Result<(), Fault> {
        self.runtime.block_on(Self::connections(self, each))
    }

    fn change(&mut self, changes: &Changes) -> Result<Made, Fault> {
        let body = serde_json::to_vec(changes).map_err(|error| misunderstood(&error))?;
        let body = self.runtime.block_on(async {
            let request = Request::post(CHANGES).header("content-type", "application/json");
            let response = self.ask(request, body.into()).await?;
            collect(response).await
        })?;
        serde_json::from_slice(&body).map_err(|error| misunderstood(&error))
    }
}

fn lines(text: &[u8], each: &mut dyn FnMut(Connection) -> io::Result<()>) -> Result<(), Fault> {
    for line in text.split(|byte| *byte == b'\n') {
        if !line.is_empty() {
            each(serde_json::from_slice(line).map_err(|error| misunderstood(&error))?)?;
        }
    }
    Ok(())
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, Fault> {
    let body = response.into_body().collect().await;
    Ok(body.map_err(|error| lost(&error))?.to_bytes())
}

fn lost(error: &hyper::Error) -> Fault {
    Fault::Other(format!("reading the daemon's answer: {error}"))
}

fn misunderstood(error: &dyn std::fmt::Display) -> Fault {
    Fault::Other(format!("the daemon's answer is not understood: {error}"))
}
