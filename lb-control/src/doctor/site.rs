//! What the services of lvs.cf need of this machine.

use super::{Facts, Level, Report};
use crate::{
    model::{CheckedAt, Forwarding, Method, Probe, Site, Tunnel},
    preflight,
};

const ABOUT: &str = "site";

/// Files that a director has open besides those of checks.
const OTHER_FILES: u64 = 64;

pub(super) fn examine(facts: &Facts, interfaces: &[String], site: &Site, report: &mut Report) {
    if site.services.is_empty() {
        report
            .add(ABOUT, Level::Warning, "lvs.cf has no active service")
            .mend("a block needs `active = 1`; lb check tells more");
        return;
    }
    forwarding(facts, site, report);
    addresses(facts, site, report);
    reverse_path(facts, interfaces, report);
    methods(facts, interfaces, site, report);
    virtual_checks(facts, site, report);
    snat_ports(facts, site, report);
    connection_tracking(facts, report);
    other_balancer(facts, report);
    open_files(facts, site, report);
}

fn forwarding(facts: &Facts, site: &Site, report: &mut Report) {
    for setting in preflight::forwarding(site) {
        let name = setting.replace('/', ".");
        match facts.machine.setting(setting).as_deref() {
            Some("0") => report
                .add(
                    ABOUT,
                    Level::Fault,
                    format!("{name} is 0: replies of masqueraded real servers cannot leave"),
                )
                .mend(format!("sysctl -w {name}=1")),
            Some(_) => {
                report.add(ABOUT, Level::Ok, format!("{name} is on"));
            }
            None => {
                report.add(ABOUT, Level::Note, format!("{name} is not known"));
            }
        }
    }
}

fn addresses(facts: &Facts, site: &Site, report: &mut Report) {
    for floating in &site.addresses {
        let (address, wanted) = (floating.address, &floating.interface);
        if facts.links.named(wanted).is_err() {
            report
                .add(
                    ABOUT,
                    Level::Fault,
                    format!("there is no interface {wanted}, on which {address} is to be put"),
                )
                .mend("ip link show; then `address = VIP DEVICE` in lvs.cf");
            continue;
        }
        let holder = facts.addresses.iter().find(|(_, there)| *there == address);
        match holder {
            Some((there, _)) if there == wanted => {
                report.add(ABOUT, Level::Ok, format!("{address} is on {wanted}"));
            }
            Some((there, _)) => report
                .add(
                    ABOUT,
                    Level::Warning,
                    format!("{address} is on {there}, and lvs.cf wants it on {wanted}"),
                )
                .mend(format!("ip address delete {address} dev {there}")),
            None => {
                report.add(
                    ABOUT,
                    Level::Ok,
                    format!("{address} is on no interface; `lb run` puts it on {wanted}"),
                );
            }
        }
    }
}

