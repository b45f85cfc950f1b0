//! The control plane of lvs-xdp: `lvs.cf` and what the nannies report in, BPF maps out.
#![forbid(unsafe_code)]

pub mod health;
pub mod model;
pub mod network;
