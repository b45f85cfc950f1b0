//! Document → settings: each directive's words become values, the last one in force.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    diagnostic::{Diagnostic, quote},
    directives::{Effect, GlobalKey, Kind, SCHEDULER_FLAGS, ServerKey, ServiceKey},
    document::{Directive, Document, Item, Server, Service, ServiceKind},
    lexer::Word,
    numbers::inet_aton,
    settings::{
        Addressed, Forwarding, GlobalSettings, Mode, OwnCheckSettings, ServerSettings,
        ServiceSettings, Settings, TunnelType,
    },
    values::{NO_ADDRESS, Netmask, Quoted, Reader},
};
use crate::{
    heartbeat::{director::Format, wire::Authentication},
    model::{CheckedAt, Method, Protocol, Refusal},
};

/// All values of a document. Those that cannot be read keep their default.
pub(super) fn settings<'d>(document: &'d Document, reader: &mut Reader<'_>) -> Settings<'d> {
    let global = global(&document.globals, reader);
    let mut settings = Settings {
        global,
        virtuals: Vec::new(),
        failovers: Vec::new(),
    };
    for block in &document.services {
        let service = service(block, reader);
        match block.kind {
            ServiceKind::Virtual => settings.virtuals.push(service),
            ServiceKind::Failover => settings.failovers.push(service),
        }
    }
    settings
}

