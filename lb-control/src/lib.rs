//! The control plane of lvs-xdp: `lvs.cf` and what the nannies report in, BPF maps out.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod counters;
pub mod daemon;
pub mod dataplane;
pub mod desired;
pub mod diff;
pub mod difference;
pub mod doctor;
pub mod drain;
pub mod event;
pub mod explain;
pub mod health;
pub mod ids;
pub mod import;
pub mod ipvsadm;
pub mod journal;
pub mod model;
pub mod network;
pub mod plan;
pub mod preflight;
pub mod rates;
pub mod reconciler;
pub mod rings;
pub mod roles;
pub mod runtime;
pub mod selectors;
pub mod state;
pub mod status;
pub mod sync;
pub mod turnover;
pub mod waiting_room;
pub mod watch;
