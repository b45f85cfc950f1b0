//! `lb drops`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{output, runtime};
use crate::{
    control::{self, client},
    status::columns::Style,
};

#[derive(Debug, Args)]
pub(super) struct Drops {
    /// Numbers in full.
    #[arg(long)]
    exact: bool,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Drops {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let drops = runtime()?.block_on(client::status(&self.socket))?.drops();
        let style = Style {
            exact: self.exact,
            colour: false,
        };
        match self.json {
            true => output::print_json(&drops)?,
            false => write!(io::stdout().lock(), "{}", drops.text(style))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
