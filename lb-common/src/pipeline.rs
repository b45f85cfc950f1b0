//! The way of a packet, on one page: parse, look up, forward.
//!
//! Packets of known flows go through one stage, [`express`]. If there is anything unusual about their headers
//! they take [`steer`], and requests among them [`send`]. The first packet of a flow has up to five more:
//! [`find_service`], [`choose`], [`schedule`], [`begin`], [`send`]. Tunnels with a header of their own behind
//! the outer IP header ([`enter`]) have a stage of their own, and so has what is rarer still: ICMP
//! ([`crate::icmp`]), fragments ([`crate::fragment::follow`], [`send`] and [`send_back`],
//! [`crate::fragment::let_pass`]), and the answer to what was refused ([`refuse`]). Stages are called
//! one after the other, by the entry point in the kernel and by [`crate::testing`], and hand on what
//! they know in the [`Room`]: so each has a stack to itself, and the kernel's verifier looks at each by
//! itself.

use crate::{
    admit,
    answer::{Answer, Answering, Question, answer},
    forward, fragment, lease,
    link::Link,
    lookup::{self, Match},
    maps::Refusal,
    packet::Packet,
    parse::{self, Frame, Parse, Parsed},
    room::{Gist, Room},
    schedule,
    tables::{FlowEntry, FlowTable, FragmentTable, Tables},
    verdict::{Event, Reason, Verdict},
    wire::protocol,
};

/// What follows a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: this becomes of the packet.
    Done(Verdict),
    /// It is not like most.
    Steer,
    /// This director has no right to steer it.
    Withhold,
    /// The same of one that is no frame with a key.
    Silence,
    /// It is of no flow that is known.
    FindService,
    /// It is the first packet of a flow.
    New,
    /// It is scheduled.
    Schedule,
    /// Its server is known: it begins.
    Begin,
    /// It is a message of ICMP.
    Icmp,
    /// It is a fragment other than the first of its datagram.
    LaterFragment,
    /// It goes to a real server behind a tunnel.
    Tunnel {
        /// The real server's id.
        server: u32,
    },
    /// It is the first fragment of a datagram that is nobody's flow.
    ForeignFragment,
    /// It goes to the real server of the room, by the flow of the room.
    Send,
    /// It goes back to the client by the flow of the room.
    SendBack,
    /// It is an echo request to a virtual address.
    Echo,
    /// It is an ICMP error of the flow of the room.
    Error,
    /// It is an ICMP error about a packet that may be a tunnel of ours.
    ErrorOfTunnel,
    /// Such a tunnel, with IPv4 inside.
    ErrorOfTunnel4,
    /// The same with IPv6 inside.
    ErrorOfTunnel6,
}

/// The first stage, and for packets of known flows the only one: what [`steer`] does with packets that
/// are like most ([`parse::plain`]). All others go on to that one, and so do all while there is doubt whether
/// this director steers ([`lease`]). `now` is the time in ticks.
///
/// # Errors
/// As [`steer`].
#[inline(always)]
pub fn express<F: Parse, P: Packet, T: Tables + FlowTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    now: u32,
) -> Result<Next, Reason> {
    let Some(frame) = parse::plain::<F, P>(packet, &mut room.key) else {
        return Ok(Next::Steer);
    };
    let (link, gist) = (frame.link, frame.gist());
    by_flow(packet, tables, room, link, gist, Some(now))
}

/// The stage that reads any packet. `room` has the key of the packet then, and what parsing found out.
/// Where the fate of an error of any stage is not to drop it, the packet is unchanged.
///
/// # Errors
/// Why the packet is not steered; [`Reason::fate`] says what is done with it.
#[inline(always)]
pub fn steer<F: Parse, P: Packet, T: Tables + FlowTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Next, Reason> {
    let gist = match parse::frame::<F, P>(packet, link, &mut room.key)? {
        Parsed::Frame(frame) => frame.gist(),
        Parsed::Icmp | Parsed::LaterFragment if tables.refusal().is_some() => {
            return Ok(Next::Silence);
        }
        Parsed::Icmp => return Ok(Next::Icmp),
        Parsed::LaterFragment => return Ok(Next::LaterFragment),
        Parsed::Other => return Ok(Next::Done(Verdict::Pass)),
    };
    by_flow(packet, tables, room, link, gist, None)
}

