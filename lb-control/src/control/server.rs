//! The daemon's side of the socket.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener as StdListener, UnixStream as StdStream},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use axum::{
    Json, Router,
    extract::{ConnectInfo, State as Shared, connect_info::Connected},
    http::StatusCode,
    routing::{get, post},
    serve::IncomingStream,
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};

use super::{
    SERVER, STATUS,
    order::{Answer, Order},
};
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
    /// The decision log.
    pub log: super::log::Log,
    /// The interfaces with the program on them.
    pub interfaces: tokio::sync::watch::Receiver<Vec<InterfaceStatus>>,
}

/// A socket that is removed when it is no longer listened on, with its folder if that was made for
/// it.
pub struct Socket {
    listener: UnixListener,
    _trace: Trace,
}

/// What a socket leaves in the file system.
struct Trace {
    path: PathBuf,
    folder: Option<PathBuf>,
}

impl Socket {
    /// Listens at `path`, which only its owner and group may use. A socket that a daemon left
    /// behind is replaced.
    ///
    /// # Errors
    /// If another daemon listens there, or the place cannot be written.
    pub fn listen(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("listening on {}", path.display());
        if StdStream::connect(path).is_ok() {
            bail!("another lb listens on {}", path.display());
        }
        let missing = path.parent().filter(|folder| !folder.exists());
        if let Some(folder) = missing {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let trace = Trace {
            path: path.to_owned(),
            folder: missing.map(Path::to_owned),
        };
        let _ = fs::remove_file(path);
        let listener = StdListener::bind(path).with_context(context)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).with_context(context)?;
        listener.set_nonblocking(true).with_context(context)?;
        Ok(Self {
            listener: UnixListener::from_std(listener).with_context(context)?,
            _trace: trace,
        })
    }

    /// Answers until the daemon ends.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn serve(self, sources: Sources) -> std::io::Result<()> {
        let Self { listener, _trace } = self;
        let log = sources.log.clone();
        let routes = Router::new()
            .route(STATUS, get(status))
            .route(SERVER, post(order))
            .with_state(sources)
            .merge(super::log::routes(log))
            .into_make_service_with_connect_info::<Peer>();
        axum::serve(listener, routes).await
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = &self.folder {
            // Somebody else may have put something there meanwhile.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Who asks, as the kernel says.
#[derive(Debug, Clone)]
struct Peer(String);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(match stream.io().peer_cred() {
            Ok(peer) => match peer.pid() {
                Some(pid) => format!("uid {} pid {pid}", peer.uid()),
                None => format!("uid {}", peer.uid()),
            },
            Err(_) => "somebody".to_owned(),
        })
    }
}

async fn order(
    Shared(sources): Shared<Sources>,
    ConnectInfo(Peer(who)): ConnectInfo<Peer>,
    Json(order): Json<Order>,
) -> Result<Json<Answer>, (StatusCode, Json<Answer>)> {
    let gone = || {
        let text = "the daemon is about to end".to_owned();
        (StatusCode::SERVICE_UNAVAILABLE, Json(Answer { text }))
    };
    let (reply, answer) = oneshot::channel();
    let event = Event::Ordered { order, who, reply };
    sources.events.send(event).await.map_err(|_| gone())?;
    match answer.await.map_err(|_| gone())? {
        Ok(text) => Ok(Json(Answer { text })),
        Err(unknown) => {
            let text = unknown.to_string();
            Err((StatusCode::NOT_FOUND, Json(Answer { text })))
        }
    }
}

async fn status(Shared(sources): Shared<Sources>) -> Result<Json<StatusReport>, StatusCode> {
    let (reply, answer) = oneshot::channel();
    let asked = sources.events.send(Event::Status(reply)).await;
    asked.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let mut report = answer.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    report.add_probes(&sources.nannies.snapshot().await);
    report.add_interfaces(&sources.interfaces.borrow());
    Ok(Json(report))
}
