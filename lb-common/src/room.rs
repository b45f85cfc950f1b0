//! Room for what is too large for the 512 bytes of stack that a BPF program has. In the kernel it
//! is a value of a per-CPU map, since no two packets are handled on one CPU at a time.

use crate::{
    address::{Address4, Address6},
    flow::{Flow, FlowKey, plain},
};

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

plain! {
    NewFlow<Address4>: 60;
    NewFlow<Address6>: 96;
    Room<Address4>: 76;
    Room<Address6>: 136;
}
