//! What clients connect to: `address`, `port` and `protocol`, or the `match` lines of a group; and
//! that no two services want the same.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{
    diagnostic::Diagnostics,
    directives::ServiceKey,
    settings::{Matched, ServiceSettings},
    source::{Source, Span},
    values::{EVERY_PORT, Time},
};
use crate::model::{Protocol, Selector, ServiceAddress};

/// What clients connect to, in order. `None` if it cannot be told, which has been said.
pub(super) fn selectors(
    settings: &ServiceSettings<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Matched>> {
    let place = |key| settings.block.place(key);
    let matches = &settings.ours.matches;
    let own = own(settings, diagnostics);
    if settings.unread.contains(&ServiceKey::Match) {
        return None;
    }
    if matches.is_empty() || settings.fwmark == 0 {
        let own = own?;
        let first = own.first()?;
        if !matches.is_empty() {
            diagnostics.error(
                place(ServiceKey::Match),
                "`match` is for groups, and the block has no `fwmark`",
                "add `fwmark = N`, with a number of its own for each group",
            );
        } else if settings.fwmark != 0 {
            let message = format!(
                "without a `match`, the group {} is {} alone",
                settings.fwmark, first.selector
            );
            diagnostics.warn(
                place(ServiceKey::Fwmark),
                message,
                "marks of the firewall are not seen; `lb config import-marks` prints the lines for them",
            );
        }
        return Some(own);
    }
    tell_strangers(settings, diagnostics);
    Some(union(matches, diagnostics))
}

/// The block's own addresses, port and protocol.
fn own(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Matched>> {
    let span = settings.block.place(ServiceKey::Port);
    let number = |port| u16::try_from(port).ok();
    let last = settings.ours.last_port.unwrap_or(settings.port);
    let (first, last) = match (number(settings.port), number(last)) {
        (Some(0), Some(0 | u16::MAX)) => EVERY_PORT,
        (Some(first @ 1..), Some(last)) if first <= last => (first, last),
        (_, _) if settings.ours.last_port.is_some() => {
            let message = format!("{} to {last} is no range of ports", settings.port);
            diagnostics.error(span, message, "like 1000-2000; 0 for all ports");
            return None;
        }
        (_, _) => {
            let message = format!("{} is no port of a service", settings.port);
            diagnostics.error(span, message, "1 to 65535, or 0 for all ports");
            return None;
        }
    };
    let takes_all = (first, last) == EVERY_PORT && settings.ours.matches.is_empty();
    if takes_all && settings.persistent <= Time::seconds(0) {
        diagnostics.warn(
            span,
            "a service of all ports without `persistent`: a client's connections reach different servers",
            "IPVS refuses this; add e.g. `persistent = 300`",
        );
    }
    let addresses = &settings.ours.addresses;
    let mut own: Vec<_> = addresses
        .iter()
        .map(|of| Matched {
            selector: Selector {
                address: of.address,
                protocol: settings.protocol,
                first,
                last,
            },
            span: match addresses.len() {
                1 => settings.block.name.span,
                _ => of.span,
            },
        })
        .collect();
    let strangers = addresses
        .iter()
        .find(|of| of.address.is_ipv4() != settings.vip().is_ipv4());
    if let Some(stranger) = strangers {
        let (one, other) = (stranger.address, settings.vip());
        let message = format!("{one} and {other} are not of one address family");
        diagnostics.error(stranger.span, message, "a block of its own for each family");
        return None;
    }
    own.sort_by_key(|matched| matched.selector.key());
    Some(own)
}

/// Tells of addresses of the other family, and of a virtual IP that nothing is matched for.
fn tell_strangers(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) {
    let vip = settings.vip();
    let matches = &settings.ours.matches;
    for Matched { selector, span } in matches {
        if selector.address.is_ipv4() != vip.is_ipv4() {
            let message = format!(
                "{} and {vip} are not of one address family",
                selector.address
            );
            let help = "a group of its own for each family; both may have the same `fwmark`";
            diagnostics.error(*span, message, help);
            return;
        }
    }
    for own in &settings.ours.addresses {
        let is_named = |matched: &Matched| matched.selector.address == own.address;
        if !matches.iter().any(is_named) {
            let message = format!("no `match` names {}, the block's own address", own.address);
            diagnostics.warn(
                own.span,
                message,
                "it is put up, and nothing at it belongs to the group",
            );
        }
    }
}

/// All that is matched, in order, and each once.
fn union(matches: &[Matched], diagnostics: &mut Diagnostics) -> Vec<Matched> {
    let mut sorted = matches.to_vec();
    sorted.sort_by_key(|Matched { selector, span }| (*selector, *span));
    let mut united: Vec<Matched> = Vec::new();
    for matched in sorted {
        let before = united.last_mut().map(|matched| &mut matched.selector);
        if before.is_some_and(|before| before.join(&matched.selector)) {
            let message = format!("{} is in the group already", matched.selector);
            diagnostics.warn(matched.span, message, "say it once");
        } else {
            united.push(matched);
        }
    }
    united.sort_by_key(|matched| matched.selector.key());
    united
}

/// Who has which address and ports.
pub(super) struct Claims<'a> {
    source: &'a Source,
    /// Single ports; the places where they are said.
    ports: HashMap<ServiceAddress, Span>,
    /// Ranges by their first port, none of which overlap; their last port.
    ranges: BTreeMap<(IpAddr, Protocol, u16), (u16, Span)>,
    /// All ports of an address, which give way to any other.
    rests: HashMap<(IpAddr, Protocol), Span>,
    /// What services are known by.
    keys: HashMap<ServiceAddress, Span>,
    /// The groups, those of IPv4 and of IPv6.
    marks: HashMap<(u32, bool), Span>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            ports: HashMap::new(),
            ranges: BTreeMap::new(),
            rests: HashMap::new(),
            keys: HashMap::new(),
            marks: HashMap::new(),
        }
    }

    /// Gives a service what it wants, unless another one has it, which is told.
    pub(super) fn claim(
        &mut self,
        settings: &ServiceSettings<'_>,
        wanted: &[Matched],
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let mut is_free = self.mark(settings, diagnostics);
        let Some(first) = wanted.first() else {
            return is_free;
        };
        for Matched { selector, span } in wanted {
            if let Some((taken, place)) = self.take(selector, *span) {
                let place = self.source.place(place);
                let message = if taken == *selector {
                    format!("{selector} is a service already, at {place}")
                } else {
                    format!("{selector} and {taken} overlap; that is at {place}")
                };
                diagnostics.error(
                    *span,
                    message,
                    "change one of them, or switch a block off with `active = 0`",
                );
                is_free = false;
            }
        }
        if is_free && let Some(place) = self.keys.insert(first.selector.key(), first.span) {
            let place = self.source.place(place);
            let message = format!(
                "{} begins with the same port as the service at {place}",
                first.selector
            );
            diagnostics.error(
                first.span,
                message,
                "a single port may lie in a range of another service, but not be its first",
            );
            is_free = false;
        }
        is_free
    }

    fn mark(&mut self, settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) -> bool {
        if settings.fwmark == 0 {
            return true;
        }
        let group = (settings.fwmark, settings.vip().is_ipv4());
        let span = settings.block.place(ServiceKey::Fwmark);
        let Some(place) = self.marks.insert(group, span) else {
            return true;
        };
        let message = format!(
            "`fwmark = {}` is a group already, at {}",
            settings.fwmark,
            self.source.place(place)
        );
        diagnostics.error(span, message, "each group has a number of its own");
        false
    }

    /// Takes a selector, or says who has it.
    fn take(&mut self, wanted: &Selector, span: Span) -> Option<(Selector, Span)> {
        let Selector {
            address,
            protocol,
            first,
            last,
        } = *wanted;
        if first == last {
            let taken = self.ports.insert(wanted.key(), span);
            return taken.map(|place| (*wanted, place));
        }
        if (first, last) == EVERY_PORT {
            let taken = self.rests.insert((address, protocol), span);
            return taken.map(|place| (*wanted, place));
        }
        let before = self.ranges.range(..=(address, protocol, last)).next_back();
        if let Some((&(its_address, its_protocol, its_first), &(its_last, place))) = before
            && (its_address, its_protocol) == (address, protocol)
            && its_last >= first
        {
            let taken = Selector {
                first: its_first,
                last: its_last,
                ..*wanted
            };
            return Some((taken, place));
        }
        self.ranges.insert((address, protocol, first), (last, span));
        None
    }
}
