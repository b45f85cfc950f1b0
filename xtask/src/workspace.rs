//! Where things are: the sources and what is built of them.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The folders of this checkout.
pub(crate) struct Workspace {
    /// The top level of the sources.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds both, without asking cargo.
    pub(crate) fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("xtask is not in a workspace")?
            .to_owned();
        let program = env::current_exe().context("cannot tell where xtask is")?;
        let target = target_of(&program).unwrap_or_else(|| root.join("target"));
        Ok(Self { root, target })
    }

    /// Where the BPF object goes, and where cargo builds it.
    pub(crate) fn bpf(&self) -> PathBuf {
        self.target.join("bpf")
    }
}

/// Cargo marks its target folder; our own program is somewhere in it, wherever `CARGO_TARGET_DIR`
/// or a configuration file put it.
fn target_of(program: &Path) -> Option<PathBuf> {
    let mut folders = program.ancestors().skip(1);
    folders
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_runs_from_the_target_folder() {
        let program = env::current_exe().unwrap();
        let target = target_of(&program).unwrap();
        assert!(program.starts_with(&target));
        assert_eq!(target_of(Path::new("/no/such/program")), None);
    }
}
