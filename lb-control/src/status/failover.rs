//! How the failover services are.

use std::{fmt, net::IpAddr, time::Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StatusReport;
use crate::{
    fos::{Shown, State},
    model::Protocol,
};

/// A failover service, as it is on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailoverStatus {
    /// The name of its block.
    pub name: String,
    /// Where clients reach it.
    #[schema(value_type = String, example = "192.0.2.10")]
    pub address: IpAddr,
    /// At which port.
    pub port: u16,
    /// By which protocol.
    pub protocol: Protocol,
    /// What it is doing.
    pub state: State,
    /// For how many seconds.
    pub seconds: u64,
    /// What went wrong last, in words; it may be well again.
    pub last_failure: Option<String>,
    /// How many seconds ago that was.
    pub last_failure_seconds_ago: Option<u64>,
    /// How often this daemon has started it.
    pub starts: u64,
    /// How many checks have ended since it was started last.
    pub checks: u64,
    /// How many of them failed.
    pub failed_checks: u64,
}

impl StatusReport {
    /// Adds how the failover services are, at this time.
    pub fn add_failovers(&mut self, services: &[Shown], now: Instant) {
        self.failovers = services.iter().map(|one| status(one, now)).collect();
    }
}

fn status(service: &Shown, now: Instant) -> FailoverStatus {
    let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
    FailoverStatus {
        name: service.name.clone(),
        address: service.address.ip(),
        port: service.address.port(),
        protocol: service.protocol,
        state: service.state,
        seconds: seconds(service.since),
        last_failure: service.last_failure.as_ref().map(|(text, _)| text.clone()),
        last_failure_seconds_ago: service.last_failure.as_ref().map(|(_, at)| seconds(*at)),
        starts: service.starts,
        checks: service.checks,
        failed_checks: service.failures,
    }
}

impl fmt::Display for FailoverStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            address,
            port,
            protocol,
            state,
            seconds,
            ..
        } = self;
        let address = std::net::SocketAddr::new(*address, *port);
        write!(
            f,
            "failover {name} {protocol} {address}: {} for {seconds} s",
            state.word()
        )?;
        let is_well = match state {
            State::Running => true,
            State::Unknown | State::Stopped | State::Starting | State::Failed | State::Stopping => {
                false
            }
        };
        if !is_well
            && let (Some(text), Some(ago)) = (&self.last_failure, self.last_failure_seconds_ago)
        {
            write!(f, "; {ago} s ago: {text}")?;
        }
        writeln!(f)
    }
}
