//! What services and real servers are called in lvs.cf. Only the daemon knows; without it they are
//! called by their addresses.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_common::wire::protocol;

use crate::{
    model::{Protocol, ServiceId},
    status::StatusReport,
};

/// What services and real servers are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    services: BTreeMap<(SocketAddr, u8), Known>,
    servers: BTreeMap<SocketAddr, String>,
}

/// What is known of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    id: ServiceId,
    name: String,
    scheduler: String,
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
                let value = Known {
                    id: service.service,
                    name: service.name.clone(),
                    scheduler: service.scheduler.to_string(),
                };
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
        Some(&self.known(destination, protocol)?.name)
    }

    /// What that service is known by.
    #[must_use]
    pub fn id(&self, destination: SocketAddr, protocol: u8) -> Option<ServiceId> {
        Some(self.known(destination, protocol)?.id)
    }

    /// How lvs.cf calls its scheduler.
    #[must_use]
    pub fn scheduler(&self, destination: SocketAddr, protocol: u8) -> Option<&str> {
        Some(&self.known(destination, protocol)?.scheduler)
    }

    fn known(&self, destination: SocketAddr, protocol: u8) -> Option<&Known> {
        self.services.get(&(destination, protocol))
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
