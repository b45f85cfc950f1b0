//! `lb config history` and `lb config rollback`.

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use serde::Serialize;

use super::{RELOAD, Whose, colour, diff};
use crate::{
    cli::output,
    config::{
        self, Severity,
        store::{Store, Version},
    },
};

#[derive(Debug, Args)]
pub(super) struct History {
    #[command(flatten)]
    whose: Whose,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl History {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let versions = Store::at(&self.whose.config)?.history()?;
        let listed = List(versions.iter().rev().map(Listed::from).collect());
        output::print(&listed, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// All versions, the newest first.
#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Listed>);

#[derive(Serialize)]
struct Listed {
    number: u64,
    /// RFC 3339.
    written: String,
    size: u64,
    path: PathBuf,
}

impl From<&Version> for Listed {
    fn from(version: &Version) -> Self {
        Self {
            number: version.number,
            written: rfc3339(version.written),
            size: version.size,
            path: version.path.clone(),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "there are no versions");
        }
        writeln!(f, "{:>6}  {:20}  {:>8}  file", "number", "written", "bytes")?;
        for one in &self.0 {
            let (number, size) = (one.number, one.size);
            let path = one.path.display();
            writeln!(f, "{number:>6}  {:20}  {size:>8}  {path}", one.written)?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The number of the version, as `lb config history` shows it; else the newest.
    #[arg(value_name = "N")]
    number: Option<u64>,
    #[command(flatten)]
    whose: Whose,
}

impl Rollback {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let store = Store::at(&self.whose.config)?;
        let now = store.read()?;
        let (version, stored) = store.version(self.number)?;
        let name = version.path.to_string_lossy();
        let outcome = config::parse(&name, &stored.bytes);
        if outcome.site.is_none() {
            let mut err = io::stderr().lock();
            let errors = outcome.diagnostics.iter();
            for one in errors.filter(|one| one.severity == Severity::Error) {
                let source = &outcome.document.source;
                write!(err, "{}", config::render(one, source, colour()))?;
            }
            writeln!(err, "lb: {name}: has errors; nothing was written")?;
            return Ok(ExitCode::FAILURE);
        }
        store.write(&stored.bytes, &now.fingerprint)?;
        let mut out = io::stdout().lock();
        let path = store.path().to_string_lossy();
        diff::write(&mut out, (&path, &name), &now.bytes, &stored.bytes)?;
        writeln!(
            out,
            "{path} is what it was in version {}; {RELOAD}",
            version.number
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `2026-11-23T03:12:49Z`: years, months and days by Howard Hinnant's `civil_from_days`.
fn rfc3339(time: SystemTime) -> String {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    };
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, expected) in table {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(rfc3339(time), expected);
        }
    }
}
