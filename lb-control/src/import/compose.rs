//! What was found → the lvs.cf that says it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use super::{
    draft::{Block, Draft, ServerBlock, State},
    found::{Found, Server, Service, Setting, What},
    interfaces::{Home, Interfaces, contains},
    report::{Place, Report},
};
use crate::{
    config::marks,
    control::change::ServiceTerms,
    model::{Family, Forwarding, Protocol, Scheduler, Selector, Tunnel},
};

/// What there is to know besides the source.
pub(super) struct Knowledge<'a> {
    /// Where virtual IPs are.
    pub(super) interfaces: &'a mut dyn Interfaces,
    /// What firewall marks stand for.
    pub(super) marks: &'a marks::Imported,
}

/// The draft of a file.
pub(super) fn compose(found: Found, knowledge: Knowledge<'_>, report: &mut Report) -> Draft {
    let network = most_common(found.services.iter().map(|service| method(service).0));
    let mut composer = Composer {
        marks: knowledge.marks,
        homes: Homes::new(&found, knowledge.interfaces),
        numbers: 1..,
        taken_numbers: taken_numbers(&found.services),
        claimed: HashMap::new(),
        names: HashSet::new(),
        network,
        report,
    };
    let mut globals = found.globals;
    if let Some(first) = found.services.first() {
        let value = network.unwrap_or("direct");
        globals.insert(0, Setting::plain("network", value, &first.place));
    }
    let natted: Vec<IpAddr> = found.services.iter().flat_map(natted).collect();
    let services = found
        .services
        .into_iter()
        .filter_map(|service| composer.block(service))
        .collect();
    globals.extend(composer.gateway(&found.homes, &natted));
    Draft {
        notes: found.notes,
        globals,
        services,
    }
}

struct Composer<'a> {
    marks: &'a marks::Imported,
    homes: Homes<'a>,
    /// Numbers for groups that have no mark.
    numbers: std::ops::RangeFrom<u32>,
    taken_numbers: HashSet<u32>,
    /// What belongs to a service already, and where that is said.
    claimed: HashMap<Selector, Place>,
    names: HashSet<String>,
    network: Option<&'static str>,
    report: &'a mut Report,
}

