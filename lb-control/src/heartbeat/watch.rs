//! Whether this node has its own network: its links, and a gateway that answers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::UdpSocket,
    sync::mpsc::Sender,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use super::runner::now;
use crate::network::links::Links;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A link is down, or none is.
    Link(Option<String>),
    /// The gateway has answered then: a time since boot.
    Answered(Duration),
    /// The gateway does not answer.
    Lost(String),
}

/// The fastest that links and the gateway are looked at.
const SHORTEST: Duration = Duration::from_millis(100);

/// The interfaces that hold these addresses.
#[must_use]
pub fn interfaces_of(addresses: &[IpAddr]) -> Vec<String> {
    let mut names: Vec<_> = own_addresses()
        .into_iter()
        .filter(|(_, address)| addresses.contains(address))
        .map(|(name, _)| name.split(':').next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// All addresses of this node, with their interfaces.
#[must_use]
pub fn own_addresses() -> Vec<(String, IpAddr)> {
    let all = getifaddrs().into_iter().flatten();
    let own = all.filter_map(|one| {
        let address = one.address?;
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
        let v6 = || address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip()));
        Some((one.interface_name, v4.or_else(v6)?))
    });
    own.collect()
}

/// Looks at links, and tells when one goes down and when all are up.
pub async fn links(names: Vec<String>, pace: Duration, seen: Sender<Seen>) {
    let mut turns = interval(pace.max(SHORTEST));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        turns.tick().await;
        let Ok(links) = Links::read().await else {
            continue;
        };
        let is_up = |name: &&String| links.named(name).is_ok_and(|link| link.up && link.carrier);
        let down = names.iter().find(|name| !is_up(name)).cloned();
        if told.as_ref() != Some(&down) {
            told = Some(down.clone());
            if seen.send(Seen::Link(down)).await.is_err() {
                return;
            }
        }
    }
}

/// Pings the gateway, and tells of each answer, and once when there was none for so long.
pub async fn gateway(address: IpAddr, pace: Duration, patience: Duration, seen: Sender<Seen>) {
    let pace = pace.max(SHORTEST);
    let patience = patience.max(pace * 3);
    let mut turns = interval(pace);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut socket = None;
    let mut answered = Instant::now();
    let mut is_lost = false;
    let mut number = 0_u16;
    loop {
        let turn = turns.tick().await;
        number = number.wrapping_add(1);
        if socket.is_none() {
            socket = pinger(address).ok();
        }
        if let Some(pinger) = &socket {
            if pinger
                .send_to(&echo(address, number), SocketAddr::new(address, 0))
                .await
                .is_err()
            {
                // Its interface may have been away.
                socket = None;
            } else if timeout_at(turn + pace, answer(pinger, address))
                .await
                .is_ok()
            {
                answered = Instant::now();
                is_lost = false;
                if seen.send(Seen::Answered(now())).await.is_err() {
                    return;
                }
                continue;
            }
        }
        if is_lost || answered.elapsed() < patience {
            continue;
        }
        is_lost = true;
        if seen.send(Seen::Lost(address.to_string())).await.is_err() {
            return;
        }
    }
}

/// A raw socket that hears of ICMP from this address. It is no UDP, but is sent to and received from in the same way.
fn pinger(address: IpAddr) -> std::io::Result<UdpSocket> {
    let (domain, protocol, any) = match address {
        IpAddr::V4(_) => (
            Domain::IPV4,
            Protocol::ICMPV4,
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ),
        IpAddr::V6(_) => (
            Domain::IPV6,
            Protocol::ICMPV6,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(any, 0).into())?;
    UdpSocket::from_std(socket.into())
}

/// The identifier of our pings: others' answers are heard too.
const IDENTIFIER: [u8; 2] = *b"LB";

/// An echo request. The kernel puts the checksum of ICMPv6 in.
fn echo(address: IpAddr, number: u16) -> [u8; 16] {
    let mut packet = [0; 16];
    let head = match address {
        IpAddr::V4(_) => 8,
        IpAddr::V6(_) => 128,
    };
    let [high, low] = number.to_be_bytes();
    let [first, second] = IDENTIFIER;
    let content = [head, 0, 0, 0, first, second, high, low];
    for (byte, value) in packet.iter_mut().zip(content.iter().chain(b"lvs-xdp.")) {
        *byte = *value;
    }
    if address.is_ipv4() {
        let words = packet.chunks_exact(2).map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        });
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let [high, low] = (!(sum as u16)).to_be_bytes();
        (packet[2], packet[3]) = (high, low);
    }
    packet
}

/// Waits for an answer to one of our pings.
async fn answer(pinger: &UdpSocket, address: IpAddr) {
    let mut buffer = [0; 256];
    loop {
        let Ok((length, from)) = pinger.recv_from(&mut buffer).await else {
            // What an earlier ping came to; the next turn asks again.
            std::future::pending::<()>().await;
            return;
        };
        let packet = buffer.get(..length).unwrap_or_default();
        if from.ip().to_canonical() == address && is_answer(address, packet) {
            return;
        }
    }
}

/// Whether this is an answer to one of our pings. A raw socket of IPv4 gives the IP header too.
fn is_answer(address: IpAddr, packet: &[u8]) -> bool {
    let (start, kind) = match address {
        IpAddr::V4(_) => (
            packet
                .first()
                .map_or(0, |first| usize::from(first & 15) * 4),
            0,
        ),
        IpAddr::V6(_) => (0, 129),
    };
    // No header is shorter.
    if address.is_ipv4() && start < 20 {
        return false;
    }
    let icmp = packet.get(start..).unwrap_or_default();
    icmp.first() == Some(&kind) && icmp.get(4..6) == Some(&IDENTIFIER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_told_from_others() {
        let (four, six) = (
            IpAddr::from([192, 0, 2, 1]),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        );
        let mut request = echo(four, 7);
        let words = request
            .chunks(2)
            .map(|it| u32::from(u16::from_be_bytes([it[0], it[1]])));
        let sum: u32 = words.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        request[0] = 0;
        let packet = [&[0x45; 1][..], &[0; 19], &request].concat();
        assert!(is_answer(four, &packet));
        assert!(!is_answer(four, &request));
        let mut reply = echo(six, 7);
        assert!(!is_answer(six, &reply));
        reply[0] = 129;
        assert!(is_answer(six, &reply));
        reply[4] = b'X';
        assert!(!is_answer(six, &reply));
    }
}