fn global(directives: &[Directive<GlobalKey>], reader: &mut Reader<'_>) -> GlobalSettings {
    let mut settings = GlobalSettings::default();
    let mut private = (false, false);
    for directive in directives.iter().filter(|directive| directive.sound) {
        let word = directive.value();
        let read = match directive.key() {
            GlobalKey::SerialNo => set(&mut settings.serial_no, reader.integer(word)),
            GlobalKey::Primary => set(&mut settings.primary, own_address(directive, reader)),
            GlobalKey::PrimaryPrivate => {
                private.0 = true;
                set(
                    &mut settings.primary_private,
                    own_address(directive, reader),
                )
            }
            GlobalKey::PrimaryShared => set(&mut settings.primary_shared, text(directive)),
            GlobalKey::Backup => set(&mut settings.backup, reader.host(word)),
            GlobalKey::BackupPrivate => {
                private.1 = true;
                set(&mut settings.backup_private, own_address(directive, reader))
            }
            GlobalKey::BackupShared => set(&mut settings.backup_shared, text(directive)),
            GlobalKey::BackupActive => set(&mut settings.backup_active, reader.boolean(word)),
            GlobalKey::Heartbeat => set(&mut settings.heartbeat, reader.boolean(word)),
            GlobalKey::HeartbeatPort => set(&mut settings.heartbeat_port, reader.port(word)),
            GlobalKey::Keepalive => set(&mut settings.keepalive, reader.time(word)),
            GlobalKey::Deadtime => set(&mut settings.deadtime, reader.time(word)),
            GlobalKey::Service => set(
                &mut settings.service,
                reader.choice(word, &[("lvs", Mode::Lvs), ("fos", Mode::Fos)]),
            ),
            GlobalKey::Network => set(
                &mut settings.network,
                reader.choice(
                    word,
                    &[
                        ("nat", Method::Nat),
                        ("direct", Method::Direct),
                        ("tunnel", Method::Tunnel),
                    ],
                ),
            ),
            GlobalKey::NatRouter => {
                reader
                    .host_with_prefix(word)
                    .is_some_and(|(address, prefix)| {
                        settings.nat_router = address;
                        settings.nat_router_prefix = prefix;
                        settings.nat_router_dev = Some(directive.second().text.clone());
                        true
                    })
            }
            GlobalKey::NatNmask => set(&mut settings.nat_nmask, reader.mask(word)),
            GlobalKey::MonitorLinks => set(&mut settings.monitor_links, reader.integer(word)),
            GlobalKey::Syncdaemon => set(&mut settings.syncdaemon, reader.boolean(word)),
            GlobalKey::SyncdIface => set(&mut settings.syncd_iface, Some(word.text.clone())),
            GlobalKey::SyncdId => set(&mut settings.syncd_id, reader.integer(word)),
            GlobalKey::TcpTimeout => set(&mut settings.tcp_timeout, reader.time(word)),
            GlobalKey::TcpfinTimeout => set(&mut settings.tcpfin_timeout, reader.time(word)),
            GlobalKey::UdpTimeout => set(&mut settings.udp_timeout, reader.time(word)),
            GlobalKey::HardShutdown => set(&mut settings.hard_shutdown, reader.boolean(word)),
            GlobalKey::ActiveCmd => set(&mut settings.active_cmd, text(directive)),
            GlobalKey::InactiveCmd => set(&mut settings.inactive_cmd, text(directive)),
            GlobalKey::RshCommand => set(&mut settings.rsh_command, Some(word.text.clone())),
            GlobalKey::DebugLevel => set(&mut settings.debug_level, Some(word.text.clone())),
            GlobalKey::Ipvsadm => set(&mut settings.ipvsadm, Some(word.text.clone())),
            GlobalKey::ReservationConflictAction => {
                let choices = [("nothing", Some("nothing")), ("preempt", Some("preempt"))];
                set(
                    &mut settings.reservation_conflict_action,
                    reader.choice(word, &choices),
                )
            }
            GlobalKey::Sync => reader.boolean(word).is_some(),
            GlobalKey::ExpireNodestConn => {
                set(&mut settings.ours.expire_nodest_conn, reader.boolean(word))
            }
            GlobalKey::ExpireQuiescentTemplate => set(
                &mut settings.ours.expire_quiescent_template,
                reader.boolean(word),
            ),
            GlobalKey::ConnReuseMode => set(
                &mut settings.ours.conn_reuse_mode,
                reader.choice(word, &[("0", 0), ("1", 1), ("2", 2), ("3", 3)]),
            ),
            GlobalKey::SloppyTcp => set(&mut settings.ours.sloppy_tcp, reader.boolean(word)),
            GlobalKey::SloppySctp => set(&mut settings.ours.sloppy_sctp, reader.boolean(word)),
            GlobalKey::ScheduleIcmp => set(&mut settings.ours.schedule_icmp, reader.boolean(word)),
            GlobalKey::PmtuDisc => set(&mut settings.ours.pmtu_disc, reader.boolean(word)),
            GlobalKey::StatelessAbove => {
                set(&mut settings.ours.stateless_above, reader.integer(word))
            }
            GlobalKey::AnswersPerSecond => {
                set(&mut settings.ours.answers_per_second, reader.integer(word))
            }
            GlobalKey::SnatPorts => set(&mut settings.ours.snat_ports, reader.ports(word)),
            GlobalKey::SyncdPort => set(&mut settings.ours.syncd_port, reader.port(word)),
            GlobalKey::SyncdCompat => set(&mut settings.ours.syncd_compat, reader.boolean(word)),
            GlobalKey::MhSecret => set(&mut settings.ours.mh_secret, reader.secret(word).map(Some)),
            GlobalKey::Failback => set(&mut settings.ours.failback, reader.boolean(word)),
            GlobalKey::HeartbeatFormat => set(
                &mut settings.ours.heartbeat_format,
                reader.choice(word, &[("own", Format::Own), ("piranha", Format::Piranha)]),
            ),
            GlobalKey::HeartbeatKey => set(&mut settings.ours.heartbeat_keys, reader.keys(word)),
            GlobalKey::HeartbeatKeyFile => {
                set(&mut settings.ours.heartbeat_key_file, text(directive))
            }
            GlobalKey::HeartbeatAuth => set(
                &mut settings.ours.heartbeat_auth,
                reader.choice(
                    word,
                    &[
                        ("receive", Authentication::Receive),
                        ("permissive", Authentication::Permissive),
                        ("enforce", Authentication::Enforce),
                    ],
                ),
            ),
            GlobalKey::TrackGateway => set(&mut settings.ours.track_gateway, reader.host(word)),
            GlobalKey::CommandTimeout => set(&mut settings.ours.command_timeout, reader.time(word)),
            GlobalKey::FlowTable => set(
                &mut settings.ours.flow_table,
                reader.integer(word).map(Some),
            ),
            GlobalKey::HalfOpen => {
                set(&mut settings.ours.half_open, reader.integer(word).map(Some))
            }
        };
        if read {
            tell_effect(directive, reader);
        }
    }
    private_addresses(&mut settings, private, directives, reader);
    settings
}

/// Without `primary_private` both private addresses are the public ones, whatever else is said.
fn private_addresses(
    settings: &mut GlobalSettings,
    (primary, backup): (bool, bool),
    directives: &[Directive<GlobalKey>],
    reader: &mut Reader<'_>,
) {
    if primary || settings.primary.is_unspecified() {
        return;
    }
    settings.primary_private = settings.primary;
    settings.backup_private = settings.backup;
    let lone = directives
        .iter()
        .rev()
        .find(|one| one.key() == GlobalKey::BackupPrivate);
    if let Some(lone) = lone.filter(|_| backup) {
        reader.diagnostics.push(
            Diagnostic::warning(
                lone.name.span,
                "`backup_private` without `primary_private` is ignored",
            )
            .help("add `primary_private`"),
        );
    }
}

