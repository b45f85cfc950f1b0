//! A packet described in words: `tcp 198.51.100.7:4321 192.0.2.10:80 flags S`.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};
use lb_common::wire::{protocol, sctp::chunk, tcp::flags};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a packet that is made up may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A TCP segment.
    #[default]
    Tcp,
    /// A UDP datagram.
    Udp,
    /// The INIT of an SCTP association.
    Sctp,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Sctp => protocol::SCTP,
        }
    }
}

/// Why there is no such packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// One address is of IPv4, the other of IPv6.
    #[error("source and destination are of different families")]
    Families,
    /// Flags of what is not TCP.
    #[error("only TCP has flags")]
    NotTcp,
    /// A letter that is no flag.
    #[error("`{0}` is none of TCP's flags FSRPAU")]
    Letter(char),
}

/// A packet described in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    protocol: u8,
    source: SocketAddr,
    destination: SocketAddr,
    flags: u8,
}

/// The letters of TCP's flags, as tcpdump has them; `.` is ACK there.
const FLAGS: [(char, u8); 7] = [
    ('F', flags::FIN),
    ('S', flags::SYN),
    ('R', flags::RST),
    ('P', 0x08),
    ('A', flags::ACK),
    ('.', flags::ACK),
    ('U', 0x20),
];

/// The time to live of the packet.
const HOPS: u8 = 64;

impl Tuple {
    /// Reads `PROTOCOL SOURCE DESTINATION [flags LETTERS]`; without flags a TCP segment is a SYN.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (kind, source, destination, letters) = match words[..] {
            [kind, source, destination] => (kind, source, destination, None),
            [kind, source, destination, "flags", letters] => {
                (kind, source, destination, Some(letters))
            }
            _ => bail!(
                "`{text}` is no tuple; one is `tcp 198.51.100.7:4321 192.0.2.10:80 flags S`, \
                 the flags being optional"
            ),
        };
        let Some(transport) = Transport::named(kind) else {
            bail!("`{kind}` is none of tcp, udp, sctp");
        };
        let socket = |text: &str| {
            text.parse::<SocketAddr>().with_context(|| {
                format!(
                    "`{text}` is no address with a port, such as 192.0.2.10:80 or [2001:db8::10]:80"
                )
            })
        };
        Ok(Self::new(
            transport,
            socket(source)?,
            socket(destination)?,
            letters,
        )?)
    }

    /// A packet between these; without flags a TCP segment is a SYN.
    ///
    /// # Errors
    /// Why there is no such packet.
    pub fn new(
        transport: Transport,
        source: SocketAddr,
        destination: SocketAddr,
        flags: Option<&str>,
    ) -> Result<Self, Unfit> {
        if flags.is_some() && transport != Transport::Tcp {
            return Err(Unfit::NotTcp);
        }
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(Unfit::Families);
        }
        Ok(Self {
            protocol: transport.number(),
            source,
            destination,
            flags: tcp_flags(flags.unwrap_or("S"))?,
        })
    }

    /// The packet as it comes in by the interface whose MAC address is `mac`. The checksum of SCTP is
    /// left at zero, which nobody looks at on the way.
    #[must_use]
    pub fn frame(&self, mac: [u8; 6]) -> Vec<u8> {
        // Its sender is made up: an address that is administered locally.
        const SENDER: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];
        let transport = self.transport();
        let mut frame = [mac, SENDER].concat();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = vec![0x45, 0];
                header.extend((20 + transport.len() as u16).to_be_bytes());
                header.extend([0, 1, 0x40, 0, HOPS, self.protocol, 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                let checksum = checksum(&[&header]);
                header[10..12].copy_from_slice(&checksum);
                frame.extend([0x08, 0x00]);
                frame.extend(header);
            }
            (source, destination) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((transport.len() as u16).to_be_bytes());
                frame.extend([self.protocol, HOPS]);
                frame.extend(octets(source));
                frame.extend(octets(destination));
            }
        }
        frame.extend(transport);
        // Ethernet's shortest frame.
        frame.resize(frame.len().max(60), 0);
        frame
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = self.source.port().to_be_bytes().to_vec();
        bytes.extend(self.destination.port().to_be_bytes());
        let checksum_at = match self.protocol {
            protocol::TCP => {
                let acknowledgement = u32::from(self.flags & flags::ACK != 0);
                bytes.extend(1_u32.to_be_bytes());
                bytes.extend(acknowledgement.to_be_bytes());
                bytes.extend([0x50, self.flags, 0xfa, 0xf0, 0, 0, 0, 0]);
                16
            }
            protocol::SCTP => {
                // No tag, no checksum; an INIT with a tag, a window, and one stream each way.
                bytes.extend([0; 8]);
                bytes.extend([chunk::INIT, 0, 0, 20]);
                bytes.extend([0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
                return bytes;
            }
            _ => {
                bytes.extend([0, 8, 0, 0]);
                6
            }
        };
        let length = bytes.len() as u16;
        let pseudo_header = [
            octets(self.source.ip()),
            octets(self.destination.ip()),
            vec![0, self.protocol],
            length.to_be_bytes().to_vec(),
        ]
        .concat();
        let checksum = checksum(&[&pseudo_header, &bytes]);
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&checksum);
        bytes
    }
}

