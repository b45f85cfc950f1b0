//! Interfaces: names, indexes, MAC addresses, and which of them are VLANs of others.

use std::collections::BTreeMap;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{
        InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
        LinkMessage, LinkXdp, VlanProtocol, XdpAttached,
    },
};
use nix::errno::Errno;
use rtnetlink::packet_core::NLM_F_DUMP;

use super::{NetworkError, Refusal, kernel::Kernel};

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The number by which kernel and XDP know it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address, if it is an Ethernet and has one.
    pub mac: Option<[u8; 6]>,
    /// The longest IP packet that it carries.
    pub mtu: u32,
    /// It was switched on (`ip link set up`).
    pub up: bool,
    /// The cable is in: a switched-on link hears its other end.
    pub carrier: bool,
    /// What it is a VLAN of.
    pub vlan: Option<Vlan>,
    /// It is one end of a virtual cable between network namespaces.
    pub veth: bool,
    /// How an XDP program runs on it, if there is one.
    pub xdp: Option<Xdp>,
}

/// How an XDP program runs on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xdp {
    /// In the driver, or in the card itself.
    Native,
    /// In the kernel's own packet handling.
    Generic,
}

/// What makes a link a VLAN of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// The link that carries the tagged frames; none if that is in another network namespace.
    pub parent: Option<u32>,
    /// The VLAN id.
    pub id: u16,
    /// The kind of its tag.
    pub tag: Tag,
}

/// The kind of a VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// 802.1Q, EtherType 0x8100: the usual one.
    Customer,
    /// 802.1ad, EtherType 0x88a8.
    Service,
}

/// All interfaces of the director.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    by_index: BTreeMap<u32, Link>,
}

impl Links {
    /// Asks the kernel for all interfaces. Needs a tokio runtime.
    ///
    /// # Errors
    /// When netlink fails, with the kernel's reason.
    pub async fn read() -> Result<Self, NetworkError> {
        let read = async { Self::ask(&Kernel::open()?).await };
        read.await
            .map_err(|why: Refusal| why.when("listing the interfaces"))
    }

    pub(super) async fn ask(kernel: &Kernel) -> Result<Self, Refusal> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answer = kernel.ask(question, NLM_F_DUMP).await?;
        Ok(answer.iter().filter_map(link_of).collect())
    }

    /// The interface of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, name: &str) -> Result<&Link, Refusal> {
        self.iter()
            .find(|link| link.name == name)
            .ok_or_else(|| Refusal::NoInterface(name.to_owned()))
    }

    /// The interface of this index.
    pub fn at(&self, index: u32) -> Option<&Link> {
        self.by_index.get(&index)
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_index.values()
    }

    /// An interface came or changed. False if it is as it was known.
    pub(super) fn note(&mut self, link: Link) -> bool {
        let changed = self.at(link.index) != Some(&link);
        self.by_index.insert(link.index, link);
        changed
    }

    /// An interface went. False if it was not known.
    pub(super) fn forget(&mut self, index: u32) -> bool {
        self.by_index.remove(&index).is_some()
    }
}

impl FromIterator<Link> for Links {
    fn from_iter<T: IntoIterator<Item = Link>>(links: T) -> Self {
        Self {
            by_index: links.into_iter().map(|link| (link.index, link)).collect(),
        }
    }
}

impl Link {
    /// Asks the kernel for the interface of this name.
    pub(super) async fn ask(kernel: &Kernel, name: &str) -> Result<Self, Refusal> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let missing = || Refusal::NoInterface(name.to_owned());
        match kernel.ask(RouteNetlinkMessage::GetLink(message), 0).await {
            // A name longer than names can be is out of range for the kernel.
            Err(Refusal::Kernel(Errno::ENODEV | Errno::ERANGE | Errno::EINVAL)) => Err(missing()),
            Err(refusal) => Err(refusal),
            Ok(answer) => answer.iter().find_map(link_of).ok_or_else(missing),
        }
    }

    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        // Bridges tell of their ports as links of family bridge; those are half-told.
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let flags = message.header.flags;
        let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            vlan: None,
            veth: false,
            xdp: None,
        };
        let mut parent = None;
        let mut elsewhere = false;
        for attribute in &message.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                link.name.clone_from(name);
            } else if let LinkAttribute::Mtu(mtu) = attribute {
                link.mtu = *mtu;
            } else if let LinkAttribute::Address(mac) = attribute {
                link.mac = mac.as_slice().try_into().ok().filter(|_| ethernet);
            } else if let LinkAttribute::Link(index) = attribute {
                parent = Some(*index);
            } else if let LinkAttribute::LinkNetNsId(_) = attribute {
                elsewhere = true;
            } else if let LinkAttribute::Xdp(infos) = attribute {
                link.xdp = infos.iter().find_map(xdp_of);
            } else if let LinkAttribute::LinkInfo(infos) = attribute {
                link.vlan = infos.iter().find_map(vlan_of);
                link.veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
        }
        if let Some(vlan) = &mut link.vlan {
            vlan.parent = parent.filter(|_| !elsewhere);
        }
        Some(link)
    }
}

