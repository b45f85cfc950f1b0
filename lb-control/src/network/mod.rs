//! The network around the director: which way real servers are reached, and the floating
//! addresses that it carries.
//!
//! * [`links`]: the interfaces.
//! * [`next_hop`]: link, VLAN and MAC addresses a frame needs to reach an address. Pure.
//! * `routes`, `neighbours`: what the kernel says about addresses, and how it is asked.
//! * `followed`: the addresses that are followed and what is known of them. Pure.
//! * [`resolver`]: the task that keeps `followed` true and tells what changed.
//! * [`addresses`]: floating addresses on interfaces.
//! * [`frames`]: gratuitous ARP and neighbour advertisements as bytes. Pure.
//! * [`announce`]: sends them.
//! * `packets`: the sockets that send and hear frames.
//! * `enclave`: a network namespace of the daemon's own, whose only way out is a cable that ends in the daemon.
//!
//! Nothing outside this module speaks netlink, and here only `kernel` opens such sockets.

use std::fmt;

use nix::errno::Errno;

pub mod addresses;
pub mod announce;
pub(crate) mod enclave;
mod followed;
pub mod frames;
mod kernel;
pub mod links;
mod neighbours;
pub mod next_hop;
pub(crate) mod packets;
pub mod resolver;
mod routes;

/// Something that was to be done to the network, and why it was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct NetworkError {
    /// What was being done, as in "putting 10.0.0.1/24 on eth0".
    pub doing: String,
    /// What stood in the way.
    pub why: Refusal,
}

/// Why the kernel did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The kernel said no.
    Kernel(Errno),
    /// There is no interface of this name.
    NoInterface(String),
    /// The interface has no MAC address, as loopback and tunnels have none.
    NoMacAddress(String),
    /// No answer came, or only part of one.
    Silence,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(errno) => f.write_str(errno.desc()),
            Self::NoInterface(name) => write!(f, "there is no interface {name}"),
            Self::NoMacAddress(name) => write!(f, "{name} has no MAC address"),
            Self::Silence => f.write_str("the kernel does not answer"),
        }
    }
}

impl Refusal {
    /// The same, with what was being done when it happened.
    fn when(self, doing: impl Into<String>) -> NetworkError {
        NetworkError {
            doing: doing.into(),
            why: self,
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Kernel(Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    }
}
