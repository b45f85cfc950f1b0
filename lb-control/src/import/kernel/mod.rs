//! IPVS as it runs in this kernel, asked by generic netlink (include/uapi/linux/ip_vs.h).
//!
//! Why so, and not by `ipvsadm -S` or /proc/net/ip_vs: the first loses the thresholds, the timeouts and
//! the sync daemons, the second has neither persistence engines nor tunnels nor thresholds.

mod attributes;
mod socket;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use self::{
    attributes::{Attributes, put},
    socket::Socket,
};
use super::{
    found::{Found, Server, Service, Setting, What, scheduler, sync_daemon},
    report::{Place, Report},
};
use crate::{
    control::change::{ServerTerms, ServiceTerms},
    ipvsadm::command,
    model::{Family, Forwarding, Protocol, SchedulerFlags, Tunnel},
};

/// What the kernel answered: the attributes of each service, of its servers, and of the rest.
#[derive(Debug, Default, Clone)]
pub struct Table {
    services: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    daemons: Vec<Vec<u8>>,
    timeouts: Vec<u8>,
}

/// Commands of the family.
mod question {
    pub(super) const GET_SERVICE: u8 = 4;
    pub(super) const GET_DEST: u8 = 8;
    pub(super) const GET_DAEMON: u8 = 11;
    pub(super) const GET_CONFIG: u8 = 13;
}

/// What a message is about.
mod about {
    pub(super) const SERVICE: u16 = 1;
    pub(super) const DEST: u16 = 2;
    pub(super) const DAEMON: u16 = 3;
    pub(super) const TIMEOUT_TCP: u16 = 4;
    pub(super) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(super) const TIMEOUT_UDP: u16 = 6;
}

/// Attributes of a service.
mod svc {
    pub(super) const AF: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const ADDR: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const FWMARK: u16 = 5;
    pub(super) const SCHED_NAME: u16 = 6;
    pub(super) const FLAGS: u16 = 7;
    pub(super) const TIMEOUT: u16 = 8;
    pub(super) const NETMASK: u16 = 9;
    pub(super) const PE_NAME: u16 = 11;
}

/// Flags of a service, besides those of its scheduler.
mod flag {
    pub(super) const PERSISTENT: u32 = 1;
    pub(super) const ONE_PACKET: u32 = 4;
}

/// Attributes of a real server.
mod dest {
    pub(super) const ADDR: u16 = 1;
    pub(super) const PORT: u16 = 2;
    pub(super) const FWD_METHOD: u16 = 3;
    pub(super) const WEIGHT: u16 = 4;
    pub(super) const U_THRESH: u16 = 5;
    pub(super) const L_THRESH: u16 = 6;
    pub(super) const ADDR_FAMILY: u16 = 11;
    pub(super) const TUN_TYPE: u16 = 13;
    pub(super) const TUN_PORT: u16 = 14;
    pub(super) const TUN_FLAGS: u16 = 15;
}

