//! Settings → Site: what the file means. Every check between directives is here and in the
//! modules that this one calls.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    addresses::{Addresses, Wanted},
    diagnostic::{Diagnostic, Diagnostics, quote},
    directives::{GlobalKey, ServerKey, ServiceKey},
    document::Document,
    global::{self, Global, place},
    probe::probe,
    settings::{GlobalSettings, Mode, ServerSettings, ServiceSettings, Settings},
    source::Span,
};
use crate::model::{self, Method, RealServer, Scheduler, ServiceAddress, Site, VirtualService};

/// What a file means. With errors among the diagnostics the result is not to be used.
pub(super) fn understand(
    settings: &Settings<'_>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> (Global, Site) {
    let global = global::global(&settings.global, document, diagnostics);
    let timeouts = global::timeouts(&settings.global, document, diagnostics);
    let mut site = Building {
        document,
        method: global.method,
        addresses: Addresses::new(&document.source),
        services: Vec::new(),
        keys: HashMap::new(),
        diagnostics,
    };
    site.tell_dead_blocks(settings);
    // In the other mode Piranha did not look at the virtual blocks.
    if global.mode == Mode::Lvs {
        for service in settings.virtuals.iter().filter(|service| service.active) {
            site.service(service);
        }
    }
    site.nat_router(&settings.global);
    let Building {
        services,
        addresses,
        ..
    } = site;
    (
        global,
        Site {
            services,
            addresses: addresses.into_vec(),
            timeouts,
            settings: model::Settings::default(),
        },
    )
}

struct Building<'a> {
    document: &'a Document,
    method: Method,
    addresses: Addresses<'a>,
    services: Vec<VirtualService>,
    keys: HashMap<ServiceAddress, Span>,
    diagnostics: &'a mut Diagnostics,
}

