//! How two sites differ, for people and programs: what a reload would change, what was changed by command.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    config::{ConnectionSync, Director, Global},
    model::{
        Check, CheckedAt, Expect, FailoverService, FloatingAddress, Forwarding, Greeting, Grpc,
        Http, Persistence, Probe, Question, RealServer, Settings, Site, Timeouts, Tls, Tunnel,
        VirtualService,
    },
    sync::ipvs::daemon::{SyncDaemon, SyncDaemons, SyncRole},
};

/// One thing in which two sites differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// Whether it came, went, or became different.
    pub kind: Kind,
    /// What it is: `service`, `server`, `address`, `failover`, `settings`, `pair` or `sync daemon`.
    pub what: What,
    /// The service, or for a server the service that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its name in lvs.cf, or its address.
    pub name: String,
    /// What is said of it, by name: of what came all, of what became different what did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<Term>,
}

/// Whether something came, went, or became different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is only in the second.
    Added,
    /// It is only in the first.
    Removed,
    /// It is in both.
    Changed,
}

/// What can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A virtual service.
    Service,
    /// A real server.
    Server,
    /// A floating address.
    Address,
    /// A failover service.
    Failover,
    /// What holds for all.
    Settings,
    /// The directors, and what they say to each other.
    Pair,
    /// Who tells or hears of connections in the language of IPVS.
    #[serde(rename = "sync daemon")]
    SyncDaemon,
}

/// Something that is said, and was said before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Term {
    /// What it is about.
    pub name: String,
    /// What is said before, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is said after.
    pub after: String,
}

/// In what `after` differs from `before`.
#[must_use]
pub fn differences(before: &Site, after: &Site) -> Vec<Difference> {
    let mut found = Vec::new();
    settings(before, after, &mut found);
    sync_daemons(&before.sync_daemons, &after.sync_daemons, &mut found);
    addresses(&before.addresses, &after.addresses, &mut found);
    failovers(&before.failovers, &after.failovers, &mut found);
    let known: HashMap<_, _> = before
        .services
        .iter()
        .map(|service| (service.key, service))
        .collect();
    let wanted: HashMap<_, _> = after
        .services
        .iter()
        .map(|service| (service.key, service))
        .collect();
    for service in &before.services {
        if !wanted.contains_key(&service.key) {
            found.push(of_service(service, Kind::Removed, Vec::new()));
        }
    }
    for service in &after.services {
        match known.get(&service.key) {
            Some(same) if Arc::ptr_eq(same, service) => {}
            Some(other) => changed_service(other, service, &mut found),
            None => {
                let terms = said(service_terms(service));
                found.push(of_service(service, Kind::Added, terms));
                for server in &service.servers {
                    let terms = said(server_terms(server));
                    found.push(of_server(service, server, Kind::Added, terms));
                }
            }
        }
    }
    found
}

/// In what two files differ that were read: the pair first.
#[must_use]
pub fn of_files(before: (&Global, &Site), after: (&Global, &Site)) -> Vec<Difference> {
    let pair = of_pair(before.0, after.0);
    let sites = differences(before.1, after.1);
    pair.into_iter().chain(sites).collect()
}

/// In what the directors differ, and what they say to each other, if they do.
#[must_use]
pub fn of_pair(before: &Global, after: &Global) -> Option<Difference> {
    let mut terms = changed(pair_terms(before), pair_terms(after));
    // Keys are not shown; so it may look the same.
    if before.heartbeat_keys != after.heartbeat_keys {
        let (old, new) = (before.heartbeat_keys.len(), after.heartbeat_keys.len());
        terms.push(Term {
            name: "heartbeat_key".to_owned(),
            before: Some(format!("{old} in the file")),
            after: match old == new {
                true => format!("{new} in the file, not the same"),
                false => format!("{new} in the file"),
            },
        });
    }
    (!terms.is_empty()).then(|| Difference {
        kind: Kind::Changed,
        what: What::Pair,
        service: None,
        name: "of directors".to_owned(),
        terms,
    })
}

