//! The daemon, at the other end of its socket.

use std::{io, path::PathBuf};

use anyhow::bail;
use http_body_util::BodyExt;
use hyper::{Request, Response, body::Incoming, http::request};
use tokio::runtime::Runtime;

use super::director::{Director, Fault};
use crate::{
    control::{
        change::{Changes, Made},
        client,
        connection::Connection,
        table::Table,
    },
    model::ServiceId,
};

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

    /// The answer to a question about connections, as it comes.
    async fn ask(&self, request: request::Builder) -> anyhow::Result<Response<Incoming>> {
        let response = client::send(&self.socket, request, Vec::new()).await?;
        // What brings the rest of it ends with the answer, or with this process.
        let (response, _connection) = response;
        if !response.status().is_success() {
            bail!("the daemon answers {}", response.status());
        }
        Ok(response)
    }

    async fn connections(
        &self,
        each: &mut dyn FnMut(Connection) -> io::Result<()>,
    ) -> Result<(), Fault> {
        let response = self.ask(Request::get(CONNECTIONS)).await.map_err(fault)?;
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
    fn table(&mut self, which: Option<ServiceId>) -> Result<Table, Fault> {
        let asked = client::table(&self.socket, which);
        self.runtime.block_on(asked).map_err(fault)
    }

    fn connections(
        &mut self,
        each: &mut dyn FnMut(Connection) -> io::Result<()>,
    ) -> Result<(), Fault> {
        self.runtime.block_on(Self::connections(self, each))
    }

    fn change(&mut self, changes: &Changes) -> Result<Made, Fault> {
        let asked = client::change(&self.socket, changes);
        Ok(self.runtime.block_on(asked).map_err(fault)??)
    }
}

/// Whoever may not open the socket is not root.
fn fault(error: anyhow::Error) -> Fault {
    let is_denied = error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        kind == Some(io::ErrorKind::PermissionDenied)
    });
    match is_denied {
        true => Fault::Denied,
        false => Fault::Other(format!("{error:#}")),
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

fn lost(error: &hyper::Error) -> Fault {
    Fault::Other(format!("reading the daemon's answer: {error}"))
}

fn misunderstood(error: &dyn std::fmt::Display) -> Fault {
    Fault::Other(format!("the daemon's answer is not understood: {error}"))
}
