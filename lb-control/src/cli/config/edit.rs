//! `lb config edit`.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead, Write},
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, error::ErrorKind};

use super::{RELOAD, Whose, colour, diff};
use crate::config::{
    self, Outcome,
    edit::{self, Path, Why, path::split_value},
    render,
    store::{Fingerprint, Store, StoreError, Stored},
};

#[derive(Debug, Args)]
pub(super) struct Edit {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    wishes: Wishes,
    /// Write nothing, show what would become different.
    #[arg(long)]
    dry_run: bool,
}

impl Edit {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let store = Store::at(&self.whose.config)?;
        let name = self.whose.config.to_string_lossy().into_owned();
        let stored = store.read()?;
        let new = match self.wishes.0.as_slice() {
            [] => by_editor(&name, &stored.bytes)?,
            wishes => by_wishes(&name, &stored.bytes, wishes)?,
        };
        let Some(new) = new else {
            return Ok(ExitCode::FAILURE);
        };
        let mut out = io::stdout().lock();
        if new == stored.bytes {
            writeln!(out, "{name}: nothing is different")?;
            return Ok(ExitCode::SUCCESS);
        }
        diff::write(&mut out, (&name, &name), &stored.bytes, &new)?;
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        write(&store, &new, &stored, self.wishes.0.is_empty())?;
        writeln!(out, "{name} is written; {RELOAD}")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the file. What a person has typed is not lost if that fails.
fn write(store: &Store, new: &[u8], read: &Stored, typed: bool) -> anyhow::Result<Fingerprint> {
    let error = match store.write(new, &read.fingerprint) {
        Ok(fingerprint) => return Ok(fingerprint),
        Err(error) => error,
    };
    if !typed {
        return Err(error.into());
    }
    let mut kept = tempfile::Builder::new()
        .prefix("lvs.cf.")
        .tempfile()
        .context("keeping the new text")?;
    kept.write_all(new)?;
    let (_, path) = kept.keep()?;
    Err::<_, StoreError>(error).with_context(|| format!("your text is in {}", path.display()))
}

/// The text after what the options ask for; none if it was told why there is none.
fn by_wishes(name: &str, bytes: &[u8], wishes: &[edit::Edit]) -> anyhow::Result<Option<Vec<u8>>> {
    match edit::edit(name, bytes, wishes) {
        Ok(edited) => Ok(Some(edited.bytes)),
        Err(edit::Refused {
            why: Why::Errors(errors),
            ..
        }) => {
            let mut err = io::stderr().lock();
            write!(err, "{}", errors.render(colour()))?;
            writeln!(err, "lb: the file would have errors; nothing was written")?;
            Ok(None)
        }
        // Which of them it was need not be said of one.
        Err(refused) if wishes.len() > 1 => bail!("{refused}"),
        Err(edit::Refused { why, .. }) => bail!("{why}"),
    }
}

/// The text that a person makes of it; none if it was given up.
fn by_editor(name: &str, bytes: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let copy = tempfile::Builder::new()
        .prefix("lvs.")
        .suffix(".cf")
        .tempfile()
        .context("making a copy for the editor")?;
    fs::write(copy.path(), bytes)?;
    loop {
        run_editor(copy.path())?;
        let new = fs::read(copy.path()).context("reading what the editor wrote")?;
        let outcome = config::parse(name, &new);
        tell(&outcome)?;
        if outcome.site.is_some() || new == bytes {
            return Ok(Some(new));
        }
        if !wants_to_go_on()? {
            writeln!(io::stderr(), "lb: nothing was written")?;
            return Ok(None);
        }
    }
}

fn tell(outcome: &Outcome) -> io::Result<()> {
    let mut err = io::stderr().lock();
    for diagnostic in &outcome.diagnostics {
        let source = &outcome.document.source;
        write!(err, "{}", render(diagnostic, source, colour()))?;
    }
    Ok(())
}

/// As git and others do it: the variable may have arguments in it, so a shell takes it apart.
fn run_editor(file: &std::path::Path) -> anyhow::Result<()> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR"));
    let editor = editor.unwrap_or_else(|| "vi".into());
    let mut script = editor.clone();
    script.push(" \"$1\"");
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .arg("sh")
        .arg(file)
        .status()
        .context("running the editor")?;
    if !status.success() {
        bail!(
            "{} failed ({status}); nothing was written",
            editor.display()
        );
    }
    Ok(())
}

/// Asks until it is answered; the end of the input gives up.
fn wants_to_go_on() -> io::Result<bool> {
    loop {
        let mut err = io::stderr().lock();
        write!(err, "the file has errors: go on [e]diting or [g]ive up? ")?;
        err.flush()?;
        drop(err);
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            return Ok(false);
        }
        match answer.trim() {
            "e" | "edit" => return Ok(true),
            "g" | "q" | "give up" => return Ok(false),
            _ => {}
        }
    }
}

/// What the options ask for, in the order of the command line.
#[derive(Debug, Default)]
struct Wishes(Vec<edit::Edit>);

type Reader = fn(&str) -> Result<edit::Edit, String>;

