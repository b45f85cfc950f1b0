//! `cargo xtask bench vm`: instructions per packet, IPVS and the balancer side by side in one guest.
//!
//! The guest's clock ticks once with each instruction, so that the figures are the same on every machine
//! and fit for a gate.

use std::{ffi::OsString, fs, io::Write as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use serde_json::{Map, Value};

use super::{guest::Guest, kernel::Choice, machine::Build};
use crate::{
    bench,
    bpf::Builder,
    command,
    packages::Packages,
    product::{self, Profile, Program},
    workspace::Workspace,
};

/// Instructions per packet beside IPVS, in a guest
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench vm", bin_name = "cargo xtask bench vm")]
struct Options {
    /// Every case that there is, not only those that tell most: those of IPv6 with UDP too
    #[arg(long)]
    all: bool,
    /// Only the cases whose names have all of these words in them
    #[arg(value_name = "CASE")]
    words: Vec<String>,
    /// Debian's kernel: cloud, generic, or the file of a package linux-image-….deb
    #[arg(long, default_value = "cloud")]
    kernel: Choice,
    /// Print the figures as JSON, and the table on standard error
    #[arg(long)]
    json: bool,
    /// Fail if a figure is more than 3 % away from the recorded one (docs/performance/vm.json)
    #[arg(long)]
    gate: bool,
    /// Record the figures of all cases there
    #[arg(long, conflicts_with_all = ["gate", "words"])]
    record: bool,
}

/// The recorded figures, by the series of the kernel.
const RECORD: &str = "docs/performance/vm.json";
/// How far a figure may be from the recorded one, in percent.
const TOLERANCE: f64 = 3.0;
/// What the guest leaves: figures and table.
const FIGURES: &str = "vm.json";
const TABLE: &str = "vm.txt";
/// Seconds. A busy machine takes a while for all cases.
const TIMEOUT: u64 = 3_600;

/// Measures, and does with the figures what the arguments say.
pub(crate) fn run(
    arguments: &[OsString],
    workspace: &Workspace,
    packages: &Packages,
) -> Result<()> {
    let name = OsString::from("vm");
    let options = Options::parse_from(std::iter::once(&name).chain(arguments));
    let folder = workspace.target.join("guest");
    measure(&options, &folder, workspace, packages)?;
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (table, text) = (read(TABLE)?, read(FIGURES)?);
    if options.json {
        write!(std::io::stderr(), "{table}")?;
        write!(std::io::stdout(), "{text}")?;
    } else {
        write!(std::io::stdout(), "{table}")?;
    }
    let figures: Value = serde_json::from_str(&text).context("the figures are no JSON")?;
    let series = series(&figures)?;
    let path = workspace.root.join(RECORD);
    let recorded = fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
    let mut recorded: Map<String, Value> =
        serde_json::from_str(&recorded).with_context(|| format!("{RECORD} is no JSON object"))?;
    if options.record {
        recorded.insert(series, figures);
        let text = serde_json::to_string_pretty(&recorded)? + "\n";
        return fs::write(&path, text).with_context(|| format!("cannot write {RECORD}"));
    }
    if options.gate {
        let recorded = recorded
            .get(&series)
            .with_context(|| format!("{RECORD} has no figures of Linux {series}"))?;
        let complete = options.all && options.words.is_empty();
        let differences = differences(recorded, &figures, complete)?;
        if !differences.is_empty() {
            bail!(
                "figures are more than {TOLERANCE} % away from the recorded ones:\n    {}\n\
                 If that is meant, record them: cargo xtask bench vm --record",
                differences.join("\n    ")
            );
        }
        command::tell(&format!(
            "all figures are within {TOLERANCE} % of the recorded ones"
        ));
    }
    Ok(())
}

/// Has a guest measure; what it leaves goes into `folder`.
fn measure(
    options: &Options,
    folder: &Path,
    workspace: &Workspace,
    packages: &Packages,
) -> Result<()> {
    let builder = Builder::provide(packages)?;
    let driver = builder.build_driver(workspace)?;
    let object = builder.build(workspace)?;
    // What is measured runs in the kernel, and its object is always as it is used.
    let program = product::build_program(workspace, Program::BENCH, &object, Profile::Debug)?;
    let machine = Build {
        icount: true,
        timeout: TIMEOUT,
        ..Build::default()
    };
    let mut guest = Guest::with_lab(machine, &options.kernel, packages)?;
    guest.image.program(&program, Path::new("/bin/lb-bench"))?;
    let there = Path::new("/guest/driver.o");
    guest.image.copy(&driver, there)?;
    let mut bench = Command::new("lb-bench");
    bench.arg("--driver").arg(there);
    if let Some(commit) = bench::commit(workspace) {
        bench.arg("--commit").arg(commit);
    }
    bench.args(["vm", "--out", "/out"]);
    if options.all || options.record {
        bench.arg("--all");
    }
    bench.args(&options.words);
    command::tell("measuring in an emulated machine; that takes some minutes");
    let script = format!("modprobe -a veth ip_vs && {}", command::typed(&bench));
    let outcome = guest.run(&script)?;
    ensure!(outcome.status == 0, "the guest could not measure");
    outcome.write(folder)
}

/// The first two numbers of the kernel's release: between the others figures hardly differ.
fn series(figures: &Value) -> Result<String> {
    let release = figures.get("kernel").and_then(Value::as_str);
    let mut numbers = release
        .context("the figures do not tell their kernel")?
        .splitn(3, '.');
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(second)) => Ok(format!("{first}.{second}")),
        _ => bail!("the kernel's release has no two numbers"),
    }
}

