//! Packets of SCTP: a common header and chunks behind it.

use anyhow::{Context, Result, bail, ensure};
use crc::{CRC_32_ISCSI, Crc};

/// IP protocol number.
pub(super) const SCTP: i32 = 132;

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// Ports, verification tag, checksum.
const HEADER: usize = 12;
const CHECKSUM_AT: usize = 8;
/// Type, flags, length.
const CHUNK_HEADER: usize = 4;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Source port.
    pub(super) source: u16,
    /// Destination port.
    pub(super) destination: u16,
    /// Verification tag: what the receiver has called the association.
    pub(super) tag: u32,
    /// In their order.
    pub(super) chunks: Vec<Chunk>,
}

/// The chunks that a plain conversation needs (RFC 9260 section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// What is said.
    Data {
        /// Its number, counted by the sender from its initial one.
        number: u32,
        /// In one piece.
        text: Vec<u8>,
    },
    /// Opens an association.
    Init(Greeting),
    /// Answers that, with a cookie that is wanted back.
    InitAck(Greeting, Vec<u8>),
    /// All up to this number has come.
    Sack(u32),
    /// Ends the association at once.
    Abort,
    /// The sender has finished, and all up to this number has come.
    Shutdown(u32),
    /// The other end has finished, too.
    ShutdownAck,
    /// The cookie comes back.
    CookieEcho(Vec<u8>),
    /// The association stands.
    CookieAck,
    /// The association is over.
    ShutdownComplete,
}

/// What both ends tell of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    /// What the sender wants to see as the verification tag.
    pub(super) tag: u32,
    /// The number of the sender's first chunk of data.
    pub(super) number: u32,
}

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// A chunk of data that is neither a part of something nor out of order: begins and ends.
const WHOLE: u8 = 0b11;
/// Advertised receiver window, in bytes.
const WINDOW: u32 = 1 << 16;
/// The parameter of INIT ACK that is the cookie.
const STATE_COOKIE: u16 = 7;

impl Packet {
    /// The bytes, with their checksum.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.source.to_be_bytes(), self.destination.to_be_bytes()].concat();
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        for chunk in &self.chunks {
            chunk.write(&mut bytes);
        }
        let sum = CRC32C.checksum(&bytes).to_le_bytes();
        bytes[CHECKSUM_AT..HEADER].copy_from_slice(&sum);
        bytes
    }

    /// Reads a packet; a wrong checksum is an error.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER>().context("too short")?;
        let mut plain = bytes.to_vec();
        plain[CHECKSUM_AT..HEADER].fill(0);
        let sum = CRC32C.checksum(&plain).to_le_bytes();
        ensure!(
            header[CHECKSUM_AT..] == sum,
            "the checksum is {:02x?} instead of {sum:02x?}",
            &header[CHECKSUM_AT..]
        );
        let [s0, s1, d0, d1, t0, t1, t2, t3, ..] = *header;
        let mut chunks = Vec::new();
        while let Some([kind, _, l0, l1]) = rest.first_chunk::<CHUNK_HEADER>().copied() {
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let value = rest.get(CHUNK_HEADER..length).context("a chunk too long")?;
            chunks.push(Chunk::read(kind, value)?);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(Self {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            tag: u32::from_be_bytes([t0, t1, t2, t3]),
            chunks,
        })
    }
}

