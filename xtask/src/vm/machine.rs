//! The machine: QEMU, which computes every instruction itself (TCG).
//!
//! KVM is not even tried: where this runs in a virtual machine itself, stock kernels do not start
//! under it, and a figure that was counted here is the same on every machine.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{command, packages::Package};

/// What emulates the machine.
pub(super) const QEMU: Package = Package::new("qemu-system-x86", "qemu-system-x86_64");
/// What sees to it that QEMU ends with us; on every Debian system.
pub(super) const SETPRIV: Package = Package::new("util-linux", "setpriv");

/// How many lines of its console a guest that died leaves us.
const LAST_WORDS: usize = 50;

/// CPUs, MiB and seconds, unless something else is wanted. The maps of a director that is not told
/// otherwise take some hundred MiB.
const CPUS: u32 = 1;
const MEMORY: u32 = 2048;
const TIMEOUT: u64 = 600;

/// How the machine is built.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Build {
    /// One guest nanosecond is one executed instruction, on one CPU: repeatable to the digit
    #[arg(long)]
    pub(crate) icount: bool,
    /// How many CPUs
    #[arg(long, default_value_t = CPUS, conflicts_with = "icount")]
    pub(crate) cpus: u32,
    /// Memory in MiB
    #[arg(long, default_value_t = MEMORY, value_name = "MIB")]
    pub(crate) memory: u32,
    /// After how many seconds the guest is ended
    #[arg(long, default_value_t = TIMEOUT, value_name = "SECONDS")]
    pub(crate) timeout: u64,
    /// Show the kernel's console
    #[arg(long)]
    pub(crate) console: bool,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            icount: false,
            cpus: CPUS,
            memory: MEMORY,
            timeout: TIMEOUT,
            console: false,
        }
    }
}

/// How a guest ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status of the command.
    pub(crate) status: u8,
    /// A tar of what it left in `/out`; empty if nothing.
    pub(crate) out: Vec<u8>,
}

/// A folder for the files of one run; it goes with us, or with the next one of us.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Build {
    /// Boots `kernel` with this file system. Its command writes to our standard output.
    pub(crate) fn boot(&self, kernel: &Path, files: &[u8], folder: &Path) -> Result<Outcome> {
        let scratch = Scratch::new(folder)?;
        let [initial, console, status, out] =
            ["initrd", "console", "status", "out.tar"].map(|name| scratch.0.join(name));
        fs::write(&initial, files)
            .with_context(|| format!("cannot write {}", initial.display()))?;
        let console = match self.console {
            true => PathBuf::from("/dev/stderr"),
            false => console,
        };
        let mut machine = self.command();
        machine
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(&initial);
        machine.arg("-serial").arg(file("file:", &console));
        machine.args([
            "-chardev",
            "stdio,id=output,signal=off",
            "-serial",
            "chardev:output",
        ]);
        machine.arg("-serial").arg(file("file:", &status));
        machine.arg("-serial").arg(file("file:", &out));
        let in_time = self.wait(machine.stdin(Stdio::null()).stdout(Stdio::piped()))?;

        let said = fs::read_to_string(&status).unwrap_or_default();
        if let Ok(status) = said.trim().parse() {
            let out = fs::read(&out).with_context(|| format!("cannot read {}", out.display()))?;
            return Ok(Outcome { status, out });
        }
        let words = fs::read(&console).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let lines: Vec<&str> = words.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
        match in_time {
            true => bail!("the guest ended without an exit status; its console:\n{last}"),
            false => bail!(
                "the guest was ended after {} s; its console:\n{last}",
                self.timeout
            ),
        }
    }

    /// QEMU with all that does not depend on the run. It is killed by the kernel when we die.
    fn command(&self) -> Command {
        let mut machine = Command::new("setpriv");
        machine.args(["--pdeathsig", "KILL", "--", QEMU.file]);
        machine.args([
            "-M",
            "pc",
            "-cpu",
            "qemu64",
            "-nodefaults",
            "-no-user-config",
        ]);
        machine.args(["-display", "none", "-no-reboot"]);
        let cpus = if self.icount { 1 } else { self.cpus };
        machine.args(["-smp", &cpus.to_string(), "-m", &self.memory.to_string()]);
        if self.icount {
            machine.args(["-accel", "tcg,thread=single"]);
            machine.args(["-icount", "shift=0,sleep=off,align=off"]);
            machine.args(["-rtc", "base=2020-01-01,clock=vm"]);
        } else {
            machine.args(["-accel", "tcg,thread=multi"]);
        }
        machine.args([
            "-append",
            "console=ttyS0 quiet panic=-1 reboot=t nokaslr net.ifnames=0",
        ]);
        machine
    }

    /// Runs the machine to its end, or ends it; whether it ended by itself.
    fn wait(&self, command: &mut Command) -> Result<bool> {
        let mut machine = command
            .spawn()
            .with_context(|| format!("cannot run {}", command::typed(command)))?;
        let output = machine.stdout.take().context("QEMU has no output")?;
        let (ended, end) = mpsc::channel();
        let copier = thread::spawn(move || {
            let copied = copy(output);
            // Nobody listens any more if the time was over.
            let _ = ended.send(());
            copied
        });
        let in_time = match end.recv_timeout(Duration::from_secs(self.timeout)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => {
                machine.kill().context("cannot end QEMU")?;
                false
            }
        };
        reap(&mut machine)?;
        match copier.join() {
            Ok(copied) => copied.context("cannot pass on what the guest says")?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(in_time)
    }
}

fn reap(machine: &mut Child) -> Result<()> {
    let status = machine.wait().context("cannot wait for QEMU")?;
    // Killed by us, it has no code.
    match status.code() {
        Some(0) | None => Ok(()),
        Some(code) => bail!("QEMU ended with {code}"),
    }
}

/// Passes on what comes, as it comes.
fn copy(mut from: impl io::Read) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut to = io::stdout();
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length])?;
        to.flush()?;
    }
}

fn file(kind: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(kind);
    argument.push(path);
    argument
}

impl Scratch {
    /// A new folder, after those are removed that killed ones of us left.
    fn new(folder: &Path) -> Result<Self> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(process) = name.strip_prefix("run-") else {
                continue;
            };
            if !Path::new("/proc").join(process).exists() {
                fs::remove_dir_all(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        let own = folder.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        Ok(Self(own))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            command::tell(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
