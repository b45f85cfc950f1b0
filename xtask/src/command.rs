//! Other programs: where they are, how they look when typed, and whether they did their work.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Folders of system programs that the PATH of an ordinary user lacks on Debian.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The cargo that runs us, so that the same toolchain builds the rest.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command; anything but success is an error that shows the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", typed(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", typed(command));
    }
    Ok(())
}

/// What a command prints, or `None` if it is not there or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Says what is being done, as long steps would otherwise look like a hang.
pub(crate) fn tell(message: &str) {
    eprintln!("xtask: {message}");
}

/// A program of the PATH or of the system's folders.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The PATH, with the folders of system programs after it.
pub(crate) fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).filter(|folder| !folder.as_os_str().is_empty());
    joined(folders.chain(SYSTEM.iter().map(PathBuf::from)))
}

/// The PATH with one folder before it.
pub(crate) fn path_after(first: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    joined(std::iter::once(first.to_owned()).chain(env::split_paths(&path)))
}

fn joined(folders: impl Iterator<Item = PathBuf>) -> OsString {
    // Folders that came out of a PATH have no colon in them.
    env::join_paths(folders).unwrap_or_default()
}

/// The command as one would type it.
pub(crate) fn typed(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}={}",
            name.to_string_lossy(),
            setting(name, value?)
        ))
    });
    // Cargo calls us with the path of its toolchain; a person types its name.
    let called = Path::new(command.get_program());
    let is_cargo = called.file_stem() == Some(OsStr::new("cargo"));
    let name = if is_cargo {
        OsStr::new("cargo")
    } else {
        command.get_program()
    };
    let words = std::iter::once(name).chain(command.get_args()).map(quoted);
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

/// The value of a variable; of a PATH, only what stands before the one that everybody has.
fn setting(name: &OsStr, value: &OsStr) -> String {
    let ours = env::var("PATH").unwrap_or_default();
    let text = value.to_string_lossy();
    match text.strip_suffix(&format!(":{ours}")) {
        Some(first) if name == "PATH" => format!("{}:$PATH", quoted(OsStr::new(first))),
        Some(_) | None => quoted(value),
    }
}

/// A word for the shell: in quotes only where the shell would misread it.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_the_addition_is_shown() {
        let mut command = Command::new("cc");
        command.env("PATH", path_after(Path::new("/llvm/bin")));
        assert_eq!(typed(&command), "PATH=/llvm/bin:$PATH cc");
    }

    #[test]
    fn a_command_is_shown_as_it_is_typed() {
        let mut command = Command::new("/tools/bin/cargo");
        command
            .args(["install", "it's", "", "a b"])
            .env("ROOT", "/x y")
            .env_remove("GONE");
        assert_eq!(
            typed(&command),
            r"ROOT='/x y' cargo install 'it'\''s' '' 'a b'"
        );
    }
}
