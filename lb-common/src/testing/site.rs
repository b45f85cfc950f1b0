//! Sites: what the control plane would have put into the tables.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{HostTables, mac};
use crate::{
    address::Address6,
    maps::{
        MethodKind, NextHop, Persistence, RangeKey, Refusal, Role, SchedulerKind, Server, Service,
        ServiceKey, Settings, Thresholds, Vlan,
    },
    tables::Route,
    wire::{Be16, protocol},
};

/// The interface on the clients' side; its MAC address is `mac(0x01)`.
pub const FRONT: u32 = 11;
/// The interface on the real servers' side; its MAC address is `mac(0x02)`.
pub const BACK: u32 = 12;
/// The VLAN [`FRONT_VLAN_ID`] on [`FRONT`].
pub const FRONT_VLAN: u32 = 13;
/// Its id.
pub const FRONT_VLAN_ID: u32 = 20;
/// An interface on which forwarding is switched off.
pub const CLOSED: u32 = 14;

/// Virtual services and real servers, as the control plane writes them into the maps.
#[derive(Debug, Clone)]
pub struct Site {
    /// Virtual services.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Real servers by id. Number 0 is none.
    pub servers: Vec<Server>,
    /// The slots of all rings.
    pub ring: Vec<u32>,
    /// Virtual services by ranges of ports and the number of bits that count.
    pub ranges: BTreeMap<(RangeKey, u32), Service>,
    /// Persistence by service.
    pub persistence: BTreeMap<u32, Persistence>,
    /// Thresholds by server.
    pub thresholds: BTreeMap<u32, Thresholds>,
    /// Settings.
    pub settings: Settings,
    /// VLAN interfaces by index.
    pub vlans: BTreeMap<u32, Vlan>,
    /// What the kernel's routing says of the way to the clients.
    pub route: Route,
}

impl Default for Site {
    fn default() -> Self {
        let vlan = Vlan {
            parent: FRONT,
            id: FRONT_VLAN_ID,
        };
        Self {
            services: BTreeMap::new(),
            servers: vec![bytemuck::Zeroable::zeroed()],
            ring: Vec::new(),
            ranges: BTreeMap::new(),
            persistence: BTreeMap::new(),
            thresholds: BTreeMap::new(),
            settings: Settings::default(),
            vlans: BTreeMap::from([(FRONT_VLAN, vlan)]),
            route: Route::Via(NextHop {
                interface: FRONT,
                vlan: 0,
                mac: mac(0xc1),
                source_mac: mac(0x01),
                mtu: 1_500,
            }),
        }
    }
}

impl Site {
    /// With a virtual service whose ring has a slot for each of `servers`, whose ids are the next
    /// free ones.
    ///
    /// # Panics
    /// If `address` is none.
    #[must_use]
    pub fn service(
        mut self,
        protocol: u8,
        address: &str,
        scheduler: SchedulerKind,
        servers: &[Server],
    ) -> Self {
        let id = self.services.len() as u32;
        let ring = self.ring.len() as u32;
        for server in servers {
            self.ring.push(self.servers.len() as u32);
            self.servers.push(Server {
                service: id,
                ..*server
            });
        }
        let service = Service {
            id,
            ring,
            slots: servers.len() as u32,
            scheduler,
            flags: 0,
            refusal: Refusal::RESET,
            pad: 0,
        };
        self.services
            .insert(service_key(protocol, address), service);
        self
    }

    /// With a change of every service.
    #[must_use]
    pub fn services(mut self, change: impl Fn(&mut Service)) -> Self {
        self.services.values_mut().for_each(&change);
        self.ranges.values_mut().for_each(&change);
        self
    }

    /// With changed settings.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// With this answer of the kernel's routing.
    #[must_use]
    pub fn route(self, route: Route) -> Self {
        Self { route, ..self }
    }

    /// What each of the addresses is to the balancer.
    #[must_use]
    pub fn roles(&self) -> BTreeMap<Address6, Role> {
        let services = self.services.keys().map(|key| key.address);
        let ranges = self.ranges.keys().map(|(key, _)| Address6(key.address));
        let servers = self
            .servers
            .iter()
            .filter(|server| server.is_present() && server.is_masqueraded());
        let mut roles = BTreeMap::<Address6, Role>::new();
        for (address, role) in services
            .chain(ranges)
            .map(|address| (address, Role::VIRTUAL))
            .chain(servers.map(|server| (server.address, Role::MASQUERADED)))
        {
            let roles = roles.entry(address).or_default();
            *roles = roles.and(role);
        }
        roles
    }

    /// The tables of this site, without flows.
    #[must_use]
    pub fn tables(&self) -> HostTables {
        HostTables {
            services: self.services.clone(),
            servers: self.servers.clone(),
            ring: self.ring.clone(),
            ranges: self.ranges.clone(),
            persistence: self.persistence.clone(),
            thresholds: self.thresholds.clone(),
            settings: self.settings,
            route: self.route,
            roles: self.roles(),
            ..HostTables::default()
        }
    }
}

/// The key of a virtual service.
///
/// # Panics
/// If `address` is none.
#[must_use]
pub fn service_key(protocol: u8, address: &str) -> ServiceKey {
    let address: SocketAddr = address.parse().expect("a virtual address with a port");
    ServiceKey {
        address: address.ip().into(),
        port: Be16::new(address.port()),
        protocol,
        pad: [0; 5],
    }
}

/// A real server behind [`BACK`] with weight 1, whose MAC address is `mac(last)`.
///
/// # Panics
/// If `address` is none.
#[must_use]
pub fn server(method: MethodKind, address: &str, last: u8) -> Server {
    let address: SocketAddr = address
        .parse()
        .expect("a real server's address with a port");
    let (family, tunnel_source) = match address.ip() {
        IpAddr::V4(_) => (0, IpAddr::from([10, 0, 0, 1])),
        IpAddr::V6(_) => (
            Server::IPV6,
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1_u16]),
        ),
    };
    Server {
        address: address.ip().into(),
        hop: NextHop {
            interface: BACK,
            vlan: 0,
            mac: mac(last),
            source_mac: mac(0x02),
            mtu: 1500,
        },
        service: 0,
        weight: 1,
        tunnel_port: Be16::new(0),
        port: Be16::new(address.port()),
        method,
        flags: Server::PRESENT | family,
        tunnel_source: tunnel_source.into(),
    }
}

impl Server {
    /// Behind [`FRONT`] instead: the packets of clients and servers share an interface.
    #[must_use]
    pub fn in_front(self) -> Self {
        self.hop(|hop| {
            hop.interface = FRONT;
            hop.source_mac = mac(0x01);
        })
    }

    /// With a changed way there.
    #[must_use]
    pub fn hop(mut self, change: impl FnOnce(&mut NextHop)) -> Self {
        change(&mut self.hop);
        self
    }

    /// With these flags besides.
    #[must_use]
    pub fn with(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// With this weight.
    #[must_use]
    pub fn weight(self, weight: u16) -> Self {
        Self { weight, ..self }
    }
}

/// Both transport protocols.
pub const PROTOCOLS: [(u8, &str); 2] = [(protocol::TCP, "TCP"), (protocol::UDP, "UDP")];
