//! The daemon: pulse. It starts everything, passes on what happens, and stops everything.

mod changes;
mod connections;
mod decisions;
mod interfaces;
mod manager;
mod orders;
mod pair;
mod pulse;
mod secret;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
};
use tracing::warn;

use self::pulse::Pulse;
pub(crate) use self::pulse::targets;
use crate::{
    config::{self, Loaded, reread::Rereader},
    dataplane::{Sizes, bpffs::Pins, kernel::Mode},
    model::Site,
    network::links::Links,
    preflight,
};

/// How `lb run` was called.
#[derive(Debug, Clone)]
pub struct Options {
    /// lvs.cf.
    pub config: PathBuf,
    /// The interfaces to run on; if there are none, those of the virtual IPs and of the ways to the
    /// real servers.
    pub interfaces: Vec<String>,
    /// How the program is run by an interface.
    pub mode: Mode,
    /// Where things are pinned.
    pub bpffs: PathBuf,
    /// Where commands are listened for.
    pub socket: PathBuf,
    /// Who may use that socket besides its owner, if not the owner's group.
    pub socket_group: Option<String>,
    /// Where everybody is told what is measured, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Where changes by command are kept.
    pub changes: PathBuf,
    /// It is active at once.
    pub force_active: bool,
    /// How many entries each flow table holds, if not as lvs.cf says.
    pub flows: Option<u32>,
    /// How many of them may be half-open, if not as lvs.cf says.
    pub half_open: Option<u32>,
    /// How many entries the other maps hold.
    pub sizes: Sizes,
}

impl Options {
    /// How many entries the maps hold: as we were told, else as lvs.cf says, else as by default; of services and
    /// real servers at least as many as there are.
    ///
    /// # Errors
    /// If more flows are to be half-open than there are.
    fn sizes(&self, site: &Site) -> anyhow::Result<Sizes> {
        let settings = &site.settings;
        let flows = self.flows.or(settings.flows).unwrap_or(self.sizes.flows);
        let half_open = self.half_open.or(settings.half_open).unwrap_or(flows / 2);
        if half_open > flows {
            bail!("{half_open} half-open flows are more than the {flows} flows of a table");
        }
        let services = site.services.iter();
        let servers = services.map(|service| service.servers.len() + 1).sum();
        Ok(Sizes {
            flows,
            half_open,
            services: at_least(self.sizes.services, site.services.len()),
            servers: at_least(self.sizes.servers, servers),
            ..self.sizes
        })
    }
}

/// So many; if more are needed, a power of two, which stays the same for a while when there are more and more.
fn at_least(usual: u32, needed: usize) -> u32 {
    let needed = u32::try_from(needed + 1).unwrap_or(u32::MAX);
    usual.max(needed.checked_next_power_of_two().unwrap_or(u32::MAX))
}

/// Runs until a signal ends it. What it put on the machine is taken off, but for the data plane,
/// which goes on forwarding until `lb detach`.
///
/// # Errors
/// Why it could not start; nothing on the machine is changed then.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let reader = Reader::default();
    let loaded = load(&options.config, &reader).await?;
    preflight::kernel_and_rights()?;
    let _only = preflight::alone()?;
    let links = Links::read().await?;
    preflight::interfaces(&links, &loaded.site, &options.interfaces)?;
    preflight::raise_file_limit();

    let mut pulse = Pulse::start(options, reader, loaded, &links).await?;
    let result = pulse.pass_on(&mut signals).await;
    pulse.stop().await;
    result
}

/// Who reads lvs.cf, and knows what it has read.
type Reader = Arc<Mutex<Rereader>>;

/// Reads lvs.cf. Names in it are looked up, which may take a while.
async fn load(path: &Path, reader: &Reader) -> anyhow::Result<Loaded> {
    let (path, reader) = (path.to_owned(), Arc::clone(reader));
    let read = move || match reader.lock() {
        Ok(mut reader) => reader.load(&path),
        // Somebody has panicked over it; it is not needed to read a file.
        Err(_) => config::load(&path),
    };
    let loaded = spawn_blocking(read).await??;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    Ok(loaded)
}

/// Takes the data plane off its interfaces and frees the maps.
///
/// # Errors
/// If a daemon runs, or a pin cannot be removed.
pub fn detach(bpffs: &Path) -> anyhow::Result<bool> {
    let mut found = false;
    for pins in Pins::all_below(bpffs)? {
        let _lock = pins.lock()?;
        found |= pins.remove()?;
    }
    Ok(found)
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}
