//! The network of the lab: a client, one or two routers and real servers.
//!
//! The addresses are the same in both wirings; only the switches differ:
//!
//! ```text
//! OneNet                                   TwoNets
//!   client   router   rs1  rs2  rs3          client ── outside ── router ── inside ── rs1 rs2 rs3
//!     │ eth0   │ eth0  │    │    │             │ eth0         eth0    eth1     │        eth0
//!     └────────┴─ net ─┴────┴────┘             └╌╌╌╌╌╌╌╌╌ eth1 (not NAT) ╌╌╌╌╌╌┘
//! ```
//!
//! With NAT the real servers' way back to the client is the router; otherwise it is one that does
//! not cross the router: straight through the only switch, or by the client's own leg inside.

use anyhow::Result;

use crate::{
    address::{FAMILIES, Family},
    host::Host,
    lab::Lab,
    site::Method,
    switch::Switch,
    tunnel::TunnelEnd,
    wire::add_address,
};

/// What a network is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How the director forwards; decides the real servers' addresses and routes.
    pub method: Method,
    /// One network, or clients and servers apart.
    pub wiring: Wiring,
    /// One router, or a pair.
    pub routers: u8,
    /// How many real servers.
    pub servers: u8,
}

/// Which switches there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// All on one switch: packets leave the router by the interface they came in.
    OneNet,
    /// Clients and servers apart: packets cross the router.
    TwoNets,
}

/// The hosts, connected.
#[derive(Debug)]
pub struct Network {
    /// What it was made from.
    pub plan: Plan,
    /// The client.
    pub client: Host,
    /// The routers, on which a director can be started.
    pub routers: Vec<Host>,
    /// The real servers.
    pub servers: Vec<Host>,
    /// The switch of the clients' network (and of all, in `OneNet`).
    pub outside: Switch,
    /// The switch of the servers' network.
    pub inside: Switch,
    /// Where the packets of `Method::Tunnel` are unwrapped, one per real server.
    pub tunnel_ends: Vec<TunnelEnd>,
}

/// The interface of every host that it is reached by from the clients' network, and the only one
/// of a real server.
pub const OUTSIDE: &str = "eth0";

impl Plan {
    /// One router, three real servers, in the wiring that is usual for the method.
    pub fn new(method: Method) -> Self {
        let wiring = match method {
            Method::Nat => Wiring::TwoNets,
            Method::Direct | Method::Tunnel => Wiring::OneNet,
        };
        Self {
            method,
            wiring,
            routers: 1,
            servers: 3,
        }
    }

    /// The same in another wiring.
    pub fn wired(self, wiring: Wiring) -> Self {
        Self { wiring, ..self }
    }

    /// The interfaces of a router.
    pub fn router_interfaces(self) -> &'static [&'static str] {
        match self.wiring {
            Wiring::OneNet => &["eth0"],
            Wiring::TwoNets => &["eth0", "eth1"],
        }
    }

    /// The router's interface to the servers.
    fn router_inside(self) -> &'static str {
        match self.wiring {
            Wiring::OneNet => "eth0",
            Wiring::TwoNets => "eth1",
        }
    }

    /// Whether the client has a leg on the servers' network, for answers that avoid the router.
    fn client_is_inside(self) -> bool {
        self.wiring == Wiring::TwoNets && self.method != Method::Nat
    }
}

impl Network {
    /// Makes the hosts and connects them.
    pub fn new(lab: &Lab, plan: Plan) -> Result<Self> {
        let outside = Switch::new(lab, "outside")?;
        let inside = match plan.wiring {
            Wiring::OneNet => outside.clone(),
            Wiring::TwoNets => Switch::new(lab, "inside")?,
        };
        let mut network = Self {
            plan,
            client: lab.host("client")?,
            routers: Vec::new(),
            servers: Vec::new(),
            outside,
            inside,
            tunnel_ends: Vec::new(),
        };
        network.connect_client()?;
        for index in 0..plan.routers {
            let name = if index == 0 { "router" } else { "router2" };
            let router = lab.host(name)?;
            network.connect_router(&router, index)?;
            network.routers.push(router);
        }
        for index in 0..plan.servers {
            let server = lab.host(&format!("rs{}", index + 1))?;
            network.connect_server(&server, index)?;
            network.servers.push(server);
        }
        Ok(network)
    }

