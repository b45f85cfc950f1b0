//! What the process of the web tool may do once it serves: its own folder, connections that come, unix sockets, and
//! connections to the port of the partner's web tool.
//!
//! Landlock keeps it from files, new connections and signals, seccomp from most system calls. What a kernel does not
//! have is told, and done without. Rules never become wider, and the key for the partner may come later: where landlock
//! lets through one port only, that one is open from the start. Where it knows no ports, seccomp would let through
//! all of them; there it does so only if there is a key already.

use std::path::Path;

use anyhow::Context as _;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath,
    PathFd, RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
    Scope,
};
use tracing::{info, warn};

use super::seccomp;

/// What rules are written for; an older kernel has those that it knows.
const KNOWN: ABI = ABI::V6;

/// Shuts this thread in, and those that it starts. Whether they may connect to the port of the partner's tool, for
/// which there is a key now or not.
///
/// # Errors
/// If the folder is not there, or the kernel refuses what it has.
pub(super) fn enter(folder: &Path, port: u16, has_key: bool) -> anyhow::Result<bool> {
    let is_open = has_key || knows_ports();
    let RestrictionStatus { ruleset, .. } = restrict(folder, port)?;
    match ruleset {
        RulesetStatus::FullyEnforced => info!("landlock: nothing but {} is open", folder.display()),
        RulesetStatus::PartiallyEnforced => {
            warn!("landlock: this kernel is older than the rules; part of them holds");
        }
        RulesetStatus::NotEnforced => {
            warn!("landlock: this kernel has none, so files are kept by their permissions only");
        }
    }
    match seccomp::enter(is_open) {
        Ok(()) => info!("seccomp: system calls that a server does not need are refused"),
        Err(error) => warn!("seccomp: this kernel has none: {error:#}"),
    }
    Ok(is_open)
}

/// Whether landlock can let through one port and no other (Linux 6.7).
fn knows_ports() -> bool {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessNet::ConnectTcp);
    ruleset.and_then(Ruleset::create).is_ok()
}

fn restrict(folder: &Path, port: u16) -> anyhow::Result<RestrictionStatus> {
    let files = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile;
    let folder = PathFd::new(folder).context("shutting the web tool in")?;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        .add_rule(PathBeneath::new(folder, files))?
        .add_rule(NetPort::new(port, AccessNet::ConnectTcp))?
        .restrict_self()?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::{
        fs, io,
        net::{TcpListener, TcpStream},
        os::unix::net::{UnixListener, UnixStream},
        thread,
    };

    use super::*;

    #[test]
    fn nothing_is_open_but_its_folder_and_unix_sockets() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("secret"), "x").unwrap();
        let socket = elsewhere.path().join("lb.sock");
        let _daemon = UnixListener::bind(&socket).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap();
        let partners = TcpListener::bind("127.0.0.1:0").unwrap();
        let partner = partners.local_addr().unwrap();
        // The rules hold for a thread for ever, so it is one of its own.
        let shut_in = thread::spawn(move || {
            let status = restrict(folder.path(), partner.port()).unwrap();
            if status.ruleset == RulesetStatus::NotEnforced {
                eprintln!("skipped: this kernel has no landlock");
                return;
            }
            let denied = Some(io::ErrorKind::PermissionDenied);
            let kind = |result: io::Result<()>| result.err().map(|error| error.kind());
            let secret = elsewhere.path().join("secret");
            assert_eq!(kind(fs::read(&secret).map(drop)), denied);
            assert_eq!(kind(fs::read("/etc/passwd").map(drop)), denied);
            assert_eq!(kind(fs::read_dir("/").map(drop)), denied);
            assert_eq!(kind(fs::write(&secret, "y")), denied);
            assert_eq!(kind(fs::write(elsewhere.path().join("new"), "y")), denied);

            let own = folder.path().join("audit.log");
            fs::write(&own, "x").unwrap();
            fs::rename(&own, folder.path().join("audit.log.1")).unwrap();
            fs::read(folder.path().join("audit.log.1")).unwrap();
            UnixStream::connect(&socket).unwrap();
            if status.ruleset == RulesetStatus::FullyEnforced {
                assert_eq!(kind(TcpStream::connect(port).map(drop)), denied);
                TcpStream::connect(partner).unwrap();
                assert_eq!(kind(TcpListener::bind("127.0.0.1:0").map(drop)), denied);
            }
        });
        shut_in.join().unwrap();
        drop(listener);
    }
}
