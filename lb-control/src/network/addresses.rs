//! Floating addresses: put on interfaces, and taken off again.
//!
//! An address that was there already is somebody else's and is never taken off. Which ones are ours
//! the kernel itself remembers: they carry [`ORIGIN`] as their origin mark (`IFA_PROTO`, since
//! Linux 5.18; a recent `ip address` shows it as `proto`). So a director that was killed finds its addresses
//! again, and no state file can disagree with the kernel. Older kernels drop the mark: there every
//! address looks foreign and stays.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
        CacheInfo,
    },
};
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use tracing::{info, warn};

use super::{NetworkError, Refusal, kernel::Kernel, links::Link, routes::family};
use crate::model::FloatingAddress;

/// The origin mark of our addresses: L, as in load balancer. The kernel uses 1 to 3 itself.
pub const ORIGIN: u8 = 0x4c;

/// Puts floating addresses on interfaces.
pub struct Addresses {
    kernel: Kernel,
}

/// How an address came to be on its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// It was put there.
    Added,
    /// A director put it there before.
    Kept,
    /// It is somebody else's.
    Foreign,
}

/// How an address came to be off its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lowered {
    /// It was taken off.
    Removed,
    /// It was not there.
    Absent,
    /// It is still there, for it is somebody else's.
    Foreign,
}

