//! `lb stats`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use super::{named, output, runtime};
use crate::{
    control::{
        self, client,
        table::{Counts, ServiceRow},
    },
    model::ServiceId,
    status::columns::{Cell, Columns, Side, Style},
};

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Only this service: its name, PROTOCOL:ADDRESS:PORT, ADDRESS:PORT, or fwm:MARK.
    service: Option<String>,
    /// How much comes in a second, as IPVS estimates it: what changes shows within some seconds.
    #[arg(long)]
    rate: bool,
    /// Numbers in full.
    #[arg(long)]
    exact: bool,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// The answer as JSON: both what was counted and what comes in a second.
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let services = runtime()?.block_on(async {
            match &self.service {
                Some(wanted) => Ok(vec![named::service(&self.socket, wanted).await?]),
                None => Ok::<_, anyhow::Error>(client::table(&self.socket, None).await?.services),
            }
        })?;
        let statistics = Statistics::of(services);
        if self.json {
            output::print_json(&statistics)?;
        } else {
            let style = Style {
                exact: self.exact,
                colour: false,
            };
            let text = statistics.text(self.rate, style);
            io::stdout().lock().write_all(text.as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What was counted, and how much of it comes in a second.
#[derive(Debug, Serialize)]
struct Statistics {
    services: Vec<OfService>,
    /// All of them together.
    total: Measured,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Measured {
    counts: Counts,
    rates: Counts,
}

#[derive(Debug, Serialize)]
struct OfService {
    service: ServiceId,
    name: String,
    #[serde(flatten)]
    measured: Measured,
    servers: Vec<OfServer>,
}

#[derive(Debug, Serialize)]
struct OfServer {
    server: std::net::SocketAddr,
    name: String,
    #[serde(flatten)]
    measured: Measured,
}

impl Statistics {
    fn of(services: Vec<ServiceRow>) -> Self {
        let mut total = Measured::default();
        let services = services.into_iter().map(|row| {
            let (counts, rates) = (row.counts, row.rates);
            total.counts = total.counts.and(&counts);
            total.rates = total.rates.and(&rates);
            let servers = row.servers.into_iter().map(|server| OfServer {
                server: server.server,
                name: server.name,
                measured: Measured {
                    counts: server.counts,
                    rates: server.rates,
                },
            });
            OfService {
                service: row.service,
                name: row.name,
                measured: Measured { counts, rates },
                servers: servers.collect(),
            }
        });
        Self {
            services: services.collect(),
            total,
        }
    }

    fn text(&self, rate: bool, style: Style) -> String {
        let heads = match rate {
            false => ["conns", "in pkts", "out pkts", "in bytes", "out bytes"],
            true => [
                "conns/s",
                "in pkts/s",
                "out pkts/s",
                "in bytes/s",
                "out bytes/s",
            ],
        };
        let [conns, packets_in, packets_out, bytes_in, bytes_out] = heads;
        let mut columns = Columns::new([
            ("", Side::Left),
            (conns, Side::Right),
            (packets_in, Side::Right),
            (packets_out, Side::Right),
            (bytes_in, Side::Right),
            (bytes_out, Side::Right),
        ]);
        let mut add = |what: String, measured: &Measured| {
            let counts = match rate {
                false => &measured.counts,
                true => &measured.rates,
            };
            columns.add([
                Cell::from(what),
                style.count(counts.connections).into(),
                style.count(counts.packets_in).into(),
                style.count(counts.packets_out).into(),
                style.bytes(counts.bytes_in).into(),
                style.bytes(counts.bytes_out).into(),
            ]);
        };
        for service in &self.services {
            add(
                called(&service.name, &service.service.to_string()),
                &service.measured,
            );
            for server in &service.servers {
                let what = called(&server.name, &server.server.to_string());
                add(format!("  {what}"), &server.measured);
            }
        }
        if self.services.len() != 1 {
            add("total".to_owned(), &self.total);
        }
        let (head, lines) = columns.written(style);
        let mut text = head;
        for line in lines {
            text.push('\n');
            text.push_str(&line);
        }
        text.push('\n');
        text
    }
}

fn called(name: &str, address: &str) -> String {
    match name == address {
        true => address.to_owned(),
        false => format!("{address} ({name})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_servers_and_a_total() {
        let measured = |connections, rate| Measured {
            counts: Counts {
                connections,
                bytes_in: 100 * connections,
                ..Counts::default()
            },
            rates: Counts {
                connections: rate,
                ..Counts::default()
            },
        };
        let service = |name: &str, id: &str, connections| OfService {
            service: id.parse().unwrap(),
            name: name.to_owned(),
            measured: measured(connections, 7),
            servers: vec![OfServer {
                server: ([10, 0, 0, 1], 80).into(),
                name: "rs1".to_owned(),
                measured: measured(connections, 7),
            }],
        };
        let statistics = Statistics {
            services: vec![
                service("web", "TCP 192.0.2.10:80", 123_456),
                service("FWM 7", "FWM 7", 5),
            ],
            total: measured(123_461, 14),
        };
        let expected = [
            "                         conns  in pkts  out pkts  in bytes  out bytes",
            "TCP 192.0.2.10:80 (web)   123k        0         0  11.8 MiB          0",
            "  10.0.0.1:80 (rs1)       123k        0         0  11.8 MiB          0",
            "FWM 7                        5        0         0       500          0",
            "  10.0.0.1:80 (rs1)          5        0         0       500          0",
            "total                     123k        0         0  11.8 MiB          0",
            "",
        ]
        .join("\n");
        assert_eq!(statistics.text(false, Style::default()), expected);
        let rates = statistics.text(true, Style::default());
        assert!(rates.contains("conns/s") && rates.lines().any(|line| line.starts_with("total")));
        assert!(rates.contains("  14  "), "{rates}");
    }
}
