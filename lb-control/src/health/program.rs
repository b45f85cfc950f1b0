//! One check by a program of the operator's.

use std::{
    io,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::timeout,
};

use super::{
    Failure, Outcome,
    check::printed,
    failure::quoted,
    witness::{Happening, Witness, nobody},
};

/// How much of a program's output is kept.
const KEPT: usize = 4096;

/// How long the output is awaited after the program has ended: what it started and left behind
/// may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the program, for `limit` at most, and judges how it ended and what it printed.
pub(super) async fn run(
    server: SocketAddr,
    command: &[String],
    expect: Option<&str>,
    limit: Duration,
    witness: Witness<'_>,
) -> Outcome {
    let (status, output) = run_to_its_end(server, command, limit, witness).await?;
    if !status.success() {
        return Err(Failure::Exited {
            status: words(status),
            printed: quoted(&output),
        });
    }
    expect.map_or(Ok(()), |expect| printed(expect, &output))
}

/// What a program prints that ends well.
pub(super) async fn output(
    server: SocketAddr,
    command: &[String],
    limit: Duration,
) -> Result<Vec<u8>, Failure> {
    let (status, output) = run_to_its_end(server, command, limit, &mut nobody).await?;
    if !status.success() {
        return Err(Failure::Exited {
            status: words(status),
            printed: quoted(&output),
        });
    }
    Ok(output)
}

/// How it ended, and the beginning of what it printed.
async fn run_to_its_end(
    server: SocketAddr,
    command: &[String],
    limit: Duration,
    witness: Witness<'_>,
) -> Result<(ExitStatus, Vec<u8>), Failure> {
    let (program, arguments) = command.split_first().ok_or_else(|| Failure::NotStarted {
        program: String::new(),
        error: "no program given".to_owned(),
    })?;
    let mut group = Group::start(program, arguments, server)
        .map_err(|error| Failure::of_start(program, &error))?;
    witness(Happening::Started(program));

    let mut output = Vec::new();
    let status = match timeout(limit, group.ended(&mut output)).await {
        Ok(status) => status.map_err(|error| Failure::of_start(program, &error))?,
        Err(_elapsed) => return Err(Failure::Killed { within: limit }),
    };
    witness(Happening::Exited {
        status: &words(status),
        printed: &output,
    });
    Ok((status, output))
}

/// A program and what it starts in turn. Dropped before it has ended, it is killed as a whole.
struct Group {
    child: Child,
}

impl Group {
    fn start(program: &str, arguments: &[String], server: SocketAddr) -> io::Result<Self> {
        let child = Command::new(program)
            .args(arguments.iter().map(|argument| filled_in(argument, server)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child })
    }

    /// Waits for the end and reads all the while, so that a full pipe cannot stop the program.
    async fn ended(&mut self, output: &mut Vec<u8>) -> io::Result<ExitStatus> {
        let Some(stdout) = self.child.stdout.take() else {
            return self.child.wait().await;
        };
        let reading = read_all_keep_some(stdout, output);
        tokio::pin!(reading);
        tokio::select! {
            read = &mut reading => {
                read?;
                self.child.wait().await
            }
            status = self.child.wait() => {
                let _left_open = timeout(LAST_WORDS, reading).await;
                status
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The id is there only until the program has been waited for, so it is nobody else's.
        let leader = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(leader) = leader {
            let _gone_already = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// An argument that is exactly `%h` or `%p` stands for the server's address or port.
fn filled_in(argument: &str, server: SocketAddr) -> String {
    match argument {
        "%h" => server.ip().to_string(),
        "%p" => server.port().to_string(),
        other => other.to_owned(),
    }
}

async fn read_all_keep_some(
    mut stdout: impl AsyncRead + Unpin,
    output: &mut Vec<u8>,
) -> io::Result<()> {
    (&mut stdout).take(KEPT as u64).read_to_end(output).await?;
    tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await?;
    Ok(())
}

/// `exit status 1` or `signal 15`.
fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::unix::pipe;

    use super::*;

    const GENEROUS: Duration = Duration::from_secs(30);

    fn server() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 2], 80))
    }

    async fn sh(script: &str, expect: Option<&str>, limit: Duration) -> String {
        let command = ["/bin/sh", "-c", script, "sh", "%h", "%p", "%h:%p"].map(str::to_owned);
        match run(server(), &command, expect, limit, &mut nobody).await {
            Ok(()) => "well".to_owned(),
            Err(failure) => failure.to_string(),
        }
    }

    #[tokio::test]
    async fn how_a_program_ends_decides() {
        let much = "dd if=/dev/zero bs=100000 count=1 2>/dev/null";
        let table = [
            ("echo OK", Some("OK"), "well"),
            ("echo $1 $2 $3", Some("10.0.0.2 80 %h:%p"), "well"),
            ("exit 0", None, "well"),
            ("echo all is fine", None, "well"),
            ("cat", Some(""), "well"),
            (much, None, "well"),
            (
                "echo OK, nearly",
                Some("OK"),
                r#"program printed "OK, nearly\n", expected "OK""#,
            ),
            (
                "echo OK >&2",
                Some("OK"),
                r#"program printed "", expected "OK""#,
            ),
            (
                "echo OK; exit 1",
                Some("OK"),
                r#"program ended with exit status 1, printed "OK\n""#,
            ),
            (
                "exit 3",
                None,
                r#"program ended with exit status 3, printed """#,
            ),
            (
                "kill -TERM $$",
                None,
                r#"program ended with signal 15, printed """#,
            ),
        ];
        for (script, expect, said) in table {
            assert_eq!(sh(script, expect, GENEROUS).await, said, "{script}");
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_its_children() {
        let fifo = std::env::temp_dir().join(format!("lb-nanny-{}", std::process::id()));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut held_by_child = pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
        let script = format!("sleep 1000 3>{} & sleep 1000", fifo.display());

        let said = sh(&script, Some("OK"), Duration::from_millis(500)).await;
        std::fs::remove_file(&fifo).unwrap();
        assert_eq!(said, "program killed after 500ms");
        let end = timeout(GENEROUS, held_by_child.read_u8()).await;
        assert!(end.expect("the child lives on").is_err());
    }

    #[tokio::test]
    async fn a_child_left_behind_does_not_hold_the_check_up() {
        assert_eq!(sh("sleep 5 & echo OK", Some("OK"), GENEROUS).await, "well");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there() {
        let nothing = run(server(), &[], None, GENEROUS, &mut nobody).await;
        assert_eq!(
            nothing.unwrap_err().to_string(),
            "program  did not start: no program given"
        );
        let missing = ["/nowhere/check".to_owned()];
        let failure = run(server(), &missing, None, GENEROUS, &mut nobody)
            .await
            .unwrap_err();
        assert_eq!(
            failure.to_string(),
            "program /nowhere/check did not start: no such file or directory"
        );
    }
}
