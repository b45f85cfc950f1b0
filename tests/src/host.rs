//! A host: a network namespace and a mount namespace, in which programs run.
//!
//! As on a machine of its own, `/run` is empty at first, `/sys` shows the host's own interfaces and
//! `/sys/fs/bpf` has only its own pins. All else, programs above all, is that of the real machine.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::signal::SigSet,
};

use crate::lab::{self, World};

/// A host of the lab. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    network: File,
    mounts: File,
    /// Does nothing; its process id is how others enter the host.
    holder: Mutex<Child>,
    pid: u32,
    world: Arc<World>,
}

impl Host {
    pub(crate) fn new(world: &Arc<World>, name: &str) -> Result<Self> {
        let inner = in_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
            mount_own_directories()?;
            let network = File::open("/proc/thread-self/ns/net")?;
            let mounts = File::open("/proc/thread-self/ns/mnt")?;
            let mut hold = Command::new("sleep");
            hold.arg("infinity");
            hold.stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let holder = spawn_in(world, &mut hold)?;
            let pid = holder.id();
            let (name, world) = (name.to_owned(), Arc::clone(world));
            Ok(Inner {
                name,
                network,
                mounts,
                holder: Mutex::new(holder),
                pid,
                world,
            })
        })?;
        let host = Self {
            inner: Arc::new(inner),
        };
        host.quiet_defaults()?;
        host.run("ip", ["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// What the host is called; a web server on it answers with this name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A process of the host, as seen from outside the lab: `nsenter -t PID -m -n` enters the host.
    pub fn pid(&self) -> u32 {
        self.inner.pid
    }

    /// Names the host's network to `ip link … netns`.
    pub(crate) fn network_path(&self) -> String {
        format!("/proc/{}/ns/net", self.inner.pid)
    }

    /// Keeps the world of the host alive.
    pub(crate) fn world(&self) -> &Arc<World> {
        &self.inner.world
    }

    /// Runs `work` on the host: sockets that it opens are the host's, and so are paths.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.among_files(|| {
            setns(&self.inner.network, CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }

    /// Runs `work` where paths are the host's, and so are unix sockets that have one, but the network
    /// is the machine's.
    fn among_files<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_a_thread(|| {
            // A thread can only change its mounts if it shares its directories with no other.
            unshare(CloneFlags::CLONE_FS)?;
            setns(&self.inner.mounts, CloneFlags::CLONE_NEWNS)?;
            work()
        })
        .with_context(|| format!("on the host {}", self.name()))
    }

    /// Starts a program on the host, with the standard streams that the command asks for.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.inside(|| spawn_in(&self.inner.world, command))
    }

    /// Starts a program that has the host's files, but the machine's own network: its ports are where
    /// the browser of whoever runs the lab finds them.
    pub(crate) fn spawn_on_machine_network(&self, command: &mut Command) -> Result<Child> {
        self.among_files(|| spawn_in(&self.inner.world, command))
    }

    /// Runs a program to its end; its output, whether it succeeded or not.
    pub fn output<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = self.spawn(&mut command)?;
        Ok(child.wait_with_output()?)
    }

    /// Runs a program that must succeed; what it printed.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let args: Vec<A> = args.into_iter().collect();
        let words: Vec<_> = args
            .iter()
            .map(|arg| arg.as_ref().to_string_lossy())
            .collect();
        let line = format!("{program} {}", words.join(" "));
        let output = self.output(program, &args)?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!(
                "{}: {line}: {}: {}",
                self.name(),
                output.status,
                complaint.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The MAC address of an interface.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6]> {
        let text = self.run("cat", [format!("/sys/class/net/{interface}/address")])?;
        let bytes: Vec<u8> = text
            .trim()
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16))
            .collect::<Result<_, _>>()?;
        bytes.try_into().ok().context("no MAC address")
    }

    /// Runs `ip` with the words of `line`.
    pub fn ip(&self, line: &str) -> Result<()> {
        self.run("ip", line.split_whitespace()).map(drop)
    }

    /// Writes a file as the host sees it, with the directories that it is in.
    pub fn write(&self, path: impl AsRef<Path>, text: &str) -> Result<PathBuf> {
        let path = path.as_ref();
        self.inside(|| {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))
        })?;
        Ok(path.to_owned())
    }

    /// Sets kernel settings below `/proc/sys/net`, such as `("ipv4/ip_forward", "1")`.
    pub fn set(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.inside(|| {
            for (name, value) in settings {
                let path = Path::new("/proc/sys/net").join(name);
                fs::write(&path, value)
                    .with_context(|| format!("writing {value} to {}", path.display()))?;
            }
            Ok(())
        })
    }

    /// What would otherwise depend on the machine, or make a new address wait.
    fn quiet_defaults(&self) -> Result<()> {
        self.set(&[
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
            ("ipv6/conf/all/disable_ipv6", "0"),
            ("ipv6/conf/default/disable_ipv6", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/accept_ra", "0"),
        ])
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let holder = self
            .holder
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // Both fail only if somebody else has ended and reaped it already.
        drop(holder.kill());
        drop(holder.wait());
    }
}

/// Runs `work` in a thread of its own, whose namespaces nobody else minds.
pub(crate) fn in_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Starts a program in the lab's process namespace, from a thread that is on the host already.
///
/// The program gets a process group of its own, so that Ctrl-C on the terminal reaches only us,
/// and no blocked signals, whatever is blocked here.
fn spawn_in(world: &World, command: &mut Command) -> Result<Child> {
    setns(&world.processes, CloneFlags::CLONE_NEWPID)?;
    SigSet::empty().thread_set_mask()?;
    let program = command.get_program().to_owned();
    command
        .env("PATH", lab::search_path())
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {}", program.to_string_lossy()))
}

fn mount_own_directories() -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("making the mounts private")?;
    for (directory, kind) in [("/run", "tmpfs"), ("/sys", "sysfs"), ("/sys/fs/bpf", "bpf")] {
        mount(Some(kind), directory, Some(kind), MsFlags::empty(), none)
            .with_context(|| format!("mounting {kind} on {directory}"))?;
    }
    Ok(())
}
