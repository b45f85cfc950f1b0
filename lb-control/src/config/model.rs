//! Settings → Site: what the file means. Every check between directives is here and in the
//! modules that this one calls.

use std::{sync::Arc, time::Duration};

use super::{
    addresses::{Addresses, Wanted},
    balancing,
    checked_at::checked_at,
    diagnostic::{Diagnostic, Diagnostics, quote},
    directives::{GlobalKey, ServiceKey},
    document::Document,
    failovers, forwarding,
    global::{self, Global, place},
    lexer::Word,
    probe::probe,
    scheduling,
    selectors::{self, Claims},
    servers::{Checked, Farm},
    settings::{GlobalSettings, Matched, Mode, ServiceSettings, Settings},
    source::Span,
    values::Netmask,
};
use crate::model::{
    FailoverService, Family, Forwarding, Method, Probe, Selector, ServiceId, Site, VirtualService,
};

/// What a file means. With errors among the diagnostics the result is not to be used.
pub(super) fn understand(
    settings: &Settings<'_>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> (Global, Site) {
    let global = global::global(&settings.global, document, diagnostics);
    let mut balancing = balancing::settings(&settings.global.ours, document, diagnostics);
    let tells = |sync: &global::ConnectionSync| sync.is_compat || global.backup_active;
    balancing.sync = global.sync.as_ref().is_some_and(tells);
    let timeouts = global::timeouts(&settings.global, document, diagnostics);
    let mut site = Building {
        document,
        method: global.method,
        rsh: &settings.global.rsh_command,
        addresses: Addresses::new(&document.source),
        services: Vec::new(),
        failovers: Vec::new(),
        claims: Claims::new(&document.source),
        masquerades: global.method == Method::Nat && global.mode == Mode::Lvs,
        diagnostics,
    };
    site.tell_dead_blocks(settings);
    let live = |blocks| <[ServiceSettings<'_>]>::iter(blocks).filter(|service| service.active);
    // Blocks of the other kind are not looked at, as with Piranha.
    match global.mode {
        Mode::Lvs => {
            live(&settings.virtuals).for_each(|service| site.service(service));
            live(&settings.virtuals)
                .filter(|service| service.fwmark != 0)
                .for_each(|group| site.group_addresses(group));
        }
        Mode::Fos => {
            let limit = global.command_timeout;
            live(&settings.failovers).for_each(|service| site.failover(service, limit));
        }
    }
    site.nat_router(&settings.global);
    let Building {
        services,
        failovers,
        addresses,
        ..
    } = site;
    (
        global,
        Site {
            services,
            failovers,
            addresses: addresses.into_vec(),
            timeouts,
            settings: balancing,
            ..Site::default()
        },
    )
}

struct Building<'a> {
    document: &'a Document,
    method: Method,
    /// How `load_monitor = uptime` reaches servers.
    rsh: &'a str,
    addresses: Addresses<'a>,
    services: Vec<Arc<VirtualService>>,
    failovers: Vec<Arc<FailoverService>>,
    claims: Claims<'a>,
    /// Real servers have the director for their gateway.
    masquerades: bool,
    diagnostics: &'a mut Diagnostics,
}

