//! `failover` blocks: services of the directors themselves.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    diagnostic::{Diagnostics, quote},
    directives::{SERVICES, ServiceKey},
    document::Item,
    model::placeholder,
    probe::{failover_probe, held, written},
    servers::Checked,
    settings::ServiceSettings,
    source::Source,
    values::Quoted,
};
use crate::model::FailoverService;

/// What means something in a `failover` block.
const USED: &[ServiceKey] = &[
    ServiceKey::Active,
    ServiceKey::Address,
    ServiceKey::VipNmask,
    ServiceKey::Port,
    ServiceKey::Protocol,
    ServiceKey::Send,
    ServiceKey::Expect,
    ServiceKey::UseRegex,
    ServiceKey::SendProgram,
    ServiceKey::Timeout,
    ServiceKey::Reentry,
    ServiceKey::StartCmd,
    ServiceKey::StopCmd,
    ServiceKey::CheckPort,
    ServiceKey::Check,
    ServiceKey::CheckTimeout,
    ServiceKey::CheckRetries,
    ServiceKey::CheckJitter,
    ServiceKey::CheckMethod,
    ServiceKey::CheckPath,
    ServiceKey::CheckHost,
    ServiceKey::CheckSni,
    ServiceKey::CheckStatus,
    ServiceKey::CheckBody,
    ServiceKey::CheckVerify,
    ServiceKey::CheckCa,
    ServiceKey::CheckExpiry,
    ServiceKey::CheckName,
    ServiceKey::CheckType,
    ServiceKey::CheckRcode,
    ServiceKey::CheckAnswer,
    ServiceKey::CheckUser,
    ServiceKey::Rise,
    ServiceKey::Fall,
];

/// What means something in a `failover` block only.
const OWN: &[ServiceKey] = &[ServiceKey::StartCmd, ServiceKey::StopCmd];

/// The service of a block whose address has been looked at; none if it cannot be one, which has been said.
pub(super) fn service(
    settings: &ServiceSettings<'_>,
    limit: Duration,
    others: &[Arc<FailoverService>],
    source: &Source,
    diagnostics: &mut Diagnostics,
) -> Option<FailoverService> {
    placeholder("failover", &settings.block.name, diagnostics);
    tell_unused(
        settings,
        "failover",
        |key| !USED.contains(&key),
        diagnostics,
    );
    tell_servers(settings, diagnostics);
    let checked = Checked::new(settings, None, diagnostics);
    let probe = failover_probe(settings, &checked, diagnostics);
    let port = port(settings, diagnostics)?;
    let service = FailoverService {
        name: settings.name.to_owned(),
        address: SocketAddr::new(settings.vip(), port),
        protocol: settings.protocol,
        start: command(settings.start_cmd.as_ref()),
        stop: command(settings.stop_cmd.as_ref()),
        limit,
        check_port: checked.port().unwrap_or(port),
        check_protocol: checked.protocol,
        probe,
        held: held(settings, diagnostics),
    };
    let name = quote(settings.name);
    let span = settings.block.name.span;
    if service.start.is_empty() {
        let message = format!("failover {name} has no `start_cmd`: nobody starts it");
        let help = "the program that starts it, e.g. `start_cmd = \"systemctl start NAME\"`";
        diagnostics.warn(span, message, help);
    }
    if service.stop.is_empty() {
        let message = format!("failover {name} has no `stop_cmd`: it goes on after a failover");
        let help = "the program that stops it, e.g. `stop_cmd = \"systemctl stop NAME\"`";
        diagnostics.warn(span, message, help);
    }
    if let Some(other) = others.iter().find(|other| other.id() == service.id()) {
        let message = format!(
            "failover {name} has the address and port of failover {}",
            quote(&other.name)
        );
        let place = source.place(span);
        diagnostics.warn(
            span,
            message,
            &format!("both are checked there; this one is at {place}"),
        );
    }
    Some(service)
}

/// Tells of what means something in blocks of the other kind only.
pub(super) fn tell_strangers(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) {
    tell_unused(settings, "virtual", |key| OWN.contains(&key), diagnostics);
}

fn tell_unused(
    settings: &ServiceSettings<'_>,
    kind: &str,
    is_unused: impl Fn(ServiceKey) -> bool,
    diagnostics: &mut Diagnostics,
) {
    for entry in SERVICES {
        if is_unused(entry.key) && settings.block.says(entry.key) {
            let message = format!("{} has no effect in a {kind} block", quote(entry.name));
            let span = settings.block.place(entry.key);
            diagnostics.warn(span, message, "remove the line");
        }
    }
}

/// Piranha took them, and did nothing with them.
fn tell_servers(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) {
    let first = settings.block.items.iter().find_map(|item| match item {
        Item::Server(server) => Some(server.name.span),
        Item::Directive(_) => None,
    });
    if let Some(span) = first {
        let message =
            "servers of a failover block have no effect: the service runs on the directors";
        diagnostics.warn(span, message, "a `virtual` block has servers");
    }
}

fn port(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) -> Option<u16> {
    let one = u16::try_from(settings.port).ok().filter(|port| *port != 0);
    let one = one.filter(|_| settings.ours.last_port.is_none());
    if one.is_none() {
        let span = settings.block.place(ServiceKey::Port);
        let message = "a failover service has one port: that where it is checked";
        diagnostics.error(span, message, "1 to 65535");
    }
    one
}

/// Split at blanks, as Piranha did; there is no shell.
fn command(text: Option<&Quoted>) -> Vec<String> {
    let words = written(text).unwrap_or_default().split_ascii_whitespace();
    words.map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, model::Check};

    #[test]
    fn blocks_become_services_in_the_order_of_the_file() {
        let text = "service = fos\ncommand_timeout = 30\n\
            failover base {\nactive = 1\naddress = 192.0.2.10 eth0:1\nport = 5432\n\
            start_cmd = \"systemctl start db\"\nstop_cmd = \"systemctl stop db\"\ntimeout = 2\nrise = 2\n}\n\
            failover off {\naddress = 192.0.2.11 eth0:2\n}\n\
            failover web {\nactive = 1\naddress = 192.0.2.10 eth0:1\nreentry = 20\ncheck_port = 8080\n\
            check = http\n}\n";
        let (_, site) = config::parse("lvs.cf", text.as_bytes()).site.unwrap();
        let [base, web] = &site.failovers[..] else {
            panic!("{:?}", site.failovers);
        };
        assert_eq!(
            (&*base.name, &*base.id().to_string()),
            ("base", "TCP 192.0.2.10:5432")
        );
        assert_eq!(base.start, ["systemctl", "start", "db"]);
        assert_eq!(base.stop, ["systemctl", "stop", "db"]);
        assert_eq!(
            (base.limit, base.held),
            (Duration::from_secs(30), Duration::from_secs(180))
        );
        assert_eq!((base.probe.rise, base.probe.reentry), (2, Duration::ZERO));
        assert_eq!((web.check_port, web.held), (8080, Duration::from_secs(20)));
        assert!(matches!(web.probe.check, Check::Http(_)));
        assert_eq!(web.probe.reentry, Duration::ZERO);
        // One address, however many services it has.
        assert_eq!(site.addresses.len(), 1);
        assert!(site.services.is_empty());
    }
}