fn pair_terms(global: &Global) -> Vec<Said> {
    let Global {
        // It counts the edits of the file, and means nothing.
        serial: _,
        mode,
        // That is said of services.
        method: _,
        primary,
        backup,
        backup_active,
        heartbeat_port,
        keepalive,
        deadtime,
        monitor_links,
        sync,
        active_command,
        inactive_command,
        command_timeout,
        failback,
        heartbeat_format,
        heartbeat_keys: _,
        heartbeat_key_file,
        authentication,
        gateway,
    } = global;
    let address = |address: Option<std::net::IpAddr>| {
        address.map_or_else(|| "none".to_owned(), |address| address.to_string())
    };
    let public = |director: &Director| address(director.public);
    let private = |director: &Director| address(director.private);
    let of_sync =
        |value: fn(&ConnectionSync) -> String| sync.as_ref().map_or_else(String::new, value);
    let word = |value: &dyn fmt::Debug| format!("{value:?}").to_lowercase();
    vec![
        ("service", word(mode)),
        ("primary", public(primary)),
        ("primary_private", private(primary)),
        ("backup", public(backup)),
        ("backup_private", private(backup)),
        ("backup_active", yes(*backup_active)),
        ("keepalive", format!("{keepalive:?}")),
        ("deadtime", format!("{deadtime:?}")),
        ("heartbeat_port", heartbeat_port.to_string()),
        ("heartbeat_format", word(heartbeat_format)),
        ("heartbeat_auth", word(authentication)),
        (
            "heartbeat_key_file",
            heartbeat_key_file
                .as_ref()
                .map_or_else(|| "none".to_owned(), |path| path.display().to_string()),
        ),
        ("failback", yes(*failback)),
        ("monitor_links", yes(*monitor_links)),
        ("track_gateway", address(*gateway)),
        ("active_cmd", active_command.join(" ")),
        ("inactive_cmd", inactive_command.join(" ")),
        ("command_timeout", format!("{command_timeout:?}")),
        ("syncd_iface", of_sync(|sync| sync.interface.clone())),
        ("syncd_id", of_sync(|sync| sync.id.to_string())),
        ("syncd_port", of_sync(|sync| sync.port.to_string())),
        ("syncd_compat", of_sync(|sync| yes(sync.is_compat))),
    ]
}

fn changed_service(before: &VirtualService, after: &VirtualService, found: &mut Vec<Difference>) {
    let terms = changed(service_terms(before), service_terms(after));
    if !terms.is_empty() {
        found.push(of_service(after, Kind::Changed, terms));
    }
    let known: BTreeMap<_, _> = before.servers.iter().map(|one| (one.socket, one)).collect();
    let wanted: BTreeMap<_, _> = after.servers.iter().map(|one| (one.socket, one)).collect();
    for server in &before.servers {
        if !wanted.contains_key(&server.socket) {
            found.push(of_server(after, server, Kind::Removed, Vec::new()));
        }
    }
    for server in &after.servers {
        let (kind, terms) = match known.get(&server.socket) {
            Some(other) => (
                Kind::Changed,
                changed(server_terms(other), server_terms(server)),
            ),
            None => (Kind::Added, said(server_terms(server))),
        };
        if kind == Kind::Added || !terms.is_empty() {
            found.push(of_server(after, server, kind, terms));
        }
    }
}

fn of_service(service: &VirtualService, kind: Kind, terms: Vec<Term>) -> Difference {
    Difference {
        kind,
        what: What::Service,
        service: Some(service.key.to_string()),
        name: service.name.clone(),
        terms,
    }
}

fn of_server(
    service: &VirtualService,
    server: &RealServer,
    kind: Kind,
    terms: Vec<Term>,
) -> Difference {
    let socket = server.socket.to_string();
    Difference {
        kind,
        what: What::Server,
        service: Some(service.key.to_string()),
        name: match server.name == socket {
            true => socket,
            false => format!("{socket} ({})", server.name),
        },
        terms,
    }
}

fn addresses(before: &[FloatingAddress], after: &[FloatingAddress], found: &mut Vec<Difference>) {
    let mut tell = |address: &FloatingAddress, kind| {
        found.push(Difference {
            kind,
            what: What::Address,
            service: None,
            name: format!(
                "{}/{} on {}",
                address.address, address.prefix, address.label
            ),
            terms: Vec::new(),
        });
    };
    if before == after {
        return;
    }
    let (known, wanted): (HashSet<_>, HashSet<_>) =
        (before.iter().collect(), after.iter().collect());
    for address in before.iter().filter(|one| !wanted.contains(one)) {
        tell(address, Kind::Removed);
    }
    for address in after.iter().filter(|one| !known.contains(one)) {
        tell(address, Kind::Added);
    }
}

