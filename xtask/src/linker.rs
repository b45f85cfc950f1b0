//! The linker for BPF, `bpf-linker`: it works on LLVM's bitcode and so needs LLVM's libraries.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::{Cache, Tool},
    command,
    packages::{Package, Packages},
};

/// The pinned linker. LLVM 22 is that of both compilers.
const LINKER: Tool = Tool {
    name: "bpf-linker",
    version: "0.13.0",
    variant: "-llvm-22",
    arguments: &["--no-default-features", "--features=llvm-22"],
};

/// LLVM of the same version, where Debian puts it.
const LLVM: &str = "/usr/lib/llvm-22";
const LLVM_PACKAGES: [Package; 1] = [Package::new(
    "llvm-22-dev",
    "/usr/lib/llvm-22/include/llvm/Config/llvm-config.h",
)];

/// Names a bpf-linker to be used in place of ours, e.g. a release binary where there is no LLVM 22.
const OVERRIDE: &str = "LB_BPF_LINKER";

/// Finds the linker, or installs it.
pub(crate) fn provide(cache: &Cache, packages: &Packages) -> Result<PathBuf> {
    if let Some(path) = env::var_os(OVERRIDE).filter(|path| !path.is_empty()) {
        let path = std::path::absolute(path)?;
        if !path.is_file() {
            bail!("{OVERRIDE} names {}, which is not there", path.display());
        }
        return Ok(path);
    }
    if let Some(program) = cache.present(&LINKER) {
        return Ok(program);
    }
    let llvm = llvm(packages)?;
    let environment = environment(&llvm);
    cache.provide(&LINKER, &environment).with_context(|| {
        format!(
            "{} (or name one that you have in {OVERRIDE})",
            cache.typed(&LINKER, &environment)
        )
    })
}

/// What a person types to have the linker.
pub(crate) fn typed(cache: &Cache) -> String {
    let names: Vec<&str> = LLVM_PACKAGES.iter().map(|package| package.name).collect();
    let install = cache.typed(&LINKER, &environment(Path::new(LLVM)));
    format!("    {}\n    {install}", crate::packages::typed(&names))
}

/// Without LLVM's folder first in the PATH, another LLVM's llvm-config would be asked.
fn environment(llvm: &Path) -> [(&'static str, OsString); 2] {
    [
        ("PATH", command::path_after(&llvm.join("bin"))),
        ("LLVM_PREFIX", llvm.into()),
    ]
}

/// Where LLVM is: Debian's folder, or what another distribution's `llvm-config` says.
fn llvm(packages: &Packages) -> Result<PathBuf> {
    let debian = Path::new(LLVM);
    if debian.join("include").is_dir() {
        return Ok(debian.to_owned());
    }
    let found = ["llvm-config-22", "llvm-config"]
        .into_iter()
        .find_map(|name| {
            let ask = |what| command::answer(Command::new(name).arg(what));
            fits(&ask("--version")?).then(|| ask("--prefix"))?
        });
    if let Some(prefix) = found {
        return Ok(PathBuf::from(prefix.trim()));
    }
    packages
        .provide(&LLVM_PACKAGES)
        .context("bpf-linker needs LLVM 22 with its headers")?;
    Ok(debian.to_owned())
}

fn fits(version: &str) -> bool {
    version.trim().starts_with("22.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_llvm_22_fits() {
        assert!(fits("22.1.8\n"));
        assert!(!fits("14.0.6\n"));
        assert!(!fits("221.0\n"));
        assert!(!fits(""));
    }
}
