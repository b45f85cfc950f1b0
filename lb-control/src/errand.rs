//! Programs that lvs.cf names for an occasion, run with a limit: how they ended, and what they said.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
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

/// So much of what a program says is told.
const KEPT: usize = 4096;

/// How long its output is awaited after it has ended: what it has left running may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Runs a program with its arguments. How it ended and what it said, in one line.
///
/// # Errors
/// The same, if it did not end well; if it was not over in time, it was ended, with what it had started.
pub async fn run(command: &[String], limit: Duration) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("there is no program")?;
    let mut errand = Errand::start(program, arguments).map_err(|error| error.to_string())?;
    let said = Said::default();
    let Ok(status) = timeout(limit, errand.ended(&said)).await else {
        return Err(format!("it was ended after {} s", limit.as_secs_f64()));
    };
    let status = status.map_err(|error| error.to_string())?;
    let said = said.text();
    let text = match said.is_empty() {
        true => status.to_string(),
        false => format!("{status}: {said}"),
    };
    match status.success() {
        true => Ok(text),
        false => Err(text),
    }
}

/// A program and what it starts in turn. Dropped before it has ended, it is killed as a whole; what it leaves running
/// after its end is a service of the operator's, and stays.
struct Errand(Child);

impl Errand {
    fn start(program: &str, arguments: &[String]) -> io::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self(child))
    }

    async fn ended(&mut self, said: &Said) -> io::Result<ExitStatus> {
        let Self(child) = self;
        let out = child
            .stdout
            .take()
            .map(|it| tokio::spawn(said.clone().hear(it)));
        let err = child
            .stderr
            .take()
            .map(|it| tokio::spawn(said.clone().hear(it)));
        let status = child.wait().await;
        // Who goes on listening does so until nobody can say anything any more: a service that was left running may
        // write to where nobody reads otherwise, and end by that.
        let heard = async {
            for listener in [out, err].into_iter().flatten() {
                let _heard = listener.await;
            }
        };
        let _left_open = timeout(LAST_WORDS, heard).await;
        status
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        // The id is there only until the program has been waited for, so it is nobody else's.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(leader) = leader {
            let _gone_already = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// What a program says, on both of its outputs.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// Listens until the end; of much, the beginning is kept.
    async fn hear(self, mut stream: impl AsyncRead + Unpin) {
        let mut buffer = [0; 1024];
        // A stream that breaks has said what it has said.
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let room = KEPT.saturating_sub(said.len()).min(length);
            said.extend_from_slice(buffer.get(..room).unwrap_or_default());
        }
    }

    fn text(&self) -> String {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).trim().replace('\n', "; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split('|').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn programs_are_told_about_and_ended_in_time() {
        let limit = Duration::from_secs(60);
        let run = |text: &'static str, limit| async move { run(&words(text), limit).await };
        assert_eq!(
            run("echo|two|words", limit).await,
            Ok("exit status: 0: two words".into())
        );
        assert_eq!(run("false", limit).await, Err("exit status: 1".into()));
        assert!(run("/no/such/program", limit).await.is_err());
        let late = run("sleep|1000", Duration::from_millis(20)).await;
        assert_eq!(late, Err("it was ended after 0.02 s".into()));
        let much = run("head|-c|1000000|/dev/zero", limit).await.unwrap();
        assert!(much.len() < 5_000);
    }

    #[tokio::test]
    async fn what_a_program_leaves_running_is_not_waited_for_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("gate");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let gate = fifo.display();
        let done = folder.path().join("done");
        // The one that stays holds the output open, and waits at the gate.
        let script = format!(
            "echo begun; (read word < {gate}; echo $word; echo $word > {0}.new; mv {0}.new {0}) &",
            done.display()
        );
        let command = ["sh", "-c", &script].map(str::to_owned);
        let said = run(&command, Duration::from_secs(60)).await;
        assert_eq!(said, Ok("exit status: 0: begun".into()));
        tokio::fs::write(&fifo, "later\n").await.unwrap();
        while !done.exists() {
            tokio::task::yield_now().await;
        }
        assert_eq!(std::fs::read_to_string(done).unwrap(), "later\n");
    }
}