fn service<'d>(block: &'d Service, reader: &mut Reader<'_>) -> ServiceSettings<'d> {
    let mut settings = ServiceSettings::new(block);
    for item in &block.items {
        match item {
            Item::Server(server) => {
                let inherited = match settings.ours.last_port {
                    Some(_) => 0,
                    None => settings.port,
                };
                let server = self::server(server, inherited, reader);
                settings.servers.push(server);
            }
            Item::Directive(directive) => {
                if !directive.sound || !service_directive(&mut settings, directive, reader) {
                    settings.unread.push(directive.key());
                } else if block.kind == ServiceKind::Virtual {
                    tell_effect(directive, reader);
                }
            }
        }
    }
    settings
}

fn service_directive(
    settings: &mut ServiceSettings<'_>,
    directive: &Directive<ServiceKey>,
    reader: &mut Reader<'_>,
) -> bool {
    let word = directive.value();
    match directive.key() {
        ServiceKey::Active => set(&mut settings.active, reader.boolean(word)),
        ServiceKey::Address => reader
            .host_with_prefix(word)
            .is_some_and(|(address, prefix)| {
                let dev = directive.second().text.clone();
                settings.address = address;
                settings.dev = Some(dev.clone());
                let addresses = &mut settings.ours.addresses;
                // Of one address the last line holds. 0.0.0.0 is a placeholder beside any other.
                addresses.retain(|one| one.address != address && !one.address.is_unspecified());
                if addresses.is_empty() || !address.is_unspecified() {
                    addresses.push(Addressed {
                        address,
                        prefix,
                        dev,
                        span: word.span,
                    });
                }
                true
            }),
        ServiceKey::VipNmask => set(&mut settings.vip_nmask, reader.mask(word)),
        ServiceKey::Port => reader.ports(word).is_some_and(|ports| {
            settings.port = ports.first;
            settings.ours.last_port = ports.last;
            true
        }),
        ServiceKey::Protocol => {
            let choices = [
                ("tcp", Protocol::Tcp),
                ("udp", Protocol::Udp),
                ("sctp", Protocol::Sctp),
            ];
            set(&mut settings.protocol, reader.choice(word, &choices))
        }
        ServiceKey::Fwmark => set(
            &mut settings.fwmark,
            reader.integer(word).map(i32::cast_unsigned),
        ),
        ServiceKey::Scheduler => set(&mut settings.scheduler, one_of(directive, reader)),
        ServiceKey::Persistent => set(&mut settings.persistent, reader.time(word)),
        ServiceKey::Pmask => {
            set(&mut settings.pmask, Some(pmask(word, reader)));
            true
        }
        ServiceKey::SorryServer => reader.socket(word).is_some_and(|(address, port)| {
            settings.sorry_server = address;
            settings.ours.sorry_port = port;
            true
        }),
        ServiceKey::Send => set(&mut settings.send, quoted(directive)),
        ServiceKey::Expect => set(&mut settings.expect, quoted(directive)),
        ServiceKey::UseRegex => set(&mut settings.use_regex, reader.boolean(word)),
        ServiceKey::SendProgram => set(&mut settings.send_program, quoted(directive)),
        ServiceKey::Timeout => set(&mut settings.timeout, reader.time(word)),
        ServiceKey::Reentry => set(&mut settings.reentry, reader.time(word)),
        ServiceKey::QuiesceServer => set(&mut settings.quiesce_server, reader.boolean(word)),
        ServiceKey::LoadMonitor => set(&mut settings.load_monitor, text(directive)),
        ServiceKey::ClientMonitor => set(&mut settings.client_monitor, Some(word.text.clone())),
        ServiceKey::StartCmd => set(&mut settings.start_cmd, quoted(directive)),
        ServiceKey::StopCmd => set(&mut settings.stop_cmd, quoted(directive)),
        ServiceKey::Master => reader.host(word).is_some(),
        ServiceKey::Dirs => list(directive, reader),
        ServiceKey::Match => reader.matched(word).is_some_and(|matched| {
            settings.ours.matches.extend(matched);
            true
        }),
        ServiceKey::Method => {
            let choices = [
                ("nat", Forwarding::Nat),
                ("fullnat", Forwarding::FullNat),
                ("direct", Forwarding::Direct),
                ("tunnel", Forwarding::Tunnel),
            ];
            let method = reader.choice(word, &choices);
            set(&mut settings.ours.method, method.map(Some))
        }
        ServiceKey::TunnelType => {
            let choices = [
                ("ipip", TunnelType::Ipip),
                ("gre", TunnelType::Gre),
                ("gue", TunnelType::Gue),
            ];
            set(
                &mut settings.ours.tunnel_type,
                reader.choice(word, &choices),
            )
        }
        ServiceKey::TunnelPort => set(&mut settings.ours.tunnel_port, reader.port(word)),
        ServiceKey::TunnelChecksum => set(&mut settings.ours.tunnel_checksum, reader.boolean(word)),
        ServiceKey::SchedFlags => {
            let flags = reader.flags(word, SCHEDULER_FLAGS);
            set(&mut settings.ours.sched_flags, flags)
        }
        ServiceKey::Ops => set(&mut settings.ours.ops, reader.boolean(word)),
        ServiceKey::Refuse => {
            let choices = [
                ("reset", Refusal::Reset),
                ("unreachable", Refusal::Unreachable),
                ("drop", Refusal::Drop),
            ];
            set(&mut settings.ours.refuse, reader.choice(word, &choices))
        }
        ServiceKey::Drain => set(&mut settings.ours.drain, reader.time(word)),
        ServiceKey::CheckPort => set(&mut settings.ours.check_port, reader.port(word).map(Some)),
        ServiceKey::Rise => set(&mut settings.ours.rise, reader.integer(word).map(Some)),
        ServiceKey::Fall => set(&mut settings.ours.fall, reader.integer(word)),
        ServiceKey::Damping => set(&mut settings.ours.damping, reader.time(word)),
        ServiceKey::SlowStart => set(&mut settings.ours.slow_start, reader.boolean(word)),
        ServiceKey::AgentPort => set(&mut settings.ours.agent_port, reader.port(word).map(Some)),
        ServiceKey::Check
        | ServiceKey::CheckAt
        | ServiceKey::CheckTimeout
        | ServiceKey::CheckRetries
        | ServiceKey::CheckJitter
        | ServiceKey::CheckMethod
        | ServiceKey::CheckPath
        | ServiceKey::CheckHost
        | ServiceKey::CheckSni
        | ServiceKey::CheckStatus
        | ServiceKey::CheckBody
        | ServiceKey::CheckVerify
        | ServiceKey::CheckCa
        | ServiceKey::CheckExpiry
        | ServiceKey::CheckName
        | ServiceKey::CheckType
        | ServiceKey::CheckRcode
        | ServiceKey::CheckAnswer
        | ServiceKey::CheckUser => check_directive(&mut settings.ours.check, directive, reader),
    }
}

