//! The keys and values of the maps, their names and sizes: the contract between the daemon and the
//! program in the kernel. A change of any layout here is a new [`VERSION`].

use bytemuck::{Pod, Zeroable};

use crate::{
    address::Address6,
    state::{DEFAULT_TIMEOUTS, State, ticks},
    wire::{Be16, ethernet::Mac},
};

/// The version of the layout: the `N` of `/sys/fs/bpf/lb/vN`.
pub const VERSION: u32 = 1;

/// Default sizes of the maps, in entries.
pub mod size {
    /// Virtual services.
    pub const SERVICES: u32 = 16_384;
    /// Real servers, each counted once per service.
    pub const SERVERS: u32 = 65_536;
    /// Slots of all rings together.
    pub const RING: u32 = 1_048_576;
    /// Flows of each address family; a masqueraded one counts twice.
    pub const FLOWS: u32 = 262_144;
    /// How many more keys than flows the queue of a flow table holds: those in the hands of the
    /// sweeper and the spare entries that the kernel gives each CPU.
    pub const QUEUE_SPARE: u32 = 4_096;
    /// VLAN interfaces.
    pub const VLANS: u32 = 4_096;
}

/// What identifies a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct ServiceKey {
    /// The virtual IP.
    pub address: Address6,
    /// The virtual port.
    pub port: Be16,
    /// TCP or UDP.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 5],
}

/// A virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Service {
    /// Its id: the index of its turn in `turns`.
    pub id: u32,
    /// The first slot of its ring in `ring`.
    pub ring: u32,
    /// The number of slots; zero if no real server is available.
    pub slots: u32,
    /// Who gets the next connection.
    pub scheduler: SchedulerKind,
}

/// How a slot of the ring is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct SchedulerKind(pub u32);

impl SchedulerKind {
    /// One slot after the other: rr and wrr, which differ in how the ring was laid.
    pub const TURNS: Self = Self(0);
    /// The slot of the least loaded server by weight: wlc.
    pub const LEAST_LOADED: Self = Self(1);
    /// The slot of the client's address: sh.
    pub const SOURCE_HASH: Self = Self(2);
}

/// The way to a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct NextHop {
    /// The interface that frames leave by; zero if the way is not known.
    pub interface: u32,
    /// The VLAN that they are tagged with, 1 to 4094; zero for none.
    pub vlan: u16,
    /// The neighbour's MAC address.
    pub mac: Mac,
    /// The router's own.
    pub source_mac: Mac,
    /// The largest IP packet, in bytes; zero if not known.
    pub mtu: u16,
}

/// A real server of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Server {
    /// Its address.
    pub address: Address6,
    /// The way there.
    pub hop: NextHop,
    /// The service that it belongs to.
    pub service: u32,
    /// Its share of new connections; zero for none.
    pub weight: u32,
    /// Its port.
    pub port: Be16,
    /// How packets reach it.
    pub method: MethodKind,
    /// See [`Server::PRESENT`] and [`Server::IPV6`].
    pub flags: u8,
    /// The outer source address of a tunnel.
    pub tunnel_source: Address6,
}

impl Server {
    /// In [`Server::flags`]: the slot is in use. Flows of a server that is not present end at their
    /// next packet.
    pub const PRESENT: u8 = 1;
    /// In [`Server::flags`]: the address is one of IPv6.
    pub const IPV6: u8 = 2;

    /// Whether the slot is in use.
    #[must_use]
    #[inline(always)]
    pub const fn is_present(&self) -> bool {
        self.flags & Self::PRESENT != 0
    }

    /// Whether its replies come back this way.
    #[must_use]
    #[inline(always)]
    pub const fn is_masqueraded(&self) -> bool {
        self.method.0 == MethodKind::NAT.0
    }
}

/// How packets reach a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct MethodKind(pub u8);

impl MethodKind {
    /// Masquerading.
    pub const NAT: Self = Self(0);
    /// Direct routing.
    pub const DIRECT: Self = Self(1);
    /// IP-in-IP.
    pub const TUNNEL: Self = Self(2);
}

/// How many flows a real server has now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Load {
    /// Established TCP connections.
    pub active: u32,
    /// All others.
    pub inactive: u32,
}

/// What a real server got and sent, on one CPU, since it was added.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Traffic {
    /// Flows that were scheduled to it.
    pub connections: u64,
    /// Packets to it.
    pub packets_in: u64,
    /// Bytes to it: IP header and payload, as IPVS counts.
    pub bytes_in: u64,
    /// Packets from it that came this way (masquerading).
    pub packets_out: u64,
    /// Bytes from it.
    pub bytes_out: u64,
}

/// What the program has to know besides the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Settings {
    /// How long a silent flow is remembered, in ticks, by [`State`].
    pub timeouts: [u32; State::COUNT],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: DEFAULT_TIMEOUTS.map(ticks),
        }
    }
}

/// What a VLAN interface stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Vlan {
    /// The interface that carries it.
    pub parent: u32,
    /// Its VLAN id.
    pub id: u32,
}

#[cfg(feature = "user")]
mod user {
    use super::*;
    use crate::{
        address::Address4,
        flow::{Flow, FlowKey},
    };

    macro_rules! pod {
        ($($type:ty),+) => {
            $(
                // SAFETY: the type is `bytemuck::Pod`, which promises more than `aya::Pod` asks.
                unsafe impl aya::Pod for $type {}
            )+
        };
    }

    pod!(
        ServiceKey,
        Service,
        Server,
        Load,
        Traffic,
        Settings,
        Vlan,
        FlowKey<Address4>,
        FlowKey<Address6>,
        Flow<Address4>,
        Flow<Address6>
    );
}
