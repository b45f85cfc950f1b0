//! The texts of `/proc/net/ip_vs` and `/proc/net/ip_vs_stats`, for programs that read those of the kernel: each
//! line as ip_vs_ctl.c writes it, blanks at its end included.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use axum::{
    extract::{Path, State as Shared},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ask::ask,
    routes::{Failure, Problem},
    server::Sources,
    table::{Counts, PersistenceRow, ServerRow, ServiceRow, Table},
};
use crate::{
    event::Event,
    model::{Method, ServiceId},
};

/// One of the files below `/proc/net`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum File {
    /// Services and their servers.
    IpVs,
    /// What all services counted.
    IpVsStats,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IpVs => "ip_vs",
            Self::IpVsStats => "ip_vs_stats",
        })
    }
}

/// The text of a file of IPVS below `/proc/net`, made of our table.
#[utoipa::path(
    get,
    path = super::PROC,
    tag = "metrics",
    params(("file" = File, Path, description = "Its name")),
    responses(
        (status = 200, description = "The text", body = String, content_type = "text/plain"),
        (status = 404, description = "There is no such file", body = Problem),
        (status = 503, description = "The daemon is about to end", body = Problem),
    ),
)]
pub(super) async fn file(
    Shared(sources): Shared<Sources>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let file: File = serde_json::from_value(name.into()).map_err(|_| {
        let text = "there are ip_vs and ip_vs_stats".to_owned();
        Failure(StatusCode::NOT_FOUND, text)
    })?;
    let table = ask(&sources.events, |reply| Event::Table(None, reply)).await?;
    let text = match file {
        File::IpVs => {
            let overall = ask(&sources.events, Event::Overall).await?;
            ip_vs(&table, overall.flows.capacity)
        }
        File::IpVsStats => ip_vs_stats(&table),
    };
    Ok(text.into_response())
}

/// `/proc/net/ip_vs`. `size` is how many connections the table holds, where IPVS tells how many buckets its
/// table has.
fn ip_vs(table: &Table, size: u32) -> String {
    let mut text = format!(
        "IP Virtual Server version 1.2.1 (size={size})\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
           -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
    );
    // Those with a mark are in a table of their own there, which comes second.
    let (addresses, marks): (Vec<_>, Vec<_>) = table
        .services
        .iter()
        .partition(|row| row.service.address().is_some());
    for service in addresses.into_iter().chain(marks) {
        // Writing to a string does not fail.
        let _ = service_line(&mut text, service);
        for server in service.servers.iter().filter(|server| server.present) {
            let _ = server_line(&mut text, server);
        }
    }
    text
}

fn service_line(text: &mut String, row: &ServiceRow) -> fmt::Result {
    let scheduler = row.scheduler;
    let ops = if row.one_packet { "ops " } else { "" };
    match row.service {
        ServiceId::Address(key) => {
            let socket = Hex(SocketAddr::new(key.address, key.port));
            write!(text, "{}  {socket} {scheduler} ", key.protocol)?;
            match key.address {
                IpAddr::V4(_) => write!(text, "{ops} ")?,
                // There it is not told.
                IpAddr::V6(_) => {}
            }
        }
        ServiceId::Mark { mark, .. } => write!(text, "FWM  {mark:08X} {scheduler} {ops}")?,
    }
    if let Some(PersistenceRow { timeout, mask, .. }) = &row.persistence {
        let ticks = u64::from(*timeout) * TICKS;
        write!(text, "persistent {ticks} {:08X}", netmask(*mask))?;
    }
    text.push('\n');
    Ok(())
}

fn server_line(text: &mut String, row: &ServerRow) -> fmt::Result {
    let ServerRow {
        server,
        weight,
        active,
        inactive,
        ..
    } = row;
    let forward = match (row.local, row.forwarding.method()) {
        (true, _) => "Local",
        (false, Method::Nat) => "Masq",
        (false, Method::Direct) => "Route",
        (false, Method::Tunnel) => "Tunnel",
    };
    let socket = Hex(*server);
    writeln!(
        text,
        "  -> {socket}      {forward:<7} {weight:<6} {active:<10} {inactive:<10}"
    )
}

/// Times in `/proc/net/ip_vs` are in ticks of the kernel, 250 in a second on Debian.
const TICKS: u64 = 250;