/// Attributes of a sync daemon.
mod sync {
    pub(super) const INTERFACE: u16 = 2;
    pub(super) const ID: u16 = 3;
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The table of the network namespace of this thread.
///
/// # Errors
/// If the kernel has no IPVS, or does not let us see it.
pub fn running() -> io::Result<Table> {
    let mut socket = Socket::open("IPVS")?;
    let mut table = Table::default();
    for service in socket.dump(question::GET_SERVICE, &[])? {
        let Some(service) = Attributes(&service)
            .bytes(about::SERVICE)
            .map(<[u8]>::to_vec)
        else {
            continue;
        };
        let mut name = Vec::new();
        for kind in [svc::AF, svc::PROTOCOL, svc::ADDR, svc::PORT, svc::FWMARK] {
            if let Some(value) = Attributes(&service).bytes(kind) {
                put(&mut name, kind, value);
            }
        }
        let mut asked = Vec::new();
        put(&mut asked, about::SERVICE, &name);
        let servers = socket.dump(question::GET_DEST, &asked)?;
        let server = |answer: Vec<u8>| Attributes(&answer).bytes(about::DEST).map(<[u8]>::to_vec);
        let servers = servers.into_iter().filter_map(server).collect();
        table.services.push((service, servers));
    }
    let daemon = |answer: Vec<u8>| Attributes(&answer).bytes(about::DAEMON).map(<[u8]>::to_vec);
    let daemons = socket.dump(question::GET_DAEMON, &[])?;
    table.daemons = daemons.into_iter().filter_map(daemon).collect();
    table.timeouts = socket.ask(question::GET_CONFIG, &[])?;
    Ok(table)
}

/// What the answers mean.
pub(super) fn found(table: &Table, report: &mut Report) -> Found {
    let mut found = Found::default();
    let place = Place::whole("IPVS");
    let timeouts = Attributes(&table.timeouts);
    // As long as nobody has set them they are as here.
    for (name, kind, usual) in [
        ("tcp_timeout", about::TIMEOUT_TCP, 900),
        ("tcpfin_timeout", about::TIMEOUT_TCP_FIN, 120),
        ("udp_timeout", about::TIMEOUT_UDP, 300),
    ] {
        let seconds = timeouts.u32(kind).filter(|seconds| *seconds != usual);
        found
            .globals
            .extend(seconds.map(|seconds| Setting::plain(name, seconds, &place)));
    }
    // The daemons of both roles are one `syncdaemon`.
    if let Some(daemon) = table.daemons.first() {
        let daemon = Attributes(daemon);
        let id = daemon.u32(sync::ID).and_then(|id| u8::try_from(id).ok());
        match sync_daemon(&daemon.text(sync::INTERFACE), id.unwrap_or(0), &place) {
            Ok(settings) => found.globals.extend(settings),
            Err(why) => report.left_out(&place, why),
        }
    }
    for (attributes, servers) in &table.services {
        match service(&Attributes(attributes), report) {
            Ok(mut service) => {
                for attributes in servers {
                    match server(&Attributes(attributes), &service) {
                        Ok(server) => service.servers.push(server),
                        Err(why) => report.left_out(&service.place, why),
                    }
                }
                // As ipvsadm lists them.
                service
                    .servers
                    .sort_by_key(|server| (server.address, server.port));
                found.services.push(service);
            }
            Err(why) => report.left_out(&place, why),
        }
    }
    found.services.sort_by_key(|service| order(&service.what));
    found
}

fn order(what: &What) -> (u32, bool, Protocol, Option<SocketAddr>) {
    match what {
        What::Address(protocol, socket) => (0, socket.is_ipv6(), *protocol, Some(*socket)),
        What::Mark(mark, family) => (*mark, *family == Family::Ipv6, Protocol::Tcp, None),
        What::Several(_) => (0, false, Protocol::Tcp, None),
    }
}

fn service(attributes: &Attributes<'_>, report: &mut Report) -> Result<Service, String> {
    let family = family(attributes.u16(svc::AF)).ok_or("a service of an unknown family")?;
    let what = match attributes.u32(svc::FWMARK) {
        Some(mark @ 1..) => What::Mark(mark, family),
        Some(0) | None => {
            let protocol = match attributes.u16(svc::PROTOCOL) {
                Some(6) => Protocol::Tcp,
                Some(17) => Protocol::Udp,
                Some(132) => Protocol::Sctp,
                other => return Err(format!("a service of protocol {}", other.unwrap_or(0))),
            };
            let address = address(family, attributes.bytes(svc::ADDR));
            let address = address.ok_or("a service without an address")?;
            let port = attributes.port(svc::PORT).unwrap_or(0);
            What::Address(protocol, SocketAddr::new(address, port))
        }
    };
    let place = Place::whole(&match &what {
        What::Address(protocol, socket) => format!("IPVS, {protocol} {socket}"),
        What::Mark(mark, Family::Ipv4) => format!("IPVS, FWM {mark}"),
        What::Mark(mark, Family::Ipv6) => format!("IPVS, FWM {mark} IPv6"),
        What::Several(_) => "IPVS".to_owned(),
    });
    let scheduler = scheduler(&attributes.text(svc::SCHED_NAME))?;
    let flags = attributes.u32(svc::FLAGS).unwrap_or(0);
    let engine = attributes.text(svc::PE_NAME);
    if !engine.is_empty() {
        let why =
            format!("the persistence engine `{engine}`: clients are told apart by their addresses");
        report.left_out(&place, why);
    }
    let is_persistent = flags & flag::PERSISTENT != 0;
    let mask = attributes
        .bytes(svc::NETMASK)
        .and_then(|bytes| mask(family, bytes));
    let terms = ServiceTerms {
        scheduler: Some(scheduler),
        flags: Some(SchedulerFlags {
            fallback: flags & command::Service::FALLBACK != 0,
            port: flags & command::Service::PORT != 0,
            compat: false,
        }),
        persistent: attributes.u32(svc::TIMEOUT).filter(|_| is_persistent),
        mask: mask.filter(|_| is_persistent),
        one_packet: Some(flags & flag::ONE_PACKET != 0),
        ..ServiceTerms::default()
    };
    Ok(Service {
        place,
        what,
        terms,
        servers: Vec::new(),
        sorry: None,
        settings: Vec::new(),
        notes: Vec::new(),
    })
}

fn server(attributes: &Attributes<'_>, service: &Service) -> Result<Server, String> {
    let usual = match service.what {
        What::Address(_, socket) => Family::of(socket.ip()),
        What::Mark(_, family) => family,
        What::Several(_) => Family::Ipv4,
    };
    let its_family = family(attributes.u16(dest::ADDR_FAMILY)).unwrap_or(usual);
    let address = address(its_family, attributes.bytes(dest::ADDR));
    let address = address.ok_or("a server without an address")?;
    let weight = attributes.u32(dest::WEIGHT).unwrap_or(0);
    let weight = u16::try_from(weight)
        .map_err(|_| format!("{address} has weight {weight}: weights end at 65535"))?;
    // IP_VS_CONN_F_FWD_MASK; a local server is saved as a direct one by ipvsadm too.
    let forwarding = match attributes.u32(dest::FWD_METHOD).unwrap_or(0) & 7 {
        0 => Forwarding::Nat,
        2 => Forwarding::Tunnel {
            tunnel: tunnel(attributes)?,
        },
        1 | 3 => Forwarding::Direct,
        other => return Err(format!("{address} is reached by method {other}")),
    };
    Ok(Server {
        place: service.place.clone(),
        address,
        port: attributes.port(dest::PORT),
        terms: ServerTerms {
            name: None,
            forwarding: Some(forwarding),
            weight: Some(weight),
            upper: attributes.u32(dest::U_THRESH),
            lower: attributes.u32(dest::L_THRESH),
        },
    })
}

fn tunnel(attributes: &Attributes<'_>) -> Result<Tunnel, String> {
    let flags = attributes.u16(dest::TUN_FLAGS).unwrap_or(0);
    if flags & 2 != 0 {
        return Err("GUE with remote checksum offload".to_owned());
    }
    let checksum = flags & 1 != 0;
    match attributes.u8(dest::TUN_TYPE).unwrap_or(0) {
        0 => Ok(Tunnel::Ipip),
        1 => Ok(Tunnel::Gue {
            port: attributes.port(dest::TUN_PORT).unwrap_or(0),
            checksum,
        }),
        2 => Ok(Tunnel::Gre { checksum }),
        other => Err(format!("a tunnel of type {other}")),
    }
}

fn family(number: Option<u16>) -> Option<Family> {
    match number? {
        AF_INET => Some(Family::Ipv4),
        AF_INET6 => Some(Family::Ipv6),
        _ => None,
    }
}

/// `union nf_inet_addr`: 16 bytes, of which IPv4 takes the first four.
fn address(family: Family, bytes: Option<&[u8]>) -> Option<IpAddr> {
    match family {
        Family::Ipv4 => bytes?
            .first_chunk::<4>()
            .map(|four| Ipv4Addr::from(*four).into()),
        Family::Ipv6 => bytes?
            .first_chunk::<16>()
            .map(|all| Ipv6Addr::from(*all).into()),
    }
}

/// Of IPv4 a mask in network order, of IPv6 the length of a prefix.
fn mask(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    let bytes = bytes.first_chunk::<4>()?;
    match family {
        Family::Ipv4 => Some(Ipv4Addr::from(*bytes).into()),
        Family::Ipv6 => match u32::from_ne_bytes(*bytes) {
            length @ 1..=128 => Some(Ipv6Addr::from_bits(u128::MAX << (128 - length)).into()),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests;
