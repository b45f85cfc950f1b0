//! The site of a measurement: services and real servers, put into the tables by the daemon's own reconciler.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use lb_control::{
    dataplane::{Dataplane, kernel::KernelDataplane},
    event::Event,
    health::{Health, Report},
    model::{
        self, Check, Forwarding, Probe, Protocol, RealServer, Scheduler, ServiceAddress, Settings,
        VirtualService,
    },
    network::next_hop::{NextHop, Resolution, Resolved},
    reconciler::Reconciler,
};
use lb_tests::Family;
use tokio::{runtime, sync::mpsc};

/// Services and real servers by number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    pub(crate) family: Family,
    pub(crate) protocol: Protocol,
    pub(crate) forwarding: Forwarding,
    pub(crate) scheduler: Scheduler,
    pub(crate) services: u32,
    /// How many real servers each service has.
    pub(crate) servers: u32,
    /// New flows per second above which hashing schedulers remember none; 0: no limit.
    pub(crate) stateless_above: u32,
    /// How long a silent connection is remembered.
    pub(crate) tcp_timeout: Duration,
    /// The interface by which servers are reached.
    pub(crate) interface: u32,
    /// How long an IP packet may be on the way to them.
    pub(crate) mtu: u32,
}

/// How long an IP packet may be, unless something else is wanted.
pub(crate) const MTU: u32 = 1_500;
/// The port of services and real servers.
pub(crate) const PORT: u16 = 80;
/// The UDP port of GUE.
pub(crate) const GUE_PORT: u16 = 6_080;

/// The networks for measurements (RFC 2544, RFC 5180): clients.
pub(crate) fn clients(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 18, 0, 0).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0).into(),
    }
}

/// The address of a service.
pub(crate) fn virtual_address(family: Family, service: u32) -> IpAddr {
    plus(
        match family {
            Family::V4 => Ipv4Addr::new(10, 64, 0, 1).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 1).into(),
        },
        service,
    )
}

/// Addresses that are no service's.
pub(crate) fn foreign(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 65, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x65, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The address of a real server: the servers of a service follow those of the service before.
pub(crate) fn real_address(family: Family, server: u32) -> IpAddr {
    plus(
        match family {
            Family::V4 => Ipv4Addr::new(10, 128, 0, 1).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, 0x128, 0, 0, 0, 0, 0, 1).into(),
        },
        server,
    )
}

/// The router's own address.
pub(crate) fn router(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, 1).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1).into(),
    }
}

fn plus(base: IpAddr, number: u32) -> IpAddr {
    match base {
        IpAddr::V4(base) => Ipv4Addr::from(u32::from(base) + number).into(),
        IpAddr::V6(base) => Ipv6Addr::from(u128::from(base) + u128::from(number)).into(),
    }
}

/// Fills the tables as the daemon does when it has read lvs.cf, knows the ways to all servers, and found
/// all of them well.
pub(crate) fn fill(sites: &[Site], dataplane: KernelDataplane) -> Result<()> {
    let events = events(sites);
    let (sender, receiver) = mpsc::channel(events.len());
    for event in events {
        sender.try_send(event)?;
    }
    // Without a sender the reconciler ends when it has done all.
    drop(sender);
    let sizes = dataplane.sizes();
    let needed: u32 = sites.iter().map(|site| site.services * site.servers).sum();
    if needed > sizes.servers {
        bail!("{needed} real servers are more than the tables hold");
    }
    let reconciler = Reconciler::new(dataplane).context("reading the tables")?;
    let runtime = runtime::Builder::new_current_thread().build()?;
    runtime.block_on(reconciler.run(receiver));
    Ok(())
}

fn events(sites: &[Site]) -> Vec<Event> {
    let mut configured = model::Site::default();
    let mut events = Vec::new();
    for site in sites {
        configured.settings = site.settings();
        configured.timeouts.tcp = site.tcp_timeout;
        for number in 0..site.services {
            let service = site.service(number);
            for server in &service.servers {
                events.push(way(server.socket.ip(), site.interface, site.mtu));
                events.push(Event::Health(Report {
                    service: service.key,
                    server: server.socket,
                    health: Health::Up,
                }));
            }
            configured.services.push(Arc::new(service));
        }
    }
    events.insert(0, Event::Configured(configured));
    events
}

impl Site {
    fn settings(&self) -> Settings {
        Settings {
            stateless_above: self.stateless_above,
            secret: [0x0123_4567_89ab_cdef, 0x0fed_cba9_8765_4321],
            ..Settings::default()
        }
    }

    /// The services.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ServiceAddress> {
        (0..self.services).map(|number| self.key(number))
    }

    fn key(&self, number: u32) -> ServiceAddress {
        ServiceAddress {
            address: virtual_address(self.family, number),
            port: PORT,
            protocol: self.protocol,
        }
    }

    fn service(&self, number: u32) -> VirtualService {
        let key = self.key(number);
        let probe = Probe::new(
            Check::Talk {
                send: None,
                expect: None,
            },
            Duration::from_secs(6),
            Duration::from_secs(15),
        );
        let first = number * self.servers;
        VirtualService {
            forwarding: self.forwarding,
            servers: (first..first + self.servers)
                .map(|server| {
                    let socket = SocketAddr::new(real_address(self.family, server), PORT);
                    RealServer::new(&format!("r{server}"), socket, self.forwarding, 1)
                })
                .collect(),
            ..VirtualService::new(&format!("s{number}"), key, self.scheduler, probe)
        }
    }
}

/// The way to a real server is known: by the gateway on this interface, in packets that
/// are so long at most.
pub(crate) fn way(address: IpAddr, interface: u32, mtu: u32) -> Event {
    let family = if address.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    Event::Way(Resolved {
        address,
        resolution: Resolution::Resolved(NextHop {
            interface,
            vlan: None,
            source_mac: ROUTER_MAC,
            mac: GATEWAY_MAC,
            mtu,
            source: Some(router(family)),
        }),
    })
}

/// The router's end of its interface.
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Whom it sends everything to.
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
