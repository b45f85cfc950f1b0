//! Masquerading: one end of a packet gets another address and port.

use crate::{
    checksum::{Checksum, Sum},
    crc32c::Crc32c,
    family::{End, Family},
    packet::Packet,
    parse::Frame,
    verdict::Reason,
    wire::{Be16, Ports, protocol, sctp::Sctp, tcp::Tcp, udp::Udp},
};

/// Rewrites one end of the packet and brings all checksums up to date. A packet that an error quotes
/// may end before the checksum of its transport header.
#[inline(always)]
pub(crate) fn translate<F: Family, P: Packet>(
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

    if frame.is_later_fragment() || !protocol::has_ports(frame.key.protocol) {
        return Ok(());
    }
    let ports: &mut Ports = packet
        .header_mut(frame.transport)
        .ok_or(Reason::Malformed)?;
    let before = *ports;
    let field = match end {
        End::Source => &mut ports.source,
        End::Destination => &mut ports.destination,
    };
    change = change.minus(field).plus(&port);
    *field = port;

    let after = *ports;
    match frame.key.protocol {
        protocol::TCP => {
            let at = frame.transport + core::mem::offset_of!(Tcp, checksum);
            if let Some(checksum) = packet.header_mut::<Checksum>(at) {
                checksum.apply(change);
            }
        }
        protocol::UDP => {
            let at = frame.transport + core::mem::offset_of!(Udp, checksum);
            if let Some(checksum) = packet.header_mut::<Checksum>(at) {
                checksum.apply_udp(change);
            }
        }
        // Its checksum covers the fragments to come, whose length nobody knows.
        _ if frame.is_first_fragment() && before != after => return Err(Reason::Fragment),
        _ => {
            let at = frame.transport + core::mem::offset_of!(Sctp, checksum);
            let behind = (frame.link.length + frame.length)
                .saturating_sub(frame.transport + size_of::<Ports>());
            if let Some(checksum) = packet.header_mut::<Crc32c>(at) {
                checksum.update(before, after, behind as u16);
            }
        }
    }
    Ok(())
}
