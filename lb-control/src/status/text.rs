//! The status for people.

use std::{fmt, net::SocketAddr};

use super::{
    Drops, EventCount, ReasonCount, ServerState, ServerStatus, ServiceStatus, SorryStatus,
    StatusReport,
    columns::{Cell, Columns, Side, Style, Tone},
};
use crate::journal::Utc;

/// With fewer days left, the end of a certificate is told.
const SOON: i64 = 14;

/// Below the line of a service.
const INDENT: &str = "  ";

impl ServerState {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Quiesced => "quiesced",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Unknown => "unknown",
        }
    }

    /// Whether that is good.
    #[must_use]
    pub fn tone(self) -> Tone {
        match self {
            Self::Up => Tone::Good,
            Self::Down => Tone::Bad,
            Self::Quiesced | Self::Draining | Self::Drained => Tone::Between,
            Self::Unknown => Tone::Faint,
        }
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A status that is written for people: a block for each service, a line for each server.
#[derive(Debug)]
pub struct StatusText<'a> {
    report: &'a StatusReport,
    style: Style,
    /// Only the services, as of a report that not all belong to.
    is_part: bool,
}

impl StatusReport {
    /// For people.
    #[must_use]
    pub fn text(&self, style: Style) -> StatusText<'_> {
        StatusText {
            report: self,
            style,
            is_part: false,
        }
    }

    /// The services for people, and nothing else.
    #[must_use]
    pub fn services_text(&self, style: Style) -> StatusText<'_> {
        StatusText {
            is_part: true,
            ..self.text(style)
        }
    }

    /// What was not steered, and what else happened.
    #[must_use]
    pub fn drops(&self) -> Drops {
        Drops {
            unsteered: self.unsteered.clone(),
            events: self.events.clone(),
        }
    }
}

impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text(Style::default()).fmt(f)
    }
}

impl fmt::Display for StatusText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_part {
            return self.write_services(f);
        }
        self.write_head(f)?;
        for failover in &self.report.failovers {
            write!(f, "{failover}")?;
        }
        if !self.report.services.is_empty() {
            writeln!(f)?;
        }
        self.write_services(f)?;
        self.write_leaving(f)?;
        self.write_interfaces(f)?;
        let drops = self.report.drops();
        if drops.unsteered.is_empty() && drops.events.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        drops.text(self.style).fmt(f)
    }
}

