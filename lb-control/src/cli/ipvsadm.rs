//! `lb ipvsadm`, and what happens if the program is called by the name of ipvsadm or its scripts.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;

use crate::{
    control::SOCKET,
    ipvsadm::{Daemon, Program, SystemFirewall, SystemNames, World},
};

/// Where the daemon's socket is looked for, if not where it is by default: ipvsadm has no option for it.
const SOCKET_VARIABLE: &str = "LB_SOCKET";

#[derive(Debug, Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(super) struct Ipvsadm {
    /// What ipvsadm, or ipvsadm-save or ipvsadm-restore by their names, would be called with.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    words: Vec<OsString>,
}

impl Ipvsadm {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        call(Program::Ipvsadm, "lb ipvsadm", &self.words)
    }
}

/// Runs what the first word names, if that is ipvsadm or one of its scripts. To be asked before the words
/// are read as those of `lb`.
///
/// # Errors
/// If standard output or standard error cannot be written.
pub fn by_name(mut words: impl Iterator<Item = OsString>) -> Option<anyhow::Result<ExitCode>> {
    let path = words.next()?;
    let name = Path::new(&path).file_name()?.to_str()?;
    let program = Program::named(name)?;
    let words: Vec<OsString> = words.collect();
    Some(call(program, &path.to_string_lossy(), &words))
}

fn call(program: Program, name: &str, words: &[OsString]) -> anyhow::Result<ExitCode> {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let socket = std::env::var_os(SOCKET_VARIABLE).map_or_else(|| SOCKET.into(), PathBuf::from);
    let mut world = World {
        director: &mut Daemon::at(socket)?,
        names: &SystemNames::default(),
        firewall: &SystemFirewall,
        input: &mut io::stdin().lock(),
        out: &mut io::stdout().lock(),
        err: &mut io::stderr().lock(),
    };
    let status = program
        .run(name, &words, &mut world)
        .context("writing the answer")?;
    Ok(ExitCode::from(status))
}
