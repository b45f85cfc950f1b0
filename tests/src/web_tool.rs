//! `lb web` beside the daemon of a router, as a user without rights.
//!
//! On the router itself it listens at every address, for browsers of the lab. For the browser of whoever runs the
//! lab it listens on loopback of the machine, and not on the router. Its files are the router's then as well: that is
//! how it finds the director's socket (unix sockets are found by their path, whatever the network), and why its
//! folder goes with the lab.

use std::{
    fmt,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::Signal,
    unistd::{Group, User},
};

use crate::{director::SOCKET, host::Host, https::Https, process::Process, visitor::Visitor};

/// On the router: passwords, certificate and audit log.
pub const FOLDER: &str = "/run/lb-web";
/// Where Piranha was, and where `lb web` is.
const PORT: u16 = 3636;
/// So many ports after that one are tried as well where others may have it.
const OTHER_PORTS: u16 = 100;
/// Who the web tool is: somebody without rights that every machine has.
const USER: &str = "nobody";
/// Who logs in where nobody says otherwise.
const ADMIN: &str = "admin";
/// The name of the machine that pages show.
const NODE: &str = "lb1";
/// How long it may take to listen (it makes a certificate before).
const LIMIT: Duration = Duration::from_secs(20);

/// A running `lb web`. Dropping it kills it.
#[derive(Debug)]
pub struct WebTool {
    lb: PathBuf,
    router: Host,
    /// Where others reach it.
    address: SocketAddr,
    /// Whether that is on the machine, not on the router.
    is_on_machine: bool,
    user: String,
    password: String,
    process: Process,
}

/// The group that the director has to give its socket to, for the web tool to ask it.
pub fn group() -> Result<String> {
    let user = User::from_name(USER)?.with_context(|| format!("there is no user {USER}"))?;
    let group = Group::from_gid(user.gid)?;
    let group = group.with_context(|| format!("the group of {USER} has no name"))?;
    Ok(group.name)
}

impl WebTool {
    /// Starts it on a router, which others reach at this address, with an admin.
    pub fn start(
        lb: &Path,
        router: &Host,
        address: IpAddr,
        user: &str,
        password: &str,
    ) -> Result<Self> {
        let address = SocketAddr::new(address, PORT);
        Self::begin(lb, router, (address, false), user, password)
    }

    /// Starts it on loopback of the machine, with an admin whose password nobody else has.
    pub fn start_on_machine(lb: &Path, router: &Host) -> Result<Self> {
        let password = random_password()?;
        Self::begin(lb, router, (free_address()?, true), ADMIN, &password)
    }

    fn begin(
        lb: &Path,
        router: &Host,
        (address, is_on_machine): (SocketAddr, bool),
        user: &str,
        password: &str,
    ) -> Result<Self> {
        let lb = lb.canonicalize()?;
        set_password(&lb, router, "admin", user, password)?;
        let process = run(&lb, router, is_on_machine.then_some(address))?;
        Ok(Self {
            lb,
            router: router.clone(),
            address,
            is_on_machine,
            user: user.to_owned(),
            password: password.to_owned(),
            process,
        })
    }

    /// Makes another user, or gives one another role and password.
    pub fn add_user(&self, role: &str, user: &str, password: &str) -> Result<()> {
        set_password(&self.lb, &self.router, role, user, password)
    }

    /// Runs `lb web` with these arguments, such as `key`, for the folder of this tool. What it printed.
    pub fn lb_web(&self, arguments: &[&str]) -> Result<String> {
        let folder = ["--state-dir", FOLDER];
        let line = ["web"].iter().chain(arguments).chain(&folder);
        self.router.run(&self.lb.to_string_lossy(), line)
    }

