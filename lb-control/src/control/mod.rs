//! How the commands of `lb` talk to the daemon: HTTP and JSON over a unix socket.

pub mod change;
pub mod client;
pub mod connection;
pub mod log;
pub mod order;
pub mod request;
pub mod server;
pub mod table;

/// Where the daemon listens unless told otherwise.
pub const SOCKET: &str = "/run/lb/lb.sock";

/// The path of the status.
const STATUS: &str = "/v1/status";

/// The path where orders about real servers are taken.
const SERVER: &str = "/v1/server";
