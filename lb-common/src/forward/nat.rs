//! Masquerading: one end of a packet gets another address and port.

use crate::{
    checksum::{Checksum, Sum},
    family::{End, Family},
    packet::Packet,
    parse::Frame,
    verdict::Reason,
    wire::{Be16, Ports, protocol, tcp::Tcp, udp::Udp},
};

/// Rewrites one end of the packet and brings all checksums up to date.
#[inline(always)]
pub(super) fn translate<F: Family, P: Packet>(
    packet: &mut P,
    frame: &Frame<'_, F>,
    end: End,
    address: F::Address,
    port: Be16,
) -> Result<(), Reason> {
    let ip: &mut F::Header = packet
        .header_mut(frame.link.length)
        .ok_or(Reason::Malformed)?;
    let mut change = Sum::default().minus(&F::address(ip, end)).plus(&address);
    F::set_address(ip, end, address);

    let ports: &mut Ports = packet
        .header_mut(frame.transport)
        .ok_or(Reason::Malformed)?;
    let field = match end {
        End::Source => &mut ports.source,
        End::Destination => &mut ports.destination,
    };
    change = change.minus(field).plus(&port);
    *field = port;

    if frame.key.protocol == protocol::TCP {
        let at = frame.transport + core::mem::offset_of!(Tcp, checksum);
        let checksum: &mut Checksum = packet.header_mut(at).ok_or(Reason::Malformed)?;
        checksum.apply(change);
    } else {
        let at = frame.transport + core::mem::offset_of!(Udp, checksum);
        let checksum: &mut Checksum = packet.header_mut(at).ok_or(Reason::Malformed)?;
        checksum.apply_udp(change);
    }
    Ok(())
}
