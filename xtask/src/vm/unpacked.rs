//! Debian packages that are downloaded and unpacked into our own folder, never installed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{cache::Cache, command};

/// The folder of all that a guest is made of.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Held while we are: nobody else unpacks meanwhile.
    _lock: File,
}

impl Store {
    /// Opens the folder, and waits until no other xtask changes it.
    pub(crate) fn open(cache: &Cache) -> Result<Self> {
        let folder = cache.place("guest");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = File::create(folder.join("lock")).context("cannot make the guest's lock")?;
        lock.lock().context("cannot lock the guest's folder")?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder that `make` fills; it is made once, and is there only when it is whole.
    pub(crate) fn once(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.is_dir() {
            return Ok(folder);
        }
        let partial = self.folder.join(format!("{name}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)
                .with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        fs::create_dir_all(&partial)
            .with_context(|| format!("cannot make {}", partial.display()))?;
        make(&partial)?;
        fs::rename(&partial, &folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

/// Downloads a package of this machine's lists and unpacks it.
pub(crate) fn fetch(package: &str, into: &Path) -> Result<()> {
    let Some(apt) = command::program("apt-get") else {
        bail!("the package {package} of Debian is wanted, and there is no apt-get");
    };
    command::tell(&format!(
        "downloading {package} (once; it is not installed)"
    ));
    let downloads = into.join("download");
    fs::create_dir_all(&downloads)
        .with_context(|| format!("cannot make {}", downloads.display()))?;
    let mut download = Command::new(apt);
    // Root's apt-get would otherwise become a user who may not write here, and complain of it.
    download.current_dir(&downloads).args([
        "-qq",
        "-o",
        "APT::Sandbox::User=root",
        "download",
        package,
    ]);
    command::run(&mut download).with_context(|| {
        format!("{package} cannot be downloaded (without lists, type: sudo apt-get update)")
    })?;
    let file = fs::read_dir(&downloads)?
        .next()
        .with_context(|| format!("apt-get left no file of {package}"))??
        .path();
    unpack(&file, into)?;
    fs::remove_dir_all(&downloads).with_context(|| format!("cannot remove {}", downloads.display()))
}

/// Unpacks the file of a package.
pub(crate) fn unpack(file: &Path, into: &Path) -> Result<()> {
    command::run(Command::new("dpkg-deb").arg("-x").arg(file).arg(into))
}