/// `check`, and what begins with `check_`.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the caller has named those that come here"
)]
fn check_directive(
    check: &mut OwnCheckSettings,
    directive: &Directive<ServiceKey>,
    reader: &mut Reader<'_>,
) -> bool {
    let word = directive.value();
    match directive.key() {
        ServiceKey::Check => set(&mut check.kind, one_of(directive, reader).map(Some)),
        ServiceKey::CheckAt => {
            let choices = [("server", CheckedAt::Server), ("vip", CheckedAt::Vip)];
            set(&mut check.at, reader.choice(word, &choices))
        }
        ServiceKey::CheckTimeout => set(&mut check.timeout, reader.time(word).map(Some)),
        ServiceKey::CheckRetries => set(&mut check.retries, reader.integer(word)),
        ServiceKey::CheckJitter => set(&mut check.jitter, reader.integer(word)),
        ServiceKey::CheckMethod => set(&mut check.method, one_of(directive, reader)),
        ServiceKey::CheckPath => set(&mut check.path, Some(word.text.clone())),
        ServiceKey::CheckHost => set(&mut check.host, written(word)),
        ServiceKey::CheckSni => set(&mut check.sni, written(word)),
        ServiceKey::CheckStatus => set(&mut check.status, Some(word.text.clone())),
        ServiceKey::CheckBody => set(&mut check.body, written(word)),
        ServiceKey::CheckVerify => set(&mut check.verify, reader.boolean(word)),
        ServiceKey::CheckCa => set(&mut check.ca, written(word)),
        ServiceKey::CheckExpiry => set(&mut check.expiry, reader.integer(word)),
        ServiceKey::CheckName => set(&mut check.name, Some(word.text.clone())),
        ServiceKey::CheckType => set(&mut check.record, one_of(directive, reader)),
        ServiceKey::CheckRcode => set(&mut check.rcode, one_of(directive, reader)),
        ServiceKey::CheckAnswer => set(&mut check.answer, written(word)),
        ServiceKey::CheckUser => set(&mut check.user, Some(word.text.clone())),
        _ => false,
    }
}

