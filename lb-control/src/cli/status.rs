//! `lb status`.

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
pub(super) struct Status {
    /// Only this service: its name in lvs.cf, or ADDRESS:PORT.
    service: Option<String>,
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

impl Status {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut status = runtime()?.block_on(client::status(&self.socket))?;
        let is_part = self.service.is_some();
        if let Some(wanted) = &self.service {
            status = status.of_service(wanted)?;
        }
        let style = Style {
            exact: self.exact,
            colour: output::wants_colour(),
        };
        match (self.json, is_part) {
            (true, _) => output::print_json(&status)?,
            (false, true) => write!(io::stdout().lock(), "{}", status.services_text(style))?,
            (false, false) => write!(io::stdout().lock(), "{}", status.text(style))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