impl StatusText<'_> {
    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatusReport {
            role,
            pair,
            sync,
            interfaces,
            flows,
            memory,
            ..
        } = self.report;
        let interfaces: Vec<_> = interfaces
            .iter()
            .map(|interface| format!("{} ({})", interface.name, interface.mode))
            .collect();
        let role = role.word();
        writeln!(f, "role {role}, program on {}", interfaces.join(", "))?;
        if let Some(pair) = pair {
            write!(f, "{pair}")?;
        }
        if let Some(sync) = sync {
            write!(f, "{sync}")?;
        }
        writeln!(
            f,
            "flows {} IPv4, {} IPv6, room for {} each; the maps take {}",
            self.style.count(flows.ipv4.into()),
            self.style.count(flows.ipv6.into()),
            flows.capacity,
            self.style.bytes(memory.maps),
        )
    }

    /// The columns of all services are the same, so that they can be compared.
    fn write_services(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns = Columns::new([
            ("server", Side::Left),
            ("state", Side::Left),
            ("weight", Side::Right),
            ("active", Side::Right),
            ("inactive", Side::Right),
            ("conns", Side::Right),
            ("in pkts", Side::Right),
            ("out pkts", Side::Right),
        ]);
        let services = &self.report.services;
        for server in services.iter().flat_map(|service| &service.servers) {
            columns.add([
                SocketAddr::new(server.address, server.port)
                    .to_string()
                    .into(),
                Cell::toned(server.state.word(), server.state.tone()),
                server.weight.to_string().into(),
                self.style.count(server.active.into()).into(),
                self.style.count(server.inactive.into()).into(),
                self.style.count(server.connections).into(),
                self.style.count(server.packets_in).into(),
                self.style.count(server.packets_out).into(),
            ]);
        }
        let (head, lines) = columns.written(self.style);
        let mut lines = lines.into_iter();
        for (number, service) in services.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            self.write_service(f, service)?;
            if !service.servers.is_empty() {
                writeln!(f, "{INDENT}{head}")?;
            }
            for (server, line) in service.servers.iter().zip(lines.by_ref()) {
                writeln!(f, "{INDENT}{line}")?;
                let method = server.forwarding.method();
                if method != service.method {
                    writeln!(f, "    {method}")?;
                }
                server.write_notes(f)?;
            }
        }
        Ok(())
    }

    fn write_service(&self, f: &mut fmt::Formatter<'_>, service: &ServiceStatus) -> fmt::Result {
        writeln!(
            f,
            "{} {} {} \"{}\"",
            service.service, service.scheduler, service.method, service.name
        )?;
        writeln!(
            f,
            "{INDENT}{} conns, {} in pkts, {} out pkts, {} in bytes, {} out bytes",
            self.style.count(service.connections),
            self.style.count(service.packets_in),
            self.style.count(service.packets_out),
            self.style.bytes(service.bytes_in),
            self.style.bytes(service.bytes_out),
        )?;
        match &service.sorry {
            Some(sorry) => writeln!(f, "{INDENT}{sorry}"),
            None => Ok(()),
        }
    }

    fn write_leaving(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaving = &self.report.leaving;
        if !leaving.is_empty() {
            writeln!(f, "\nleaving")?;
        }
        for server in leaving {
            let socket = SocketAddr::new(server.address, server.port);
            writeln!(
                f,
                "{INDENT}{socket} of {}: {} flows to finish, {} s left",
                server.service, server.open, server.seconds_left
            )?;
        }
        Ok(())
    }

    fn write_interfaces(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns = Columns::new([
            ("interface", Side::Left),
            ("packets", Side::Right),
            ("steered", Side::Right),
            ("passed", Side::Right),
            ("dropped", Side::Right),
            ("bytes", Side::Right),
        ]);
        for interface in &self.report.interfaces {
            columns.add([
                interface.name.as_str().into(),
                self.style.count(interface.packets).into(),
                self.style.count(interface.steered).into(),
                self.style.count(interface.passed).into(),
                self.style.count(interface.dropped).into(),
                self.style.bytes(interface.bytes).into(),
            ]);
        }
        write!(f, "\n{columns}")
    }
}

impl ServerStatus {
    /// What is said of it below its line.
    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in self.notes() {
            writeln!(f, "    {note}")?;
        }
        Ok(())
    }

    /// What there is to say of it besides, a line each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let (Some(open), Some(left)) = (self.open, self.seconds_left) {
            notes.push(format!("draining: {open} flows to finish, {left} s left"));
        } else if let Some(said) = &self.overridden {
            notes.push(format!("ordered: {said}"));
        }
        if self.local {
            notes.push(
                "local: it is this router, where a program has to listen on the virtual address \
                 and port"
                    .to_owned(),
            );
        }
        if self.state != ServerState::Up || self.unreachable.is_some() {
            notes.extend(self.unreachable.iter().cloned());
            notes.extend(self.last_error.as_ref().map(|error| self.dated(error)));
        }
        if let Some(left) = self.held_seconds {
            notes.push(format!(
                "it came and went too often: it stays away for {left} s"
            ));
        }
        if self.state == ServerState::Up && self.effective_weight != self.weight {
            notes.push(format!("its weight is {} now", self.effective_weight));
        }
        match self.certificate_days {
            Some(days) if days < 0 => notes.push("its certificate has ended".to_owned()),
            Some(days) if days < SOON => {
                notes.push(format!("its certificate ends in {days} days"));
            }
            Some(_) | None => {}
        }
        notes
    }

    /// An error and when it was.
    fn dated(&self, error: &str) -> String {
        match self.last_error_time {
            Some(time) => format!("{error} ({})", Utc(time)),
            None => error.to_owned(),
        }
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

/// What was not steered, written for people.
#[derive(Debug)]
pub struct DropsText<'a> {
    drops: &'a Drops,
    style: Style,
}

