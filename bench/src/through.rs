//! A router that packets go through: they come from the outside by one cable and leave by another.

use anyhow::{Context as _, Result};
use lb_tests::{Host, Lab};

/// The numbers of the router's interfaces, and of the ends of their cables outside.
pub(crate) const FRONT: u32 = 11;
pub(crate) const BACK: u32 = 12;
pub(crate) const CLIENTS: u32 = 21;
pub(crate) const SERVERS: u32 = 22;
/// Their names.
pub(crate) const INSIDE: [&str; 2] = ["front", "back"];
pub(crate) const OUTSIDE: [&str; 2] = ["clients", "servers"];

/// A router, and all others: clients and real servers.
pub(crate) struct Through {
    pub(crate) router: Host,
    pub(crate) outside: Host,
}

impl Through {
    /// Two new hosts. Nobody has to be asked for a MAC address.
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        let (router, outside) = (lab.host("router")?, lab.host("outside")?);
        router.set(&[("ipv4/conf/all/forwarding", "1")])?;
        for host in [&router, &outside] {
            // Nothing is to be on the cables but what is counted; IPv6 would tell that it is there.
            host.set(&[
                ("ipv6/conf/all/disable_ipv6", "1"),
                ("ipv6/conf/default/disable_ipv6", "1"),
            ])?;
        }
        let cables = [(FRONT, CLIENTS), (BACK, SERVERS)];
        for ((inside, there), (end, other)) in INSIDE.into_iter().zip(OUTSIDE).zip(cables) {
            // Both of the router's interfaces have the address that all frames are sent to.
            router.ip(&format!(
                "link add {inside} index {end} address 02:00:00:00:00:01 type veth peer name {there} \
                 index {other} address 02:00:00:00:00:c1"
            ))?;
            let network = format!("/proc/{}/ns/net", outside.pid());
            router
                .ip(&format!("link set {there} netns {network}"))
                .with_context(|| format!("giving {there} away"))?;
            router.ip(&format!("link set {inside} up"))?;
            outside.ip(&format!("link set {there} up"))?;
        }
        for line in [
            "address add 192.0.2.1/24 dev front",
            "address add 192.0.3.1/24 dev back",
            "neighbour add 192.0.2.254 lladdr 02:00:00:00:00:c1 dev front",
            "neighbour add 192.0.3.254 lladdr 02:00:00:00:00:c1 dev back",
            "route add 198.18.0.0/15 via 192.0.2.254",
            "route add 10.128.0.0/16 via 192.0.3.254",
            // Virtual addresses are the router's own.
            "route add local 10.64.0.0/16 dev lo",
        ] {
            router.ip(line)?;
        }
        Ok(Self { router, outside })
    }

    /// Has both of the router's interfaces receive as a network card does, in turns of many packets (NAPI),
    /// where no XDP program does it.
    pub(crate) fn receive_in_turns(&self) -> Result<()> {
        for interface in INSIDE {
            let words = ["--offload", interface, "gro", "on"];
            self.router.run("ethtool", words)?;
        }
        Ok(())
    }
}
