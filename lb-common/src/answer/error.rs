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
    let length = size_of::<Icmp>() + quote;
    let room = size_of::<F::Header>() + size_of::<Icmp>();
    let at = link.turn_round(packet, room)?;
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
            service: F::error_service(facts.service),
            identification: Be16::default(),
        },
        &F::widen(destination),
        &F::widen(source),
    );
    let checksum = F::beside_message([&source, &destination], length)
        .plus(&error)
        .joined(quoted)
        .checksum();
    *packet
        .header_mut(at + size_of::<F::Header>())
        .ok_or(Reason::Unanswered)? = Icmp { checksum, ..error };
    Ok(())
}
