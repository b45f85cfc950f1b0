//! Memory: what maps take, what this process takes, what the machine has.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::maps::MapData;

/// What the kernel says that each map takes, in bytes.
pub(crate) fn of_maps(maps: &Path) -> Result<Vec<(String, u64)>> {
    let mut memory = Vec::new();
    for entry in fs::read_dir(maps)? {
        let path = entry?.path();
        let map =
            MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))?;
        let info = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
        let info = fs::read_to_string(&info).with_context(|| format!("reading {info}"))?;
        let bytes = info
            .lines()
            .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
            .with_context(|| format!("the kernel does not say what {} takes", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        memory.push((name.into_owned(), bytes));
    }
    Ok(memory)
}

/// What this process has in memory (`VmRSS`), in bytes.
pub(crate) fn of_process() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    kibibytes(&status, "VmRSS").context("the kernel does not say what this process takes")
}

/// What the kernel reckons that could be had without swapping, in bytes.
pub(crate) fn available() -> Result<u64> {
    let all = fs::read_to_string("/proc/meminfo")?;
    kibibytes(&all, "MemAvailable").context("the kernel does not say how much memory is free")
}

/// The value of a line `name:  1234 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let text = "MemFree:  5 kB\nMem:  1 kB\nHugePages:  7\n";
        let table = [
            ("MemFree", Some(5 * 1024)),
            ("Mem", Some(1024)),
            ("HugePages", None),
            ("Swap", None),
        ];
        for (name, bytes) in table {
            assert_eq!(kibibytes(text, name), bytes, "{name}");
        }
    }
}