/// The way of a packet that is parsed: by its flow, if it is of one. `plain` is the time of a packet that is
/// like most; a request that is not leaves it to the stage [`send`], so that not all ways of sending are here
/// twice.
#[inline(always)]
fn by_flow<F: Parse, P: Packet, T: Tables + FlowTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
    mut parsed: Gist,
    plain: Option<u32>,
) -> Result<Next, Reason> {
    let [source, destination] = [room.key.source, room.key.destination].map(F::widen);
    if !tables.may_concern(&destination) && !tables.may_concern(&source) {
        return Ok(Next::Done(Verdict::Pass));
    }
    let (now, is_plain) = match plain {
        Some(now) => (now, true),
        None => (tables.now(), false),
    };
    if !is_plain && lease::is_withheld(tables) {
        return Ok(Next::Withhold);
    }
    let next = follow::<F, P, T>(packet, tables, room, link, &mut parsed, is_plain, now);
    // No other stage follows most packets.
    if !matches!(next, Ok(Next::Done(_))) {
        room.gist = parsed;
    }
    next
}

/// The way of a packet whose addresses may be something to us.
#[inline(always)]
fn follow<F: Parse, P: Packet, T: Tables + FlowTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
    parsed: &mut Gist,
    is_plain: bool,
    now: u32,
) -> Result<Next, Reason> {
    let frame = Frame::<F>::restore(link, &room.key, parsed);
    let (flow, detail) = (&mut room.new, &mut room.detail);
    match lookup::flow(tables, &frame, flow, now)? {
        Match::Request { id, server } => {
            if !is_plain {
                room.server = id;
                return Ok(Next::Send);
            }
            forward::to_server(packet, tables, &frame, (id, server), &flow.flow, detail)
        }
        Match::Reply { entry, term } => {
            let flow = &mut flow.flow;
            if frame.is_first_fragment() {
                return Ok(Next::SendBack);
            }
            if term.is_some() || frame.length > flow.way_back.mtu as usize {
                flow.way_back = forward::way_to_client(packet, tables, &frame, flow, detail)?;
                let hop = &flow.way_back;
                if let Some(term) = term
                    && hop.mtu != 0
                {
                    entry.grant(hop, now, term);
                }
            }
            forward::to_client(packet, tables, &frame, flow).map(Next::Done)
        }
        Match::Unknown { is_stale } => {
            if is_stale {
                parsed.marks |= Gist::STALE;
            }
            Ok(Next::FindService)
        }
    }
}

