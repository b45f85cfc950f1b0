//! The real servers of a service, and its sorry server.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    diagnostic::{Diagnostics, quote},
    directives::{ServerKey, ServiceKey},
    model::placeholder,
    settings::{Matched, ServerSettings, ServiceSettings},
    source::Source,
};
use crate::model::{Check, Forwarding, Method, Protocol, RealServer};

/// What there is to know of a service before its servers.
pub(super) struct Farm<'a, 'd> {
    pub(super) source: &'a Source,
    pub(super) settings: &'a ServiceSettings<'d>,
    pub(super) forwarding: Forwarding,
    /// What clients connect to, if that is known.
    pub(super) selectors: Option<&'a [Matched]>,
    pub(super) check: &'a Check,
    pub(super) checked: Checked,
    pub(super) diagnostics: &'a mut Diagnostics,
}

/// Where servers are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checked {
    /// By which protocol.
    pub(super) protocol: Protocol,
    /// At which port, whatever their own (`check_port`).
    pub(super) always: Option<u16>,
    /// At which port, if they have none of their own.
    pub(super) otherwise: Option<u16>,
}

impl Checked {
    /// A group is checked at the `port` and by the `protocol` of its block if it says them, else at
    /// the first port that belongs to it.
    pub(super) fn new(
        settings: &ServiceSettings<'_>,
        selectors: Option<&[Matched]>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let selectors = selectors.unwrap_or_default();
        let first_of = |protocol: Protocol| {
            let mut of_protocol = selectors
                .iter()
                .map(|matched| matched.selector)
                .filter(move |selector| selector.protocol == protocol);
            of_protocol.find(|selector| selector.first != 0)
        };
        let is_group = takes_several(settings, selectors) && !settings.ours.matches.is_empty();
        let protocol = if is_group && !settings.block.says(ServiceKey::Protocol) {
            [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
                .into_iter()
                .find(|protocol| first_of(*protocol).is_some())
                .unwrap_or(settings.protocol)
        } else {
            settings.protocol
        };
        let protocol = match settings.ours.check.kind {
            // Those that ask by the protocol of the service, and by none.
            None | Some("dns" | "icmp") => protocol,
            Some("udp") => Protocol::Udp,
            Some(_) => Protocol::Tcp,
        };
        let said = !is_group || settings.block.says(ServiceKey::Port);
        let port = valid_port(settings.port).filter(|_| said);
        let always = settings.ours.check_port.and_then(|port| {
            let valid = valid_port(port);
            if valid.is_none() {
                let span = settings.block.place(ServiceKey::CheckPort);
                diagnostics.error(span, format!("{port} is no port"), "1 to 65535");
            }
            valid
        });
        Self {
            protocol,
            always,
            otherwise: port.or_else(|| first_of(protocol).map(|selector| selector.first)),
        }
    }

    /// The port of the service as far as checks go by it.
    pub(super) fn port(&self) -> Option<u16> {
        self.always.or(self.otherwise)
    }
}

impl Farm<'_, '_> {
    /// The servers that are switched on.
    pub(super) fn servers(&mut self) -> Vec<RealServer> {
        let settings = self.settings;
        let mut servers = Vec::new();
        let mut sockets = HashMap::new();
        for server in settings.servers.iter().filter(|server| server.active) {
            let Some(real) = self.server(server) else {
                continue;
            };
            let span = server.block.name.span;
            if let Some(first) = sockets.insert(real.socket, span) {
                let first = self.source.place(first);
                let message = format!(
                    "{} is a server of this service already, at {first}",
                    real.socket
                );
                let help = "remove one of them, or give it another port";
                self.diagnostics.error(span, message, help);
                continue;
            }
            servers.push(real);
        }
        if !settings.servers.iter().any(|server| server.active) {
            let message = format!("virtual {} has no active server", quote(settings.name));
            self.diagnostics.warn(
                settings.block.name.span,
                message,
                "a server needs `active = 1` in its own block",
            );
        }
        self.tell_unweighted();
        self.tell_unchecked(&servers);
        servers
    }

