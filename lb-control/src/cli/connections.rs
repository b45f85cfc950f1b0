//! `lb connections`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{named, runtime};
use crate::control::{
    self, client,
    connection::{Connection, Count, Sockets, Wanted},
};

/// Columns are as wide as the first so many lines need, and grow with those behind.
const AT_ONCE: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct Connections {
    /// Only those of this service: its name, PROTOCOL:ADDRESS:PORT, ADDRESS:PORT, or fwm:MARK.
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Only those of this real server: its name, if the service is said, else ADDRESS[:PORT] or ADDRESS/LENGTH.
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Only those of these clients: ADDRESS[:PORT] or ADDRESS/LENGTH.
    #[arg(long, value_name = "CLIENT")]
    client: Option<Sockets>,
    /// Only those of this protocol.
    #[arg(long, ignore_case = true, value_parser = ["tcp", "udp", "sctp", "ah", "esp", "ip"])]
    protocol: Option<String>,
    /// No more than so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only how many there are.
    #[arg(long)]
    count: bool,
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = control::SOCKET)]
    socket: PathBuf,
    /// A line of JSON for each.
    #[arg(long)]
    json: bool,
}

impl Connections {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        runtime()?.block_on(async {
            let wanted = self.wanted().await?;
            let mut out = io::stdout().lock();
            if self.json {
                return client::connections(&self.socket, &wanted, |line| {
                    out.write_all(line)?;
                    Ok(out.write_all(b"\n")?)
                })
                .await;
            }
            if self.count {
                return client::connections(&self.socket, &wanted, |line| {
                    let Count { connections } = serde_json::from_slice(line)?;
                    Ok(writeln!(out, "{connections}")?)
                })
                .await;
            }
            let mut lines = Lines::new(out);
            let each = |line: &[u8]| lines.add(&serde_json::from_slice(line)?);
            client::connections(&self.socket, &wanted, each).await?;
            Ok(lines.write()?)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// What is asked for, in addresses: only the daemon knows names.
    async fn wanted(&self) -> anyhow::Result<Wanted> {
        let mut wanted = Wanted {
            client: self.client,
            protocol: self.protocol.clone(),
            limit: self.limit,
            count: self.count,
            ..Wanted::default()
        };
        let row = match &self.service {
            Some(service) => Some(named::service(&self.socket, service).await?),
            None => None,
        };
        wanted.service = row.as_ref().map(|row| row.service);
        if let Some(server) = &self.server {
            wanted.server = Some(match (row, server.parse()) {
                (None, sockets) => sockets?,
                // One that has left the service may have connections still.
                (Some(_), Ok(sockets)) => sockets,
                (Some(row), Err(_)) => {
                    let address = named::server(&row, server)?.server;
                    // The port is the client's if the server has none of its own.
                    match address.port() {
                        0 => address.ip().to_string().parse()?,
                        _ => address.to_string().parse()?,
                    }
                }
            });
        }
        Ok(wanted)
    }
}

/// Lines as they come, in columns.
struct Lines<W: Write> {
    out: W,
    waiting: Vec<[String; 6]>,
    widths: [usize; 6],
    is_begun: bool,
}

const HEADS: [&str; 6] = [
    "protocol", "expires", "state", "client", "address", "server",
];

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            waiting: Vec::new(),
            widths: HEADS.map(str::len),
            is_begun: false,
        }
    }

    fn add(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let expires = connection.expires;
        let state = match connection.is_template {
            // There is no such state of a flow.
            true => "stays",
            false => &connection.state,
        };
        self.waiting.push([
            connection.protocol.clone(),
            format!("{:02}:{:02}", expires / 60, expires % 60),
            state.to_owned(),
            connection.client.to_string(),
            connection.address.to_string(),
            connection.server.to_string(),
        ]);
        if self.waiting.len() == AT_ONCE {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        for line in &self.waiting {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.len());
            }
        }
        let waiting = std::mem::take(&mut self.waiting);
        if !std::mem::replace(&mut self.is_begun, true) {
            self.write_line(&HEADS)?;
        }
        waiting.iter().try_for_each(|line| self.write_line(line))?;
        self.out.flush()
    }

    fn write_line<T: AsRef<str>>(&mut self, line: &[T; 6]) -> io::Result<()> {
        let padded = line.iter().zip(self.widths);
        let text: Vec<_> = padded
            .map(|(cell, width)| format!("{:width$}", cell.as_ref()))
            .collect();
        writeln!(self.out, "{}", text.join("  ").trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_columns() {
        let connection = |client: &str, state: &str, is_template| Connection {
            protocol: "TCP".to_owned(),
            expires: 899,
            state: state.to_owned(),
            client: client.parse().unwrap(),
            address: ([192, 0, 2, 10], 80).into(),
            server: ([10, 0, 0, 1], 80).into(),
            service: None,
            is_template,
        };
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        lines
            .add(&connection("198.51.100.7:4321", "ESTABLISHED", false))
            .unwrap();
        lines
            .add(&connection("198.51.100.0:0", "NONE", true))
            .unwrap();
        lines.write().unwrap();
        let expected = "\
protocol  expires  state        client             address        server
TCP       14:59    ESTABLISHED  198.51.100.7:4321  192.0.2.10:80  10.0.0.1:80
TCP       14:59    stays        198.51.100.0:0     192.0.2.10:80  10.0.0.1:80
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
