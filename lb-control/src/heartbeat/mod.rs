//! A pair of directors: which of them holds the floating addresses.
//!
//! ```text
//! datagrams ── wire | piranha ── session ── Heard ──► machine ──► Deed: raise, lower, announce, send
//!                                  believed?            ▲    └──► Lease: until when the data plane may steer
//! links, gateway, the daemon ── Unfit ──────────────────┘
//! ```
//!
//! `machine.rs` decides, `director.rs` puts it together with what is sent and heard; neither has a socket or a
//! clock. `runner.rs` has both. The guide for operators is docs/failover.md.

pub mod director;
pub mod key;
pub mod lease;
pub mod machine;
pub mod piranha;
pub mod runner;
pub mod session;
pub mod watch;
pub mod wire;

#[cfg(test)]
mod pair;
