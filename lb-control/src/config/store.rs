//! The file on disk: read with a fingerprint, written as a whole or not at all, with its last versions
//! beside it.
//!
//! `lvs.cf.~7~` is what `lvs.cf` was before the newest write, `lvs.cf.~6~` before that: the names that
//! `cp --backup=numbered` gives, so that people know what they see, and the time of each is the time at
//! which it was written. Whoever reads sees the old file or the new one, whatever ends us in between.

use std::{
    fmt,
    fs::{self, File, FileTimes, Metadata, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

pub use self::listed::Listed;
use super::LoadError;

mod listed;

/// How many versions stay.
pub const VERSIONS: usize = 10;

/// Of a new file; it may have secrets in it.
const MODE: u32 = 0o640;

/// A place for one lvs.cf.
#[derive(Debug, Clone)]
pub struct Store {
    /// The file itself, behind all symbolic links.
    path: PathBuf,
    folder: PathBuf,
    name: String,
}

/// What a file says, told from all other contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a file that is not there.
    #[must_use]
    pub fn absent() -> Self {
        Self("absent".to_owned())
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let hex = digest.iter().map(|byte| format!("{byte:02x}"));
        Self(hex.collect())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Tells it from what it may become.
    pub fingerprint: Fingerprint,
}

/// A version that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The higher, the newer.
    pub number: u64,
    /// When it was written.
    pub written: SystemTime,
    /// How many bytes it has.
    pub size: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// Why a file was not read or not written. Then it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// There is a folder or a device in its place.
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    /// Somebody else wrote it since it was read.
    #[error("{} was changed meanwhile by somebody else; nothing was written", .0.display())]
    Changed(PathBuf),
    /// Somebody else is writing it now.
    #[error("{} is just being written by somebody else; nothing was written", .0.display())]
    Busy(PathBuf),
    /// The new file would not belong to whom it belongs now.
    #[error("{}: its owner and mode cannot be kept; nothing was written", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such version.
    #[error("{} has no version {number}", path.display())]
    NoVersion {
        /// The file.
        path: PathBuf,
        /// Which was asked for.
        number: u64,
    },
    /// It was never written by `lb`.
    #[error("{} has no versions", .0.display())]
    NoHistory(PathBuf),
    /// The system refuses something.
    #[error("{doing} {}", path.display())]
    System {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Adds what was being done.
fn doing(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::System {
        doing,
        path,
        source,
    }
}

impl Store {
    /// The file at a path, behind symbolic links. It need not be there, but its folder has to be.
    ///
    /// # Errors
    /// If the path leads nowhere.
    pub fn at(path: &Path) -> Result<Self, StoreError> {
        let nowhere = || StoreError::NoFile(path.to_owned());
        let found = match fs::canonicalize(path) {
            Ok(found) => found,
            // A link that leads nowhere is not to become a file.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                let parent = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new("."));
                let folder = fs::canonicalize(parent).map_err(doing("looking for", parent))?;
                folder.join(path.file_name().ok_or_else(nowhere)?)
            }
            Err(error) => return Err(doing("looking for", path)(error)),
        };
        let folder = found.parent().ok_or_else(nowhere)?.to_owned();
        let name = found.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(nowhere)?.to_owned();
        Ok(Self {
            path: found,
            folder,
            name,
        })
    }

    /// The file itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says now.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self) -> Result<Stored, StoreError> {
        if self.path.exists() && !self.path.is_file() {
            return Err(StoreError::NoFile(self.path.clone()));
        }
        let bytes = super::bytes(&self.path)?;
        let fingerprint = Fingerprint::of(&bytes);
        Ok(Stored { bytes, fingerprint })
    }

    /// Puts `bytes` in the place of the file, if it still is what was `read`. What it was becomes the
    /// newest version. If nothing is different, nothing is done.
    ///
    /// # Errors
    /// If it was changed meanwhile, or cannot be written; then it is as it was.
    pub fn write(&self, bytes: &[u8], read: &Fingerprint) -> Result<Fingerprint, StoreError> {
        let folder = self.lock()?;
        let old = match self.read() {
            Ok(old) => Some(old),
            Err(StoreError::Load(LoadError::Unreadable { error, .. }))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        let now = old
            .as_ref()
            .map_or_else(Fingerprint::absent, |old| old.fingerprint.clone());
        if now != *read {
            return Err(StoreError::Changed(self.path.clone()));
        }
        let new = Fingerprint::of(bytes);
        if new == now {
            return Ok(new);
        }
        self.sweep()?;
        let mut like = None;
        if let Some(old) = old {
            let meta = fs::metadata(&self.path).map_err(doing("looking at", &self.path))?;
            let number = self.history()?.last().map_or(1, |last| last.number + 1);
            let version = self.folder.join(format!("{}.~{number}~", self.name));
            let copy = self.prepare(&old.bytes, Some(&meta))?;
            let written = meta.modified().map_err(doing("looking at", &self.path))?;
            let times = FileTimes::new().set_modified(written);
            let copied = copy.as_file().set_times(times);
            copied.map_err(doing("writing", &version))?;
            copy.persist_noclobber(&version)
                .map_err(|error| doing("writing", &version)(error.error))?;
            like = Some(meta);
        }
        let file = self.prepare(bytes, like.as_ref())?;
        file.persist(&self.path)
            .map_err(|error| doing("writing", &self.path)(error.error))?;
        folder
            .0
            .sync_all()
            .map_err(doing("writing", &self.folder))?;
        self.forget();
        Ok(new)
    }

    /// The versions, the oldest first.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn history(&self) -> Result<Vec<Version>, StoreError> {
        let mut versions = Vec::new();
        for entry in self.entries()? {
            let Some(number) = self.number(&entry.file_name().to_string_lossy()) else {
                continue;
            };
            let path = entry.path();
            let meta = entry.metadata().map_err(doing("looking at", &path))?;
            if meta.is_file() {
                versions.push(Version {
                    number,
                    written: meta.modified().map_err(doing("looking at", &path))?,
                    size: meta.len(),
                    path,
                });
            }
        }
        versions.sort_by_key(|version| version.number);
        Ok(versions)
    }

    /// What the file said once; the newest version unless a number says which.
    ///
    /// # Errors
    /// If there is no such version, or it cannot be read.
    pub fn version(&self, number: Option<u64>) -> Result<(Version, Stored), StoreError> {
        let mut versions = self.history()?;
        let found = match number {
            None => versions.pop(),
            Some(number) => versions.into_iter().find(|one| one.number == number),
        };
        let version = found.ok_or_else(|| match number {
            Some(number) => StoreError::NoVersion {
                path: self.path.clone(),
                number,
            },
            None => StoreError::NoHistory(self.path.clone()),
        })?;
        let bytes = super::bytes(&version.path)?;
        let fingerprint = Fingerprint::of(&bytes);
        Ok((version, Stored { bytes, fingerprint }))
    }

    /// Writes a version as if it were new, if the file still is what was `read`: so a step back can be
    /// taken back too.
    ///
    /// # Errors
    /// As [`Self::version`] and [`Self::write`].
    pub fn roll_back(
        &self,
        number: Option<u64>,
        read: &Fingerprint,
    ) -> Result<Fingerprint, StoreError> {
        let (_, stored) = self.version(number)?;
        self.write(&stored.bytes, read)
    }

    /// Whoever writes has the lock on the folder.
    fn lock(&self) -> Result<Locked, StoreError> {
        let folder = File::open(&self.folder).map_err(doing("opening", &self.folder))?;
        match folder.try_lock() {
            Ok(()) => Ok(Locked(folder)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(doing("locking", &self.folder)(error)),
        }
    }

    /// A complete file under another name, on the disk before it gets its own.
    fn prepare(&self, bytes: &[u8], like: Option<&Metadata>) -> Result<NamedTempFile, StoreError> {
        let failed = || doing("writing a file in", &self.folder);
        let mut file = tempfile::Builder::new()
            .prefix(&self.unfinished())
            .suffix(UNFINISHED)
            .tempfile_in(&self.folder)
            .map_err(failed())?;
        let owned = |source| StoreError::Owner {
            path: self.path.clone(),
            source,
        };
        let mode = like.map_or(MODE, |like| like.mode() & 0o7777);
        if let Some(like) = like {
            let mine = file.as_file().metadata().map_err(failed())?;
            if (mine.uid(), mine.gid()) != (like.uid(), like.gid()) {
                fchown(file.as_file(), Some(like.uid()), Some(like.gid())).map_err(owned)?;
            }
        }
        let permissions = fs::Permissions::from_mode(mode);
        file.as_file().set_permissions(permissions).map_err(owned)?;
        file.write_all(bytes).map_err(failed())?;
        file.as_file().sync_all().map_err(failed())?;
        Ok(file)
    }

    /// Takes away what was not finished, by whoever was killed. We have the lock.
    fn sweep(&self) -> Result<(), StoreError> {
        let prefix = self.unfinished();
        for entry in self.entries()? {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&prefix) && name.ends_with(UNFINISHED) {
                let path = entry.path();
                fs::remove_file(&path).map_err(doing("removing", &path))?;
            }
        }
        Ok(())
    }

    /// Takes away the versions that are too old. The file is written; that one stays is no failure.
    fn forget(&self) {
        let versions = self.history().unwrap_or_default();
        let surplus = versions.len().saturating_sub(VERSIONS);
        for version in versions.into_iter().take(surplus) {
            if let Err(error) = fs::remove_file(&version.path) {
                let path = version.path.display();
                tracing::warn!(%path, %error, "an old version stays");
            }
        }
    }

    fn entries(&self) -> Result<Vec<fs::DirEntry>, StoreError> {
        let failed = || doing("reading", &self.folder);
        let entries = fs::read_dir(&self.folder).map_err(failed())?;
        entries.collect::<Result<_, _>>().map_err(failed())
    }

    fn unfinished(&self) -> String {
        format!(".{}.", self.name)
    }

    /// The number in the name of a version.
    fn number(&self, name: &str) -> Option<u64> {
        let rest = name.strip_prefix(self.name.as_str())?;
        let number = rest.strip_prefix(".~")?.strip_suffix('~')?;
        let number: u64 = number.parse().ok()?;
        // `+7` and `007` are names that we do not give.
        (rest == format!(".~{number}~") && number < u64::MAX).then_some(number)
    }
}

/// A folder that is locked. Closing it would not be enough: a process that is just being started by another
/// thread has it open too, for a moment.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock on the folder of lvs.cf stays until it is closed");
        }
    }
}

/// The end of the names of files that are not finished.
const UNFINISHED: &str = ".new";

#[cfg(test)]
mod tests;
