//! The frames of a case, as recipes for the driver.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    checksum::Checksum,
    recipe::{Recipe, Target},
    testing::{PacketBuilder, tcp, udp},
    wire::{Be16, tcp::flags},
};
use lb_control::model::Protocol;
use lb_tests::Family;

use crate::{
    case::Case,
    site::{GATEWAY_MAC, PORT, ROUTER_MAC, clients, foreign, real_address, virtual_address},
};

/// What a packet is within its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// The client's first.
    Opening,
    /// The real server's first.
    Welcome,
    /// The client's, later.
    Request,
    /// The real server's, later.
    Reply,
    /// A client's that is none of ours.
    Foreign,
}

/// Between whom packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Of the frame, not of the client: who sends it, and who is to get it.
    pub(crate) macs: ([u8; 6], [u8; 6]),
    /// Client 0. The last 17 bits of the address are zero.
    pub(crate) client: IpAddr,
    /// The other end, in lane 0.
    pub(crate) other: SocketAddr,
}

/// Which numbers packets have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// One after the other from the first on; how many there are is a power of two.
    InOrder { first: u32, count: u32 },
    /// Those below this power of two, by lot.
    ByLot { count: u32 },
}

/// Behind the Ethernet header.
const NETWORK: usize = 14;

impl Packet {
    pub(crate) const fn is_from_server(self) -> bool {
        matches!(self, Self::Welcome | Self::Reply)
    }

    /// How such packets of a case are made, of ordinary length.
    pub(crate) fn recipe(self, case: &Case, numbers: Numbers) -> Recipe {
        self.recipe_of(Recipe::LENGTH, case, &self.ends(case), numbers)
    }

    /// How such packets of a case are made between others, so many bytes long.
    pub(crate) fn recipe_of(
        self,
        length: usize,
        case: &Case,
        ends: &Ends,
        numbers: Numbers,
    ) -> Recipe {
        let family = case.family;
        let (bytes, transport) = self.frame(length, case.protocol, ends);
        let mut frame = [Be16::default(); Recipe::WORDS];
        for (word, pair) in frame.iter_mut().zip(bytes.chunks_exact(2)) {
            *word = Be16::new(u16::from_be_bytes([pair[0], pair[1]]));
        }
        // Where addresses end, in bytes from the start of the IP header.
        let (source, destination, header_checksum) = match family {
            Family::V4 => (16, 20, Some(10)),
            Family::V6 => (24, 40, None),
        };
        let word = |at: usize| (at / 2) as u32;
        let [client, lane, port] = if self.is_from_server() {
            [destination, source, transport + 2]
        } else {
            [source, destination, transport]
        };
        let checksum_at = transport
            + match case.protocol {
                Protocol::Tcp => 16,
                Protocol::Udp | Protocol::Sctp | Protocol::Ah | Protocol::Esp => 6,
            };
        let checksum = |at: usize| {
            frame
                .get(at / 2)
                .copied()
                .map_or_else(Checksum::default, Checksum)
        };
        let (first, count, is_random) = match numbers {
            Numbers::InOrder { first, count } => (first, count, false),
            Numbers::ByLot { count } => (0, count, true),
        };
        Recipe {
            frame,
            length: length as u32,
            client_at: word(NETWORK + client - 4),
            client: low_bits(ends.client),
            port_at: word(port),
            lane_at: word(NETWORK + lane - 4),
            lane: low_bits(ends.other.ip()),
            lanes: case.services,
            header_checksum_at: header_checksum
                .map_or(Recipe::WORDS as u32, |at| word(NETWORK + at)),
            checksum_at: word(checksum_at),
            header_checksum: header_checksum
                .map_or_else(Checksum::default, |at| checksum(NETWORK + at)),
            checksum: checksum(checksum_at),
            first,
            mask: count - 1,
            is_random: u32::from(is_random),
            target: Target::Balancer as u32,
        }
    }

    /// Between whom such packets of a case go: they come to the router that is measured.
    pub(crate) fn ends(self, case: &Case) -> Ends {
        let other = match self {
            Self::Foreign => foreign(case.family),
            Self::Welcome | Self::Reply => real_address(case.family, 0),
            Self::Opening | Self::Request => virtual_address(case.family, 0),
        };
        Ends {
            macs: (GATEWAY_MAC, ROUTER_MAC),
            client: clients(case.family),
            other: SocketAddr::new(other, PORT),
        }
    }

    /// The frame of client 0 in lane 0, and where its transport header is.
    fn frame(self, length: usize, protocol: Protocol, ends: &Ends) -> (Vec<u8>, usize) {
        let client = SocketAddr::new(ends.client, Recipe::FIRST_PORT).to_string();
        let other = ends.other.to_string();
        let (source, destination) = if self.is_from_server() {
            (&other, &client)
        } else {
            (&client, &other)
        };
        let packet = match protocol {
            Protocol::Tcp => tcp(source, destination).flags(match self {
                Self::Opening => flags::SYN,
                Self::Welcome => flags::SYN | flags::ACK,
                Self::Request | Self::Reply | Self::Foreign => flags::ACK,
            }),
            Protocol::Udp | Protocol::Sctp | Protocol::Ah | Protocol::Esp => {
                udp(source, destination)
            }
        };
        let packet = packet.macs(ends.macs);
        let (_, transport) = packet.transport_at();
        (filled_up(packet, protocol, transport, length), transport)
    }
}

/// With a payload of zeros that makes the frame so long; without one if the headers are.
fn filled_up(packet: PacketBuilder, kind: Protocol, transport: usize, length: usize) -> Vec<u8> {
    let header = match kind {
        Protocol::Tcp => 20,
        Protocol::Udp | Protocol::Sctp | Protocol::Ah | Protocol::Esp => 8,
    };
    packet
        .payload(&vec![0; length.saturating_sub(transport + header)])
        .build()
}

/// The last four bytes of an address.
fn low_bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => u128::from(address) as u32,
    }
}

#[cfg(test)]
mod tests {
    use lb_common::wire::protocol;

    use super::*;

    #[test]
    fn frames_have_one_length_and_right_checksums() {
        for case in Case::all() {
            for packet in [
                Packet::Opening,
                Packet::Welcome,
                Packet::Request,
                Packet::Foreign,
            ] {
                for length in [Recipe::LENGTH, 512, 1_500] {
                    let (frame, transport) =
                        packet.frame(length, case.protocol, &packet.ends(&case));
                    assert_eq!(frame.len(), length, "{case} {packet:?}");
                    let kind = frame[if transport == 34 { 23 } else { 20 }];
                    assert!([protocol::TCP, protocol::UDP].contains(&kind), "{case}");
                    lb_common::testing::checksums(&frame).unwrap();
                }
            }
        }
    }
}
