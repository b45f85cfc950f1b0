//! The status for people.

use std::{fmt, net::SocketAddr};

use super::{Drops, EventCount, ReasonCount, ServerState, ServerStatus, SorryStatus, StatusReport};

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Quiesced => "quiesced",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for StatusReport {
    /// For people: one block per service, one line per server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interfaces: Vec<_> = self
            .interfaces
            .iter()
            .map(|interface| format!("{} ({})", interface.name, interface.mode))
            .collect();
        writeln!(f, "role active, program on {}", interfaces.join(", "))?;
        writeln!(
            f,
            "flows {} IPv4, {} IPv6, room for {} each; the maps take {} MiB",
            self.flows.ipv4,
            self.flows.ipv6,
            self.flows.capacity,
            self.memory.maps.div_ceil(1 << 20)
        )?;
        for service in &self.services {
            writeln!(
                f,
                "\n{} {} {} \"{}\"",
                service.service, service.scheduler, service.method, service.name
            )?;
            writeln!(
                f,
                "  {} conns, {} in pkts, {} out pkts, {} in bytes, {} out bytes",
                service.connections,
                service.packets_in,
                service.packets_out,
                service.bytes_in,
                service.bytes_out
            )?;
            if let Some(sorry) = &service.sorry {
                writeln!(f, "  {sorry}")?;
            }
            writeln!(
                f,
                "  {:<40} {:<9} {:>6} {:>8} {:>8} {:>10} {:>10} {:>10}",
                "server", "state", "weight", "active", "inactive", "conns", "in pkts", "out pkts"
            )?;
            for server in &service.servers {
                let socket = SocketAddr::new(server.address, server.port);
                writeln!(
                    f,
                    "  {:<40} {:<9} {:>6} {:>8} {:>8} {:>10} {:>10} {:>10}",
                    socket.to_string(),
                    server.state,
                    server.weight,
                    server.active,
                    server.inactive,
                    server.connections,
                    server.packets_in,
                    server.packets_out
                )?;
                server.write_notes(f)?;
                for trouble in server.unreachable.iter().chain(&server.last_error) {
                    if server.state != ServerState::Up || server.unreachable.is_some() {
                        writeln!(f, "    {trouble}")?;
                    }
                }
            }
        }
        self.write_leaving(f)?;
        self.write_interfaces(f)?;
        if self.unsteered.is_empty() && self.events.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        self.drops().fmt(f)
    }
}

impl ServerStatus {
    /// What is said of it below its line.
    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(open), Some(left)) = (self.open, self.seconds_left) {
            writeln!(f, "    draining: {open} flows to finish, {left} s left")?;
        } else if let Some(said) = &self.overridden {
            writeln!(f, "    ordered: {said}")?;
        }
        if self.local {
            writeln!(
                f,
                "    local: it is this router, where a program has to listen on the virtual address \
                 and port"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for SorryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = SocketAddr::new(self.address, self.port);
        let state = if self.active { "stands in" } else { "waits" };
        write!(
            f,
            "sorry server {socket} {state}, {} conns",
            self.connections
        )?;
        match &self.unreachable {
            Some(trouble) => write!(f, ", {trouble}"),
            None => Ok(()),
        }
    }
}

impl StatusReport {
    fn write_leaving(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.leaving.is_empty() {
            writeln!(f, "\nleaving")?;
        }
        for server in &self.leaving {
            let socket = SocketAddr::new(server.address, server.port);
            writeln!(
                f,
                "  {socket} of {}: {} flows to finish, {} s left",
                server.service, server.open, server.seconds_left
            )?;
        }
        Ok(())
    }

    fn write_interfaces(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<16} {:>12} {:>12} {:>12} {:>12} {:>16}",
            "interface", "packets", "steered", "passed", "dropped", "bytes"
        )?;
        for interface in &self.interfaces {
            writeln!(
                f,
                "{:<16} {:>12} {:>12} {:>12} {:>12} {:>16}",
                interface.name,
                interface.packets,
                interface.steered,
                interface.passed,
                interface.dropped,
                interface.bytes
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:<8} {:>12}", "not steered", "fate", "packets")?;
        for count in &self.unsteered {
            let ReasonCount {
                reason,
                fate,
                packets,
            } = count;
            writeln!(f, "{reason:<20} {fate:<8} {packets:>12}")?;
        }
        for EventCount { event, count } in &self.events {
            writeln!(f, "{event:<20} {:<8} {count:>12}", "")?;
        }
        Ok(())
    }
}
