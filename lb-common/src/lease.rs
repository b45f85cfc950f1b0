//! The lease: for how long this director has the right to answer for the addresses of services. Of a pair
//! only one may have it. The daemon renews it with every heartbeat; if the daemon is dead, frozen or starved,
//! it runs out by itself, no later than the partner takes over.
//!
//! The sweeper looks at it at each run and leaves beside the time whether there is any doubt about the right
//! ([`Moment`]), so that a packet of a known flow costs one comparison. Only where there is doubt, and for all
//! that is rare or decides something — the first packet of a flow, ICMP, ARP — the lease itself is read, and
//! compared with the exact time.

use bytemuck::{Pod, Zeroable};

use crate::{
    address::Address4,
    family::{End, Family, V4},
    flow::FlowKey,
    icmp::Quoting,
    link::Link,
    lookup,
    packet::Packet,
    parse::{Parse, Transport},
    room::Room,
    state::State,
    tables::{FlowEntry as _, FlowTable, Tables},
    verdict::{Reason, Verdict},
    wire::{Be16, arp::Arp, ethernet::ethertype},
};

/// Whether a director steers, as one word that is written as a whole.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Lease(pub u64);

impl Lease {
    /// There is no partner: it always does.
    pub const NONE: Self = Self(0);
    /// The partner does.
    pub const STANDBY: Self = Self(u64::MAX);

    /// It does until this time, in nanoseconds since the machine was started, those in which it was
    /// suspended included (`CLOCK_BOOTTIME`): one that wakes up finds its lease over.
    #[must_use]
    #[inline(always)]
    pub const fn until(time: u64) -> Self {
        match time {
            0 => Self(1),
            u64::MAX => Self(u64::MAX - 1),
            time => Self(time),
        }
    }

    /// When it runs out, if it does.
    #[must_use]
    #[inline(always)]
    pub const fn end(self) -> Option<u64> {
        match self {
            Self::NONE | Self::STANDBY => None,
            Self(time) => Some(time),
        }
    }

    /// Why packets of services are not steered, if they are not. `now` is asked only where it matters.
    #[must_use]
    #[inline(always)]
    pub fn refusal(self, now: impl FnOnce() -> u64) -> Option<Reason> {
        match self {
            Self::NONE => None,
            Self::STANDBY => Some(Reason::Standby),
            Self(end) => (now() >= end).then_some(Reason::LeaseOver),
        }
    }
}

/// The time in ticks, and whether the lease has to be looked at: one word, to be read at once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Moment(pub u64);

impl Moment {
    const DOUBT: u64 = 1 << 32;

    /// This time.
    #[must_use]
    #[inline(always)]
    pub const fn new(now: u32, is_doubtful: bool) -> Self {
        Self(now as u64 | if is_doubtful { Self::DOUBT } else { 0 })
    }

    /// The time in ticks.
    #[must_use]
    #[inline(always)]
    pub const fn now(self) -> u32 {
        self.0 as u32
    }

    /// Whether the lease may be over.
    #[must_use]
    #[inline(always)]
    pub const fn is_doubtful(self) -> bool {
        self.0 >= Self::DOUBT
    }
}

/// What packets read at each other's expense: the value of the map `clock`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Clock {
    /// The time, as it was when the sweeper ran last.
    pub moment: Moment,
    /// Where chance is a test's: the last random number.
    pub random: u32,
    /// The same: how many steps the sweeper takes.
    pub steps: u32,
}

/// The stage of a packet without the right to steer: what belongs to a flow or a service is not steered. All
/// else is the kernel's, as ever.
///
/// # Errors
/// Why it is not steered.
#[inline(always)]
pub fn withhold<F: Family, T: Tables + FlowTable<F>>(
    tables: &T,
    room: &Room<F::Address>,
) -> Result<Verdict, Reason> {
    let FlowKey {
        destination,
        destination_port,
        protocol,
        ..
    } = room.key;
    let found = tables.find(&room.key).map(|entry| entry.get().state);
    // A masqueraded server that has not heard yet where its gateway is now: the kernel would send its reply on
    // as it is, to a client that knows nothing of that server and would end the connection.
    if found == Some(State::REPLY) {
        return Err(Reason::LeaseOver);
    }
    if found.is_some()
        || lookup::service::<F, T>(tables, destination, destination_port, protocol).is_some()
    {
        return Err(refusal(tables));
    }
    Ok(Verdict::Pass)
}