impl Building<'_> {
    fn service(&mut self, settings: &ServiceSettings<'_>) {
        let diagnostics = &mut *self.diagnostics;
        failovers::tell_strangers(settings, diagnostics);
        let forwarding = forwarding::forwarding(settings, self.method, diagnostics);
        let scheduler = scheduling::scheduler(settings);
        let flags = scheduling::flags(settings, scheduler, diagnostics);
        let wanted = self.wanted(settings);
        let diagnostics = &mut *self.diagnostics;
        let checked = Checked::new(settings, wanted.as_deref(), diagnostics);
        let probe = probe(settings, &checked, self.rsh, diagnostics);
        let at = checked_at(settings, forwarding, checked.protocol, &probe, diagnostics);
        let probe = Probe { at, ..probe };
        let drain = self.drain(settings);
        let mut farm = Farm {
            source: &self.document.source,
            settings,
            forwarding,
            selectors: wanted.as_deref(),
            check: &probe.check,
            checked,
            diagnostics: self.diagnostics,
        };
        let servers = farm.servers();
        let sorry_server = farm.sorry_server(&servers);
        let Some(wanted) = wanted else { return };
        let diagnostics = &mut *self.diagnostics;
        let one_packet = scheduling::one_packet(settings, &wanted, diagnostics);
        let persistence = scheduling::persistence(settings, diagnostics);
        if !self.claims.claim(settings, &wanted, diagnostics) {
            return;
        }
        let selectors: Vec<_> = wanted.into_iter().map(|matched| matched.selector).collect();
        let Some(first) = selectors.first().map(Selector::key) else {
            return;
        };
        let key = match settings.fwmark {
            0 => ServiceId::Address(first),
            mark => ServiceId::Mark {
                mark,
                family: Family::of(first.address),
            },
        };
        self.masquerades |= forwarding == Forwarding::Nat;
        let service = VirtualService {
            key,
            selectors,
            forwarding,
            flags,
            one_packet,
            persistence,
            sorry_server,
            refusal: settings.ours.refuse,
            drain,
            check_protocol: checked.protocol,
            quiesce: settings.quiesce_server,
            servers,
            ..VirtualService::new(settings.name, first, scheduler, probe)
        };
        self.services.push(Arc::new(service));
    }

    fn failover(&mut self, settings: &ServiceSettings<'_>, limit: Duration) {
        if !self.floats("failover", settings) {
            return;
        }
        let source = &self.document.source;
        let others = &self.failovers;
        let service = failovers::service(settings, limit, others, source, self.diagnostics);
        self.failovers.extend(service.map(Arc::new));
    }

    /// What clients connect to; the block's address becomes a floating one.
    fn wanted(&mut self, settings: &ServiceSettings<'_>) -> Option<Vec<Matched>> {
        if !self.floats("virtual", settings) {
            return None;
        }
        placeholder("virtual", &settings.block.name, self.diagnostics);
        selectors::selectors(settings, self.diagnostics)
    }

    /// Makes the addresses of a block floating ones; whether it has some, and a port and protocol.
    fn floats(&mut self, kind: &str, settings: &ServiceSettings<'_>) -> bool {
        let span = settings.block.place(ServiceKey::Address);
        let parts = [ServiceKey::Address, ServiceKey::Port, ServiceKey::Protocol];
        if settings.unread.iter().any(|key| parts.contains(key)) {
            return false;
        }
        if settings.vip().is_unspecified() {
            let message = format!(
                "{kind} {} is active and has no address",
                quote(settings.name)
            );
            let help = "add `address = VIP DEVICE`, or `active = 0`";
            self.diagnostics.error(span, message, help);
            return false;
        }
        for (index, address) in settings.ours.addresses.iter().enumerate() {
            if index > 0 {
                let message = "another address of this service; Piranha took the last one alone";
                self.diagnostics
                    .push(Diagnostic::warning(address.span, message).liberty());
            }
            let wanted = Wanted {
                address: address.address,
                prefix: address.prefix,
                mask: settings.vip_nmask,
                device: &address.dev,
                span: address.span,
                mask_span: settings.block.place(ServiceKey::VipNmask),
            };
            self.addresses.add(&wanted, self.diagnostics);
        }
        true
    }

    fn drain(&mut self, settings: &ServiceSettings<'_>) -> Duration {
        settings.ours.drain.duration().unwrap_or_else(|| {
            let span = settings.block.place(ServiceKey::Drain);
            let message = "`drain` is a time";
            self.diagnostics.error(span, message, "0 for none");
            Duration::ZERO
        })
    }

    /// The other addresses of a group are put beside its own, unless a block of their own says
    /// where they are.
    fn group_addresses(&mut self, settings: &ServiceSettings<'_>) {
        let Some(own) = settings.ours.addresses.first() else {
            return;
        };
        for Matched { selector, span } in &settings.ours.matches {
            if self.addresses.prefix(selector.address).is_some() {
                continue;
            }
            let wanted = Wanted {
                address: selector.address,
                prefix: self.addresses.prefix(own.address),
                mask: Netmask::NONE,
                device: own.dev.split(':').next().unwrap_or_default(),
                span: *span,
                mask_span: *span,
            };
            self.addresses.add(&wanted, self.diagnostics);
        }
    }

    fn nat_router(&mut self, settings: &GlobalSettings) {
        let span = place(self.document, GlobalKey::NatRouter);
        let Some(device) = settings.nat_router_dev.as_deref() else {
            return;
        };
        if settings.nat_router.is_unspecified() {
            let message = "0.0.0.0 is a placeholder: there is no address for the servers' gateway";
            let help = "an address, or remove the line";
            self.diagnostics.warn(span, message, help);
            return;
        }
        if !self.masquerades {
            let message = "`nat_router` is ignored: it is for `service = lvs` with `network = nat`";
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
        let active = |blocks| <[ServiceSettings<'_>]>::iter(blocks).filter(|block| block.active);
        let (live, dead, [kind, other], mode) = match settings.global.service {
            Mode::Lvs => {
                let (live, dead) = (&settings.virtuals, &settings.failovers);
                (live, dead, ["virtual", "failover"], "lvs")
            }
            Mode::Fos => {
                let (live, dead) = (&settings.failovers, &settings.virtuals);
                (live, dead, ["failover", "virtual"], "fos")
            }
        };
        for block in active(dead) {
            let message = format!(
                "{other} {} has no effect: `service` is {mode}",
                quote(block.name)
            );
            self.diagnostics
                .push(Diagnostic::warning(block.block.name.span, message));
        }
        if active(live).next().is_none() {
            let first = self.document.services.first();
            let span = first.map_or(Span::default(), |block| block.name.span);
            self.diagnostics.push(
                Diagnostic::warning(span, format!("no {kind} block is active"))
                    .help("Piranha would not start; a block needs `active = 1`"),
            );
        }
    }
}

/// The web tool names new blocks so; nobody would call one so who will have to find it again.
pub(super) fn placeholder(kind: &str, name: &Word, diagnostics: &mut Diagnostics) {
    if matches!(name.text.as_str(), "[server_name]" | "[unnamed]") {
        let message = format!("{kind} {} has the name of a placeholder", quote(&name.text));
        diagnostics.warn(name.span, message, "give it a name of its own");
    }
}
