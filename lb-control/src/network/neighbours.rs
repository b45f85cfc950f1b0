//! Neighbours: the MAC addresses that the kernel found by ARP and neighbour discovery.
//!
//! Packets that XDP sends do not pass the kernel's table, so nothing there ever notices that a
//! neighbour went silent or has another MAC address. The director therefore has the kernel ask
//! again by itself: unknown ones with a broadcast (`ip neigh replace … use`), known ones with a
//! question to the MAC address that is known (`ip neigh change … nud probe`).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP};

use super::{Refusal, kernel::Kernel, routes::family};

/// A neighbour: an interface and an address there.
pub(super) type Key = (u32, IpAddr);

/// How often in a row a neighbour may fail to answer before its MAC address is given up. The first
/// time the kernel asked only the known MAC address, three times; the second time everybody.
const SILENCES: u8 = 2;

/// All neighbours of the director.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    by_key: BTreeMap<Key, Neighbour>,
}

#[derive(Debug, Clone, Default)]
struct Neighbour {
    care: Care,
    mac: Option<[u8; 6]>,
    silences: u8,
}

/// What the director has to do to keep a neighbour known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Care {
    /// Have everybody asked.
    #[default]
    Ask,
    /// Have it asked whether it is still there.
    Probe(IsRouter),
    /// Nothing: the kernel is asking, or the entry was made by hand or by another daemon.
    Leave,
}

/// Whether an IPv6 neighbour said that it is a router; the kernel wants to be told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IsRouter {
    Yes,
    No,
}

/// What a notice said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) key: Key,
    /// The MAC address became another one, known or unknown.
    pub(super) changed: bool,
    /// Nobody has been asking for it since.
    pub(super) forgotten: bool,
}

impl Neighbours {
    /// Asks the kernel for its whole table.
    pub(super) async fn ask(kernel: &Kernel) -> Result<Vec<NeighbourMessage>, Refusal> {
        let question = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let answer = kernel.ask(question, NLM_F_DUMP).await?;
        let table = answer.into_iter().filter_map(|message| {
            if let RouteNetlinkMessage::NewNeighbour(message) = message {
                Some(message)
            } else {
                None
            }
        });
        Ok(table.collect())
    }

    /// The MAC address of a neighbour.
    pub(super) fn mac(&self, key: &Key) -> Option<[u8; 6]> {
        self.by_key.get(key).and_then(|neighbour| neighbour.mac)
    }

    /// What to do for a neighbour.
    pub(super) fn care(&self, key: &Key) -> Care {
        self.by_key
            .get(key)
            .map_or(Care::Ask, |neighbour| neighbour.care)
    }

    /// An entry of the table came or changed.
    pub(super) fn note(&mut self, message: &NeighbourMessage) -> Option<Noted> {
        let key = key(message)?;
        let neighbour = self.by_key.entry(key).or_default();
        let before = neighbour.mac;
        let failed = neighbour.note(message);
        Some(Noted {
            key,
            changed: neighbour.mac != before,
            forgotten: failed && neighbour.mac.is_some(),
        })
    }

    /// An entry of the table went. What was known stays good until nobody answers.
    pub(super) fn gone(&mut self, message: &NeighbourMessage) -> Option<Noted> {
        let key = key(message)?;
        self.by_key.get_mut(&key)?.care = Care::Ask;
        Some(Noted {
            key,
            changed: false,
            forgotten: true,
        })
    }

    /// The whole table, read again. Of what is not in it only `needed` ones are remembered.
    pub(super) fn replace(&mut self, table: &[NeighbourMessage], needed: &BTreeSet<Key>) {
        let present: BTreeSet<Key> = table.iter().filter_map(key).collect();
        self.by_key
            .retain(|key, _| present.contains(key) || needed.contains(key));
        for (_, neighbour) in self
            .by_key
            .iter_mut()
            .filter(|(key, _)| !present.contains(key))
        {
            neighbour.care = Care::Ask;
        }
        for message in table {
            self.note(message);
        }
    }

    /// Drops a neighbour that went and that nobody needs.
    pub(super) fn drop_entry(&mut self, key: &Key) {
        self.by_key.remove(key);
    }
}

impl Neighbour {
    /// Takes over what the table says; true if it says that nobody answered.
    fn note(&mut self, message: &NeighbourMessage) -> bool {
        let mut mac = None;
        let mut managed = message.header.flags.contains(NeighbourFlags::ExtLearned);
        for attribute in &message.attributes {
            if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
                mac = bytes.as_slice().try_into().ok();
            } else if let NeighbourAttribute::ExtFlags(flags) = attribute {
                managed |= flags.contains(NeighbourExtFlags::Managed);
            }
        }
        let router = if message.header.flags.contains(NeighbourFlags::Router) {
            IsRouter::Yes
        } else {
            IsRouter::No
        };
        match message.header.state {
            NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay => {
                self.known(mac, Care::Probe(router), managed);
            }
            NeighbourState::Probe | NeighbourState::Permanent | NeighbourState::Noarp => {
                self.known(mac, Care::Leave, managed);
            }
            NeighbourState::Incomplete => self.care = Care::Leave,
            NeighbourState::Failed => {
                self.care = Care::Ask;
                self.silences = self.silences.saturating_add(1);
                if self.silences >= SILENCES {
                    self.mac = None;
                }
                return true;
            }
            NeighbourState::None | NeighbourState::Other(_) | _ => self.care = Care::Ask,
        }
        false
    }

    fn known(&mut self, mac: Option<[u8; 6]>, care: Care, managed: bool) {
        self.mac = mac;
        self.care = if managed { Care::Leave } else { care };
        // A neighbour that is being probed has not answered yet.
        if care != Care::Leave || managed {
            self.silences = 0;
        }
    }
}

