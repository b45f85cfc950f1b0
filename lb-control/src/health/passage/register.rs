//! The checks that are under way, by the port that each has for itself. It has no socket and no clock.
//!
//! Only the director's own checks put something in here, so nothing that anybody sends makes it grow.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use lb_common::maps::Server;
use nix::sys::socket::LinkAddr;

use super::framing::Parcel;

/// The first port that is given to checks; the last one is 65535. Below are those that programs of the director listen
/// at: where the virtual address is not its own, its kernel takes answers for packets to these.
const FIRST: u16 = 32_768;

/// How long a virtual address is listened for that nobody asks any more.
const KEPT: Duration = Duration::from_secs(600);

/// A check that is under way.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// By which protocol, as IP has it.
    pub(super) protocol: u8,
    /// Where it comes from, but for the port.
    pub(super) source: IpAddr,
    /// Where it goes: to a virtual address.
    pub(super) to: SocketAddr,
    /// The server that it is for.
    pub(super) server: Server,
    /// Where frames to it leave.
    pub(super) link: LinkAddr,
    /// How long it may say nothing.
    pub(super) idle: Duration,
    /// Until when it is kept, as of now.
    pub(super) until: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Register {
    entries: BTreeMap<u16, Entry>,
    /// The port that is tried next: so one that was given back rests for long.
    next: u16,
    /// The virtual addresses that are asked, and when each was asked last.
    addresses: BTreeMap<IpAddr, Instant>,
}

impl Register {
    pub(super) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            next: FIRST,
            addresses: BTreeMap::new(),
        }
    }

    /// Gives a check its port, and tells whether nobody has asked at its address before. None if all are taken.
    pub(super) fn enrol(&mut self, entry: Entry, now: Instant) -> Option<(u16, bool)> {
        for _ in FIRST..=u16::MAX {
            let port = self.next;
            self.next = port.checked_add(1).unwrap_or(FIRST);
            if self.entries.get(&port).is_none_or(|old| old.until <= now) {
                let is_new = self.addresses.insert(entry.to.ip(), now).is_none();
                self.entries.insert(port, entry);
                return Some((port, is_new));
            }
        }
        None
    }

    /// The check that a packet out of the cable is of. With its last packet it ends.
    pub(super) fn outgoing(&mut self, parcel: &Parcel, now: Instant) -> Option<Entry> {
        let port = parcel.source.port();
        let entry = self.entries.get_mut(&port)?;
        let sent = (entry.protocol, entry.source, entry.to);
        if sent != (parcel.protocol, parcel.source.ip(), parcel.destination) {
            return None;
        }
        if parcel.is_end {
            return self.entries.remove(&port);
        }
        entry.until = now + entry.idle;
        Some(entry.clone())
    }

    /// Whether a check waits for this packet, or with `is_quote` has sent what it quotes.
    pub(super) fn expects(&self, parcel: &Parcel, is_quote: bool) -> bool {
        let (ours, theirs) = if is_quote {
            (parcel.source, parcel.destination)
        } else {
            (parcel.destination, parcel.source)
        };
        self.entries.get(&ours.port()).is_some_and(|entry| {
            (entry.protocol, entry.source, entry.to) == (parcel.protocol, ours.ip(), theirs)
        })
    }

    /// The virtual addresses that answers come from.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.keys().copied()
    }

    /// Takes out what nobody needs any more; whether virtual addresses are among that.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        self.entries.retain(|_, entry| entry.until > now);
        let used: BTreeSet<IpAddr> = self.entries.values().map(|entry| entry.to.ip()).collect();
        let before = self.addresses.len();
        self.addresses.retain(|address, asked| {
            used.contains(address) || now.saturating_duration_since(*asked) < KEPT
        });
        self.addresses.len() != before
    }
}

#[cfg(test)]
mod tests {
    use lb_common::wire::protocol::{TCP, UDP};

    use super::*;

    fn link() -> LinkAddr {
        crate::network::packets::named("lo").unwrap()
    }

    fn entry(to: &str, now: Instant) -> Entry {
        Entry {
            protocol: TCP,
            source: [10, 0, 0, 1].into(),
            to: to.parse().unwrap(),
            server: bytemuck::Zeroable::zeroed(),
            link: link(),
            idle: Duration::from_secs(60),
            until: now + Duration::from_secs(60),
        }
    }

    fn parcel(source: (&str, u16), to: &str) -> Parcel {
        Parcel {
            protocol: TCP,
            source: SocketAddr::new(source.0.parse().unwrap(), source.1),
            destination: to.parse().unwrap(),
            is_end: false,
        }
    }

    #[test]
    fn a_packet_is_of_the_check_whose_port_it_has_and_of_no_other() {
        const VIP: &str = "192.0.2.10:80";
        let now = Instant::now();
        let mut register = Register::new();
        let (first, is_new) = register.enrol(entry(VIP, now), now).unwrap();
        assert!(is_new);
        let (second, is_new) = register.enrol(entry(VIP, now), now).unwrap();
        assert!(!is_new && first != second);
        let good = parcel(("10.0.0.1", first), VIP);
        let table = [
            (good, true, "it"),
            (parcel(("10.0.0.1", 999), VIP), false, "no check's port"),
            (parcel(("10.0.0.2", first), VIP), false, "another source"),
            (
                parcel(("10.0.0.1", first), "192.0.2.10:81"),
                false,
                "another port",
            ),
            (
                parcel(("10.0.0.1", first), "192.0.2.11:80"),
                false,
                "another address",
            ),
            (
                Parcel {
                    protocol: UDP,
                    ..good
                },
                false,
                "another protocol",
            ),
        ];
        for (parcel, is_ours, what) in table {
            assert_eq!(register.outgoing(&parcel, now).is_some(), is_ours, "{what}");
            assert_eq!(register.expects(&parcel, true), is_ours, "{what}, quoted");
            let answer = Parcel {
                source: parcel.destination,
                destination: parcel.source,
                ..parcel
            };
            assert_eq!(
                register.expects(&answer, false),
                is_ours,
                "{what}, answered"
            );
        }
    }

    #[test]
    fn a_port_is_given_again_after_its_check_has_ended() {
        let now = Instant::now();
        let mut register = Register::new();
        for _ in FIRST..=u16::MAX {
            assert!(register.enrol(entry("192.0.2.10:80", now), now).is_some());
        }
        assert!(register.enrol(entry("192.0.2.10:80", now), now).is_none());
        // A reset ends one at once.
        let reset = Parcel {
            is_end: true,
            ..parcel(("10.0.0.1", 40_000), "192.0.2.10:80")
        };
        assert!(register.outgoing(&reset, now).is_some());
        let again = register.enrol(entry("192.0.2.10:80", now), now);
        assert_eq!(again, Some((40_000, false)));
        // A packet keeps one alive, and silence ends all others.
        let later = now + Duration::from_secs(59);
        let alive = parcel(("10.0.0.1", 50_000), "192.0.2.10:80");
        assert!(register.outgoing(&alive, later).is_some());
        let end = now + Duration::from_secs(61);
        assert!(!register.sweep(end), "the address is listened for");
        assert_eq!(register.entries.keys().collect::<Vec<_>>(), [&50_000]);
        assert!(register.sweep(end + KEPT));
        assert_eq!(register.addresses().count(), 0);
    }
}
