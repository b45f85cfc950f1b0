//! One flow: a client's socket that talks to a virtual service, and the real server that it got.

use crate::{
    address::{Address4, Address6},
    maps::NextHop,
    state::State,
    wire::Be16,
};

/// The addresses and ports of a packet as they stand in it. A masqueraded flow is in the table
/// twice: by the packets of the client, and, as [`State::REPLY`], by those of the real server. So
/// one lookup finds out whether a packet is ours and which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FlowKey<A> {
    /// Where the packet comes from.
    pub source: A,
    /// Where it is going.
    pub destination: A,
    /// Its source port.
    pub source_port: Be16,
    /// Its destination port.
    pub destination_port: Be16,
    /// TCP or UDP.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

impl<A> FlowKey<A> {
    /// The key of a packet.
    #[must_use]
    #[inline(always)]
    pub const fn new(
        source: A,
        destination: A,
        source_port: Be16,
        destination_port: Be16,
        protocol: u8,
    ) -> Self {
        Self {
            source,
            destination,
            source_port,
            destination_port,
            protocol,
            pad: [0; 3],
        }
    }
}

impl<A: Copy> FlowKey<A> {
    /// The key of the replies to this client's packets, if they come from `server`.
    #[must_use]
    #[inline(always)]
    pub const fn reply_from(&self, server: A, port: Be16) -> Self {
        Self::new(server, self.source, port, self.source_port, self.protocol)
    }

    /// The key of the client's packets to `virtual_address`, if this is a reply to them.
    #[must_use]
    #[inline(always)]
    pub const fn request_to(&self, virtual_address: A, port: Be16) -> Self {
        Self::new(
            self.destination,
            virtual_address,
            self.destination_port,
            port,
            self.protocol,
        )
    }
}

/// What is remembered of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Flow<A> {
    /// What was seen of it last; also what kind of entry this is. Changed by compare-and-exchange
    /// only, since every change is counted at the real server.
    pub state: State,
    /// When its last packet came, in [`crate::state::ticks`].
    pub seen: u32,
    /// How long it is remembered after that, in the same unit.
    pub timeout: u32,
    /// The real server's id.
    pub server: u32,
    /// Of a reply: the way that the client's first packet came, taken back when the kernel knows
    /// the route to the client but not its neighbour.
    pub way_back: NextHop,
    /// The port that the client knows.
    pub virtual_port: Be16,
    /// Zero.
    pub pad: [u8; 2],
    /// The address that the client knows.
    pub virtual_address: A,
}

impl<A> Flow<A> {
    /// Whether it was silent for as long as it is remembered. One with timeout zero has ended.
    #[must_use]
    #[inline(always)]
    pub const fn is_expired(&self, now: u32) -> bool {
        let silence = now.wrapping_sub(self.seen);
        // Another CPU may have stamped it a moment after this one read its clock: that is a
        // silence of "almost 2^32 ticks", and no expiry.
        silence >= self.timeout && silence < u32::MAX / 2
    }
}

/// Promises that types of these sizes are plain bytes. (bytemuck derives that for types without
/// parameters only.)
macro_rules! plain {
    ($($type:ty: $size:literal;)+) => {
        $(
            // SAFETY: all fields are plain bytes and integers, any content is valid, and the
            // assertion below shows that there is no padding between or behind them.
            unsafe impl bytemuck::Zeroable for $type {}
            // SAFETY: as above.
            unsafe impl bytemuck::Pod for $type {}
            const _: () = assert!(size_of::<$type>() == $size);
        )+
    };
}

pub(crate) use plain;

plain! {
    FlowKey<Address4>: 16;
    FlowKey<Address6>: 40;
    Flow<Address4>: 44;
    Flow<Address6>: 56;
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    #[test]
    fn a_flow_expires_after_its_timeout_and_not_by_a_clock_that_lags() {
        let flow = |seen| Flow {
            state: State::UDP,
            seen,
            timeout: 10,
            server: 1,
            way_back: NextHop::zeroed(),
            virtual_port: Be16::new(80),
            pad: [0; 2],
            virtual_address: Address4([0; 4]),
        };
        let table = [
            (100, 100, false),
            (100, 109, false),
            (100, 110, true),
            (100, 99, false),
            (u32::MAX - 3, 5, false),
            (u32::MAX - 3, 6, true),
        ];
        for (seen, now, expired) in table {
            assert_eq!(
                flow(seen).is_expired(now),
                expired,
                "seen {seen}, now {now}"
            );
        }
    }
}
