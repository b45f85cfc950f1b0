//! The control plane of lvs-xdp: `lvs.cf` and what the nannies report in, BPF maps out.
#![forbid(unsafe_code)]

pub mod config;
pub mod model;
