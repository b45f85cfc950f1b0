//! The embedded lab: `cargo xtask run` without arguments for `lb`.

use std::path::Path;

use anyhow::{Result, bail};

/// How the real servers of the lab are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Method {
    /// Addresses are translated, both ways.
    Nat,
    /// Frames are handed on; replies bypass the router.
    Direct,
    /// Packets are handed on in packets; replies bypass the router.
    Tunnel,
}

/// What the lab is to show.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct LabOptions {
    /// A few seconds and a summary; exit code 0 only if traffic was balanced.
    #[arg(long)]
    pub(crate) once: bool,
    /// How the real servers are reached.
    #[arg(long, value_enum, default_value_t = Method::Nat)]
    pub(crate) method: Method,
    /// Two routers, one as the backup of the other.
    #[arg(long)]
    pub(crate) pair: bool,
}

/// Runs the lab, as root, with this `lb`.
pub(crate) fn lab_run(_lb: &Path, _options: LabOptions) -> Result<()> {
    bail!("the lab is not there yet")
}