/// The options, what follows them, what they do, and how they are read.
const OPTIONS: [(&str, &str, &str, Reader); 5] = [
    (
        "set",
        "PATH=VALUE",
        "A directive says this: `virtual/web/server/one/weight=2`; repeatable, as all of these",
        |text| {
            let (path, value) = assignment(text)?;
            let (path, value) = (path.parse().map_err(told)?, edit::Value::from(value));
            Ok(edit::Edit::Set { path, value })
        },
    ),
    (
        "unset",
        "PATH",
        "A directive goes: `virtual/web/persistent`",
        |text| {
            let path = text.parse().map_err(told)?;
            Ok(edit::Edit::Unset { path })
        },
    ),
    (
        "add",
        "PATH[=VALUE]",
        "A block comes: `virtual/web/server/two`; or a directive says this besides: \
         `virtual/web/match=tcp 192.0.2.10:443`",
        |text| match split_value(text) {
            Some((path, value)) => Ok(edit::Edit::Add {
                path: path.parse().map_err(told)?,
                value: value.to_owned(),
            }),
            None => match text.parse().map_err(told)? {
                Path::Block(path) => Ok(edit::Edit::AddBlock {
                    path,
                    directives: Vec::new(),
                }),
                Path::Directive(_) => Err("what it is to say is missing: PATH=VALUE".into()),
            },
        },
    ),
    (
        "remove",
        "PATH[=VALUE]",
        "A block goes, with the comment lines directly above; or a directive does not say this any more",
        |text| match split_value(text) {
            Some((path, value)) => Ok(edit::Edit::Remove {
                path: path.parse().map_err(told)?,
                value: value.to_owned(),
            }),
            None => match text.parse().map_err(told)? {
                Path::Block(path) => Ok(edit::Edit::RemoveBlock { path }),
                Path::Directive(_) => Err("a directive goes with --unset".into()),
            },
        },
    ),
    (
        "rename",
        "PATH=NAME",
        "A block gets another name: `virtual/web=shop`",
        |text| {
            let (path, name) = assignment(text)?;
            Ok(edit::Edit::RenameBlock {
                path: path.parse().map_err(told)?,
                name: name.to_owned(),
            })
        },
    ),
];

fn assignment(text: &str) -> Result<(&str, &str), String> {
    split_value(text).ok_or_else(|| format!("`{text}` has no `=` in it"))
}

fn told(error: edit::NoPath) -> String {
    error.to_string()
}

impl Args for Wishes {
    fn augment_args(command: clap::Command) -> clap::Command {
        OPTIONS
            .iter()
            .fold(command, |command, (name, value, help, _)| {
                let option = Arg::new(*name)
                    .long(*name)
                    .value_name(*value)
                    .help(*help)
                    .action(ArgAction::Append);
                command.arg(option)
            })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Wishes {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut wishes = Vec::new();
        for (name, _, _, read) in OPTIONS {
            let values = matches.get_many::<String>(name).into_iter().flatten();
            let places = matches.indices_of(name).into_iter().flatten();
            for (place, value) in places.zip(values) {
                let wish = read(value).map_err(|why| {
                    clap::Error::raw(
                        ErrorKind::ValueValidation,
                        format!("invalid value for --{name}: {why}\n"),
                    )
                })?;
                wishes.push((place, wish));
            }
        }
        wishes.sort_by_key(|(place, _)| *place);
        Ok(Self(wishes.into_iter().map(|(_, wish)| wish).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        edit: Edit,
    }

    #[test]
    fn options_hold_in_their_order() {
        let line = [
            "lb",
            "--add",
            "virtual/web",
            "--set",
            "virtual/web/send=GET / HTTP/1.0=",
            "--unset",
            "keepalive",
            "--add=virtual/web/match=tcp 10.0.0.1",
            "--set",
            "deadtime=9",
            "--rename",
            "virtual/web=shop",
            "--remove",
            "failover/ftp",
        ];
        let line = Line::try_parse_from(line).unwrap();
        let found = serde_json::to_value(&line.edit.wishes.0).unwrap();
        let expected = serde_json::json!([
            {"edit": "add-block", "path": "virtual/web", "directives": []},
            {"edit": "set", "path": "virtual/web/send", "value": "GET / HTTP/1.0="},
            {"edit": "unset", "path": "keepalive"},
            {"edit": "add", "path": "virtual/web/match", "value": "tcp 10.0.0.1"},
            {"edit": "set", "path": "deadtime", "value": "9"},
            {"edit": "rename-block", "path": "virtual/web", "name": "shop"},
            {"edit": "remove-block", "path": "failover/ftp"},
        ]);
        assert_eq!(found, expected);
        let again: Vec<edit::Edit> = serde_json::from_value(found).unwrap();
        assert_eq!(again, line.edit.wishes.0);
    }

    #[test]
    fn options_that_say_nothing_are_wrong_usage() {
        for (option, value) in [
            ("--set", "keepalive"),
            ("--set", "virtual/web=1"),
            ("--unset", "virtual/web"),
            ("--add", "keepalive"),
            ("--remove", "virtual/web/port"),
            ("--rename", "virtual/web"),
        ] {
            let refused = Line::try_parse_from(["lb", option, value]);
            let kind = refused.err().map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::ValueValidation), "{option} {value}");
        }
    }
}
