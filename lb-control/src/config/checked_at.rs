//! Where servers are asked: `check_at`.

use super::{diagnostic::Diagnostics, directives::ServiceKey, settings::ServiceSettings};
use crate::model::{Check, CheckedAt, Forwarding, Method, Probe, Protocol};

/// Where the servers of a service are asked. Tells why they cannot be asked there.
pub(super) fn checked_at(
    settings: &ServiceSettings<'_>,
    forwarding: Forwarding,
    protocol: Protocol,
    probe: &Probe,
    diagnostics: &mut Diagnostics,
) -> CheckedAt {
    let at = settings.ours.check.at;
    if at == CheckedAt::Server {
        return at;
    }
    let cannot = if forwarding.method() == Method::Nat {
        Some((
            "masqueraded servers do not have the virtual IP: they cannot be asked there",
            "only with `direct` or `tunnel`; their own address is the way of packets to them anyhow",
        ))
    } else {
        match (&probe.check, protocol) {
            (Check::Program { .. }, _) => Some((
                "a `send_program` cannot ask at the virtual IP: the way there is the director's own",
                "use `check`, or `send` and `expect`",
            )),
            (Check::Icmp, _) => Some((
                "an echo cannot be asked for at the virtual IP: the way there is one of TCP and UDP",
                "another `check`, such as tcp",
            )),
            (Check::Talk { .. }, Protocol::Sctp) => Some((
                "SCTP cannot be checked at the virtual IP: the way there is one of TCP and UDP",
                "`check = tcp` with a `check_port`, or without `check_at`",
            )),
            (
                Check::Talk { .. }
                | Check::Tls { .. }
                | Check::Http(_)
                | Check::Grpc(_)
                | Check::Dns(_)
                | Check::Greeting(_),
                _,
            ) => None,
        }
    };
    if let Some((message, help)) = cannot {
        let span = settings.block.place(ServiceKey::CheckAt);
        diagnostics.error(span, message, help);
    }
    at
}
