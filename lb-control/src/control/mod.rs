//! How the commands of `lb` talk to the daemon: HTTP and JSON over a unix socket.

mod ask;
pub mod change;
pub mod client;
pub mod configuration;
pub mod connection;
pub mod events;
mod explain;
mod listing;
pub mod log;
pub mod metrics;
pub mod name;
pub mod openapi;
pub mod order;
pub mod probe;
pub mod proc;
pub mod request;
mod routes;
pub(crate) mod serve;
pub mod server;
pub mod table;
mod who;

/// Where the daemon listens unless told otherwise.
pub const SOCKET: &str = "/run/lb/lb.sock";

/// The header of a question that says for whom it is asked, for the journal: whoever may use the socket is believed.
pub const ON_BEHALF_OF: &str = "lb-on-behalf-of";

/// The path of the status.
pub(crate) const STATUS: &str = "/v1/status";

/// The path where orders about real servers are taken.
const SERVER: &str = "/v1/server";

/// The path of the flows that are remembered; the query says which ([`connection::Wanted`]).
const CONNECTIONS: &str = "/v1/connections";

/// The path of the routing table; `?service=` asks for one service.
const TABLE: &str = "/v1/table";

/// The path where changes of the table are taken.
const CHANGES: &str = "/v1/changes";

/// The path where lvs.cf is read again; with `?discard=true` changes by command are forgotten.
const RELOAD: &str = "/v1/reload";

/// The path where the partner is made active.
const FAILOVER: &str = "/v1/failover";

/// The path that tells what a reload would change.
const DIFF: &str = "/v1/config/diff";

/// The path of lvs.cf.
const CONFIG: &str = "/v1/config";

/// The path where a text is checked that may become lvs.cf.
const CONFIG_CHECK: &str = "/v1/config/check";

/// The path of the versions of lvs.cf that were replaced.
const CONFIG_VERSIONS: &str = "/v1/config/versions";

/// The path of one of them.
const CONFIG_VERSION: &str = "/v1/config/versions/{number}";

/// The path where a real server is checked by hand.
const PROBE: &str = "/v1/probe";

/// The path that tells what would become of a packet.
const EXPLAIN: &str = "/v1/explain";

/// The path of what happened, page by page.
const EVENTS: &str = "/v1/events";

/// The path of what happens, as it comes.
const EVENT_STREAM: &str = "/v1/events/stream";

/// The path of the decision log.
const LOG: &str = "/v1/log";

/// The path of what is measured.
const METRICS: &str = "/metrics";

/// The path of the files that programs read of IPVS.
const PROC: &str = "/v1/proc/{file}";

/// The path of the description of all this.
const OPENAPI: &str = "/v1/openapi.json";

#[cfg(test)]
pub(crate) mod tests;
