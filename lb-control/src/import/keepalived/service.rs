//! `virtual_server` and its `real_server` blocks.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use super::{
    checker::{self, Checker, Subject, checker, interval, timing},
    group::{Group, mark, port},
    is_on,
    known::{self, Within, tell_rest},
    tree::Node,
    written,
};
use crate::{
    control::change::{ServerTerms, ServiceTerms},
    import::{
        compose::selector,
        found::{Server, Service, Setting, What, scheduler},
        report::{Place, Report},
    },
    model::{Family, Forwarding, Protocol, Scheduler, SchedulerFlags, Tunnel},
};

/// keepalived's own, where nothing is said: in milliseconds.
const INTERVAL: u32 = 60_000;
/// The same in seconds.
const PERSISTENCE: u32 = 360;

/// The services that a `virtual_server` stands for: more than one if it is a group of several families or
/// marks.
pub(super) fn service(
    node: &Node,
    groups: &BTreeMap<String, Group>,
    report: &mut Report,
) -> Vec<Service> {
    let mut reader = Reader {
        node,
        protocol: Protocol::Tcp,
        terms: ServiceTerms {
            forwarding: Some(Forwarding::Nat),
            ..ServiceTerms::default()
        },
        flags: Vec::new(),
        family: None,
        host: None,
        interval: None,
        sorry: None,
        inhibits: None,
        report,
    };
    node.inside().iter().for_each(|one| reader.directive(one));
    reader.flags();
    let whats = match reader.what(groups) {
        Ok(whats) => whats,
        Err(why) => {
            reader.report.left_out(&node.place, why);
            return Vec::new();
        }
    };
    let first_port = whats.iter().find_map(|(what, _)| match what {
        What::Address(_, socket) => Some(socket.port()),
        What::Several(selectors) => selectors.first().map(|first| first.first),
        What::Mark(..) => None,
    });
    let (servers, settings, notes) = reader.farm(first_port.filter(|port| *port != 0));
    let of = |(what, place): (What, Place)| Service {
        place,
        what,
        terms: reader.terms.clone(),
        servers: servers.clone(),
        sorry: reader.sorry,
        settings: settings.clone(),
        notes: notes.clone(),
    };
    whats.into_iter().map(of).collect()
}

struct Reader<'a, 'r> {
    node: &'a Node,
    protocol: Protocol,
    terms: ServiceTerms,
    /// Flags of the scheduler, which may be named later.
    flags: Vec<&'a Node>,
    family: Option<Family>,
    host: Option<&'a str>,
    /// Milliseconds between two checks.
    interval: Option<u32>,
    sorry: Option<(IpAddr, Option<u16>)>,
    /// Where it is said that servers that fail stay with weight 0.
    inhibits: Option<Place>,
    report: &'r mut Report,
}

/// What a `real_server` says.
struct Real {
    server: Server,
    checkers: Vec<Checker>,
    inhibits: Option<Place>,
}

