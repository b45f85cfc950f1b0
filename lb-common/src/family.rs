//! The two address families, as one trait: what IPv4 and IPv6 headers have in common.
//!
//! The pipeline is written once over [`Family`] and compiled for both, so that IPv4 flows have
//! 4-byte addresses in their keys and neither family pays for the other.

use bytemuck::Pod;

use crate::{
    address::{Address4, Address6},
    checksum::{Checksum, Sum},
    packet::Packet,
    verdict::Reason,
    wire::{
        Be16, Be32,
        ethernet::ethertype,
        ipv4::{DONT_FRAGMENT, Ipv4},
        ipv6::Ipv6,
        protocol,
    },
};

/// Which end of a packet an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it is going.
    Destination,
}

/// What the IP header says besides addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Length of header and payload, in bytes.
    pub length: usize,
    /// Hops that are left.
    pub hops: u8,
    /// IPv4 with "don't fragment" set, or IPv6: never to be cut by a router.
    pub whole: bool,
    /// Differentiated services and ECN.
    pub service: u8,
    /// What tells fragments of different packets apart; zero for IPv6, which is never cut.
    pub identification: Be16,
}

/// An address family: its header type and how the few things that the pipeline needs are read and
/// written in it.
pub trait Family: Copy + 'static {
    /// The address, as flows keep it.
    type Address: Pod + Eq;
    /// The IP header.
    type Header: Pod;

    /// What announces the header in Ethernet.
    const ETHERTYPE: Be16;
    /// What announces it in IP: the protocol number of a tunnel.
    const IN_IP: u8;
    /// `AF_INET` or `AF_INET6`.
    const AF: u8;
    /// Every link takes packets of so many bytes (RFC 791 §3.2, RFC 8200 §5): nobody may be told to
    /// send shorter ones.
    const LEAST_MTU: u16;

    /// The address in the form of the tables.
    fn widen(address: Self::Address) -> Address6;
    /// The address that [`Family::widen`] made `address` of.
    fn narrow(address: &Address6) -> Self::Address;
    /// The bits of an address that `mask` has.
    fn masked(address: &Self::Address, mask: &Address6) -> Self::Address;
    /// Whether it may be the address of one host. That of a subnet's broadcast cannot be told from
    /// it, but such packets come by a link broadcast.
    fn is_host(address: &Self::Address) -> bool;
    /// The address at one end.
    fn address(header: &Self::Header, end: End) -> Self::Address;
    /// Writes the address at one end; a checksum of the header itself is kept right.
    fn set_address(header: &mut Self::Header, end: End, address: Self::Address);
    /// One hop less; a checksum of the header itself is kept right.
    ///
    /// # Errors
    /// [`Reason::HopLimit`] if no hop would be left: the packet must not travel on.
    fn take_hop(header: &mut Self::Header) -> Result<(), Reason>;
    /// Whether the header, which starts at byte `at` of `packet`, has a right checksum or none.
    fn is_intact<P: Packet>(packet: &P, at: usize, header: &Self::Header) -> bool;
    /// What the header says besides addresses.
    fn facts(header: &Self::Header) -> Facts;
    /// Makes `header` the outer header of a tunnel from `source` to `destination` round a packet of
    /// `protocol` ([`Family::IN_IP`]) whose own header says `inner`. As IPVS does, service and hops
    /// are those of the inner packet, and it may be cut where the inner one may.
    fn wrap(
        header: &mut Self::Header,
        protocol: u8,
        inner: &Facts,
        source: &Address6,
        destination: &Address6,
    );
}

/// IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V4;

/// IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V6;

impl Family for V4 {
    type Address = Address4;
    type Header = Ipv4;

    const ETHERTYPE: Be16 = ethertype::IPV4;
    const IN_IP: u8 = protocol::IPIP;
    const AF: u8 = 2;
    const LEAST_MTU: u16 = 68;

    #[inline(always)]
    fn widen(address: Address4) -> Address6 {
        address.mapped()
    }

    #[inline(always)]
    fn narrow(address: &Address6) -> Address4 {
        address.unmapped()
    }

    #[inline(always)]
    fn masked(address: &Address4, mask: &Address6) -> Address4 {
        let (bits, mask) = (u32::from_ne_bytes(address.0), mask.unmapped());
        Address4((bits & u32::from_ne_bytes(mask.0)).to_ne_bytes())
    }

    /// Neither this network (0/8), nor loopback, nor multicast, reserved and broadcast (224/3).
    #[inline(always)]
    fn is_host(address: &Address4) -> bool {
        !matches!(address.0, [0 | 127 | 224.., ..])
    }

    #[inline(always)]
    fn address(header: &Ipv4, end: End) -> Address4 {
        Address4(match end {
            End::Source => header.source,
            End::Destination => header.destination,
        })
    }

