//! What IPVS tells below `/proc/net`, in hexadecimal.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result, bail};

use super::history::Tuple;

/// A connection that IPVS remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) server: SocketAddr,
    pub(super) state: String,
}

/// The connections of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    active: u32,
    inactive: u32,
}

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "active {} inactive {}", self.active, self.inactive)
    }
}

/// All connections, templates of persistence included: those have port 0. Where a client uses its port
/// again, IPVS has the old connection beside the new one for a while.
pub(super) fn connections() -> Result<BTreeMap<Tuple, Vec<Connection>>> {
    parse_connections(&read("ip_vs_conn")?)
}

/// The connections of each real server. Only one service is expected to be there.
pub(super) fn counts() -> Result<BTreeMap<SocketAddr, Count>> {
    parse_counts(&read("ip_vs")?)
}

/// Threads may be in other namespaces than their process.
fn read(name: &str) -> Result<String> {
    let path = format!("/proc/thread-self/net/{name}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// Lines `UDP C6120001 0400 0A000064 0050 0A010001 0050 UDP 299`.
fn parse_connections(text: &str) -> Result<BTreeMap<Tuple, Vec<Connection>>> {
    let mut connections: BTreeMap<Tuple, Vec<Connection>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [
            _,
            client,
            client_port,
            front,
            front_port,
            server,
            server_port,
            state,
            ..,
        ] = words[..]
        else {
            bail!("not a connection: {line}");
        };
        let tuple = Tuple {
            client: socket(client, client_port)?,
            front: socket(front, front_port)?,
        };
        connections.entry(tuple).or_default().push(Connection {
            server: socket(server, server_port)?,
            state: state.to_owned(),
        });
    }
    Ok(connections)
}

/// Lines `-> 0A010001:0050 Masq 1 0 2`: forwarding method, weight, active, inactive.
fn parse_counts(text: &str) -> Result<BTreeMap<SocketAddr, Count>> {
    let servers = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-> "))
        // The title has words in the place of numbers.
        .filter(|line| !line.starts_with("Remote"));
    servers
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [server, _, _, active, inactive] = words[..] else {
                bail!("not a server: {line}");
            };
            let (address, port) = server.rsplit_once(':').context("no port")?;
            let (active, inactive) = (active.parse()?, inactive.parse()?);
            Ok((socket(address, port)?, Count { active, inactive }))
        })
        .collect()
}

fn socket(address: &str, port: &str) -> Result<SocketAddr> {
    let port = u16::from_str_radix(port, 16).with_context(|| format!("port {port}"))?;
    let plain = address.trim_start_matches('[').trim_end_matches(']');
    let address = match plain.contains(':') {
        true => IpAddr::V6(plain.parse().with_context(|| format!("address {plain}"))?),
        false => {
            let number = u32::from_str_radix(plain, 16);
            IpAddr::V4(Ipv4Addr::from(
                number.with_context(|| format!("address {plain}"))?,
            ))
        }
    };
    Ok((address, port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read() {
        let text = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
             UDP C6120001 0400 0A000064 0050 0A010001 1F90 UDP             299\n\
             TCP [2001:0db8:000c:0000:0000:0000:0000:0001] 0400 \
             [2001:0db8:0000:0000:0000:0000:0000:0064] 0050 \
             [fd00:0001:0000:0000:0000:0000:0000:0001] 0050 SYN_RECV         59\n";
        let found = parse_connections(text).unwrap();
        let table = [
            ("198.18.0.1:1024", "10.0.0.100:80", "10.1.0.1:8080", "UDP"),
            (
                "[2001:db8:c::1]:1024",
                "[2001:db8::64]:80",
                "[fd00:1::1]:80",
                "SYN_RECV",
            ),
        ];
        assert_eq!(found.len(), table.len());
        for (client, front, server, state) in table {
            let tuple = Tuple {
                client: client.parse().unwrap(),
                front: front.parse().unwrap(),
            };
            let connection = Connection {
                server: server.parse().unwrap(),
                state: state.to_owned(),
            };
            assert_eq!(found.get(&tuple), Some(&vec![connection]), "{client}");
        }
        assert!(parse_connections("title\nUDP C6120001\n").is_err());
    }

    #[test]
    fn counts_are_read() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)\n\
             Prot LocalAddress:Port Scheduler Flags\n  \
               -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
             UDP  0A000064:0050 wlc  \n  \
               -> 0A010002:0050      Masq    1      3          4         \n";
        let found = parse_counts(text).unwrap();
        let count = Count {
            active: 3,
            inactive: 4,
        };
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("10.1.0.2:80".parse().unwrap(), count)]
        );
    }
}
