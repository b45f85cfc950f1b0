//! Which services and servers are shown, in what order.

use std::{
    cmp::Reverse,
    collections::HashSet,
    fmt::{self, Write as _},
    net::SocketAddr,
};

use super::rates::{Key, Rates};
use crate::{
    model::ServiceId,
    status::{ServerState, ServerStatus, ServiceStatus, StatusReport},
};

/// In what order services stand, and servers within them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// As in lvs.cf.
    #[default]
    File,
    /// By name.
    Name,
    /// The most connections in a second first.
    Rate,
    /// The most active connections first.
    Active,
    /// Those first that are not as they should be.
    Trouble,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::File => Self::Name,
            Self::Name => Self::Rate,
            Self::Rate => Self::Active,
            Self::Active => Self::Trouble,
            Self::Trouble => Self::File,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Name => "name",
            Self::Rate => "conn/s",
            Self::Active => "active",
            Self::Trouble => "trouble",
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) service: &'a ServiceStatus,
    /// None for the line of the service itself.
    pub(super) server: Option<&'a ServerStatus>,
}

impl Row<'_> {
    pub(super) fn key(&self) -> Key {
        let socket = |server: &ServerStatus| SocketAddr::new(server.address, server.port);
        (self.service.service, self.server.map(socket))
    }
}

/// Servers of a service that are not as they should be.
pub(crate) fn troubled(service: &ServiceStatus) -> usize {
    let is_troubled = |server: &&ServerStatus| {
        server.unreachable.is_some()
            || matches!(server.state, ServerState::Down | ServerState::Quiesced)
    };
    service.servers.iter().filter(is_troubled).count()
}

/// All lines; what is not visible now is among them.
pub(super) fn rows<'a>(
    report: &'a StatusReport,
    rates: &Rates,
    filter: &str,
    folded: &HashSet<ServiceId>,
    sort: Sort,
) -> Vec<Row<'a>> {
    let filter = filter.to_lowercase();
    let mut services: Vec<_> = report
        .services
        .iter()
        .filter(|service| filter.is_empty() || has(service, &filter))
        .collect();
    let rate = |key: Key| rates.of(&key).map_or(0, |counts| counts.connections);
    let active = |service: &ServiceStatus| {
        let servers = service.servers.iter();
        servers.map(|server| u64::from(server.active)).sum::<u64>()
    };
    match sort {
        Sort::File => {}
        Sort::Name => services.sort_by_cached_key(|service| service.name.to_lowercase()),
        Sort::Rate => services.sort_by_cached_key(|service| Reverse(rate((service.service, None)))),
        Sort::Active => services.sort_by_cached_key(|service| Reverse(active(service))),
        Sort::Trouble => services.sort_by_cached_key(|service| Reverse(troubled(service))),
    }
    let mut rows = Vec::new();
    for service in services {
        rows.push(Row {
            service,
            server: None,
        });
        if folded.contains(&service.service) {
            continue;
        }
        let mut servers: Vec<_> = service
            .servers
            .iter()
            .map(|server| Row {
                service,
                server: Some(server),
            })
            .collect();
        let server = |row: &Row<'a>| row.server.map(|server| (server.state, server.active));
        match sort {
            Sort::File => {}
            Sort::Name => servers
                .sort_by_cached_key(|row| row.server.map(|server| server.name.to_lowercase())),
            Sort::Rate => servers.sort_by_cached_key(|row| Reverse(rate(row.key()))),
            Sort::Active => {
                servers.sort_by_cached_key(|row| Reverse(server(row).map(|(_, active)| active)));
            }
            Sort::Trouble => {
                servers.sort_by_key(|row| {
                    server(row).is_some_and(|(state, _)| state == ServerState::Up)
                });
            }
        }
        rows.extend(servers);
    }
    rows
}

/// Whether a text of a service or of one of its servers has this in it.
pub(crate) fn has(service: &ServiceStatus, filter: &str) -> bool {
    // One room for all texts: a large site has tens of thousands.
    let mut text = String::new();
    let mut contains = |what: &dyn fmt::Display| {
        text.clear();
        // Writing to a string does not fail.
        let _ = write!(text, "{what}");
        if text.is_ascii() {
            text.make_ascii_lowercase();
            return text.contains(filter);
        }
        text.to_lowercase().contains(filter)
    };
    contains(&service.name)
        || contains(&service.service)
        || service.servers.iter().any(|server| {
            contains(&server.name)
                || contains(&SocketAddr::new(server.address, server.port))
                || server.state.word().starts_with(filter)
        })
}