/// Has the kernel ask everybody for the MAC address of a neighbour.
pub(super) async fn ask(kernel: &Kernel, key: Key) -> Result<(), Refusal> {
    let question = question(key, NeighbourState::None, NeighbourFlags::Use);
    kernel.ask(question, NLM_F_ACK | NLM_F_CREATE).await?;
    Ok(())
}

/// Has the kernel ask a neighbour at its known MAC address whether it is still there.
pub(super) async fn probe(kernel: &Kernel, key: Key, router: IsRouter) -> Result<(), Refusal> {
    let flags = match router {
        IsRouter::Yes => NeighbourFlags::Router,
        IsRouter::No => NeighbourFlags::empty(),
    };
    let question = question(key, NeighbourState::Probe, flags);
    kernel.ask(question, NLM_F_ACK).await?;
    Ok(())
}

fn question(
    (link, address): Key,
    state: NeighbourState,
    flags: NeighbourFlags,
) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = link;
    message.header.state = state;
    message.header.flags = flags;
    message
        .attributes
        .push(NeighbourAttribute::Destination(address.into()));
    RouteNetlinkMessage::NewNeighbour(message)
}

/// The neighbour that a message is about; none if it is one of a bridge, or an address that the
/// director answers for.
fn key(message: &NeighbourMessage) -> Option<Key> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| {
        let NeighbourAttribute::Destination(destination) = attribute else {
            return None;
        };
        let address = match destination {
            NeighbourAddress::Inet(address) => (*address).into(),
            NeighbourAddress::Inet6(address) => (*address).into(),
            NeighbourAddress::Other(_) | _ => return None,
        };
        Some((message.header.ifindex, address))
    })
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// What the kernel would say of a neighbour.
    pub(in super::super) fn message(
        (link, address): Key,
        state: NeighbourState,
        mac: Option<[u8; 6]>,
    ) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = link;
        message.header.state = state;
        message
            .attributes
            .push(NeighbourAttribute::Destination(address.into()));
        message
            .attributes
            .extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.to_vec())));
        message
    }

    /// A table of neighbours that answer.
    pub(in super::super) fn reachable(
        entries: impl IntoIterator<Item = (Key, [u8; 6])>,
    ) -> Neighbours {
        let mut neighbours = Neighbours::default();
        for (key, mac) in entries {
            neighbours.note(&message(key, NeighbourState::Reachable, Some(mac)));
        }
        neighbours
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::message, *};

    const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
    const PROBE: Care = Care::Probe(IsRouter::No);

    fn server() -> Key {
        (2, IpAddr::from([10, 0, 0, 2]))
    }

    #[test]
    fn the_life_of_a_neighbour() {
        use NeighbourState::{
            Delay, Failed, Incomplete, Noarp, None as Nothing, Permanent, Probe, Reachable, Stale,
        };
        // what the kernel says, the MAC address known then, what is to be done
        let life = [
            (Nothing, None, None, Care::Ask),
            (Incomplete, None, None, Care::Leave),
            (Failed, None, None, Care::Ask),
            (Reachable, Some(A), Some(A), PROBE),
            (Stale, Some(A), Some(A), PROBE),
            (Delay, Some(A), Some(A), PROBE),
            (Probe, Some(A), Some(A), Care::Leave),
            (Failed, None, Some(A), Care::Ask),
            (Incomplete, None, Some(A), Care::Leave),
            (Reachable, Some(B), Some(B), PROBE),
            (Probe, Some(B), Some(B), Care::Leave),
            (Failed, None, Some(B), Care::Ask),
            (Failed, None, None, Care::Ask),
            (Permanent, Some(A), Some(A), Care::Leave),
            (Noarp, Some(B), Some(B), Care::Leave),
        ];
        let mut neighbours = Neighbours::default();
        for (step, (state, told, mac, care)) in life.into_iter().enumerate() {
            let before = neighbours.mac(&server());
            let noted = neighbours.note(&message(server(), state, told)).unwrap();
            assert_eq!(neighbours.mac(&server()), mac, "step {step}: {state}");
            assert_eq!(neighbours.care(&server()), care, "step {step}: {state}");
            assert_eq!(noted.changed, before != mac, "step {step}: {state}");
            assert_eq!(
                noted.forgotten,
                state == Failed && mac.is_some(),
                "step {step}: {state}"
            );
        }
    }

    #[test]
    fn entries_of_other_daemons_are_left_alone() {
        let mut learned = message(server(), NeighbourState::Reachable, Some(A));
        learned.header.flags = NeighbourFlags::ExtLearned;
        let mut managed = message(server(), NeighbourState::Stale, Some(A));
        managed
            .attributes
            .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        for message in [learned, managed] {
            let mut neighbours = Neighbours::default();
            neighbours.note(&message);
            assert_eq!(neighbours.care(&server()), Care::Leave);
            assert_eq!(neighbours.mac(&server()), Some(A));
        }
    }

    #[test]
    fn a_table_read_again_forgets_what_nobody_needs() {
        let other = (2, IpAddr::from([10, 0, 0, 3]));
        let mut neighbours = testing::reachable([(server(), A), (other, B)]);
        neighbours.replace(&[], &BTreeSet::from([server()]));
        assert_eq!(neighbours.mac(&server()), Some(A));
        assert_eq!(neighbours.care(&server()), Care::Ask);
        assert_eq!(neighbours.mac(&other), None);
    }
}