/// A mask as the kernel prints it: of IPv6 it holds the length of the prefix, of which it turns the bytes round
/// all the same.
fn netmask(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => mask.to_bits(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones().to_be(),
    }
}

/// An address and a port as IPVS writes them.
struct Hex(SocketAddr);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.port();
        match self.0.ip() {
            IpAddr::V4(address) => write!(f, "{:08X}:{port:04X}", address.to_bits()),
            IpAddr::V6(address) => write!(f, "[{}]:{port:04X}", Whole(address)),
        }
    }
}

/// An address of IPv6 with all its digits.
struct Whole(Ipv6Addr);

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.0.segments().iter().enumerate() {
            let separator = if place == 0 { "" } else { ":" };
            write!(f, "{separator}{word:04x}")?;
        }
        Ok(())
    }
}

/// `/proc/net/ip_vs_stats`.
fn ip_vs_stats(table: &Table) -> String {
    let sum = |what: fn(&ServiceRow) -> &Counts| {
        let counts = table.services.iter().map(what);
        counts.fold(Counts::default(), |sum, one| sum.and(one))
    };
    format!(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
           Conns  Packets  Packets            Bytes            Bytes\n\
         {}\n\n \
         Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n\
         {}\n",
        Numbers(sum(|row| &row.counts)),
        Numbers(sum(|row| &row.rates)),
    )
}

