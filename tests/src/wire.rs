//! A wire: a veth pair from a host to a switch (or to another host).
//!
//! What a sender leaves to the hardware does not get done on a wire of two processes' making, so
//! both ends are told to do all of it themselves: a frame that leaves one end is complete. Packets
//! that XDP sends into a veth arrive only if the other end polls (NAPI), which GRO switches on.

use anyhow::{Context, Result};

use crate::host::Host;

/// Connects the interface `here` of one host with the interface `there` of another; both are up.
pub fn connect(host: &Host, here: &str, other: &Host, there: &str) -> Result<()> {
    let network = other.network_path();
    host.ip(&format!(
        "link add {here} type veth peer name {there} netns {network}"
    ))
    .with_context(|| format!("connecting {} with {}", host.name(), other.name()))?;
    let ends = [(host, here), (other, there)];
    for (end, interface) in ends {
        end.ip(&format!("link set {interface} up"))?;
    }
    // After both are up: an end that is down does not tell the other that it polls, and the kernel
    // then refuses to redirect to it.
    for (end, interface) in ends {
        end.run(
            "ethtool",
            ["-K", interface, "tx", "off", "tso", "off", "gro", "on"],
        )?;
    }
    Ok(())
}

/// Gives an interface an address such as `10.88.0.1/24` that can be used at once.
pub fn add_address(host: &Host, interface: &str, address: &str) -> Result<()> {
    let no_detection = if address.contains(':') { "nodad" } else { "" };
    host.ip(&format!(
        "address add {address} dev {interface} {no_detection}"
    ))
}
