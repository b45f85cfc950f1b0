//! Tools that cargo installs, each version in a folder of its own, shared by all checkouts.
//!
//! A changed pin is another folder. What is in a folder is whole: a tool is installed beside it and
//! renamed, under a lock, so neither Ctrl-C nor a second xtask leaves or meets half of one.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// A program that comes from a crate.
pub(crate) struct Tool {
    /// The crate, and the program in it.
    pub(crate) name: &'static str,
    /// The exact version.
    pub(crate) version: &'static str,
    /// What else tells builds of this version apart, for the name of the folder.
    pub(crate) variant: &'static str,
    /// Further arguments of `cargo install`.
    pub(crate) arguments: &'static [&'static str],
}

/// The folder of tools.
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// `LB_TOOLS`, or a folder where the user's caches are.
    pub(crate) fn find() -> Result<Self> {
        folder(|name| env::var_os(name).filter(|value| !value.is_empty()))
            .map(Self)
            .context("neither LB_TOOLS nor HOME is set: there is no place for tools")
    }

    /// The program of a tool, if it is there and starts.
    pub(crate) fn present(&self, tool: &Tool) -> Option<PathBuf> {
        let program = self.program(tool);
        // A program that is there may still want libraries that have gone since.
        let starts = |program| command::answer(Command::new(program).arg("--version")).is_some();
        (program.is_file() && starts(&program)).then_some(program)
    }

    /// Installs a tool if it is not there; the environment is for its build.
    pub(crate) fn provide(&self, tool: &Tool, environment: &[(&str, OsString)]) -> Result<PathBuf> {
        if let Some(program) = self.present(tool) {
            return Ok(program);
        }
        fs::create_dir_all(&self.0).with_context(|| format!("cannot make {}", self.0.display()))?;
        let lock =
            File::create(self.0.join("lock")).context("cannot make the lock of the cache")?;
        lock.lock().context("cannot lock the cache of tools")?;
        if let Some(program) = self.present(tool) {
            return Ok(program);
        }
        self.install(tool, environment)?;
        self.present(tool).with_context(|| {
            format!(
                "{} was installed but does not start",
                self.program(tool).display()
            )
        })
    }

    /// What a person types to install a tool.
    pub(crate) fn typed(&self, tool: &Tool, environment: &[(&str, OsString)]) -> String {
        command::typed(
            installation(tool, environment)
                .arg("--root")
                .arg(self.home(tool)),
        )
    }

    /// A place in the folder for what is not a tool.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn program(&self, tool: &Tool) -> PathBuf {
        self.home(tool).join("bin").join(tool.name)
    }

    fn home(&self, tool: &Tool) -> PathBuf {
        self.0
            .join(format!("{}-{}{}", tool.name, tool.version, tool.variant))
    }

    fn install(&self, tool: &Tool, environment: &[(&str, OsString)]) -> Result<()> {
        // What an interrupted build left in here, cargo takes up again.
        let home = self.home(tool);
        let partial = self
            .0
            .join(format!("{}-{}.partial", tool.name, tool.version));
        let staged = partial.join("root");
        command::tell(&format!("installing {} {} (once)", tool.name, tool.version));
        let mut install = installation(tool, environment);
        install
            .arg("--quiet")
            .arg("--force")
            .arg("--root")
            .arg(&staged);
        install.arg("--target-dir").arg(partial.join("target"));
        command::run(&mut install)?;
        if home.exists() {
            fs::remove_dir_all(&home)
                .with_context(|| format!("cannot replace {}", home.display()))?;
        }
        fs::rename(&staged, &home).with_context(|| format!("cannot make {}", home.display()))?;
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))
    }
}

fn installation(tool: &Tool, environment: &[(&str, OsString)]) -> Command {
    let mut cargo = command::cargo();
    cargo
        .args(["install", "--locked", tool.name, "--version", tool.version])
        .args(tool.arguments);
    cargo.envs(environment.iter().map(|(name, value)| (name, value)));
    cargo
}

fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(folder) = variable("LB_TOOLS") {
        return std::path::absolute(folder).ok();
    }
    let caches = match variable("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder,
        Some(_) | None => PathBuf::from(variable("HOME")?).join(".cache"),
    };
    Some(caches.join("lvs-xdp"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_folder_follows_the_variables() {
        type Variables = &'static [(&'static str, &'static str)];
        let table: [(Variables, Option<&str>); 5] = [
            (&[], None),
            (&[("HOME", "/h")], Some("/h/.cache/lvs-xdp")),
            (
                &[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")],
                Some("/c/lvs-xdp"),
            ),
            (
                &[("HOME", "/h"), ("XDG_CACHE_HOME", "c")],
                Some("/h/.cache/lvs-xdp"),
            ),
            (&[("HOME", "/h"), ("LB_TOOLS", "/t")], Some("/t")),
        ];
        for (variables, expected) in table {
            let variable = |name: &str| {
                variables
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| value.into())
            };
            assert_eq!(
                folder(variable),
                expected.map(PathBuf::from),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn another_pin_is_another_folder() {
        let tool = |version| Tool {
            name: "tool",
            version,
            variant: "-x",
            arguments: &[],
        };
        let cache = Cache(PathBuf::from("/t"));
        assert_eq!(
            cache.program(&tool("1.2.3")),
            Path::new("/t/tool-1.2.3-x/bin/tool")
        );
        assert_ne!(cache.program(&tool("1.2.3")), cache.program(&tool("1.2.4")));
    }
}
