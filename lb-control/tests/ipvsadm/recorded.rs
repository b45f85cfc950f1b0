//! Thousands of command lines, and what ipvsadm 1.31 made of each: `tests/data/ipvsadm-cli.jsonl`. There
//! it ran with a library in place of the kernel, which printed what the kernel was asked for:
//!
//! * `NEW_SERVICE svc{…}` and so on: the message, with IPVS's numbers of families, protocols, flags and
//!   methods; of an IPv6 mask the first number is the length of the prefix;
//! * `CONNECTIONS`: /proc/net/ip_vs_conn was opened.

use std::{fmt::Write as _, net::IpAddr};

use lb_control::{
    ipvsadm::{
        Complaint,
        command::{Columns, Command, List, Listed, Server, Service, TunnelKind, Wish},
        parse,
    },
    model::{Family, Method, Protocol, ServiceId},
    sync::ipvs::daemon::{SyncDaemon, SyncRole},
};
use serde::Deserialize;

use super::director::FewNames;

const RECORD: &str = include_str!("../data/ipvsadm-cli.jsonl");

#[derive(Deserialize)]
struct Recorded {
    args: Vec<String>,
    out: String,
    err: String,
    exit: u8,
}

#[test]
fn command_lines_mean_what_they_mean_to_ipvsadm() {
    let mut differences = String::new();
    let mut count = 0;
    for line in RECORD.lines() {
        let recorded: Recorded = serde_json::from_str(line).unwrap();
        let (out, err, exit) = match parse("ipvsadm", &recorded.args, &FewNames) {
            Ok(command) => (asked(&command), String::new(), 0),
            Err(Complaint { text, status }) => (String::new(), format!("{text}\n"), status),
        };
        if (&out, &err, exit) != (&recorded.out, &recorded.err, recorded.exit) {
            let Recorded { args, .. } = &recorded;
            let theirs = format!("{}{}{}", recorded.out, recorded.err, recorded.exit);
            let _ = writeln!(
                differences,
                "{args:?}\n  theirs: {theirs:?}\n  ours:   {out:?} {err:?} {exit}"
            );
        }
        count += 1;
    }
    assert!(count > 2_000, "{count} command lines");
    assert!(differences.is_empty(), "{differences}");
}

/// What the kernel would be asked for.
fn asked(command: &Command) -> String {
    match command {
        Command::Help => String::new(),
        Command::Version => {
            "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n".to_owned()
        }
        Command::List(list) => listed(list),
        Command::Save { .. } => "GET_SERVICE\n".to_owned(),
        Command::Restore => String::new(),
        Command::Change(wish) => changed(wish),
    }
}

const fn state(role: SyncRole) -> u8 {
    match role {
        SyncRole::Master => 1,
        SyncRole::Backup => 2,
    }
}

fn started(role: SyncRole, daemon: &SyncDaemon) -> String {
    let state = state(role);
    let mut text = format!(
        "NEW_DAEMON daemon{{ state={state} ifn={} syncid={}",
        daemon.interface, daemon.syncid
    );
    if let Some(maxlen) = daemon.maxlen {
        text += &format!(" maxlen={maxlen}");
    }
    if let Some(port) = daemon.port {
        text += &format!(" mport={port}");
    }
    if let Some(ttl) = daemon.ttl {
        text += &format!(" ttl={ttl}");
    }
    match daemon.group {
        Some(group @ IpAddr::V4(_)) => text += &format!(" g4={group}"),
        Some(group @ IpAddr::V6(_)) => text += &format!(" g6={group}"),
        None => {}
    }
    text + "}\n"
}

fn listed(list: &List) -> String {
    let (of, columns) = match &list.what {
        Listed::Connections { .. } => return "CONNECTIONS\n".to_owned(),
        Listed::Timeouts => return "GET_CONFIG\n".to_owned(),
        Listed::Daemons => return "GET_DAEMON\n".to_owned(),
        Listed::Table { of, columns } => (of, columns),
    };
    if let Some(service) = of {
        return format!("GET_SERVICE {}\n", key(service, "", 0, 0, "0.0.0.0"));
    }
    let title = match columns {
        Columns::Plain => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"
        }
        Columns::Tunnels => {
            "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn"
        }
        Columns::Stats => {
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port"
        }
        Columns::Rate => {
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  -> RemoteAddress:Port"
        }
        Columns::Thresholds => {
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port"
        }
        Columns::Persistent => {
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  -> RemoteAddress:Port"
        }
    };
    format!("IP Virtual Server version 1.2.1 (size=4096)\nGET_SERVICE\n{title}\n")
}