/// An empty text is none.
fn written(word: &Word) -> Option<Option<String>> {
    Some(Some(word.text.clone()).filter(|text| !text.is_empty()))
}

/// Piranha ignored an unreadable mask; this one is ignored aloud. All ones are what it did without.
fn pmask(word: &Word, reader: &mut Reader<'_>) -> Netmask {
    let prefix = word
        .text
        .parse()
        .ok()
        .filter(|length| (1..=128).contains(length));
    let mask = prefix.map(Netmask::Prefix);
    match mask.or_else(|| inet_aton(&word.text).map(Netmask::Dotted)) {
        Some(Netmask::Dotted(Ipv4Addr::BROADCAST)) => Netmask::NONE,
        Some(mask) => mask,
        None => {
            reader.diagnostics.warn(
                word.span,
                format!(
                    "{} is no mask and ignored, as it was by Piranha",
                    quote(&word.text)
                ),
                "like 255.255.255.0, or a prefix length",
            );
            Netmask::NONE
        }
    }
}

fn server<'d>(block: &'d Server, port: i32, reader: &mut Reader<'_>) -> ServerSettings<'d> {
    let mut settings = ServerSettings {
        block,
        unread: Vec::new(),
        name: &block.name.text,
        address: NO_ADDRESS,
        active: false,
        port,
        weight: 1,
        quiesced: false,
        upper_threshold: 0,
        lower_threshold: 0,
    };
    for directive in &block.directives {
        let word = directive.value();
        let read = directive.sound
            && match directive.key() {
                ServerKey::Address => set(&mut settings.address, reader.host(word)),
                ServerKey::Active => set(&mut settings.active, reader.boolean(word)),
                ServerKey::Weight => set(&mut settings.weight, reader.integer(word)),
                ServerKey::Port => set(&mut settings.port, reader.port(word)),
                ServerKey::Quiesced => set(&mut settings.quiesced, reader.boolean(word)),
                ServerKey::UpperThreshold => {
                    set(&mut settings.upper_threshold, reader.integer(word))
                }
                ServerKey::LowerThreshold => {
                    set(&mut settings.lower_threshold, reader.integer(word))
                }
            };
        if read {
            tell_effect(directive, reader);
        } else {
            settings.unread.push(directive.key());
        }
    }
    settings
}

/// Takes a value over, if there is one; whether there was one.
fn set<T>(field: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *field = value;
            true
        }
        None => false,
    }
}

fn text<K: Copy>(directive: &Directive<K>) -> Option<Option<String>> {
    Some(Some(directive.value().text.clone()))
}

fn quoted<K: Copy>(directive: &Directive<K>) -> Option<Option<Quoted>> {
    let word = directive.value();
    Some(Some(Quoted {
        text: word.text.clone(),
        quote: word.quote,
    }))
}

/// The address of a director, which must be one.
fn own_address(directive: &Directive<GlobalKey>, reader: &mut Reader<'_>) -> Option<IpAddr> {
    let address = reader.host(directive.value())?;
    if address.is_unspecified() {
        let message = format!("`{}` must be an address, not 0.0.0.0", directive.entry.name);
        reader
            .diagnostics
            .push(Diagnostic::error(directive.value().span, message));
        return None;
    }
    Some(address)
}

/// One of the words that the table of directives has for it.
fn one_of(directive: &Directive<ServiceKey>, reader: &mut Reader<'_>) -> Option<&'static str> {
    let Kind::Choice(names) = directive.entry.kind else {
        return None;
    };
    let choices: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    reader.choice(directive.value(), &choices)
}

fn list(directive: &Directive<ServiceKey>, reader: &mut Reader<'_>) -> bool {
    let brackets =
        directive.value().is("[") && directive.arguments.last().is_some_and(|last| last.is("]"));
    if !brackets {
        let error = Diagnostic::error(directive.value().span, "list expected").help(format!(
            "with blanks around the brackets: {}",
            Kind::List.example()
        ));
        reader.diagnostics.push(error);
    }
    brackets
}

/// Warns by name of a directive that does not do what it says.
fn tell_effect<K: Copy>(directive: &Directive<K>, reader: &mut Reader<'_>) {
    let entry = directive.entry;
    let name = quote(entry.name);
    let value = directive.value();
    let (message, harmless) = match entry.effect {
        Effect::Works | Effect::Note => return,
        Effect::Never { because, harmless } => {
            (format!("{name} has no effect: {because}"), harmless)
        }
    };
    let value = value.text.as_str();
    if value != entry.default && !harmless.contains(&value) {
        reader
            .diagnostics
            .push(Diagnostic::warning(directive.name.span, message));
    }
}
