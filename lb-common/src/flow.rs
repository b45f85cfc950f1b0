//! One flow: a client's socket that talks to a virtual service, and the real server that it got.

use crate::{
    address::{Address4, Address6},
    family::Family,
    maps::{NextHop, Server},
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
    /// TCP, UDP or SCTP; zero for a persistence template.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// Zero.
    pub more_pad: u16,
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
            pad: 0,
            more_pad: 0,
        }
    }
}

impl<A: Copy> FlowKey<A> {
    /// A key that nothing has: room for another.
    #[must_use]
    #[inline(always)]
    pub fn empty<F: Family<Address = A>>() -> Self {
        let nowhere = F::narrow(&Address6::default());
        Self::new(nowhere, nowhere, Be16::new(0), Be16::new(0), 0)
    }

    /// The key of the packets that go the other way.
    #[must_use]
    #[inline(always)]
    pub const fn reversed(&self) -> Self {
        Self::new(
            self.destination,
            self.source,
            self.destination_port,
            self.source_port,
            self.protocol,
        )
    }
}

impl<A: Copy> Flow<A> {
    /// The key of the client's packets, by their way back.
    #[must_use]
    #[inline(always)]
    pub const fn request_key(&self, protocol: u8) -> FlowKey<A> {
        FlowKey::new(
            self.client_address,
            self.virtual_address,
            self.client_port,
            self.virtual_port,
            protocol,
        )
    }
}

/// The key of `server`'s replies to the packets of `request`, whose source it sees as `client`.
#[must_use]
#[inline(always)]
pub fn reply_key<F: Family>(
    server: &Server,
    request: &FlowKey<F::Address>,
    client: F::Address,
    client_port: Be16,
) -> FlowKey<F::Address> {
    FlowKey::new(
        F::narrow(&server.address),
        client,
        server.port_for(request.destination_port),
        client_port,
        request.protocol,
    )
}

/// What is remembered of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Flow<A> {
    /// What was seen of it last; also what kind of entry this is. Changed by compare-and-exchange
    /// only, since every change is counted at the real server.
    pub state: State,
    /// When its last packet came, in [`crate::state::ticks`]. Of a reply: when its flow and its way
    /// were looked at.
    pub seen: u32,
    /// How long it is remembered after that, in the same unit. Of a reply: how long both are taken for
    /// granted.
    pub timeout: u32,
    /// The real server's id.
    pub server: u32,
    /// Of a reply: the way to the client when it was looked at. Before that it is the way that the
    /// client's first packet came, taken back when the kernel knows the route to the client but not
    /// its neighbour.
    pub way_back: NextHop,
    /// The port that the client knows.
    pub virtual_port: Be16,
    /// Of a reply: the client's port. Of a request: the source port that the server sees.
    pub client_port: Be16,
    /// The address that the client knows.
    pub virtual_address: A,
    /// Of a reply: the client's address. Of a request: the source address that the server sees.
    pub client_address: A,
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

impl<A> Flow<A> {
    /// Of a way back: whether flow and way need not be looked at.
    #[must_use]
    #[inline(always)]
    pub const fn is_granted(&self, now: u32) -> bool {
        now.wrapping_sub(self.seen) < self.timeout
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
    Flow<Address4>: 48;
    Flow<Address6>: 72;
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
            client_port: Be16::new(4321),
            virtual_address: Address4([0; 4]),
            client_address: Address4([0; 4]),
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
