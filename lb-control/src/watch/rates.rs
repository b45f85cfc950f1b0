//! What comes in a second, from two answers of the daemon.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    model::ServiceId,
    status::{ServerStatus, ServiceStatus, StatusReport},
};

/// What was counted, or what of it comes in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    pub(crate) packets: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Counts {
    pub(crate) fn of_service(service: &ServiceStatus) -> Self {
        Self {
            connections: service.connections,
            packets: service.packets_in.saturating_add(service.packets_out),
            bytes_in: service.bytes_in,
            bytes_out: service.bytes_out,
        }
    }

    fn of_server(server: &ServerStatus) -> Self {
        Self {
            connections: server.connections,
            packets: server.packets_in.saturating_add(server.packets_out),
            bytes_in: server.bytes_in,
            bytes_out: server.bytes_out,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(other.connections),
            packets: self.packets.saturating_add(other.packets),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
        }
    }

    /// What came in a second since `before`. Counters that begin anew give nothing.
    fn rate(self, before: Self, time: Duration) -> Self {
        let rate = |now: u64, before: u64| {
            let new = now.saturating_sub(before) as f64;
            (new / time.as_secs_f64()).round() as u64
        };
        Self {
            connections: rate(self.connections, before.connections),
            packets: rate(self.packets, before.packets),
            bytes_in: rate(self.bytes_in, before.bytes_in),
            bytes_out: rate(self.bytes_out, before.bytes_out),
        }
    }
}

/// What is counted: for a service, and for each of its servers.
pub(crate) type Key = (ServiceId, Option<SocketAddr>);

/// What was counted at a time.
#[derive(Debug, Default, Clone)]
struct Counted {
    services: HashMap<ServiceId, Counts>,
    servers: HashMap<(ServiceId, SocketAddr), Counts>,
}

impl Counted {
    fn new(report: &StatusReport) -> Self {
        let services = &report.services;
        let count = services.iter().map(|service| service.servers.len()).sum();
        let mut servers = HashMap::with_capacity(count);
        for service in services {
            servers.extend(service.servers.iter().map(|server| {
                let socket = SocketAddr::new(server.address, server.port);
                ((service.service, socket), Counts::of_server(server))
            }));
        }
        let whole = |service: &ServiceStatus| (service.service, Counts::of_service(service));
        Self {
            services: services.iter().map(whole).collect(),
            servers,
        }
    }

    fn of(&self, (service, server): &Key) -> Option<Counts> {
        let counts = match server {
            None => self.services.get(service),
            Some(server) => self.servers.get(&(*service, *server)),
        };
        counts.copied()
    }
}

/// What comes in a second. Clones share what was counted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rates {
    now: Arc<Counted>,
    at: Option<Duration>,
    /// What was counted before, and how long that was before.
    before: Option<(Arc<Counted>, Duration)>,
}

impl Rates {
    /// Takes in an answer of the time `at`.
    pub(crate) fn add(&mut self, report: &StatusReport, at: Duration) {
        let before = std::mem::replace(&mut self.now, Arc::new(Counted::new(report)));
        let time = self.at.and_then(|before| at.checked_sub(before));
        let time = time.filter(|time| !time.is_zero());
        self.before = time.map(|time| (before, time));
        self.at = Some(at);
    }

    /// The daemon is gone: what comes next is not compared with what was before.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn of(&self, key: &Key) -> Option<Counts> {
        let (before, time) = self.before.as_ref()?;
        Some(self.now.of(key)?.rate(before.of(key)?, *time))
    }

    /// Of all services together.
    pub(crate) fn sum(&self) -> Option<Counts> {
        let (before, time) = self.before.as_ref()?;
        let services = self.now.services.iter();
        services
            .filter_map(|(key, now)| Some(now.rate(*before.services.get(key)?, *time)))
            .reduce(Counts::plus)
    }
}
