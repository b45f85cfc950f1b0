//! The changes by command, and the file in which they outlive the daemon.
//!
//! They last as long as the data plane does: a daemon that starts on its maps goes on with them; one that
//! starts anew begins with what lvs.cf says.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tracing::{error, info, warn};

use crate::runtime::RuntimeChanges;

/// The changes by command, and where they are kept.
pub(super) struct Kept {
    pub(super) changes: RuntimeChanges,
    path: PathBuf,
}

impl Kept {
    /// Those of a daemon before this one, if its data plane is still there.
    pub(super) fn open(path: &Path, is_data_plane_there: bool) -> Self {
        let path = path.to_owned();
        let changes = match read(&path) {
            Ok(Some(changes)) if is_data_plane_there => {
                info!("changes by command of the daemon before are kept");
                changes
            }
            Ok(_) => RuntimeChanges::default(),
            Err(error) => {
                warn!("{error:#}; changes by command are forgotten");
                RuntimeChanges::default()
            }
        };
        Self { changes, path }
    }

    /// Makes these the changes from now on.
    pub(super) fn set(&mut self, changes: RuntimeChanges) {
        if self.changes == changes {
            return;
        }
        self.changes = changes;
        // They are in force all the same.
        if let Err(error) = self.write() {
            error!("{error:#}; changes by command will not outlive the daemon");
        }
    }

    fn write(&self) -> anyhow::Result<()> {
        let context = || format!("writing {}", self.path.display());
        if self.changes.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(context)
                }
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
        serde_json::to_writer(&mut file, &self.changes).with_context(context)?;
        file.flush().with_context(context)?;
        file.persist(&self.path).with_context(context)?;
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Option<RuntimeChanges>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let changes = serde_json::from_slice(&text);
    changes.with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::change::Change, model::Site};

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
        kept.set(changed());
        assert_eq!(Kept::open(&path, true).changes, changed());
        assert!(Kept::open(&path, false).changes.is_empty());
        kept.set(RuntimeChanges::default());
        assert!(!path.exists(), "nothing is kept of nothing");

        fs::write(&path, "{").unwrap();
        assert!(
            Kept::open(&path, true).changes.is_empty(),
            "what cannot be read is forgotten"
        );
    }
}