impl Building<'_> {
    fn service(&mut self, settings: &ServiceSettings<'_>) {
        let block = settings.block;
        let probe = probe(settings, self.diagnostics);
        let scheduler = self.scheduler(settings);
        let address = self.service_address(settings);
        let servers = self.servers(settings, address.map(|key| key.address));
        let Some(key) = address else { return };
        if let Some(first) = self.keys.get(&key) {
            let first = self.document.source.place(*first);
            let error = Diagnostic::error(
                block.name.span,
                format!("{key} is a service already, at {first}"),
            );
            self.diagnostics.push(if settings.fwmark == 0 {
                error.help("switch one of them off with `active = 0`")
            } else {
                error.help("`fwmark` has no effect yet: services are told apart by address, port and protocol")
            });
            return;
        }
        self.keys.insert(key, block.name.span);
        self.services.push(VirtualService {
            method: self.method,
            quiesce: settings.quiesce_server,
            servers,
            ..VirtualService::new(settings.name, key, scheduler, probe)
        });
    }

    /// What clients connect to; its address becomes a floating one.
    fn service_address(&mut self, settings: &ServiceSettings<'_>) -> Option<ServiceAddress> {
        let span = settings.block.place(ServiceKey::Address);
        let port = self.port(settings);
        let parts = [ServiceKey::Address, ServiceKey::Port, ServiceKey::Protocol];
        if settings.unread.iter().any(|key| parts.contains(key)) {
            return None;
        }
        if settings.address.is_unspecified() {
            let message = format!(
                "virtual {} is active and has no address",
                quote(settings.name)
            );
            self.diagnostics.push(
                Diagnostic::error(span, message)
                    .help("add `address = VIP DEVICE`, or `active = 0`"),
            );
            return None;
        }
        let wanted = Wanted {
            address: settings.address,
            prefix: settings.prefix,
            mask: settings.vip_nmask,
            device: settings.dev.as_deref().unwrap_or_default(),
            span,
            mask_span: settings.block.place(ServiceKey::VipNmask),
        };
        self.addresses.add(&wanted, self.diagnostics);
        Some(ServiceAddress {
            address: settings.address,
            port: port?,
            protocol: settings.protocol,
        })
    }

    fn port(&mut self, settings: &ServiceSettings<'_>) -> Option<u16> {
        let port = valid_port(settings.port);
        if port.is_none() {
            let span = settings.block.place(ServiceKey::Port);
            let message = format!("{} is no port of a service", settings.port);
            self.diagnostics
                .push(Diagnostic::error(span, message).help("1 to 65535"));
        }
        port
    }

    fn scheduler(&mut self, settings: &ServiceSettings<'_>) -> Scheduler {
        match settings.scheduler {
            "rr" => Scheduler::Rr,
            "wrr" => Scheduler::Wrr,
            "wlc" => Scheduler::Wlc,
            "sh" => Scheduler::Sh,
            other => {
                let span = settings.block.place(ServiceKey::Scheduler);
                let message = format!("`scheduler = {other}` has no effect yet: wlc is used");
                self.diagnostics.push(Diagnostic::warning(span, message));
                Scheduler::Wlc
            }
        }
    }

    fn servers(&mut self, settings: &ServiceSettings<'_>, vip: Option<IpAddr>) -> Vec<RealServer> {
        let mut servers = Vec::new();
        let mut sockets = HashMap::new();
        for server in settings.servers.iter().filter(|server| server.active) {
            let Some(real) = self.server(settings, server, vip) else {
                continue;
            };
            let span = server.block.name.span;
            if let Some(first) = sockets.insert(real.socket, span) {
                let first = self.document.source.place(first);
                let message = format!(
                    "{} is a server of this service already, at {first}",
                    real.socket
                );
                self.diagnostics.push(
                    Diagnostic::error(span, message)
                        .help("remove one of them, or give it another port"),
                );
                continue;
            }
            servers.push(real);
        }
        if !settings.servers.iter().any(|server| server.active) {
            let message = format!("virtual {} has no active server", quote(settings.name));
            self.diagnostics.push(
                Diagnostic::warning(settings.block.name.span, message)
                    .help("a server needs `active = 1` in its own block"),
            );
        }
        servers
    }

    fn server(
        &mut self,
        service: &ServiceSettings<'_>,
        settings: &ServerSettings<'_>,
        vip: Option<IpAddr>,
    ) -> Option<RealServer> {
        let weight = self.weight(settings);
        let port = self.server_port(service, settings);
        if settings.unread.contains(&ServerKey::Address) {
            return None;
        }
        let span = settings.block.place(ServerKey::Address);
        if settings.address.is_unspecified() {
            let message = format!(
                "server {} is active and has no address",
                quote(settings.name)
            );
            self.diagnostics.push(
                Diagnostic::error(span, message).help("add `address = ADDRESS`, or `active = 0`"),
            );
            return None;
        }
        if self.method != Method::Tunnel
            && vip.is_some_and(|vip| vip.is_ipv4() != settings.address.is_ipv4())
        {
            self.diagnostics.push(
                Diagnostic::error(span, "server and virtual IP are not of one address family")
                    .help("only `network = tunnel` can cross from one to the other"),
            );
        }
        let socket = SocketAddr::new(settings.address, port?);
        Some(RealServer::new(settings.name, socket, weight?))
    }

    /// 0 and less work as 1: Piranha's nanny never starts lower, and files count on it.
    fn weight(&mut self, settings: &ServerSettings<'_>) -> Option<u16> {
        let span = settings.block.place(ServerKey::Weight);
        if settings.weight < 1 {
            let message = format!("weight {} works as 1, as with Piranha", settings.weight);
            self.diagnostics.push(
                Diagnostic::warning(span, message).help("to switch the server off: `active = 0`"),
            );
            return Some(1);
        }
        let weight = u16::try_from(settings.weight).ok();
        if weight.is_none() {
            let message = format!("weight {} is too large", settings.weight);
            self.diagnostics
                .push(Diagnostic::error(span, message).help("1 to 65535"));
        }
        weight
    }

    fn server_port(
        &mut self,
        service: &ServiceSettings<'_>,
        settings: &ServerSettings<'_>,
    ) -> Option<u16> {
        let span = settings.block.place(ServerKey::Port);
        let inherited = !settings
            .block
            .directives
            .iter()
            .any(|one| one.key() == ServerKey::Port);
        let port = valid_port(settings.port);
        if port.is_none() {
            // An inherited one has been told of, at the service.
            if !inherited || settings.port != service.port {
                let message = format!("{} is no port of a server", settings.port);
                self.diagnostics
                    .push(Diagnostic::error(span, message).help("1 to 65535"));
            }
            return None;
        }
        if settings.port != service.port {
            if inherited {
                let message = format!(
                    "the server gets port {}: `port` stands below it",
                    settings.port
                );
                self.diagnostics.push(
                    Diagnostic::warning(span, message)
                        .help("move the service's `port` above its servers"),
                );
            }
            if self.method != Method::Nat {
                let message = format!(
                    "packets keep port {}; {} is only used to check the server",
                    service.port, settings.port
                );
                self.diagnostics.push(
                    Diagnostic::warning(span, message)
                        .help("only `network = nat` can change ports"),
                );
            }
        }
        port
    }

    fn nat_router(&mut self, settings: &GlobalSettings) {
        let span = place(self.document, GlobalKey::NatRouter);
        let Some(device) = settings.nat_router_dev.as_deref() else {
            return;
        };
        if settings.nat_router.is_unspecified() {
            return;
        }
        if self.method != Method::Nat {
            let message = "`nat_router` is ignored: it is for `network = nat`";
            self.diagnostics.push(Diagnostic::warning(span, message));
            return;
        }
        let wanted = Wanted {
            address: settings.nat_router,
            prefix: settings.nat_router_prefix,
            mask: settings.nat_nmask,
            device,
            span,
            mask_span: place(self.document, GlobalKey::NatNmask),
        };
        self.addresses.add(&wanted, self.diagnostics);
    }

    fn tell_dead_blocks(&mut self, settings: &Settings<'_>) {
        for failover in settings.failovers.iter().filter(|failover| failover.active) {
            let message = format!(
                "failover {} has no effect yet: the service is not run",
                quote(failover.name)
            );
            self.diagnostics
                .push(Diagnostic::warning(failover.block.name.span, message));
        }
        let live = settings.virtuals.iter().any(|service| service.active);
        if settings.global.service == Mode::Lvs && !live {
            let first = self.document.services.first();
            let span = first.map_or(Span::default(), |block| block.name.span);
            self.diagnostics.push(
                Diagnostic::warning(span, "no virtual block is active")
                    .help("Piranha would not start; a block needs `active = 1`"),
            );
        }
    }
}

fn valid_port(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}