/// The stage of a packet of no flow: which service it begins one with.
#[inline(always)]
pub fn find_service<F: Parse, T: Tables>(
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Next {
    let key = &room.key;
    let service =
        lookup::service::<F, T>(tables, key.destination, key.destination_port, key.protocol);
    if let Some(service) = service {
        room.service = service;
        room.detail = u32::from(service.refusal.0);
        return Next::New;
    }
    if Frame::<F>::restore(link, &room.key, &room.gist).is_first_fragment() {
        Next::ForeignFragment
    } else {
        Next::Done(Verdict::Pass)
    }
}

/// The first stage of a new flow: the real server that its client stays with. If there is none it is
/// to be scheduled.
///
/// # Errors
/// Why no flow can begin with this packet.
#[inline(always)]
pub fn choose<F: Parse, T: Tables + FlowTable<F>>(
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Next, Reason> {
    if let Some(reason) = tables.refusal() {
        return Err(reason);
    }
    let frame = Frame::<F>::restore(link, &room.key, &room.gist);
    let Room { service, new, .. } = room;
    room.server = admit::choose(tables, &frame, service, new, &mut room.gist.marks)?;
    Ok(if room.server == admit::NOBODY {
        Next::Schedule
    } else {
        Next::Begin
    })
}

/// The second stage of a new flow: which real server it gets.
///
/// # Errors
/// [`Reason::NoServer`] if none is available.
#[inline(always)]
pub fn schedule<F: Parse, T: Tables>(
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Next, Reason> {
    let frame = Frame::<F>::restore(link, &room.key, &room.gist);
    let id = schedule::choose(tables, &room.service, &frame, tables.now());
    room.server = id.ok_or(Reason::NoServer)?;
    Ok(Next::Begin)
}

/// The third stage of a new flow: it is remembered.
///
/// # Errors
/// Why it cannot be.
#[inline(always)]
pub fn begin<F: Parse, P: Packet, T: Tables + FlowTable<F>>(
    packet: &P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<(), Reason> {
    let frame = Frame::<F>::restore(link, &room.key, &room.gist);
    let (id, marks) = (room.server, room.gist.marks);
    room.server = admit::begin(
        packet,
        tables,
        &frame,
        &room.service,
        id,
        marks,
        &mut room.new,
    )?;
    Ok(())
}

/// The stage of a client's packet to the real server of the room.
///
/// # Errors
/// Why it cannot.
#[inline(always)]
pub fn send<F: Parse, P: Packet, T: Tables + FragmentTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Next, Reason> {
    let frame = Frame::<F>::restore(link, &room.key, &room.gist);
    let id = room.server;
    if frame.is_first_fragment() {
        fragment::remember_request(packet, tables, &frame, id, &mut room.new.flow)?;
    }
    let server = tables.server(id).ok_or(Reason::NoServer)?;
    forward::to_server(
        packet,
        tables,
        &frame,
        (id, server),
        &room.new.flow,
        &mut room.detail,
    )
}

/// The stage of packets to a real server behind a tunnel, wherever they come from.
///
/// # Errors
/// As [`forward::tunnel::enter`].
#[inline(always)]
pub fn enter<F: Parse, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    link: Link,
    server: u32,
) -> Result<Verdict, Reason> {
    forward::tunnel::enter::<F, P, T>(packet, tables, &link, server)
}

/// The stage of a real server's packet back to the client, by the flow of the room.
///
/// # Errors
/// Why it cannot get to the client.
#[inline(always)]
pub fn send_back<F: Parse, P: Packet, T: Tables + FragmentTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Verdict, Reason> {
    let frame = Frame::<F>::restore(link, &room.key, &room.gist);
    let way = &mut room.new.flow;
    if frame.is_first_fragment() {
        fragment::remember(packet, tables, &frame, way)?;
    }
    way.way_back = forward::way_to_client(packet, tables, &frame, way, &mut room.detail)?;
    forward::to_client(packet, tables, &frame, way)
}

/// The last stage, for packets that were refused for a reason whose fate is to be answered: the
/// packet becomes the answer to itself.
///
/// # Errors
/// [`Reason::Unanswered`] if it must not be answered.
#[inline(always)]
pub fn refuse<F: Answering, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    room: &Room<F::Address>,
    link: Link,
    reason: Reason,
) -> Result<Verdict, Reason> {
    if room.gist.has(Gist::ERROR) {
        return Err(Reason::Unanswered);
    }
    let kind = if reason == Reason::HopLimit {
        Answer::TimeExceeded
    } else if reason == Reason::TooBig {
        Answer::TooBig {
            mtu: room.detail as u16,
        }
    } else {
        match Refusal(room.detail as u8) {
            Refusal::SILENCE => return Err(Reason::Unanswered),
            Refusal::RESET if room.key.protocol == protocol::TCP => Answer::Reset,
            _ => Answer::Unreachable,
        }
    };
    let question = Question {
        link,
        protocol: room.key.protocol,
        transport: room.gist.transport as usize,
    };
    let limit = tables.settings().map_or(0, |settings| settings.answers);
    if tables.answers_this_second(tables.now()) > limit {
        return Err(Reason::Unanswered);
    }
    let verdict = answer::<F, P>(packet, &question, kind)?;
    tables.count(Event::Answered);
    Ok(verdict)
}
