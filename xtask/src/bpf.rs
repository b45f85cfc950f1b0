//! The BPF object: crate `lb-ebpf`, built for the kernel's machine by its own compiler and linker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    cache::Cache,
    command, linker, object,
    packages::Packages,
    toolchain::{self, Toolchain},
    workspace::Workspace,
};

/// BPF has the byte order of the host.
const TARGET: &str = if cfg!(target_endian = "little") {
    "bpfel-unknown-none"
} else {
    "bpfeb-unknown-none"
};
/// The variable that names the linker to cargo.
const TARGET_LINKER: &str = if cfg!(target_endian = "little") {
    "CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER"
} else {
    "CARGO_TARGET_BPFEB_UNKNOWN_NONE_LINKER"
};

/// What tells the build of `lb` and the tests where the object is.
pub(crate) const OBJECT: &str = "LB_BPF_OBJECT";
/// The object with the decision log, which lies beside it.
const LOG_OBJECT: &str = "balancer-log.o";
/// What makes the packets for measurements, which lies there too.
const DRIVER: &str = "driver.o";

/// What builds the object.
pub(crate) struct Builder {
    toolchain: Toolchain,
    linker: PathBuf,
}

impl Builder {
    /// Finds compiler and linker, or installs them.
    pub(crate) fn provide(packages: &Packages) -> Result<Self> {
        let toolchain = toolchain::provide(packages)?;
        let linker = linker::provide(&Cache::find()?, packages)?;
        Ok(Self { toolchain, linker })
    }

    /// Builds the object, and the one with the decision log beside it; the first one's path.
    pub(crate) fn build(&self, workspace: &Workspace) -> Result<PathBuf> {
        let built = built(workspace, "balancer");
        let mut cargo = self.cargo("build", "balancer", workspace);
        cargo.args(["--features", "log"]);
        command::run(&mut cargo).context("the BPF object with the decision log was not built")?;
        publish(&built, &workspace.bpf().join(LOG_OBJECT), object::check_log)?;
        self.build_balancer(workspace)
    }

    /// Builds the object alone; its path.
    pub(crate) fn build_balancer(&self, workspace: &Workspace) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "balancer", workspace);
        command::run(&mut cargo).context("the BPF object was not built")?;
        let object = workspace.bpf().join("balancer.o");
        publish(&built(workspace, "balancer"), &object, object::check)?;
        Ok(object)
    }

    /// Builds the object that makes the packets for measurements; its path.
    pub(crate) fn build_driver(&self, workspace: &Workspace) -> Result<PathBuf> {
        let mut cargo = self.cargo("build", "driver", workspace);
        cargo.args(["--features", "bench"]);
        command::run(&mut cargo).context("the driver of measurements was not built")?;
        let object = workspace.bpf().join(DRIVER);
        publish(&built(workspace, "driver"), &object, object::check)?;
        Ok(object)
    }

    /// Clippy over the code for BPF, if this compiler has it.
    pub(crate) fn clippy(&self, workspace: &Workspace) -> Option<Command> {
        let mut cargo = self.cargo("clippy", "balancer", workspace);
        cargo.args(["--bin=driver", "--features=bench", "--", "-Dwarnings"]);
        self.toolchain.has_clippy().then_some(cargo)
    }

    /// Why there is no clippy for BPF.
    pub(crate) fn without_clippy(&self) -> String {
        self.toolchain.without_clippy()
    }

    /// Which compiler and which linker.
    pub(crate) fn describe(&self) -> String {
        format!("{}, {}", self.toolchain.describe(), self.linker.display())
    }

    fn cargo(&self, what: &str, program: &str, workspace: &Workspace) -> Command {
        let mut cargo = self.toolchain.cargo();
        cargo
            .current_dir(&workspace.root)
            .args([what, "--quiet", "--package=lb-ebpf", "--bin", program])
            .args(["--profile=bpf", "--target", TARGET, "-Zbuild-std=core"])
            .arg("--target-dir")
            .arg(workspace.bpf())
            .env(TARGET_LINKER, &self.linker)
            // Takes the place of all flags that are meant for the host.
            .env("CARGO_ENCODED_RUSTFLAGS", flags().join("\x1f"));
        cargo
    }
}

/// Where cargo puts a program.
fn built(workspace: &Workspace, program: &str) -> PathBuf {
    workspace.bpf().join(TARGET).join("bpf").join(program)
}

fn flags() -> [String; 4] {
    [
        format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        "-Cdebuginfo=2".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ]
}

/// Copies the object if it is another one: what is built with it stays fresh otherwise.
fn publish(built: &Path, object: &Path, check: fn(&[u8]) -> Result<()>) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(object).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    check(&bytes)?;
    let staged = object.with_extension("new");
    fs::write(&staged, &bytes).with_context(|| format!("cannot write {}", staged.display()))?;
    fs::rename(&staged, object).with_context(|| format!("cannot write {}", object.display()))
}
