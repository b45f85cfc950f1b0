//! ICMP and ICMPv6.
//!
//! An echo request to a virtual address is answered on the spot. An error quotes the packet that it
//! is about, and belongs to the flow of that packet: one about what was sent to a client goes to
//! the real server, one about what was sent to a real server goes to the client ([`requote`]), and
//! one about a tunnel of ours becomes another, about what was in it ([`hear`], [`relay`]). An error changes neither state nor time of a flow. All else is left to the kernel:
//! neighbour discovery above all.
//!
//! Each is a stage of its own ([`crate::pipeline`]).

mod quote;
mod quoting;
mod tunnel;

pub use quoting::{Quoting, Trouble};
pub use tunnel::{Complaint, hear, relay};

use crate::{
    answer::{Answer, Answering, Question, answer},
    family::End,
    flow::{FlowKey, reply_key},
    link::Link,
    lookup,
    maps::{MethodKind, Server, Settings},
    packet::Packet,
    parse::Transport,
    pipeline::Next,
    room::{Gist, NewFlow, Room},
    state::State,
    tables::{FlowEntry, FlowTable, Tables},
    verdict::{Event, Reason, Verdict},
    wire::{Be16, icmp::Icmp, protocol, sctp::event, tcp::flags},
};
use quote::Quote;
use tunnel::Wrapped;

/// What becomes of a message of ICMP.
///
/// # Errors
/// Why it is not steered.
#[inline(always)]
pub fn steer<F: Quoting, P: Packet, T: Tables + FlowTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Next, Reason> {
    let message = F::transport(packet, link.length)?;
    let Transport { at, end, .. } = message;
    if at + size_of::<Icmp>() > end || end > packet.length() {
        return Err(Reason::Malformed);
    }
    let Icmp { kind, .. } = *packet.header(at).ok_or(Reason::Malformed)?;
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    let source = F::address(ip, End::Source);
    let destination = F::address(ip, End::Destination);
    if kind == F::ECHO_REQUEST {
        // The kernel puts fragments together.
        if message.part.more || !tables.is_virtual(&F::widen(destination)) {
            return Ok(Next::Done(Verdict::Pass));
        }
        room.gist.transport = at as u16;
        return Ok(Next::Echo);
    }
    if !F::is_quoting(kind) {
        return Ok(Next::Done(Verdict::Pass));
    }
    room.gist = Gist {
        transport: at as u16,
        length: (end - link.length) as u16,
        flags: 0,
        marks: Gist::ERROR,
        pad: 0,
    };
    if message.part.more {
        return stranger::<F, T>(tables, destination);
    }
    let quote = Quote::parse::<F, P>(packet, at, end)?;
    if let Some(ports) = quote.ports(packet) {
        let quoted: &F::Header = packet.header(quote.ip).ok_or(Reason::Malformed)?;
        room.key = FlowKey::new(
            F::address(quoted, End::Destination),
            F::address(quoted, End::Source),
            ports.destination,
            ports.source,
            quote.transport.protocol,
        );
        // An error goes to who sent the packet.
        if room.key.destination == destination {
            let mut next = flow::<F, T>(tables, room);
            if next.is_none() && is_schedulable::<F, T>(tables, room) {
                next = Some(Next::New);
            }
            if let Some(next) = next {
                if source == destination || !F::is_host(&source) {
                    return Err(Reason::Martian);
                }
                return Ok(next);
            }
        }
    }
    if Wrapped::parse(packet, &quote).is_some() {
        return Ok(Next::ErrorOfTunnel);
    }
    stranger::<F, T>(tables, destination)
}

/// Answers an echo request, unless there were too many or it is not for us to answer: the kernel
/// knows what to do then.
///
/// # Errors
/// As [`answer`], where the packet is malformed.
#[inline(always)]
pub fn echo<F: Answering, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    room: &Room<F::Address>,
    link: Link,
) -> Result<Verdict, Reason> {
    if !may_answer(tables) {
        return Ok(Verdict::Pass);
    }
    let question = Question {
        link,
        protocol: F::ICMP,
        transport: room.gist.transport as usize,
    };
    match answer::<F, P>(packet, &question, Answer::Echo) {
        Ok(verdict) => {
            tables.count(Event::Answered);
            Ok(verdict)
        }
        Err(Reason::Unanswered) => Ok(Verdict::Pass),
        Err(reason) => Err(reason),
    }
}

