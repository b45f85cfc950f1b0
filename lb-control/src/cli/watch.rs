//! `lb watch`.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use clap::Args;

use super::{output, runtime};
use crate::{
    control::{self, client},
    watch,
};

#[derive(Debug, Args)]
pub(super) struct Watch {
    /// How often the daemon is asked.
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, default_value = "1")]
    interval: Duration,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// No screen: each answer as a line of JSON.
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.json {
            return self.lines();
        }
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            bail!("there is no terminal; `lb status` says the same once");
        }
        let options = watch::Options {
            socket: self.socket,
            interval: self.interval,
            colour: output::wants_colour(),
        };
        runtime()?.block_on(watch::run(&options))?;
        Ok(ExitCode::SUCCESS)
    }

    fn lines(&self) -> anyhow::Result<ExitCode> {
        let runtime = runtime()?;
        let mut out = io::stdout().lock();
        loop {
            let status = runtime.block_on(client::status(&self.socket))?;
            serde_json::to_writer(&mut out, &status)?;
            writeln!(out)?;
            out.flush()?;
            runtime.block_on(tokio::time::sleep(self.interval));
        }
    }
}
