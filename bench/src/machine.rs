//! What the figures were measured on.

use std::{fmt, fs, path::PathBuf};

use clap::Args;
use serde::Serialize;

/// What was built, as `cargo xtask bench` says it.
#[derive(Args)]
pub(crate) struct Build {
    /// The object of the driver
    #[arg(long, hide = true, default_value = "target/bpf/driver.o")]
    pub(crate) driver: PathBuf,
    /// The program lb, where it is measured as it is used
    #[arg(long, hide = true)]
    pub(crate) lb: Option<PathBuf>,
    /// The commit that is measured
    #[arg(long, hide = true, default_value = "unknown")]
    pub(crate) commit: String,
}

/// The machine, as far as figures depend on it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// What the processor calls itself.
    pub(crate) processor: String,
    /// How many of them there are.
    pub(crate) cpus: usize,
    /// The release of the kernel.
    pub(crate) kernel: String,
}

impl Machine {
    /// This one.
    pub(crate) fn find() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, name)| name.to_owned());
        Self {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            cpus,
            kernel,
        } = self;
        write!(f, "{processor} ({cpus} CPUs), Linux {kernel}")
    }
}