/// A line of `/proc/net/ip_vs_stats`.
struct Numbers(Counts);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = self.0;
        write!(
            f,
            "{connections:8X} {packets_in:8X} {packets_out:8X} {bytes_in:16X} {bytes_out:16X}"
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two servers by IPv4, one by IPv6, a group.
    fn table() -> Table {
        let counts = |connections: u64, bytes: u64| {
            json!({
                "connections": connections, "packets_in": 0x1234, "packets_out": 16,
                "bytes_in": bytes, "bytes_out": 0
            })
        };
        let server = |server: &str, method: &str, more: (bool, bool, u16)| {
            let (present, local, weight) = more;
            let forwarding = match method {
                "tunnel" => json!({"method": "tunnel", "tunnel": "ipip"}),
                method => json!({"method": method}),
            };
            json!({
                "server": server, "name": server, "origin": "file", "present": present,
                "forwarding": forwarding, "local": local, "weight": weight,
                "configured_weight": weight, "upper": 0, "lower": 0, "active": 248,
                "inactive": 2, "persistent": 0, "counts": counts(1, 2), "rates": counts(0, 0)
            })
        };
        let service = |service: &str, one_packet: bool, persistence, servers| {
            json!({
                "service": service, "name": "web", "origin": "file", "matches": [],
                "scheduler": "wlc", "flags": {"fallback": false, "port": false, "compat": false},
                "one_packet": one_packet, "persistence": persistence,
                "forwarding": {"method": "nat"}, "counts": counts(23, 0xE5_1F2A), "rates": counts(1, 200),
                "servers": servers
            })
        };
        let stays = |mask: &str| json!({"timeout": 360, "mask": mask});
        let services = [
            service(
                "FWM 268505361",
                false,
                json!(null),
                json!([server("192.168.0.80:0", "direct", (true, false, 1)),]),
            ),
            service(
                "FWM 7 IPv6",
                true,
                stays("ffff:ffff:ffff:ffff::"),
                json!([]),
            ),
            service(
                "TCP 192.168.0.22:3306",
                false,
                json!(null),
                json!([
                    server("192.168.82.22:3306", "tunnel", (true, false, 100)),
                    server("192.168.83.24:3306", "tunnel", (false, false, 100)),
                    server("192.168.50.26:80", "nat", (true, true, 0)),
                ]),
            ),
            service(
                "UDP 192.168.0.22:53",
                true,
                stays("255.255.255.0"),
                json!([]),
            ),
            service(
                "TCP [2620::1]:80",
                false,
                stays("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                json!([server("[2620::2]:8080", "direct", (true, false, 65_535)),]),
            ),
        ];
        let timeouts = json!({"tcp": 900, "tcp_fin": 120, "udp": 300});
        serde_json::from_value(json!({"timeouts": timeouts, "services": services})).unwrap()
    }

    /// By the format strings of Linux's ip_vs_ctl.c.
    #[test]
    fn services_are_written_as_by_the_kernel() {
        let expected = [
            "IP Virtual Server version 1.2.1 (size=262144)",
            "Prot LocalAddress:Port Scheduler Flags",
            "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
            "TCP  C0A80016:0CEA wlc  ",
            "  -> C0A85216:0CEA      Tunnel  100    248        2         ",
            "  -> C0A8321A:0050      Local   0      248        2         ",
            "UDP  C0A80016:0035 wlc ops  persistent 90000 FFFFFF00",
            "TCP  [2620:0000:0000:0000:0000:0000:0000:0001]:0050 wlc persistent 90000 80000000",
            "  -> [2620:0000:0000:0000:0000:0000:0000:0002]:1F90      Route   65535  248        2         ",
            "FWM  10011111 wlc ",
            "  -> C0A80050:0000      Route   1      248        2         ",
            "FWM  00000007 wlc ops persistent 90000 40000000",
            "",
        ];
        assert_eq!(ip_vs(&table(), 262_144), expected.join("\n"));
    }

    #[test]
    fn sums_are_written_as_by_the_kernel() {
        let expected = [
            "   Total Incoming Outgoing         Incoming         Outgoing",
            "   Conns  Packets  Packets            Bytes            Bytes",
            "      73     5B04       50          4799BD2                0",
            "",
            " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s",
            "       5     5B04       50              3E8                0",
            "",
        ];
        assert_eq!(ip_vs_stats(&table()), expected.join("\n"));
    }

    /// The rules by which node_exporter's library reads them.
    #[test]
    fn node_exporter_can_read_them() {
        let read = |text: &str| -> Vec<[String; 7]> {
            let (mut found, mut service) = (Vec::new(), (String::new(), String::new()));
            for line in text.lines() {
                let fields: Vec<_> = line.split_ascii_whitespace().collect();
                match fields[..] {
                    ["IP" | "Prot", ..] | [_, "RemoteAddress:Port", ..] => {}
                    [protocol @ ("TCP" | "UDP"), socket, ..] => {
                        service = (protocol.to_owned(), address(socket));
                    }
                    ["FWM", mark, ..] => service = ("FWM".to_owned(), mark.to_owned()),
                    ["->", socket, _, weight, active, inactive] => {
                        let (protocol, local) = service.clone();
                        let number = |text: &str| text.parse::<u64>().unwrap().to_string();
                        found.push([
                            protocol,
                            local,
                            address(socket),
                            number(weight),
                            number(active),
                            number(inactive),
                            line.to_owned(),
                        ]);
                    }
                    _ => panic!("{line}"),
                }
            }
            found
        };
        let found: Vec<_> = read(&ip_vs(&table(), 4_096))
            .into_iter()
            .map(|[protocol, local, remote, weight, ..]| {
                format!("{protocol} {local} {remote} {weight}")
            })
            .collect();
        let expected = [
            "TCP 192.168.0.22:3306 192.168.82.22:3306 100",
            "TCP 192.168.0.22:3306 192.168.50.26:80 0",
            "TCP [2620::1]:80 [2620::2]:8080 65535",
            "FWM 10011111 192.168.0.80:0 1",
        ];
        assert_eq!(found, expected);

        let stats = ip_vs_stats(&table());
        let lines: Vec<_> = stats.splitn(4, '\n').collect();
        let numbers: Vec<_> = lines[2]
            .split_ascii_whitespace()
            .map(|field| u64::from_str_radix(field, 16).unwrap())
            .collect();
        assert_eq!(
            (lines.len(), &numbers[..]),
            (4, &[115, 0x5B04, 80, 0x479_9BD2, 0][..])
        );
    }

    /// `XXXXXXXX:PPPP`, or 46 characters with the address in brackets.
    fn address(text: &str) -> String {
        let (address, port) = text.rsplit_once(':').unwrap();
        let address: IpAddr = match text.len() {
            13 => std::net::Ipv4Addr::from_bits(u32::from_str_radix(address, 16).unwrap()).into(),
            46 => address[1..40].parse().unwrap(),
            _ => panic!("{text}"),
        };
        SocketAddr::new(address, u16::from_str_radix(port, 16).unwrap()).to_string()
    }
}
