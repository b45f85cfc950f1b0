//! The product: `lb`, with the BPF object in it; and what measures it.

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

/// A program with the BPF object in it: its package and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program(&'static str, &'static str);

impl Program {
    /// The product.
    pub(crate) const LB: Self = Self("lb-control", "lb");
    /// What measures it.
    pub(crate) const BENCH: Self = Self("lb-bench", "lb-bench");
}

/// Builds `lb` with this object; its path.
pub(crate) fn build(workspace: &Workspace, object: &Path, profile: Profile) -> Result<PathBuf> {
    build_program(workspace, Program::LB, object, profile)
}

/// Builds a program with this object; its path.
pub(crate) fn build_program(
    workspace: &Workspace,
    Program(package, name): Program,
    object: &Path,
    profile: Profile,
) -> Result<PathBuf> {
    let (folder, argument) = match profile {
        Profile::Debug => ("debug", None),
        Profile::Release => ("release", Some("--release")),
    };
    let mut cargo = command::cargo();
    cargo
        .current_dir(&workspace.root)
        .args(["build", "--package", package, "--bin", name]);
    cargo
        .args(argument)
        .arg("--target-dir")
        .arg(&workspace.target)
        .env(bpf::OBJECT, object);
    command::run(&mut cargo).with_context(|| format!("{name} was not built"))?;
    Ok(workspace.target.join(folder).join(name))
}
