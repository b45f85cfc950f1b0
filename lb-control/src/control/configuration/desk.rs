//! Who reads and writes lvs.cf for clients. All of it may take a while, so it is done on threads for that, a few
//! at a time.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::StatusCode;
use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
};

use super::{super::routes::Failure, Current, Kept, KeptOne, Outdated, Report};
use crate::config::{
    self, LARGEST_FILE, LoadError, Outcome,
    check::examine,
    diagnostic::Located,
    store::{Fingerprint, Listed, Store, StoreError, Stored},
    text::Text,
};

/// How many files are read, checked or written at once; others wait. Each may be 64 MiB.
const AT_ONCE: usize = 2;

/// How many real servers are tried at once; others are told to come again.
const TRIALS: usize = 8;

/// Where lvs.cf is, and what the daemon has read of it.
#[derive(Clone)]
pub struct Desk {
    path: Arc<PathBuf>,
    loaded: watch::Receiver<u64>,
    turns: Arc<Semaphore>,
    /// Room for those who try real servers.
    pub(in crate::control) trials: Arc<Semaphore>,
}

/// A text that can be written.
pub(super) struct Fit {
    pub(super) bytes: Vec<u8>,
    pub(super) outcome: Outcome,
}

/// Why a file was not written.
pub(super) enum NotWritten {
    Outdated(Outdated),
    Failed(Failure),
}

impl From<Failure> for NotWritten {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Desk {
    /// One for this file, of which the daemon has read what comes down to `loaded`.
    #[must_use]
    pub fn new(path: &Path, loaded: watch::Receiver<u64>) -> Self {
        Self {
            path: Arc::new(path.to_owned()),
            loaded,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            trials: Arc::new(Semaphore::new(TRIALS)),
        }
    }

    /// The name of the file, as it was given.
    pub(in crate::control) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The file as it stands.
    pub(in crate::control) async fn current(&self) -> Result<Current, Failure> {
        let loaded = *self.loaded.borrow();
        self.with_store(move |name, store| {
            let Stored { bytes, fingerprint } = store.read().map_err(failure)?;
            Ok(Current {
                path: name.to_owned(),
                version: fingerprint,
                loaded: config::digest(&bytes) == loaded,
                text: Text::decode(&bytes),
            })
        })
        .await
    }

    /// All there is to say about a text.
    pub(in crate::control) async fn examine(&self, text: Text) -> Result<Outcome, Failure> {
        self.read(text).await.map(|fit| fit.outcome)
    }

    /// The same, with its bytes.
    pub(super) async fn read(&self, text: Text) -> Result<Fit, Failure> {
        self.blocking(move |path| {
            let bytes = text
                .encode()
                .map_err(|why| Failure(StatusCode::UNPROCESSABLE_ENTITY, why.to_string()))?;
            if bytes.len() as u64 > LARGEST_FILE {
                let text = format!("the text is larger than {LARGEST_FILE} bytes");
                return Err(Failure(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
            let outcome = examine(&path.to_string_lossy(), &bytes);
            Ok(Fit { bytes, outcome })
        })
        .await
    }

    /// Writes the file, if it still is what it was. The version that it has, and what it was.
    pub(super) async fn write(
        &self,
        bytes: Vec<u8>,
        based_on: Fingerprint,
    ) -> Result<(Fingerprint, Option<Listed>), NotWritten> {
        let written = self
            .with_store(move |_, store| {
                let written = match store.write(&bytes, &based_on) {
                    Ok(written) => written,
                    Err(error @ StoreError::Changed(_)) => {
                        return Ok(Err(Outdated {
                            text: error.to_string(),
                            version: store.read().map_err(failure)?.fingerprint,
                        }));
                    }
                    Err(error) => return Err(failure(error)),
                };
                let kept = (written != based_on)
                    .then(|| store.history().ok()?.last().map(Listed::from))
                    .flatten();
                Ok(Ok((written, kept)))
            })
            .await?;
        written.map_err(NotWritten::Outdated)
    }

    /// The versions that were replaced.
    pub(super) async fn kept(&self) -> Result<Kept, Failure> {
        self.with_store(|_, store| {
            let versions = store.history().map_err(failure)?;
            Ok(Kept {
                versions: versions.iter().rev().map(Listed::from).collect(),
            })
        })
        .await
    }

    /// One of them.
    pub(super) async fn kept_one(&self, number: u64) -> Result<KeptOne, Failure> {
        self.with_store(move |_, store| {
            let (version, stored) = store.version(Some(number)).map_err(failure)?;
            Ok(KeptOne {
                listed: Listed::from(&version),
                version: stored.fingerprint,
                text: Text::decode(&stored.bytes),
            })
        })
        .await
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&str, &Store) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.blocking(move |path| {
            let store = Store::at(path).map_err(failure)?;
            work(&path.to_string_lossy(), &store)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let path = Arc::clone(&self.path);
        let work = move || {
            let _turn = turn;
            work(&path)
        };
        spawn_blocking(work)
            .await
            .map_err(super::super::routes::ending)?
    }
}

/// What a diagnostic is for clients.
pub(super) fn located(outcome: &Outcome) -> Vec<Located<'static>> {
    Report::of(outcome).owned().diagnostics
}

/// What the store says, for clients.
fn failure(error: StoreError) -> Failure {
    let status = match &error {
        StoreError::NoVersion { .. } | StoreError::NoHistory(_) => StatusCode::NOT_FOUND,
        StoreError::Busy(_) | StoreError::Changed(_) => StatusCode::CONFLICT,
        StoreError::Load(
            LoadError::Unreadable { .. } | LoadError::TooLarge { .. } | LoadError::Refused { .. },
        )
        | StoreError::NoFile(_)
        | StoreError::Owner { .. }
        | StoreError::System { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Failure(status, format!("{:#}", anyhow::Error::from(error)))
}
