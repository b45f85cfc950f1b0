//! What commands write, and how: as text or as JSON, with colours or without, until nobody reads any more.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

/// Writes an answer to standard output.
///
/// # Errors
/// If it cannot be written.
pub fn print<T: Serialize + Display>(answer: &T, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(answer);
    }
    write!(io::stdout().lock(), "{answer}")?;
    Ok(())
}

/// Writes an answer to standard output, as JSON.
///
/// # Errors
/// If it cannot be written.
pub fn print_json<T: Serialize + ?Sized>(answer: &T) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, answer)?;
    writeln!(out)?;
    Ok(())
}

/// Whether standard output is to have colours: on a terminal, unless `NO_COLOR` is set to something
/// (<https://no-color.org>).
#[must_use]
pub fn wants_colour() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_unwanted
}

/// Whether it failed since nobody reads our output any more: `lb status | head`.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = match cause.downcast_ref::<io::Error>() {
            Some(error) => Some(error.kind()),
            None => cause
                .downcast_ref::<serde_json::Error>()
                .and_then(serde_json::Error::io_error_kind),
        };
        kind == Some(io::ErrorKind::BrokenPipe)
    })
}

/// An error in one line, whatever its causes put into theirs.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn a_reader_who_has_seen_enough_is_no_failure() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let table: [(&str, anyhow::Error, bool); 4] = [
            ("by itself", closed().into(), true),
            (
                "below a context",
                anyhow!(closed()).context("writing"),
                true,
            ),
            ("within JSON", serde_json::Error::io(closed()).into(), true),
            ("another", anyhow!("no daemon answers"), false),
        ];
        for (what, error, expected) in table {
            assert_eq!(is_broken_pipe(&error), expected, "{what}");
        }
    }

    #[test]
    fn an_error_is_one_line() {
        let error = Err::<(), _>(anyhow!("verifier:\n  R1 is bad\n\n"))
            .context("loading")
            .unwrap_err();
        assert_eq!(one_line(&error), "loading: verifier:; R1 is bad");
    }
}
