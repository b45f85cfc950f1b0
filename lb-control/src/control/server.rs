//! The daemon's side of the socket.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener as StdListener},
    path::{Path, PathBuf},
};

use anyhow::Context;
use axum::{Json, Router, extract::State as Shared, http::StatusCode, routing::get};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};

use super::STATUS;
use crate::{
    event::Event,
    health,
    status::{InterfaceStatus, StatusReport},
};

/// Who can answer.
#[derive(Clone)]
pub struct Sources {
    /// The reconciler.
    pub events: mpsc::Sender<Event>,
    /// The nannies.
    pub nannies: health::Handle,
    /// The interfaces with the program on them.
    pub interfaces: tokio::sync::watch::Receiver<Vec<InterfaceStatus>>,
}

/// A socket that is removed when it is no longer listened on.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`, which only its owner and group may use. A socket that a daemon left
    /// behind is replaced: the caller holds the lock that says there is no other.
    ///
    /// # Errors
    /// If the place cannot be written.
    pub fn listen(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("listening on {}", path.display());
        let _ = fs::remove_file(path);
        let listener = StdListener::bind(path).with_context(context)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).with_context(context)?;
        listener.set_nonblocking(true).with_context(context)?;
        Ok(Self {
            listener: UnixListener::from_std(listener).with_context(context)?,
            path: path.to_owned(),
        })
    }

    /// Answers until the daemon ends.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn serve(self, sources: Sources) -> std::io::Result<()> {
        let Self { listener, path } = self;
        let _remover = Remover(path);
        let routes = Router::new().route(STATUS, get(status)).with_state(sources);
        axum::serve(listener, routes).await
    }
}

struct Remover(PathBuf);

impl Drop for Remover {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn status(Shared(sources): Shared<Sources>) -> Result<Json<StatusReport>, StatusCode> {
    let (reply, answer) = oneshot::channel();
    let asked = sources.events.send(Event::Status(reply)).await;
    asked.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let mut report = answer.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    report.add_probes(&sources.nannies.snapshot().await);
    report.interfaces.clone_from(&sources.interfaces.borrow());
    Ok(Json(report))
}