fn failovers(
    before: &[Arc<FailoverService>],
    after: &[Arc<FailoverService>],
    found: &mut Vec<Difference>,
) {
    let mut tell = |service: &FailoverService, kind, terms| {
        found.push(Difference {
            kind,
            what: What::Failover,
            service: None,
            name: format!("{} ({})", service.name, service.id()),
            terms,
        });
    };
    let of = |list: &[Arc<FailoverService>], service: &FailoverService| {
        let is_same =
            |one: &&Arc<FailoverService>| (&one.name, one.id()) == (&service.name, service.id());
        list.iter().find(is_same).map(Arc::clone)
    };
    for service in before.iter().filter(|one| of(after, one).is_none()) {
        tell(service, Kind::Removed, Vec::new());
    }
    for service in after {
        match of(before, service) {
            None => tell(service, Kind::Added, said(failover_terms(service))),
            Some(known) => {
                let terms = changed(failover_terms(&known), failover_terms(service));
                if !terms.is_empty() {
                    tell(service, Kind::Changed, terms);
                }
            }
        }
    }
}

fn failover_terms(service: &FailoverService) -> Vec<Said> {
    let FailoverService {
        name: _,
        address: _,
        protocol: _,
        start,
        stop,
        limit,
        check_port,
        check_protocol,
        probe,
        held,
    } = service;
    vec![
        ("start_cmd", start.join(" ")),
        ("stop_cmd", stop.join(" ")),
        ("command_timeout", format!("{limit:?}")),
        ("check port", check_port.to_string()),
        ("check protocol", check_protocol.to_string()),
        ("check", check(probe)),
        ("held", format!("{held:?}")),
    ]
}

fn settings(before: &Site, after: &Site, found: &mut Vec<Difference>) {
    let terms = changed(
        setting_terms(&before.settings, &before.timeouts),
        setting_terms(&after.settings, &after.timeouts),
    );
    if !terms.is_empty() {
        found.push(Difference {
            kind: Kind::Changed,
            what: What::Settings,
            service: None,
            name: "all services".to_owned(),
            terms,
        });
    }
}

fn sync_daemons(before: &SyncDaemons, after: &SyncDaemons, found: &mut Vec<Difference>) {
    let mut tell = |kind, role: SyncRole, daemon: &SyncDaemon| {
        found.push(Difference {
            kind,
            what: What::SyncDaemon,
            service: None,
            name: format!("{} ({daemon})", role.name()),
            terms: Vec::new(),
        });
    };
    for (role, daemon) in before {
        if after.get(role) != Some(daemon) {
            tell(Kind::Removed, *role, daemon);
        }
    }
    for (role, daemon) in after {
        if before.get(role) != Some(daemon) {
            tell(Kind::Added, *role, daemon);
        }
    }
}

