//! What is done to frames between the cable and the servers. Bytes in, bytes out.
//!
//! Checksums: out of the cable come such as a network card is to complete (nothing was there that does it), so they
//! are made anew. An answer is given on as it is, unless its checksum was left for a card to complete, as it is where
//! servers are virtual, or where several packets have been put together to one: then the field has the sum of the
//! pseudo header, and is completed. A wrong one stays wrong.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    address::Address6,
    checksum::{Checksum, Sum},
    family::{End, Family, V4, V6},
    flow::FlowKey,
    forward::carry,
    host::HostPacket,
    link::Link,
    maps::{NextHop, Server},
    packet::Packet,
    parse::{self, Parse, Parsed},
    wire::{Be16, Ports, protocol, tcp::flags::RST},
};

use crate::network::enclave::{INSIDE_MAC, OUTSIDE_MAC};

/// What an ICMP error has before what it quotes, in bytes.
const ICMP: usize = 8;

/// Whose a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parcel {
    /// The protocol, as IP has it.
    pub(super) protocol: u8,
    /// Where it comes from.
    pub(super) source: SocketAddr,
    /// Where it goes.
    pub(super) destination: SocketAddr,
    /// Nothing follows: it is a reset.
    pub(super) is_end: bool,
}

/// A frame that was read.
pub(super) struct Read {
    packet: HostPacket,
    link: Link,
    /// Whose it is; of an ICMP error, whose what it quotes is.
    pub(super) parcel: Parcel,
    /// Whether it is such an error.
    pub(super) is_quote: bool,
    /// Where the transport header starts.
    transport: usize,
    /// Where the IP packet ends.
    end: usize,
}

/// Reads a frame; none if no check can have to do with it.
pub(super) fn read(frame: &[u8]) -> Option<Read> {
    let packet = HostPacket::new(frame, 0);
    let link = Link::parse(&packet).ok()?;
    if link.ethertype == V4::ETHERTYPE {
        read_as::<V4>(packet, link)
    } else if link.ethertype == V6::ETHERTYPE {
        read_as::<V6>(packet, link)
    } else {
        None
    }
}

fn read_as<F: Parse>(packet: HostPacket, link: Link) -> Option<Read> {
    let mut key = FlowKey::empty::<F>();
    let parsed = parse::frame::<F, _>(&packet, link, &mut key).ok()?;
    let (parcel, is_quote, transport, end) = match parsed {
        Parsed::Frame(frame) if frame.fragment == 0 => {
            let (transport, end) = (frame.transport, link.length + frame.length);
            let is_end = frame.key.protocol == protocol::TCP && frame.flags & RST != 0;
            let parcel = Parcel {
                protocol: frame.key.protocol,
                source: socket::<F>(frame.key.source, frame.key.source_port),
                destination: socket::<F>(frame.key.destination, frame.key.destination_port),
                is_end,
            };
            (parcel, false, transport, end)
        }
        Parsed::Icmp => {
            let transport = F::transport(&packet, link.length).ok()?;
            let parcel = quoted::<F>(&packet, transport.at + ICMP)?;
            (parcel, true, transport.at, transport.end)
        }
        // A fragment has no ports, or is none of TCP, and answers of UDP that are cut are not waited for.
        Parsed::Frame(_) | Parsed::LaterFragment | Parsed::Other => return None,
    };
    if end > packet.length() {
        return None;
    }
    Some(Read {
        packet,
        link,
        parcel,
        is_quote,
        transport,
        end,
    })
}

/// What an ICMP error quotes, whose header is at `at`.
fn quoted<F: Parse>(packet: &HostPacket, at: usize) -> Option<Parcel> {
    let transport = F::transport(packet, at).ok()?;
    let is_ours = matches!(transport.protocol, protocol::TCP | protocol::UDP);
    if !is_ours || transport.part.offset != 0 {
        return None;
    }
    let ports: Ports = *packet.header(transport.at)?;
    let ip: &F::Header = packet.header(at)?;
    Some(Parcel {
        protocol: transport.protocol,
        source: socket::<F>(F::address(ip, End::Source), ports.source),
        destination: socket::<F>(F::address(ip, End::Destination), ports.destination),
        is_end: false,
    })
}

fn socket<F: Family>(address: F::Address, port: Be16) -> SocketAddr {
    let address: Address6 = F::widen(address);
    SocketAddr::new(IpAddr::from(address), port.get())
}

impl Read {
    /// The frame as it goes to a server; none if it cannot.
    pub(super) fn outward(mut self, server: &Server) -> Option<Vec<u8>> {
        self.packet.truncate(self.end)?;
        if self.link.ethertype == V4::ETHERTYPE {
            self.outward_as::<V4>(server)
        } else {
            self.outward_as::<V6>(server)
        }
    }

    fn outward_as<F: Parse>(mut self, server: &Server) -> Option<Vec<u8>> {
        if !self.is_quote {
            let pseudo = self.pseudo_header::<F>()?;
            let at = self.checksum_at()?;
            *self.packet.header_mut(at)? = Checksum::default();
            self.complete(pseudo, at)?;
        }
        carry::<F, _>(&mut self.packet, &self.link, server, false).ok()?;
        Some(self.packet.bytes().to_vec())
    }

    /// The frame as it goes into the cable; none if it cannot.
    pub(super) fn inward(mut self) -> Option<Vec<u8>> {
        self.packet.truncate(self.end)?;
        if !self.is_quote {
            if self.link.ethertype == V4::ETHERTYPE {
                self.settle::<V4>()?;
            } else {
                self.settle::<V6>()?;
            }
        }
        let hop = NextHop {
            mac: INSIDE_MAC,
            source_mac: OUTSIDE_MAC,
            ..NextHop::NONE
        };
        let ethertype = self.link.ethertype;
        let link = self.link;
        link.replace(&mut self.packet, &hop, ethertype, 0).ok()?;
        Some(self.packet.bytes().to_vec())
    }

    /// Completes the checksum if that was left to be done.
    fn settle<F: Parse>(&mut self) -> Option<()> {
        let pseudo = self.pseudo_header::<F>()?;
        let at = self.checksum_at()?;
        let there: Checksum = *self.packet.header(at)?;
        if there.0.native() == !pseudo.checksum().0.native() {
            *self.packet.header_mut(at)? = Checksum::default();
            // If it should have been right as it was, it is the same again.
            self.complete(pseudo, at)?;
        }
        Some(())
    }

    fn complete(&mut self, pseudo: Sum, at: usize) -> Option<()> {
        let segment = self.packet.bytes().get(self.transport..self.end)?;
        let checksum = pseudo.plus_bytes(segment).checksum();
        *self.packet.header_mut(at)? = match self.parcel.protocol {
            protocol::UDP => checksum.for_udp(),
            _ => checksum,
        };
        Some(())
    }

    fn pseudo_header<F: Parse>(&self) -> Option<Sum> {
        let ip: &F::Header = self.packet.header(self.link.length)?;
        let length = u16::try_from(self.end - self.transport).ok()?;
        Some(
            Sum::default()
                .plus(&F::address(ip, End::Source))
                .plus(&F::address(ip, End::Destination))
                .plus(&[0, self.parcel.protocol])
                .plus(&Be16::new(length)),
        )
    }

    fn checksum_at(&self) -> Option<usize> {
        match self.parcel.protocol {
            protocol::TCP => Some(self.transport + 16),
            protocol::UDP => Some(self.transport + 6),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
