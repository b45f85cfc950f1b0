//! Failover services (`service = fos`): services of the directors themselves, which run on the active one.
//!
//! ```text
//! heartbeat ── raise, lower ──► runner ──► machine ──► start_cmd, stop_cmd, checks
//!     ▲                           │           │
//!     └── a service fails ────────┘           └──► let go ──► floating: the addresses come off
//! ```
//!
//! `machine.rs` decides what is started, stopped and checked when, without process, socket or clock; `runner.rs` has
//! them. What a user has to know is in docs/failover.md, why it is so in decision 33.

pub mod machine;
pub mod runner;

pub use machine::{Shown, State};
pub use runner::{Handle, Report};
