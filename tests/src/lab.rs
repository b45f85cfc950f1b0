//! A private world for hosts, which leaves nothing behind whatever way it ends.
//!
//! This holds by construction, not by cleaning up. Every process of the lab lives in one process
//! namespace, whose first process is a `cat` that reads a pipe of ours. When we drop the pipe, or
//! die (even by SIGKILL), `cat` sees the end of its input and exits; with it the kernel kills
//! everything in the namespace. Network namespaces have no name, files and pins are on mounts that
//! only the hosts see (see [`crate::host`]): they go with their last process.
//!
//! We ourselves stay outside. Threads of ours enter a host for a moment to start a program there,
//! so the lab needs no second start of the own executable, and no `unsafe`.

use std::{
    ffi::OsString,
    fs::File,
    io::Write,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::wait::waitpid,
    unistd::Uid,
};

use crate::host::{self, Host};

/// The lab. Ends when it and all hosts and processes of it are dropped.
#[derive(Clone, Debug)]
pub struct Lab {
    world: Arc<World>,
}

/// The process namespace that holds all processes of a lab.
#[derive(Debug)]
pub(crate) struct World {
    init: Mutex<Child>,
    /// Closing it ends the world.
    lifeline: Mutex<Option<ChildStdin>>,
    pub(crate) processes: File,
}

/// Programs that the lab is made of, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("dig", "bind9-dnsutils"),
];

impl Lab {
    /// Makes an empty lab. Needs root and the programs that the lab is made of.
    pub fn new() -> Result<Self> {
        if !is_root() {
            bail!("the lab makes network namespaces, which needs root");
        }
        require_programs()?;
        let world = host::in_a_thread(World::new).context("making the lab's process namespace")?;
        Ok(Self {
            world: Arc::new(world),
        })
    }

    /// Makes a host without any interface but `lo`.
    pub fn host(&self, name: &str) -> Result<Host> {
        Host::new(&self.world, name).with_context(|| format!("making the host {name}"))
    }

    /// Ends everything in the lab at once, from whichever thread, and waits until all of it is gone.
    ///
    /// Reaps every child of this process, so that only a program about to exit may call it: the
    /// threads that wait for a child of theirs will not find it any more.
    pub fn end_all(&self) {
        self.world.cut_lifeline();
        while !matches!(waitpid(None, None), Err(Errno::ECHILD)) {}
    }
}

impl World {
    /// Called in a thread of its own: a thread that changed the process namespace of its children
    /// cannot start threads any more.
    fn new() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWPID)?;
        let mut init = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting cat")?;
        let mut lifeline = init.stdin.take().context("cat has no input")?;
        // The echo of a byte says that `cat` has been executed.
        lifeline.write_all(b"\n")?;
        let mut echo = init.stdout.take().context("cat has no output")?;
        std::io::Read::read_exact(&mut echo, &mut [0])?;
        let processes = File::open(format!("/proc/{}/ns/pid", init.id()))?;
        Ok(Self {
            init: Mutex::new(init),
            lifeline: Mutex::new(Some(lifeline)),
            processes,
        })
    }

    fn cut_lifeline(&self) {
        self.lifeline
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// Every host and every process holds the world, so whatever lived in it has been waited for by
/// now. (The first process of a namespace cannot end before all others have been waited for.)
impl Drop for World {
    fn drop(&mut self) {
        self.cut_lifeline();
        let init = self.init.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = init.wait() {
            eprintln!("lab: waiting for the end of the process namespace: {error}");
        }
    }
}

/// Runs a test in a lab of its own; says so and passes if this user cannot make one.
///
/// # Panics
/// If the test fails.
pub fn in_lab(test: impl FnOnce(&Lab) -> Result<()>) {
    if !is_root() {
        return skip("needs root");
    }
    if let Err(error) = Lab::new().and_then(|lab| test(&lab)) {
        panic!("{error:?}");
    }
}

/// Whether we may make labs.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Says that the test that calls this is skipped, on the terminal and to `cargo xtask test`.
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
    let Some(path) = std::env::var_os("LB_SKIPS") else {
        return;
    };
    // Tests have their threads called after them.
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let said = File::options()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{test}: {why}\n").as_bytes()));
    if let Err(error) = said {
        eprintln!("cannot note that {test} was skipped: {error}");
    }
}

fn require_programs() -> Result<()> {
    let missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| find_program(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    bail!(
        "not installed: {}; try: apt-get install {}",
        programs.join(", "),
        packages.join(" ")
    );
}

pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// Where programs are looked for: the path of users other than root often lacks the `sbin`s.
pub(crate) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    path
}
