//! The load of a server, as a program tells it.

use std::{net::SocketAddr, time::Duration};

use super::{Failure, program};

/// Runs the program and looks for the load average of one minute in what it prints.
pub(super) async fn measure(
    server: SocketAddr,
    command: &[String],
    limit: Duration,
) -> Result<f64, Failure> {
    let output = program::output(server, command, limit).await?;
    average(&output).ok_or_else(|| Failure::WrongOutput {
        printed: super::quoted(&output),
        expected: "a load average".to_owned(),
    })
}

/// The number that follows a colon that follows `load`: `… load average: 0.15, 0.11, 0.09`.
fn average(output: &[u8]) -> Option<f64> {
    let text = String::from_utf8_lossy(output);
    let (_, behind) = text.split_once("load")?;
    let (_, behind) = behind.split_once(':')?;
    let behind = behind.trim_start();
    let end = behind.find(|c: char| !c.is_ascii_digit() && c != '.');
    let number = behind.get(..end.unwrap_or(behind.len()))?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages() {
        let table = [
            (
                " 10:00:01 up 1 day,  2 users,  load average: 0.15, 0.11, 0.09\n",
                Some(0.15),
            ),
            (
                "  rs1   up  4+02:11,    load average: 3.00, 2.5, 2\n",
                Some(3.0),
            ),
            ("load: 7", Some(7.0)),
            // ruptime has no colon.
            ("rs1  up 1+02:03, 2 users, load 0.15, 0.1, 0.0\n", None),
            ("up 1 day: load", None),
            ("load average: none", None),
            ("", None),
        ];
        for (output, expected) in table {
            assert_eq!(average(output.as_bytes()), expected, "{output:?}");
        }
    }
}
