//! `lb config fmt`.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;

use super::{colour, diff};
use crate::config::{
    LARGEST_FILE,
    format::{self, Unformatted},
    store::Store,
};

#[derive(Debug, Args)]
pub(super) struct Fmt {
    /// The files; - for standard input, which goes to standard output.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write nothing, show what is not canonical; exit status 1 if there is something.
    #[arg(long)]
    check: bool,
    /// Write to standard output instead of the files.
    #[arg(long, conflicts_with = "check")]
    stdout: bool,
}

impl Fmt {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut all_well = true;
        for file in &self.files {
            all_well &= self.file(file)?;
        }
        Ok(match all_well {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    /// Whether there was nothing to complain about.
    fn file(&self, file: &Path) -> anyhow::Result<bool> {
        if file == Path::new("-") {
            let mut bytes = Vec::new();
            let input = io::stdin().lock();
            input.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > LARGEST_FILE {
                bail!("standard input: larger than {LARGEST_FILE} bytes");
            }
            let Some(formatted) = formatted("standard input", &bytes)? else {
                return Ok(false);
            };
            return match self.check {
                true => told("standard input", &bytes, &formatted),
                false => Ok(io::stdout().lock().write_all(&formatted).map(|()| true)?),
            };
        }
        let name = file.to_string_lossy();
        let store = Store::at(file)?;
        let stored = store.read()?;
        let Some(formatted) = formatted(&name, &stored.bytes)? else {
            return Ok(false);
        };
        if self.check {
            return told(&name, &stored.bytes, &formatted);
        }
        if self.stdout {
            io::stdout().lock().write_all(&formatted)?;
        } else {
            store.write(&formatted, &stored.fingerprint)?;
        }
        Ok(true)
    }
}

/// The canonical text; none if it was told why there is none.
fn formatted(name: &str, bytes: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    match format::format(name, bytes) {
        Ok(formatted) => Ok(Some(formatted)),
        Err(Unformatted::Errors(errors)) => {
            let mut err = io::stderr().lock();
            write!(err, "{}", errors.render(colour()))?;
            writeln!(err, "lb: {name}: has errors and stays as it is")?;
            Ok(None)
        }
        Err(error) => bail!("{name}: {error}"),
    }
}

/// Shows what is different; whether nothing is.
fn told(name: &str, bytes: &[u8], formatted: &[u8]) -> anyhow::Result<bool> {
    if bytes == formatted {
        return Ok(true);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{name}: not canonical")?;
    diff::write(&mut out, (name, "canonical"), bytes, formatted)?;
    Ok(false)
}