impl<'a> Reader<'a, '_> {
    fn directive(&mut self, node: &'a Node) {
        if let Err(why) = self.value(node) {
            self.report.left_out(&node.place, why);
        }
    }

    fn value(&mut self, node: &'a Node) -> Result<(), String> {
        let value = node.value();
        let mut known_words = 1;
        match node.name() {
            "real_server" => return Ok(()),
            "lb_algo" | "lvs_sched" => self.terms.scheduler = Some(scheduler(value)?),
            "lb_kind" | "lvs_method" => {
                self.terms.forwarding = Some(method(node, self.report)?);
                return Ok(());
            }
            "persistence_timeout" => {
                let seconds = value.parse().ok().filter(|_| !value.is_empty());
                self.terms.persistent = Some(match value {
                    "" => PERSISTENCE,
                    text => seconds.ok_or_else(|| format!("`{text}` is no number of seconds"))?,
                });
            }
            "persistence_granularity" => self.terms.mask = Some(netmask(value)?),
            "persistence_engine" => {
                return Err(format!(
                    "`{}`: clients are told apart by their addresses",
                    node.written()
                ));
            }
            "protocol" => {
                let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
                let mut named = all.into_iter();
                let found = named.find(|one| value.eq_ignore_ascii_case(&one.to_string()));
                self.protocol = found.ok_or_else(|| format!("`{value}` is no protocol"))?;
            }
            "ops" => {
                known_words = 0;
                self.terms.one_packet = Some(true);
            }
            "flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback" | "mh-port"
            | "mh-fallback" => {
                self.flags.push(node);
                known_words = 0;
            }
            "ip_family" => {
                self.family = Some(match value {
                    "inet" => Family::Ipv4,
                    "inet6" => Family::Ipv6,
                    other => return Err(format!("`{other}` is no family")),
                });
            }
            "virtualhost" => self.host = Some(value),
            "snmp_name" => self.terms.name = Some(value.to_owned()),
            "delay_loop" => self.interval = interval(node, self.report),
            "sorry_server" => {
                self.sorry = Some(socket(node)?);
                known_words = 2;
            }
            "sorry_server_lvs_method" => {
                let other = method(node, self.report)?;
                if Some(other) != self.terms.forwarding {
                    return Err(format!(
                        "`{}`: the sorry server is reached as the others are",
                        node.written()
                    ));
                }
                return Ok(());
            }
            "inhibit_on_failure" => {
                self.inhibits = is_on(node).then(|| node.place.clone());
            }
            "quorum" if value == "1" => {}
            "quorum" => {
                return Err(format!(
                    "`{}`: the sorry server steps in when no other is left",
                    node.written()
                ));
            }
            "retry" | "delay_before_retry" | "connect_timeout" | "alpha" => {
                timing(node, self.report);
            }
            _ => {
                known::tell(Within::Server, node, self.report);
                return Ok(());
            }
        }
        tell_rest(node, known_words, self.report);
        Ok(())
    }

    /// Flags belong to a scheduler.
    fn flags(&mut self) {
        let scheduler = self.terms.scheduler.unwrap_or(Scheduler::Wlc);
        let mut flags = SchedulerFlags::default();
        for node in &self.flags {
            let (of, flag) = match node.name() {
                "flag-1" => (scheduler, "fallback"),
                "flag-2" => (scheduler, "port"),
                "sh-port" => (Scheduler::Sh, "port"),
                "sh-fallback" => (Scheduler::Sh, "fallback"),
                "mh-port" => (Scheduler::Mh, "port"),
                "mh-fallback" => (Scheduler::Mh, "fallback"),
                _ => (scheduler, ""),
            };
            let has_flags = matches!(scheduler, Scheduler::Sh | Scheduler::Mh);
            match flag {
                "fallback" if has_flags && of == scheduler => flags.fallback = true,
                "port" if has_flags && of == scheduler => flags.port = true,
                _ => {
                    let why = format!("`{}`: {scheduler} has no such flag", node.name());
                    self.report.left_out(&node.place, why);
                }
            }
        }
        self.terms.scheduler = Some(scheduler);
        self.terms.flags = Some(flags);
    }

    /// What the block is for, and where that is said.
    fn what(&mut self, groups: &BTreeMap<String, Group>) -> Result<Vec<(What, Place)>, String> {
        let node = self.node;
        let place = node.place.clone();
        match (node.value(), node.values().get(1)) {
            ("fwmark", Some(number)) => {
                tell_rest(node, 2, self.report);
                let family = self.family.unwrap_or_else(|| self.family_of_servers());
                Ok(vec![(What::Mark(mark(number)?, family), place)])
            }
            ("group", Some(name)) => {
                tell_rest(node, 2, self.report);
                let group = groups.get(name);
                let group = group.ok_or_else(|| format!("there is no group `{name}`"))?;
                self.terms.name.get_or_insert_with(|| name.clone());
                Ok(self.several(group))
            }
            _ => {
                tell_rest(node, 2, self.report);
                let (address, port) = socket(node)?;
                let socket = SocketAddr::new(address, port.unwrap_or(0));
                Ok(vec![(What::Address(self.protocol, socket), place)])
            }
        }
    }

    fn several(&self, group: &Group) -> Vec<(What, Place)> {
        let mut whats = Vec::new();
        for is_v4 in [true, false] {
            let of_family = group
                .sockets
                .iter()
                .filter(|socket| socket.is_ipv4() == is_v4);
            let mut selectors: Vec<_> = of_family
                .map(|socket| selector(self.protocol, *socket))
                .collect();
            selectors.dedup();
            if !selectors.is_empty() {
                whats.push((What::Several(selectors), self.node.place.clone()));
            }
        }
        for (mark, family, place) in &group.marks {
            let family = family
                .or(self.family)
                .unwrap_or_else(|| self.family_of_servers());
            whats.push((What::Mark(*mark, family), place.clone()));
        }
        whats
    }

    fn family_of_servers(&self) -> Family {
        let servers = self.node.inside().iter();
        let mut addresses = servers
            .filter(|node| node.name() == "real_server")
            .filter_map(|node| node.value().parse().ok());
        addresses.next().map_or(Family::Ipv4, Family::of)
    }

    /// The servers, how they are checked, and what there is to say about it.
    fn farm(&mut self, service_port: Option<u16>) -> (Vec<Server>, Vec<Setting>, Vec<String>) {
        let blocks = self.node.inside().iter();
        let blocks: Vec<&'a Node> = blocks.filter(|one| one.name() == "real_server").collect();
        let mut reals = Vec::new();
        for block in blocks {
            match self.real(block, service_port) {
                Ok(real) => reals.push(real),
                Err(why) => self.report.left_out(&block.place, why),
            }
        }
        let mut notes = Vec::new();
        let mut settings = self.check(&reals, service_port, &mut notes);
        settings.extend(self.quiesce(&reals));
        let servers = reals.into_iter().map(|real| real.server).collect();
        (servers, settings, notes)
    }

    fn real(&mut self, block: &'a Node, service_port: Option<u16>) -> Result<Real, String> {
        let (address, own_port) = socket(block)?;
        tell_rest(block, 2, self.report);
        let inside = || block.inside().iter();
        let host = inside().find(|node| node.name() == "virtualhost");
        let is_mark = self.node.value() == "fwmark";
        let subject = Subject {
            address,
            port: own_port.or(service_port),
            protocol: (!is_mark).then_some(self.protocol),
            host: host.map(Node::value).or(self.host),
        };
        let mut real = Real {
            server: Server {
                place: block.place.clone(),
                address,
                port: own_port.filter(|port| *port != 0),
                terms: ServerTerms::default(),
            },
            checkers: Vec::new(),
            inhibits: None,
        };
        let mut interval_here = None;
        for node in inside() {
            if checker::is_checker(node) {
                real.checkers.push(checker(node, subject, self.report));
            } else if node.name() == "delay_loop" {
                interval_here = interval(node, self.report);
            } else if let Err(why) = self.real_value(node, &mut real) {
                self.report.left_out(&node.place, why);
            }
        }
        for checker in &mut real.checkers {
            checker.interval = checker.interval.or(interval_here);
        }
        Ok(real)
    }

    fn real_value(&mut self, node: &Node, real: &mut Real) -> Result<(), String> {
        let terms = &mut real.server.terms;
        let number = || {
            let number = node.value().parse::<u32>().ok();
            let number = number.filter(|number| i32::try_from(*number).is_ok());
            number.ok_or_else(|| format!("`{}` is not understood", node.written()))
        };
        match node.name() {
            "weight" => {
                let weight = u16::try_from(number()?);
                terms.weight = Some(
                    weight.map_err(|_| format!("`{}`: weights end at 65535", node.written()))?,
                );
            }
            "lvs_method" | "lb_kind" => {
                terms.forwarding = Some(method(node, self.report)?);
                return Ok(());
            }
            "uthreshold" => terms.upper = Some(number()?),
            "lthreshold" => terms.lower = Some(number()?),
            "inhibit_on_failure" => real.inhibits = is_on(node).then(|| node.place.clone()),
            "virtualhost" => {}
            "snmp_name" => terms.name = Some(node.value().to_owned()),
            "retry" | "delay_before_retry" | "connect_timeout" | "alpha" => {
                timing(node, self.report);
            }
            _ => {
                known::tell(Within::Server, node, self.report);
                return Ok(());
            }
        }
        tell_rest(node, 1, self.report);
        Ok(())
    }

    /// One check for all servers: that of the first one that has any.
    fn check(
        &mut self,
        reals: &[Real],
        service_port: Option<u16>,
        notes: &mut Vec<String>,
    ) -> Vec<Setting> {
        let first = reals
            .iter()
            .find_map(|real| Some((real, real.checkers.first()?)));
        let Some((first_real, first)) = first else {
            if !reals.is_empty() {
                notes.push("keepalived did not check these servers; lvs-xdp does.".to_owned());
            }
            return Vec::new();
        };
        let port_of = |real: &Real, checker: &Checker| {
            let own = real.server.port.or(service_port);
            checker.port.filter(|port| Some(*port) != own)
        };
        let port = port_of(first_real, first);
        let interval = first.interval.or(self.interval).unwrap_or(INTERVAL);
        for real in reals {
            let mut told = |place: &Place, what: &str| {
                let why = format!(
                    "{what}: a service has one check, that of line {}",
                    first.place.line
                );
                self.report.left_out(place, why);
            };
            let Some((checker, more)) = real.checkers.split_first() else {
                told(&real.server.place, "a server without a checker");
                continue;
            };
            for other in more {
                told(&other.place, "a second checker");
            }
            let its_interval = checker.interval.or(self.interval).unwrap_or(INTERVAL);
            if checker.probe != first.probe
                || checker.retries != first.retries
                || port_of(real, checker) != port
            {
                told(&checker.place, "a checker of its own");
            } else if its_interval != interval {
                told(&checker.place, "a `delay_loop` of its own");
            }
        }
        let place = &first.place;
        let checked_at = port.or(service_port);
        let is_tcp = self.protocol == Protocol::Tcp;
        let mut settings = match first.probe.settings(checked_at.filter(|_| is_tcp), place) {
            Some(settings) => settings,
            None => {
                let why = "this check has characters that lvs.cf cannot say; to connect is enough";
                self.report.left_out(place, why);
                Vec::new()
            }
        };
        if first.retries > 0 {
            settings.push(Setting::plain("check_retries", first.retries, place));
        }
        if let Some(port) = port {
            settings.push(Setting::plain("check_port", port, place));
        }
        settings.push(Setting::plain("timeout", written(interval), place));
        // With the first good check, as in keepalived.
        settings.push(Setting::plain("reentry", "1ms", place));
        settings
    }

    /// Either all servers that fail stay with weight 0, or none does.
    fn quiesce(&mut self, reals: &[Real]) -> Option<Setting> {
        if let Some(place) = &self.inhibits {
            return Some(Setting::plain("quiesce_server", 1, place));
        }
        let places: Vec<_> = reals
            .iter()
            .filter_map(|real| real.inhibits.as_ref())
            .collect();
        let first = places.first()?;
        if places.len() == reals.len() {
            return Some(Setting::plain("quiesce_server", 1, first));
        }
        for place in places {
            let why =
                "`inhibit_on_failure` of some servers: `quiesce_server` is for all of a service";
            self.report.left_out(place, why);
        }
        None
    }
}