    /// The router; the first one of a pair.
    pub fn router(&self) -> &Host {
        &self.routers[0]
    }

    /// Gives the router the virtual addresses, so that clients find them at it.
    pub fn hold_vips(&self, router: &Host) -> Result<()> {
        FAMILIES
            .into_iter()
            .try_for_each(|family| add_address(router, OUTSIDE, &family.alone(family.vip())))
    }

    /// Lets the real servers behind tunnels ask clients for segments as long as their links take: longer
    /// than a tunnel does.
    pub fn ask_for_long_segments(&self, family: Family) -> Result<()> {
        let route = format!("route replace {} dev {OUTSIDE}", family.outside());
        let mut servers = self.servers.iter();
        servers.try_for_each(|server| server.ip(&route))
    }

    fn connect_client(&self) -> Result<()> {
        self.outside.plug(&self.client, OUTSIDE)?;
        for family in FAMILIES {
            add_address(&self.client, OUTSIDE, &family.with_length(family.client()))?;
            self.client
                .ip(&format!("route add default via {}", family.router(0)))?;
        }
        if self.plan.client_is_inside() {
            self.inside.plug(&self.client, "eth1")?;
            for family in FAMILIES {
                add_address(
                    &self.client,
                    "eth1",
                    &family.with_length(family.client_inside()),
                )?;
            }
        }
        Ok(())
    }

    fn connect_router(&self, router: &Host, index: u8) -> Result<()> {
        router.set(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
        self.outside.plug(router, OUTSIDE)?;
        if self.plan.wiring == Wiring::TwoNets {
            self.inside.plug(router, "eth1")?;
        }
        for family in FAMILIES {
            add_address(router, OUTSIDE, &family.with_length(family.router(index)))?;
            let inside = family.with_length(family.router_inside(index));
            add_address(router, self.plan.router_inside(), &inside)?;
        }
        Ok(())
    }

    fn connect_server(&mut self, server: &Host, index: u8) -> Result<()> {
        self.inside.plug(server, OUTSIDE)?;
        for family in FAMILIES {
            add_address(server, OUTSIDE, &family.with_length(family.server(index)))?;
            server.ip(&self.way_back(family))?;
        }
        match self.plan.method {
            Method::Nat => {}
            Method::Direct => accept_vips(server)?,
            Method::Tunnel => {
                accept_vips(server)?;
                // Packets that GRO has put together lack their checksums when they are unwrapped.
                server.ip(&format!("link set {OUTSIDE} gro_max_size 1"))?;
                self.tunnel_ends.push(TunnelEnd::open(server, index)?);
            }
        }
        Ok(())
    }

    /// The real servers' route to the clients.
    fn way_back(&self, family: Family) -> String {
        let clients = family.outside();
        // Full segments of a client must leave room for the outer header.
        let room = match self.plan.method {
            Method::Nat | Method::Direct => "",
            Method::Tunnel => "advmss 1400",
        };
        match (self.plan.method, self.plan.wiring) {
            (Method::Nat, _) if self.plan.routers > 1 => {
                format!("route add default via {}", family.nat_router())
            }
            (Method::Nat, _) => format!("route add default via {}", family.router_inside(0)),
            (Method::Direct | Method::Tunnel, Wiring::OneNet) => {
                format!("route add {clients} dev {OUTSIDE} {room}")
            }
            (Method::Direct | Method::Tunnel, Wiring::TwoNets) => {
                format!("route add {clients} via {} {room}", family.client_inside())
            }
        }
    }
}

/// The real server takes packets for the virtual addresses, but does not say that it has them.
fn accept_vips(server: &Host) -> Result<()> {
    server.set(&[
        ("ipv4/conf/all/arp_ignore", "1"),
        ("ipv4/conf/all/arp_announce", "2"),
    ])?;
    // IPv6 needs no such settings: neighbour discovery speaks only for an interface's own addresses.
    FAMILIES
        .into_iter()
        .try_for_each(|family| add_address(server, "lo", &family.alone(family.vip())))
}
