//! SCTP (RFC 9260) in a few lines: a client that opens associations, and a server that answers what it
//! is asked.
//!
//! Kernels without modules often lack SCTP, so the lab speaks it over raw sockets, on any such kernel
//! the same. Each end sends nothing twice: the lab loses no packets, and one that is lost is a fault that
//! a test wants to hear of.

mod association;
mod packet;
mod responder;
mod socket;

use std::fs;

pub use association::Association;
pub use responder::Responder;

/// Whether the kernel speaks SCTP already. It would then answer for us.
pub fn is_in_the_kernel() -> bool {
    fs::exists("/proc/sys/net/sctp").unwrap_or(false)
}
