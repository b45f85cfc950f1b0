//! Out: to the real server by its method, or back to the client.

mod nat;
pub mod tunnel;

pub(crate) use nat::translate;

use crate::{
    family::{End, Family, V4, V6},
    flow::Flow,
    link::{Link, departure},
    maps::{MethodKind, NextHop, Server},
    packet::Packet,
    parse::{Frame, Parse},
    pipeline::Next,
    tables::{Route, Routed, Tables},
    verdict::{Reason, Verdict},
    wire::protocol,
};

/// Sends a client's packet to the real server `id`, which is `server`, or as far as to a tunnel with a
/// header of its own ([`tunnel::enter`]). `flow` has what the server is to see as its source if that is not the client
/// ([`Server::SOURCE_NAT`]).
///
/// # Errors
/// Why it cannot get there. With [`Reason::TooBig`] what could is in `detail`.
#[inline(always)]
pub fn to_server<F: Parse, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame<'_, F>,
    (id, server): (u32, &Server),
    flow: &Flow<F::Address>,
    detail: &mut u32,
) -> Result<Next, Reason> {
    if server.method == MethodKind::LOCAL {
        tables.count_request(id, frame.length);
        return Ok(Next::Done(Verdict::Pass));
    }
    let hop = &server.hop;
    if hop.interface == 0 {
        return Err(Reason::NextHopUnknown);
    }
    if hop.mtu != 0 && frame.length + outer_length(server) > hop.mtu as usize {
        let inner = hop.mtu.saturating_sub(outer_length(server) as u16);
        *detail = u32::from(inner.max(F::LEAST_MTU));
        return Err(Reason::TooBig);
    }
    check_intact(packet, frame)?;
    take_hop(packet, frame)?;
    match server.method {
        MethodKind::GRE | MethodKind::GUE => return Ok(Next::Tunnel { server: id }),
        MethodKind::TUNNEL => tunnel::wrap::<F, P, T>(packet, tables, &frame.link, server)?,
        MethodKind::NAT => {
            nat::translate(
                packet,
                frame,
                End::Destination,
                F::narrow(&server.address),
                server.port_for(frame.key.destination_port),
            )?;
            // The source of a control message is whoever has something to say.
            if server.has(Server::SOURCE_NAT) && !protocol::is_control(frame.key.protocol) {
                let (address, port) = (flow.client_address, flow.client_port);
                nat::translate(packet, frame, End::Source, address, port)?;
            }
            frame.link.replace(packet, hop, F::ETHERTYPE, 0)?;
        }
        _ => {
            frame.link.replace(packet, hop, F::ETHERTYPE, 0)?;
        }
    }
    tables.count_request(id, frame.length);
    Ok(Next::Done(departure(packet, hop)))
}

/// Puts a packet of the director's own on the way that packets of clients take to `server`: with its link header, and
/// by a tunnel in another packet. The packet itself, its hops too, is as it was. With `is_cut` routers may cut what is
/// outside.
///
/// # Errors
/// [`Reason::NoServer`] where packets of clients are rewritten, so that there is no such way for one that is not, or
/// stay here; [`Reason::NextHopUnknown`] while there is none; else why the frame cannot be made.
#[inline(always)]
pub fn carry<F: Parse, P: Packet>(
    packet: &mut P,
    link: &Link,
    server: &Server,
    is_cut: bool,
) -> Result<(), Reason> {
    if server.hop.interface == 0 {
        return Err(Reason::NextHopUnknown);
    }
    match server.method {
        MethodKind::DIRECT => {
            link.replace(packet, &server.hop, F::ETHERTYPE, 0)?;
            Ok(())
        }
        MethodKind::TUNNEL | MethodKind::GRE | MethodKind::GUE => {
            tunnel::envelop::<F, P>(packet, link, server, is_cut)
        }
        _ => Err(Reason::NoServer),
    }
}

/// The way of a real server's reply to the client, as the kernel's routes are now.
///
/// # Errors
/// Why there is none. With [`Reason::TooBig`] what could get there is in `detail`.
#[inline(always)]
pub fn way_to_client<F: Family, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    frame: &Frame<'_, F>,
    flow: &Flow<F::Address>,
    detail: &mut u32,
) -> Result<NextHop, Reason> {
    let ip: &F::Header = packet.header(frame.link.length).ok_or(Reason::Malformed)?;
    let route = tables.route(
        packet.interface(),
        &Routed::<F> {
            source: &flow.virtual_address,
            destination: &flow.client_address,
            length: frame.length,
            service: F::facts(ip).service,
        },
    );
    match route {
        Route::Via(hop) => Ok(hop),
        // A flow that was learned has never been seen.
        Route::NoNeighbour if flow.way_back.interface == 0 => Err(Reason::NextHopUnknown),
        Route::NoNeighbour => Ok(flow.way_back),
        Route::TooBig(mtu) => {
            *detail = mtu;
            Err(Reason::TooBig)
        }
        Route::None(reason) => Err(reason),
    }
}

/// Sends a real server's reply to the client, as if it came from the virtual service, the way that is
/// in `flow`.
///
/// # Errors
/// Why it cannot get there.
#[inline(always)]
pub fn to_client<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame<'_, F>,
    flow: &Flow<F::Address>,
) -> Result<Verdict, Reason> {
    let hop = &flow.way_back;
    check_intact(packet, frame)?;
    take_hop(packet, frame)?;
    nat::translate(
        packet,
        frame,
        End::Source,
        flow.virtual_address,
        flow.virtual_port,
    )?;
    if tables
        .server(flow.server)
        .is_some_and(|server| server.has(Server::SOURCE_NAT))
    {
        let (address, port) = (flow.client_address, flow.client_port);
        nat::translate(packet, frame, End::Destination, address, port)?;
    }
    frame.link.replace(packet, hop, F::ETHERTYPE, 0)?;
    tables.count_reply(flow.server, frame.length);
    Ok(departure(packet, hop))
}

/// A router takes one hop.
#[inline(always)]
fn take_hop<F: Family, P: Packet>(packet: &mut P, frame: &Frame<'_, F>) -> Result<(), Reason> {
    F::take_hop(
        packet
            .header_mut(frame.link.length)
            .ok_or(Reason::Malformed)?,
    )
}

/// A header whose checksum is wrong would be wrong behind us as well: its packet ends here.
#[inline(always)]
fn check_intact<F: Family, P: Packet>(packet: &P, frame: &Frame<'_, F>) -> Result<(), Reason> {
    let ip: &F::Header = packet.header(frame.link.length).ok_or(Reason::Malformed)?;
    if F::is_intact(packet, frame.link.length, ip) {
        Ok(())
    } else {
        Err(Reason::BadChecksum)
    }
}

/// How much a packet to this server grows, in bytes.
#[must_use]
#[inline(always)]
pub const fn outer_length(server: &Server) -> usize {
    if !server.method.is_tunnel() {
        return 0;
    }
    let ip = if server.has(Server::IPV6) {
        size_of::<<V6 as Family>::Header>()
    } else {
        size_of::<<V4 as Family>::Header>()
    };
    ip + tunnel::shim_length(server)
}
