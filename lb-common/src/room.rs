//! Room for what is too large for the 512 bytes of stack that a BPF program has. In the kernel it
//! is a value of a per-CPU map, since no two packets are handled on one CPU at a time.

use bytemuck::{Pod, Zeroable};

use crate::{
    address::{Address4, Address6},
    flow::{Flow, FlowKey, plain},
    maps::Service,
};

/// Room for the keys and the flow of one packet. It also carries what one stage has found out to the
/// next ([`crate::pipeline`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Room<A> {
    /// The packet's own key.
    pub key: FlowKey<A>,
    /// What a new flow needs.
    pub new: NewFlow<A>,
    /// The service that a new flow is for.
    pub service: Service,
    /// The real server that it gets.
    pub server: u32,
    /// What belongs to a [`crate::verdict::Reason`]: the MTU of a packet that is too big, or the
    /// [`crate::maps::Refusal`] of a service without a server.
    pub detail: u32,
    /// What parsing found out, once a packet goes on to a stage that needs it.
    pub gist: Gist,
}

/// What parsing found out about a packet besides its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Gist {
    /// Where the transport header starts.
    pub transport: u16,
    /// Length of IP header and payload, in bytes.
    pub length: u16,
    /// See [`crate::parse::Frame::flags`].
    pub flags: u8,
    /// See the constants of [`Gist`].
    pub marks: u8,
    /// Zero.
    pub pad: u16,
}

impl Gist {
    /// In [`Gist::marks`]: other fragments of the datagram follow.
    pub const FIRST_FRAGMENT: u8 = 1;
    /// In [`Gist::marks`]: there is an entry of the same key, which has ended.
    pub const STALE: u8 = 2;
    /// In [`Gist::marks`]: the real server was scheduled, and not remembered of the client.
    pub const SCHEDULED: u8 = 4;
    /// In [`Gist::marks`]: nothing is to be remembered of this flow.
    pub const STATELESS: u8 = 8;
    /// In [`Gist::marks`]: it is an ICMP error, which must never be answered.
    pub const ERROR: u8 = 32;

    /// In [`Gist::marks`]: a fragment other than the first. There is no transport header, and the
    /// key has no ports.
    pub const LATER_FRAGMENT: u8 = 16;

    /// Whether this mark is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }
}

/// Room for what a new flow needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct NewFlow<A> {
    /// The flow.
    pub flow: Flow<A>,
    /// The key of the other direction.
    pub other: FlowKey<A>,
    /// The key of a flow that makes room.
    pub victim: FlowKey<A>,
}

plain! {
    NewFlow<Address4>: 80;
    NewFlow<Address6>: 152;
    Room<Address4>: 128;
    Room<Address6>: 224;
}