type Said = (&'static str, String);

/// The terms of something that came, less those that say nothing and the name, which is told anyhow.
fn said(terms: Vec<Said>) -> Vec<Term> {
    let terms = terms
        .into_iter()
        .filter(|(name, after)| !after.is_empty() && *name != "name");
    let term = |(name, after): Said| Term {
        name: name.to_owned(),
        before: None,
        after,
    };
    terms.map(term).collect()
}

fn changed(before: Vec<Said>, after: Vec<Said>) -> Vec<Term> {
    let both = before.into_iter().zip(after);
    let differ = both.filter(|((_, before), (_, after))| before != after);
    let term = |((name, before), (_, after)): (Said, Said)| Term {
        name: name.to_owned(),
        before: Some(before),
        after,
    };
    differ.map(term).collect()
}

/// Everything that is said of a service but for its servers.
fn service_terms(service: &VirtualService) -> Vec<Said> {
    let VirtualService {
        name,
        key: _,
        // The same words may come from elsewhere.
        origin: _,
        selectors,
        forwarding,
        scheduler,
        flags,
        one_packet,
        persistence,
        engine,
        sorry_server,
        refusal,
        drain,
        probe,
        check_protocol,
        quiesce,
        servers: _,
    } = service;
    let flags = [
        ("fallback", flags.fallback),
        ("port", flags.port),
        ("compat", flags.compat),
    ];
    let flags: Vec<_> = flags
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(name, _)| *name)
        .collect();
    let selectors: Vec<_> = match service.key.address() {
        Some(_) if selectors.len() < 2 => selectors
            .iter()
            .filter(|one| one.first != one.last)
            .map(ToString::to_string)
            .collect(),
        Some(_) | None => selectors.iter().map(ToString::to_string).collect(),
    };
    vec![
        ("name", name.clone()),
        ("matches", selectors.join(", ")),
        ("forwarding", by(*forwarding)),
        ("scheduler", scheduler.to_string()),
        ("flags", flags.join(",")),
        ("one packet", yes(*one_packet)),
        (
            "persistence",
            persistence.as_ref().map_or_else(String::new, stays),
        ),
        ("engine", engine.clone().unwrap_or_default()),
        (
            "sorry server",
            sorry_server.map_or_else(String::new, |socket| socket.to_string()),
        ),
        ("refuse", format!("{refusal:?}").to_lowercase()),
        ("drain", format!("{drain:?}")),
        (
            "check",
            probe.as_ref().map_or_else(|| "none".to_owned(), check),
        ),
        ("check protocol", check_protocol.to_string()),
        ("quiesce", yes(*quiesce)),
    ]
}

fn server_terms(server: &RealServer) -> Vec<Said> {
    let RealServer {
        name,
        socket: _,
        forwarding,
        check_port,
        weight,
        upper,
        lower,
        origin: _,
    } = server;
    let limit = |limit: u32| match limit {
        0 => String::new(),
        limit => limit.to_string(),
    };
    vec![
        ("name", name.clone()),
        ("forwarding", by(*forwarding)),
        ("weight", weight.to_string()),
        ("upper threshold", limit(*upper)),
        ("lower threshold", limit(*lower)),
        ("check port", limit(u32::from(*check_port))),
    ]
}

fn setting_terms(settings: &Settings, timeouts: &Timeouts) -> Vec<Said> {
    let Settings {
        expire_nodest_conn,
        expire_quiescent_template,
        conn_reuse_mode,
        sloppy_tcp,
        sloppy_sctp,
        schedule_icmp,
        pmtu_disc,
        stateless_above,
        answers,
        snat_ports: (first, last),
        // A secret is not shown, and whether it is another one neither.
        secret: _,
        sync,
        flows,
        half_open,
    } = settings;
    let at_start = |size: &Option<u32>| {
        size.map_or_else(String::new, |size| format!("{size} (read at the start)"))
    };
    vec![
        ("tcp_timeout", format!("{:?}", timeouts.tcp)),
        ("tcpfin_timeout", format!("{:?}", timeouts.tcp_fin)),
        ("udp_timeout", format!("{:?}", timeouts.udp)),
        ("expire_nodest_conn", yes(*expire_nodest_conn)),
        ("expire_quiescent_template", yes(*expire_quiescent_template)),
        ("conn_reuse_mode", conn_reuse_mode.to_string()),
        ("sloppy_tcp", yes(*sloppy_tcp)),
        ("sloppy_sctp", yes(*sloppy_sctp)),
        ("schedule_icmp", yes(*schedule_icmp)),
        ("pmtu_disc", yes(*pmtu_disc)),
        ("stateless_above", stateless_above.to_string()),
        ("answers_per_second", answers.to_string()),
        ("snat_ports", format!("{first}-{last}")),
        ("syncdaemon", yes(*sync)),
        ("flow_table", at_start(flows)),
        ("half_open", at_start(half_open)),
    ]
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

/// How packets reach a server, in words.
pub(crate) fn by(forwarding: Forwarding) -> String {
    match forwarding {
        Forwarding::Nat => "nat".to_owned(),
        Forwarding::FullNat => "fullnat".to_owned(),
        Forwarding::Direct => "direct".to_owned(),
        Forwarding::Tunnel { tunnel } => match tunnel {
            Tunnel::Ipip => "tunnel".to_owned(),
            Tunnel::Gre { checksum } => format!("tunnel gre{}", with(checksum)),
            Tunnel::Gue { port, checksum } => format!("tunnel gue {port}{}", with(checksum)),
        },
    }
}

const fn with(checksum: bool) -> &'static str {
    if checksum { " with checksums" } else { "" }
}

