//! Generic UDP encapsulation, as IPVS writes it (`ipvs_gue_encap`).

use super::inner::Inner;
use crate::{
    checksum::{Checksum, Sum},
    family::Family,
    maps::Server,
    packet::Packet,
    verdict::Reason,
    wire::{Be16, Ports, gue::Gue, protocol, udp::Udp},
};

/// Length of both headers, in bytes.
pub(super) const LENGTH: usize = size_of::<Udp>() + size_of::<Gue>();

/// Writes the headers of a packet of family `F` at byte `at`. `length` is theirs and the packet's.
#[inline(always)]
pub(super) fn write<Outer: Family, F: Family, P: Packet>(
    packet: &mut P,
    at: usize,
    server: &Server,
    length: u16,
    inner: &Inner,
) -> Result<(), Reason> {
    let gue = Gue::of(F::IN_IP);
    let mut udp = Udp {
        ports: Ports {
            source: inner.port,
            destination: server.tunnel_port,
        },
        length: Be16::new(length),
        checksum: Checksum::default(),
    };
    if server.has(Server::TUNNEL_CHECKSUM) {
        let sum: Sum = inner
            .sum
            .plus(&Outer::narrow(&server.tunnel_source))
            .plus(&Outer::narrow(&server.address))
            .plus(&[0, protocol::UDP])
            .plus(&udp.length)
            .plus(&udp)
            .plus(&gue);
        udp.checksum = sum.checksum().for_udp();
    }
    *packet.header_mut(at).ok_or(Reason::Malformed)? = udp;
    *packet
        .header_mut(at + size_of::<Udp>())
        .ok_or(Reason::Malformed)? = gue;
    Ok(())
}
