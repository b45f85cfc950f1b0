//! The BPF object of another commit, to be compared with that of this checkout.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{bpf::Builder, command, workspace::Workspace};

/// The option whose value may be a commit.
const AGAINST: &str = "--against";

/// The arguments with the file of an object in the place of a commit.
pub(crate) fn resolved(
    workspace: &Workspace,
    builder: &Builder,
    arguments: &[OsString],
) -> Result<Vec<OsString>> {
    let mut arguments = arguments.to_vec();
    if let Some(value) = value_of(&mut arguments)
        && !Path::new(&value.text).is_file()
    {
        let object = object_of(workspace, builder, &value.text)?;
        arguments[value.at] = object.into_os_string();
    }
    Ok(arguments)
}

/// The value of the option, and which argument it is.
#[derive(Debug, PartialEq, Eq)]
struct OptionValue {
    at: usize,
    text: String,
}

/// What the option says, which has an argument of its own afterwards.
fn value_of(arguments: &mut Vec<OsString>) -> Option<OptionValue> {
    let joined = format!("{AGAINST}=");
    for at in 0..arguments.len() {
        let text = arguments[at].to_string_lossy().into_owned();
        if let Some(value) = text.strip_prefix(&joined) {
            arguments.splice(at..=at, [AGAINST.into(), value.into()]);
        } else if text != AGAINST {
            continue;
        }
        let value = arguments.get(at + 1)?;
        return Some(OptionValue {
            at: at + 1,
            text: value.to_string_lossy().into_owned(),
        });
    }
    None
}

/// Builds the object of a commit with the tools of this one; its file. What was built is kept.
fn object_of(workspace: &Workspace, builder: &Builder, commit: &str) -> Result<PathBuf> {
    let name = format!("{commit}^{{commit}}");
    let git = ["rev-parse", "--verify", "--quiet", "--short=12", &name];
    let hash = command::answer(git_in(&workspace.root).args(git));
    let hash = hash
        .with_context(|| format!("{commit} is neither a file nor a commit that git knows here"))?;
    let hash = hash.trim();
    let target = workspace.target.join("base");
    let object = target.join(format!("{hash}.o"));
    if object.is_file() {
        return Ok(object);
    }
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let sources = Worktree::of(workspace, target.join("sources"), hash)?;
    command::tell(&format!("building the object of {hash} (once)"));
    let there = Workspace {
        root: sources.path.clone(),
        target,
    };
    let built = builder
        .build_balancer(&there)
        .with_context(|| format!("the object of {hash}"))?;
    fs::rename(&built, &object).with_context(|| format!("cannot write {}", object.display()))?;
    Ok(object)
}

/// The sources of a commit, for as long as this lives.
struct Worktree<'a> {
    repository: &'a Path,
    path: PathBuf,
}

impl<'a> Worktree<'a> {
    fn of(workspace: &'a Workspace, path: PathBuf, hash: &str) -> Result<Self> {
        let worktree = Self {
            repository: &workspace.root,
            path,
        };
        // One that was interrupted has left its sources.
        worktree.remove();
        let mut git = git_in(worktree.repository);
        git.args(["worktree", "add", "--quiet", "--detach"]);
        command::run(git.arg(&worktree.path).arg(hash))?;
        Ok(worktree)
    }

    fn remove(&self) {
        let mut git = git_in(self.repository);
        git.args(["worktree", "remove", "--force"]).arg(&self.path);
        let _ = command::answer(&mut git);
    }
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

fn git_in(folder: &Path) -> Command {
    let mut git = Command::new(OsStr::new("git"));
    git.current_dir(folder);
    git
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_found_in_both_ways_to_write_it() {
        type Row<'a> = (&'a [&'a str], Option<(usize, &'a str)>, usize);
        // Arguments; the value and where it is then; how many arguments there are then.
        let table: [Row<'_>; 5] = [
            (&["packet", "nat"], None, 2),
            (
                &["packet", "--against", "main", "nat"],
                Some((2, "main")),
                4,
            ),
            (
                &["packet", "--against=HEAD~1", "nat"],
                Some((2, "HEAD~1")),
                4,
            ),
            (&["packet", "--against"], None, 2),
            (&["packet", "against", "--json"], None, 3),
        ];
        for (words, expected, count) in table {
            let mut arguments: Vec<OsString> = words.iter().map(Into::into).collect();
            let found = value_of(&mut arguments);
            let expected = expected.map(|(at, text)| OptionValue {
                at,
                text: text.to_owned(),
            });
            assert_eq!(found, expected, "{words:?}");
            assert_eq!(arguments.len(), count, "{words:?}");
        }
    }
}