fn link_of(message: &RouteNetlinkMessage) -> Option<Link> {
    if let RouteNetlinkMessage::NewLink(message) = message {
        Link::from_message(message)
    } else {
        None
    }
}

fn xdp_of(info: &LinkXdp) -> Option<Xdp> {
    let LinkXdp::Attached(attached) = info else {
        return None;
    };
    if *attached == XdpAttached::None {
        None
    } else if *attached == XdpAttached::SocketBuffer {
        Some(Xdp::Generic)
    } else {
        // By the driver, by the card, or by several at once.
        Some(Xdp::Native)
    }
}

/// The VLAN that a link says it is; its parent is told elsewhere.
fn vlan_of(info: &LinkInfo) -> Option<Vlan> {
    let LinkInfo::Data(InfoData::Vlan(infos)) = info else {
        return None;
    };
    let mut vlan = Vlan {
        parent: None,
        id: 0,
        tag: Tag::Customer,
    };
    for info in infos {
        if let InfoVlan::Id(id) = info {
            vlan.id = *id;
        } else if let InfoVlan::Protocol(VlanProtocol::Ieee8021Ad) = info {
            vlan.tag = Tag::Service;
        }
    }
    Some(vlan)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn message(family: AddressFamily, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.interface_family = family;
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up;
        message.attributes = attributes;
        message
    }

    #[test]
    fn a_vlan_knows_its_parent_unless_that_is_elsewhere() {
        let vlan = LinkInfo::Data(InfoData::Vlan(vec![
            InfoVlan::Id(100),
            InfoVlan::Protocol(VlanProtocol::Ieee8021Q),
        ]));
        let mut attributes = vec![
            LinkAttribute::IfName("eth0.100".to_owned()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Link(2),
            LinkAttribute::LinkInfo(vec![vlan]),
            LinkAttribute::Address(MAC.to_vec()),
        ];
        for (parent, elsewhere) in [(Some(2), None), (None, Some(LinkAttribute::LinkNetNsId(0)))] {
            attributes.extend(elsewhere);
            let link = Link::from_message(&message(AddressFamily::Unspec, attributes.clone()));
            let expected = Link {
                index: 7,
                name: "eth0.100".to_owned(),
                mac: Some(MAC),
                mtu: 1500,
                up: true,
                carrier: false,
                vlan: Some(Vlan {
                    parent,
                    id: 100,
                    tag: Tag::Customer,
                }),
                veth: false,
                xdp: None,
            };
            assert_eq!(link, Some(expected));
        }
    }

    #[test]
    fn what_a_bridge_tells_of_a_port_is_not_a_link() {
        assert_eq!(
            Link::from_message(&message(AddressFamily::Bridge, Vec::new())),
            None
        );
    }

    #[test]
    fn only_ethernets_have_mac_addresses() {
        let mut tunnel = message(
            AddressFamily::Unspec,
            vec![LinkAttribute::Address(vec![10, 0, 0, 1])],
        );
        tunnel.header.link_layer_type = LinkLayerType::Tunnel;
        let mut loopback = message(
            AddressFamily::Unspec,
            vec![LinkAttribute::Address(vec![0; 6])],
        );
        loopback.header.link_layer_type = LinkLayerType::Loopback;
        for message in [tunnel, loopback] {
            assert_eq!(Link::from_message(&message).and_then(|link| link.mac), None);
        }
    }

    #[test]
    fn a_missing_interface_is_named() {
        let refusal = Links::default().named("eth7").unwrap_err();
        assert_eq!(refusal.to_string(), "there is no interface eth7");
    }
}
