//! Fragments: where the first one of a datagram went, the others go. Only the first has ports, so what
//! was found out with them is remembered by what all fragments have: addresses, protocol and
//! identification.

use crate::{
    family::End,
    flow::{Flow, plain},
    link::Link,
    lookup::Match,
    packet::Packet,
    parse::{Frame, Parse},
    pipeline::Next,
    room::NewFlow,
    state::State,
    tables::{FlowEntry, FragmentTable, Tables},
    verdict::Reason,
};

use crate::address::{Address4, Address6};

/// What the fragments of a datagram have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FragmentKey<A> {
    /// Where it comes from.
    pub source: A,
    /// Where it is going.
    pub destination: A,
    /// Its number.
    pub identification: u32,
    /// Its protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// Zero.
    pub more_pad: u16,
}

plain! {
    FragmentKey<Address4>: 16;
    FragmentKey<Address6>: 40;
}

/// Remembers where the first fragment of a datagram goes. The way of a fragment is a copy of the entry of
/// its flow, of which only the server and the addresses matter; a reply is told by its state.
///
/// # Errors
/// [`Reason::Malformed`] if the packet is none.
#[inline(always)]
pub fn remember<F: Parse, P: Packet, T: Tables + FragmentTable<F>, E: FlowEntry<F>>(
    packet: &P,
    tables: &T,
    frame: &Frame<'_, F>,
    found: &Match<E>,
    room: &mut NewFlow<F::Address>,
) -> Result<(), Reason> {
    match found {
        Match::Request { server } => {
            room.flow.state = State::NONE;
            room.flow.server = *server;
        }
        Match::Reply { entry } => room.flow = entry.get(),
        Match::New { .. } | Match::NotOurs => return Ok(()),
    }
    let transport = F::transport(packet, frame.link.length)?;
    let key = FragmentKey {
        source: frame.key.source,
        destination: frame.key.destination,
        identification: F::number(packet, transport.number_at).ok_or(Reason::Malformed)?,
        protocol: frame.key.protocol,
        pad: 0,
        more_pad: 0,
    };
    tables.remember_fragment(&key, &room.flow);
    Ok(())
}

/// Sends a fragment other than the first where that one went.
///
/// # Errors
/// Why it cannot get there.
#[inline(always)]
pub fn follow<F: Parse, P: Packet, T: Tables + FragmentTable<F>>(
    packet: &mut P,
    tables: &T,
    link: Link,
) -> Result<Next, Reason> {
    let part = F::transport(packet, link.length)?;
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    let key = FragmentKey {
        source: F::address(ip, End::Source),
        destination: F::address(ip, End::Destination),
        identification: F::number(packet, part.number_at).ok_or(Reason::Malformed)?,
        protocol: part.protocol,
        pad: 0,
        more_pad: 0,
    };
    let Some(_way): Option<Flow<F::Address>> = tables.fragment(&key) else {
        return Err(Reason::Fragment);
    };
    Err(Reason::Fragment)
}
