//! `lb server`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::{output, runtime};
use crate::control::{
    self, client,
    order::{self, Answer, Order},
};

#[derive(Debug, Args)]
pub(super) struct Server {
    #[command(subcommand)]
    verb: Verb,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET, global = true)]
    socket: PathBuf,
    /// The answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// It gets nothing new, and leaves the table when it has finished.
    Drain {
        #[command(flatten)]
        which: Which,
        /// For how long it may finish; else as long as lvs.cf says. What is left then ends.
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u32>,
    },
    /// It gets connections, whatever its checks say.
    Up(Which),
    /// It leaves the table at once, whatever its checks say.
    Down(Which),
    /// Its checks decide again.
    Auto(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// The service: its name in lvs.cf, or ADDRESS:PORT.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The real server: its name in lvs.cf, or ADDRESS[:PORT].
    #[arg(value_name = "SERVER")]
    server: String,
}

impl From<Verb> for Order {
    fn from(verb: Verb) -> Self {
        let (verb, Which { service, server }, deadline) = match verb {
            Verb::Drain { which, deadline } => (order::Verb::Drain, which, deadline),
            Verb::Up(which) => (order::Verb::Up, which, None),
            Verb::Down(which) => (order::Verb::Down, which, None),
            Verb::Auto(which) => (order::Verb::Auto, which, None),
        };
        Self {
            verb,
            service,
            server,
            deadline,
        }
    }
}

impl Server {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let order = self.verb.into();
        let text = runtime()?.block_on(client::order(&self.socket, &order))?;
        output::print(&Answer { text }, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}
