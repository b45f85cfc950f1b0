//! A program that keeps running on a host, and what it has printed so far.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{host::Host, lab::World};

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Printed>,
    /// Last, because the world must not end before the child has been waited for.
    _world: Arc<World>,
}

/// What a program has printed, and whether it can still print more.
#[derive(Debug, Default)]
struct Printed {
    state: Mutex<PrintedState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PrintedState {
    text: String,
    open_streams: u8,
}

impl Process {
    /// Starts a program whose standard output and error are kept.
    pub fn start(host: &Host, command: &mut Command) -> Result<Self> {
        Self::start_by(host, command, Host::spawn)
    }

    /// The same for one that has the host's files, but the machine's own network.
    pub(crate) fn start_on_machine_network(host: &Host, command: &mut Command) -> Result<Self> {
        Self::start_by(host, command, Host::spawn_on_machine_network)
    }

    fn start_by(
        host: &Host,
        command: &mut Command,
        spawn: impl FnOnce(&Host, &mut Command) -> Result<Child>,
    ) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let name = format!("{program} on {}", host.name());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(host, command)?;
        let output = Arc::new(Printed::default());
        output.lock().open_streams = 2;
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            keep(out, Arc::clone(&output));
            keep(err, Arc::clone(&output));
        }
        Ok(Self {
            name,
            child,
            output,
            _world: Arc::clone(host.world()),
        })
    }

    /// The process id as seen from outside the lab.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it printed so far.
    pub fn printed(&self) -> String {
        self.output.lock().text.clone()
    }

    /// Waits until the program has printed `text`.
    pub fn wait_until_printed(&self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut state = self.output.lock();
        while !state.text.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open_streams == 0 || left.is_zero() {
                bail!("{} did not print “{text}”, but:\n{}", self.name, state.text);
            }
            state = self
                .output
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// How the program ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the end of the program.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if somebody else has ended and reaped it already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Printed {
    fn lock(&self) -> MutexGuard<'_, PrintedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a stream to its end in a thread of its own.
fn keep(stream: impl Read + Send + 'static, output: Arc<Printed>) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while let Ok(1..) = stream.read_until(b'\n', &mut line) {
            output.lock().text.push_str(&String::from_utf8_lossy(&line));
            output.changed.notify_all();
            line.clear();
        }
        output.lock().open_streams -= 1;
        output.changed.notify_all();
    });
}
