//! What the kernel tells by files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A machine, by its `/proc` and `/sys`.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The one that we run on.
    #[must_use]
    pub fn here() -> Self {
        Self::below(Path::new("/"))
    }

    /// One whose files are below a folder.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// What stands in a file, without blanks around it. None if it is not there.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// A setting below `/proc/sys`.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<String> {
        self.read(&format!("proc/sys/{name}"))
    }

    /// Whether there is such a file or folder.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// What is in a folder, in order.
    #[must_use]
    pub fn list(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path)) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The last part of what a symbolic link leads to.
    #[must_use]
    pub fn leads_to(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// How many CPUs are switched on.
    #[must_use]
    pub fn cpus(&self) -> usize {
        let online = self.read("sys/devices/system/cpu/online");
        online.map_or(1, |list| numbers(&list).len().max(1))
    }
}

/// The numbers of a list such as `0-3,8`.
#[must_use]
pub fn numbers(list: &str) -> Vec<usize> {
    let parts = list.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    // No machine has more CPUs; a nonsensical list is not to fill the memory.
    parts.flatten().take(1 << 16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        let table: [(&str, &[usize]); 5] = [
            ("0", &[0]),
            ("0-3", &[0, 1, 2, 3]),
            ("0-1,4,6-7", &[0, 1, 4, 6, 7]),
            ("", &[]),
            ("x-y", &[]),
        ];
        for (list, expected) in table {
            assert_eq!(numbers(list), expected, "{list}");
        }
    }
}
