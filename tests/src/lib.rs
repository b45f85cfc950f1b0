//! The lab: hosts made of network namespaces, with real programs in them.
//!
//! A [`Lab`] is a private world in which [`Host`]s live; [`Network`] connects a client, a router
//! (the director) and real servers; [`Web`], [`Dns`] and [`Director`] are the real programs that
//! run in them, and [`client`] is what a client asks; a [`Stage`] is all of it. [`showcase`] is what `cargo xtask run` shows.
//! Nothing of it can be seen from outside the lab, and all of it ends with the process that made it.

pub mod address;
pub mod browser;
pub mod client;
pub mod director;
pub mod dns;
pub mod form;
pub mod host;
pub mod https;
pub mod lab;
pub mod network;
pub mod pair;
pub mod pings;
pub mod process;
pub mod sctp;
pub mod showcase;
pub mod site;
pub mod stage;
pub mod status;
pub mod switch;
pub mod tunnel;
pub mod visitor;
pub mod wait;
pub mod web;
pub mod web_tool;
pub mod wire;

pub use address::Family;
pub use browser::Browser;
pub use director::Director;
pub use dns::Dns;
pub use host::Host;
pub use lab::{Lab, in_lab};
pub use network::{Network, Plan, Wiring};
pub use pair::Pair;
pub use pings::Pings;
pub use process::Process;
pub use site::{Method, Service, Site};
pub use stage::{Stage, on_stage};
pub use visitor::Visitor;
pub use web::Web;
pub use web_tool::WebTool;
