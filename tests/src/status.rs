//! What `lb status --json` says, as far as the lab looks at it.

use std::fmt;

use serde::Deserialize;

/// The whole answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `active` or `standby`.
    pub role: String,
    /// What this node knows of itself and its partner, if it has one.
    pub pair: Option<PairStatus>,
    /// The routing table.
    pub services: Vec<ServiceStatus>,
    /// The failover services.
    pub failovers: Vec<FailoverStatus>,
    /// Servers that are no longer asked for and finish what they have.
    pub leaving: Vec<LeavingStatus>,
    /// How many flows there are.
    pub flows: Flows,
}

/// One of a pair.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PairStatus {
    /// The other; none if it was not heard for `deadtime`.
    pub partner: Option<PartnerStatus>,
    /// Why this node must not be active, in words.
    pub unfit: Option<String>,
}

/// The other one of a pair.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PartnerStatus {
    /// It may become active.
    pub fit: bool,
}

/// A failover service.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct FailoverStatus {
    /// `running`, `stopped` and so on.
    pub state: String,
    /// How often it was started.
    pub starts: u64,
}

/// A server that finishes what it has.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct LeavingStatus {
    /// Its address.
    pub address: String,
    /// Flows that it has to finish.
    pub open: u64,
}

/// The flow tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Flows {
    /// Flows of IPv4.
    pub ipv4: u64,
    /// Flows of IPv6.
    pub ipv6: u64,
}

/// One service of the routing table.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ServiceStatus {
    /// Its name in lvs.cf.
    pub name: String,
    /// Connections of all its servers since the start.
    #[serde(default)]
    pub connections: u64,
    /// The server that clients get while there is no other.
    #[serde(default)]
    pub sorry: Option<SorryStatus>,
    /// Its real servers.
    pub servers: Vec<ServerStatus>,
}

/// The server that clients get while there is no other.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SorryStatus {
    /// Whether it stands in now.
    pub active: bool,
}

/// One real server of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerStatus {
    /// Its name in lvs.cf.
    pub name: String,
    /// Its weight now.
    pub weight: u32,
    /// `up`, `down`, `quiesced`, `draining`, `drained` or `unknown`.
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
    /// Why packets cannot be sent to it, if so.
    pub unreachable: Option<String>,
    /// Whether it is the router itself.
    pub local: bool,
    /// What an operator said of it.
    #[serde(rename = "override")]
    pub overridden: Option<String>,
}

impl Status {
    /// A service by its name.
    pub fn service(&self, name: &str) -> Option<&ServiceStatus> {
        self.services.iter().find(|service| service.name == name)
    }

    /// Whether every real server of every service gets connections.
    pub fn is_complete(&self) -> bool {
        let mut servers = self.services.iter().flat_map(|service| &service.servers);
        !self.services.is_empty() && servers.all(ServerStatus::is_up)
    }
}

impl ServiceStatus {
    /// A real server by its name.
    pub fn server(&self, name: &str) -> Option<&ServerStatus> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Whether a real server gets new connections.
    pub fn has_up(&self, name: &str) -> bool {
        self.server(name).is_some_and(ServerStatus::is_up)
    }
}

impl ServerStatus {
    /// Whether it gets new connections. One can be well without its way being known yet.
    pub fn is_up(&self) -> bool {
        self.state == "up" && self.weight > 0 && self.unreachable.is_none()
    }
}

/// In one line, for complaints: `web: rs1 up, rs2 down (refused); web6: …`.
impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(ToString::to_string).collect();
        out.write_str(&services.join("; "))
    }
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        write!(out, "{}: {}", self.name, servers.join(", "))
    }
}

impl fmt::Display for ServerStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.name, self.state)?;
        self.unreachable
            .iter()
            .chain(&self.last_error)
            .try_for_each(|error| write!(out, " ({error})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_lb_prints() {
        let text = r#"{"role":"active","version":1,"services":[{"name":"web","port":80,"servers":[
            {"name":"rs1","address":"10.88.1.11","weight":1,"state":"up","last_error":null},
            {"name":"rs2","weight":0,"state":"quiesced","last_error":"refused"}]}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!(status.to_string(), "web: rs1 up, rs2 quiesced (refused)");
        let web = status.service("web").unwrap();
        assert!(web.has_up("rs1") && !web.has_up("rs2") && !web.has_up("rs3"));
    }
}
