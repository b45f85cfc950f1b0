//! Room for what is too large for the 512 bytes of stack that a BPF program has. In the kernel it
//! is a value of a per-CPU map, since no two packets are handled on one CPU at a time.

use bytemuck::{Pod, Zeroable};

use crate::address::{Address4, Address6};
use crate::flow::{Flow, FlowKey};

/// Room for the keys and the flow of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Room<A> {
    /// The packet's own key.
    pub key: FlowKey<A>,
    /// What a new flow needs.
    pub new: NewFlow<A>,
}

/// Room for what a new flow needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct NewFlow<A> {
    /// The flow.
    pub flow: Flow<A>,
    /// The key of the other direction.
    pub other: FlowKey<A>,
}

macro_rules! plain {
    ($($type:ty: $size:literal;)+) => {
        $(
            // SAFETY: all fields are plain bytes and integers, any content is valid, and the
            // assertion below shows that there is no padding between or behind them.
            unsafe impl Zeroable for $type {}
            // SAFETY: as above.
            unsafe impl Pod for $type {}
            const _: () = assert!(size_of::<$type>() == $size);
        )+
    };
}

plain! {
    NewFlow<Address4>: 60;
    NewFlow<Address6>: 96;
    Room<Address4>: 76;
    Room<Address6>: 136;
}
