//! The way of a packet, on one page: parse, look up, forward.

use crate::{
    forward,
    link::Link,
    lookup::{self, Match},
    packet::Packet,
    parse::{self, Parse},
    room::Room,
    tables::{FlowTable, Tables},
    verdict::{Reason, Verdict},
};

/// What becomes of a packet of family `F`, whose link header was read. Where the fate of an error
/// is to pass, the packet is unchanged.
///
/// # Errors
/// Why the packet is not steered; [`Reason::fate`] says what is done with it.
#[inline(always)]
pub fn process<F: Parse, P: Packet, T: Tables + FlowTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Verdict, Reason> {
    let Room { key, new } = room;
    let Some(frame) = parse::frame::<F, P>(packet, link, key)? else {
        return Ok(Verdict::Pass);
    };
    match lookup::flow(packet, tables, &frame, new)? {
        Match::Request { server } => forward::to_server(packet, tables, &frame, server),
        Match::Reply { entry } => forward::to_client(packet, tables, &frame, &entry),
        Match::NotOurs => Ok(Verdict::Pass),
    }
}