impl Composer<'_> {
    fn block(&mut self, service: Service) -> Option<Block> {
        let (selectors, mark, name) = self.claims(&service)?;
        let place = &service.place;
        let name = service.terms.name.as_deref().map_or(name, plain_name);
        let name = self.unique(name);
        let mut notes = service.notes.clone();
        let mut settings = Vec::new();
        let mut say = |name, value: &dyn ToString| {
            settings.push(Setting::plain(name, value.to_string(), place));
        };
        if let Some(first) = selectors.first() {
            say(
                "address",
                &self.homes.device(first.address, place, self.report),
            );
        } else {
            notes.push("What the mark stands for is not known here: `match` says it.".to_owned());
        }
        if let Some(mark) = mark {
            say("fwmark", &mark);
            for line in match_lines(&selectors) {
                say("match", &line);
            }
        } else if let Some(only) = selectors.first() {
            say("port", &ports(only));
            if only.protocol != Protocol::Tcp {
                say("protocol", &word(only.protocol));
            }
        }
        balancing(&service.terms, &mut say);
        let (method, forwarding) = method(&service);
        if Some(method) != self.network {
            say("method", &method);
        }
        if let Some(forwarding) = forwarding {
            tunnel(forwarding, &mut say);
        }
        settings.extend(service.settings.iter().cloned());
        let settled = Settled {
            family: selectors.first().map(|first| Family::of(first.address)),
            forwarding: forwarding.unwrap_or(Forwarding::Direct),
            port: only_port(&selectors),
            is_checked_elsewhere: settings.iter().any(|one| one.name == "check_port"),
        };
        settings.extend(self.sorry_server(&service, &settled));
        let servers = self.servers(&service, &settled);
        let has_no_port = |server: &&Server| server.port.unwrap_or(0) == 0;
        let unasked = selectors.iter().all(|selector| selector.first == 0)
            && service.servers.iter().any(|server| has_no_port(&server))
            && !checked_elsewhere(&service.settings);
        if unasked && !selectors.is_empty() {
            notes.push("No port is known to check the servers at, so a program does that is always content.".to_owned());
            settings.push(Setting::plain("send_program", "/bin/true", place));
        }
        Some(Block {
            name,
            place: place.clone(),
            notes,
            state: if selectors.is_empty() {
                State::Off
            } else {
                State::On
            },
            settings,
            servers,
        })
    }

    /// The address that is the gateway of servers. All others that are nobody's are told.
    fn gateway(&mut self, homes: &[(IpAddr, Home, Place)], natted: &[IpAddr]) -> Option<Setting> {
        let mut gateway = None;
        for (address, home, place) in homes {
            if self.homes.used.contains(address) {
                continue;
            }
            let prefix = home.prefix.unwrap_or(0);
            let is_near = natted
                .iter()
                .any(|server| contains(*address, prefix, *server));
            if is_near && gateway.is_none() {
                let value = format!("{address}/{prefix} {}", home.device);
                gateway = Some(Setting::plain("nat_router", value, place));
            } else {
                let why = format!(
                    "{address} is of no service, nor the gateway of servers: lvs-xdp does not put it up"
                );
                self.report.left_out(place, why);
            }
        }
        gateway
    }

    /// What belongs to the service, its number if it is a group, and a name for it.
    fn claims(&mut self, service: &Service) -> Option<(Vec<Selector>, Option<u32>, String)> {
        let (wanted, mark, name) = match &service.what {
            What::Address(protocol, socket) => {
                let name = format!("{}-{}-{}", word(*protocol), socket.ip(), socket.port());
                (vec![selector(*protocol, *socket)], None, name)
            }
            What::Mark(mark, family) => {
                let (of, name) = match family {
                    Family::Ipv4 => (marks::Family::V4, format!("fwm-{mark}")),
                    Family::Ipv6 => (marks::Family::V6, format!("fwm-{mark}-ipv6")),
                };
                let known = self.marks.groups.get(&(*mark, of)).cloned();
                if known.is_none() {
                    let why = format!(
                        "what the mark {mark} stands for is in the rules of the firewall, and the block is \
                         switched off: say it with `--marks FILE`, or in `match`"
                    );
                    self.report.left_out(&service.place, why);
                }
                (known.unwrap_or_default(), Some(*mark), name)
            }
            What::Several(selectors) => {
                let name = selectors.first().map_or_else(String::new, |first| {
                    format!("{}-{}-group", word(first.protocol), first.address)
                });
                let mark = (selectors.len() > 1).then(|| self.number());
                (selectors.clone(), mark, name)
            }
        };
        let free: Vec<Selector> = wanted
            .iter()
            .filter(|selector| self.claim(selector, &service.place))
            .copied()
            .collect();
        let is_nothing = free.is_empty() && !wanted.is_empty();
        (!is_nothing).then_some((free, mark, name))
    }

    fn claim(&mut self, selector: &Selector, place: &Place) -> bool {
        if let Some(before) = self.claimed.get(selector) {
            let why = format!("{selector} is a service already, by {before}");
            self.report.left_out(place, why);
            return false;
        }
        self.claimed.insert(*selector, place.clone());
        true
    }

    /// A number that no mark has.
    fn number(&mut self) -> u32 {
        let mut free = self
            .numbers
            .by_ref()
            .skip_while(|number| self.taken_numbers.contains(number));
        free.next().unwrap_or(u32::MAX)
    }

    fn unique(&mut self, name: String) -> String {
        let mut unique = name.clone();
        let mut number = 2;
        while !self.names.insert(unique.clone()) {
            unique = format!("{name}-{number}");
            number += 1;
        }
        unique
    }

    fn sorry_server(&mut self, service: &Service, settled: &Settled) -> Option<Setting> {
        let (address, port) = service.sorry?;
        if !settled.reaches(address) {
            let why = "a sorry server of the other address family: only a tunnel leads there";
            self.report.left_out(&service.place, why);
            return None;
        }
        let value = match port.filter(|port| *port != 0 && Some(*port) != settled.port) {
            Some(port) => SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        };
        Some(Setting::plain("sorry_server", value, &service.place))
    }

    fn servers(&mut self, service: &Service, settled: &Settled) -> Vec<ServerBlock> {
        let mut names = HashSet::new();
        let mut sockets = HashMap::new();
        let mut blocks = Vec::new();
        for server in &service.servers {
            let socket = (server.address, server.port.or(settled.port).unwrap_or(0));
            if let Some(before) = sockets.insert(socket, server.place.clone()) {
                let why = format!("the service has this server already, by {before}");
                self.report.left_out(&server.place, why);
                continue;
            }
            if !settled.reaches(server.address) {
                let why = "a server of the other address family: only a tunnel leads there";
                self.report.left_out(&server.place, why);
                continue;
            }
            let other = server
                .terms
                .forwarding
                .filter(|way| *way != settled.forwarding);
            if let Some(other) = other {
                let why = format!(
                    "{} is reached otherwise than the servers before it ({}), and lvs.cf has one `method` \
                     for a service",
                    server.address,
                    way(other)
                );
                self.report.left_out(&server.place, why);
                continue;
            }
            let port = socket.1;
            let name = match (server.terms.name.as_deref(), port) {
                (Some(name), _) => plain_name(name),
                (None, 0) => server.address.to_string(),
                (None, port) => format!("{}-{port}", server.address),
            };
            let mut unique = name.clone();
            while !names.insert(unique.clone()) {
                unique = format!("{name}-{}", names.len() + 1);
            }
            blocks.push(ServerBlock {
                name: unique,
                place: server.place.clone(),
                state: State::On,
                settings: server_settings(server, settled),
            });
        }
        blocks
    }
}

