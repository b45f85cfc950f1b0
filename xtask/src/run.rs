//! `cargo xtask run`: `lb run` on this machine, or in the lab.

use std::{env, ffi::OsString, os::unix::process::CommandExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    command,
    lab::{self, LabOptions},
    packages::Packages,
    privilege::Privilege,
    test,
};

/// Becomes `lb run ARGUMENTS`, as root: exit code and signals are those of `lb`.
pub(crate) fn lb(lb: &Path, arguments: &[OsString]) -> Result<()> {
    let mut command = as_root(lb, "run")?;
    command.arg("run").args(arguments);
    become_program(command)
}

/// Runs the lab: here if we are root, else in an xtask that is, for the lab makes namespaces.
pub(crate) fn lab(lb: &Path, options: LabOptions, packages: &Packages) -> Result<()> {
    packages.provide(&test::PACKAGES)?;
    if Privilege::find() == Privilege::Root {
        return lab::lab_run(lb, options);
    }
    let mut command = as_root(
        &env::current_exe().context("cannot tell where xtask is")?,
        "run",
    )?;
    // The words after `lab` are those that came after `run`.
    command
        .arg("lab")
        .arg("--lb")
        .arg(lb)
        .args(env::args_os().skip(2));
    become_program(command)
}

/// The command that runs `program` as root; `words` are what would follow it.
pub(crate) fn as_root(program: &Path, words: &str) -> Result<Command> {
    let Some(command) = Privilege::find().command(program) else {
        bail!(
            "{}. Type as root:\n    {} {words}",
            Privilege::REFUSED,
            program.display()
        );
    };
    Ok(command)
}

pub(crate) fn become_program(mut command: Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", command::typed(&command)))
}