fn tcp_flags(letters: &str) -> Result<u8, Unfit> {
    letters.chars().try_fold(0, |all, letter| {
        let found = FLAGS.iter().find(|(name, _)| *name == letter);
        let (_, flag) = found.ok_or(Unfit::Letter(letter))?;
        Ok(all | flag)
    })
}

/// The letters of these flags.
pub(super) fn flag_letters(bits: u8) -> String {
    let is_set = |(name, bit): &&(char, u8)| *name != '.' && bits & bit != 0;
    FLAGS.iter().filter(is_set).map(|(name, _)| *name).collect()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The internet checksum (RFC 1071) of parts of even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::layers::Layers;

    #[test]
    fn words_become_a_packet() {
        let table = [
            (
                "tcp 198.51.100.7:4321 192.0.2.10:80",
                "tcp 198.51.100.7:4321 > 192.0.2.10:80, flags S, TTL 64, 40 bytes",
            ),
            (
                "tcp 198.51.100.7:4321 192.0.2.10:80 flags FA",
                "tcp 198.51.100.7:4321 > 192.0.2.10:80, flags FA, TTL 64, 40 bytes",
            ),
            (
                "udp [2001:db8::7]:53000 [2001:db8::10]:53",
                "udp [2001:db8::7]:53000 > [2001:db8::10]:53, hop limit 64, 48 bytes",
            ),
            (
                "sctp 198.51.100.7:4321 192.0.2.10:80",
                "sctp 198.51.100.7:4321 > 192.0.2.10:80, TTL 64, 52 bytes",
            ),
        ];
        for (text, expected) in table {
            let frame = Tuple::parse(text).unwrap().frame([2, 0, 0, 0, 0, 1]);
            assert_eq!(Layers::of(&frame, None).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn checksums_are_right() {
        let frame = Tuple::parse("tcp 198.51.100.7:4321 192.0.2.10:80")
            .unwrap()
            .frame([0; 6]);
        // A checksum over what has one is zero.
        assert_eq!(checksum(&[&frame[14..34]]), [0, 0]);
        assert_eq!(
            checksum(&[&frame[26..34], &[0, 6, 0, 20], &frame[34..54]]),
            [0, 0]
        );
    }

    #[test]
    fn what_is_no_tuple_is_told() {
        let table = [
            ("tcp 192.0.2.10:80", "is no tuple"),
            ("gre 192.0.2.1:1 192.0.2.10:80", "none of tcp, udp, sctp"),
            ("tcp 192.0.2.1 192.0.2.10:80", "no address with a port"),
            ("tcp 192.0.2.1:1 [::1]:80", "different families"),
            ("udp 192.0.2.1:1 192.0.2.10:80 flags S", "only TCP"),
            (
                "tcp 192.0.2.1:1 192.0.2.10:80 flags X",
                "none of TCP's flags",
            ),
        ];
        for (text, expected) in table {
            let error = Tuple::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
