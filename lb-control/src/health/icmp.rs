//! An ICMP echo (RFC 792, RFC 4443) and its answer.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;

use super::{Outcome, Step, probe::datagram, visit::Visit, witness::Happening};

/// An answer with all options of an IPv4 header before it.
const LONGEST: usize = 128;

/// Sends one echo and waits for its answer.
pub(super) async fn echo(visit: &mut Visit<'_>) -> Outcome {
    let server = visit.server;
    let lot = RandomState::new().hash_one(server);
    let request = request(server.is_ipv4(), lot);
    let opening = async { open(server) };
    let socket = visit.step(Step::Connect, opening).await?;
    visit.step(Step::Send, socket.send(&request)).await?;
    (visit.witness)(Happening::Sent(&request));
    loop {
        let came = visit.step(Step::Read, datagram(&socket, LONGEST)).await?;
        if is_answer(&came, server.is_ipv4(), lot) {
            (visit.witness)(Happening::Received(&came));
            return Ok(());
        }
    }
}

/// A ping socket where the kernel lets us have one (net.ipv4.ping_group_range), else a raw one. It reads and
/// writes as one of UDP does, and hears its server only.
fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    let (domain, protocol) = match server {
        SocketAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        SocketAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))
        .map_err(not_allowed)?;
    socket.set_nonblocking(true)?;
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    socket.bind(&SockAddr::from(any))?;
    socket.connect(&SockAddr::from(SocketAddr::new(server.ip(), 0)))?;
    UdpSocket::from_std(socket.into())
}

fn not_allowed(error: io::Error) -> io::Error {
    let code = error.raw_os_error().map(Errno::from_raw);
    match code {
        Some(Errno::EPERM | Errno::EACCES) => io::Error::new(
            io::ErrorKind::Unsupported,
            "sending an echo needs CAP_NET_RAW, or a group of net.ipv4.ping_group_range",
        ),
        _ => error,
    }
}

/// An echo whose payload is a number that nobody else knows. A ping socket replaces the identifier.
fn request(is_v4: bool, lot: u64) -> Vec<u8> {
    let kind = if is_v4 { 8 } else { 128 };
    let mut request = vec![kind, 0, 0, 0, (lot >> 8) as u8, lot as u8, 0, 1];
    request.extend_from_slice(&lot.to_be_bytes());
    // For ICMPv6 the kernel does it.
    if is_v4 {
        let sum = checksum(&request).to_be_bytes();
        if let Some(field) = request.get_mut(2..4) {
            field.copy_from_slice(&sum);
        }
    }
    request
}

/// Whether this is the answer, with the IPv4 header before it (raw socket) or without.
pub(super) fn is_answer(came: &[u8], is_v4: bool, lot: u64) -> bool {
    let header = match came.first() {
        Some(first) if is_v4 && first >> 4 == 4 => usize::from(first & 0xf) * 4,
        Some(_) | None => 0,
    };
    let kind = if is_v4 { 0 } else { 129 };
    let message = came.get(header..).unwrap_or_default();
    message.first() == Some(&kind) && message.get(8..16) == Some(&lot.to_be_bytes())
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter();
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_answer() {
        let lot = 0x0102_0304_0506_0708;
        let request = request(true, lot);
        assert_eq!(
            checksum(&request),
            0,
            "with its checksum it sums up to nothing"
        );
        let mut answer = request.clone();
        answer[0] = 0;
        let mut header = vec![0x46];
        header.resize(24, 0);
        let raw = [header, answer.clone()].concat();
        let mut six = super::request(false, lot);
        six[0] = 129;
        let table: [(&[u8], bool, u64, bool); 7] = [
            (&answer, true, lot, true),
            (&raw, true, lot, true),
            (&six, false, lot, true),
            (&request, true, lot, false),
            (&answer, true, lot + 1, false),
            (&answer[..15], true, lot, false),
            (b"", true, lot, false),
        ];
        for (came, is_v4, lot, is_it) in table {
            assert_eq!(
                is_answer(came, is_v4, lot),
                is_it,
                "{}",
                came.escape_ascii()
            );
        }
    }
}