/// What holds for all servers of a service.
struct Settled {
    family: Option<Family>,
    forwarding: Forwarding,
    /// The one port of the service.
    port: Option<u16>,
    /// `check_port` says where servers are checked.
    is_checked_elsewhere: bool,
}

impl Settled {
    /// Whether packets can get there.
    fn reaches(&self, address: IpAddr) -> bool {
        let crosses = matches!(self.forwarding, Forwarding::Tunnel { .. });
        crosses
            || self
                .family
                .is_none_or(|family| family == Family::of(address))
    }
}

fn server_settings(server: &Server, settled: &Settled) -> Vec<Setting> {
    let terms = &server.terms;
    let mut settings = Vec::new();
    let mut say = |name, value: &dyn ToString| {
        settings.push(Setting::plain(name, value.to_string(), &server.place));
    };
    say("address", &server.address);
    // Where packets keep their port, that of a server only says where it is checked.
    let changes_ports = matches!(settled.forwarding, Forwarding::Nat | Forwarding::FullNat);
    let is_idle = settled.is_checked_elsewhere && !changes_ports;
    if !is_idle
        && let Some(port) = server
            .port
            .filter(|port| *port != 0 && Some(*port) != settled.port)
    {
        say("port", &port);
    }
    match terms.weight {
        Some(0) => say("quiesced", &1),
        weight => say("weight", &weight.unwrap_or(1)),
    }
    for (name, limit) in [
        ("upper_threshold", terms.upper),
        ("lower_threshold", terms.lower),
    ] {
        if let Some(limit) = limit.filter(|limit| *limit != 0) {
            say(name, &limit);
        }
    }
    settings
}

