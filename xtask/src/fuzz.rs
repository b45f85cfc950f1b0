//! `cargo xtask fuzz`: whatever an outsider may send, under libFuzzer.
//!
//! The targets are those of `fuzz/`. What one begins with is in `fuzz/corpus/TARGET`, what it finds besides stays in
//! the target folder, for the next time; an input that ends in a panic, takes too long or too much memory is
//! kept there too, and named.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    command,
    packages::{Package, Packages},
    workspace::Workspace,
};

/// libFuzzer is C++.
const PACKAGES: [Package; 1] = [Package::new("g++", "c++")];

/// What makes the compiler count branches, as cargo-fuzz asks it to; any compiler does. Overflows are found
/// as in a build for debugging.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";

/// Seconds after which one input takes too long.
const SLOW: u32 = 10;

/// What one input may take of memory, in MiB.
const MEMORY: u32 = 1024;

/// Longer inputs are not tried, in bytes.
const LONGEST: u32 = 16_384;

/// Which targets, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Targets, as the files of fuzz/fuzz_targets are called; all if none is given
    targets: Vec<String>,
    /// How long each of them runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs the targets, one after the other; an error if an input was found that breaks one.
pub(crate) fn run(options: &Options, workspace: &Workspace, packages: &Packages) -> Result<()> {
    let all = targets(&workspace.root.join("fuzz/fuzz_targets"))?;
    for target in &options.targets {
        if !all.contains(target) {
            bail!("no target is called {target}; there are {}", all.join(", "));
        }
    }
    packages.provide(&PACKAGES)?;
    let target = workspace.target.join("fuzz");
    let programs = build(workspace, &target)?;
    let mut broken = Vec::new();
    for name in &all {
        if !options.targets.is_empty() && !options.targets.contains(name) {
            continue;
        }
        command::tell(&format!("{name} for {} s", options.seconds));
        let found = target.join("found").join(name);
        fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
        let mut fuzzer = Command::new(programs.join(name));
        // What is new goes into the first folder.
        fuzzer.arg(&found);
        fuzzer.args(seeds(&workspace.root, name));
        fuzzer.args([
            format!("-max_total_time={}", options.seconds),
            format!("-timeout={SLOW}"),
            format!("-rss_limit_mb={MEMORY}"),
            format!("-max_len={LONGEST}"),
            format!("-artifact_prefix={}/{name}-", target.display()),
            "-print_final_stats=1".to_owned(),
            "-verbosity=0".to_owned(),
        ]);
        if let Err(error) = command::run(&mut fuzzer) {
            command::tell(&format!("{error:#}"));
            broken.push(name.as_str());
        }
    }
    if !broken.is_empty() {
        bail!(
            "broken by what is in {}: {}",
            target.display(),
            broken.join(", ")
        );
    }
    Ok(())
}

/// Their names, as those of their files.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What a target begins with.
fn seeds(root: &Path, name: &str) -> Vec<PathBuf> {
    let of_tests = match name {
        "import" => Some("lb-control/tests/data/import"),
        _ => None,
    };
    let folders = [format!("fuzz/corpus/{name}")];
    let folders = folders.iter().map(String::as_str).chain(of_tests);
    folders
        .map(|folder| root.join(folder))
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Builds all targets; where they are.
fn build(workspace: &Workspace, target: &Path) -> Result<PathBuf> {
    let host = host()?;
    let manifest = workspace.root.join("fuzz/Cargo.toml");
    let mut cargo = command::cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--target",
            &host,
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .env("RUSTFLAGS", FLAGS);
    command::run(&mut cargo)?;
    Ok(target.join(host).join("release"))
}

/// What this machine is to the compiler. With it named, flags are for the targets alone, not for what builds them.
fn host() -> Result<String> {
    let answer = command::answer(Command::new("rustc").arg("-vV")).context("cannot run rustc")?;
    let host = answer.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .context("rustc does not say what it builds for")?
        .to_owned())
}
