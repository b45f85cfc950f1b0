//! What the daemon is told, and what is said of its answers.

use lb_control::{
    control::{
        change::{Change, ServerTerms, ServiceTerms, Why},
        table::Table,
    },
    ipvsadm::Program,
    model::{Forwarding, Protocol, Scheduler, SchedulerFlags, Selector, Tunnel},
};

use super::{
    director::{Fixed, Rules, run, run_as},
    fixture::{V4_ONES, V6_ONES, server, service},
};

/// The one change that a command line makes, and what it says.
fn change(words: &str) -> (Change, String) {
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    let mut director = Fixed::default();
    let ended = run(&mut director, &words);
    assert_eq!(ended.status, 0, "{words:?}: {}", ended.err);
    assert_eq!(ended.out, "");
    let mut changes = director.changes();
    assert_eq!(changes.len(), 1);
    (changes.remove(0), ended.err)
}

fn by_default() -> ServiceTerms {
    ServiceTerms {
        scheduler: Some(Scheduler::Wlc),
        flags: Some(SchedulerFlags::default()),
        persistent: Some(0),
        mask: Some(V4_ONES),
        engine: Some(String::new()),
        one_packet: Some(false),
        ..ServiceTerms::default()
    }
}

#[test]
fn an_edit_says_everything() {
    let (edit, err) = change("-E -t 192.0.2.1:80");
    let expected = Change::EditService {
        service: "TCP 192.0.2.1:80".parse().unwrap(),
        terms: by_default(),
    };
    assert_eq!((edit, err.as_str()), (expected, ""));
    let (edit, _) = change("-e -t 192.0.2.1:80 -r 10.0.0.1:8080");
    let expected = Change::EditServer {
        service: "TCP 192.0.2.1:80".parse().unwrap(),
        // Only masquerading changes the port.
        server: "10.0.0.1:80".parse().unwrap(),
        terms: ServerTerms {
            name: None,
            forwarding: Some(Forwarding::Direct),
            weight: Some(1),
            upper: Some(0),
            lower: Some(0),
        },
    };
    assert_eq!(edit, expected);
}

#[test]
fn options_become_terms() {
    let (add, _) = change("-A -t [2001:db8::1]:80 -s mh -b mh-port,flag-3 -p 60 -M 64");
    let expected = Change::AddService {
        service: "TCP [2001:db8::1]:80".parse().unwrap(),
        terms: ServiceTerms {
            scheduler: Some(Scheduler::Mh),
            flags: Some(SchedulerFlags {
                fallback: false,
                port: true,
                compat: true,
            }),
            persistent: Some(60),
            mask: Some("ffff:ffff:ffff:ffff::".parse().unwrap()),
            forwarding: Some(Forwarding::Direct),
            ..by_default()
        },
    };
    assert_eq!(add, expected);
    let (add, _) = change(
        "-a -u 192.0.2.1:53 -r 10.0.0.1 -i --tun-type gue --tun-port 6080 --tun-csum -w 7 -x 9 -y 8",
    );
    let Change::AddServer { server, terms, .. } = add else {
        panic!("{add:?}");
    };
    assert_eq!(server, "10.0.0.1:53".parse().unwrap());
    let tunnel = Tunnel::Gue {
        port: 6080,
        checksum: true,
    };
    assert_eq!(
        terms,
        ServerTerms {
            name: None,
            forwarding: Some(Forwarding::Tunnel { tunnel }),
            weight: Some(7),
            upper: Some(9),
            lower: Some(8),
        }
    );
}

#[test]
fn what_is_not_the_same_is_said() {
    let (add, err) = change("-A -u 192.0.2.1:5060 -p --pe sip");
    let Change::AddService { terms, .. } = add else {
        panic!("{add:?}");
    };
    assert_eq!(terms.engine.as_deref(), Some("sip"));
    assert_eq!(terms.persistent, Some(360));
    assert_eq!(
        err,
        "UDP 192.0.2.1:5060: clients are told apart by their addresses, not by the Call-ID of SIP\n"
    );
    let (_, err) = change("-A -t 192.0.2.1:80 -s rr -b flag-3");
    assert_eq!(err, "TCP 192.0.2.1:80: flag-3 means nothing to rr\n");
    let (add, err) = change("-A -f 7 -6");
    assert_eq!(
        err,
        "FWM 7 IPv6: no rule of iptables or nft that sets mark 7 could be read: nothing belongs to the group yet\n"
    );
    let Change::AddService { terms, .. } = add else {
        panic!("{add:?}");
    };
    assert_eq!(terms.matches, Some(Vec::new()));
    assert_eq!(terms.mask, Some(V6_ONES));
}

#[test]
fn a_mark_is_what_the_packet_filter_says() {
    let rules = Rules(
        "*mangle\n-A PREROUTING -d 192.0.2.7/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x7/0xffffffff\nCOMMIT\n",
    );
    let mut director = Fixed::default();
    let words = ["-A", "-f", "7"];
    let ended = run_as(
        Program::Ipvsadm,
        "ipvsadm",
        &mut director,
        &words,
        "",
        &rules,
    );
    assert_eq!((ended.err.as_str(), ended.status), ("", 0));
    let [Change::AddService { terms, .. }] = &director.changes()[..] else {
        panic!("{:?}", director.changes());
    };
    let selector = Selector {
        address: "192.0.2.7".parse().unwrap(),
        protocol: Protocol::Tcp,
        first: 80,
        last: 80,
    };
    assert_eq!(terms.matches, Some(vec![selector]));
}

