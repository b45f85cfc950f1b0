//! What terms can be said of services and real servers.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::Outcome;
use crate::{
    control::change::{ServerTerms, ServiceTerms, Why},
    model::{
        Family, Forwarding, Method, Protocol, Scheduler, SchedulerFlags, ServiceAddress, ServiceId,
        Site,
    },
    sync::ipvs::daemon::SyncDaemon,
};

/// The longest persistence, in seconds: 31 days, as in IPVS.
const LONGEST: u32 = 31 * 24 * 3600;

/// The mask that makes no two clients equal.
pub(super) const fn all_ones(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::BROADCAST),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
    }
}

/// Whether a service can have these terms.
pub(super) fn service(service: ServiceId, terms: &ServiceTerms) -> Outcome {
    if let ServiceId::Address(ServiceAddress { address, .. }) = service
        && !is_unicast(address)
    {
        return invalid(format!("{address} is no address of a service"));
    }
    let scheduler = terms.scheduler.unwrap_or(Scheduler::Wlc);
    let SchedulerFlags {
        fallback,
        port,
        compat,
    } = terms.flags.unwrap_or_default();
    let hashes = matches!(scheduler, Scheduler::Sh | Scheduler::Mh);
    if terms.scheduler.is_some() && (fallback || port) && !hashes {
        return invalid(format!("{scheduler} has no flags"));
    }
    if terms.scheduler.is_some() && compat && scheduler != Scheduler::Mh {
        return invalid(format!("mh-compat is no flag of {scheduler}"));
    }
    if terms.persistent.is_some_and(|seconds| seconds > LONGEST) {
        return invalid(format!("no client stays for more than {LONGEST} s"));
    }
    if let Some(mask) = terms.mask
        && Family::of(mask) != service.family()
    {
        return invalid(format!("{mask} is no mask for {service}"));
    }
    if terms.one_packet == Some(true)
        && let ServiceId::Address(ServiceAddress { protocol, .. }) = service
        && protocol != Protocol::Udp
    {
        return invalid(format!("{protocol} has no packets that could go alone"));
    }
    if let Some(matches) = &terms.matches {
        if matches!(service, ServiceId::Address(_)) {
            return invalid(format!(
                "{service} is no group, and has its own address only"
            ));
        }
        for selector in matches {
            if Family::of(selector.address) != service.family() {
                return invalid(format!("{selector} is not of the family of {service}"));
            }
            if selector.first > selector.last || !is_unicast(selector.address) {
                return invalid(format!("{selector} can be nobody's destination"));
            }
        }
    }
    match terms.engine.as_deref() {
        None | Some("" | "sip") => Ok(()),
        Some(engine) => invalid(format!("there is no persistence engine {engine}")),
    }
}

/// Whether a real server can have these terms.
pub(super) fn server(
    service: ServiceId,
    server: SocketAddr,
    terms: &ServerTerms,
    usual: Forwarding,
) -> Outcome {
    let method = terms.forwarding.unwrap_or(usual).method();
    if !is_unicast(server.ip()) {
        return invalid(format!("{} is no address of a server", server.ip()));
    }
    if Family::of(server.ip()) != service.family() && method != Method::Tunnel {
        return invalid(format!(
            "{server} and {service} are of two families: only a tunnel can cross from one to the other"
        ));
    }
    let (upper, lower) = (terms.upper.unwrap_or(0), terms.lower.unwrap_or(0));
    if upper != 0 && lower > upper {
        return invalid(format!(
            "the lower threshold {lower} is above the upper {upper}"
        ));
    }
    Ok(())
}

/// Whether there can be such a sync daemon.
pub(super) fn sync_daemon(daemon: &SyncDaemon) -> Outcome {
    // As long as the kernel lets names be.
    if !(1..16).contains(&daemon.interface.len()) {
        return invalid(format!("`{}` names no interface", daemon.interface));
    }
    let group = daemon.group();
    if !group.ip().is_multicast() {
        return invalid(format!("{} is no address of multicast", group.ip()));
    }
    if group.port() == 0 || daemon.ttl() == 0 || daemon.maxlen == Some(0) {
        return invalid("port, ttl and maxlen are at least 1".to_owned());
    }
    Ok(())
}

/// Whether no two services want the same packets.
pub(super) fn claims(site: &Site) -> Result<(), String> {
    let mut claims: HashMap<_, ServiceId> = HashMap::with_capacity(site.services.len());
    for service in &site.services {
        for selector in &service.selectors {
            if let Some(first) = claims.insert(*selector, service.key)
                && first != service.key
            {
                return Err(format!(
                    "{selector} belongs to {first} already, and cannot to {}",
                    service.key
                ));
            }
        }
    }
    Ok(())
}

fn is_unicast(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn invalid(text: String) -> Outcome {
    Err((Why::Invalid, text))
}
