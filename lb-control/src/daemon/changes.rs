//! The changes by command, what was ordered of real servers, and the file in which both outlive the daemon.
//!
//! They last as long as the data plane does: a daemon that starts on its maps goes on with them; one that
//! starts anew begins with what lvs.cf says.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tracing::{error, info, warn};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::orders::Orders;
use crate::{control::order::Order, model::Site, runtime::RuntimeChanges, state::ServerKey};

/// What was said by command, and where it is kept.
pub(super) struct Kept {
    pub(super) changes: RuntimeChanges,
    orders: Orders,
    path: PathBuf,
}

/// What is in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content<Changes> {
    changes: Changes,
    #[serde(default)]
    orders: Orders,
}

impl Kept {
    /// What a daemon before this one kept, if its data plane is still there.
    pub(super) fn open(path: &Path, is_data_plane_there: bool) -> Self {
        let path = path.to_owned();
        let Content { changes, orders } = match read(&path) {
            Ok(Some(content)) if is_data_plane_there => {
                info!("changes by command of the daemon before are kept");
                content
            }
            Ok(_) => Content::default(),
            Err(error) => {
                warn!("{error:#}; changes by command are forgotten");
                Content::default()
            }
        };
        Self {
            changes,
            orders,
            path,
        }
    }

    /// Makes these the changes from now on. The site is what is served with them.
    pub(super) fn set(&mut self, changes: RuntimeChanges, site: &Site) {
        let mut orders = self.orders.clone();
        orders.forget_gone(site);
        if self.changes != changes || self.orders != orders {
            self.changes = changes;
            self.orders = orders;
            self.keep();
        }
    }

    /// An order about a server of the site was obeyed.
    pub(super) fn note(&mut self, site: &Site, key: ServerKey, order: &Order) {
        let before = self.orders.clone();
        self.orders.note(site, key, order, since_start());
        if self.orders != before {
            self.keep();
        }
    }

    /// The orders of the daemon before this one, which hold still.
    pub(super) fn orders(&self) -> Vec<Order> {
        self.orders.again(since_start())
    }

    fn keep(&self) {
        // They are in force all the same.
        if let Err(error) = self.write() {
            error!("{error:#}; changes by command will not outlive the daemon");
        }
    }

    fn write(&self) -> anyhow::Result<()> {
        let context = || format!("writing {}", self.path.display());
        if self.changes.is_empty() && self.orders.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(context)
                }
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
        let content = Content {
            changes: &self.changes,
            orders: self.orders.clone(),
        };
        serde_json::to_writer(&mut file, &content).with_context(context)?;
        file.flush().with_context(context)?;
        file.persist(&self.path).with_context(context)?;
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Content<RuntimeChanges>>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let content = serde_json::from_slice(&text);
    content.with_context(|| format!("reading {}", path.display()))
}

/// How long the machine has run, with the time that it slept. The clock cannot fail.
fn since_start() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::change::Change;

    fn changed() -> RuntimeChanges {
        let mut changes = RuntimeChanges::default();
        let timeouts = Change::SetTimeouts {
            tcp: 60,
            tcp_fin: 0,
            udp: 0,
        };
        changes.make(&Site::default(), &[timeouts]).unwrap();
        changes
    }

    #[test]
    fn changes_outlive_the_daemon_with_its_data_plane() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changes.json");
        let mut kept = Kept::open(&path, true);
        assert!(kept.changes.is_empty());
        kept.set(changed(), &Site::default());
        assert_eq!(Kept::open(&path, true).changes, changed());
        assert!(Kept::open(&path, false).changes.is_empty());
        kept.set(RuntimeChanges::default(), &Site::default());
        assert!(!path.exists(), "nothing is kept of nothing");

        fs::write(&path, "{").unwrap();
        assert!(
            Kept::open(&path, true).changes.is_empty(),
            "what cannot be read is forgotten"
        );
    }
}