impl Chunk {
    fn write(&self, bytes: &mut Vec<u8>) {
        let (kind, flags, value) = match self {
            // Stream, number in the stream and protocol are all zero.
            Self::Data { number, text } => (
                DATA,
                WHOLE,
                [&number.to_be_bytes(), &[0; 8][..], text].concat(),
            ),
            Self::Init(greeting) => (INIT, 0, greeting.bytes()),
            Self::InitAck(greeting, cookie) => {
                let length = (CHUNK_HEADER + cookie.len()) as u16;
                let parameter = [STATE_COOKIE.to_be_bytes(), length.to_be_bytes()].concat();
                (
                    INIT_ACK,
                    0,
                    [greeting.bytes(), parameter, cookie.clone()].concat(),
                )
            }
            // Nothing is missing before it, and nothing came twice.
            Self::Sack(number) => {
                let words = [*number, WINDOW, 0];
                (SACK, 0, words.map(u32::to_be_bytes).concat())
            }
            Self::Abort => (ABORT, 0, Vec::new()),
            Self::Shutdown(number) => (SHUTDOWN, 0, number.to_be_bytes().to_vec()),
            Self::ShutdownAck => (SHUTDOWN_ACK, 0, Vec::new()),
            Self::CookieEcho(cookie) => (COOKIE_ECHO, 0, cookie.clone()),
            Self::CookieAck => (COOKIE_ACK, 0, Vec::new()),
            Self::ShutdownComplete => (SHUTDOWN_COMPLETE, 0, Vec::new()),
        };
        let length = (CHUNK_HEADER + value.len()) as u16;
        bytes.extend([kind, flags]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }

    fn read(kind: u8, value: &[u8]) -> Result<Self> {
        Ok(match kind {
            DATA => Self::Data {
                number: word(value, 0)?,
                text: value.get(12..).context("DATA is too short")?.to_vec(),
            },
            INIT => Self::Init(Greeting::read(value)?),
            INIT_ACK => {
                let cookie = value.get(Greeting::LENGTH..).unwrap_or_default();
                let [k0, k1, ..] = *cookie.first_chunk::<CHUNK_HEADER>().context("no cookie")?;
                ensure!(u16::from_be_bytes([k0, k1]) == STATE_COOKIE, "no cookie");
                Self::InitAck(Greeting::read(value)?, cookie[CHUNK_HEADER..].to_vec())
            }
            SACK => Self::Sack(word(value, 0)?),
            ABORT => Self::Abort,
            SHUTDOWN => Self::Shutdown(word(value, 0)?),
            SHUTDOWN_ACK => Self::ShutdownAck,
            COOKIE_ECHO => Self::CookieEcho(value.to_vec()),
            COOKIE_ACK => Self::CookieAck,
            SHUTDOWN_COMPLETE => Self::ShutdownComplete,
            _ => bail!("a chunk of type {kind}"),
        })
    }
}

impl Greeting {
    /// Tag, window, streams out and in, number.
    pub(super) const LENGTH: usize = 16;

    pub(super) fn bytes(self) -> Vec<u8> {
        // One stream each way.
        let words = [self.tag, WINDOW, 0x0001_0001, self.number];
        words.map(u32::to_be_bytes).concat()
    }

    pub(super) fn read(value: &[u8]) -> Result<Self> {
        Ok(Self {
            tag: word(value, 0)?,
            number: word(value, 12)?,
        })
    }
}

fn word(value: &[u8], at: usize) -> Result<u32> {
    let bytes = value.get(at..).and_then(|rest| rest.first_chunk());
    bytes
        .map(|bytes| u32::from_be_bytes(*bytes))
        .context("a chunk too short")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[Chunk]) -> Packet {
        Packet {
            source: 7,
            destination: 4321,
            tag: 0xdead_beef,
            chunks: chunks.to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let greeting = Greeting { tag: 1, number: 2 };
        let data = |text: &[u8]| Chunk::Data {
            number: 3,
            text: text.to_vec(),
        };
        let table = [
            packet(&[]),
            packet(&[Chunk::Init(greeting)]),
            packet(&[Chunk::InitAck(greeting, b"a cookie".to_vec())]),
            packet(&[Chunk::CookieEcho(b"a cookie".to_vec()), data(b"early")]),
            packet(&[Chunk::CookieAck, Chunk::Sack(9), data(b"12345")]),
            packet(&[Chunk::Shutdown(4)]),
            packet(&[Chunk::ShutdownAck]),
            packet(&[Chunk::ShutdownComplete]),
            packet(&[Chunk::Abort]),
        ];
        for packet in table {
            let bytes = packet.bytes();
            assert_eq!(bytes.len() % 4, 0, "{packet:?}");
            assert_eq!(Packet::read(&bytes).unwrap(), packet);
            for at in 0..bytes.len() {
                let mut broken = bytes.clone();
                broken[at] ^= 1;
                assert!(Packet::read(&broken).is_err(), "{packet:?}, byte {at}");
            }
        }
    }

    /// Of RFC 3720 appendix B.4: what 32 bytes of zeros have.
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
    }
}