#[test]
fn an_edit_does_not_end_full_nat() {
    let mut row = service("TCP 192.0.2.1:80", Scheduler::Wlc);
    row.servers = vec![server("10.0.0.1:8080", Forwarding::FullNat, [1, 0, 0])];
    let mut director = Fixed::with(Table {
        services: vec![row],
        ..Table::default()
    });
    let words = [
        "-e",
        "-t",
        "192.0.2.1:80",
        "-r",
        "10.0.0.1:8080",
        "-m",
        "-w",
        "0",
    ];
    assert_eq!(run(&mut director, &words).status, 0);
    let [Change::EditServer { terms, .. }] = &director.changes()[..] else {
        panic!("{:?}", director.changes());
    };
    assert_eq!(terms.forwarding, Some(Forwarding::FullNat));
    assert_eq!(terms.weight, Some(0));
}

#[test]
fn refusals_are_those_of_the_kernel() {
    let service = "-t 192.0.2.1:80";
    let server = "-t 192.0.2.1:80 -r 10.0.0.1";
    for (verb, rest, why, err) in [
        (
            "-A",
            service,
            Why::ServiceExists,
            "Service already exists\n",
        ),
        ("-E", service, Why::NoService, "No such service\n"),
        ("-D", service, Why::NoService, "No such service\n"),
        ("-Z", service, Why::NoService, "No such service\n"),
        ("-a", server, Why::NoService, "Service not defined\n"),
        ("-e", server, Why::NoService, "Service not defined\n"),
        ("-d", server, Why::NoService, "Service not defined\n"),
        (
            "-a",
            server,
            Why::ServerExists,
            "Destination already exists\n",
        ),
        ("-e", server, Why::NoServer, "No such destination\n"),
        ("-d", server, Why::NoServer, "No such destination\n"),
        (
            "--start-daemon",
            "master",
            Why::DaemonRuns,
            "Daemon has already run\n",
        ),
        (
            "--start-daemon",
            "backup --mcast-interface eth9",
            Why::NoInterface,
            "No such device\n",
        ),
        (
            "--stop-daemon",
            "backup",
            Why::NoDaemon,
            "No daemon is running\n",
        ),
        (
            "-A",
            service,
            Why::Invalid,
            "Invalid operation.  Possibly wrong module version, address not unicast, ...\nbecause\n",
        ),
    ] {
        let words = format!("{verb} {rest}");
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        let ended = run(&mut Fixed::refusing(0, why), &words);
        assert_eq!((ended.err.as_str(), ended.status), (err, 255), "{words:?}");
    }
}

#[test]
fn what_is_not_here_is_refused_in_one_line() {
    let words = "-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue --tun-port 1 --tun-remcsum";
    let words: Vec<_> = words.split(' ').collect();
    let mut director = Fixed::default();
    let ended = run(&mut director, &words);
    assert_eq!(ended.status, 255);
    assert_eq!(ended.err.lines().count(), 1);
    assert_eq!(director.changes(), []);
}

#[test]
fn without_permission_nothing_is_done() {
    for (words, status) in [
        (&["-Ln"][..], 1),
        (&["-S"], 1),
        (&["-L", "--timeout"], 1),
        (&["-C"], 255),
    ] {
        let mut director = Fixed {
            is_closed: true,
            ..Fixed::default()
        };
        let ended = run(&mut director, words);
        assert_eq!(ended.err, "Permission denied (you must be root)\n");
        assert_eq!((ended.out.as_str(), ended.status), ("", status));
    }
}

#[test]
fn the_help_names_every_option() {
    let ended = run(&mut Fixed::default(), &["-h"]);
    assert_eq!((ended.err.as_str(), ended.status), ("", 0));
    for option in [
        "add-service",
        "edit-service",
        "delete-service",
        "clear",
        "restore",
        "save",
        "add-server",
        "edit-server",
        "delete-server",
        "list",
        "zero",
        "set",
        "start-daemon",
        "stop-daemon",
        "help",
        "version",
        "tcp-service",
        "udp-service",
        "sctp-service",
        "fwmark-service",
        "ipv6",
        "scheduler",
        "pe",
        "persistent",
        "netmask",
        "real-server",
        "gatewaying",
        "ipip",
        "masquerading",
        "tun-type",
        "tun-port",
        "tun-nocsum",
        "tun-csum",
        "tun-remcsum",
        "weight",
        "u-threshold",
        "l-threshold",
        "connection",
        "timeout",
        "daemon",
        "stats",
        "rate",
        "exact",
        "thresholds",
        "persistent-conn",
        "tun-info",
        "nosort",
        "sort",
        "ops",
        "numeric",
        "sched-flags",
        "syncid",
        "sync-maxlen",
        "mcast-interface",
        "mcast-group",
        "mcast-port",
        "mcast-ttl",
    ] {
        assert!(ended.out.contains(&format!("--{option}")), "--{option}");
    }
}