/// Who gets the next connection.
fn balancing(terms: &ServiceTerms, say: &mut dyn FnMut(&'static str, &dyn ToString)) {
    if let Some(scheduler) = terms.scheduler {
        say("scheduler", &scheduler);
        let flags = terms.flags.unwrap_or_default();
        let names = [
            (flags.fallback, "fallback"),
            (flags.port, "port"),
            (flags.compat, "compat"),
        ];
        let names: Vec<_> = names
            .iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, name)| format!("{scheduler}-{name}"))
            .collect();
        // To the others they mean nothing.
        if !names.is_empty() && matches!(scheduler, Scheduler::Sh | Scheduler::Mh) {
            say("sched_flags", &names.join(","));
        }
    }
    if let Some(seconds) = terms.persistent.filter(|seconds| *seconds != 0) {
        say("persistent", &seconds);
        match terms.mask {
            Some(IpAddr::V4(mask)) if mask.to_bits() != u32::MAX => say("pmask", &mask),
            Some(IpAddr::V6(mask)) if mask.to_bits() != u128::MAX => {
                say("pmask", &mask.to_bits().leading_ones());
            }
            Some(_) | None => {}
        }
    }
    if terms.one_packet == Some(true) {
        say("ops", &1);
    }
}

fn tunnel(forwarding: Forwarding, say: &mut dyn FnMut(&'static str, &dyn ToString)) {
    let Forwarding::Tunnel { tunnel } = forwarding else {
        return;
    };
    let checksum = match tunnel {
        Tunnel::Ipip => return,
        Tunnel::Gre { checksum } => {
            say("tunnel_type", &"gre");
            checksum
        }
        Tunnel::Gue { port, checksum } => {
            say("tunnel_type", &"gue");
            say("tunnel_port", &port);
            checksum
        }
    };
    if checksum {
        say("tunnel_checksum", &1);
    }
}

/// How most servers of a service are reached: the word for it, and all of it.
fn method(service: &Service) -> (&'static str, Option<Forwarding>) {
    let said = service.servers.iter().map(|server| {
        let otherwise = service.terms.forwarding.unwrap_or(Forwarding::Direct);
        server.terms.forwarding.unwrap_or(otherwise)
    });
    let forwarding = most_common(said).or(service.terms.forwarding);
    (way(forwarding.unwrap_or(Forwarding::Direct)), forwarding)
}

/// As `method` and `network` call it.
fn way(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Nat => "nat",
        Forwarding::FullNat => "fullnat",
        Forwarding::Direct => "direct",
        Forwarding::Tunnel { .. } => "tunnel",
    }
}

