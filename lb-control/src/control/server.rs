//! The daemon's side of the socket.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener as StdListener, UnixStream as StdStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::unistd::{Group, chown};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::mpsc,
};

use super::{
    configuration::Desk,
    metrics,
    request::Request,
    routes::{public, routes},
    serve::{Limits, serve},
};
use crate::{
    dataplane::connections::FlowTables,
    event::Event,
    explain::explainer::Explainer,
    fos, health,
    heartbeat::runner::{self, PairState},
    journal::Journal,
    status::{InterfaceStatus, StatusReport},
};

/// Who can answer.
#[derive(Clone)]
pub struct Sources {
    /// The reconciler.
    pub events: mpsc::Sender<Event>,
    /// What is asked of the daemon as a whole.
    pub requests: mpsc::Sender<Request>,
    /// The flow tables.
    pub flows: Arc<dyn FlowTables>,
    /// The nannies.
    pub nannies: health::Handle,
    /// Who tells what would become of packets.
    pub explainer: Explainer,
    /// The decision log.
    pub log: super::log::Log,
    /// The interfaces with the program on them.
    pub interfaces: tokio::sync::watch::Receiver<Vec<InterfaceStatus>>,
    /// Connection synchronisation.
    pub sync: crate::sync::runner::Shown,
    /// The pair.
    pub pair: tokio::sync::watch::Receiver<PairState>,
    /// The failover services.
    pub failovers: tokio::sync::watch::Receiver<fos::Report>,
    /// What happened.
    pub journal: Journal,
    /// What was measured last.
    pub measured: metrics::Last,
    /// Who reads and writes lvs.cf.
    pub desk: Desk,
}

impl Sources {
    /// Adds to a report what the reconciler does not know.
    pub(super) fn complete(&self, report: &mut StatusReport) {
        report.add_interfaces(&self.interfaces.borrow());
        report.add_pair(&self.pair.borrow(), runner::now());
        report.add_failovers(&self.failovers.borrow().services, Instant::now());
        report.add_sync(&self.sync.get());
    }
}

/// What commands may take.
const COMMANDS: Limits = Limits {
    clients: 256,
    head: Duration::from_secs(10),
    stall: Duration::from_secs(30),
};

/// What readers of metrics may take, who can be anybody.
const READERS: Limits = Limits {
    clients: 16,
    head: Duration::from_secs(5),
    stall: Duration::from_secs(10),
};

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
    /// Listens at `path`, which only its owner and group may use: this one, if one is given. A socket that a
    /// daemon left behind is replaced.
    ///
    /// # Errors
    /// If another daemon listens there, the place cannot be written, or there is no such group.
    pub fn listen(path: &Path, group: Option<&str>) -> anyhow::Result<Self> {
        let context = || format!("listening on {}", path.display());
        let group = group.map(group_id).transpose()?;
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
        if let Some(group) = group {
            chown(path, None, Some(group)).with_context(context)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).with_context(context)?;
        listener.set_nonblocking(true).with_context(context)?;
        Ok(Self {
            listener: UnixListener::from_std(listener).with_context(context)?,
            _trace: trace,
        })
    }

    /// Answers until it is dropped.
    pub async fn serve(self, sources: Sources) {
        let Self { listener, _trace } = self;
        serve(listener, routes(sources), COMMANDS, Peer::of).await;
    }
}

/// The number of a group.
fn group_id(name: &str) -> anyhow::Result<nix::unistd::Gid> {
    let group = Group::from_name(name).with_context(|| format!("looking for the group {name}"))?;
    match group {
        Some(group) => Ok(group.gid),
        None => bail!("there is no group {name}"),
    }
}

/// Tells everybody who comes what is measured, and nothing else, until it is dropped.
pub async fn serve_metrics(listener: TcpListener, sources: Sources) {
    serve(listener, public(sources), READERS, |_: &TcpStream| ()).await;
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

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> Self {
        let Ok(peer) = stream.peer_cred() else {
            return Self("somebody".to_owned());
        };
        let uid = peer.uid();
        let pid = peer.pid().map(|pid| format!(" pid {pid}"));
        let name = fs::read_to_string(USERS).ok();
        let name = name.and_then(|users| Some(format!(" ({})", user(&users, uid)?)));
        Self(format!(
            "uid {uid}{}{}",
            pid.unwrap_or_default(),
            name.unwrap_or_default()
        ))
    }
}

/// The users of this machine. Those of a directory are not asked for, since that may take long.
const USERS: &str = "/etc/passwd";

/// What a user is called there.
fn user(users: &str, uid: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_called_as_on_this_machine() {
        let users = "root:x:0:0:root:/root:/bin/sh\n+::::::\n\nada:x:1000:1000::/:/bin/sh\n";
        let table = [(0, Some("root")), (1000, Some("ada")), (1, None)];
        for (uid, expected) in table {
            assert_eq!(user(users, uid), expected, "{uid}");
        }
    }

    #[tokio::test]
    async fn a_group_that_there_is_not_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/lb.sock");
        let refused = Socket::listen(&path, Some("no-such-group")).err().unwrap();
        assert_eq!(refused.to_string(), "there is no group no-such-group");
        assert!(!path.parent().unwrap().exists());
    }
}
