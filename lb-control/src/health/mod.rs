//! Nannies: who of the real servers is well.
//!
//! - `machine`: one nanny. No socket and no clock: it is given outcomes and the time.
//! - `check`: what an answer is worth, from its bytes alone.
//! - `failure`: what was wrong, in words for an operator.
//! - `weighing`: what weight a server has, over time; as free of I/O as `machine`.
//! - `probe`: one check of one server over real sockets, of which `sctp` makes some; `program`: the
//!   same by a program. `http`, `dns`, `icmp` and `greeting` speak protocols over what `visit` (whom, and how
//!   long) and `tls` give them; `certificate` reads how long one is good.
//! - `dial`: where all of them get their sockets; `passage`: those for virtual addresses, by the way of clients' packets.
//! - `agent`: what a server says of itself; `load`: what a program says of its load.
//! - `witness`: what happens during a check, for those who look on.
//! - `replies`: what any bytes come to as an answer, for those who look for bad ones.
//! - `runner`: all nannies in one task, on a thread of its own: starts the checks that are due, hands outcomes to the
//!   machines and reports what changed.
//!
//! Nothing here writes to a map, and nothing but `runner` and `probe` knows that sockets exist. A
//! further kind of check is an arm in `probe`; what makes a server come and go belongs to `machine`.

use std::{net::SocketAddr, sync::Arc};

use crate::model::{Probe, Protocol, ServiceId};

pub mod agent;
pub(crate) mod certificate;
pub mod check;
mod dial;
mod dns;
mod failure;
mod greeting;
mod http;
mod icmp;
mod load;
pub mod machine;
pub mod passage;
mod probe;
mod program;
pub mod replies;
mod runner;
mod sctp;
mod tls;
pub mod trial;
mod visit;
pub mod weighing;
pub mod witness;

pub use failure::{Failure, Step, quoted};
pub use machine::{Health, LastFailure, Nanny, State, Timing};
pub use passage::Through;
pub use probe::{probe_once, probe_told};
pub use runner::{Handle, Status, Watch};
pub(crate) use tls::of_anybody;

/// One real server of one virtual service, and how to find out whether it is well.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The virtual service the server works for.
    pub service: ServiceId,
    /// Where the real server listens.
    pub server: SocketAddr,
    /// Where it is checked: there, or at another port.
    pub address: SocketAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// It is checked at virtual addresses, at the port of `address`, by the way of clients' packets.
    pub through: Option<Arc<Through>>,
    /// The weight that it has by configuration.
    pub weight: u16,
    /// What to try and when.
    pub probe: Probe,
}

/// A real server's health is not what it was.
///
/// A report tells the state, not the step to it: if the receiver is slow, only the latest report
/// of each server waits for it. One that was under way when its target was taken from the set can
/// still arrive and has to be ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The virtual service the server works for.
    pub service: ServiceId,
    /// Where the real server listens.
    pub server: SocketAddr,
    /// What it is now.
    pub health: Health,
}

/// What one check found.
pub type Outcome = Result<(), Failure>;
