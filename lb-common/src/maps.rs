//! The keys and values of the maps, their names and sizes: the contract between the daemon and the
//! program in the kernel. A change of any layout here is a new [`VERSION`].

use bytemuck::{Pod, Zeroable};

use crate::{
    address::Address6,
    state::{DEFAULT_REUSE, DEFAULT_TIMEOUTS, State, ticks},
    wire::{Be16, ethernet::Mac},
};

/// The version of the layout: the `N` of `/sys/fs/bpf/lb/vN`.
pub const VERSION: u32 = 5;

/// Default sizes of the maps, in entries.
pub mod size {
    /// Virtual services.
    pub const SERVICES: u32 = 16_384;
    /// Real servers, each counted once per service.
    pub const SERVERS: u32 = 65_536;
    /// Slots of all rings together.
    pub const RING: u32 = 1_048_576;
    /// Entries of the flow table of each address family: a masqueraded flow has two, and a
    /// persistence template is one.
    pub const FLOWS: u32 = 262_144;
    /// How many more keys than flows the queue of a flow table holds: those in the hands of the
    /// sweeper and the spare entries that the kernel gives each CPU.
    pub const QUEUE_SPARE: u32 = 4_096;
    /// VLAN interfaces.
    pub const VLANS: u32 = 4_096;
    /// Ranges of ports, each cut into at most 30 prefixes.
    pub const RANGES: u32 = 16_384;
    /// Addresses that have a [`super::Role`]: those of services and of real servers.
    pub const ADDRESSES: u32 = SERVICES + SERVERS;
    /// What the ring holds by which fragments get into the daemon's hands, in bytes: a power of
    /// two.
    pub const HELD: u32 = 1 << 20;
    /// What the ring holds by which the daemon learns what becomes of flows, in bytes: a power of two.
    pub const CHANGES: u32 = 1 << 21;
    /// Fragmented datagrams of each address family that are remembered at a time.
    pub const FRAGMENTS: u32 = 16_384;
    /// Destinations whose servers lblc and lblcr remember.
    pub const LOCALITIES: u32 = 16_384;
    /// Interfaces that are counted one by one: those with an index below this.
    pub const INTERFACES: u32 = 1_024;
}

/// What identifies a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct ServiceKey {
    /// The virtual IP.
    pub address: Address6,
    /// The virtual port.
    pub port: Be16,
    /// TCP, UDP or SCTP.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 5],
}

/// What identifies a range of ports of a virtual address: the key of a longest-prefix trie. A range
/// is cut into prefixes of the port; all ports are the empty prefix of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct RangeKey {
    /// The virtual IP.
    pub address: [u8; 16],
    /// TCP, UDP, SCTP, or a protocol without ports.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
    /// The first port.
    pub port: Be16,
}

impl RangeKey {
    /// How many bits the key of a single port has, and that of every look-up. A range has fewer by
    /// the bits of the port that are free.
    pub const BITS: u32 = 160;

    /// The key to look a packet's service up by.
    #[must_use]
    #[inline(always)]
    pub const fn of(key: &ServiceKey) -> Self {
        Self {
            address: key.address.0,
            protocol: key.protocol,
            pad: 0,
            port: key.port,
        }
    }
}

/// A virtual service. All keys of a group have the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Service {
    /// Its id: the index of its turn in `turns` and of its [`Persistence`].
    pub id: u32,
    /// The first slot of its ring in `ring`.
    pub ring: u32,
    /// The number of slots; zero if no real server is available.
    pub slots: u32,
    /// Who gets the next connection.
    pub scheduler: SchedulerKind,
    /// See the constants of [`Service`].
    pub flags: u8,
    /// What a client gets if there is no server for it.
    pub refusal: Refusal,
    /// Zero.
    pub pad: u8,
}

impl Service {
    /// In [`Service::flags`]: a hashing scheduler looks for another server if the one that it
    /// found is not available (sh-fallback, mh-fallback).
    pub const FALLBACK: u8 = 1;
    /// In [`Service::flags`]: the client's port is hashed too (sh-port, mh-port).
    pub const HASH_PORT: u8 = 2;
    /// In [`Service::flags`]: every datagram is scheduled by itself (`ops`).
    pub const ONE_PACKET: u8 = 4;
    /// In [`Service::flags`]: a client stays with its server, see [`Persistence`].
    pub const PERSISTENT: u8 = 8;

