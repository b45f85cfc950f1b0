//! A test program of `lb-tests`, run by another kernel.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::guest::Guest;
use crate::{bpf, command, test, workspace::Workspace};

/// A test program, and what it is started with.
#[derive(Clone, Copy, Debug)]
pub(super) struct RootTest<'a> {
    /// The file in `tests/tests`, without its ending.
    pub(super) name: &'a str,
    pub(super) arguments: &'a [String],
}

impl RootTest<'_> {
    /// Builds the test and runs it in the guest, with this BPF object; what it skipped, and why.
    pub(super) fn run(
        &self,
        mut guest: Guest,
        object: &Path,
        workspace: &Workspace,
    ) -> Result<Vec<(String, String)>> {
        let name = self.name;
        let program = build(name, workspace)?;
        guest
            .image
            .program(&program, &Path::new("/bin").join(name))?;
        let there = Path::new("/guest/balancer.o");
        guest.image.copy(object, there)?;
        let mut test = Command::new(name);
        test.env(bpf::OBJECT, there)
            .env(test::SKIPS, Path::new("/out").join(SKIPPED))
            .arg("--nocapture")
            .args(self.arguments);
        let outcome = guest.run(&command::typed(&test))?;
        let folder = workspace.target.join("guest");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let skips = folder.join(SKIPPED);
        // What an earlier run skipped is not what this one did.
        fs::write(&skips, "").with_context(|| format!("cannot write {}", skips.display()))?;
        outcome.write(&folder)?;
        ensure!(outcome.status == 0, "{name} failed in the guest");
        Ok(test::skipped(&skips))
    }
}

/// What is skipped, in the guest's `/out` and in our own folder.
const SKIPPED: &str = "skipped-tests";

/// Builds a test program; where it is.
fn build(name: &str, workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo
        .current_dir(&workspace.root)
        .args(["test", "--no-run", "--quiet", "--package", test::ROOT_TESTS])
        .args(["--test", name, "--message-format=json-render-diagnostics"])
        .arg("--target-dir")
        .arg(&workspace.target);
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the test {name} was not built");
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, name).with_context(|| format!("cargo built no test {name}"))
}

/// Of cargo's messages, one a line, the one that tells of this test's program.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let mut programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message.get("target")?.get("name")?.as_str()? == name;
        let program = message.get("executable")?.as_str()?;
        is_it.then(|| program.into())
    });
    programs.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_that_cargo_names() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"lb_tests"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"packets"},"executable":"/t/packets-1"}
            {"reason":"compiler-artifact","target":{"name":"verifier"},"executable":"/t/verifier-2"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "verifier"),
            Some("/t/verifier-2".into())
        );
        assert_eq!(executable(messages, "lb_tests"), None);
    }
}
