//! A TCP reset (RFC 9293 §3.5.2 and §3.10.7.1).

use super::{Answering, HOPS, Question};
use crate::{
    family::{End, Facts},
    packet::Packet,
    verdict::Reason,
    wire::{
        Be16, Be32, Ports, protocol,
        tcp::{Tcp, flags},
    },
};

/// Data offset of a header without options, in [`Tcp::offset`].
const NO_OPTIONS: u8 = 0x50;
/// The bits of the type of service that are ECN's. A reset cannot be marked (RFC 3168 §6.1.1).
const ECN: u8 = 0x03;

/// Makes a segment into the reset that answers it.
#[inline(always)]
pub(super) fn answer<F: Answering, P: Packet>(
    packet: &mut P,
    question: &Question,
) -> Result<(), Reason> {
    let link = question.link;
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    if question.protocol != protocol::TCP || !F::is_whole(ip) {
        return Err(Reason::Unanswered);
    }
    let facts = F::facts(ip);
    let source = F::address(ip, End::Source);
    let destination = F::address(ip, End::Destination);
    let tcp: &Tcp = packet.header(question.transport).ok_or(Reason::Malformed)?;
    let header = tcp.header_length();
    let data = (link.length + facts.length).checked_sub(question.transport + header);
    let Some(data) = data.filter(|_| header >= size_of::<Tcp>()) else {
        return Err(Reason::Malformed);
    };
    let mut reset = reset(tcp, data).ok_or(Reason::Unanswered)?;
    reset.checksum = F::pseudo_header([&source, &destination], protocol::TCP, size_of::<Tcp>())
        .plus(&reset)
        .checksum();

    let at = link.turn_round(packet, 0)?;
    F::wrap(
        packet.header_mut(at).ok_or(Reason::Unanswered)?,
        protocol::TCP,
        &Facts {
            length: size_of::<Tcp>(),
            hops: HOPS,
            whole: true,
            service: facts.service & !ECN,
            identification: Be16::default(),
        },
        &F::widen(destination),
        &F::widen(source),
    );
    let at = at + size_of::<F::Header>();
    *packet.header_mut(at).ok_or(Reason::Unanswered)? = reset;
    packet
        .truncate(at + size_of::<Tcp>())
        .ok_or(Reason::Unanswered)
}

/// The reset, without a checksum, in answer to a segment with so many bytes of data; none to a
/// reset.
#[inline(always)]
fn reset(tcp: &Tcp, data: usize) -> Option<Tcp> {
    if tcp.flags & flags::RST != 0 {
        return None;
    }
    let (sequence, acknowledgement, acknowledges) = if tcp.flags & flags::ACK != 0 {
        (tcp.acknowledgement, Be32::default(), 0)
    } else {
        let controls =
            u32::from(tcp.flags & flags::SYN != 0) + u32::from(tcp.flags & flags::FIN != 0);
        let next = tcp.sequence.get().wrapping_add(data as u32 + controls);
        (Be32::default(), Be32::new(next), flags::ACK)
    };
    Some(Tcp {
        ports: Ports {
            source: tcp.ports.destination,
            destination: tcp.ports.source,
        },
        sequence,
        acknowledgement,
        offset: NO_OPTIONS,
        flags: flags::RST | acknowledges,
        window: Be16::default(),
        checksum: Default::default(),
        urgent: Be16::default(),
    })
}