    /// Whether this flag is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// How a real server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct SchedulerKind(pub u8);

impl SchedulerKind {
    /// One slot after the other: rr and wrr, which differ in how the ring was laid.
    pub const TURNS: Self = Self(0);
    /// The least loaded by weight: wlc.
    pub const LEAST_LOADED: Self = Self(1);
    /// The slot of the client's address: sh.
    pub const SOURCE_HASH: Self = Self(2);
    /// The least loaded, whatever its weight: lc.
    pub const LEAST_CONNECTIONS: Self = Self(3);
    /// The shortest expected delay: sed.
    pub const SHORTEST_DELAY: Self = Self(4);
    /// One that is idle, else the shortest expected delay: nq.
    pub const NEVER_QUEUE: Self = Self(5);
    /// The first of the ring, which is laid by weight: fo.
    pub const FAILOVER: Self = Self(6);
    /// The first of the ring that has no more active connections than its weight: ovf.
    pub const OVERFLOW: Self = Self(7);
    /// The less loaded of two slots taken at random: twos.
    pub const TWO_CHOICES: Self = Self(8);
    /// The slot of the destination's address: dh.
    pub const DESTINATION_HASH: Self = Self(9);
    /// The slot of a Maglev table by a keyed hash of the client's address: mh.
    pub const MAGLEV: Self = Self(10);
    /// The same with the hash of IPVS, whose key is known to everybody: mh-compat.
    pub const MAGLEV_COMPAT: Self = Self(11);
    /// The server that the destination's address had before: lblc.
    pub const LOCALITY: Self = Self(12);
    /// One of the servers that the destination's address had before: lblcr.
    pub const LOCALITY_SET: Self = Self(13);

    /// Whether the choice depends on addresses alone, so that it is the same without a flow entry.
    #[must_use]
    #[inline(always)]
    pub const fn is_hashing(self) -> bool {
        matches!(
            self,
            Self::SOURCE_HASH | Self::DESTINATION_HASH | Self::MAGLEV | Self::MAGLEV_COMPAT
        )
    }
}

/// What a client gets if there is no server for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Refusal(pub u8);

impl Refusal {
    /// A reset for TCP, an ICMP port unreachable for all else.
    pub const RESET: Self = Self(0);
    /// An ICMP port unreachable, as IPVS sends it for TCP too.
    pub const UNREACHABLE: Self = Self(1);
    /// Nothing.
    pub const SILENCE: Self = Self(2);
}

/// How long a client stays with its server, and which clients are taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Persistence {
    /// The bits of the client's address that count.
    pub mask: Address6,
    /// For how long after its last flow, in ticks; zero: clients do not stay.
    pub timeout: u32,
    /// Zero.
    pub pad: u32,
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

impl NextHop {
    /// No way.
    pub const NONE: Self = Self {
        interface: 0,
        vlan: 0,
        mac: [0; 6],
        source_mac: [0; 6],
        mtu: 0,
    };
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
    pub weight: u16,
    /// The UDP port of a GUE tunnel.
    pub tunnel_port: Be16,
    /// Its port; zero if it is the one that the client used.
    pub port: Be16,
    /// How packets reach it.
    pub method: MethodKind,
    /// See the constants of [`Server`].
    pub flags: u8,
    /// The router's own address towards it: the outer source of a tunnel, and the source that it
    /// sees with [`Server::SOURCE_NAT`].
    pub tunnel_source: Address6,
}

impl Server {
    /// In [`Server::flags`]: the slot is in use. Flows of a server that is not present end at their
    /// next packet.
    pub const PRESENT: u8 = 1;
    /// In [`Server::flags`]: the address is one of IPv6.
    pub const IPV6: u8 = 2;
    /// In [`Server::flags`]: it has [`Thresholds`].
    pub const LIMITED: u8 = 4;
    /// In [`Server::flags`]: the outer UDP or GRE header of its tunnel has a checksum.
    pub const TUNNEL_CHECKSUM: u8 = 8;
    /// In [`Server::flags`]: masqueraded at both ends (full NAT), so that replies come back this
    /// way without being routed here.
    pub const SOURCE_NAT: u8 = 16;

