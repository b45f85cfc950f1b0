//! `cargo xtask test`: every test that this machine can run.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    bpf::{self, Builder},
    command,
    packages::{Package, Packages},
    privilege::Privilege,
    product::{self, Profile},
    report::Report,
    vm,
    workspace::Workspace,
};

/// The programs that the lab and the tests of `lb-tests` call.
pub(crate) const PACKAGES: [Package; 10] = [
    Package::new("nginx-light", "nginx"),
    Package::new("iproute2", "ip"),
    Package::new("ethtool", "ethtool"),
    Package::new("curl", "curl"),
    Package::new("iputils-ping", "ping"),
    Package::new("bind9-dnsutils", "dig"),
    Package::new("dnsmasq-base", "dnsmasq"),
    Package::new("bpftool", "bpftool"),
    Package::new("iperf3", "iperf3"),
    Package::new("tcpdump", "tcpdump"),
];

/// The browser that [`Only::Web`] is about.
pub(crate) const BROWSER: [Package; 2] = [
    Package::new("chromium", "chromium"),
    Package::new("chromium-driver", "chromedriver"),
];

/// Some of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Only {
    /// The web tool, in a real browser
    Web,
}

impl Only {
    /// The test program of `lb-tests` that has them.
    const fn program(self) -> &'static str {
        match self {
            Self::Web => "web",
        }
    }
}

/// The crate whose tests need root.
pub(crate) const ROOT_TESTS: &str = "lb-tests";
/// A file for tests that find themselves unable: one line `what: why` for each.
pub(crate) const SKIPS: &str = "LB_SKIPS";

/// Builds what the tests need and runs them all, or only some, whatever fails.
pub(crate) fn run(
    workspace: &Workspace,
    packages: &Packages,
    builder: &Builder,
    only: Option<Only>,
    arguments: &[OsString],
    report: &mut Report,
) -> Result<()> {
    command::tell("building the BPF object and lb");
    let object = builder.build(workspace)?;
    let lb = product::build(workspace, &object, Profile::Release)?;
    let tests = Tests {
        workspace,
        only,
        arguments,
        lb,
        object,
    };

    if only.is_some() {
        tests.with_root(Privilege::find(), packages, report);
        return Ok(());
    }
    report.step("tests without root", || {
        command::run(
            tests
                .cargo()
                .args(["--workspace", "--exclude", ROOT_TESTS])
                .args(arguments),
        )
    });
    tests.with_root(Privilege::find(), packages, report);
    vm::test(&tests.object, workspace, packages, report);
    Ok(())
}

struct Tests<'a> {
    workspace: &'a Workspace,
    only: Option<Only>,
    arguments: &'a [OsString],
    lb: PathBuf,
    object: PathBuf,
}

impl Tests<'_> {
    fn cargo(&self) -> Command {
        let mut cargo = command::cargo();
        cargo
            .current_dir(&self.workspace.root)
            .args(["test", "--no-fail-fast", "--target-dir"])
            .arg(&self.workspace.target)
            .env("PATH", command::search_path())
            .env("LB_BIN", &self.lb)
            .env(bpf::OBJECT, &self.object);
        cargo
    }

    fn with_root(&self, privilege: Privilege, packages: &Packages, report: &mut Report) {
        let name = "tests with root";
        let mut cargo = self.cargo();
        cargo.args(["--package", ROOT_TESTS]);
        if let Some(only) = self.only {
            cargo.args(["--test", only.program()]);
        }
        match privilege {
            Privilege::Root => {}
            Privilege::Sudo => {
                let Some(host) = host() else {
                    return report.skip(name, "rustc does not say what this machine is");
                };
                cargo.env(runner(&host), "sudo -E");
            }
            Privilege::None => {
                report.step("build of the tests with root", || {
                    command::run(cargo.arg("--no-run"))
                });
                return report.skip(name, Privilege::REFUSED);
            }
        }
        if let Err(error) = packages.provide(&PACKAGES) {
            return report.skip(name, &format!("{error:#}"));
        }
        // One test needs it: without it that one is skipped, and says so.
        if let Err(error) = packages.provide(&browser()) {
            command::tell(&format!("no browser: {error:#}"));
        }
        let skips = self.workspace.target.join("skipped-tests");
        // Root's tests would otherwise make it, and we could not remove it the next time.
        let prepared = fs::write(&skips, "").context("cannot write what is skipped");
        report.step(name, || {
            prepared?;
            command::run(cargo.env(SKIPS, &skips).args(self.arguments))
        });
        for (what, why) in skipped(&skips) {
            report.skip(&what, &why);
        }
    }
}

/// What is needed of a browser: another one of the same kind serves as well, with a driver of its own.
pub(crate) fn browser() -> Vec<Package> {
    let has_another = command::program("google-chrome").is_some();
    let is_needed = |package: &Package| !(has_another && package.file == "chromium");
    BROWSER.into_iter().filter(is_needed).collect()
}

/// The machine that rustc builds for unless told otherwise.
fn host() -> Option<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer = command::answer(Command::new(rustc).arg("-vV"))?;
    answer
        .lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
}

/// The variable by which cargo is told what runs the programs of a machine.
fn runner(host: &str) -> String {
    format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace('-', "_")
    )
}

pub(crate) fn skipped(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(what, why)| (what.to_owned(), why.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_named_after_the_host() {
        let name = runner("x86_64-unknown-linux-gnu");
        assert_eq!(name, "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER");
    }
}
