//! The wire of a director: what clients send into it, and where it comes out.
//!
//! Both ends of the wire are in the director's own network namespace, and so one socket sees all.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use lb_common::{
    testing,
    wire::{protocol, tcp::flags},
};
use nix::{
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto,
            setsockopt, socket,
            sockopt::{RcvBufForce, ReceiveTimeout},
        },
        time::{TimeVal, TimeValLike as _},
    },
};

use super::history::{Packet, Protocol, Step, Tuple};

/// The clients' end of the wire, the director's end, and the way to all real servers.
pub(super) const CLIENT: &str = "client";
pub(super) const FRONT: &str = "front";
pub(super) const BACK: &str = "back";
/// The MAC addresses of both ends.
pub(super) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(super) const FRONT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The director's own address, with a port that nobody listens on.
pub(super) const CLOSED: &str = "192.0.2.1:9";
/// Who sends there.
const ASKER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The longest silence, in seconds, after which a question is not answered any more.
const LIMIT: i64 = 20;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It left for a real server.
    Server(SocketAddr),
    /// Its sender was told by ICMP: type and code.
    Refused(u8, u8),
    /// Its sender was told by a reset.
    Reset,
    /// Its sender was told nothing.
    Silence,
}

/// Sends and listens.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    client: LinkAddr,
    back: LinkAddr,
    questions: u16,
}

impl Wire {
    /// Opens the wire; called on the director.
    pub(super) fn open() -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(LIMIT))?;
        setsockopt(&socket, RcvBufForce, &(8 << 20))?;
        Ok(Self {
            socket,
            client: link_address(CLIENT)?,
            back: link_address(BACK)?,
            questions: 0,
        })
    }

    /// Sends packets, one of each connection, and waits until the director has dealt with them all:
    /// what became of them.
    ///
    /// The wire keeps the order. So a datagram for a port where nobody listens is sent last, and the
    /// answer to it says that the others have been looked at.
    pub(super) fn send(&mut self, protocol: Protocol, packets: &[Packet]) -> Result<Vec<Fate>> {
        for packet in packets {
            self.transmit(&frame(protocol, packet))?;
        }
        self.questions += 1;
        let question = Tuple {
            client: (ASKER, self.questions).into(),
            front: CLOSED.parse()?,
        };
        let step = Step::New;
        let tuple = question;
        self.transmit(&frame(Protocol::Udp, &Packet { step, tuple }))?;

        let mut fates = vec![Fate::Silence; packets.len()];
        let mut buffer = vec![0; 1 << 16];
        loop {
            let (length, from) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer)
                .context("the director answers no question any more")?;
            let interface = from.context("a frame of no interface")?.ifindex();
            let Some(seen) = Seen::read(&buffer[..length]) else {
                continue;
            };
            let told = match seen {
                Seen::Error { about, .. } if about == question => return Ok(fates),
                // To a real server; IPVS has put its address in the place of the service's.
                Seen::Packet { from, to } if interface == self.back.ifindex() => {
                    let found = packets
                        .iter()
                        .position(|packet| packet.tuple.client == from);
                    found.map(|index| (index, Fate::Server(to)))
                }
                Seen::Packet { from, to } if interface == self.client.ifindex() => {
                    let about = Tuple {
                        client: to,
                        front: from,
                    };
                    index_of(packets, about).map(|index| (index, Fate::Reset))
                }
                Seen::Error { kind, code, about } if interface == self.client.ifindex() => {
                    index_of(packets, about).map(|index| (index, Fate::Refused(kind, code)))
                }
                Seen::Packet { .. } | Seen::Error { .. } => None,
            };
            if let Some((index, fate)) = told
                && let Some(slot) = fates.get_mut(index)
            {
                *slot = fate;
            }
        }
    }

    fn transmit(&self, frame: &[u8]) -> Result<()> {
        let sent = sendto(
            self.socket.as_raw_fd(),
            frame,
            &self.client,
            MsgFlags::empty(),
        )?;
        ensure!(
            sent == frame.len(),
            "{sent} of {} bytes were sent",
            frame.len()
        );
        Ok(())
    }
}

fn index_of(packets: &[Packet], tuple: Tuple) -> Option<usize> {
    packets.iter().position(|packet| packet.tuple == tuple)
}

