//! Settings → Site: what the file means. Every check between directives is here and in the
//! modules that this one calls.

use std::{sync::Arc, time::Duration};

use super::{
    addresses::{Addresses, Wanted},
    balancing,
    diagnostic::{Diagnostic, Diagnostics, quote},
    directives::{GlobalKey, ServiceKey},
    document::Document,
    forwarding,
    global::{self, Global, place},
    probe::probe,
    scheduling,
    selectors::{self, Claims},
    servers::{Checked, Farm},
    settings::{GlobalSettings, Matched, Mode, ServiceSettings, Settings},
    source::Span,
    values::Netmask,
};
use crate::model::{Family, Forwarding, Method, Selector, ServiceId, Site, VirtualService};

/// What a file means. With errors among the diagnostics the result is not to be used.
pub(super) fn understand(
    settings: &Settings<'_>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> (Global, Site) {
    let global = global::global(&settings.global, document, diagnostics);
    let balancing = balancing::settings(&settings.global.ours, document, diagnostics);
    let timeouts = global::timeouts(&settings.global, document, diagnostics);
    let mut site = Building {
        document,
        method: global.method,
        addresses: Addresses::new(&document.source),
        services: Vec::new(),
        claims: Claims::new(&document.source),
        masquerades: global.method == Method::Nat,
        diagnostics,
    };
    site.tell_dead_blocks(settings);
    // In the other mode Piranha did not look at the virtual blocks.
    if global.mode == Mode::Lvs {
        let live = || settings.virtuals.iter().filter(|service| service.active);
        live().for_each(|service| site.service(service));
        live()
            .filter(|service| service.fwmark != 0)
            .for_each(|group| site.group_addresses(group));
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
            settings: balancing,
        },
    )
}

struct Building<'a> {
    document: &'a Document,
    method: Method,
    addresses: Addresses<'a>,
    services: Vec<Arc<VirtualService>>,
    claims: Claims<'a>,
    /// Real servers have the director for their gateway.
    masquerades: bool,
    diagnostics: &'a mut Diagnostics,
}

impl Building<'_> {
    fn service(&mut self, settings: &ServiceSettings<'_>) {
        let diagnostics = &mut *self.diagnostics;
        let forwarding = forwarding::forwarding(settings, self.method, diagnostics);
        let scheduler = scheduling::scheduler(settings);
        let flags = scheduling::flags(settings, scheduler, diagnostics);
        let wanted = self.wanted(settings);
        let diagnostics = &mut *self.diagnostics;
        let checked = Checked::new(settings, wanted.as_deref(), diagnostics);
        let probe = probe(settings, &checked, diagnostics);
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

    /// What clients connect to; the block's address becomes a floating one.
    fn wanted(&mut self, settings: &ServiceSettings<'_>) -> Option<Vec<Matched>> {
        let span = settings.block.place(ServiceKey::Address);
        let parts = [ServiceKey::Address, ServiceKey::Port, ServiceKey::Protocol];
        if settings.unread.iter().any(|key| parts.contains(key)) {
            return None;
        }
        if settings.address.is_unspecified() {
            let message = format!(
                "virtual {} is active and has no address",
                quote(settings.name)
            );
            let help = "add `address = VIP DEVICE`, or `active = 0`";
            self.diagnostics.error(span, message, help);
            return None;
        }
        let address = Wanted {
            address: settings.address,
            prefix: settings.prefix,
            mask: settings.vip_nmask,
            device: settings.dev.as_deref().unwrap_or_default(),
            span,
            mask_span: settings.block.place(ServiceKey::VipNmask),
        };
        self.addresses.add(&address, self.diagnostics);
        selectors::selectors(settings, self.diagnostics)
    }

    fn drain(&mut self, settings: &ServiceSettings<'_>) -> Duration {
        match u64::try_from(settings.ours.drain) {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let span = settings.block.place(ServiceKey::Drain);
                let message = "`drain` is a time, in seconds";
                self.diagnostics.error(span, message, "0 for none");
                Duration::ZERO
            }
        }
    }

    /// The other addresses of a group are put beside its own, unless a block of their own says
    /// where they are.
    fn group_addresses(&mut self, settings: &ServiceSettings<'_>) {
        let device = settings.dev.as_deref().unwrap_or_default();
        for Matched { selector, span } in &settings.ours.matches {
            if self.addresses.prefix(selector.address).is_some() {
                continue;
            }
            let wanted = Wanted {
                address: selector.address,
                prefix: self.addresses.prefix(settings.address),
                mask: Netmask::NONE,
                device: device.split(':').next().unwrap_or_default(),
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
            return;
        }
        if !self.masquerades {
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
