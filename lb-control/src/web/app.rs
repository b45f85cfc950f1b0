//! What all pages share.

use std::{
    net::IpAddr,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::Semaphore;

use super::{
    audit::Audit, draft::Drafts, live::Live, partner::Partner, password::PasswordFile,
    session::Sessions, throttle::Throttle,
};

/// How browsers reach the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// By https, from us or from the proxy in front of us.
    Https,
    /// By http on a loopback address.
    Http,
}

/// So many passwords are looked at at a time: each takes 19 MiB and a core for a moment.
const AT_ONCE: usize = 2;

/// What all pages share. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct App(Arc<Parts>);

/// What an [`App`] is made of.
#[derive(Debug)]
pub(super) struct Parts {
    /// The daemon's socket.
    pub(super) socket: PathBuf,
    pub(super) scheme: Scheme,
    /// Whose word is taken for the address of a client.
    pub(super) proxy: Option<IpAddr>,
    pub(super) users: PasswordFile,
    pub(super) sessions: Sessions,
    pub(super) throttle: Throttle,
    pub(super) audit: Audit,
    /// Who may look at a password.
    pub(super) hashing: Semaphore,
    /// What users have changed and not applied.
    drafts: Mutex<Drafts>,
    /// What is known of the partner, if there can be one.
    partner: OnceLock<Partner>,
    /// How things are.
    pub(super) live: Live,
}

impl App {
    /// With the password file and the audit log of a folder, and the daemon at a socket.
    pub(super) fn new(
        folder: &Path,
        socket: &Path,
        scheme: Scheme,
        proxy: Option<IpAddr>,
    ) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Parts {
            socket: socket.to_owned(),
            scheme,
            proxy,
            users: PasswordFile::below(folder),
            sessions: Sessions::default(),
            throttle: Throttle::default(),
            audit: Audit::open(folder)?,
            hashing: Semaphore::new(AT_ONCE),
            drafts: Mutex::default(),
            partner: OnceLock::new(),
            live: Live::default(),
        })))
    }

    /// The same with a partner.
    pub(super) fn with_partner(self, partner: Partner) -> Self {
        // It is a new one, which has none yet.
        let _ = self.0.partner.set(partner);
        self
    }

    /// What is known of the partner, if there can be one.
    pub(super) fn partner(&self) -> Option<&Partner> {
        self.0.partner.get()
    }

    /// What users have changed and not applied.
    pub(super) fn drafts(&self) -> MutexGuard<'_, Drafts> {
        // Whoever panicked with them in hand left each of them whole.
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