/// What is too far from what was recorded, a line each. Unless all cases are `complete`, those that were not
/// measured are not missed.
fn differences(recorded: &Value, found: &Value, complete: bool) -> Result<Vec<String>> {
    let number = |value: &Value, name: &str| {
        let number = value.get(name).and_then(Value::as_f64);
        number.with_context(|| format!("there is no figure {name} in {value}"))
    };
    let mut differences = Vec::new();
    let mut compare = |what: &str, before: &Value, after: &Value, name: &str| {
        let (before, after) = (number(before, name)?, number(after, name)?);
        let percent = (after - before) * 100.0 / before;
        if percent.abs() > TOLERANCE {
            differences.push(format!(
                "{what}: {name} {after}, recorded {before} ({percent:+.1} %)"
            ));
        }
        Ok::<_, anyhow::Error>(())
    };
    compare("alone", recorded, found, "generator")?;
    compare("alone", recorded, found, "redirect")?;
    let mut unknown = Vec::new();
    let (before, after) = (cases(recorded)?, cases(found)?);
    for (name, figures) in &after {
        match before.get(name) {
            Some(recorded) => {
                compare(name, recorded, figures, "ipvs")?;
                compare(name, recorded, figures, "lvs_xdp")?;
            }
            None => unknown.push(format!("{name}: not recorded")),
        }
    }
    let missing = before
        .keys()
        .filter(|name| complete && !after.contains_key(*name));
    unknown.extend(missing.map(|name| format!("{name}: recorded, and not measured")));
    differences.extend(unknown);
    Ok(differences)
}

/// The cases by name.
fn cases(figures: &Value) -> Result<std::collections::BTreeMap<String, &Value>> {
    let cases = figures.get("cases").and_then(Value::as_array);
    let named = |case| {
        let name = Value::get(case, "case").and_then(Value::as_str);
        Ok((name.context("a case has no name")?.to_owned(), case))
    };
    cases
        .context("there are no cases")?
        .iter()
        .map(named)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(generator: u64, cases: &[(&str, u64, u64)]) -> Value {
        let cases: Vec<_> = cases
            .iter()
            .map(|(case, ipvs, ours)| json!({"case": case, "ipvs": ipvs, "lvs_xdp": ours}))
            .collect();
        json!({"kernel": "6.1.0-1-cloud", "generator": generator, "redirect": 500, "cases": cases})
    }

    #[test]
    fn figures_are_recorded_by_series() {
        assert_eq!(series(&figures(1, &[])).unwrap(), "6.1");
        assert!(series(&json!({"kernel": "6"})).is_err());
        assert!(series(&json!({})).is_err());
    }

    #[test]
    fn what_is_too_far_away_is_told() {
        type Row<'a> = (&'a str, &'a [(&'a str, u64, u64)], u64, bool, usize);
        let recorded = figures(1_000, &[("nat", 6_000, 1_000), ("direct", 5_000, 800)]);
        let table: [Row<'_>; 7] = [
            (
                "the same",
                &[("nat", 6_000, 1_000), ("direct", 5_000, 800)],
                1_000,
                true,
                0,
            ),
            (
                "within",
                &[("nat", 6_180, 970), ("direct", 4_850, 824)],
                1_030,
                true,
                0,
            ),
            (
                "more",
                &[("nat", 6_000, 1_031), ("direct", 5_000, 800)],
                1_000,
                true,
                1,
            ),
            (
                "less, both",
                &[("nat", 6_000, 900), ("direct", 4_000, 800)],
                1_000,
                true,
                2,
            ),
            (
                "generator",
                &[("nat", 6_000, 1_000), ("direct", 5_000, 800)],
                1_100,
                true,
                1,
            ),
            ("one missing", &[("nat", 6_000, 1_000)], 1_000, true, 1),
            (
                "one wanted, another unknown",
                &[("nat", 6_000, 1_000), ("gue", 1, 1)],
                1_000,
                false,
                1,
            ),
        ];
        for (what, cases, generator, complete, wanted) in table {
            let found = differences(&recorded, &figures(generator, cases), complete).unwrap();
            assert_eq!(found.len(), wanted, "{what}: {found:?}");
        }
    }
}