/// Whether one more answer may be sent in this second.
#[inline(always)]
fn may_answer<T: Tables>(tables: &T) -> bool {
    let limit = tables.settings().map_or(0, |settings| settings.answers);
    tables.answers_this_second(tables.now()) <= limit
}

/// An error about no flow of ours. It is worth a counter if it was sent to a virtual address.
#[inline(always)]
fn stranger<F: Quoting, T: Tables>(tables: &T, destination: F::Address) -> Result<Next, Reason> {
    if tables.is_virtual(&F::widen(destination)) {
        return Err(Reason::UnknownError);
    }
    Ok(Next::Done(Verdict::Pass))
}

/// Whose the error is, if there is a flow whose other direction has the key `room.key`.
#[inline(always)]
fn flow<F: Quoting, T: Tables + FlowTable<F>>(
    tables: &T,
    room: &mut Room<F::Address>,
) -> Option<Next> {
    let entry = tables.find(&room.key)?;
    let now = tables.now();
    entry.copy_to(&mut room.new.flow);
    let flow = &room.new.flow;
    match flow.state {
        State::RETIRED => None,
        State::REPLY => {
            let NewFlow { flow, other, .. } = &mut room.new;
            lookup::request(tables, flow, room.key.protocol, other, now)?;
            Some(Next::Error)
        }
        _ => {
            let is_alive = !flow.is_expired(now) && tables.server(flow.server)?.is_present();
            room.server = flow.server;
            is_alive.then_some(Next::Error)
        }
    }
}

/// Whether the real server of an error without a flow can be found by scheduling. What is needed for
/// that is left in `room`.
#[inline(always)]
fn is_schedulable<F: Quoting, T: Tables>(tables: &T, room: &mut Room<F::Address>) -> bool {
    let key = &room.key;
    let Some(service) =
        lookup::service::<F, T>(tables, key.destination, key.destination_port, key.protocol)
    else {
        return false;
    };
    if !service.scheduler.is_hashing() && !tables.is_set(Settings::SCHEDULE_ICMP) {
        return false;
    }
    room.service = service;
    room.detail = u32::from(service.refusal.0);
    room.new.flow.state = State::NONE;
    room.new.flow.client_address = key.source;
    room.new.flow.client_port = key.source_port;
    room.gist.marks |= Gist::STATELESS;
    // As if its first packet came.
    room.gist.flags = match key.protocol {
        protocol::TCP => flags::SYN,
        protocol::SCTP => event::INIT,
        _ => 0,
    };
    true
}

/// The stage of an error of a flow: it quotes the packet as its receiver has sent it. It goes to the
/// real server `room.server` then, or, if the flow of the room is a way back, to the client whose
/// request has the key `room.new.other`.
///
/// # Errors
/// Why that cannot be. Where the fate is to pass, the packet is unchanged.
#[inline(always)]
pub fn requote<F: Quoting, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Next, Reason> {
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    let none = Be16::new(0);
    // Of the error itself, which is a packet like any other from here on.
    let key = FlowKey::new(
        F::address(ip, End::Source),
        F::address(ip, End::Destination),
        none,
        none,
        <F as Answering>::ICMP,
    );
    let NewFlow { flow, other, .. } = &mut room.new;
    let (mut from, mut next) = (other.destination, Next::SendBack);
    let mut is_masqueraded = true;
    if flow.state != State::REPLY {
        let server = tables.server(room.server).ok_or(Reason::UnknownError)?;
        is_masqueraded = server.method == MethodKind::NAT;
        // Of full NAT without a flow nobody knows the port.
        if server.has(Server::SOURCE_NAT) && room.gist.has(Gist::STATELESS) {
            return Err(Reason::UnknownError);
        }
        *other = reply_key::<F>(server, &room.key, flow.client_address, flow.client_port);
        (from, next) = (key.source, Next::Send);
    }
    if is_masqueraded {
        let quote = Quote::restore::<F, P>(packet, link, &room.gist)?;
        quote.rewrite::<F, P>(packet, link, other, [&from, &other.source])?;
    }
    room.key = key;
    room.gist.flags = 0;
    Ok(next)
}
