//! `lb events`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{output, runtime};
use crate::{
    control::{self, client},
    journal::Entry,
};

/// For so many seconds the daemon lets us wait.
const WAIT: u64 = 30;

#[derive(Debug, Args)]
pub(super) struct Events {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// How many of the last ones; at most 1000 are kept.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Goes on with those that come.
    #[arg(short, long)]
    follow: bool,
    /// The answer as JSON; with `--follow` a line of JSON for each.
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        runtime()?.block_on(self.tell())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn tell(self) -> anyhow::Result<()> {
        let page = client::events(&self.socket, None, self.lines, 0).await?;
        if self.json && !self.follow {
            return output::print_json(&page);
        }
        let mut page = page;
        loop {
            for entry in &page.events {
                self.print(entry)?;
            }
            if !self.follow {
                return Ok(());
            }
            let last = page.events.last().map_or(page.newest, |last| last.number);
            page = client::events(&self.socket, Some(last), 1_000, WAIT).await?;
        }
    }

    fn print(&self, entry: &Entry) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, entry)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{entry}")?;
        }
        // Whoever reads along reads now.
        out.flush()?;
        Ok(())
    }
}
