//! Errors about tunnels to real servers. They come to us, who sent the outer packet; the client, whose
//! packet was inside, is told in our stead.

use bytemuck::{Pod, Zeroable};

use crate::{
    address::Address6,
    answer::error,
    checksum::Sum,
    family::{End, Family, V4, V6},
    flow::FlowKey,
    link::{Link, departure},
    maps::{MethodKind, Server},
    packet::{MAX_SUM, Packet},
    parse::Transport,
    pipeline::Next,
    room::Room,
    state::State,
    tables::{FlowEntry, FlowTable, Route, Routed, Tables},
    verdict::{Event, Reason, Verdict},
    wire::{
        Be16,
        gre::{Gre, GreChecksum, HAS_CHECKSUM},
        gue::Gue,
        icmp::Icmp,
        protocol,
        udp::Udp,
    },
};

use super::{
    may_answer,
    quote::{Quote, ports},
    quoting::{Quoting, Trouble},
};

/// A packet with another one inside, as the headers between both say.
#[derive(Clone, Copy)]
pub(super) struct Wrapped {
    /// What kind of tunnel it is.
    method: MethodKind,
    /// Of GUE: its port.
    port: Be16,
    /// Where the inner packet starts.
    inner: usize,
    /// Whether that is one of IPv6.
    is_v6: bool,
}

impl Wrapped {
    /// Reads the headers behind the IP header of the quoted packet. `None` if there is no packet
    /// inside, or not all of these headers are quoted.
    #[inline(always)]
    pub(super) fn parse<P: Packet>(packet: &P, quote: &Quote) -> Option<Self> {
        let Transport {
            protocol, at, part, ..
        } = quote.transport;
        if part.offset != 0 {
            return None;
        }
        let wrapped = match protocol {
            protocol::IPIP | protocol::IPV6 => Self {
                method: MethodKind::TUNNEL,
                port: Be16::new(0),
                inner: at,
                is_v6: protocol == protocol::IPV6,
            },
            protocol::GRE => Self::gre(packet, at)?,
            protocol::UDP => Self::gue(packet, at)?,
            _ => return None,
        };
        (wrapped.inner <= quote.end).then_some(wrapped)
    }

    #[inline(always)]
    fn gre<P: Packet>(packet: &P, at: usize) -> Option<Self> {
        let gre: &Gre = packet.header(at)?;
        let flags = gre.flags.get();
        let (is_v4, is_v6) = (gre.protocol == V4::ETHERTYPE, gre.protocol == V6::ETHERTYPE);
        let mut inner = at + size_of::<Gre>();
        if flags == HAS_CHECKSUM {
            inner += size_of::<GreChecksum>();
        }
        (flags & !HAS_CHECKSUM == 0 && (is_v4 || is_v6)).then_some(Self {
            method: MethodKind::GRE,
            port: Be16::new(0),
            inner,
            is_v6,
        })
    }

    #[inline(always)]
    fn gue<P: Packet>(packet: &P, at: usize) -> Option<Self> {
        let udp: &Udp = packet.header(at)?;
        let gue: &Gue = packet.header(at + size_of::<Udp>())?;
        let (is_v4, is_v6) = (
            *gue == Gue::of(protocol::IPIP),
            *gue == Gue::of(protocol::IPV6),
        );
        (is_v4 || is_v6).then_some(Self {
            method: MethodKind::GUE,
            port: udp.ports.destination,
            inner: at + size_of::<Udp>() + size_of::<Gue>(),
            is_v6,
        })
    }

    /// The stage that follows [`hear`].
    #[inline(always)]
    const fn next(self) -> Next {
        if self.is_v6 {
            Next::ErrorOfTunnel6
        } else {
            Next::ErrorOfTunnel4
        }
    }
}

/// What an error says about a tunnel of ours. One stage reads it, of the family of the error; another,
/// of the family of the packet inside, acts on it ([`hear`], [`relay`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Complaint {
    /// Source and destination of the tunnel.
    ends: [Address6; 2],
    /// What does not get through: packets larger than so many bytes, outer IP header included, or, if it
    /// is zero, none.
    mtu: u32,
    /// Where the inner packet starts, in bytes from the link header on.
    inner: u16,
    /// How much stands in front of the inner packet, from the outer IP header on.
    outer_length: u16,
    /// Where the quote ends.
    end: u16,
    /// Of GUE: its port.
    port: Be16,
    /// What kind of tunnel it is.
    method: MethodKind,
    /// Zero.
    pad: [u8; 3],
}

impl Complaint {
    /// Whether it is about a tunnel to this real server.
    #[inline(always)]
    fn is_about(&self, server: &Server) -> bool {
        server.is_present()
            && server.method == self.method
            && (server.method != MethodKind::GUE || server.tunnel_port == self.port)
            && [server.tunnel_source, server.address] == self.ends
    }

