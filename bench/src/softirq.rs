//! The kernel's thread that takes over packets when there is more to do than fits between other work.

use std::fs;

use anyhow::{Context as _, Result, bail};

/// What the one of the first CPU is called.
const NAME: &str = "ksoftirqd/0";

/// How long it has been running so far, in nanoseconds.
pub(crate) fn time() -> Result<u64> {
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_it = fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == NAME);
        if !is_it {
            continue;
        }
        // Time on the CPU, time of waiting for it, number of turns.
        let times = fs::read_to_string(path.join("schedstat"))?;
        let time = times.split_whitespace().next();
        return Ok(time.context("a process without times")?.parse()?);
    }
    bail!("there is no {NAME}")
}