    /// The server for the time when there is no other.
    pub(super) fn sorry_server(&mut self, servers: &[RealServer]) -> Option<SocketAddr> {
        let address = self.settings.sorry_server;
        if address.is_unspecified() {
            return None;
        }
        let span = self.settings.block.place(ServiceKey::SorryServer);
        let port = match self.settings.ours.sorry_port {
            Some(port) => {
                let keeps = self.forwarding.method() != Method::Nat && port != self.port();
                if keeps {
                    let message = format!("packets keep their port; {port} is ignored");
                    let help = "only `nat` and `fullnat` can change ports";
                    self.diagnostics.warn(span, message, help);
                }
                if keeps { self.port() } else { port }
            }
            None => self.port(),
        };
        if self.crosses_families(address) {
            let message = "sorry server and virtual IP are not of one address family";
            let help = "only a tunnel can cross from one to the other";
            self.diagnostics.error(span, message, help);
        }
        let socket = SocketAddr::new(address, port);
        if servers.iter().any(|server| server.socket == socket) {
            let message = format!("{socket} is a server of this service already");
            let help = "the sorry server is for the time when none of them works";
            self.diagnostics.error(span, message, help);
        }
        Some(socket)
    }

    fn server(&mut self, settings: &ServerSettings<'_>) -> Option<RealServer> {
        placeholder("server", &settings.block.name, self.diagnostics);
        let weight = self.weight(settings);
        let port = self.server_port(settings);
        let (upper, lower) = self.thresholds(settings);
        if settings.unread.contains(&ServerKey::Address) {
            return None;
        }
        let span = settings.block.place(ServerKey::Address);
        if settings.address.is_unspecified() {
            let message = format!(
                "server {} is active and has no address",
                quote(settings.name)
            );
            let help = "add `address = ADDRESS`, or `active = 0`";
            self.diagnostics.error(span, message, help);
            return None;
        }
        if self.crosses_families(settings.address) {
            let message = "server and virtual IP are not of one address family";
            let help = "only a tunnel can cross from one to the other";
            self.diagnostics.error(span, message, help);
        }
        let socket = SocketAddr::new(settings.address, port?);
        let own = Some(socket.port()).filter(|port| *port != 0);
        let check_port = self.checked.always.or(own).or(self.checked.otherwise);
        Some(RealServer {
            check_port: check_port.unwrap_or(0),
            upper,
            lower,
            ..RealServer::new(settings.name, socket, self.forwarding, weight?)
        })
    }

    fn crosses_families(&self, address: IpAddr) -> bool {
        self.forwarding.method() != Method::Tunnel
            && self.selectors.is_some()
            && self.settings.vip().is_ipv4() != address.is_ipv4()
    }

    /// 0 and less work as 1: Piranha's nanny never starts lower, and files count on it.
    fn weight(&mut self, settings: &ServerSettings<'_>) -> Option<u16> {
        let span = settings.block.place(ServerKey::Weight);
        if settings.quiesced {
            return Some(0);
        }
        if settings.weight < 1 {
            let message = format!("weight {} works as 1, as with Piranha", settings.weight);
            let help = "for weight 0: `quiesced = 1`; to switch the server off: `active = 0`";
            self.diagnostics.warn(span, message, help);
            return Some(1);
        }
        let weight = u16::try_from(settings.weight).ok();
        if weight.is_none() {
            let message = format!("weight {} is too large", settings.weight);
            self.diagnostics.error(span, message, "1 to 65535");
        }
        weight
    }

