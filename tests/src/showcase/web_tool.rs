//! The web tool of a router, for the browser of whoever runs the lab.
//!
//! `lb web` listens on loopback of the machine itself, where the browser is, and not on the router. Its
//! files are the router's: that is how it finds the director's socket (unix sockets are found by their
//! path, whatever the network), and why its folder goes with the lab.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{Group, User};

use crate::{Host, Process, director::SOCKET};

/// Where Piranha was, and where `lb web` is.
const PORT: u16 = 3636;
/// So many ports after that one are tried as well.
const OTHER_PORTS: u16 = 100;
/// On the router: passwords, certificate and audit log.
const FOLDER: &str = "/run/lb-web";
/// Who the web tool is: somebody without rights that every machine has.
const USER: &str = "nobody";
/// Who logs in.
const ADMIN: &str = "admin";
/// How long it may take to listen (it makes a certificate before).
const LIMIT: Duration = Duration::from_secs(20);

/// A running `lb web`. Dropping it kills it.
#[derive(Debug)]
pub(super) struct WebTool {
    router: Host,
    address: SocketAddr,
    password: String,
    _running: Process,
}

/// The group that the director has to give its socket to, for the web tool to ask it.
pub(super) fn group() -> Result<String> {
    let user = User::from_name(USER)?.with_context(|| format!("there is no user {USER}"))?;
    let group = Group::from_gid(user.gid)?;
    let group = group.with_context(|| format!("the group of {USER} has no name"))?;
    Ok(group.name)
}

impl WebTool {
    /// Makes a user with a password that nobody else has, and starts `lb web` beside the director of
    /// this router.
    pub(super) fn start(lb: &Path, router: &Host) -> Result<Self> {
        let lb = lb.canonicalize()?;
        let password = random_password()?;
        set_password(&lb, router, &password).context("making a user of the web tool")?;
        let address = free_address()?;
        let mut command = Command::new(&lb);
        command.args(["web", "--listen", &address.to_string()]);
        command.args(["--socket", SOCKET, "--state-dir", FOLDER, "--user", USER]);
        let running = Process::start_on_machine_network(router, &mut command)?;
        running.wait_until_printed(&format!("listening on https://{address}/"), LIMIT)?;
        Ok(Self {
            router: router.clone(),
            address,
            password,
            _running: running,
        })
    }

    /// What a browser is to open.
    pub(super) fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    /// Logs in as a browser does, and looks whether the page then shows the real server of this name.
    pub(super) fn check(&self, server: &str) -> Result<()> {
        let login = format!("{}login", self.url());
        let page = self.curl(&[&login], "")?;
        ensure!(page.contains("<form"), "{login} has no form: {page}");
        let fields = format!("user={ADMIN}&password={}", self.password);
        // The page that it leads to is asked for as well, now with the cookie.
        let page = self.curl(&["--location", "--data", "@-", &login], &fields)?;
        ensure!(page.contains("/logout"), "nobody is logged in: {page}");
        ensure!(page.contains(server), "{server} is not shown: {page}");
        Ok(())
    }

    /// Asks with curl from the machine itself, with `input` for it to read; the page, which has to be
    /// answered with 200.
    fn curl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "20"]);
        // The machine may have a proxy, which is not to be asked for its own loopback. The certificate
        // is one that nobody vouches for.
        command.args(["--noproxy", "*", "--insecure"]);
        // Cookies are kept, but in no file.
        command.args(["--cookie", ""]);
        command.args(arguments);
        let child = self
            .router
            .spawn_on_machine_network(with_pipes(&mut command))?;
        succeed("curl", feed(child, input)?)
    }
}

/// What to type into a browser.
impl fmt::Display for WebTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, password) = (self.url(), &self.password);
        write!(f, "web page   {url}  user {ADMIN}, password {password}")?;
        match self.address.port() {
            PORT => Ok(()),
            _ => write!(f, " (port {PORT} is taken)"),
        }
    }
}

fn set_password(lb: &Path, router: &Host, password: &str) -> Result<()> {
    let mut command = Command::new(lb);
    command.args(["web", "passwd", "--stdin", "--role", "admin"]);
    command.args(["--state-dir", FOLDER, "--owner", USER, ADMIN]);
    let child = router.spawn(with_pipes(&mut command))?;
    succeed("lb web passwd", feed(child, &format!("{password}\n"))?).map(drop)
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

fn succeed(program: &str, output: Output) -> Result<String> {
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}: {}", output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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
