//! What comes in a second, from two answers of the daemon.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

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

/// What comes in a second.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rates {
    counted: HashMap<Key, Counts>,
    at: Option<Duration>,
    rates: HashMap<Key, Counts>,
}

impl Rates {
    /// Takes in an answer of the time `at`.
    pub(crate) fn add(&mut self, report: &StatusReport, at: Duration) {
        let counted: HashMap<_, _> = report
            .services
            .iter()
            .flat_map(|service| {
                let servers = service.servers.iter().map(|server| {
                    let socket = SocketAddr::new(server.address, server.port);
                    ((service.service, Some(socket)), Counts::of_server(server))
                });
                let whole = ((service.service, None), Counts::of_service(service));
                servers.chain([whole])
            })
            .collect();
        let time = self.at.and_then(|before| at.checked_sub(before));
        self.rates = match time.filter(|time| !time.is_zero()) {
            Some(time) => counted
                .iter()
                .filter_map(|(key, now)| {
                    let before = self.counted.get(key)?;
                    Some((*key, now.rate(*before, time)))
                })
                .collect(),
            None => HashMap::new(),
        };
        self.counted = counted;
        self.at = Some(at);
    }

    /// The daemon is gone: what comes next is not compared with what was before.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn of(&self, key: &Key) -> Option<Counts> {
        self.rates.get(key).copied()
    }

    /// Of all services together.
    pub(crate) fn sum(&self) -> Option<Counts> {
        self.rates
            .iter()
            .filter(|((_, server), _)| server.is_none())
            .map(|(_, counts)| *counts)
            .reduce(Counts::plus)
    }
}
