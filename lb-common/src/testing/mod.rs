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

use bytemuck::{Pod, Zeroable};

use crate::{
    checksum::Sum,
    family::{Family, V4, V6},
    fragment,
    icmp::{self, Complaint, Quoting},
    lease,
    link::Link,
    packet::{MAX_OFFSET, MAX_SUM, MAX_SUM_OFFSET, Packet},
    pipeline::{self, Next},
    room::Room,
    tables::{FlowTable, FragmentTable, Tables},
    verdict::{Fate, Reason, Verdict},
    wire::ethernet::ethertype,
};

/// Room in front of a packet, in bytes: `XDP_PACKET_HEADROOM`.
pub const HEADROOM: usize = 256;

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

/// A packet in memory, with room in front as a driver leaves it.
#[derive(Debug, Clone)]
pub struct HostPacket {
    buffer: Vec<u8>,
    start: usize,
    interface: u32,
}

impl HostPacket {
    /// The packet with these bytes, received by `interface`.
    #[must_use]
    pub fn new(bytes: &[u8], interface: u32) -> Self {
        Self::with_headroom(bytes, interface, HEADROOM)
    }

    /// As [`Self::new`], with so many bytes of room in front.
    #[must_use]
    pub fn with_headroom(bytes: &[u8], interface: u32, headroom: usize) -> Self {
        let mut buffer = vec![0xaa; headroom];
        buffer.extend_from_slice(bytes);
        Self {
            buffer,
            start: headroom,
            interface,
        }
    }

    /// Its bytes as they are now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn locate(&self, at: usize) -> Option<usize> {
        (at <= MAX_OFFSET).then_some(self.start + at)
    }
}

impl Packet for HostPacket {
    fn length(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn header<H: Pod>(&self, at: usize) -> Option<&H> {
        let at = self.locate(at)?;
        self.buffer
            .get(at..at + size_of::<H>())
            .and_then(|bytes| bytemuck::try_from_bytes(bytes).ok())
    }

    fn header_mut<H: Pod>(&mut self, at: usize) -> Option<&mut H> {
        let at = self.locate(at)?;
        self.buffer
            .get_mut(at..at + size_of::<H>())
            .and_then(|bytes| bytemuck::try_from_bytes_mut(bytes).ok())
    }

    fn push_front(&mut self, bytes: usize) -> Option<()> {
        self.start = self.start.checked_sub(bytes)?;
        Some(())
    }

    fn pop_front(&mut self, bytes: usize) -> Option<()> {
        (bytes <= self.length()).then(|| self.start += bytes)
    }

    fn truncate(&mut self, length: usize) -> Option<()> {
        (length <= self.length()).then(|| self.buffer.truncate(self.start + length))
    }

    fn sum(&self, at: usize, length: usize) -> Option<Sum> {
        if length > MAX_SUM {
            return None;
        }
        let at = (at <= MAX_SUM_OFFSET).then_some(self.start + at)?;
        let bytes = self.buffer.get(at..at + length)?;
        let words = bytes.chunks(2).map(|pair| match *pair {
            [a, b] => [a, b],
            [last] => [last, 0],
            _ => unreachable!("chunks of two bytes"),
        });
        Some(words.fold(Sum::default(), |sum, word| sum.plus(&word)))
    }
}