impl Addresses {
    /// Opens a netlink socket in the network namespace of the calling thread. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn open() -> Result<Self, NetworkError> {
        let kernel = Kernel::open().map_err(|why| why.when("opening a netlink socket"))?;
        Ok(Self { kernel })
    }

    /// Puts an address on its interface, unless it is there.
    ///
    /// # Errors
    /// When the interface is missing or the kernel refuses.
    pub async fn raise(&self, floating: &FloatingAddress) -> Result<Raised, NetworkError> {
        let raised = self.raise_all(std::slice::from_ref(floating)).await?;
        Ok(raised.first().copied().unwrap_or(Raised::Kept))
    }

    /// The same for many: what is there is asked for once.
    ///
    /// # Errors
    /// When an interface is missing or the kernel refuses. Those before it are there.
    pub async fn raise_all(&self, all: &[FloatingAddress]) -> Result<Vec<Raised>, NetworkError> {
        let mut there: HashMap<(u32, Option<IpAddr>), Vec<AddressMessage>> = HashMap::new();
        let table = self.table().await;
        for entry in table.map_err(|why| why.when("listing the addresses"))? {
            let key = (entry.header.index, local(&entry));
            there.entry(key).or_default().push(entry);
        }
        let mut links = LinkIndexes::default();
        let mut raised = Vec::with_capacity(all.len());
        for floating in all {
            let put = async {
                let link = links.of(&self.kernel, &floating.interface).await?;
                let entries = there.remove(&(link, Some(floating.address)));
                self.put_on(floating, link, entries.unwrap_or_default())
                    .await
            };
            let put = put.await;
            raised.push(put.map_err(|why| why.when(format!("putting {}", place(floating))))?);
        }
        Ok(raised)
    }

    /// Takes an address off its interface, if a director put it there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn lower(&self, floating: &FloatingAddress) -> Result<Lowered, NetworkError> {
        self.take_off(floating)
            .await
            .map_err(|why| why.when(format!("taking off {}", place(floating))))
    }

    /// Takes off all addresses that a director put on any interface, but for those to keep: what an
    /// earlier run left behind, or with nothing to keep, everything. Returns what was taken off.
    ///
    /// # Errors
    /// When the kernel refuses. The others are taken off nevertheless.
    pub async fn lower_all_but(
        &self,
        keep: &[FloatingAddress],
    ) -> Result<Vec<IpAddr>, NetworkError> {
        let doing = "taking off the floating addresses";
        let mut ours = self.sweepings(keep).await.map_err(|why| why.when(doing))?;
        // A primary address takes its secondaries along: those first.
        ours.sort_by_key(|entry| !entry.header.flags.contains(AddressHeaderFlags::Secondary));
        let mut gone = Vec::new();
        let mut result = Ok(());
        for entry in ours {
            match self.remove(&entry).await {
                Ok(()) => gone.extend(local(&entry)),
                Err(why) => result = Err(why.when(doing)),
            }
        }
        result.map(|()| gone)
    }

    /// Puts an address on a link where these entries of it are.
    async fn put_on(
        &self,
        floating: &FloatingAddress,
        link: u32,
        there: Vec<AddressMessage>,
    ) -> Result<Raised, Refusal> {
        let (ours, foreign): (Vec<_>, Vec<_>) = there.into_iter().partition(is_ours);
        if !foreign.is_empty() {
            return Ok(stays(floating));
        }
        let mut kept = false;
        for entry in ours {
            if entry.header.prefix_len == floating.prefix {
                kept = true;
            } else {
                self.remove(&entry).await?;
            }
        }
        if kept {
            return Ok(Raised::Kept);
        }
        match self.add(entry_for(floating, link)).await {
            Ok(()) => Ok(Raised::Added),
            Err(Refusal::Kernel(Errno::EEXIST)) => Ok(stays(floating)),
            Err(refusal) => Err(refusal),
        }
    }

    async fn take_off(&self, floating: &FloatingAddress) -> Result<Lowered, Refusal> {
        let link = match Link::ask(&self.kernel, &floating.interface).await {
            Err(Refusal::NoInterface(_)) => return Ok(Lowered::Absent),
            link => link?,
        };
        let mut lowered = Lowered::Absent;
        for entry in self.entries(link.index, floating.address).await? {
            if is_ours(&entry) {
                self.remove(&entry).await?;
                lowered = Lowered::Removed;
            } else if lowered == Lowered::Absent {
                lowered = Lowered::Foreign;
            }
        }
        Ok(lowered)
    }

    /// The entries of one address on one link: one for each prefix length.
    async fn entries(&self, link: u32, address: IpAddr) -> Result<Vec<AddressMessage>, Refusal> {
        let mut entries = self.table().await?;
        entries.retain(|entry| entry.header.index == link && local(entry) == Some(address));
        Ok(entries)
    }

    /// Our entries that are not to be kept.
    async fn sweepings(&self, keep: &[FloatingAddress]) -> Result<Vec<AddressMessage>, Refusal> {
        let mut kept = HashSet::new();
        let mut links = LinkIndexes::default();
        for floating in keep {
            match links.of(&self.kernel, &floating.interface).await {
                Ok(link) => {
                    kept.insert((link, Some(floating.address), floating.prefix));
                }
                Err(Refusal::NoInterface(_)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let mut entries = self.table().await?;
        entries.retain(|entry| is_ours(entry) && !kept.contains(&identity(entry)));
        Ok(entries)
    }

    /// Removes an entry. Where it was the primary address of its network, the kernel removes all
    /// others of that network too; they are put back.
    async fn remove(&self, entry: &AddressMessage) -> Result<(), Refusal> {
        let before = if may_take_others(entry) {
            self.table().await?
        } else {
            Vec::new()
        };
        let question = RouteNetlinkMessage::DelAddress(entry.clone());
        match self.kernel.ask(question, NLM_F_ACK).await {
            // Somebody was faster.
            Ok(_) | Err(Refusal::Kernel(Errno::EADDRNOTAVAIL)) => {}
            Err(refusal) => return Err(refusal),
        }
        if before.is_empty() {
            return Ok(());
        }
        let after = self.table().await?;
        for lost in before {
            let same = |other: &AddressMessage| identity(other) == identity(&lost);
            if lost.header.index == entry.header.index
                && !same(entry)
                && !after.iter().any(same)
                && let Err(error) = self.add(lost.clone()).await
            {
                warn!(address = ?local(&lost), %error, "not put back after its network went");
            }
        }
        Ok(())
    }

    async fn add(&self, entry: AddressMessage) -> Result<(), Refusal> {
        let question = RouteNetlinkMessage::NewAddress(entry);
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.kernel.ask(question, flags).await?;
        Ok(())
    }

    async fn table(&self) -> Result<Vec<AddressMessage>, Refusal> {
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answer = self.kernel.ask(question, NLM_F_DUMP).await?;
        let entries = answer.into_iter().filter_map(|message| {
            if let RouteNetlinkMessage::NewAddress(entry) = message {
                Some(entry)
            } else {
                None
            }
        });
        Ok(entries.collect())
    }
}

/// The indexes of interfaces, each asked for once.
#[derive(Default)]
struct LinkIndexes(HashMap<String, u32>);

impl LinkIndexes {
    async fn of(&mut self, kernel: &Kernel, interface: &str) -> Result<u32, Refusal> {
        if let Some(index) = self.0.get(interface) {
            return Ok(*index);
        }
        let index = Link::ask(kernel, interface).await?.index;
        self.0.insert(interface.to_owned(), index);
        Ok(index)
    }
}

/// Whether other addresses may go with this one: those of its network, if it is the first of them.
fn may_take_others(entry: &AddressMessage) -> bool {
    let header = &entry.header;
    let is_first = !header.flags.contains(AddressHeaderFlags::Secondary);
    let is_v4 = local(entry).is_some_and(|address| address.is_ipv4());
    is_first && is_v4 && header.prefix_len < 32
}

/// Says so, and leaves it.
fn stays(floating: &FloatingAddress) -> Raised {
    let FloatingAddress {
        address, interface, ..
    } = floating;
    info!(%address, interface, "the address is there and not ours: it will stay when we go");
    Raised::Foreign
}

fn place(floating: &FloatingAddress) -> String {
    let FloatingAddress {
        address,
        prefix,
        interface,
        ..
    } = floating;
    format!("{address}/{prefix} on {interface}")
}

/// The table entry of a floating address.
fn entry_for(floating: &FloatingAddress, link: u32) -> AddressMessage {
    let mut entry = AddressMessage::default();
    entry.header.family = family(floating.address);
    entry.header.index = link;
    entry.header.prefix_len = floating.prefix;
    entry.attributes = vec![
        AddressAttribute::Local(floating.address),
        AddressAttribute::Address(floating.address),
        AddressAttribute::Protocol(AddressProtocol::Other(ORIGIN)),
    ];
    match floating.address {
        IpAddr::V4(address) => {
            let label = AddressAttribute::Label(floating.label.clone());
            entry.attributes.push(label);
            if floating.prefix < 31 {
                let hosts = u32::MAX >> floating.prefix;
                let broadcast = Ipv4Addr::from_bits(address.to_bits() | hosts);
                entry
                    .attributes
                    .push(AddressAttribute::Broadcast(broadcast));
            }
        }
        IpAddr::V6(_) => {
            // Nobody else has it, and waiting for duplicates would delay the service. Preferred
            // for no time: the director's own connections come from its own addresses.
            entry.header.flags = AddressHeaderFlags::Nodad;
            entry
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_preferred = 0;
            lifetime.ifa_valid = u32::MAX;
            entry.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
    }
    entry
}

fn is_ours(entry: &AddressMessage) -> bool {
    entry
        .attributes
        .contains(&AddressAttribute::Protocol(AddressProtocol::Other(ORIGIN)))
}

/// The address itself: of a point-to-point link `Address` is the other end's.
fn local(entry: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &entry.attributes {
        if let AddressAttribute::Local(local) = attribute {
            return Some(*local);
        } else if let AddressAttribute::Address(other) = attribute {
            address = Some(*other);
        }
    }
    address
}

fn identity(entry: &AddressMessage) -> (u32, Option<IpAddr>, u8) {
    (entry.header.index, local(entry), entry.header.prefix_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floating(address: &str, prefix: u8) -> FloatingAddress {
        FloatingAddress {
            address: address.parse().unwrap(),
            prefix,
            interface: "eth0".to_owned(),
            label: "eth0:1".to_owned(),
        }
    }

    #[test]
    fn an_ipv4_entry_has_label_mark_and_broadcast_address() {
        let table = [
            (8, Some("10.255.255.255")),
            (24, Some("10.1.2.255")),
            (30, Some("10.1.2.3")),
            (31, None),
            (32, None),
        ];
        for (prefix, broadcast) in table {
            let entry = entry_for(&floating("10.1.2.3", prefix), 2);
            let broadcast = broadcast.map(|address| address.parse().unwrap());
            let told = entry.attributes.iter().find_map(|attribute| {
                if let AddressAttribute::Broadcast(address) = attribute {
                    Some(*address)
                } else {
                    None
                }
            });
            assert_eq!(told, broadcast, "/{prefix}");
            let label = AddressAttribute::Label("eth0:1".to_owned());
            assert!(entry.attributes.contains(&label));
            assert!(is_ours(&entry));
        }
    }

    #[test]
    fn an_ipv6_entry_is_used_at_once_and_not_preferred() {
        let entry = entry_for(&floating("2001:db8::64", 64), 2);
        assert_eq!(entry.header.flags, AddressHeaderFlags::Nodad);
        let lifetime = entry.attributes.iter().find_map(|attribute| {
            if let AddressAttribute::CacheInfo(lifetime) = attribute {
                Some(*lifetime)
            } else {
                None
            }
        });
        let lifetime = lifetime.unwrap();
        assert_eq!((lifetime.ifa_preferred, lifetime.ifa_valid), (0, u32::MAX));
    }

    #[test]
    fn the_address_of_an_entry_is_the_local_one() {
        let near = IpAddr::from([10, 0, 0, 1]);
        let far = IpAddr::from([10, 0, 0, 2]);
        let mut entry = AddressMessage::default();
        assert_eq!(local(&entry), None);
        entry.attributes = vec![AddressAttribute::Address(far)];
        assert_eq!(local(&entry), Some(far));
        entry.attributes.push(AddressAttribute::Local(near));
        assert_eq!(local(&entry), Some(near));
    }
}