    fn thresholds(&mut self, settings: &ServerSettings<'_>) -> (u32, u32) {
        let mut limit = |key, number: i32| {
            u32::try_from(number).unwrap_or_else(|_| {
                let span = settings.block.place(key);
                let message = format!("{number} connections are none");
                self.diagnostics.error(span, message, "0 or more");
                0
            })
        };
        let upper = limit(ServerKey::UpperThreshold, settings.upper_threshold);
        let lower = limit(ServerKey::LowerThreshold, settings.lower_threshold);
        let span = settings.block.place(ServerKey::LowerThreshold);
        if upper == 0 && lower != 0 {
            let message = "`lower_threshold` has no effect without `upper_threshold`";
            let help = "say how many connections are too many";
            self.diagnostics.warn(span, message, help);
        } else if lower > upper {
            let message = format!("`lower_threshold` is more than `upper_threshold`, {upper}");
            self.diagnostics
                .error(span, message, "less than that; 0 for three quarters");
        }
        (upper, lower)
    }

    /// The port that clients reach a server at unless it says another one; 0 is the one they use.
    fn port(&self) -> u16 {
        let selectors = self.selectors.unwrap_or_default();
        match takes_several(self.settings, selectors) {
            true => 0,
            false => valid_port(self.settings.port).unwrap_or(0),
        }
    }

    fn server_port(&mut self, settings: &ServerSettings<'_>) -> Option<u16> {
        let selectors = self.selectors.unwrap_or_default();
        let several = takes_several(self.settings, selectors);
        let is_inherited = !settings.block.says(ServerKey::Port);
        if is_inherited && !self.settings.ours.matches.is_empty() {
            return Some(self.port());
        }
        let usual = self.port();
        let said = if settings.port == 0 && several {
            Some(0)
        } else {
            valid_port(settings.port)
        };
        let span = settings.block.place(ServerKey::Port);
        let Some(port) = said else {
            // An inherited one has been told of, at the service.
            let is_range = self.settings.ours.last_port.is_some();
            if !is_inherited || settings.port != self.settings.port && !is_range {
                let message = format!("{} is no port of a server", settings.port);
                self.diagnostics.error(span, message, "1 to 65535");
            }
            return None;
        };
        if port == usual {
            return said;
        }
        if is_inherited {
            let message = format!("the server gets port {port}: `port` stands below it");
            let help = "move the service's `port` above its servers";
            self.diagnostics.warn(span, message, help);
        }
        if self.forwarding.method() != Method::Nat {
            let kept = match usual {
                0 => "their port".to_owned(),
                usual => format!("port {usual}"),
            };
            let message = format!("packets keep {kept}; {port} is only used to check the server");
            let help = "only `nat` and `fullnat` can change ports";
            self.diagnostics.warn(span, message, help);
        }
        said
    }

    /// Tells of servers whose weight was left to the default, once for each service.
    fn tell_unweighted(&mut self) {
        let says_none = |server: &&ServerSettings<'_>| {
            server.active && !server.quiesced && !server.block.says(ServerKey::Weight)
        };
        let mut unweighted = self.settings.servers.iter().filter(says_none);
        let Some(first) = unweighted.next() else {
            return;
        };
        let others = match unweighted.count() {
            0 => String::new(),
            1 => ", as has another one of this service".to_owned(),
            more => format!(", as have {more} others of this service"),
        };
        let name = quote(first.name);
        let message = format!("server {name} has no `weight`, which makes it 1{others}");
        let help = "add `weight = 1`, or what its share of the connections is";
        self.diagnostics.warn(first.block.name.span, message, help);
    }

    /// Tells of servers that nobody could check.
    fn tell_unchecked(&mut self, servers: &[RealServer]) {
        let needs_port = self.check.needs_port();
        let is_known = self.selectors.is_some() && self.settings.ours.check_port.is_none();
        if needs_port && is_known && servers.iter().any(|server| server.check_port == 0) {
            self.diagnostics.error(
                self.settings.block.name.span,
                "there is no port at which the servers could be checked",
                "add `check_port = PORT`, or a `send_program` without %p",
            );
        }
    }
}

/// Whether clients may use more than one port, or come by more than one protocol or address.
fn takes_several(settings: &ServiceSettings<'_>, selectors: &[Matched]) -> bool {
    let is_range = |matched: &Matched| matched.selector.first != matched.selector.last;
    settings.fwmark != 0 && !settings.ours.matches.is_empty() || selectors.iter().any(is_range)
}

fn valid_port(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}
