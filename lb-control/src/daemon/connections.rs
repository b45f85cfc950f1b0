//! Connection synchronisation: begun, ended and begun anew as lvs.cf says.

use std::{net::SocketAddr, sync::Arc};

use anyhow::bail;
use tokio::sync::{mpsc, watch};
use tracing::error;

use crate::{
    config::{ConnectionSync, Global},
    dataplane::bpffs::Pins,
    event::Event,
    heartbeat::runner::{PairState, Setup},
    sync::{
        runner::{self, Language, Path, Shown},
        seal::Keys,
    },
};

/// What lvs.cf says of it.
#[derive(Debug, Clone, PartialEq)]
struct Terms {
    sync: ConnectionSync,
    paths: Vec<Path>,
    keys: Keys,
}

/// Connection synchronisation, if it is wanted.
pub(super) struct Connections {
    pins: Pins,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<PairState>,
    shown: Shown,
    running: Option<(Terms, runner::Handle)>,
}

impl Connections {
    pub(super) fn new(
        pins: Pins,
        events: mpsc::Sender<Event>,
        state: watch::Receiver<PairState>,
    ) -> Self {
        Self {
            pins,
            events,
            state,
            shown: Shown::default(),
            running: None,
        }
    }

    /// Where others see how it goes.
    pub(super) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Makes it what lvs.cf says. The site has to be known to the reconciler by now.
    pub(super) fn amend(&mut self, global: &Global, setup: &Setup) {
        let wanted = terms(global, setup);
        if self.running.as_ref().map(|(terms, _)| terms) == wanted.as_ref() {
            return;
        }
        // One reads the ring of changes at a time.
        self.stop();
        let Some(terms) = wanted else {
            return;
        };
        match self.start(&terms) {
            Ok(handle) => self.running = Some((terms, handle)),
            // Directing goes on without.
            Err(error) => error!("connection synchronisation: {error:#}"),
        }
    }

    fn start(&self, terms: &Terms) -> anyhow::Result<runner::Handle> {
        let Terms { sync, paths, keys } = terms;
        let language = if sync.is_compat {
            Language::Ipvs {
                interface: sync.interface.clone(),
                syncid: sync.id,
            }
        } else if paths.is_empty() {
            bail!("there is no partner")
        } else {
            let keys = keys.clone();
            Language::Ours {
                paths: paths.clone(),
                pair: sync.id,
                seal: Arc::new(move || Box::new(keys.clone())),
            }
        };
        let (pins, events) = (self.pins.clone(), self.events.clone());
        runner::spawn(
            language,
            pins,
            events,
            self.state.clone(),
            self.shown.clone(),
        )
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        self.running = None;
        self.shown.clear();
    }
}

fn terms(global: &Global, setup: &Setup) -> Option<Terms> {
    let sync = global.sync.clone()?;
    if !setup.rules.pair && !sync.is_compat {
        return None;
    }
    let ways = setup.paths.iter().flatten();
    // The private network first: it is there for such things.
    let paths = ways.rev().map(|(own, partner)| Path {
        local: SocketAddr::new(*own, sync.port),
        partner: SocketAddr::new(*partner, sync.port),
    });
    Some(Terms {
        paths: paths.collect(),
        keys: Keys {
            keys: setup.rules.keys.clone(),
            authentication: setup.rules.authentication,
        },
        sync,
    })
}