fn link_address(interface: &str) -> Result<LinkAddr> {
    getifaddrs()?
        .filter(|address| address.interface_name == interface)
        .find_map(|address| address.address?.as_link_addr().copied())
        .with_context(|| format!("no interface {interface}"))
}

fn frame(protocol: Protocol, packet: &Packet) -> Vec<u8> {
    let Tuple { client, front } = packet.tuple;
    let (client, front) = (client.to_string(), front.to_string());
    let builder = match protocol {
        Protocol::Tcp => testing::tcp(&client, &front).flags(match packet.step {
            Step::New => flags::SYN,
            Step::Again => flags::ACK,
            Step::Fin => flags::FIN | flags::ACK,
            Step::Reset => flags::RST,
        }),
        Protocol::Udp => testing::udp(&client, &front),
    };
    builder.macs((CLIENT_MAC, FRONT_MAC)).build()
}

/// A frame on one of the director's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// TCP or UDP.
    Packet { from: SocketAddr, to: SocketAddr },
    /// An ICMP error about a packet of a client's.
    Error { kind: u8, code: u8, about: Tuple },
}

/// Protocol numbers of ICMP for IPv4 and IPv6.
const ICMP: [u8; 2] = [1, 58];

impl Seen {
    fn read(frame: &[u8]) -> Option<Self> {
        let (number, ends, transport) = network(frame.get(14..)?)?;
        if !ICMP.contains(&number) {
            let (from, to) = ends.with_ports(number, transport)?;
            return Some(Self::Packet { from, to });
        }
        let [kind, code, ..] = *transport.first_chunk::<8>()?;
        let (number, ends, transport) = network(transport.get(8..)?)?;
        let (client, front) = ends.with_ports(number, transport)?;
        Some(Self::Error {
            kind,
            code,
            about: Tuple { client, front },
        })
    }
}

/// Source and destination.
struct Ends(std::net::IpAddr, std::net::IpAddr);

impl Ends {
    fn with_ports(&self, number: u8, transport: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        if number != protocol::TCP && number != protocol::UDP {
            return None;
        }
        let [a, b, c, d] = *transport.first_chunk::<4>()?;
        let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Some(((self.0, from).into(), (self.1, to).into()))
    }
}

/// An IP packet without extension headers: the protocol inside, the ends, what follows the header.
fn network(packet: &[u8]) -> Option<(u8, Ends, &[u8])> {
    match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<20>()?;
            let at = |at: usize| -> Option<Ipv4Addr> {
                Some(Ipv4Addr::from(*header.get(at..)?.first_chunk::<4>()?))
            };
            let rest = packet.get(usize::from(header[0] & 0x0f) * 4..)?;
            Some((header[9], Ends(at(12)?.into(), at(16)?.into()), rest))
        }
        6 => {
            let header = packet.first_chunk::<40>()?;
            let at = |at: usize| -> Option<Ipv6Addr> {
                Some(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?))
            };
            let rest = packet.get(40..)?;
            Some((header[6], Ends(at(8)?.into(), at(24)?.into()), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_again() {
        let table = [
            (Protocol::Udp, "198.18.0.1:1024", "10.0.0.100:80"),
            (Protocol::Tcp, "[2001:db8::1]:1024", "[2001:db8::2]:80"),
        ];
        for (protocol, client, front) in table {
            let (client, front) = (client.parse().unwrap(), front.parse().unwrap());
            let tuple = Tuple { client, front };
            let step = Step::New;
            let seen = Seen::read(&frame(protocol, &Packet { step, tuple }));
            let (from, to) = (client, front);
            assert_eq!(seen, Some(Seen::Packet { from, to }), "{protocol:?}");
        }
    }

    #[test]
    fn an_error_is_about_the_packet_that_it_quotes() {
        let tuple = Tuple {
            client: "198.18.0.1:1024".parse().unwrap(),
            front: "10.0.0.100:80".parse().unwrap(),
        };
        let step = Step::New;
        let quoted = frame(Protocol::Udp, &Packet { step, tuple });
        let mut error = quoted[..34].to_vec();
        error[23] = 1;
        error.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        error.extend(&quoted[14..]);
        let (kind, code, about) = (3, 3, tuple);
        assert_eq!(Seen::read(&error), Some(Seen::Error { kind, code, about }));
    }
}
