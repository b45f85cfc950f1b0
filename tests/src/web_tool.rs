//! `lb web` on a router, beside the daemon, as a user without rights.

use std::{net::IpAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::User;

use crate::{address::in_url, director::SOCKET, host::Host, process::Process};

/// Everybody has this user, and nobody gives it rights.
const USER: &str = "nobody";
const FOLDER: &str = "/run/lb-web";
/// The name of the machine that pages show.
const NODE: &str = "lb1";
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running `lb web`. Dropping it kills it.
#[derive(Debug)]
pub struct WebTool {
    process: Process,
}

impl WebTool {
    /// The port that it listens at.
    pub const PORT: u16 = 3636;
    /// Its certificate, on the router.
    pub const CERTIFICATE: &str = "/run/lb-web/certificate.pem";

    /// Makes this user an admin of the web tool, starts it, and waits until it listens.
    pub fn start(lb: &Path, router: &Host, user: &str, password: &str) -> Result<Self> {
        let group = User::from_name(USER)?
            .context("there is no user nobody")?
            .gid;
        // As `lb run --socket-group` does it.
        router.run("chgrp", [&group.to_string(), SOCKET])?;
        let lb = lb.canonicalize()?;
        let lb = lb.to_string_lossy();
        let passwd = format!(
            "echo '{password}' | '{lb}' web passwd --stdin --role admin --owner {USER} --state-dir {FOLDER} {user}"
        );
        router.run("sh", ["-c", &passwd])?;
        let mut command = Command::new("unshare");
        let named = format!("echo {NODE} > /proc/sys/kernel/hostname; exec \"$0\" \"$@\"");
        command.args(["--uts", "sh", "-c", &named, &lb, "web"]);
        command.args(["--user", USER, "--state-dir", FOLDER, "--socket", SOCKET]);
        let process = Process::start(router, &mut command)?;
        process.wait_until_printed("listening on", START_LIMIT)?;
        Ok(Self { process })
    }

    /// Its first page, for those who reach the router at this address.
    pub fn url(address: IpAddr) -> String {
        format!("https://{}:{}", in_url(address), Self::PORT)
    }

    /// Its process id as seen from outside the lab.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.process.printed()
    }
}
