//! The program under test: `lb run` on a router, and what `lb` says there.

use std::{
    ffi::OsStr,
    fs,
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::{host::Host, network::Plan, process::Process, site::Site, status::Status, wait};

/// Where lvs.cf is on the router.
pub const CONFIG: &str = "/run/lvs.cf";
/// Where the maps and programs are pinned. Every host has this directory for itself.
pub const PINS: &str = "/sys/fs/bpf/lb";
/// Where `lb` listens for commands.
pub const SOCKET: &str = "/run/lb/lb.sock";
const NOTIFY: &str = "/run/notify.sock";
/// How long `lb` may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long the routing table may take to become as it should be.
const STATUS_LIMIT: Duration = Duration::from_secs(20);

/// The `lb` that tests are about, which `cargo xtask test` names to them.
pub fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("LB_BIN").context("LB_BIN does not say where lb is")?;
    Ok(path.into())
}

/// A running `lb run`. Dropping it kills it, which leaves the data plane forwarding.
#[derive(Debug)]
pub struct Director {
    lb: PathBuf,
    router: Host,
    /// What it is told besides where its files are.
    options: Vec<String>,
    daemon: Process,
    notes: UnixDatagram,
}

impl Director {
    /// Writes the site's lvs.cf, starts `lb run` on it and waits until it says that it is ready.
    pub fn start(lb: &Path, router: &Host, plan: Plan, site: &Site) -> Result<Self> {
        let lb = lb
            .canonicalize()
            .with_context(|| format!("looking for {}", lb.display()))?;
        let interfaces = plan.router_interfaces().iter();
        let interfaces = interfaces.map(|name| ("--interface", (*name).to_owned()));
        let group = site.socket_group.iter();
        let group = group.map(|name| ("--socket-group", name.clone()));
        let options: Vec<_> = interfaces
            .chain(group)
            .flat_map(|(option, value)| [option.to_owned(), value])
            .collect();
        router.write(CONFIG, &site.to_string())?;
        let (daemon, notes) = run(&lb, router, &options)?;
        let mut director = Self {
            lb,
            router: router.clone(),
            options,
            daemon,
            notes,
        };
        director.await_note("READY=1", START_LIMIT)?;
        Ok(director)
    }

    /// Starts `lb run` again after it has ended or been killed.
    pub fn start_again(&mut self) -> Result<()> {
        (self.daemon, self.notes) = run(&self.lb, &self.router, &self.options)?;
        self.await_note("READY=1", START_LIMIT)
    }

    /// Changes lvs.cf, sends SIGHUP and waits until `lb` says that it is ready again.
    pub fn reload(&mut self, site: &Site) -> Result<()> {
        self.reload_text(&site.to_string())
    }

    /// The same with any text as lvs.cf.
    pub fn reload_text(&mut self, text: &str) -> Result<()> {
        self.router.write(CONFIG, text)?;
        self.daemon.signal(Signal::SIGHUP)?;
        self.await_note("READY=1", START_LIMIT)
    }

    /// Ends the daemon by SIGTERM and waits for its end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.daemon.signal(Signal::SIGTERM)?;
        self.daemon.wait()
    }

    /// Kills the daemon by SIGKILL and waits for its end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.daemon.signal(Signal::SIGKILL)?;
        self.daemon.wait()
    }

    /// Where `lb` is.
    pub fn program(&self) -> &Path {
        &self.lb
    }

    /// What the daemon has printed so far.
    pub fn printed(&self) -> String {
        self.daemon.printed()
    }

    /// The daemon itself.
    pub fn daemon(&mut self) -> &mut Process {
        &mut self.daemon
    }

    /// Ends the daemon by SIGINT, as Ctrl-C does, and waits for its end.
    pub fn interrupt(&mut self) -> Result<ExitStatus> {
        self.daemon.signal(Signal::SIGINT)?;
        self.daemon.wait()
    }

    /// The routing table.
    pub fn status(&self) -> Result<Status> {
        let text = self.lb(["status", "--json", "--socket", SOCKET])?;
        serde_json::from_str(&text).with_context(|| format!("lb status --json printed: {text}"))
    }

    /// Runs another `lb` command on the router, which must succeed; what it printed.
    pub fn lb<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        self.router.run(&self.lb.to_string_lossy(), args)
    }

    /// Runs another `lb` command on the router, which must fail with exit status 1; its complaint.
    pub fn refused<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        let output = self.router.output(&self.lb, args)?;
        if output.status.code() != Some(1) {
            bail!("lb ended with {} instead of 1", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Waits until the routing table is as it should be. The status then.
    pub fn await_status(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Result<Status> {
        let mut last = Status::default();
        let found = wait::until(what, STATUS_LIMIT, || {
            last = self.status()?;
            Ok(is_so(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("lb printed:\n{}\n{last:?}", self.daemon.printed()))
    }

    /// Waits for a message of the daemon to its service manager, such as `READY=1`.
    pub fn await_note(&mut self, note: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut message = [0; 4096];
        loop {
            match self.notes.recv(&mut message) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&message[..length]);
                    if text.lines().any(|line| line == note) {
                        return Ok(());
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error).context("waiting for lb run"),
            }
            if let Some(status) = self.daemon.ended()? {
                bail!(
                    "lb run ended by itself, {status}:\n{}",
                    self.daemon.printed()
                );
            }
            if Instant::now() > deadline {
                bail!("lb run did not say {note}:\n{}", self.daemon.printed());
            }
        }
    }
}

fn run(lb: &Path, router: &Host, options: &[String]) -> Result<(Process, UnixDatagram)> {
    let notes = router.inside(|| {
        if fs::exists(NOTIFY)? {
            fs::remove_file(NOTIFY)?;
        }
        Ok(UnixDatagram::bind(NOTIFY)?)
    })?;
    // So often it is looked whether the daemon still lives.
    notes.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut command = Command::new(lb);
    command.args([
        "run", "--config", CONFIG, "--bpffs", PINS, "--socket", SOCKET,
    ]);
    command.args(options);
    command.env("NOTIFY_SOCKET", NOTIFY);
    Ok((Process::start(router, &mut command)?, notes))
}
