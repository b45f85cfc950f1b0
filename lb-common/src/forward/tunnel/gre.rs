//! Generic routing encapsulation, as IPVS writes it (`ipvs_gre_encap`).

use super::inner::Inner;
use crate::{
    checksum::Sum,
    family::Family,
    maps::Server,
    packet::Packet,
    verdict::Reason,
    wire::{
        Be16,
        gre::{Gre, GreChecksum, HAS_CHECKSUM},
    },
};

/// Length of the header, in bytes.
#[inline(always)]
pub(super) const fn length(has_checksum: bool) -> usize {
    if has_checksum {
        size_of::<Gre>() + size_of::<GreChecksum>()
    } else {
        size_of::<Gre>()
    }
}

/// Writes the header of a packet of family `F` at byte `at`.
#[inline(always)]
pub(super) fn write<F: Family, P: Packet>(
    packet: &mut P,
    at: usize,
    server: &Server,
    inner: &Inner,
) -> Result<(), Reason> {
    let has_checksum = server.has(Server::TUNNEL_CHECKSUM);
    let gre = Gre {
        flags: Be16::new(if has_checksum { HAS_CHECKSUM } else { 0 }),
        protocol: F::ETHERTYPE,
    };
    *packet.header_mut(at).ok_or(Reason::Malformed)? = gre;
    if has_checksum {
        let sum: Sum = inner.sum.plus(&gre);
        *packet
            .header_mut(at + size_of::<Gre>())
            .ok_or(Reason::Malformed)? = GreChecksum {
            checksum: sum.checksum(),
            reserved: Be16::new(0),
        };
    }
    Ok(())
}
