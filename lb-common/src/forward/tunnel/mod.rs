//! Tunnels: the packet travels inside another, unchanged. It stands right behind the outer IP header
//! (RFC 2003, RFC 2473), or behind a [`gre`] or [`gue`] header.
//!
//! Decision 23 has the reasons for what is said of checksums.

mod gre;
mod gue;
mod inner;

use crate::{
    family::{Facts, Family, V4, V6},
    link::{Link, departure},
    maps::{MethodKind, Server, Settings},
    packet::Packet,
    parse::Parse,
    tables::Tables,
    verdict::{Reason, Verdict},
    wire::protocol,
};
use inner::Inner;

/// Sends a packet of family `F` to the real server `id` in another one, behind a header of GRE or GUE.
/// Those that have just the outer IP header ([`wrap`]) need no stage of their own.
///
/// # Errors
/// [`Reason::NoHeadroom`] if the frame cannot grow.
#[inline(always)]
pub fn enter<F: Parse, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    link: &Link,
    id: u32,
) -> Result<Verdict, Reason> {
    let server = tables.server(id).ok_or(Reason::NoServer)?;
    let facts = facts::<F, P>(packet, link, tables.is_set(Settings::CUT_TUNNELS))?;
    shim::<F, P>(packet, link, server, facts)?;
    tables.count_request(id, facts.length);
    Ok(departure(packet, &server.hop))
}

/// Makes a packet of family `F` one in another to `server` by whichever kind of tunnel leads there, without
/// asking any table. With `is_cut` routers may cut what is outside.
///
/// # Errors
/// As [`enter`].
#[inline(always)]
pub(super) fn envelop<F: Parse, P: Packet>(
    packet: &mut P,
    link: &Link,
    server: &Server,
    is_cut: bool,
) -> Result<(), Reason> {
    let facts = facts::<F, P>(packet, link, is_cut)?;
    match server.method {
        MethodKind::TUNNEL => bare::<F, P>(packet, link, server, facts),
        _ => shim::<F, P>(packet, link, server, facts),
    }
}

/// The outer IP header, and one of GRE or GUE behind it.
#[inline(always)]
fn shim<F: Parse, P: Packet>(
    packet: &mut P,
    link: &Link,
    server: &Server,
    facts: Facts,
) -> Result<(), Reason> {
    if server.has(Server::IPV6) {
        enter_in::<V6, F, P>(packet, link, server, facts)
    } else {
        enter_in::<V4, F, P>(packet, link, server, facts)
    }
}

#[inline(always)]
fn enter_in<Outer: Family, F: Parse, P: Packet>(
    packet: &mut P,
    link: &Link,
    server: &Server,
    mut facts: Facts,
) -> Result<(), Reason> {
    let (protocol, shim) = match server.method {
        MethodKind::GRE => (protocol::GRE, shim_length(server)),
        MethodKind::GUE => (protocol::UDP, shim_length(server)),
        // Changed a moment ago.
        _ => return Err(Reason::NoServer),
    };
    let is_summed = server.has(Server::TUNNEL_CHECKSUM);
    let inner = Inner::look::<F, P>(packet, link, is_summed)?;
    facts.length += shim;
    let at = put::<Outer, P>(packet, link, server, facts, shim, protocol)?;
    match server.method {
        MethodKind::GRE => gre::write::<F, P>(packet, at, server, &inner),
        _ => gue::write::<Outer, F, P>(packet, at, server, facts.length as u16, &inner),
    }
}

/// Makes a packet of family `F` one in another to `server`, which stands right behind the outer IP
/// header.
///
/// # Errors
/// As [`enter`].
#[inline(always)]
pub(super) fn wrap<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    link: &Link,
    server: &Server,
) -> Result<(), Reason> {
    let facts = facts::<F, P>(packet, link, tables.is_set(Settings::CUT_TUNNELS))?;
    bare::<F, P>(packet, link, server, facts)
}

/// Just the outer IP header.
#[inline(always)]
fn bare<F: Family, P: Packet>(
    packet: &mut P,
    link: &Link,
    server: &Server,
    facts: Facts,
) -> Result<(), Reason> {
    if server.has(Server::IPV6) {
        put::<V6, P>(packet, link, server, facts, 0, F::IN_IP)?;
    } else {
        put::<V4, P>(packet, link, server, facts, 0, F::IN_IP)?;
    }
    Ok(())
}

/// What the outer header takes over from the inner one. With `is_cut` routers may cut it.
#[inline(always)]
fn facts<F: Family, P: Packet>(packet: &P, link: &Link, is_cut: bool) -> Result<Facts, Reason> {
    let mut facts = F::facts(packet.header(link.length).ok_or(Reason::Malformed)?);
    facts.whole &= !is_cut;
    Ok(facts)
}

/// Puts the link header and the outer IP header in front, with `shim` bytes of any content behind
/// them. `facts.length` includes those. Gives the offset of what follows the outer header.
#[inline(always)]
fn put<Outer: Family, P: Packet>(
    packet: &mut P,
    link: &Link,
    server: &Server,
    facts: Facts,
    shim: usize,
    protocol: u8,
) -> Result<usize, Reason> {
    let room = size_of::<Outer::Header>() + shim;
    let at = link.replace(packet, &server.hop, Outer::ETHERTYPE, room)?;
    Outer::wrap(
        packet.header_mut(at).ok_or(Reason::Malformed)?,
        protocol,
        &facts,
        &server.tunnel_source,
        &server.address,
    );
    Ok(at + size_of::<Outer::Header>())
}

/// Length of what stands between the outer and the inner IP header, in bytes.
#[inline(always)]
pub(super) const fn shim_length(server: &Server) -> usize {
    match server.method {
        MethodKind::GRE => gre::length(server.has(Server::TUNNEL_CHECKSUM)),
        MethodKind::GUE => gue::LENGTH,
        _ => 0,
    }
}
