//! `cargo xtask bench`: builds what measures, and becomes it.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    base,
    bpf::Builder,
    command,
    packages::{Package, Packages},
    product::{self, Profile, Program},
    run, test, vm,
    workspace::Workspace,
};

/// What is measured in a guest.
const IN_A_GUEST: &str = "vm";

/// What is measured of the daemon itself.
const OF_THE_DAEMON: &str = "control";

/// What is measured of lb as a whole, beside another.
const OF_A_PAIR: &str = "failover";

/// What is measured of lb as a whole, by itself.
const OF_THE_WEB_TOOL: &str = "web";

/// What stands beside a pair.
const KEEPALIVED: [Package; 1] = [Package::new("keepalived", "keepalived")];

/// Becomes `lb-bench ARGUMENTS`, as root; or has a guest run it.
pub(crate) fn run(
    workspace: &Workspace,
    packages: &Packages,
    arguments: &[OsString],
) -> Result<()> {
    if let Some((first, rest)) = arguments.split_first()
        && first == IN_A_GUEST
    {
        return vm::bench::run(rest, workspace, packages);
    }
    let builder = Builder::provide(packages)?;
    let driver = builder.build_driver(workspace)?;
    let object = builder.build(workspace)?;
    let arguments = base::resolved(workspace, &builder, arguments)?;
    let is_first = |name| arguments.first().is_some_and(|first| first == name);
    // What mostly is measured runs in the kernel, and its object is always as it is used.
    let profile = if is_first(OF_THE_DAEMON) {
        Profile::Release
    } else {
        Profile::Debug
    };
    let bench = product::build_program(workspace, Program::BENCH, &object, profile)?;
    // The lab calls them.
    packages.provide(&test::PACKAGES)?;
    let options = format!("--driver {} …", driver.display());
    let mut command = run::as_root(&bench, &options)?;
    command.arg("--driver").arg(driver);
    if is_first(OF_A_PAIR) {
        packages.provide(&KEEPALIVED)?;
    }
    if is_first(OF_A_PAIR) || is_first(OF_THE_WEB_TOOL) {
        let lb = product::build(workspace, &object, Profile::Release)?;
        command.arg("--lb").arg(lb);
    }
    if let Some(commit) = commit(workspace) {
        command.arg("--commit").arg(commit);
    }
    command.args(arguments);
    run::become_program(command)
}

/// The commit that is checked out, and whether something was changed since; `None` if git does not know.
pub(crate) fn commit(workspace: &Workspace) -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(&workspace.root)
        .args(["describe", "--always", "--dirty", "--abbrev=12"]);
    Some(command::answer(&mut git)?.trim().to_owned())
}