    /// What the client is told.
    #[inline(always)]
    fn retold<F: Quoting>(&self) -> Icmp {
        if self.mtu == 0 {
            return F::HOST_UNREACHABLE;
        }
        let room = self.mtu.saturating_sub(u32::from(self.outer_length));
        F::too_big(room.clamp(u32::from(F::LEAST_MTU), u32::from(u16::MAX)) as u16)
    }
}

/// Reads an error of family `F` about what may be a tunnel of ours.
///
/// # Errors
/// Why it is none.
#[inline(always)]
pub fn hear<F: Quoting, P: Packet>(
    packet: &P,
    link: Link,
    complaint: &mut Complaint,
) -> Result<Next, Reason> {
    let message = F::transport(packet, link.length)?;
    if message.end > packet.length() || message.end > message.at + MAX_SUM {
        return Err(Reason::UnknownError);
    }
    let icmp: &Icmp = packet.header(message.at).ok_or(Reason::Malformed)?;
    complaint.mtu = match F::trouble(icmp).ok_or(Reason::UnknownError)? {
        Trouble::TooBig(mtu) => mtu.max(1),
        Trouble::Unreachable => 0,
    };
    let quoted_length = F::quoted_length(icmp).unwrap_or(MAX_SUM);
    let quote = Quote::parse::<F, P>(packet, message.at, message.end)?;
    let _: Sum = quote.sum::<F, P>(packet, link)?;
    let outer: &F::Header = packet.header(quote.ip).ok_or(Reason::Malformed)?;
    complaint.ends = [
        F::widen(F::address(outer, End::Source)),
        F::widen(F::address(outer, End::Destination)),
    ];
    let tunnel = Wrapped::parse(packet, &quote).ok_or(Reason::UnknownError)?;
    complaint.method = tunnel.method;
    complaint.port = tunnel.port;
    complaint.inner = tunnel.inner as u16;
    complaint.outer_length = (tunnel.inner - quote.ip) as u16;
    complaint.end = message.end.min(quote.ip + quoted_length) as u16;
    Ok(tunnel.next())
}

/// Makes an error about a tunnel, with a packet of family `F` inside, into one about that packet,
/// from the virtual address to the client. The error itself may be of the other family.
///
/// # Errors
/// Why that cannot be. Where the fate is to pass, the packet is unchanged.
#[inline(always)]
pub fn relay<F: Quoting, P: Packet, T: Tables + FlowTable<F>>(
    packet: &mut P,
    tables: &T,
    room: &mut Room<F::Address>,
    link: Link,
    complaint: &Complaint,
) -> Result<Verdict, Reason> {
    let (at, end) = (complaint.inner as usize, complaint.end as usize);
    let transport = F::transport(packet, at).map_err(|_| Reason::UnknownError)?;
    let ports = ports(packet, &transport, end).ok_or(Reason::UnknownError)?;
    let ip: &F::Header = packet.header(at).ok_or(Reason::Malformed)?;
    let facts = F::facts(ip);
    room.key = FlowKey::new(
        F::address(ip, End::Source),
        F::address(ip, End::Destination),
        ports.source,
        ports.destination,
        transport.protocol,
    );
    if !tables.is_virtual(&F::widen(room.key.destination)) {
        return Ok(Verdict::Pass);
    }
    let entry = tables.find(&room.key).ok_or(Reason::UnknownError)?;
    entry.copy_to(&mut room.new.flow);
    let flow = &room.new.flow;
    let is_ours = !matches!(flow.state, State::RETIRED | State::REPLY)
        && !flow.is_expired(tables.now())
        && tables
            .server(flow.server)
            .is_some_and(|server| complaint.is_about(server));
    if !is_ours {
        return Err(Reason::UnknownError);
    }
    if !may_answer(tables) {
        return Err(Reason::Unanswered);
    }

    let quote = (end - at).min(facts.length).min(F::MAX_QUOTE);
    let (client, virtual_address) = (&room.key.source, &room.key.destination);
    let route = tables.route(
        packet.interface(),
        &Routed::<F> {
            source: virtual_address,
            destination: client,
            length: error::room::<F>() + quote,
            service: F::error_service(facts.service),
        },
    );
    let hop = match route {
        Route::Via(hop) => hop,
        Route::NoNeighbour => flow.way_back,
        Route::TooBig(_) => return Err(Reason::TooBig),
        Route::None(reason) => return Err(reason),
    };
    // All in front of the inner packet is taken for a link header.
    let whole = Link { length: at, ..link };
    let at = whole.replace(packet, &hop, F::ETHERTYPE, error::room::<F>())?;
    let told = complaint.retold::<F>();
    error::write::<F, P>(
        packet,
        at,
        quote,
        facts.service,
        [virtual_address, client],
        told,
    )?;
    tables.count(Event::Answered);
    Ok(departure(packet, &hop))
}
