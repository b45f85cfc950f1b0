//! `lb log`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{output, runtime};
use crate::control::{
    self,
    log::{self, Wish},
};

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Without it the log is printed.
    #[command(subcommand)]
    switch: Option<Switch>,
    /// The daemon's socket.
    #[arg(long, global = true, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The answer as JSON; of the log, an object per line.
    #[arg(long, global = true)]
    json: bool,
}

/// A line of the log.
#[derive(Debug, Serialize)]
struct Line<'a> {
    line: &'a str,
}

/// What became of a wish.
#[derive(Debug, Serialize)]
struct Switched {
    on: bool,
}

#[derive(Debug, Subcommand)]
enum Switch {
    /// One line for what becomes of a packet, until it is switched off or the daemon ends.
    On {
        /// One packet of N is logged, by chance.
        #[arg(long, value_name = "N", default_value_t = 1,
              value_parser = clap::value_parser!(u32).range(1..))]
        sample: u32,
        /// Only packets that end here.
        #[arg(long)]
        drops_only: bool,
    },
    /// Costs nothing again.
    Off,
}

impl Log {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let wish = match self.switch {
            None => {
                let mut out = io::stdout().lock();
                let mut whole = Lines::default();
                runtime()?.block_on(log::read_along(&self.socket, |bytes| {
                    match self.json {
                        true => whole.add(bytes, |line| write_json(&mut out, line))?,
                        false => out.write_all(bytes)?,
                    }
                    out.flush()
                }))?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(Switch::On { sample, drops_only }) => Some(Wish { sample, drops_only }),
            Some(Switch::Off) => None,
        };
        runtime()?.block_on(log::switch(&self.socket, wish))?;
        if self.json {
            let on = wish.is_some();
            output::print_json(&Switched { on })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_json(out: &mut impl Write, line: &str) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line { line })?;
    writeln!(out)
}

/// Makes lines of pieces that end anywhere.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn add(
        &mut self,
        piece: &[u8],
        mut line: impl FnMut(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if let Some(whole) = self.begun.strip_suffix(b"\n") {
                line(&String::from_utf8_lossy(whole))?;
                self.begun.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_wherever_pieces_end() {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for piece in ["on", "e\ntw", "o\n\nthree"] {
            let written = lines.add(piece.as_bytes(), |line| write_json(&mut out, line));
            written.unwrap();
        }
        let expected = "{\"line\":\"one\"}\n{\"line\":\"two\"}\n{\"line\":\"\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
