//! What `lb status --json` says, as far as the lab looks at it.

use serde::Deserialize;

/// The whole answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// `active` or `standby`.
    pub role: String,
    /// The routing table.
    pub services: Vec<ServiceStatus>,
}

/// One service of the routing table.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ServiceStatus {
    /// Its name in lvs.cf.
    pub name: String,
    /// Its real servers.
    pub servers: Vec<ServerStatus>,
}

/// One real server of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerStatus {
    /// Its name in lvs.cf.
    pub name: String,
    /// Its weight now.
    pub weight: u32,
    /// `up`, `down`, `quiesced` or `unknown`.
    pub state: String,
    /// Connections in use.
    pub active: u64,
    /// Connections that are closing.
    pub inactive: u64,
    /// Connections since the start.
    pub connections: u64,
    /// Packets to it.
    pub packets_in: u64,
    /// Packets from it (NAT only).
    pub packets_out: u64,
    /// Bytes to it.
    pub bytes_in: u64,
    /// Bytes from it (NAT only).
    pub bytes_out: u64,
    /// Why its last check failed, if it did.
    pub last_error: Option<String>,
}

impl Status {
    /// A service by its name.
    pub fn service(&self, name: &str) -> Option<&ServiceStatus> {
        self.services.iter().find(|service| service.name == name)
    }
}

impl ServiceStatus {
    /// A real server by its name.
    pub fn server(&self, name: &str) -> Option<&ServerStatus> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Whether a real server gets new connections.
    pub fn has_up(&self, name: &str) -> bool {
        self.server(name)
            .is_some_and(|server| server.state == "up" && server.weight > 0)
    }
}