    /// Whether this flag is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the slot is in use.
    #[must_use]
    #[inline(always)]
    pub const fn is_present(&self) -> bool {
        self.flags & Self::PRESENT != 0
    }

    /// The port on which it gets what clients send to `port`.
    #[must_use]
    #[inline(always)]
    pub const fn port_for(&self, port: Be16) -> Be16 {
        if self.port.get() == 0 {
            port
        } else {
            self.port
        }
    }

    /// Whether its replies come back this way.
    #[must_use]
    #[inline(always)]
    pub const fn is_masqueraded(&self) -> bool {
        self.method.0 == MethodKind::NAT.0
    }
}

/// What an address is to the balancer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Role(pub u32);

impl Role {
    /// Services have it.
    pub const VIRTUAL: Self = Self(1);
    /// A real server has it whose replies come this way.
    pub const MASQUERADED: Self = Self(2);
    /// A service had it, some of whose flows may finish.
    pub const FORMER: Self = Self(4);
    /// It is on whichever director of a pair has the right to steer, be it of a service or not.
    pub const FLOATING: Self = Self(8);

    /// Whether this is one of its roles.
    #[must_use]
    #[inline(always)]
    pub const fn has(self, role: Self) -> bool {
        self.0 & role.0 != 0
    }

    /// Both roles.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, role: Self) -> Self {
        Self(self.0 | role.0)
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
    /// IP in IP.
    pub const TUNNEL: Self = Self(2);
    /// A tunnel with a GRE header (RFC 2784).
    pub const GRE: Self = Self(3);
    /// A tunnel with UDP and GUE headers (draft-ietf-intarea-gue, variant 0).
    pub const GUE: Self = Self(4);
    /// The router itself: packets go up to its own stack as they are.
    pub const LOCAL: Self = Self(5);

    /// Whether packets travel inside others.
    #[must_use]
    #[inline(always)]
    pub const fn is_tunnel(self) -> bool {
        matches!(self, Self::TUNNEL | Self::GRE | Self::GUE)
    }
}

/// How many flows a real server has now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Load {
    /// Connections of TCP that are being opened or established, established ones of SCTP
    /// ([`State::is_active`]).
    pub active: u32,
    /// All others.
    pub inactive: u32,
    /// Those of `inactive` that are closing or closed.
    pub closing: u32,
    /// Persistence templates: clients that stay with it.
    pub persistent: u32,
    /// Not zero while it gets no new flows because of its [`Thresholds`].
    pub overloaded: u32,
}

/// How many flows a real server may have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Thresholds {
    /// With as many flows it is overloaded; zero: never.
    pub upper: u32,
    /// With fewer it is no longer; zero: with less than three quarters of `upper`.
    pub lower: u32,
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
    /// See the constants of [`Settings`].
    pub flags: u32,
    /// When a SYN starts a new connection with the sockets of an old one: IPVS's `conn_reuse_mode`,
    /// see [`State::can_start_anew`].
    pub reuse: u32,
    /// How many entries the flow table of a family may have.
    pub flows: u32,
    /// How many of them may belong to flows that are half-open.
    pub half_open: u32,
    /// New flows per second on one CPU above which hashing schedulers remember none; zero: no limit.
    pub stateless_above: u32,
    /// Answers of our own (resets, ICMP) per second on one CPU; more are not sent.
    pub answers: u32,
    /// The first port of the pool of full NAT.
    pub pool_first: u16,
    /// How many ports the pool has.
    pub pool_size: u16,
    /// Zero.
    pub pad: u32,
    /// The key of mh's hash, the same on both directors.
    pub secret: [u64; 2],
}