fn stays(persistence: &Persistence) -> String {
    format!("{:?} mask {}", persistence.timeout, persistence.mask)
}

fn check(probe: &Probe) -> String {
    let Probe {
        check,
        interval,
        reentry,
        rise,
        fall,
        retries,
        limit,
        jitter,
        damping,
        slow_start,
        load,
        agent,
        at,
    } = probe;
    let mut text = format!(
        "{} every {interval:?}, back after {reentry:?}",
        tried(check)
    );
    let mut add = |is_said: bool, what: String| {
        if is_said {
            text.push_str(", ");
            text.push_str(&what);
        }
    };
    // What is as it is without being said is not said here either.
    let usual = Probe::new(Check::Icmp, *interval, *reentry);
    add(*rise != usual.rise, format!("rise {rise}"));
    add(*fall != usual.fall, format!("fall {fall}"));
    add(*retries != usual.retries, format!("{retries} retries"));
    add(
        limit.is_some(),
        format!("within {:?}", limit.unwrap_or_default()),
    );
    add(*jitter != usual.jitter, format!("jitter {jitter}%"));
    add(*damping != usual.damping, format!("damping {damping:?}"));
    add(*slow_start != usual.slow_start, "no slow start".to_owned());
    let load = load.as_ref().map(|command| command.join(" "));
    add(
        load.is_some(),
        format!("load by {}", load.unwrap_or_default()),
    );
    add(
        agent.is_some(),
        format!("agent at port {}", agent.unwrap_or_default()),
    );
    add(*at == CheckedAt::Vip, "at the virtual IP".to_owned());
    text
}

/// What a nanny tries.
pub(crate) fn tried(check: &Check) -> String {
    match check {
        Check::Talk { send, expect } => {
            format!("connect{}", asked(send.as_deref(), expect.as_ref()))
        }
        Check::Tls { tls, send, expect } => {
            format!(
                "connect{}{}",
                secured(tls),
                asked(send.as_deref(), expect.as_ref())
            )
        }
        Check::Program { command, expect } => {
            let expect = expect.as_ref().map(|text| format!(" expect \"{text}\""));
            format!("run {}{}", command.join(" "), expect.unwrap_or_default())
        }
        Check::Http(Http {
            is_two,
            tls,
            is_head,
            path,
            host,
            status,
            body,
        }) => {
            let method = if *is_head { "HEAD" } else { "GET" };
            let version = if *is_two { "HTTP/2" } else { "HTTP/1.1" };
            let host = host.as_ref().map(|host| format!(" of {host}"));
            let range = |(first, last): &(u16, u16)| format!("{first}-{last}");
            let status: Vec<_> = status.iter().map(range).collect();
            format!(
                "{method} {path}{} by {version}{} status {}{}",
                host.unwrap_or_default(),
                tls.as_ref().map(secured).unwrap_or_default(),
                status.join(","),
                asked(None, body.as_ref())
            )
        }
        Check::Grpc(Grpc { tls, host, service }) => {
            let host = host.as_ref().map(|host| format!(" of {host}"));
            format!(
                "ask the health of \"{service}\"{} by gRPC{}",
                host.unwrap_or_default(),
                tls.as_ref().map(secured).unwrap_or_default()
            )
        }
        Check::Dns(Question {
            name,
            kind,
            rcode,
            answer,
        }) => {
            let rcode = rcode.map(|code| format!(" response code {code}"));
            let answer = answer.as_ref().map(|text| format!(" expect \"{text}\""));
            format!(
                "ask DNS for {name}. type {kind}{}{}",
                rcode.unwrap_or_default(),
                answer.unwrap_or_default()
            )
        }
        Check::Icmp => "ICMP echo".to_owned(),
        Check::Greeting(greeting) => match greeting {
            Greeting::Smtp { name } => match name {
                Some(name) => format!("greeting of SMTP as {name}"),
                None => "greeting of SMTP".to_owned(),
            },
            Greeting::MySql { user } => format!("greeting of MySQL as {user}"),
            Greeting::PostgreSql { user } => format!("greeting of PostgreSQL as {user}"),
            Greeting::Redis => "greeting of Redis".to_owned(),
        },
    }
}