/// `IP [PORT]` behind the name of a block or directive.
fn socket(node: &Node) -> Result<(IpAddr, Option<u16>), String> {
    let address = node.value();
    let address = address
        .parse()
        .map_err(|_| format!("`{address}` is no address"))?;
    let port = node.values().get(1).map(|text| port(text)).transpose()?;
    Ok((address, port))
}

/// `255.255.255.0`, or the length of an IPv6 prefix.
fn netmask(text: &str) -> Result<IpAddr, String> {
    if let Ok(IpAddr::V4(mask)) = text.parse() {
        return Ok(mask.into());
    }
    match text.parse::<u32>() {
        Ok(length @ 1..=128) => Ok(Ipv6Addr::from_bits(u128::MAX << (128 - length)).into()),
        Ok(_) | Err(_) => Err(format!("`{text}` is no mask")),
    }
}

/// `NAT`, `DR`, or `TUN [type ipip|gre|gue port N] [nocsum|csum|remcsum]`.
fn method(node: &Node, report: &mut Report) -> Result<Forwarding, String> {
    let mut words = node.values().iter().map(String::as_str);
    match words
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase()
        .as_str()
    {
        "NAT" => {
            tell_rest(node, 1, report);
            return Ok(Forwarding::Nat);
        }
        "DR" => {
            tell_rest(node, 1, report);
            return Ok(Forwarding::Direct);
        }
        "TUN" => {}
        other => return Err(format!("`{other}` is no way to reach a server")),
    }
    let mut kind = "ipip";
    let mut number = None;
    let mut checksum = false;
    while let Some(word) = words.next() {
        match word {
            "type" => kind = words.next().unwrap_or_default(),
            "port" => number = Some(port(words.next().unwrap_or_default())?),
            "csum" => checksum = true,
            "nocsum" => checksum = false,
            other => {
                let why = format!("`{other}` of a tunnel has no directive");
                report.left_out(&node.place, why);
            }
        }
    }
    let tunnel = match kind {
        "ipip" => Tunnel::Ipip,
        "gre" => Tunnel::Gre { checksum },
        "gue" => Tunnel::Gue {
            port: number.ok_or("a tunnel of GUE needs a port")?,
            checksum,
        },
        other => return Err(format!("`{other}` is no type of tunnel")),
    };
    Ok(Forwarding::Tunnel { tunnel })
}
