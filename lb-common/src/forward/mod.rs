//! Out: to the real server by its method, or back to the client.

mod nat;
mod tunnel;

use crate::{
    family::{End, Family, V4, V6},
    link::departure,
    maps::{MethodKind, NextHop, Server},
    packet::Packet,
    parse::Frame,
    tables::{FlowEntry, Route, Routed, Tables},
    verdict::{Reason, Verdict},
};

/// Sends a client's packet to a real server.
///
/// # Errors
/// Why it cannot get there.
#[inline(always)]
pub fn to_server<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame<'_, F>,
    id: u32,
) -> Result<Verdict, Reason> {
    let server = tables.server(id).ok_or(Reason::NoServer)?;
    let hop = &server.hop;
    if hop.interface == 0 {
        return Err(Reason::NextHopUnknown);
    }
    if hop.mtu != 0 && frame.length + outer_length(server) > hop.mtu as usize {
        return Err(Reason::TooBig);
    }
    take_hop(packet, frame)?;
    match server.method {
        MethodKind::TUNNEL if server.flags & Server::IPV6 != 0 => {
            tunnel::enter::<V6, F, P>(packet, frame, server)?;
        }
        MethodKind::TUNNEL => tunnel::enter::<V4, F, P>(packet, frame, server)?,
        MethodKind::NAT => {
            nat::translate(
                packet,
                frame,
                End::Destination,
                F::narrow(&server.address),
                server.port,
            )?;
            frame.link.replace(packet, hop, F::ETHERTYPE, 0)?;
        }
        _ => {
            frame.link.replace(packet, hop, F::ETHERTYPE, 0)?;
        }
    }
    tables.count_request(id, frame.length);
    Ok(departure(packet, hop))
}

/// Sends a real server's reply to the client, as if it came from the virtual service.
///
/// # Errors
/// Why it cannot get there.
#[inline(always)]
pub fn to_client<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame<'_, F>,
    way_back: &impl FlowEntry<F>,
) -> Result<Verdict, Reason> {
    let ip: &F::Header = packet.header(frame.link.length).ok_or(Reason::Malformed)?;
    let route = tables.route(
        packet.interface(),
        &Routed::<F> {
            source: &way_back.get().virtual_address,
            destination: &frame.key.destination,
            length: frame.length,
            service: F::facts(ip).service,
        },
    );
    let hop: NextHop = match route {
        Route::Via(hop) => hop,
        Route::NoNeighbour => way_back.get().way_back,
        Route::None(reason) => return Err(reason),
    };
    take_hop(packet, frame)?;
    let flow = way_back.get();
    nat::translate(
        packet,
        frame,
        End::Source,
        flow.virtual_address,
        flow.virtual_port,
    )?;
    frame.link.replace(packet, &hop, F::ETHERTYPE, 0)?;
    tables.count_reply(flow.server, frame.length);
    Ok(departure(packet, &hop))
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

/// How much a packet to this server grows, in bytes.
#[inline(always)]
const fn outer_length(server: &Server) -> usize {
    if server.method.0 != MethodKind::TUNNEL.0 {
        0
    } else if server.flags & Server::IPV6 != 0 {
        size_of::<<V6 as Family>::Header>()
    } else {
        size_of::<<V4 as Family>::Header>()
    }
}
