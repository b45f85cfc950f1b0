//! A guest: a kernel, a file system, a machine that has not been started yet.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    PACKAGES,
    image::Image,
    kernel::{Choice, Kernel},
    machine::{Build, Outcome},
    unpacked::Store,
};
use crate::{
    cache::Cache,
    command,
    packages::{Package, Packages},
    test,
};

/// A guest that has not been started yet.
#[derive(Debug)]
pub(super) struct Guest {
    machine: Build,
    kernel: Kernel,
    folder: PathBuf,
    /// What it will find.
    pub(super) image: Image,
}

impl Guest {
    /// A guest with this kernel; what is needed for it is downloaded or installed.
    pub(super) fn new(machine: Build, choice: &Choice, packages: &Packages) -> Result<Self> {
        if env::consts::ARCH != "x86_64" {
            bail!("the guest is an x86-64 machine, and this one's programs are not for it");
        }
        packages.provide(&PACKAGES)?;
        let cache = Cache::find()?;
        let store = Store::open(&cache)?;
        let kernel = Kernel::provide(choice, &store, packages)?;
        let image = Image::base(&kernel, &store)?;
        Ok(Self {
            machine,
            kernel,
            folder: store.folder().to_owned(),
            image,
        })
    }

    /// A guest in which labs can be made: it has the programs that they call.
    pub(super) fn with_lab(machine: Build, choice: &Choice, packages: &Packages) -> Result<Self> {
        packages.provide(&test::PACKAGES)?;
        let mut guest = Self::new(machine, choice, packages)?;
        for Package { file, .. } in test::PACKAGES {
            if let Some(program) = command::program(file) {
                guest
                    .image
                    .program(&program, &Path::new("/bin").join(file))?;
            }
        }
        Ok(guest)
    }

    /// Boots and runs a script of the shell, whose output becomes ours.
    pub(super) fn run(self, script: &str) -> Result<Outcome> {
        let files = self.image.finish(script);
        self.machine
            .boot(&self.kernel.image(), &files, &self.folder)
    }
}

impl Outcome {
    /// Writes what the command left in `/out`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        if self.out.is_empty() {
            return Ok(());
        }
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(folder)
            .args(["--no-same-owner", "-xf", "-"]);
        let mut unpacking = tar
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run tar")?;
        let mut input = unpacking.stdin.take().context("tar has no input")?;
        input
            .write_all(&self.out)
            .context("cannot give tar its file")?;
        drop(input);
        let status = unpacking.wait()?;
        ensure!(status.success(), "tar ended with {status}");
        Ok(())
    }
}
