//! Where maps, programs and links are pinned: `DIR/vN/{maps,progs,links}` on a bpf filesystem.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use lb_common::maps::VERSION;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use tracing::info;

/// Where bpf filesystems are mounted by custom; mounted there if nobody has.
const CUSTOM: &str = "/sys/fs/bpf";

/// The pins of a version of the map layout.
#[derive(Debug, Clone)]
pub struct Pins {
    base: PathBuf,
    version: u32,
}

impl Pins {
    /// The pins of our version below `base`.
    #[must_use]
    pub fn below(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            version: VERSION,
        }
    }

    /// The pins that are there below `base`, of whatever version.
    ///
    /// # Errors
    /// If `base` cannot be read.
    pub fn all_below(base: &Path) -> anyhow::Result<Vec<Self>> {
        let entries = match fs::read_dir(base) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("reading {}", base.display())),
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let version = name
                .to_str()
                .and_then(|name| name.strip_prefix('v')?.parse().ok());
            all.extend(version.map(|version| Self {
                base: base.to_owned(),
                version,
            }));
        }
        Ok(all)
    }

    /// Where maps are pinned.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    /// Where programs are pinned.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.version().join("progs")
    }

    /// Where links are pinned: a file for each interface, named like it.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.version().join("links")
    }

    fn version(&self) -> PathBuf {
        self.base.join(format!("v{}", self.version))
    }

    /// Whether something is pinned.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.maps().exists()
    }

    /// Makes the folders; mounts the bpf filesystem where it belongs if it is not there.
    ///
    /// # Errors
    /// If the place is not on a bpf filesystem, or may not be written.
    pub fn create(&self) -> anyhow::Result<()> {
        let place = self
            .base
            .ancestors()
            .find(|path| path.exists())
            .with_context(|| format!("{} is nowhere", self.base.display()))?;
        if !is_bpf(place)? {
            if self.base.starts_with(CUSTOM) && Path::new(CUSTOM).exists() {
                mount(
                    Some("bpf"),
                    CUSTOM,
                    Some("bpf"),
                    MsFlags::empty(),
                    None::<&str>,
                )
                .with_context(|| format!("mounting the bpf filesystem on {CUSTOM}"))?;
            } else {
                bail!("{} is not on a bpf filesystem", self.base.display());
            }
        }
        for folder in [self.maps(), self.programs(), self.links()] {
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        }
        Ok(())
    }

    /// Says that these pins are in use, until the lock is dropped.
    ///
    /// # Errors
    /// If they are in use already.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let folder = self.version();
        let file =
            fs::File::open(&folder).with_context(|| format!("opening {}", folder.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Lock { _file: lock }),
            Err((_, Errno::EWOULDBLOCK)) => {
                bail!("another lb runs with the pins in {}", self.base.display())
            }
            Err((_, errno)) => Err(errno).with_context(|| format!("locking {}", folder.display())),
        }
    }

    /// Takes all pins away: programs leave their interfaces and maps are freed. Whether there
    /// were any.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn remove(&self) -> anyhow::Result<bool> {
        let mut found = false;
        // Links first: packets pass to the kernel before the maps are gone.
        for folder in [self.links(), self.programs(), self.maps(), self.version()] {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("reading {}", folder.display()));
                }
            };
            found = true;
            for entry in entries {
                let path = entry?.path();
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
            fs::remove_dir(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        // The folder itself stays if it holds another version's pins, or was not made by us.
        let _ = fs::remove_dir(&self.base);
        Ok(found)
    }
}

/// What a release with another layout left, which forwards until our program is in its place.
#[derive(Debug)]
pub struct Older {
    pins: Vec<(Pins, Lock)>,
}

impl Older {
    /// All that there is below `base`.
    ///
    /// # Errors
    /// If something of it is in use.
    pub fn below(base: &Path) -> anyhow::Result<Self> {
        let others = Pins::all_below(base)?
            .into_iter()
            .filter(|pins| pins.version != VERSION);
        let pins = others.map(|pins| {
            let lock = pins.lock()?;
            Ok((pins, lock))
        });
        Ok(Self {
            pins: pins.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Gives the link to an interface to `pins`, so that its program is replaced without a gap.
    ///
    /// # Errors
    /// If the pin cannot be moved.
    pub fn hand_over(&self, interface: &str, pins: &Pins) -> anyhow::Result<()> {
        let new = pins.links().join(interface);
        for (older, _) in &self.pins {
            let old = older.links().join(interface);
            if old.exists() && !new.exists() {
                fs::rename(&old, &new)
                    .with_context(|| format!("moving {} to {}", old.display(), new.display()))?;
            }
        }
        Ok(())
    }

    /// Takes away what is left.
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn remove(self) -> anyhow::Result<()> {
        for (pins, _lock) in self.pins {
            pins.remove()?;
            info!(
                "the data plane of layout {} was replaced by that of layout {VERSION}: flows start \
                 anew",
                pins.version
            );
        }
        Ok(())
    }
}

/// Pins that are in use.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<fs::File>,
}

fn is_bpf(path: &Path) -> anyhow::Result<bool> {
    let kind = statfs(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(kind.filesystem_type() == BPF_FS_MAGIC)
}
