//! An echo reply: the request with another kind, and its data as it came.

use super::{Answering, HOPS, Question};
use crate::{
    checksum::Sum,
    family::{End, Facts},
    packet::Packet,
    verdict::Reason,
    wire::{Be16, icmp::Icmp},
};

/// Makes an echo request into the reply to it.
#[inline(always)]
pub(super) fn answer<F: Answering, P: Packet>(
    packet: &mut P,
    question: &Question,
) -> Result<(), Reason> {
    let link = question.link;
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    // Options and extension headers would have to be answered too.
    let is_plain = question.transport == link.length + size_of::<F::Header>();
    if question.protocol != F::ICMP || !is_plain || !F::is_whole(ip) {
        return Err(Reason::Unanswered);
    }
    let facts = F::facts(ip);
    let source = F::address(ip, End::Source);
    let destination = F::address(ip, End::Destination);
    if facts.length < size_of::<F::Header>() + size_of::<Icmp>() {
        return Err(Reason::Malformed);
    }
    let request: &Icmp = packet.header(question.transport).ok_or(Reason::Malformed)?;
    if request.kind != F::ECHO_REQUEST {
        return Err(Reason::Unanswered);
    }
    let reply = reply::<F>(*request);

    let at = link.turn_round(packet, 0)?;
    F::wrap(
        packet.header_mut(at).ok_or(Reason::Unanswered)?,
        F::ICMP,
        &Facts {
            length: facts.length - size_of::<F::Header>(),
            hops: HOPS,
            whole: false,
            service: facts.service,
            identification: Be16::default(),
        },
        &F::widen(destination),
        &F::widen(source),
    );
    *packet
        .header_mut(question.transport)
        .ok_or(Reason::Unanswered)? = reply;
    Ok(())
}

/// The reply. A request whose checksum is wrong gets a reply whose checksum is as wrong.
#[inline(always)]
fn reply<F: Answering>(request: Icmp) -> Icmp {
    let mut reply = Icmp {
        kind: F::ECHO_REPLY,
        ..request
    };
    reply.checksum.apply(
        Sum::default()
            .minus(&[request.kind, request.code])
            .plus(&[reply.kind, reply.code]),
    );
    // An IPv4 reply may be nothing but zeros, whose checksum is 0xffff; the update, which knows
    // only what changes, cannot tell its two zeros apart. To the receiver both are the same
    // wherever anything is not zero.
    if reply.checksum.0.get() == 0 {
        reply.checksum.0 = Be16::new(0xffff);
    }
    reply
}
