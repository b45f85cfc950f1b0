//! The data plane of lvs-xdp: everything that happens to a packet, as code that runs in the kernel
//! and in ordinary tests alike.
//!
//! [`pipeline`] is the way of a packet and the page to read first. It asks the packet
//! ([`packet::Packet`]) and the maps ([`tables::Tables`]) through traits; `lb-ebpf` implements them
//! on packet pointers and BPF maps, `testing` on a `Vec` and collections.
//!
//! What is *not* here: no allocation, no logging, no clock, no loop without a constant bound, no
//! panic, no recursion, no `unsafe` but the promise that map keys and values are plain bytes.
//! Only [`family`], [`wire`], [`parse`] and the choice of a tunnel in [`forward`] name an address
//! family; everything else is written once for both.
#![cfg_attr(not(any(test, feature = "testing", feature = "user")), no_std)]

pub mod address;
pub mod admit;
pub mod age;
pub mod answer;
pub mod checksum;
pub mod count;
pub mod crc32c;
pub mod family;
pub mod flow;
pub mod forward;
pub mod fragment;
pub mod hash;
#[cfg(any(test, feature = "testing", feature = "user"))]
pub mod host;
pub mod icmp;
pub mod learn;
pub mod lease;
pub mod link;
pub mod lookup;
pub mod maps;
pub mod nibbles;
pub mod packet;
pub mod parse;
pub mod persistence;
pub mod pipeline;
#[cfg(any(test, feature = "bench"))]
pub mod recipe;
pub mod record;
pub mod room;
pub mod schedule;
pub mod sieve;
pub mod state;
pub mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod verdict;
pub mod wire;
