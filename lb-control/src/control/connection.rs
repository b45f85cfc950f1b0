//! The flows that are remembered: the answer to `GET /v1/connections`, a line of JSON for each.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::ServiceId;

/// A flow, or the memory of a client that stays with its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// `TCP`, `UDP`, `SCTP`, or `IP` for the clients of a group.
    pub protocol: String,
    /// Seconds until it is forgotten if nothing comes.
    pub expires: u32,
    /// Its state as IPVS calls it: `ESTABLISHED`, `UDP`, `NONE`, …
    pub state: String,
    /// The client; port 0 for one that stays.
    #[schema(value_type = String, example = "10.0.0.11:80")]
    pub client: SocketAddr,
    /// What it talks to.
    #[schema(value_type = String, example = "10.0.0.11:80")]
    pub address: SocketAddr,
    /// The real server that it got.
    #[schema(value_type = String, example = "10.0.0.11:80")]
    pub server: SocketAddr,
    /// The service that it belongs to, if that is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// It is no flow, but the memory of a client that stays.
    pub is_template: bool,
}
