//! The other side of the seam: packets in a `Vec`, tables in collections, time in a cell.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that is given nonsense has failed"
)]

mod answers;
mod associations;
mod builder;
mod change;
mod fragments;
mod full_nat;
mod fuzz;
mod leases;
mod messages;
mod mutation;
mod random;
mod scenario;
mod site;
mod table;
mod tables;
mod tunnels;
mod verify;
mod write;

pub use crate::host::{HEADROOM, HostPacket};
pub use answers::{Asked, answers};
pub use builder::{PacketBuilder, icmp, sctp, tcp, udp};
pub use fragments::cut;
pub use fuzz::{audit, balanced, beginnings, corpus_folder, fuzz, stories, story};
pub use mutation::{corpus, mutate, neighbours, seeds};
pub use random::Lot;
pub use scenario::{SERVERS, Scenario, Step};
pub use site::{
    BACK, CLOSED, FRONT, FRONT_VLAN, FRONT_VLAN_ID, PROTOCOLS, Site, server, service_key,
};
pub use table::{Case, table};
use tables::HostRoom;
pub use tables::{HostEntry, HostFlows, HostTables, mac};
pub use verify::{GUE_PORT, checksums, crc32c};
pub use write::Write;

use bytemuck::Zeroable;

use crate::{
    family::{Family, V4, V6},
    fragment,
    icmp::{self, Complaint, Quoting},
    lease,
    link::Link,
    pipeline::{self, Next},
    room::Room,
    tables::{FlowTable, FragmentTable, Tables},
    verdict::{Fate, Reason, Verdict},
    wire::ethernet::ethertype,
};

/// What becomes of a packet of either family: the stages that the entry point in the kernel calls.
///
/// # Errors
/// Why it is not steered.
pub fn balance(packet: &mut HostPacket, tables: &HostTables) -> Result<Verdict, Reason> {
    let link = Link::parse(packet).inspect_err(|reason| tables.refuse(*reason))?;
    if link.ethertype == V4::ETHERTYPE {
        stages::<V4>(packet, tables, link)
    } else if link.ethertype == V6::ETHERTYPE {
        stages::<V6>(packet, tables, link)
    } else if link.ethertype == ethertype::ARP {
        lease::arp(packet, tables, link).inspect_err(|reason| tables.refuse(*reason))
    } else {
        Ok(Verdict::Pass)
    }
}

fn stages<F: Quoting>(
    packet: &mut HostPacket,
    tables: &HostTables,
    link: Link,
) -> Result<Verdict, Reason>
where
    HostTables: FlowTable<F> + FragmentTable<F> + HostRoom<F>,
{
    let mut room = tables.room().get();
    let outcome = stages_in::<F>(packet, tables, &mut room, link);
    tables.room().set(room);
    outcome
}

fn stages_in<F: Quoting>(
    packet: &mut HostPacket,
    tables: &HostTables,
    room: &mut Room<F::Address>,
    link: Link,
) -> Result<Verdict, Reason>
where
    HostTables: FlowTable<F> + FragmentTable<F> + HostRoom<F>,
{
    let moment = tables.moment();
    let first = if moment.is_doubtful() {
        Ok(Next::Steer)
    } else {
        pipeline::express::<F, _, _>(packet, tables, room, moment.now())
    };
    let steered = first.and_then(|next| finish::<F>(packet, tables, room, link, next));
    let Err(reason) = steered else {
        return steered;
    };
    tables.refuse(reason);
    if reason.fate() != Fate::Answer {
        return steered;
    }
    let answered = pipeline::refuse::<F, _, _>(packet, tables, room, link, reason);
    if let Err(reason) = answered {
        tables.refuse(reason);
    }
    answered
}

/// The stages that follow.
fn finish<F: Quoting>(
    packet: &mut HostPacket,
    tables: &HostTables,
    room: &mut Room<F::Address>,
    link: Link,
    next: Next,
) -> Result<Verdict, Reason>
where
    HostTables: FlowTable<F> + FragmentTable<F> + HostRoom<F>,
{
    match next {
        Next::Done(verdict) => Ok(verdict),
        Next::Withhold => lease::withhold::<F, _>(tables, room),
        Next::Silence => lease::silence::<F, _, _>(packet, tables, link),
        Next::Steer => {
            let next = pipeline::steer::<F, _, _>(packet, tables, room, link)?;
            finish::<F>(packet, tables, room, link, next)
        }
        Next::FindService => {
            let next = pipeline::find_service::<F, _>(tables, room, link);
            finish::<F>(packet, tables, room, link, next)
        }
        Next::New => {
            let next = pipeline::choose::<F, _>(tables, room, link)?;
            finish::<F>(packet, tables, room, link, next)
        }
        Next::Schedule => {
            let next = pipeline::schedule::<F, _>(tables, room, link)?;
            finish::<F>(packet, tables, room, link, next)
        }
        Next::Begin => {
            pipeline::begin::<F, _, _>(packet, tables, room, link)?;
            finish::<F>(packet, tables, room, link, Next::Send)
        }
        Next::Icmp => {
            let mut next = icmp::steer::<F, _, _>(packet, tables, room, link)?;
            if next == Next::New {
                if pipeline::choose::<F, _>(tables, room, link)? == Next::Schedule {
                    pipeline::schedule::<F, _>(tables, room, link)?;
                }
                next = Next::Error;
            }
            finish::<F>(packet, tables, room, link, next)
        }
        Next::Echo => icmp::echo::<F, _, _>(packet, tables, room, link),
        Next::Error => {
            let next = icmp::requote::<F, _, _>(packet, tables, room, link)?;
            finish::<F>(packet, tables, room, link, next)
        }
        Next::ErrorOfTunnel | Next::ErrorOfTunnel4 | Next::ErrorOfTunnel6 => {
            let mut complaint = Complaint::zeroed();
            if icmp::hear::<F, _>(packet, link, &mut complaint)? == Next::ErrorOfTunnel4 {
                relay::<F, V4>(packet, tables, room, link, &complaint)
            } else {
                relay::<F, V6>(packet, tables, room, link, &complaint)
            }
        }
        Next::LaterFragment => {
            let next = fragment::follow::<F, _, _>(packet, tables, room, link)?;
            finish::<F>(packet, tables, room, link, next)
        }
        Next::Tunnel { server } => pipeline::enter::<F, _, _>(packet, tables, link, server),
        Next::ForeignFragment => fragment::let_pass::<F, _, _>(packet, tables, room, link),
        Next::Send => {
            let next = pipeline::send::<F, _, _>(packet, tables, room, link)?;
            finish::<F>(packet, tables, room, link, next)
        }
        Next::SendBack => pipeline::send_back::<F, _, _>(packet, tables, room, link),
    }
}

/// The stage of an error about a tunnel, which has the room of the family that was in it.
fn relay<F: Quoting, Inner: Quoting>(
    packet: &mut HostPacket,
    tables: &HostTables,
    room: &mut Room<F::Address>,
    link: Link,
    complaint: &Complaint,
) -> Result<Verdict, Reason>
where
    HostTables: FlowTable<Inner> + HostRoom<F> + HostRoom<Inner>,
{
    // It may be the same.
    HostRoom::<F>::room(tables).set(*room);
    let cell = HostRoom::<Inner>::room(tables);
    let mut inner = cell.get();
    let outcome = icmp::relay::<Inner, _, _>(packet, tables, &mut inner, link, complaint);
    cell.set(inner);
    *room = HostRoom::<F>::room(tables).get();
    outcome
}
