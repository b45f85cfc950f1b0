//! Connection synchronisation: begun, ended and begun anew as lvs.cf and commands say.

use std::{net::SocketAddr, sync::Arc};

use anyhow::bail;
use nix::net::if_::if_nametoindex;
use tokio::sync::{mpsc, watch};
use tracing::error;

use crate::{
    config::Global,
    control::change::{Change, Refused, Why},
    dataplane::bpffs::Pins,
    event::Event,
    heartbeat::runner::{PairState, Setup},
    sync::{
        ipvs::daemon::{SyncDaemon, SyncDaemons, Wanted},
        runner::{self, Language, Path, Shown},
        seal::Keys,
    },
};

/// What is wanted of it.
#[derive(Debug, Clone, PartialEq)]
enum Terms {
    /// The partner is one of ours.
    Ours {
        paths: Vec<Path>,
        pair: u8,
        keys: Keys,
    },
    /// It is IPVS.
    Ipvs(Wanted),
}

/// Connection synchronisation, if it is wanted.
pub(super) struct Connections {
    pins: Pins,
    events: mpsc::Sender<Event>,
    state: watch::Receiver<PairState>,
    shown: Shown,
    /// What lvs.cf says of it.
    file: Option<Terms>,
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
            file: None,
            running: None,
        }
    }

    /// Where others see how it goes.
    pub(super) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Makes it what lvs.cf says, or what commands say where that says nothing. The site has to be known to the
    /// reconciler by now.
    pub(super) fn amend(&mut self, global: &Global, setup: &Setup, commands: &SyncDaemons) {
        self.file = terms(global, setup);
        self.command(commands);
    }

    /// The same with other commands.
    pub(super) fn command(&mut self, commands: &SyncDaemons) {
        let said = || Terms::Ipvs(Wanted::Said(commands.clone()));
        let wanted = self.file.clone();
        let wanted = wanted.or_else(|| (!commands.is_empty()).then(said));
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
        let language = match terms {
            Terms::Ipvs(wanted) => {
                self.shown.want(Some(wanted.clone()));
                Language::Ipvs(wanted.clone())
            }
            Terms::Ours { paths, .. } if paths.is_empty() => bail!("there is no partner"),
            Terms::Ours { paths, pair, keys } => {
                let keys = keys.clone();
                Language::Ours {
                    paths: paths.clone(),
                    pair: *pair,
                    seal: Arc::new(move || Box::new(keys.clone())),
                }
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
        self.shown.want(None);
    }
}

/// Whether there are the interfaces that changes want; the kernel's IPVS looks too.
pub(super) fn check(changes: &[Change]) -> Result<(), Refused> {
    for (index, change) in changes.iter().enumerate() {
        if let Change::StartSyncDaemon { daemon, .. } = change
            && if_nametoindex(daemon.interface.as_str()).is_err()
        {
            return Err(Refused {
                index: Some(index),
                why: Why::NoInterface,
                text: format!("there is no interface {}", daemon.interface),
            });
        }
    }
    Ok(())
}

fn terms(global: &Global, setup: &Setup) -> Option<Terms> {
    let sync = global.sync.clone()?;
    if sync.is_compat {
        return Some(Terms::Ipvs(Wanted::ByRole(SyncDaemon::on(
            sync.interface,
            sync.id,
        ))));
    }
    if !setup.rules.pair {
        return None;
    }
    let ways = setup.paths.iter().flatten();
    // The private network first: it is there for such things.
    let paths = ways.rev().map(|(own, partner)| Path {
        local: SocketAddr::new(*own, sync.port),
        partner: SocketAddr::new(*partner, sync.port),
    });
    Some(Terms::Ours {
        paths: paths.collect(),
        pair: sync.id,
        keys: Keys {
            keys: setup.rules.keys.clone(),
            authentication: setup.rules.authentication,
        },
    })
}