    #[inline(always)]
    fn set_address(header: &mut Ipv4, end: End, address: Address4) {
        let field = match end {
            End::Source => &mut header.source,
            End::Destination => &mut header.destination,
        };
        let change = Sum::default().minus(field).plus(&address);
        *field = address.0;
        header.checksum.apply(change);
    }

    #[inline(always)]
    fn take_hop(header: &mut Ipv4) -> Result<(), Reason> {
        if header.ttl <= 1 {
            return Err(Reason::HopLimit);
        }
        header.ttl -= 1;
        header.checksum.gain(Be16::new(0x0100));
        Ok(())
    }

    #[inline(always)]
    fn is_intact<P: Packet>(packet: &P, at: usize, header: &Ipv4) -> bool {
        let sum = if header.header_length() == size_of::<Ipv4>() {
            packet.sum_ipv4(at)
        } else {
            packet.sum(at, header.header_length())
        };
        sum.is_some_and(|sum| sum.checksum() == Checksum::default())
    }

    #[inline(always)]
    fn facts(header: &Ipv4) -> Facts {
        Facts {
            length: header.total_length.get() as usize,
            hops: header.ttl,
            whole: header.fragment.get() & DONT_FRAGMENT != 0,
            service: header.service,
            identification: header.identification,
        }
    }

    #[inline(always)]
    fn wrap(
        header: &mut Ipv4,
        protocol: u8,
        inner: &Facts,
        source: &Address6,
        destination: &Address6,
    ) {
        *header = Ipv4 {
            version_length: 0x45,
            service: inner.service,
            total_length: Be16::new((size_of::<Ipv4>() + inner.length) as u16),
            identification: inner.identification,
            fragment: Be16::new(if inner.whole { DONT_FRAGMENT } else { 0 }),
            ttl: inner.hops,
            protocol,
            checksum: Default::default(),
            source: source.unmapped().0,
            destination: destination.unmapped().0,
        };
        header.checksum = header.computed_checksum();
    }
}

impl Family for V6 {
    type Address = Address6;
    type Header = Ipv6;

    const ETHERTYPE: Be16 = ethertype::IPV6;
    const IN_IP: u8 = protocol::IPV6;
    const AF: u8 = 10;
    const LEAST_MTU: u16 = 1280;

    #[inline(always)]
    fn widen(address: Address6) -> Address6 {
        address
    }

    #[inline(always)]
    fn narrow(address: &Address6) -> Address6 {
        *address
    }

    #[inline(always)]
    fn masked(address: &Address6, mask: &Address6) -> Address6 {
        let ([high, low], [high_mask, low_mask]): ([u64; 2], [u64; 2]) =
            (bytemuck::cast(*address), bytemuck::cast(*mask));
        bytemuck::cast([high & high_mask, low & low_mask])
    }

    /// Neither multicast nor of `::/64`, where the unspecified address is, and loopback, and IPv4
    /// in disguise, but no host.
    #[inline(always)]
    fn is_host(address: &Address6) -> bool {
        let [high, _] = address.to_halves();
        high[0] != 0xff && u64::from_ne_bytes(high) != 0
    }

    #[inline(always)]
    fn address(header: &Ipv6, end: End) -> Address6 {
        Address6::from_halves(match end {
            End::Source => header.source,
            End::Destination => header.destination,
        })
    }

    #[inline(always)]
    fn set_address(header: &mut Ipv6, end: End, address: Address6) {
        let halves = match end {
            End::Source => &mut header.source,
            End::Destination => &mut header.destination,
        };
        let [high, low] = address.to_halves();
        halves[0] = high;
        halves[1] = low;
    }

    #[inline(always)]
    fn take_hop(header: &mut Ipv6) -> Result<(), Reason> {
        if header.hop_limit <= 1 {
            return Err(Reason::HopLimit);
        }
        header.hop_limit -= 1;
        Ok(())
    }

    #[inline(always)]
    fn is_intact<P: Packet>(_packet: &P, _at: usize, _header: &Ipv6) -> bool {
        true
    }

    #[inline(always)]
    fn facts(header: &Ipv6) -> Facts {
        Facts {
            length: size_of::<Ipv6>() + header.payload_length.get() as usize,
            hops: header.hop_limit,
            whole: true,
            service: (header.version_class_label.get() >> 20) as u8,
            identification: Be16::default(),
        }
    }

    #[inline(always)]
    fn wrap(
        header: &mut Ipv6,
        protocol: u8,
        inner: &Facts,
        source: &Address6,
        destination: &Address6,
    ) {
        *header = Ipv6 {
            version_class_label: Be32::new(6 << 28 | u32::from(inner.service) << 20),
            payload_length: Be16::new(inner.length as u16),
            next_header: protocol,
            hop_limit: inner.hops,
            source: source.to_halves(),
            destination: destination.to_halves(),
        };
    }
}
