//! Connection synchronisation: what the active director tells the standby one of its flows, so that a
//! take-over loses none.
//!
//! [`machine`] decides what is said when, and has neither sockets nor a clock; [`wire`] is what it looks like on
//! the wire; [`connection`] is what is said. [`ipvs`] is the language of the kernel's balancer, for a pair of which
//! one is not ours. [`runner`] has the sockets, the ring of changes and the program that makes flows of what is heard.

pub mod connection;
pub mod ipvs;
pub mod machine;
pub mod runner;
pub mod seal;
pub mod translate;
pub mod wire;
