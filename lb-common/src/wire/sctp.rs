//! SCTP (RFC 9260), and what IPVS makes of its chunks (`set_sctp_state` in `ip_vs_proto_sctp.c`).

use bytemuck::{Pod, Zeroable};

use super::{Be16, Be32, Ports};
use crate::{crc32c::Crc32c, nibbles::Nibbles};

/// Types of chunks (RFC 9260 §3.2; ECNE and CWR: its appendix B).
pub mod chunk {
    /// Payload.
    pub const DATA: u8 = 0;
    /// Opens an association.
    pub const INIT: u8 = 1;
    /// Answers that, with a cookie.
    pub const INIT_ACK: u8 = 2;
    /// Selective acknowledgement.
    pub const SACK: u8 = 3;
    /// Asks whether the other end is there.
    pub const HEARTBEAT: u8 = 4;
    /// Answers that.
    pub const HEARTBEAT_ACK: u8 = 5;
    /// Ends the association at once.
    pub const ABORT: u8 = 6;
    /// The sender has finished.
    pub const SHUTDOWN: u8 = 7;
    /// The other end has, too.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Something was wrong.
    pub const ERROR: u8 = 9;
    /// Brings the cookie back.
    pub const COOKIE_ECHO: u8 = 10;
    /// The association stands.
    pub const COOKIE_ACK: u8 = 11;
    /// Congestion was seen.
    pub const ECNE: u8 = 12;
    /// The window was reduced.
    pub const CWR: u8 = 13;
    /// The association is over.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// What a packet is for the state of its flow. The numbers are those of IPVS.
pub mod event {
    /// DATA, and all that changes nothing.
    pub const DATA: u8 = 0;
    /// INIT.
    pub const INIT: u8 = 1;
    /// INIT ACK.
    pub const INIT_ACK: u8 = 2;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 3;
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = 4;
    /// SHUTDOWN.
    pub const SHUTDOWN: u8 = 5;
    /// SHUTDOWN ACK.
    pub const SHUTDOWN_ACK: u8 = 6;
    /// SHUTDOWN COMPLETE.
    pub const SHUTDOWN_COMPLETE: u8 = 7;
    /// ERROR.
    pub const ERROR: u8 = 8;
    /// ABORT.
    pub const ABORT: u8 = 9;
}

/// The common header, 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Sctp {
    /// Source and destination port.
    pub ports: Ports,
    /// Verification tag; zero in a packet with INIT.
    pub tag: Be32,
    /// Over this header and all chunks. There is no pseudo header: addresses may change.
    pub checksum: Crc32c,
}

/// The header of a chunk, 4 bytes. The first one is right behind [`Sctp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(2))]
pub struct Chunk {
    /// See [`chunk`].
    pub kind: u8,
    /// Of a meaning that depends on the type.
    pub flags: u8,
    /// Length of this header and the value, in bytes, without padding.
    pub length: Be16,
}

impl Chunk {
    /// How far behind this header the next one is, in bytes: chunks are padded to four of them.
    /// `None` if the length lies.
    #[must_use]
    #[inline(always)]
    pub const fn stride(&self) -> Option<usize> {
        let length = self.length.get() as usize;
        if length < size_of::<Self>() {
            return None;
        }
        Some((length + 3) & !3)
    }
}

/// Whether the chunk behind one of this type counts for [`event`].
#[must_use]
#[inline(always)]
pub const fn may_hide_abort(first: u8) -> bool {
    first == chunk::COOKIE_ECHO || first == chunk::COOKIE_ACK
}

/// The event that a packet is, by the types of its first chunk and of the one behind it.
///
/// The second one is looked at only if the first [may hide an abort](may_hide_abort): other chunks
/// that change a state travel alone, or an ABORT behind them changes nothing that matters.
#[must_use]
#[inline(always)]
pub const fn event(first: u8, second: Option<u8>) -> u8 {
    if may_hide_abort(first)
        && let Some(chunk::ABORT) = second
    {
        return event::ABORT;
    }
    if first > chunk::SHUTDOWN_COMPLETE {
        return event::DATA;
    }
    EVENTS.at(first as u32)
}

/// Whether the packet opens an association.
#[must_use]
#[inline(always)]
pub const fn is_opening(event: u8) -> bool {
    event == event::INIT
}

/// The event of each type of chunk.
const EVENTS: Nibbles = Nibbles::new([
    event::DATA,
    event::INIT,
    event::INIT_ACK,
    event::DATA,
    event::DATA,
    event::DATA,
    event::ABORT,
    event::SHUTDOWN,
    event::SHUTDOWN_ACK,
    event::ERROR,
    event::COOKIE_ECHO,
    event::COOKIE_ACK,
    event::DATA,
    event::DATA,
    event::SHUTDOWN_COMPLETE,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_the_event_that_it_is_for_ipvs() {
        let named = [
            (chunk::INIT, event::INIT),
            (chunk::INIT_ACK, event::INIT_ACK),
            (chunk::COOKIE_ECHO, event::COOKIE_ECHO),
            (chunk::COOKIE_ACK, event::COOKIE_ACK),
            (chunk::SHUTDOWN, event::SHUTDOWN),
            (chunk::SHUTDOWN_ACK, event::SHUTDOWN_ACK),
            (chunk::SHUTDOWN_COMPLETE, event::SHUTDOWN_COMPLETE),
            (chunk::ERROR, event::ERROR),
            (chunk::ABORT, event::ABORT),
        ];
        for kind in 0..=u8::MAX {
            // SACK, heartbeats, ECN and what is not known are data.
            let expected = named
                .iter()
                .find(|(named, _)| *named == kind)
                .map_or(event::DATA, |(_, event)| *event);
            assert_eq!(event(kind, None), expected, "chunk {kind}");
            assert_eq!(event(kind, Some(chunk::DATA)), expected, "chunk {kind}");
            assert_eq!(is_opening(expected), kind == chunk::INIT, "chunk {kind}");
        }
    }

    #[test]
    fn an_abort_counts_behind_a_cookie_only() {
        let table = [
            (chunk::COOKIE_ECHO, event::ABORT),
            (chunk::COOKIE_ACK, event::ABORT),
            (chunk::DATA, event::DATA),
            (chunk::INIT, event::INIT),
            (chunk::ERROR, event::ERROR),
            (chunk::ABORT, event::ABORT),
        ];
        for (first, expected) in table {
            assert_eq!(event(first, Some(chunk::ABORT)), expected, "chunk {first}");
        }
    }

    #[test]
    fn the_next_chunk_is_at_a_multiple_of_four() {
        let table = [
            (0, None),
            (3, None),
            (4, Some(4)),
            (5, Some(8)),
            (8, Some(8)),
            (0xffff, Some(0x1_0000)),
        ];
        for (length, expected) in table {
            let chunk = Chunk {
                kind: chunk::DATA,
                flags: 0,
                length: Be16::new(length),
            };
            assert_eq!(chunk.stride(), expected, "length {length}");
        }
    }
}
