//! IP in IP (RFC 2003, RFC 2473): the packet travels inside another, unchanged.

use crate::{family::Family, maps::Server, packet::Packet, parse::Frame, verdict::Reason};

/// Puts a packet of family `Inner` into one of family `Outer` to the server.
#[inline(always)]
pub(super) fn enter<Outer: Family, Inner: Family, P: Packet>(
    packet: &mut P,
    frame: &Frame<'_, Inner>,
    server: &Server,
) -> Result<(), Reason> {
    let inner: &Inner::Header = packet.header(frame.link.length).ok_or(Reason::Malformed)?;
    let facts = Inner::facts(inner);
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
