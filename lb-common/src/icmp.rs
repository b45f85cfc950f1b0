//! ICMP and ICMPv6.

use crate::{
    link::Link,
    packet::Packet,
    parse::Parse,
    pipeline::Next,
    room::Room,
    tables::{FlowTable, Tables},
    verdict::{Reason, Verdict},
};

/// What becomes of a message of ICMP.
///
/// # Errors
/// Why it is not steered.
#[inline(always)]
pub fn steer<F: Parse, P: Packet, T: Tables + FlowTable<F>>(
    _packet: &mut P,
    _tables: &T,
    _room: &mut Room<F::Address>,
    _link: Link,
) -> Result<Next, Reason> {
    Ok(Next::Done(Verdict::Pass))
}