impl Settings {
    /// In [`Settings::flags`]: packets of flows whose server is gone are dropped in silence until
    /// it returns or they expire (`expire_nodest_conn = 0`).
    pub const KEEP_FLOWS: u32 = 1;
    /// In [`Settings::flags`]: persistent clients stay with a server of weight 0
    /// (`expire_quiescent_template = 0`).
    pub const KEEP_TEMPLATES: u32 = 2;
    /// In [`Settings::flags`]: any TCP segment but a reset begins a flow (`sloppy_tcp`).
    pub const SLOPPY_TCP: u32 = 4;
    /// In [`Settings::flags`]: any SCTP packet begins a flow (`sloppy_sctp`).
    pub const SLOPPY_SCTP: u32 = 8;
    /// In [`Settings::flags`]: ICMP errors without a flow are scheduled too (`schedule_icmp`).
    pub const SCHEDULE_ICMP: u32 = 16;
    /// In [`Settings::flags`]: tunnels may be fragmented on their way (`pmtu_disc = 0`).
    pub const CUT_TUNNELS: u32 = 32;
    /// In [`Settings::flags`]: there are services with ranges of ports.
    pub const RANGES: u32 = 64;
    /// In [`Settings::flags`]: a partner wants to know what becomes of flows ([`crate::record`]).
    pub const SYNC: u32 = 128;

    /// Whether this flag is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: DEFAULT_TIMEOUTS.map(ticks),
            flags: 0,
            reuse: DEFAULT_REUSE,
            flows: size::FLOWS,
            half_open: size::FLOWS / 2,
            stateless_above: 100_000,
            answers: 1_000,
            pool_first: 1_024,
            pool_size: 31_744,
            pad: 0,
            secret: [0; 2],
        }
    }
}

/// How many entries of a flow table belong to which flows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Census {
    /// To those that are half-open.
    pub half_open: u32,
    /// To all others, and templates.
    pub standing: u32,
}

/// What has to be counted by the second.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Rate {
    /// Which second it is: ticks, shifted right by ten.
    pub second: u32,
    /// How many there were in it.
    pub count: u32,
}

impl Rate {
    /// One more.
    #[must_use]
    #[inline(always)]
    pub const fn counted(self, now: u32) -> Self {
        let second = now >> 10;
        Self {
            second,
            count: if self.second == second {
                self.count.saturating_add(1)
            } else {
                1
            },
        }
    }
}

/// What came in by an interface on one CPU, by what became of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct InterfaceTraffic {
    /// Packets that came in.
    pub packets: u64,
    /// Their bytes, link header included.
    pub bytes: u64,
    /// Packets that were sent on, or answered.
    pub steered: u64,
    /// Packets that went up to the kernel's own stack.
    pub passed: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// Whose destination it is that lblc and lblcr remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct LocalityKey {
    /// The destination's address.
    pub address: Address6,
    /// The service.
    pub service: u32,
    /// Zero.
    pub pad: u32,
}

/// The servers of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Locality {
    /// Their ids, the latest first; zero for none. lblc has one.
    pub servers: [u32; Locality::SERVERS],
    /// When it was used last, in ticks.
    pub used: u32,
    /// When a server joined or left, in ticks.
    pub changed: u32,
}

impl Locality {
    /// How many servers one destination may have.
    pub const SERVERS: usize = 8;
}

/// A frame on its way into the daemon's hands: a record of the ring `held`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct HeldFrame {
    /// The interface that it came in by.
    pub interface: u32,
    /// How many bytes it has.
    pub length: u32,
    /// The bytes; those behind its end mean nothing.
    pub bytes: [u8; HeldFrame::CAPACITY],
}

impl HeldFrame {
    /// The longest frame that is held, in bytes.
    pub const CAPACITY: usize = 2048;
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
        fragment::FragmentKey,
        lease::{Clock, Lease},
        room::Room,
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
        Address6,
        ServiceKey,
        RangeKey,
        Service,
        Persistence,
        Server,
        Load,
        Thresholds,
        Census,
        Rate,
        InterfaceTraffic,
        LocalityKey,
        Locality,
        Traffic,
        Settings,
        Vlan,
        Role,
        Clock,
        Lease,
        FlowKey<Address4>,
        FlowKey<Address6>,
        Flow<Address4>,
        Flow<Address6>,
        FragmentKey<Address4>,
        FragmentKey<Address6>,
        Room<Address4>,
        Room<Address6>
    );
}
