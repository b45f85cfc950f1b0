//! From what ipvsadm says to what the daemon is told.

use super::{
    command::{Server, Service, TunnelKind, Wish},
    complaint::Complaint,
};
use crate::{
    control::{
        change::{Change, Refused, ServerTerms, ServiceTerms, Why},
        table::Table,
    },
    model::{Forwarding, Method, Scheduler, SchedulerFlags, Selector, ServiceId, Tunnel},
};

/// What is known besides the line itself.
pub(super) struct Circumstances<'a> {
    /// The table as it is, if it was needed.
    pub(super) table: Option<&'a Table>,
    /// What a firewall's mark stands for.
    pub(super) matches: &'a mut dyn FnMut(&ServiceId) -> Option<Vec<Selector>>,
    /// What there is to say, a line each.
    pub(super) notes: &'a mut Vec<String>,
}

/// Whether the table has to be known to tell the daemon: `-e -m` does not end full NAT, of which ipvsadm
/// knows nothing.
pub(super) fn needs_table(wish: &Wish) -> bool {
    matches!(wish, Wish::EditServer(server) if server.method == Method::Nat)
}

/// What the daemon is told. An edit replaces everything that ipvsadm can say: what a line leaves out is as
/// by default.
pub(super) fn change(wish: &Wish, known: &mut Circumstances<'_>) -> Result<Change, Complaint> {
    Ok(match wish {
        Wish::AddService(service) => Change::AddService {
            service: service.service,
            terms: ServiceTerms {
                matches: (known.matches)(&service.service),
                forwarding: Some(Forwarding::Direct),
                ..service_terms(service, known.notes)?
            },
        },
        Wish::EditService(service) => Change::EditService {
            service: service.service,
            terms: service_terms(service, known.notes)?,
        },
        Wish::DeleteService(service) => Change::RemoveService { service: *service },
        Wish::AddServer(server) => Change::AddServer {
            service: server.service,
            server: server.server,
            terms: server_terms(server, forwarding(server)?),
        },
        Wish::EditServer(server) => {
            let forwarding = match is_full_nat(server, known.table) {
                true => Forwarding::FullNat,
                false => forwarding(server)?,
            };
            Change::EditServer {
                service: server.service,
                server: server.server,
                terms: server_terms(server, forwarding),
            }
        }
        Wish::DeleteServer(service, server) => Change::RemoveServer {
            service: *service,
            server: *server,
        },
        Wish::Clear => Change::Clear,
        Wish::Zero(service) => Change::Zero { service: *service },
        Wish::StartDaemon(role, daemon) => Change::StartSyncDaemon {
            role: *role,
            daemon: daemon.clone(),
        },
        Wish::StopDaemon(role, _) => Change::StopSyncDaemon { role: *role },
        Wish::SetTimeouts { tcp, tcp_fin, udp } => Change::SetTimeouts {
            tcp: *tcp,
            tcp_fin: *tcp_fin,
            udp: *udp,
        },
    })
}

/// What is said of a service; `notes` is what there is to say about it.
pub(crate) fn service_terms(
    service: &Service,
    notes: &mut Vec<String>,
) -> Result<ServiceTerms, Complaint> {
    let scheduler = Scheduler::ALL
        .into_iter()
        .find(|scheduler| scheduler.name() == service.scheduler);
    let is_engine = matches!(service.engine.as_str(), "" | "sip");
    let (Some(scheduler), true) = (scheduler, is_engine) else {
        return Err(Complaint::refused(
            "Scheduler or persistence engine not found",
        ));
    };
    let id = &service.service;
    if !service.engine.is_empty() {
        notes.push(format!(
            "{id}: clients are told apart by their addresses, not by the Call-ID of SIP"
        ));
    }
    let is_third = service.flags & Service::THIRD != 0;
    if is_third && scheduler != Scheduler::Mh {
        notes.push(format!("{id}: flag-3 means nothing to {scheduler}"));
    }
    Ok(ServiceTerms {
        scheduler: Some(scheduler),
        flags: Some(SchedulerFlags {
            fallback: service.flags & Service::FALLBACK != 0,
            port: service.flags & Service::PORT != 0,
            compat: is_third && scheduler == Scheduler::Mh,
        }),
        persistent: Some(service.persistent.unwrap_or_default()),
        mask: Some(service.mask),
        engine: Some(service.engine.clone()),
        one_packet: Some(service.one_packet),
        ..ServiceTerms::default()
    })
}

/// What is said of a server.
pub(crate) fn server_terms(server: &Server, forwarding: Forwarding) -> ServerTerms {
    ServerTerms {
        name: None,
        forwarding: Some(forwarding),
        weight: Some(server.weight),
        upper: Some(server.upper),
        lower: Some(server.lower),
    }
}

/// How packets reach it.
pub(crate) fn forwarding(server: &Server) -> Result<Forwarding, Complaint> {
    let tunnel = &server.tunnel;
    if tunnel.remote_checksum {
        return Err(Complaint::refused(
            "--tun-remcsum: packets that are forwarded have their checksums already; there is no remote checksum to leave",
        ));
    }
    let checksum = tunnel.checksum;
    Ok(match server.method {
        Method::Nat => Forwarding::Nat,
        Method::Direct => Forwarding::Direct,
        Method::Tunnel => Forwarding::Tunnel {
            tunnel: match tunnel.kind {
                TunnelKind::Ipip => Tunnel::Ipip,
                TunnelKind::Gre => Tunnel::Gre { checksum },
                TunnelKind::Gue => Tunnel::Gue {
                    port: tunnel.port,
                    checksum,
                },
            },
        },
    })
}

fn is_full_nat(server: &Server, table: Option<&Table>) -> bool {
    let services = table.map_or(&[][..], |table| &table.services);
    server.method == Method::Nat
        && services
            .iter()
            .filter(|row| row.service == server.service)
            .flat_map(|row| &row.servers)
            .any(|row| row.server == server.server && row.forwarding == Forwarding::FullNat)
}

/// What IPVS would say of a change that the daemon refuses, and why it does where IPVS says too little.
pub(super) fn refusal(refused: &Refused, wish: Option<&Wish>) -> Complaint {
    let text = match refused.why {
        Why::ServiceExists => "Service already exists",
        Why::NoService => match wish {
            Some(Wish::AddServer(_) | Wish::EditServer(_) | Wish::DeleteServer(..)) => {
                "Service not defined"
            }
            Some(
                Wish::AddService(_)
                | Wish::EditService(_)
                | Wish::DeleteService(_)
                | Wish::Clear
                | Wish::Zero(_)
                | Wish::StartDaemon(..)
                | Wish::StopDaemon(..)
                | Wish::SetTimeouts { .. },
            )
            | None => "No such service",
        },
        Why::ServerExists => "Destination already exists",
        Why::NoServer => "No such destination",
        Why::DaemonRuns => "Daemon has already run",
        Why::NoDaemon => "No daemon is running",
        Why::NoInterface => "No such device",
        Why::Invalid => {
            return Complaint::refused(format!(
                "Invalid operation.  Possibly wrong module version, address not unicast, ...\n{}",
                refused.text
            ));
        }
        Why::Failed => refused.text.as_str(),
        Why::Full => {
            return Complaint::refused(format!("Memory allocation problem\n{}", refused.text));
        }
    };
    Complaint::refused(text)
}
