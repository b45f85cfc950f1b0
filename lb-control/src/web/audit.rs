//! The audit log: who logged in or changed something, from where, and what became of it. A line of JSON for each in a
//! file, the last ones in memory.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::{error, info};

use crate::journal::since_1970;

/// The name of the file in the folder of the web tool.
const FILE: &str = "audit.log";

/// A longer file is laid aside, in bytes.
const LONGEST: u64 = 8 << 20;

/// So many files are laid aside: `audit.log.1` is the newest of them.
const ASIDE: usize = 9;

/// So many entries are in memory.
const KEPT: usize = 2_000;

/// No text of an entry is longer, in characters.
const LONGEST_TEXT: usize = 500;

/// Something that somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// When, in milliseconds since 1970.
    pub(super) time: u64,
    /// Who; empty if nobody was logged in.
    pub(super) user: String,
    pub(super) address: IpAddr,
    /// What.
    pub(super) what: String,
    /// Whether it was done.
    pub(super) done: bool,
    /// What became of it, in words.
    pub(super) result: String,
}

#[derive(Debug)]
struct Log {
    file: File,
    length: u64,
    last: VecDeque<Entry>,
}

/// The audit log.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    log: Mutex<Log>,
}

impl Audit {
    /// The one in a folder, which is made if there is none.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let context = || format!("opening {}", path.display());
        let file = append(&path).with_context(context)?;
        let length = file.metadata().with_context(context)?.len();
        let mut last = VecDeque::new();
        for path in [aside(&path, 1), path.clone()] {
            match File::open(&path) {
                Ok(file) => remember(&mut last, BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
            .with_context(|| format!("reading {}", path.display()))?;
        }
        let log = Mutex::new(Log { file, length, last });
        Ok(Self { path, log })
    }

    /// Writes down what somebody did, or tried to do, and what became of it.
    pub(super) fn write(
        &self,
        user: &str,
        address: IpAddr,
        what: &str,
        result: Result<&str, &str>,
    ) {
        let (done, result) = match result {
            Ok(text) => (true, text),
            Err(text) => (false, text),
        };
        let entry = Entry {
            time: u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX),
            user: user.to_owned(),
            address,
            what: shortened(what),
            done,
            result: shortened(result),
        };
        info!(user, %address, done, "{}: {}", entry.what, entry.result);
        let mut log = self.log();
        if let Err(error) = self.append(&mut log, &entry) {
            error!("writing {}: {error}", self.path.display());
        }
        push(&mut log.last, entry);
    }

    fn append(&self, log: &mut Log, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if log.length >= LONGEST {
            for number in (1..ASIDE).rev() {
                // There may be none with this number yet.
                let _ = fs::rename(aside(&self.path, number), aside(&self.path, number + 1));
            }
            fs::rename(&self.path, aside(&self.path, 1))?;
            log.file = append(&self.path)?;
            log.length = 0;
        }
        log.file.write_all(&line)?;
        log.length += line.len() as u64;
        Ok(())
    }

    /// The entries in memory that have all these words in them, the newest first.
    pub(super) fn newest(&self, words: &str) -> Vec<Entry> {
        let words = words.to_lowercase();
        let words: Vec<_> = words.split_whitespace().collect();
        let log = self.log();
        let entries = log.last.iter().rev().filter(|entry| {
            let text = format!(
                "{} {} {} {}",
                entry.user, entry.address, entry.what, entry.result
            );
            let text = text.to_lowercase();
            words.iter().all(|word| text.contains(word))
        });
        entries.cloned().collect()
    }

    /// Where all entries are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Whoever panicked with it in hand left it whole.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

fn aside(path: &Path, number: usize) -> PathBuf {
    path.with_file_name(format!("{FILE}.{number}"))
}

/// Lines that are not understood are left alone: a line may be cut by a crash.
fn remember(last: &mut VecDeque<Entry>, file: impl io::BufRead) -> io::Result<()> {
    for line in file.split(b'\n') {
        if let Ok(entry) = serde_json::from_slice(&line?) {
            push(last, entry);
        }
    }
    Ok(())
}

fn push(last: &mut VecDeque<Entry>, entry: Entry) {
    if last.len() == KEPT {
        last.pop_front();
    }
    last.push_back(entry);
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        audit.write("ada", HERE, "log in", Ok("as admin"));
        audit.write("", HERE, "log in as “\n<b>”", Err("wrong"));
        drop(audit);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        fs::write(folder.path().join(FILE), format!("{text}{{\"cut")).unwrap();

        let audit = Audit::open(folder.path()).unwrap();
        let told: Vec<_> = audit
            .newest("")
            .into_iter()
            .map(|entry| entry.what)
            .collect();
        assert_eq!(told, ["log in as “\n<b>”", "log in"]);
        assert_eq!(audit.newest("ADA Admin").len(), 1);
        assert!(audit.newest("ada wrong").is_empty());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        for _ in 0..2 * ASIDE {
            audit.log().length = LONGEST;
            audit.write("ada", HERE, &"x".repeat(10_000), Ok(""));
        }
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, ASIDE + 1);
        let line = fs::read_to_string(aside(audit.path(), 1)).unwrap();
        assert!(line.len() < 1_000, "{}", line.len());
        for _ in 0..KEPT {
            audit.write("ada", HERE, "x", Ok(""));
        }
        assert_eq!(audit.newest("").len(), KEPT);
    }
}