/// The same of a message of ICMP, or of a fragment that does not tell its ports: it is not steered if it is
/// for the address of a service, or asks who has one (RFC 4861 §4.3).
///
/// # Errors
/// Why it is not steered.
#[inline(always)]
pub fn silence<F: Quoting, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    link: Link,
) -> Result<Verdict, Reason> {
    let ip: &F::Header = packet.header(link.length).ok_or(Reason::Malformed)?;
    let destination = F::widen(F::address(ip, End::Destination));
    if tables.is_virtual(&destination) {
        return Err(refusal(tables));
    }
    let Transport { protocol, at, .. } = F::transport(packet, link.length)?;
    match F::solicited(packet, at) {
        Some(target) if protocol == <F as Parse>::ICMP && tables.is_floating(&target) => {
            question(tables)
        }
        _ => Ok(Verdict::Pass),
    }
}

/// The stage of ARP (RFC 826): who asks for an address that goes with the right to steer gets no answer from a director whose
/// lease is over. One that stands by leaves the question to the kernel, since it may be a real server.
///
/// # Errors
/// [`Reason::LeaseOver`] if it is not to be answered.
#[inline(always)]
pub fn arp<P: Packet, T: Tables>(packet: &P, tables: &T, link: Link) -> Result<Verdict, Reason> {
    let Some(arp) = packet.header::<Arp>(link.length) else {
        return Ok(Verdict::Pass);
    };
    let is_question = arp.operation == Arp::REQUEST
        && arp.protocol == ethertype::IPV4
        && arp.lengths == Be16::new(0x0604);
    if is_question && tables.is_floating(&V4::widen(Address4(arp.target))) {
        return question(tables);
    }
    Ok(Verdict::Pass)
}

/// What becomes of a question for the address of a service.
#[inline(always)]
fn question<T: Tables>(tables: &T) -> Result<Verdict, Reason> {
    match tables.refusal() {
        Some(Reason::LeaseOver) => Err(Reason::LeaseOver),
        _ => Ok(Verdict::Pass),
    }
}

/// Why a packet is not steered that came while there was no right to.
#[inline(always)]
fn refusal<T: Tables>(tables: &T) -> Reason {
    // It may be renewed just now: that counts from the next packet on.
    tables.refusal().unwrap_or(Reason::LeaseOver)
}

/// Whether a packet of a flow or a service is not steered. The lease is looked at only while there is doubt.
#[inline(always)]
pub fn is_withheld<T: Tables>(tables: &T) -> bool {
    tables.moment().is_doubtful() && tables.refusal().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_refuses_from_its_end_on() {
        let over = Some(Reason::LeaseOver);
        let table = [
            (Lease::NONE, 0, None),
            (Lease::NONE, u64::MAX, None),
            (Lease::STANDBY, 0, Some(Reason::Standby)),
            (Lease::STANDBY, u64::MAX, Some(Reason::Standby)),
            (Lease::until(100), 99, None),
            (Lease::until(100), 100, over),
            (Lease::until(100), 101, over),
            // Neither end of time is one of the marks.
            (Lease::until(0), 0, None),
            (Lease::until(0), 1, over),
            (Lease::until(u64::MAX), u64::MAX - 2, None),
            (Lease::until(u64::MAX), u64::MAX - 1, over),
        ];
        for (lease, now, refusal) in table {
            assert_eq!(lease.refusal(|| now), refusal, "{lease:?} at {now}");
        }
    }

    #[test]
    fn a_moment_is_both() {
        for now in [0, 1, u32::MAX] {
            for is_doubtful in [false, true] {
                let moment = Moment::new(now, is_doubtful);
                assert_eq!((moment.now(), moment.is_doubtful()), (now, is_doubtful));
            }
        }
    }
}
