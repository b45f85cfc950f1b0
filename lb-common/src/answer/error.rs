//! An ICMP error (RFC 792, RFC 4443), which quotes the packet that it is about.

use super::{Answering, HOPS, Question};
use crate::{
    family::{End, Facts},
    packet::Packet,
    verdict::Reason,
    wire::{Be16, icmp::Icmp},
};

/// Makes the packet into `error` about it.
#[inline(always)]
pub(super) fn answer<F: Answering, P: Packet>(
    packet: &mut P,
    question: &Question,
    error: Icmp,
) -> Result<(), Reason> {
    let link = question.link;
    let (protocol, transport) = F::first_part(packet, question)?;
    if protocol == F::ICMP {
        // Kind and code.
        let [kind, _]: [u8; 2] = *packet.header(transport).ok_or(Reason::Malformed)?;
        if F::is_error(kind) {
            return Err(Reason::Unanswered);
        }
    }
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    let facts = F::facts(ip);
    let source = F::address(ip, End::Source);
    let destination = F::address(ip, End::Destination);

    let quote = facts.length.min(F::MAX_QUOTE);
    let at = link.turn_round(packet, room::<F>())?;
    write::<F, P>(
        packet,
        at,
        quote,
        facts.service,
        [&destination, &source],
        error,
    )
}

/// How much stands in front of what an error quotes, in bytes: IP header and that of the error.
#[inline(always)]
pub(crate) const fn room<F: Answering>() -> usize {
    size_of::<F::Header>() + size_of::<Icmp>()
}

/// Writes `error` from byte `at` on, between `ends`. It quotes `quote` bytes, at most
/// [`Answering::MAX_QUOTE`], of a packet that stands [`room`] bytes behind and has the type of service
/// `service`.
///
/// # Errors
/// [`Reason::Unanswered`] if the packet ends before.
#[inline(always)]
pub(crate) fn write<F: Answering, P: Packet>(
    packet: &mut P,
    at: usize,
    quote: usize,
    service: u8,
    ends: [&F::Address; 2],
    error: Icmp,
) -> Result<(), Reason> {
    let (room, length) = (room::<F>(), size_of::<Icmp>() + quote);
    // What the link put behind a short packet is cut off too.
    packet
        .truncate(at + room + quote)
        .ok_or(Reason::Unanswered)?;
    let quoted = packet.sum(at + room, quote).ok_or(Reason::Unanswered)?;
    F::wrap(
        packet.header_mut(at).ok_or(Reason::Unanswered)?,
        F::ICMP,
        &Facts {
            length,
            hops: HOPS,
            whole: false,
            service: F::error_service(service),
            identification: Be16::default(),
        },
        &F::widen(*ends[0]),
        &F::widen(*ends[1]),
    );
    let checksum = F::beside_message(ends, length)
        .plus(&error)
        .joined(quoted)
        .checksum();
    *packet
        .header_mut(at + size_of::<F::Header>())
        .ok_or(Reason::Unanswered)? = Icmp { checksum, ..error };
    Ok(())
}
