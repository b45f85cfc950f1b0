//! The daemon's explanations: the program is kept on trial for a while, since the kernel takes its time to accept it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use utoipa::{IntoParams, ToSchema};

use super::{
    capture::Captured,
    explained, ingress,
    names::Names,
    story::Story,
    tuple::{Transport, Tuple, Unfit},
};
use crate::{
    dataplane::{bpffs::Pins, trial::Trial},
    network::links::Links,
};

/// So many may wait for their turn; others are refused.
const WAITING: usize = 8;

/// The program is let go when nobody has asked for so long.
const IDLE: Duration = Duration::from_secs(60);

/// A packet that is made up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// What it carries.
    #[serde(default)]
    #[param(required = false, inline)]
    pub protocol: Transport,
    /// Where it comes from.
    #[param(value_type = String, example = "198.51.100.7:4321")]
    #[schema(value_type = String)]
    pub source: SocketAddr,
    /// Where it is going.
    #[param(value_type = String, example = "192.0.2.10:80")]
    #[schema(value_type = String)]
    pub destination: SocketAddr,
    /// TCP's flags, of the letters FSRPAU; without them it is a SYN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
    /// The interface that it comes in by; else the first that the program is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

impl Wanted {
    /// The packet.
    ///
    /// # Errors
    /// Why there is no such packet.
    pub fn tuple(&self) -> Result<Tuple, Unfit> {
        Tuple::new(
            self.protocol,
            self.source,
            self.destination,
            self.flags.as_deref(),
        )
    }
}

/// Why nothing is told.
#[derive(Debug, thiserror::Error)]
pub enum NotExplained {
    /// There is no such packet.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Too many ask.
    #[error("too many others ask what would become of a packet; try again")]
    Busy,
    /// There is no such interface, no data plane, or the kernel does not try it.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for NotExplained {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Tells what would become of packets. Clones are the same.
#[derive(Clone)]
pub struct Explainer {
    pins: Pins,
    places: Arc<Semaphore>,
    kept: Arc<Mutex<Kept>>,
}

/// The program on trial, if it is loaded.
#[derive(Default)]
struct Kept {
    trial: Option<Trial>,
    release: Option<JoinHandle<()>>,
}

impl Explainer {
    /// One that tries packets on the maps that are pinned here.
    #[must_use]
    pub fn new(pins: Pins) -> Self {
        Self {
            pins,
            places: Arc::new(Semaphore::new(WAITING)),
            kept: Arc::default(),
        }
    }

    /// What would become of a packet. One is tried at a time.
    ///
    /// # Errors
    /// If there is no such packet, too many ask, or it cannot be tried.
    pub async fn explain(&self, wanted: &Wanted, names: Names) -> Result<Story, NotExplained> {
        let tuple = wanted.tuple()?;
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(NotExplained::Busy);
        };
        let links = Links::read().await.map_err(anyhow::Error::from)?;
        let link = ingress(&self.pins, &links, wanted.interface.as_deref())?.clone();
        let packet = Captured::now(tuple.frame(link.mac.unwrap_or_default()));
        let mut kept = Arc::clone(&self.kept).lock_owned().await;
        let pins = self.pins.clone();
        let tried = spawn_blocking(move || {
            let trial = match &mut kept.trial {
                Some(trial) => trial,
                none => none.insert(Trial::load(&pins)?),
            };
            let explained = explained(trial, &names, &links, &link, 1, &packet);
            if explained.is_err() {
                // Another data plane may be there by now.
                kept.trial = None;
            }
            explained.map(|(story, _)| story)
        });
        let story = tried.await.map_err(anyhow::Error::from)?;
        self.release_later().await;
        Ok(story?)
    }

    /// Lets the program go when nobody asks any more.
    async fn release_later(&self) {
        let kept = Arc::downgrade(&self.kept);
        let release = tokio::spawn(async move {
            sleep(IDLE).await;
            if let Some(kept) = kept.upgrade() {
                kept.lock().await.trial = None;
            }
        });
        if let Some(earlier) = self.kept.lock().await.release.replace(release) {
            earlier.abort();
        }
    }
}
