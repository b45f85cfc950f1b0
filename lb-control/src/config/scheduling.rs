//! Who gets the next connection: `scheduler`, `sched_flags`, `ops`, `persistent`, `pmask`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    directives::ServiceKey,
    global::whole_seconds,
    settings::{Matched, ServiceSettings},
    values::Netmask,
};
use crate::model::{Persistence, Protocol, Scheduler, SchedulerFlags};

/// The scheduler.
pub(super) fn scheduler(settings: &ServiceSettings<'_>) -> Scheduler {
    let named = Scheduler::ALL.into_iter();
    let mut named = named.filter(|scheduler| scheduler.name() == settings.scheduler);
    // Any other name was refused when it was read.
    named.next().unwrap_or(Scheduler::Wlc)
}

/// How it works. A flag of another scheduler is an error.
pub(super) fn flags(
    settings: &ServiceSettings<'_>,
    scheduler: Scheduler,
    diagnostics: &mut Diagnostics,
) -> SchedulerFlags {
    let mut flags = SchedulerFlags::default();
    for flag in &settings.ours.sched_flags {
        let (of, what) = flag.split_once('-').unwrap_or((flag, ""));
        if of != scheduler.name() {
            let message = format!("`{flag}` is a flag of `scheduler = {of}`, not of {scheduler}");
            let span = settings.block.place(ServiceKey::SchedFlags);
            diagnostics.error(span, message, "only sh and mh have flags, each its own");
        }
        match what {
            "fallback" => flags.fallback = true,
            "port" => flags.port = true,
            _ => flags.compat = true,
        }
    }
    flags
}

/// Whether every datagram is scheduled on its own.
pub(super) fn one_packet(
    settings: &ServiceSettings<'_>,
    selectors: &[Matched],
    diagnostics: &mut Diagnostics,
) -> bool {
    let has_udp = selectors
        .iter()
        .any(|matched| matched.selector.protocol == Protocol::Udp);
    if settings.ours.ops && !has_udp {
        diagnostics.error(
            settings.block.place(ServiceKey::Ops),
            "`ops` is for UDP",
            "`protocol = udp`, or a group with UDP in it",
        );
    }
    settings.ours.ops
}

/// How long clients stay with their server.
pub(super) fn persistence(
    settings: &ServiceSettings<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Persistence> {
    let span = settings.block.place(ServiceKey::Persistent);
    let Some(time) = settings.persistent.duration() else {
        diagnostics.warn(span, "a negative time is taken for 0", "0 is off");
        return None;
    };
    let timeout = whole_seconds(time, span, diagnostics);
    if timeout.is_zero() {
        if settings.pmask != Netmask::NONE {
            let span = settings.block.place(ServiceKey::Pmask);
            let message = "`pmask` has no effect without `persistent`";
            diagnostics.warn(span, message, "e.g. `persistent = 300`");
        }
        return None;
    }
    if settings.ours.ops {
        diagnostics.error(
            settings.block.place(ServiceKey::Ops),
            "`ops` and `persistent` exclude each other",
            "a client cannot stay with a server while each datagram is scheduled on its own",
        );
    }
    Some(Persistence {
        timeout,
        mask: mask(settings, diagnostics),
    })
}

fn mask(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) -> IpAddr {
    let span = settings.block.place(ServiceKey::Pmask);
    match (settings.vip(), settings.pmask) {
        (IpAddr::V4(_), Netmask::NONE) => Ipv4Addr::BROADCAST.into(),
        (IpAddr::V6(_), Netmask::NONE) => Ipv6Addr::from(u128::MAX).into(),
        (IpAddr::V4(_), Netmask::Dotted(mask)) => mask.into(),
        (IpAddr::V4(_), Netmask::Prefix(length @ 1..=32)) => {
            let old = Ipv4Addr::from(u32::from(length));
            let message = format!("{length} is read as a prefix length; Piranha read it as {old}");
            let mask = Ipv4Addr::from(u32::MAX << (32 - u32::from(length)));
            diagnostics.push(
                Diagnostic::warning(span, message)
                    .help(format!("both read {mask} alike"))
                    .liberty(),
            );
            mask.into()
        }
        (IpAddr::V6(_), Netmask::Prefix(length @ 1..=128)) => {
            Ipv6Addr::from(u128::MAX << (128 - u32::from(length))).into()
        }
        (address, mask) => {
            let message = format!("{mask} is no mask for clients of {address}");
            let help = "like 255.255.255.0 for IPv4, like 64 for IPv6";
            diagnostics.error(span, message, help);
            address
        }
    }
}