/// Of those that are there most often, the first.
fn most_common<T: PartialEq + Copy>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for one in all {
        match counts.iter_mut().find(|(other, _)| *other == one) {
            Some((_, count)) => *count += 1,
            None => counts.push((one, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    let first = counts.into_iter().find(|(_, count)| *count == most);
    first.map(|(one, _)| one)
}

/// The servers that send their replies by this director.
fn natted(service: &Service) -> Vec<IpAddr> {
    let otherwise = service.terms.forwarding.unwrap_or(Forwarding::Direct);
    let servers = service.servers.iter();
    servers
        .filter(|server| server.terms.forwarding.unwrap_or(otherwise) == Forwarding::Nat)
        .map(|server| server.address)
        .collect()
}

fn taken_numbers(services: &[Service]) -> HashSet<u32> {
    let mark = |service: &Service| match service.what {
        What::Mark(mark, _) => Some(mark),
        What::Address(..) | What::Several(_) => None,
    };
    services.iter().filter_map(mark).collect()
}

/// Whether the servers are checked at a port that is said, or by a program that needs none.
fn checked_elsewhere(settings: &[Setting]) -> bool {
    settings.iter().any(|setting| match setting.name {
        "check_port" => true,
        "check" => setting.value == "icmp",
        "send_program" => !setting.value.contains("%p"),
        _ => false,
    })
}

pub(super) fn selector(protocol: Protocol, socket: SocketAddr) -> Selector {
    let (first, last) = match socket.port() {
        0 => (0, u16::MAX),
        port => (port, port),
    };
    Selector {
        address: socket.ip(),
        protocol,
        first,
        last,
    }
}

/// The port, if all have the same one.
fn only_port(selectors: &[Selector]) -> Option<u16> {
    let first = selectors
        .first()
        .filter(|first| first.first == first.last)?;
    let is_same = |other: &Selector| (other.first, other.last) == (first.first, first.first);
    selectors.iter().all(is_same).then_some(first.first)
}

fn ports(selector: &Selector) -> String {
    match (selector.first, selector.last) {
        (0, _) => "0".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

/// The values of `match` lines that say it all, of bounded length each.
fn match_lines(selectors: &[Selector]) -> Vec<String> {
    const ADDRESSES_ON_A_LINE: usize = 4;
    let mut targets: BTreeMap<(Protocol, IpAddr), Vec<String>> = BTreeMap::new();
    for selector in selectors {
        let list = targets.entry((selector.protocol, selector.address));
        list.or_default().push(ports(selector));
    }
    let mut by_protocol: BTreeMap<Protocol, Vec<String>> = BTreeMap::new();
    for ((protocol, address), ports) in targets {
        let target = match (ports.iter().any(|port| port == "0"), address) {
            (true, _) => address.to_string(),
            (false, IpAddr::V4(_)) => format!("{address}:{}", ports.join(",")),
            (false, IpAddr::V6(_)) => format!("[{address}]:{}", ports.join(",")),
        };
        by_protocol.entry(protocol).or_default().push(target);
    }
    let mut lines = Vec::new();
    for (protocol, targets) in by_protocol {
        for some in targets.chunks(ADDRESSES_ON_A_LINE) {
            lines.push(format!("\"{} {}\"", word(protocol), some.join(" ")));
        }
    }
    lines
}

fn word(protocol: Protocol) -> String {
    protocol.to_string().to_lowercase()
}

/// A name without anything that would need quotes.
fn plain_name(name: &str) -> String {
    let plain = |c: char| {
        let is_plain = c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if is_plain { c } else { '-' }
    };
    let name: String = name.chars().take(64).map(plain).collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

/// Where the virtual IPs are.
struct Homes<'a> {
    interfaces: &'a mut dyn Interfaces,
    known: HashMap<IpAddr, Home>,
    placeholders: u32,
    used: HashSet<IpAddr>,
}

impl<'a> Homes<'a> {
    fn new(found: &Found, interfaces: &'a mut dyn Interfaces) -> Self {
        let said = found.homes.iter();
        Self {
            interfaces,
            known: said
                .map(|(address, home, _)| (*address, home.clone()))
                .collect(),
            placeholders: 0,
            used: HashSet::new(),
        }
    }

    /// The value of `address`.
    fn device(&mut self, address: IpAddr, place: &Place, report: &mut Report) -> String {
        let known = self.known.get(&address).cloned();
        let home = known
            .or_else(|| self.interfaces.home(address))
            .unwrap_or_else(|| self.placeholder(address, place, report));
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = home.prefix.filter(|prefix| *prefix != longest);
        let prefix = prefix.map_or_else(String::new, |prefix| format!("/{prefix}"));
        let value = format!("{address}{prefix} {}", home.device);
        self.used.insert(address);
        self.known.insert(address, home);
        value
    }

    fn placeholder(&mut self, address: IpAddr, place: &Place, report: &mut Report) -> Home {
        self.placeholders += 1;
        let device = format!("eth0:{}", self.placeholders);
        let why = format!(
            "the interface of {address} is not known, so {device} is only a placeholder: set the right one in \
             `address`"
        );
        report.left_out(place, why);
        Home {
            device,
            prefix: None,
        }
    }
}