fn changed(wish: &Wish) -> String {
    match wish {
        Wish::AddService(said) => format!("NEW_SERVICE {}\n", service(said)),
        Wish::EditService(said) => format!("SET_SERVICE {}\n", service(said)),
        Wish::DeleteService(id) => format!("DEL_SERVICE {}\n", plain(id)),
        Wish::AddServer(said) => format!("NEW_DEST {} {}\n", plain(&said.service), server(said)),
        Wish::EditServer(said) => format!("SET_DEST {} {}\n", plain(&said.service), server(said)),
        Wish::DeleteServer(id, at) => {
            let af = family(Family::of(at.ip()));
            format!(
                "DEL_DEST {} dest{{ af={af} addr={} port={} fwd=3 w=1 tuntype=0 tunport=0 tunflags=0 u=0 l=0}}\n",
                plain(id),
                at.ip(),
                at.port()
            )
        }
        Wish::Clear => "FLUSH\n".to_owned(),
        Wish::Zero(None) => "ZERO\n".to_owned(),
        Wish::Zero(Some(id)) => format!("ZERO {}\n", plain(id)),
        Wish::SetTimeouts { tcp, tcp_fin, udp } => {
            format!("SET_CONFIG {{t4={tcp}}} {{t5={tcp_fin}}} {{t6={udp}}}\n")
        }
        Wish::StartDaemon(role, daemon) => started(*role, daemon),
        Wish::StopDaemon(role, syncid) => {
            let state = state(*role);
            format!("DEL_DAEMON daemon{{ state={state} ifn= syncid={syncid}}}\n")
        }
    }
}

const fn family(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

fn mask(mask: IpAddr) -> String {
    match mask {
        IpAddr::V4(mask) => mask.to_string(),
        IpAddr::V6(mask) => format!("{}.0.0.0", mask.to_bits().leading_ones()),
    }
}

fn key(id: &ServiceId, words: &str, flags: u32, timeout: u32, mask: &str) -> String {
    let af = family(id.family());
    let words = match words {
        "" => "sched=",
        words => words,
    };
    let of = match id {
        ServiceId::Address(key) => {
            let protocol = match key.protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
                Protocol::Sctp => 132,
                Protocol::Ah | Protocol::Esp => unreachable!("no option says so"),
            };
            format!("proto={protocol} addr={} port={}", key.address, key.port)
        }
        ServiceId::Mark { mark, .. } => format!("fwm={mark}"),
    };
    format!("svc{{ af={af} {of} {words} flags={flags:x} timeout={timeout} mask={mask}}}")
}

/// A service of which only the key is said. What it is masked by is of no interest then.
fn plain(id: &ServiceId) -> String {
    let mask = match id.family() {
        Family::Ipv4 => "255.255.255.255",
        Family::Ipv6 => "128.0.0.0",
    };
    key(id, "", 0, 0, mask)
}

fn service(said: &Service) -> String {
    // IPVS has room for so many letters.
    let scheduler: String = said.scheduler.chars().take(15).collect();
    let mut words = format!("sched={scheduler}");
    if !said.engine.is_empty() {
        words += &format!(" pe={}", said.engine);
    }
    let persistent = u32::from(said.persistent.is_some());
    let one_packet = if said.one_packet { 4 } else { 0 };
    let flags = said.flags | persistent | one_packet;
    let timeout = said.persistent.unwrap_or_default();
    key(&said.service, &words, flags, timeout, &mask(said.mask))
}

fn server(said: &Server) -> String {
    let method = match said.method {
        Method::Nat => 0,
        Method::Tunnel => 2,
        Method::Direct => 3,
    };
    let kind = match said.tunnel.kind {
        TunnelKind::Ipip => 0,
        TunnelKind::Gue => 1,
        TunnelKind::Gre => 2,
    };
    let checksum = match (said.tunnel.checksum, said.tunnel.remote_checksum) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 0,
    };
    let at = said.server;
    let Server {
        weight,
        upper,
        lower,
        ..
    } = said;
    format!(
        "dest{{ af={} addr={} port={} fwd={method} w={weight} tuntype={kind} tunport={} tunflags={checksum} u={upper} l={lower}}}",
        family(Family::of(at.ip())),
        at.ip(),
        at.port(),
        said.tunnel.port,
    )
}