    /// Ends it by SIGTERM and waits for its end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait()
    }

    /// Starts it again after it has ended.
    pub fn start_again(&mut self) -> Result<()> {
        let listen = self.is_on_machine.then_some(self.address);
        self.process = run(&self.lb, &self.router, listen)?;
        Ok(())
    }

    /// Its first page, without a slash behind it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The process itself.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process id as seen from outside the lab.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where others reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.process.printed()
    }

    /// The text of a file in its folder.
    pub fn file(&self, name: &str) -> Result<String> {
        let path = Path::new(FOLDER).join(name);
        self.router
            .inside(|| fs::read_to_string(&path).with_context(|| path.display().to_string()))
    }

    /// How it is reached from a host; only with its very certificate.
    pub fn https(&self, from: &Host) -> Result<Https> {
        let from = (!self.is_on_machine).then_some(from);
        Https::new(from, self.address, self.file("certificate.pem")?.as_bytes())
    }

    /// Its admin, logged in from a host.
    pub fn visitor(&self, from: &Host) -> Result<Visitor> {
        Visitor::log_in(&self.https(from)?, &self.user, &self.password)
    }

    /// Logs in as a browser does, and looks whether the page then shows the real server of this name.
    pub fn check(&self, server: &str) -> Result<()> {
        let page = self.visitor(&self.router)?.page("/control")?;
        ensure!(page.contains("/logout"), "nobody is logged in: {page}");
        ensure!(page.contains(server), "{server} is not shown: {page}");
        Ok(())
    }
}

/// What to type into a browser.
impl fmt::Display for WebTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, user, password) = (self.url(), &self.user, &self.password);
        write!(f, "web page   {url}/  user {user}, password {password}")?;
        match self.address.port() {
            PORT => Ok(()),
            _ => write!(f, " (port {PORT} is taken)"),
        }
    }
}

/// Starts it on the router, or on the machine where it is to listen at this address.
fn run(lb: &Path, router: &Host, on_machine: Option<SocketAddr>) -> Result<Process> {
    let mut command = Command::new("unshare");
    let named = format!("echo {NODE} > /proc/sys/kernel/hostname; exec \"$0\" \"$@\"");
    command.args(["--uts", "sh", "-c", &named]);
    command.arg(lb).arg("web");
    command.args(["--user", USER, "--state-dir", FOLDER, "--socket", SOCKET]);
    let process = match on_machine {
        None => Process::start(router, &mut command)?,
        Some(address) => {
            command.args(["--listen", &address.to_string()]);
            Process::start_on_machine_network(router, &mut command)?
        }
    };
    // Only then does it take no part of a start any more.
    process.wait_until_printed("seccomp: ", LIMIT)?;
    Ok(process)
}

fn set_password(lb: &Path, router: &Host, role: &str, user: &str, password: &str) -> Result<()> {
    let mut command = Command::new(lb);
    command.args(["web", "passwd", "--stdin", "--role", role]);
    command.args(["--state-dir", FOLDER, "--owner", USER, user]);
    let child = router.spawn(with_pipes(&mut command))?;
    let output = feed(child, &format!("{password}\n"))?;
    succeed("lb web passwd", output).context("making a user of the web tool")
}

fn with_pipes(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

/// Lets the program read this and end.
fn feed(mut child: Child, input: &str) -> Result<Output> {
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // It ended without reading; why is in what it printed.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    Ok(child.wait_with_output()?)
}

fn succeed(program: &str, output: Output) -> Result<()> {
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}: {}", output.status, complaint.trim());
    }
    Ok(())
}

/// The first port of the machine's loopback that nobody has, from [`PORT`] on.
fn free_address() -> Result<SocketAddr> {
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    (PORT..=PORT + OTHER_PORTS)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(is_free)
        .with_context(|| {
            format!("no port of 127.0.0.1 is free from {PORT} on, {OTHER_PORTS} further ones tried")
        })
}

/// Four times four letters, of which no two look alike: 80 bits by chance.
fn random_password() -> Result<String> {
    const LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    let groups = letters.chunks(4).map(|group| group.iter().collect());
    Ok(groups.collect::<Vec<String>>().join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_labs_have_the_same_password() {
        let [one, other] = [random_password().unwrap(), random_password().unwrap()];
        assert_ne!(one, other);
        assert_eq!(one.len(), 19);
        assert!(one.split('-').all(|group| group.len() == 4), "{one}");
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let first = free_address().unwrap();
        let _taken = TcpListener::bind(first).unwrap();
        assert!(free_address().unwrap().port() > first.port());
    }
}
