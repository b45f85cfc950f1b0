use super::*;
use crate::model::{Check, Probe, Protocol, ServiceAddress, Tunnel};

const WEB: ServiceId = ServiceId::Address(ServiceAddress {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10)),
    port: 80,
    protocol: Protocol::Tcp,
});

/// A site of one service with two servers, which are checked.
fn file() -> Site {
    let probe = Probe::new(
        Check::Talk {
            send: None,
            expect: None,
        },
        Duration::from_secs(1),
        Duration::from_secs(1),
    );
    let ServiceId::Address(address) = WEB else {
        unreachable!("it is one of an address")
    };
    let service = VirtualService {
        quiesce: true,
        servers: vec![
            RealServer::new("rs1", socket("10.0.0.1:80"), Forwarding::Nat, 1),
            RealServer::new("rs2", socket("10.0.0.2:80"), Forwarding::Nat, 2),
        ],
        ..VirtualService::new("web", address, Scheduler::Rr, probe)
    };
    Site {
        services: vec![Arc::new(service)],
        ..Site::default()
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A change as the API has it.
fn change(json: &str) -> Change {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// A table in short: each service with its scheduler and origin, each server with weight and origin.
fn shown(site: &Site) -> String {
    let of_service = |service: &Arc<VirtualService>| {
        let servers = service.servers.iter().map(|server| {
            let mark = mark(server.origin);
            format!(" {}*{}{mark}", server.socket, server.weight)
        });
        let mark = mark(service.origin);
        let watched = if service.probe.is_some() {
            " checked"
        } else {
            ""
        };
        let head = format!("{}{mark} {}{watched}", service.key, service.scheduler);
        head + &servers.collect::<String>()
    };
    let services: Vec<_> = site.services.iter().map(of_service).collect();
    services.join("; ")
}

const fn mark(origin: Origin) -> &'static str {
    match origin {
        Origin::File => "",
        Origin::Edited => "~",
        Origin::Command => "+",
    }
}

const FILE: &str = "TCP 192.0.2.10:80 rr checked 10.0.0.1:80*1 10.0.0.2:80*2";
const ADD_WEB: &str = r#"{"change":"add-service","service":"TCP 192.0.2.10:80"}"#;
const REMOVE_WEB: &str = r#"{"change":"remove-service","service":"TCP 192.0.2.10:80"}"#;
const ADD_FWM: &str = r#"{"change":"add-service","service":"FWM 7","terms":{"scheduler":"sh"}}"#;

fn server(verb: &str, last: u8, terms: &str) -> String {
    let terms = match terms {
        "" => String::new(),
        terms => format!(r#","terms":{{{terms}}}"#),
    };
    format!(
        r#"{{"change":"{verb}-server","service":"TCP 192.0.2.10:80","server":"10.0.0.{last}:80"{terms}}}"#
    )
}

#[test]
fn a_list_of_changes_makes_a_table() {
    let edit = |terms: &str| {
        format!(r#"{{"change":"edit-service","service":"TCP 192.0.2.10:80","terms":{{{terms}}}}}"#)
    };
    // What is changed, and the table then.
    let table: Vec<(Vec<String>, &str)> = vec![
        (vec![], FILE),
        (
            vec![server("add", 3, "")],
            "TCP 192.0.2.10:80~ rr checked 10.0.0.1:80*1 10.0.0.2:80*2 10.0.0.3:80*1+",
        ),
        (
            vec![server("edit", 2, r#""weight":7"#)],
            "TCP 192.0.2.10:80~ rr checked 10.0.0.1:80*1 10.0.0.2:80*7~",
        ),
        // What is as before is no change.
        (vec![server("edit", 2, r#""weight":2"#)], FILE),
        (
            vec![
                server("edit", 2, r#""weight":7"#),
                server("edit", 2, r#""weight":2"#),
            ],
            FILE,
        ),
        (
            vec![server("remove", 1, "")],
            "TCP 192.0.2.10:80~ rr checked 10.0.0.2:80*2",
        ),
        // One that was removed comes back with the weight that is said, by default 1.
        (
            vec![server("remove", 2, ""), server("add", 2, "")],
            "TCP 192.0.2.10:80~ rr checked 10.0.0.1:80*1 10.0.0.2:80*1~",
        ),
        (
            vec![edit(r#""scheduler":"wlc""#)],
            "TCP 192.0.2.10:80~ wlc checked 10.0.0.1:80*1 10.0.0.2:80*2",
        ),
        (vec![REMOVE_WEB.into()], ""),
        // What is removed and added is as the command says; what it does not know of stays.
        (
            vec![REMOVE_WEB.into(), ADD_WEB.into(), server("add", 1, "")],
            "TCP 192.0.2.10:80~ wlc checked 10.0.0.1:80*1",
        ),
        (
            vec![ADD_FWM.into()],
            "TCP 192.0.2.10:80 rr checked 10.0.0.1:80*1 10.0.0.2:80*2; FWM 7+ sh",
        ),
        (
            vec![
                ADD_FWM.into(),
                r#"{"change":"add-server","service":"FWM 7","server":"10.0.0.9:0"}"#.into(),
                r#"{"change":"clear"}"#.into(),
            ],
            "",
        ),
        (
            vec![REMOVE_WEB.into(), r#"{"change":"revert"}"#.into()],
            FILE,
        ),
        // Servers stand in the order in which they were added.
        (
            vec![
                server("add", 9, ""),
                server("add", 4, ""),
                server("add", 7, ""),
            ],
            "TCP 192.0.2.10:80~ rr checked 10.0.0.1:80*1 10.0.0.2:80*2 10.0.0.9:80*1+ \
             10.0.0.4:80*1+ 10.0.0.7:80*1+",
        ),
    ];
    let file = file();
    for (changes, expected) in table {
        let list: Vec<_> = changes.iter().map(|json| change(json)).collect();
        let mut changed = RuntimeChanges::default();
        changed
            .make(&file, &list)
            .unwrap_or_else(|refused| panic!("{changes:?}: {refused}"));
        assert_eq!(shown(&changed.apply(&file)), expected, "{changes:?}");
        assert_eq!(
            changed.is_empty(),
            expected == FILE,
            "{changes:?}: {changed:?}"
        );
        // It survives the daemon.
        let json = serde_json::to_string(&changed).unwrap();
        let read: RuntimeChanges = serde_json::from_str(&json).unwrap();
        assert_eq!(read, changed, "{json}");
    }
}

#[test]
fn what_cannot_be_made_changes_nothing() {
    let add = |server: &str, terms: &str| {
        format!(
            r#"{{"change":"add-server","service":"TCP 192.0.2.10:80","server":"{server}","terms":{{{terms}}}}}"#
        )
    };
    let fwm = |terms: &str| {
        format!(r#"{{"change":"add-service","service":"FWM 7","terms":{{{terms}}}}}"#)
    };
    let other = |terms: &str| {
        format!(r#"{{"change":"add-service","service":"TCP 192.0.2.11:80","terms":{{{terms}}}}}"#)
    };
    let table: Vec<(String, Why, &str)> = vec![
        (
            ADD_WEB.into(),
            Why::ServiceExists,
            "there is a service TCP 192.0.2.10:80 already",
        ),
        (
            r#"{"change":"remove-service","service":"FWM 9 IPv6"}"#.into(),
            Why::NoService,
            "there is no service FWM 9 IPv6",
        ),
        (
            r#"{"change":"edit-service","service":"UDP 192.0.2.10:80","terms":{}}"#.into(),
            Why::NoService,
            "there is no service UDP 192.0.2.10:80",
        ),
        (
            r#"{"change":"zero","service":"UDP 192.0.2.10:80"}"#.into(),
            Why::NoService,
            "there is no service UDP 192.0.2.10:80",
        ),
        (
            server("add", 1, ""),
            Why::ServerExists,
            "TCP 192.0.2.10:80 has a server 10.0.0.1:80 already",
        ),
        (
            server("edit", 9, r#""weight":1"#),
            Why::NoServer,
            "TCP 192.0.2.10:80 has no server 10.0.0.9:80",
        ),
        (
            server("remove", 9, ""),
            Why::NoServer,
            "TCP 192.0.2.10:80 has no server 10.0.0.9:80",
        ),
        (
            add("[2001:db8::1]:80", ""),
            Why::Invalid,
            "[2001:db8::1]:80 and TCP 192.0.2.10:80 are of two families: only a tunnel can cross from one to the other",
        ),
        (
            add("224.0.0.1:80", ""),
            Why::Invalid,
            "224.0.0.1 is no address of a server",
        ),
        (
            add("10.0.0.9:80", r#""upper":3,"lower":4"#),
            Why::Invalid,
            "the lower threshold 4 is above the upper 3",
        ),
        (
            other(r#""flags":{"fallback":true,"port":false,"compat":false},"scheduler":"rr""#),
            Why::Invalid,
            "rr has no flags",
        ),
        (
            other(r#""one_packet":true"#),
            Why::Invalid,
            "TCP has no packets that could go alone",
        ),
        (
            other(r#""mask":"ffff::""#),
            Why::Invalid,
            "ffff:: is no mask for TCP 192.0.2.11:80",
        ),
        (
            other(r#""persistent":2678401"#),
            Why::Invalid,
            "no client stays for more than 2678400 s",
        ),
        (
            other(r#""engine":"ftp""#),
            Why::Invalid,
            "there is no persistence engine ftp",
        ),
        (
            other(r#""matches":[]"#),
            Why::Invalid,
            "TCP 192.0.2.11:80 is no group, and has its own address only",
        ),
        (
            fwm(r#""matches":[{"address":"192.0.2.10","protocol":"tcp","first":80,"last":80}]"#),
            Why::Invalid,
            "TCP 192.0.2.10:80 belongs to TCP 192.0.2.10:80 already, and cannot to FWM 7",
        ),
    ];
    let file = file();
    let mut changed = RuntimeChanges::default();
    changed
        .make(&file, &[change(&server("edit", 2, r#""weight":9"#))])
        .unwrap();
    let before = changed.clone();
    for (json, why, text) in table {
        // One that could be made stands in front of it.
        let list = [change(&server("add", 200, "")), change(&json)];
        let refused = changed.make(&file, &list).unwrap_err();
        assert_eq!((refused.why, refused.text.as_str()), (why, text), "{json}");
        assert!(
            refused.index.is_none_or(|index| index == 1),
            "{json}: {refused:?}"
        );
        assert_eq!(changed, before, "{json}");
    }
}

#[test]
fn a_tunnel_crosses_from_one_family_to_the_other() {
    let json = r#"{"change":"add-server","service":"TCP 192.0.2.10:80","server":"[2001:db8::1]:80",
        "terms":{"forwarding":{"method":"tunnel","tunnel":{"gue":{"port":6080,"checksum":true}}}}}"#;
    let file = file();
    let mut changed = RuntimeChanges::default();
    changed.make(&file, &[change(json)]).unwrap();
    let forwarding = changed.apply(&file).services[0].servers[2].forwarding;
    let tunnel = Tunnel::Gue {
        port: 6080,
        checksum: true,
    };
    assert_eq!(forwarding, Forwarding::Tunnel { tunnel });
}

#[test]
fn changes_stay_when_the_file_changes() {
    let file = file();
    let lists = [
        vec![server("add", 3, r#""weight":4"#)],
        vec![server("edit", 2, r#""weight":7"#)],
        vec![server("remove", 1, "")],
        vec![REMOVE_WEB.to_owned()],
        vec![ADD_FWM.to_owned()],
    ];
    // The file without the service; with the server that was added; with rs2 as it was edited.
    let without = Site::default();
    let with = |servers: &[(&str, u16)]| {
        let mut site = file.clone();
        let service = Arc::make_mut(&mut site.services[0]);
        service.servers = servers
            .iter()
            .map(|(address, weight)| {
                RealServer::new("rs", socket(address), Forwarding::Nat, *weight)
            })
            .collect();
        site
    };
    let added = with(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 2), ("10.0.0.3:80", 4)]);
    let edited = with(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 7)]);
    let only_second = with(&[("10.0.0.2:80", 2)]);
    let expected: [[&str; 4]; 5] = [
        [
            "",
            "TCP 192.0.2.10:80 rr checked 10.0.0.1:80*1 10.0.0.2:80*2 10.0.0.3:80*4",
            "TCP 192.0.2.10:80~ rr checked 10.0.0.1:80*1 10.0.0.2:80*7 10.0.0.3:80*4+",
            "TCP 192.0.2.10:80~ rr checked 10.0.0.2:80*2 10.0.0.3:80*4+",
        ],
        [
            "",
            "TCP 192.0.2.10:80~ rr checked 10.0.0.1:80*1 10.0.0.2:80*7~ 10.0.0.3:80*4",
            "TCP 192.0.2.10:80 rr checked 10.0.0.1:80*1 10.0.0.2:80*7",
            "TCP 192.0.2.10:80~ rr checked 10.0.0.2:80*7~",
        ],
        [
            "",
            "TCP 192.0.2.10:80~ rr checked 10.0.0.2:80*2 10.0.0.3:80*4",
            "TCP 192.0.2.10:80~ rr checked 10.0.0.2:80*7",
            "TCP 192.0.2.10:80 rr checked 10.0.0.2:80*2",
        ],
        ["", "", "", ""],
        [
            "FWM 7+ sh",
            "TCP 192.0.2.10:80 rr checked 10.0.0.1:80*1 10.0.0.2:80*2 10.0.0.3:80*4; FWM 7+ sh",
            "TCP 192.0.2.10:80 rr checked 10.0.0.1:80*1 10.0.0.2:80*7; FWM 7+ sh",
            "TCP 192.0.2.10:80 rr checked 10.0.0.2:80*2; FWM 7+ sh",
        ],
    ];
    for (list, expected) in lists.iter().zip(expected) {
        let changes: Vec<_> = list.iter().map(|json| change(json)).collect();
        for (after, expected) in [&without, &added, &edited, &only_second]
            .into_iter()
            .zip(expected)
        {
            let mut changed = RuntimeChanges::default();
            changed.make(&file, &changes).unwrap();
            changed.settle(after);
            assert_eq!(shown(&changed.apply(after)), expected, "{list:?}");
        }
    }
}

#[test]
fn timeouts_are_changed_one_by_one() {
    let set = |tcp, tcp_fin, udp| Change::SetTimeouts { tcp, tcp_fin, udp };
    let file = Site::default();
    let mut changed = RuntimeChanges::default();
    let table = [
        (set(0, 0, 0), (900, 120, 300), true),
        (set(60, 0, 0), (60, 120, 300), false),
        (set(0, 0, 30), (60, 120, 30), false),
        (set(900, 120, 300), (900, 120, 300), true),
    ];
    for (change, (tcp, tcp_fin, udp), is_empty) in table {
        changed.make(&file, &[change]).unwrap();
        let expected = Timeouts {
            tcp: Duration::from_secs(tcp),
            tcp_fin: Duration::from_secs(tcp_fin),
            udp: Duration::from_secs(udp),
        };
        assert_eq!(changed.apply(&file).timeouts, expected);
        assert_eq!(changed.is_empty(), is_empty);
    }
}

#[test]
fn sync_daemons_run_unless_the_file_synchronises() {
    let start = |interface: &str| Change::StartSyncDaemon {
        role: SyncRole::Master,
        daemon: SyncDaemon::on(interface.to_owned(), 7),
    };
    let stop = || Change::StopSyncDaemon {
        role: SyncRole::Master,
    };
    let file = Site::default();
    let mut synchronised = Site::default();
    synchronised.settings.sync = true;
    // Lists that are made one after the other; whether they are made, and on which interface it runs then.
    let table = [
        (vec![stop()], Err(Why::NoDaemon), None),
        (vec![start("")], Err(Why::Invalid), None),
        (vec![start("an interface of 17")], Err(Why::Invalid), None),
        (vec![start("eth0"), stop()], Ok(()), None),
        (vec![start("eth0")], Ok(()), Some("eth0")),
        (vec![start("eth0")], Err(Why::DaemonRuns), Some("eth0")),
        // What a list that takes everything away says is what there is to be.
        (vec![Change::Clear, start("eth0")], Ok(()), Some("eth0")),
        (
            vec![Change::Clear, start("eth1")],
            Err(Why::DaemonRuns),
            Some("eth0"),
        ),
        (vec![stop(), start("eth1")], Ok(()), Some("eth1")),
    ];
    let mut changed = RuntimeChanges::default();
    for (list, expected, interface) in table {
        let made = changed.make(&file, &list).map_err(|refused| refused.why);
        assert_eq!(made, expected, "{list:?}");
        let site = changed.apply(&file);
        let runs = site.sync_daemons.get(&SyncRole::Master);
        assert_eq!(
            runs.map(|daemon| daemon.interface.as_str()),
            interface,
            "{list:?}"
        );
        assert_eq!(changed.is_empty(), interface.is_none());
    }
    // lvs.cf comes to say so itself.
    changed.settle(&synchronised);
    assert!(changed.is_empty());
    for change in [start("eth0"), stop()] {
        assert!(changed.make(&synchronised, &[change]).is_err());
    }
}
