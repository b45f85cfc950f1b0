//! What commands ask the daemon to do, and its answers.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::{
    change::{Changes, Made, Refused},
    order::{Order, Unknown},
};
use crate::{
    config::Global, difference::Difference, health::Target, heartbeat::machine::Refused as Refusal,
    model::Site,
};

/// What a command asks for.
#[derive(Debug)]
pub enum Request {
    /// The table is to be different.
    Change {
        /// In which way.
        changes: Changes,
        /// Who says so.
        who: String,
        /// What became of it.
        reply: oneshot::Sender<Result<Made, Refused>>,
    },
    /// An operator says what is to become of a real server.
    Order {
        /// What.
        order: Order,
        /// Who says so.
        who: String,
        /// What became of it, in words.
        reply: oneshot::Sender<Result<String, Unknown>>,
    },
    /// lvs.cf is to be read again.
    Reload {
        /// Changes by command are to be forgotten, too.
        discard: bool,
        /// Who says so.
        who: String,
        /// What it changed, or why everything stays as it was.
        reply: oneshot::Sender<Result<Reloaded, String>>,
    },
    /// The partner is to become active.
    Failover {
        /// Or rather, it is to wait for this node.
        asked: Failover,
        /// Who says so.
        who: String,
        /// What became of it, in words, or why nothing did.
        reply: oneshot::Sender<Result<String, Refusal>>,
    },
    /// What a reload would change is to be told.
    Compare {
        /// If lvs.cf meant this; else as it stands.
        written: Option<Box<(Global, Site)>>,
        /// The differences, or why there are none.
        reply: oneshot::Sender<Result<Comparison, String>>,
    },
    /// How a real server of the table is checked is to be told.
    Target {
        /// The service, as in an order.
        service: String,
        /// The real server, as in an order.
        server: String,
        /// How; nothing if it is not.
        reply: oneshot::Sender<Result<Option<Target>, Unknown>>,
    },
}

/// The question of `POST /v1/failover`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failover {
    /// Nothing is handed over: this daemon is about to be restarted, and is back within so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_within_ms: Option<u64>,
}

/// The answer to `POST /v1/reload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The file that was read.
    pub file: String,
    /// What is different now.
    pub changed: Vec<Difference>,
    /// What its author ought to know, each as `file:line:column: warning: …`.
    pub warnings: Vec<String>,
}

/// The answer to `GET /v1/config/diff`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    /// The file.
    pub file: String,
    /// What a reload would change: the table that runs, against the file as it is now with the changes by
    /// command on top.
    pub reload: Vec<Difference>,
    /// What was changed by command: the file as it was read last, against the table that runs.
    pub commands: Vec<Difference>,
    /// What the author of the file ought to know.
    pub warnings: Vec<String>,
}
