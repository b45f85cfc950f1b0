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

/// Sends a packet of family `F` to the real server `id` in another one.
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
    let mut facts = F::facts(packet.header(link.length).ok_or(Reason::Malformed)?);
    let length = facts.length;
    facts.whole &= !tables.is_set(Settings::CUT_TUNNELS);
    if server.has(Server::IPV6) {
        wrap::<V6, F, P>(packet, link, server, facts)?;
    } else {
        wrap::<V4, F, P>(packet, link, server, facts)?;
    }
    tables.count_request(id, length);
    Ok(departure(packet, &server.hop))
}

#[inline(always)]
fn wrap<Outer: Family, F: Parse, P: Packet>(
    packet: &mut P,
    link: &Link,
    server: &Server,
    mut facts: Facts,
) -> Result<(), Reason> {
    let (protocol, shim) = match server.method {
        MethodKind::GRE => (protocol::GRE, shim_length(server)),
        MethodKind::GUE => (protocol::UDP, shim_length(server)),
        _ => (F::IN_IP, 0),
    };
    let inner = if shim == 0 {
        Inner::default()
    } else {
        Inner::look::<F, P>(packet, link, server.has(Server::TUNNEL_CHECKSUM))?
    };
    facts.length += shim;
    let room = size_of::<Outer::Header>() + shim;
    let at = link.replace(packet, &server.hop, Outer::ETHERTYPE, room)?;
    Outer::wrap(
        packet.header_mut(at).ok_or(Reason::Malformed)?,
        protocol,
        &facts,
        &server.tunnel_source,
        &server.address,
    );
    let at = at + size_of::<Outer::Header>();
    match server.method {
        MethodKind::GRE => gre::write::<F, P>(packet, at, server, &inner),
        MethodKind::GUE => {
            gue::write::<Outer, F, P>(packet, at, server, facts.length as u16, &inner)
        }
        _ => Ok(()),
    }
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
