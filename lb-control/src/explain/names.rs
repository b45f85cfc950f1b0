//! What services and real servers are called in lvs.cf. Only the daemon knows; without it they are
//! called by their addresses.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_common::wire::protocol;

use crate::{model::Protocol, status::StatusReport};

/// What services and real servers are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    services: BTreeMap<(SocketAddr, u8), (String, String)>,
    servers: BTreeMap<SocketAddr, String>,
}

impl Names {
    /// As the daemon tells them.
    #[must_use]
    pub fn of(report: &StatusReport) -> Self {
        let mut names = Self::default();
        for service in &report.services {
            if let (Some(address), Some(port), Some(protocol)) =
                (service.address, service.port, service.protocol)
            {
                let key = (SocketAddr::new(address, port), number(protocol));
                let value = (service.name.clone(), service.scheduler.to_string());
                names.services.insert(key, value);
            }
            for server in &service.servers {
                let socket = SocketAddr::new(server.address, server.port);
                names.servers.insert(socket, server.name.clone());
            }
        }
        names
    }

    /// The name of the service of this address and port.
    #[must_use]
    pub fn service(&self, destination: SocketAddr, protocol: u8) -> Option<&str> {
        let (name, _) = self.services.get(&(destination, protocol))?;
        Some(name)
    }

    /// How lvs.cf calls its scheduler.
    #[must_use]
    pub fn scheduler(&self, destination: SocketAddr, protocol: u8) -> Option<&str> {
        let (_, scheduler) = self.services.get(&(destination, protocol))?;
        Some(scheduler)
    }

    /// The real server of this address and port: its name, if it is known, and its address.
    #[must_use]
    pub fn server(&self, socket: SocketAddr) -> String {
        match self.servers.get(&socket) {
            Some(name) => format!("{name} ({socket})"),
            None => socket.to_string(),
        }
    }
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
        Protocol::Ah => protocol::AH,
        Protocol::Esp => protocol::ESP,
    }
}
