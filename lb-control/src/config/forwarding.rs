//! How packets reach the servers of a service: `method`, or `network` for all, and the tunnel.

use super::{
    diagnostic::Diagnostics,
    directives::ServiceKey,
    settings::{self, ServiceSettings, TunnelType},
};
use crate::model::{Forwarding, Method, Tunnel};

/// How packets reach the servers of a service.
pub(super) fn forwarding(
    settings: &ServiceSettings<'_>,
    network: Method,
    diagnostics: &mut Diagnostics,
) -> Forwarding {
    let said = settings.ours.method.unwrap_or(match network {
        Method::Nat => settings::Forwarding::Nat,
        Method::Direct => settings::Forwarding::Direct,
        Method::Tunnel => settings::Forwarding::Tunnel,
    });
    let is_tunnel = said == settings::Forwarding::Tunnel;
    let tunnel = tunnel(settings, is_tunnel, diagnostics);
    match said {
        settings::Forwarding::Nat => Forwarding::Nat,
        settings::Forwarding::FullNat => Forwarding::FullNat,
        settings::Forwarding::Direct => Forwarding::Direct,
        settings::Forwarding::Tunnel => Forwarding::Tunnel { tunnel },
    }
}

/// What stands round packets in a tunnel. Tells of directives that do nothing there.
fn tunnel(settings: &ServiceSettings<'_>, tunnels: bool, diagnostics: &mut Diagnostics) -> Tunnel {
    let kind = settings.ours.tunnel_type;
    let rules = [
        (
            ServiceKey::TunnelType,
            tunnels,
            "a tunnel: `method = tunnel`",
        ),
        (
            ServiceKey::TunnelPort,
            tunnels && kind == TunnelType::Gue,
            "`tunnel_type = gue`",
        ),
        (
            ServiceKey::TunnelChecksum,
            tunnels && kind != TunnelType::Ipip,
            "`tunnel_type = gre` or `gue`",
        ),
    ];
    for (key, is_used, only_with) in rules {
        if settings.block.says(key) && !is_used {
            let message = format!("this has no effect: it is for {only_with}");
            let help = "remove the line, or say how packets travel";
            diagnostics.warn(settings.block.place(key), message, help);
        }
    }
    let checksum = settings.ours.tunnel_checksum;
    match kind {
        TunnelType::Ipip => Tunnel::Ipip,
        TunnelType::Gre => Tunnel::Gre { checksum },
        TunnelType::Gue => Tunnel::Gue {
            port: gue_port(settings, diagnostics),
            checksum,
        },
    }
}

fn gue_port(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) -> u16 {
    match u16::try_from(settings.ours.tunnel_port) {
        Ok(port @ 1..) => port,
        Ok(0) | Err(_) => {
            let span = settings.block.place(ServiceKey::TunnelPort);
            let message = format!("{} is no port of a tunnel", settings.ours.tunnel_port);
            diagnostics.error(span, message, "1 to 65535; mostly 6080");
            0
        }
    }
}