/// What XDP sends on is not looked at by the kernel; what passes up to it is.
fn reverse_path(facts: &Facts, interfaces: &[String], report: &mut Report) {
    let setting = |name: &str| {
        let value = facts
            .machine
            .setting(&format!("net/ipv4/conf/{name}/rp_filter"));
        value
            .and_then(|value| value.parse::<u8>().ok())
            .unwrap_or(0)
    };
    for name in interfaces {
        // The kernel takes the larger one (ip-sysctl.rst); 1 is strict.
        if setting("all").max(setting(name)) == 1 {
            report
                .add(
                    ABOUT,
                    Level::Note,
                    format!(
                        "{name} has a strict reverse path filter: what passes up to the kernel (checks, \
                         ICMP, local servers) is dropped if its way back is another"
                    ),
                )
                .mend(format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2, if there is more than one way"));
        }
    }
}

/// Checks at virtual addresses come from a network namespace, which it takes a right to make.
fn virtual_checks(facts: &Facts, site: &Site, report: &mut Report) {
    let is_asked = |probe: &Probe| probe.at == CheckedAt::Vip;
    let status = facts.machine.read("proc/self/status").unwrap_or_default();
    let may = preflight::may_make_namespaces(&status);
    for service in &site.services {
        if !service.probe.as_ref().is_some_and(is_asked) {
            continue;
        }
        if may == Some(false) {
            report
                .add(
                    &service.name,
                    Level::Warning,
                    "its servers cannot be checked at the virtual IP: CAP_SYS_ADMIN is missing",
                )
                .mend("add it to CapabilityBoundingSet= of the service lb, or `check_at = server`");
        }
    }
}

fn methods(facts: &Facts, interfaces: &[String], site: &Site, report: &mut Report) {
    for service in &site.services {
        let servers = || service.servers.iter().map(|server| server.forwarding);
        if servers().any(|way| way.method() == Method::Direct) {
            report
                .add(
                    &service.name,
                    Level::Note,
                    "its servers are routed to directly: each has to hold the virtual IP and must not \
                     answer ARP for it, which cannot be seen from here",
                )
                .mend("on each: sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; ip address add VIP/32 dev lo");
        }
        let overheads = service
            .servers
            .iter()
            .filter_map(|server| match server.forwarding {
                Forwarding::Tunnel { tunnel } => Some(overhead(tunnel, server.socket.is_ipv6())),
                Forwarding::Nat | Forwarding::FullNat | Forwarding::Direct => None,
            });
        let Some(overhead) = overheads.max() else {
            continue;
        };
        let mtus = interfaces
            .iter()
            .filter_map(|name| facts.links.named(name).ok());
        let Some(mtu) = mtus.map(|link| link.mtu).min() else {
            continue;
        };
        // Clients of Ethernet send as much.
        if mtu < 1500 + overhead {
            report
                .add(
                    &service.name,
                    Level::Note,
                    format!(
                        "its tunnels take {overhead} bytes of {mtu}: clients learn by ICMP that packets \
                         have to be smaller, and one that does not hear it hangs"
                    ),
                )
                .mend(format!(
                    "ip link set dev IF mtu {} towards the servers, or on each server: ip route change default … advmss {}",
                    1500 + overhead,
                    mtu.saturating_sub(overhead + 40)
                ));
        }
    }
}

/// What a tunnel puts in front of a packet, in bytes: an outer IP header and what stands behind it.
fn overhead(tunnel: Tunnel, is_v6: bool) -> u32 {
    let outer = if is_v6 { 40 } else { 20 };
    outer
        + match tunnel {
            Tunnel::Ipip => 0,
            Tunnel::Gre { checksum: false } => 4,
            Tunnel::Gre { checksum: true } => 8,
            // UDP, and a GUE header of four bytes.
            Tunnel::Gue { .. } => 12,
        }
}

fn snat_ports(facts: &Facts, site: &Site, report: &mut Report) {
    let is_used = site.services.iter().any(|service| {
        let mut servers = service.servers.iter();
        servers.any(|server| server.forwarding == Forwarding::FullNat)
    });
    let range = facts.machine.setting("net/ipv4/ip_local_port_range");
    let Some(range) = range.filter(|_| is_used) else {
        return;
    };
    let mut numbers = range
        .split_ascii_whitespace()
        .filter_map(|word| word.parse::<u16>().ok());
    let (Some(first), Some(last)) = (numbers.next(), numbers.next()) else {
        return;
    };
    let (our_first, our_last) = site.settings.snat_ports;
    if first <= our_last && our_first <= last {
        report
            .add(
                ABOUT,
                Level::Warning,
                format!(
                    "full NAT takes the ports {our_first} to {our_last}, and this machine's own connections \
                     {first} to {last}: replies to the one may be taken for the other's"
                ),
            )
            .mend(match our_last.checked_add(1).filter(|next| *next < 60_999) {
                Some(next) => format!("sysctl -w net.ipv4.ip_local_port_range=\"{next} 60999\""),
                None => "a smaller `snat_ports` in lvs.cf".to_owned(),
            });
    } else {
        report.add(
            ABOUT,
            Level::Ok,
            "the ports of full NAT are not those of this machine's own connections",
        );
    }
}

fn connection_tracking(facts: &Facts, report: &mut Report) {
    let number = |name: &str| {
        let value = facts
            .machine
            .setting(&format!("net/netfilter/nf_conntrack_{name}"));
        value.and_then(|value| value.parse::<u64>().ok())
    };
    let Some((count, most)) = number("count").zip(number("max")) else {
        return;
    };
    if most > 0 && count >= most - most / 10 {
        report
            .add(
                ABOUT,
                Level::Warning,
                format!(
                    "the kernel tracks {count} connections of {most} at most: checks may soon fail"
                ),
            )
            .mend(format!(
                "sysctl -w net.netfilter.nf_conntrack_max={}",
                most.saturating_mul(2)
            ));
    } else {
        report.add(
            ABOUT,
            Level::Note,
            "the kernel tracks connections (nf_conntrack); balanced packets never come there, nor to any \
             packet filter of this machine",
        );
    }
}

fn other_balancer(facts: &Facts, report: &mut Report) {
    let table = facts.machine.read("proc/net/ip_vs").unwrap_or_default();
    // Three lines are the head.
    let services = table.lines().filter(|line| {
        ["TCP", "UDP", "SCTP", "FWM"]
            .iter()
            .any(|kind| line.starts_with(kind))
    });
    match services.count() {
        0 => {}
        number => report
            .add(
                ABOUT,
                Level::Warning,
                format!("the kernel's own balancer (IPVS) has {number} services: two do the same"),
            )
            .mend("ipvsadm -C, and end what fills its table (keepalived, pulse)"),
    }
}

fn open_files(facts: &Facts, site: &Site, report: &mut Report) {
    let limits = facts.machine.read("proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    let servers: usize = site
        .services
        .iter()
        .map(|service| service.servers.len())
        .sum();
    let needed = servers as u64 + OTHER_FILES;
    if let Some(hard) = hard.filter(|hard| *hard < needed) {
        report
            .add(
                ABOUT,
                Level::Warning,
                format!("{hard} files may be open, and the checks of {servers} servers may need {needed}"),
            )
            .mend("LimitNOFILE= in the unit of the daemon, or ulimit -Hn");
    }
}
