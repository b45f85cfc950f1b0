//! Fragments: where the first one of a datagram went, the others go. Only the first has ports, so what
//! was found out with them is remembered by what all fragments have: addresses, identification and,
//! with IPv4, the protocol. A fragment that comes before the first one is held by the daemon, which
//! hands it in again when the first one has come.

use crate::{
    address::{Address4, Address6},
    family::{End, Family, V4},
    flow::{Flow, FlowKey, plain},
    link::Link,
    maps::Role,
    packet::Packet,
    parse::{Frame, Parse, Transport, least_header},
    pipeline::Next,
    room::{Gist, Room},
    state::{State, ticks},
    tables::{FragmentTable, Tables},
    verdict::{Event, Reason, Verdict},
    wire::{Be16, ipv6::extension},
};

/// How long the way of a datagram is remembered, in ticks. Its fragments follow each other closely;
/// on the other hand a busy host gives its 65,536 numbers out in a few seconds, and an early
/// fragment must not take the way of the datagram that had its number before (RFC 4963).
pub const LIFETIME: u32 = ticks(5);

/// The number of no real server: the way of what is left to the kernel.
const NOBODY: u32 = 0;

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
    /// Its protocol; zero with IPv6, where fragments may say different ones (RFC 8200 §4.5).
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

/// The key of a fragment.
///
/// # Errors
/// [`Reason::Malformed`] if the packet is none.
#[inline(always)]
pub fn key<F: Parse, P: Packet>(
    packet: &P,
    link: Link,
    transport: &Transport,
) -> Result<FragmentKey<F::Address>, Reason> {
    let identification = F::number(packet, transport.number_at).ok_or(Reason::Malformed)?;
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    Ok(FragmentKey {
        source: F::address(ip, End::Source),
        destination: F::address(ip, End::Destination),
        identification,
        protocol: if F::AF == V4::AF {
            transport.protocol
        } else {
            0
        },
        pad: 0,
        more_pad: 0,
    })
}

/// Remembers the way of the datagram that this is the first fragment of. A reply is told by its
/// state.
///
/// # Errors
/// [`Reason::Malformed`] if the packet is none.
#[inline(always)]
pub fn remember<F: Parse, P: Packet, T: Tables + FragmentTable<F>>(
    packet: &P,
    tables: &T,
    frame: &Frame<'_, F>,
    way: &mut Flow<F::Address>,
) -> Result<(), Reason> {
    let transport = F::transport(packet, frame.link.length)?;
    let key = key::<F, P>(packet, frame.link, &transport)?;
    way.seen = tables.now();
    way.timeout = LIFETIME;
    tables.remember_fragment(&key, way);
    Ok(())
}

/// As [`remember`], of a request to this real server. What it is to see as the source is in `way`.
///
/// # Errors
/// As [`remember`].
#[inline(always)]
pub fn remember_request<F: Parse, P: Packet, T: Tables + FragmentTable<F>>(
    packet: &P,
    tables: &T,
    frame: &Frame<'_, F>,
    server: u32,
    way: &mut Flow<F::Address>,
) -> Result<(), Reason> {
    way.state = State::NONE;
    way.server = server;
    remember(packet, tables, frame, way)
}

/// The stage of a first fragment that is nobody's flow: it is left to the kernel. If it is from or to
/// an address of ours that is remembered, or else the fragments after it would be held.
///
/// # Errors
/// [`Reason::Malformed`] if the packet is none.
#[inline(always)]
pub fn let_pass<F: Parse, P: Packet, T: Tables + FragmentTable<F>>(
    packet: &P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Verdict, Reason> {
    let frame = Frame::<F>::restore(link, &room.key, &room.gist);
    if concerns_us::<F, T>(tables, room.key.source, room.key.destination) {
        remember_request(packet, tables, &frame, NOBODY, &mut room.new.flow)?;
    }
    Ok(Verdict::Pass)
}

/// The stage of a fragment other than the first: it goes where that one went.
///
/// # Errors
/// Why it cannot get there.
#[inline(always)]
pub fn follow<F: Parse, P: Packet, T: Tables + FragmentTable<F>>(
    packet: &P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Next, Reason> {
    let transport = F::transport(packet, link.length)?;
    if transport.end > packet.length() || transport.at > transport.end {
        return Err(Reason::Malformed);
    }
    let key = key::<F, P>(packet, link, &transport)?;
    if !may_be_balanced::<F>(transport.protocol)
        || !concerns_us::<F, T>(tables, key.source, key.destination)
    {
        return Ok(Next::Done(Verdict::Pass));
    }
    // The first fragment has the whole of the header, so this one has part of it anew.
    let header = least_header(transport.protocol).unwrap_or(0);
    if (transport.part.offset as usize) * 8 < header {
        return Err(Reason::Fragment);
    }
    let now = tables.now();
    let Some(way) = tables.fragment(&key).filter(|way| !way.is_expired(now)) else {
        if !tables.hold(packet) {
            return Err(Reason::EarlyFragment);
        }
        tables.count(Event::Held);
        return Ok(Next::Done(Verdict::Hold));
    };
    room.key = FlowKey::new(
        key.source,
        key.destination,
        Be16::new(0),
        Be16::new(0),
        transport.protocol,
    );
    room.gist = Gist {
        transport: transport.at as u16,
        length: (transport.end - link.length) as u16,
        flags: 0,
        marks: Gist::LATER_FRAGMENT,
        pad: 0,
    };
    room.server = way.server;
    room.new.flow = way;
    if way.state == State::REPLY {
        return Ok(Next::SendBack);
    }
    if way.server == NOBODY {
        return Ok(Next::Done(Verdict::Pass));
    }
    match tables.server(way.server) {
        Some(server) if server.is_present() => Ok(Next::Send),
        _ => Err(Reason::ServerGone),
    }
}

/// Whether the datagram that a fragment says to be of this protocol may be of one that is balanced.
#[inline(always)]
fn may_be_balanced<F: Parse>(protocol: u8) -> bool {
    least_header(protocol).is_some() || (F::AF != V4::AF && extension::is_walked(protocol))
}

/// Whether a flow of ours can have packets with these addresses.
#[inline(always)]
fn concerns_us<F: Parse, T: Tables>(
    tables: &T,
    source: F::Address,
    destination: F::Address,
) -> bool {
    tables.is_virtual(&F::widen(destination))
        || tables.role(&F::widen(source)).has(Role::MASQUERADED)
}
