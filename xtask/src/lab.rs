//! The embedded lab: `cargo xtask run` without arguments for `lb`.

use std::{
    path::Path,
    process::{ExitCode, exit},
};

use anyhow::Result;
use lb_tests::{Method, showcase};

/// What the lab is to show.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct LabOptions {
    /// A few seconds and a summary; exit code 0 only if traffic was balanced.
    #[arg(long)]
    pub(crate) once: bool,
    /// How the real servers are reached: nat, direct or tunnel. Default: nat; with --once: all
    #[arg(long)]
    pub(crate) method: Option<Method>,
    /// Two routers, one as the backup of the other.
    #[arg(long)]
    pub(crate) pair: bool,
}

/// Runs the lab, as root, with this `lb`.
pub(crate) fn lab_run(lb: &Path, options: LabOptions) -> Result<()> {
    let LabOptions { once, method, pair } = options;
    let code = showcase::run(lb, showcase::Options { once, method, pair })?;
    if code != ExitCode::SUCCESS {
        // The summary has told what failed.
        exit(1);
    }
    Ok(())
}
