//! IP in IP (RFC 2003, RFC 2473): the packet travels inside another, unchanged.

use crate::{
    family::Family,
    maps::{Server, Settings},
    packet::Packet,
    parse::Frame,
    tables::Tables,
    verdict::Reason,
};

/// Puts a packet of family `Inner` into one of family `Outer` to the server.
#[inline(always)]
pub(super) fn enter<Outer: Family, Inner: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame<'_, Inner>,
    server: &Server,
) -> Result<(), Reason> {
    let inner: &Inner::Header = packet.header(frame.link.length).ok_or(Reason::Malformed)?;
    let mut facts = Inner::facts(inner);
    facts.whole &= !tables.is_set(Settings::CUT_TUNNELS);
    let room = size_of::<Outer::Header>();
    let at = frame
        .link
        .replace(packet, &server.hop, Outer::ETHERTYPE, room)?;
    let outer: &mut Outer::Header = packet.header_mut(at).ok_or(Reason::Malformed)?;
    Outer::wrap(
        outer,
        Inner::IN_IP,
        &facts,
        &server.tunnel_source,
        &server.address,
    );
    Ok(())
}

/// Length of what stands between the outer and the inner IP header, in bytes.
#[inline(always)]
pub(super) const fn shim_length(_server: &Server) -> usize {
    0
}
