//! For how long somebody else was busy.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// For how many seconds a process or a thread was busy, for itself and in the kernel (proc(5)). `place` is its directory
/// below `/proc`.
pub(crate) fn busy(place: &Path) -> Result<f64> {
    let text = fs::read_to_string(place.join("stat"))?;
    let ticks = ticks(&text).with_context(|| format!("stat in {}", place.display()))?;
    let second = sysconf(SysconfVar::CLK_TCK)?.context("clock ticks")?;
    Ok(ticks as f64 / second as f64)
}

/// utime and stime; whatever the name before them has in it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_for_itself_and_in_the_kernel_is_added() {
        let behind = "S 1 7 7 0 -1 4194560 149 0 0 0 30 12 0 0 20 0 1 0 26 2568192";
        let table = [("lb", Some(42)), ("a (b) 1 2 3", Some(42))];
        for (name, expected) in table {
            assert_eq!(ticks(&format!("7 ({name}) {behind}")), expected, "{name}");
        }
        assert_eq!(ticks("7 lb S 1"), None);
    }
}
