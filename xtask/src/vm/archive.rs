//! A cpio archive of the kind "newc": what the kernel unpacks as its first file system.
//!
//! Written here and not by `cpio`, for the files in it are to be root's whoever makes it, and the
//! same files are to give the same bytes.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The kinds of files, as in `st_mode`.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// What ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive that grows. What is put in twice stays as it was put in first.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    paths: BTreeSet<PathBuf>,
}

impl Archive {
    /// A folder, with those that it is in.
    pub(crate) fn folder(&mut self, path: &Path) {
        if path.parent().is_none() || !self.paths.insert(path.to_owned()) {
            return;
        }
        self.parent(path);
        self.entry(path, FOLDER | 0o755, b"");
    }

    /// A file with these permissions.
    pub(crate) fn file(&mut self, path: &Path, permissions: u32, content: &[u8]) {
        if self.paths.insert(path.to_owned()) {
            self.parent(path);
            self.entry(path, FILE | permissions & 0o7777, content);
        }
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) {
        if self.paths.insert(path.to_owned()) {
            self.parent(path);
            self.entry(path, LINK | 0o777, target.as_os_str().as_bytes());
        }
    }

    /// A copy of a file, or of a folder with all that is in it. Links are followed.
    pub(crate) fn copy(&mut self, from: &Path, path: &Path) -> Result<()> {
        let unreadable = || format!("cannot read {}", from.display());
        let metadata = fs::metadata(from).with_context(unreadable)?;
        if !metadata.is_dir() {
            let content = fs::read(from).with_context(unreadable)?;
            self.file(path, metadata.permissions().mode(), &content);
            return Ok(());
        }
        self.folder(path);
        let mut names = fs::read_dir(from)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.file_name()))
                    .collect::<std::io::Result<Vec<_>>>()
            })
            .with_context(unreadable)?;
        names.sort();
        names
            .iter()
            .try_for_each(|name| self.copy(&from.join(name), &path.join(name)))
    }

    /// The bytes of the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new(TRAILER), 0, b"");
        self.bytes
    }

    fn parent(&mut self, path: &Path) {
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
    }

    /// A header of 13 numbers of eight hexadecimal digits, the name, the content, both padded to four
    /// bytes (the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`).
    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        let name = path.strip_prefix("/").unwrap_or(path);
        let name = name.as_os_str().as_bytes();
        let number = self.paths.len() as u32;
        let (user, group, links, time) = (0, 0, 1, 0);
        let (device, check) = ([0; 4], 0);
        self.bytes.extend(b"070701");
        for field in [number, mode, user, group, links, time, content.len() as u32]
            .into_iter()
            .chain(device)
            .chain([name.len() as u32 + 1, check])
        {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name);
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_folders_before_it_and_is_padded() {
        let mut archive = Archive::default();
        archive.file(Path::new("/lab/a"), 0o755, b"text!");
        archive.file(Path::new("/lab/a"), 0o644, b"too late");
        archive.link(Path::new("/b"), Path::new("lab/a"));
        let bytes = archive.finish();
        let text = String::from_utf8(bytes).unwrap();
        let entry = |mode: &str, size: usize, name: &str, content: &str| {
            let zero = "00000000";
            let pad = |length: usize| "\0".repeat(length.next_multiple_of(4) - length);
            let header = format!(
                "{mode}{zero}{zero}00000001{zero}{size:08x}{}",
                zero.repeat(4)
            );
            let name = format!("{:08x}{zero}{name}\0", name.len() + 1);
            let (named, contained) = (pad(110 + name.len() - 16), pad(content.len()));
            format!("{header}{name}{named}{content}{contained}")
        };
        // What comes before a mode is the magic number and the number of the file.
        let entries: Vec<&str> = text
            .split("070701")
            .skip(1)
            .map(|rest| &rest[8..])
            .collect();
        assert_eq!(
            entries,
            [
                entry("000041ed", 0, "lab", ""),
                entry("000081ed", 5, "lab/a", "text!"),
                entry("0000a1ff", 5, "b", "lab/a"),
                entry("00000000", 0, TRAILER, ""),
            ]
        );
    }
}