impl Drops {
    /// For people.
    #[must_use]
    pub fn text(&self, style: Style) -> DropsText<'_> {
        DropsText { drops: self, style }
    }
}

impl fmt::Display for DropsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut columns = Columns::new([
            ("not steered", Side::Left),
            ("fate", Side::Left),
            ("packets", Side::Right),
        ]);
        let Drops { unsteered, events } = self.drops;
        for ReasonCount {
            reason,
            fate,
            packets,
        } in unsteered
        {
            let packets = self.style.count(*packets);
            columns.add([reason.as_str().into(), fate.as_str().into(), packets.into()]);
        }
        for EventCount { event, count } in events {
            let count = self.style.count(*count);
            columns.add([event.as_str().into(), "".into(), count.into()]);
        }
        columns.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::report;

    #[test]
    fn people_read_columns() {
        let expected = r#"role active, program on eth0 (native)
flows 1200 IPv4, 0 IPv6, room for 262144 each; the maps take 106 MiB

TCP 192.0.2.10:80 wlc Masq "web"
  12.3k conns, 1.23M in pkts, 999 out pkts, 11.8 MiB in bytes, 0 out bytes
  server               state     weight  active  inactive  conns  in pkts  out pkts
  10.0.0.11:80         up             1       7         9  12.3k    1.23M       999
  10.0.0.12:80         down           2       0         0      0        0         0
    connect to 10.0.0.12:80: connection refused

UDP [2001:db8::53]:53 rr Masq "dns"
  0 conns, 0 in pkts, 0 out pkts, 0 in bytes, 0 out bytes
  server               state     weight  active  inactive  conns  in pkts  out pkts
  [2001:db8::1111]:53  draining       1       3         0      0        0         0
    draining: 3 flows to finish, 12 s left

interface  packets  steered  passed  dropped     bytes
eth0         1.50M    1.40M   99.0k     1000  1.40 GiB

not steered  fate    packets
no-server    answer       12
"#;
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn numbers_are_whole_if_asked_for() {
        let exact = Style {
            exact: true,
            colour: false,
        };
        let text = report().text(exact).to_string();
        assert!(text.contains("  10.0.0.11:80         up             1       7         9  12345  1234567       999\n"), "{text}");
        assert!(
            text.contains(
                "12345 conns, 1234567 in pkts, 999 out pkts, 12345678 in bytes, 0 out bytes\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let colour = Style {
            exact: false,
            colour: true,
        };
        let text = report().text(colour).to_string();
        assert!(text.contains("\x1b[32mup\x1b[0m        "), "{text}");
        let plain = ["\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"]
            .iter()
            .fold(text, |text, code| text.replace(code, ""));
        assert_eq!(plain, report().to_string());
    }

    #[test]
    fn a_service_is_found_by_name_and_address() {
        for wanted in ["dns", "[2001:db8:0::53]:53", "udp [2001:db8::53]:53"] {
            let part = report().of_service(wanted).unwrap();
            assert_eq!(part.services.len(), 1, "{wanted}");
            assert_eq!(part.services[0].name, "dns", "{wanted}");
            let text = part.services_text(Style::default()).to_string();
            assert!(
                text.starts_with("UDP [2001:db8::53]:53 rr Masq \"dns\"\n"),
                "{text}"
            );
        }
        assert_eq!(
            report().of_service("mail").unwrap_err().to_string(),
            "no service is called “mail”; there are web (TCP 192.0.2.10:80), dns (UDP [2001:db8::53]:53)"
        );
    }
}