fn secured(tls: &Tls) -> String {
    let Tls {
        name,
        verify,
        authorities,
        warn_days,
    } = tls;
    let name = name.as_ref().map(|name| format!(" for {name}"));
    let by = authorities
        .as_ref()
        .map(|file| format!(" by {}", file.display()));
    let days = (*warn_days != 14).then(|| format!(" told {warn_days} days before"));
    format!(
        " over TLS{}{}{}{}",
        if *verify { "" } else { " unverified" },
        name.unwrap_or_default(),
        by.unwrap_or_default(),
        days.unwrap_or_default()
    )
}

fn asked(send: Option<&[u8]>, expect: Option<&Expect>) -> String {
    let send = send.map(|bytes| format!(" send \"{}\"", bytes.escape_ascii()));
    let expect = expect.map(|expect| match expect {
        Expect::Anything => " expect anything".to_owned(),
        Expect::Prefix(bytes) => format!(" expect \"{}\"", bytes.escape_ascii()),
        Expect::Regex(regex) => format!(" expect /{regex}/"),
    });
    format!("{}{}", send.unwrap_or_default(), expect.unwrap_or_default())
}

impl fmt::Display for Difference {
    /// One line: a sign as in a diff, what it is, what is said of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.kind {
            Kind::Added => '+',
            Kind::Removed => '-',
            Kind::Changed => '~',
        };
        write!(f, "{sign} ")?;
        match (self.what, &self.service) {
            (What::Service, Some(service)) => write!(f, "service {service} ({})", self.name)?,
            (What::Server, Some(service)) => write!(f, "server {} of {service}", self.name)?,
            (What::Service | What::Server, None) => write!(f, "{}", self.name)?,
            (What::Address, _) => write!(f, "address {}", self.name)?,
            (What::Failover, _) => write!(f, "failover {}", self.name)?,
            (What::Settings, _) => write!(f, "{}", self.name)?,
            (What::Pair, _) => write!(f, "pair {}", self.name)?,
            (What::SyncDaemon, _) => write!(f, "sync daemon {}", self.name)?,
        }
        for (place, term) in self.terms.iter().enumerate() {
            let separator = if place == 0 { ": " } else { ", " };
            let or_none = |text: &str| match text {
                "" => "none".to_owned(),
                text => text.to_owned(),
            };
            write!(f, "{separator}{} ", term.name)?;
            match &term.before {
                Some(before) => write!(f, "{} -> {}", or_none(before), or_none(&term.after))?,
                None => f.write_str(&or_none(&term.after))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_directors_say_to_each_other_is_told() {
        let base = "primary = 192.0.2.2\nbackup = 192.0.2.3\nbackup_active = 1\nkeepalive = 6\ndeadtime = 18\n";
        let global = |text: &str| {
            let said = crate::config::parse("lvs.cf", text.as_bytes());
            said.site
                .unwrap_or_else(|| panic!("{:#?}", said.diagnostics))
                .0
        };
        let key = |letter: &str| format!("heartbeat_key = 1:{}\n", letter.repeat(64));
        let table = [
            (String::new(), "serial_no = 7\n".to_owned(), None),
            (
                String::new(),
                "keepalive = 1\ndeadtime = 500ms\n".to_owned(),
                Some("keepalive 6s -> 1s, deadtime 18s -> 500ms"),
            ),
            (
                String::new(),
                "backup_private = 10.0.0.3\nprimary_private = 10.0.0.2\nfailback = 1\n".to_owned(),
                Some(
                    "primary_private none -> 10.0.0.2, backup_private none -> 10.0.0.3, failback no -> yes",
                ),
            ),
            (
                String::new(),
                "syncdaemon = 1\nsyncd_id = 7\n".to_owned(),
                Some(
                    "syncd_iface none -> eth0, syncd_id none -> 7, syncd_port none -> 8849, syncd_compat none -> no",
                ),
            ),
            (
                key("a"),
                key("e"),
                Some("heartbeat_key 1 in the file -> 1 in the file, not the same"),
            ),
        ];
        for (before, after, expected) in table {
            let (old, new) = (format!("{base}{before}"), format!("{base}{after}"));
            let told = of_pair(&global(&old), &global(&new)).map(|one| one.to_string());
            let expected = expected.map(|terms| format!("~ pair of directors: {terms}"));
            assert_eq!(told, expected, "{before} -> {after}");
        }
    }

    fn site(text: &str) -> Site {
        let said = crate::config::parse("lvs.cf", text.as_bytes());
        let (_, site) = said
            .site
            .unwrap_or_else(|| panic!("{text}: {:#?}", said.diagnostics));
        site
    }

    #[test]
    fn each_line_of_a_file_is_a_difference() {
        let file = |global: &str, service: &str, server: &str, more: &str| {
            site(&format!(
                "network = nat\n{global}virtual web {{\nactive = 1\naddress = 192.0.2.10 eth0:1\n\
                 vip_nmask = 255.255.255.0\n{service}server rs1 {{\naddress = 10.0.0.1\n\
                 active = 1\n{server}}}\n}}\n{more}"
            ))
        };
        let other = "virtual dns {\nactive = 1\naddress = 192.0.2.11 eth0:2\nport = 53\n\
                     protocol = udp\nscheduler = rr\nserver rs9 {\naddress = 10.0.0.9\nactive = 1\n}\n}\n";
        let second = "server rs2 {\naddress = 10.0.0.2\nactive = 1\nweight = 3\n}\n";
        let base = file("", "", "", "");
        // What is added, and how the file with it differs from the one without.
        let table: [(Site, &[&str]); 9] = [
            (base.clone(), &[]),
            (
                file("tcp_timeout = 60\n", "", "", ""),
                &["~ all services: tcp_timeout 900s -> 60s"],
            ),
            (
                file("", "scheduler = rr\npersistent = 300\n", "", ""),
                &["~ service TCP 192.0.2.10:80 (web): scheduler wlc -> rr, \
                     persistence none -> 300s mask 255.255.255.255"],
            ),
            (
                file("", "expect = \"HTTP\"\n", "", ""),
                &[
                    "~ service TCP 192.0.2.10:80 (web): check connect send \"GET / HTTP/1.0\\r\\n\\r\\n\" \
                     expect \"HTTP\" every 10s, back after 180s -> connect expect \"HTTP\" every \
                     10s, back after 180s",
                ],
            ),
            (
                file("", "method = tunnel\n", "", ""),
                &[
                    "~ service TCP 192.0.2.10:80 (web): forwarding nat -> tunnel",
                    "~ server 10.0.0.1:80 (rs1) of TCP 192.0.2.10:80: forwarding nat -> tunnel",
                ],
            ),
            (
                file("", "", "weight = 5\n", ""),
                &["~ server 10.0.0.1:80 (rs1) of TCP 192.0.2.10:80: weight 1 -> 5"],
            ),
            (
                file("", second, "", ""),
                &[
                    "+ server 10.0.0.2:80 (rs2) of TCP 192.0.2.10:80: forwarding nat, \
                     weight 3, check port 80",
                ],
            ),
            (
                file("", "", "", other),
                &[
                    "+ address 192.0.2.11/32 on eth0:2",
                    "+ service UDP 192.0.2.11:53 (dns): forwarding nat, scheduler rr, \
                     one packet no, refuse reset, drain 30s, check connect every 10s, back after \
                     180s, check protocol UDP, quiesce no",
                    "+ server 10.0.0.9:53 (rs9) of UDP 192.0.2.11:53: forwarding nat, \
                     weight 1, check port 53",
                ],
            ),
            (
                site(other),
                &[
                    "- address 192.0.2.10/24 on eth0:1",
                    "+ address 192.0.2.11/32 on eth0:2",
                    "- service TCP 192.0.2.10:80 (web)",
                    "+ service UDP 192.0.2.11:53 (dns): forwarding nat, scheduler rr, \
                     one packet no, refuse reset, drain 30s, check connect every 10s, back after \
                     180s, check protocol UDP, quiesce no",
                    "+ server 10.0.0.9:53 (rs9) of UDP 192.0.2.11:53: forwarding nat, \
                     weight 1, check port 53",
                ],
            ),
        ];
        for (after, expected) in table {
            let told: Vec<_> = differences(&base, &after)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(told, expected);
        }
    }
}
