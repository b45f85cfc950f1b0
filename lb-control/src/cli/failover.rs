//! `lb failover`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use super::{output, runtime, seconds};
use crate::control::{self, client, order::Answer, request::Failover as Asked};

#[derive(Debug, Args)]
pub(super) struct Failover {
    /// Hand nothing over: this daemon is about to be restarted and is back within so many seconds. The partner waits
    /// for it, and the data plane goes on meanwhile.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    back_within: Option<Duration>,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Failover {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let back_within_ms = self
            .back_within
            .map(|time| time.as_millis().try_into().unwrap_or(u64::MAX));
        let asked = Asked { back_within_ms };
        let text = runtime()?.block_on(client::failover(&self.socket, &asked))?;
        output::print(&Answer { text }, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}
