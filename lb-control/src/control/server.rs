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
use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::{net::UnixListener, sync::mpsc};

use super::{request::Request, routes::routes};
use crate::{event::Event, health, status::InterfaceStatus};

/// Who can answer.
#[derive(Clone)]
pub struct Sources {
    /// The reconciler.
    pub events: mpsc::Sender<Event>,
    /// What is asked of the daemon as a whole.
    pub requests: mpsc::Sender<Request>,
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
        let routes = routes(sources)
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
pub(super) struct Peer(pub(super) String);

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
