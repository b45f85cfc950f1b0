//! The product: `lb`, with the BPF object in it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{bpf, command, workspace::Workspace};

/// How `lb` is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quickly.
    Debug,
    /// As it is used.
    Release,
}

/// Builds `lb` with this object; its path.
pub(crate) fn build(workspace: &Workspace, object: &Path, profile: Profile) -> Result<PathBuf> {
    let (folder, argument) = match profile {
        Profile::Debug => ("debug", None),
        Profile::Release => ("release", Some("--release")),
    };
    let mut cargo = command::cargo();
    cargo
        .current_dir(&workspace.root)
        .args(["build", "--package=lb-control", "--bin=lb"]);
    cargo
        .args(argument)
        .arg("--target-dir")
        .arg(&workspace.target)
        .env(bpf::OBJECT, object);
    command::run(&mut cargo).context("lb was not built")?;
    Ok(workspace.target.join(folder).join("lb"))
}
