//! The kernel's own balancer on a router, set up as a case wants it.

use std::{fs, net::SocketAddr, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use lb_control::model::Protocol;

use crate::{
    case::{Case, Method},
    site::{GUE_PORT, PORT, real_address, virtual_address},
};

/// Where IPVS tells its version and its services, to the network namespace of this thread.
const TABLE: &str = "/proc/thread-self/net/ip_vs";
/// Where it tells its connections, after a line with their titles.
const CONNECTIONS: &str = "/proc/thread-self/net/ip_vs_conn";

/// Loads the module if need be, and if there is one.
pub(crate) fn provide() {
    // Whether there is a modprobe or not: `set_up` looks for what it leaves.
    drop(Command::new("modprobe").args(["-q", "ip_vs"]).status());
}

/// Sets services and real servers up, by ipvsadm. To be called on the router.
pub(crate) fn set_up(case: &Case) -> Result<()> {
    ensure!(fs::exists(TABLE)?, "this kernel has no IPVS ({TABLE})");
    let protocol = match case.protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
        Protocol::Sctp | Protocol::Ah | Protocol::Esp => {
            bail!("IPVS is not measured with {}", case.protocol)
        }
    };
    let method = match case.method {
        Method::Nat | Method::Reply => "-m",
        Method::Direct => "-g",
        Method::Tunnel => "-i",
        Method::Gue => &format!("-i --tun-type gue --tun-port {GUE_PORT}"),
    };
    for service in 0..case.services {
        let address = SocketAddr::new(virtual_address(case.family, service), PORT);
        let front = format!("{protocol} {address}");
        ipvsadm(&format!("-A {front} -s {}", case.scheduler.name()))?;
        for server in service * case.servers..(service + 1) * case.servers {
            let server = SocketAddr::new(real_address(case.family, server), PORT);
            ipvsadm(&format!("-a {front} -r {server} {method} -w 1"))?;
        }
    }
    Ok(())
}

/// How many connections it knows.
pub(crate) fn connections() -> Result<u32> {
    let text = fs::read_to_string(CONNECTIONS).with_context(|| format!("reading {CONNECTIONS}"))?;
    Ok(u32::try_from(text.lines().skip(1).count())?)
}

fn ipvsadm(line: &str) -> Result<()> {
    let output = Command::new("ipvsadm")
        .args(line.split_whitespace())
        .output()
        .context("cannot run ipvsadm")?;
    ensure!(
        output.status.success(),
        "ipvsadm {line}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
