//! What an lvs.cf means, and what is said about it.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::{sync::Arc, time::Duration};

use lb_control::{
    config::{
        self, Colour, Director, Format, Outcome, Verdict,
        directives::{Effect, Entry, GLOBALS, Kind, SERVERS, SERVICES},
        interfaces::{Interfaces, State},
    },
    model::{
        Check, CheckedAt, Expect, Family, FloatingAddress, Forwarding, Greeting, Grpc, Http,
        Persistence, Probe, Protocol, Question, RealServer, Refusal, Scheduler, SchedulerFlags,
        Selector, ServiceAddress, ServiceId, Settings, Tls, Tunnel, VirtualService,
    },
};

const WEB_TOOL: &str = include_str!("data/web-tool.cf");

#[test]
fn a_file_of_the_web_tool_means_what_it_meant() {
    let said = config::parse("lvs.cf", WEB_TOOL.as_bytes());
    let (global, site) = said
        .site
        .as_ref()
        .unwrap_or_else(|| panic!("{:#?}", said.diagnostics));

    assert_eq!(global.primary, director("192.0.2.2", "10.99.0.2"));
    assert_eq!(global.backup, director("192.0.2.3", "10.99.0.3"));
    assert!(global.backup_active && global.monitor_links && global.sync.is_none());
    assert_eq!(
        (global.keepalive, global.deadtime),
        (seconds(6), seconds(18))
    );

    let key = |port, protocol| ServiceAddress {
        address: ip("192.0.2.10"),
        port,
        protocol,
    };
    let probe = |check| Probe::new(check, seconds(6), seconds(15));
    let web = probe(talk(
        Some("GET / HTTP/1.0\r\n\r\n"),
        Some(Expect::Prefix(b"HTTP".to_vec())),
    ));
    let http = VirtualService {
        persistence: Some(Persistence {
            timeout: seconds(300),
            mask: ip("255.255.255.255"),
        }),
        servers: vec![
            server("web1", "10.0.0.11:80", 1),
            server("web2", "10.0.0.12:8080", 1),
        ],
        ..VirtualService::new("http", key(80, Protocol::Tcp), Scheduler::Wlc, web)
    };
    let script = probe(program(&["/usr/local/bin/check-dns", "%h"], Some("OK")));
    let dns = VirtualService {
        quiesce: true,
        servers: vec![server("dns1", "10.0.0.13:53", 3)],
        ..VirtualService::new("dns", key(53, Protocol::Udp), Scheduler::Rr, script)
    };
    assert_eq!(site.settings, Settings::default());
    assert_eq!(site.services, [http, dns].map(Arc::new));
    assert_eq!(
        site.addresses,
        [
            floating("192.0.2.10", 24, "eth0", "eth0:1"),
            floating("10.0.0.254", 24, "eth1", "eth1:1"),
        ]
    );
}

/// What each kind of check becomes.
#[test]
fn kinds_of_checks() {
    let tls = |name: Option<&str>| Tls {
        name: name.map(String::from),
        verify: true,
        authorities: None,
        warn_days: 14,
    };
    let http = || Http {
        is_two: false,
        tls: None,
        is_head: false,
        path: "/".to_owned(),
        host: None,
        status: vec![(200, 399)],
        body: None,
    };
    let dns = Question {
        name: String::new(),
        kind: 6,
        rcode: Some(0),
        answer: None,
    };
    let grpc = |tls| Grpc {
        tls,
        host: None,
        service: String::new(),
    };
    let user = || "lb".to_owned();
    let regex = |text: &str| Some(Expect::Regex(regex::bytes::Regex::new(text).unwrap()));
    let table = [
        // At port 80 nothing is sent that nobody asked for.
        ("check = tcp\n", talk(None, None)),
        (
            "check = udp\nsend = x\nexpect = y\n",
            talk(Some("x"), Some(Expect::Prefix(b"y".to_vec()))),
        ),
        ("check = http\n", Check::Http(http())),
        (
            "check = https\ncheck_method = HEAD\ncheck_path = /a?b\ncheck_host = w.example:8443\n\
             check_status = \"200, 204-206\"\n",
            Check::Http(Http {
                tls: Some(tls(Some("w.example"))),
                is_head: true,
                path: "/a?b".to_owned(),
                host: Some("w.example:8443".to_owned()),
                status: vec![(200, 200), (204, 206)],
                ..http()
            }),
        ),
        (
            "check = h2\ncheck_sni = s.example\ncheck_verify = 0\ncheck_expiry = 0\ncheck_body = \"^OK\"\n",
            Check::Http(Http {
                is_two: true,
                tls: Some(Tls {
                    verify: false,
                    warn_days: 0,
                    ..tls(Some("s.example"))
                }),
                body: regex("^OK"),
                ..http()
            }),
        ),
        (
            "check = h2c\n",
            Check::Http(Http {
                is_two: true,
                ..http()
            }),
        ),
        ("check = grpc\n", Check::Grpc(grpc(None))),
        (
            "check = grpcs\ncheck_name = a.B\ncheck_ca = /ca.pem\n",
            Check::Grpc(Grpc {
                service: "a.B".to_owned(),
                ..grpc(Some(Tls {
                    authorities: Some("/ca.pem".into()),
                    ..tls(None)
                }))
            }),
        ),
        (
            "check = tls\nexpect = \"* OK\"\n",
            Check::Tls {
                tls: tls(None),
                send: None,
                expect: Some(Expect::Prefix(b"* OK".to_vec())),
            },
        ),
        ("check = dns\n", Check::Dns(dns.clone())),
        (
            "check = dns\ncheck_name = w.example.\ncheck_type = AAAA\ncheck_rcode = any\ncheck_answer = ::1\n",
            Check::Dns(Question {
                name: "w.example".to_owned(),
                kind: 28,
                rcode: None,
                answer: Some("::1".to_owned()),
            }),
        ),
        ("check = icmp\n", Check::Icmp),
        (
            "check = smtp\n",
            Check::Greeting(Greeting::Smtp { name: None }),
        ),
        (
            "check = mysql\n",
            Check::Greeting(Greeting::MySql { user: user() }),
        ),
        (
            "check = postgresql\n",
            Check::Greeting(Greeting::PostgreSql { user: user() }),
        ),
        ("check = redis\n", Check::Greeting(Greeting::Redis)),
    ];
    for (lines, check) in table {
        let said = parse(&service(lines));
        let (_, site) = said
            .site
            .unwrap_or_else(|| panic!("{lines}: {:?}", said.diagnostics));
        let service = &site.services[0];
        assert_eq!(service.probe.as_ref().unwrap().check, check, "{lines}");
        let protocol = match lines.contains("= udp") {
            true => Protocol::Udp,
            false => Protocol::Tcp,
        };
        assert_eq!(service.check_protocol, protocol, "{lines}");
    }
}

/// What there is to a probe besides what is tried.
#[test]
fn when_servers_are_believed() {
    type Change = fn(&mut Probe);
    let words = |text: &str| -> Vec<String> { text.split(' ').map(String::from).collect() };
    let table: &[(&str, Change)] = &[
        ("", |_| {}),
        ("rise = 3\n", |p| (p.rise, p.reentry) = (3, seconds(0))),
        ("rise = 3\nreentry = 20\n", |p| {
            (p.rise, p.reentry) = (3, seconds(20))
        }),
        ("fall = 3\ncheck_retries = 2\n", |p| {
            (p.fall, p.retries) = (3, 2)
        }),
        ("check_timeout = 500ms\n", |p| {
            p.limit = Some(Duration::from_millis(500))
        }),
        ("check_jitter = 0\ndamping = 1m\n", |p| {
            (p.jitter, p.damping) = (0, seconds(60));
        }),
        ("slow_start = 0\nagent_port = 9999\n", |p| {
            (p.slow_start, p.agent) = (false, Some(9999));
        }),
        ("method = direct\ncheck_at = vip\n", |p| {
            p.at = CheckedAt::Vip
        }),
    ];
    let of = |global: &str, lines: &str| {
        let said = parse(&format!("{global}{}", service(lines)));
        let (_, site) = said.site.unwrap();
        site.services[0].probe.clone().unwrap()
    };
    for (lines, change) in table {
        let mut expected = Probe::new(talk(None, None), seconds(10), seconds(180));
        change(&mut expected);
        assert_eq!(of("", &format!("port = 25\n{lines}")), expected, "{lines}");
    }
    let loads = [
        ("none", None),
        ("rup", Some("rup %h")),
        ("ruptime", Some("ruptime %h")),
        ("uptime", Some("ssh -x %h uptime")),
        ("\"/c -v\"", Some("/c -v %h")),
        ("\"/c %h 1\"", Some("/c %h 1")),
    ];
    for (monitor, command) in loads {
        let load = of(
            "rsh_command = \"ssh -x\"\n",
            &format!("load_monitor = {monitor}\n"),
        )
        .load;
        assert_eq!(load, command.map(words), "{monitor}");
    }
}

#[test]
fn probes() {
    let web = talk(
        Some("GET / HTTP/1.0\r\n\r\n"),
        Some(Expect::Prefix(b"HTTP".to_vec())),
    );
    let regex = |text: &str| Some(Expect::Regex(regex::bytes::Regex::new(text).unwrap()));
    let table = [
        ("", web.clone()),
        ("send = \"\"\n", web),
        ("port = 25\n", talk(None, None)),
        ("protocol = udp\n", talk(None, None)),
        ("send = QUIT\n", talk(Some("QUIT"), None)),
        ("send = 'a b\\n'\n", talk(Some("a b\n"), None)),
        ("expect = *\n", talk(None, Some(Expect::Anything))),
        (
            "expect = \"220 \" \n",
            talk(None, Some(Expect::Prefix(b"220 ".to_vec()))),
        ),
        (
            "expect = \"a\\.b\"\n",
            talk(None, Some(Expect::Prefix(b"a\\.b".to_vec()))),
        ),
        (
            "expect = \"^a\\.b\"\nuse_regex = 1\n",
            talk(None, regex("^a\\.b")),
        ),
        (
            "expect = \"^a\\\\.b\"\nuse_regex = 1\n",
            talk(None, regex("^a\\.b")),
        ),
        (
            "expect = *\nuse_regex = 1\n",
            talk(None, Some(Expect::Anything)),
        ),
        (
            "send_program = \"/c -H  %h\"\n",
            program(&["/c", "-H", "%h"], None),
        ),
        (
            "send_program = /c\nexpect = OK\nsend = x\n",
            program(&["/c"], Some("OK")),
        ),
    ];
    for (lines, check) in table {
        let said = parse(&service(lines));
        let (_, site) = said
            .site
            .unwrap_or_else(|| panic!("{lines}: {:?}", said.diagnostics));
        assert_eq!(
            site.services[0].probe.as_ref().unwrap().check,
            check,
            "{lines}"
        );
    }
}

#[test]
fn floating_addresses() {
    let plain = |address, prefix| vec![floating(address, prefix, "eth0", "eth0:1")];
    let table = [
        ("address = 10.0.0.9 eth0:1\n", plain("10.0.0.9", 32)),
        (
            "address = 10.0.0.9 eth0\n",
            vec![floating("10.0.0.9", 32, "eth0", "eth0")],
        ),
        (
            "address = 10.0.0.9 eth0:1\nvip_nmask = 0.0.0.0\n",
            plain("10.0.0.9", 32),
        ),
        (
            "address = 10.0.0.9 eth0:1\nvip_nmask = 255.255.255.0\n",
            plain("10.0.0.9", 24),
        ),
        (
            "address = 10.0.0.9 eth0:1\nvip_nmask = 24\n",
            plain("10.0.0.9", 24),
        ),
        (
            "address = 10.0.0.9 eth0:1\nvip_nmask = 255.0.255.0\n",
            plain("10.0.0.9", 32),
        ),
        ("address = 10.0.0.9/16 eth0:1\n", plain("10.0.0.9", 16)),
        (
            "address = 10.0.0.9/16 eth0:1\nvip_nmask = 255.255.255.0\n",
            plain("10.0.0.9", 16),
        ),
        ("address = 2001:db8::9 eth0:1\n", plain("2001:db8::9", 128)),
        (
            "address = 2001:db8::9/64 eth0:1\n",
            plain("2001:db8::9", 64),
        ),
        (
            "address = 2001:db8::9 eth0:1\nvip_nmask = 64\n",
            plain("2001:db8::9", 64),
        ),
        (
            "address = 2001:db8::9 eth0:1\nvip_nmask = 255.255.255.0\n",
            plain("2001:db8::9", 128),
        ),
    ];
    for (lines, addresses) in table {
        let said = parse(&format!("virtual v {{\nactive = 1\n{lines}}}\n"));
        let (_, site) = said
            .site
            .unwrap_or_else(|| panic!("{lines}: {:?}", said.diagnostics));
        assert_eq!(site.addresses, addresses, "{lines}");
    }
}

/// `|` stands for a line end; what is said is `line:column severity: part of the message`.
#[test]
fn what_is_said() {
    let table: &[(&str, &[&str])] = &[
        // The way a file is written.
        ("", &["1:1 error: the file is empty"]),
        ("keepalve = 6", &["1:1 error: unknown directive `keepalve`"]),
        ("  keepalive 6", &["1:13 error: `=` expected"]),
        ("keepalive", &["1:1 error: missing arguments"]),
        ("keepalive = 6 x", &["1:15 error: unexpected arguments"]),
        (
            "ipvsadm = \"a b",
            &["1:11 error: the quotation is not closed"],
        ),
        (
            "ipvsadm = \"a\"b",
            &["1:11 error: no blank after the closing quote"],
        ),
        (
            "\"keepalive\" = 2",
            &["1:1 error: a directive's name cannot be quoted"],
        ),
        ("keepalive=2", &["1:10 warning: no blanks around `=`"]),
        (
            "keepalive = 2 # 'tis",
            &["1:15 warning: a comment after a directive"],
        ),
        (
            "keepalive = x|deadtime = y",
            &["1:13 error: time expected", "2:12 error: time expected"],
        ),
        (
            "virtual v|{|}",
            &["2:1 warning: the brace is not on the line"],
        ),
        ("virtual v{|}", &["1:9 warning: the brace touches the name"]),
        ("virtual v|active = 0|}", &["1:1 error: missing arguments"]),
        ("virtual {|}", &["1:1 error: missing arguments"]),
        (
            "virtual v { active = 1 }",
            &["1:13 error: unexpected arguments"],
        ),
        ("virtual v {", &["1:9 warning: virtual `v` is never closed"]),
        (
            "virtual v {|} x",
            &["2:3 warning: `x` after the closing brace"],
        ),
        ("virtual v {|} # x", &[]),
        ("}", &["1:1 error: a closing brace without a block"]),
        ("{", &["1:1 error: this brace belongs to no block"]),
        ("server s {|}", &["1:1 error: a server block outside"]),
        (
            "virtual v {|virtual w {|}",
            &["2:1 error: a virtual block inside a block"],
        ),
        (
            "virtual v {|keepalive = 2|}",
            &["2:1 error: `keepalive` cannot stand in a virtual block"],
        ),
        (
            "virtual v {|server s {|nmask = 1|}|}",
            &["3:1 error: unknown directive `nmask` in a server block"],
        ),
        // Values.
        (
            "network = NAT",
            &["1:11 error: invalid argument, not `NAT`"],
        ),
        ("primary = 10.0.0.300", &["1:11 error: invalid host name"]),
        ("primary = 10.0.0.1/24", &["1:11 error: invalid host name"]),
        (
            "primary = 0.0.0.0",
            &["1:11 error: `primary` must be an address"],
        ),
        ("backup_active = 2", &["1:17 error: boolean expected"]),
        (
            "heartbeat_port = nosuch-service",
            &["1:18 error: invalid port"],
        ),
        ("nat_router = 10.0.0.1", &["1:14 error: missing arguments"]),
        (
            "nat_router = 10.0.0.1/33 eth0",
            &["1:14 error: invalid prefix length"],
        ),
        (
            "tcp_timeout = 99999999999",
            &["1:15 warning: `99999999999` is too large"],
        ),
        // Directives without effect.
        (
            "service = fos",
            &["1:1 warning: no failover block is active"],
        ),
        ("keepalive = 1", &[]),
        (
            "heartbeat = 0|heartbeat = 1|syncdaemon = 0|hard_shutdown = 1",
            &[],
        ),
        (
            "hard_shutdown = 0",
            &["1:1 warning: `hard_shutdown` has no effect: "],
        ),
        (
            "failover f {|active = 1|}",
            &["1:10 warning: failover `f` has no effect: `service` is lvs"],
        ),
        // Failover services.
        (
            "service = fos|failover f {|active = 1|}",
            &["2:10 error: failover `f` is active and has no address"],
        ),
        (
            "service = fos|failover f {|active = 1|address = 192.0.2.1 eth0:1|vip_nmask = 255.255.255.0|}",
            &[
                "2:10 warning: failover `f` has no `start_cmd`",
                "2:10 warning: failover `f` has no `stop_cmd`",
            ],
        ),
        (
            "service = fos|network = nat|nat_router = 10.0.0.1 eth1|failover f {|active = 1|address = 192.0.2.1 eth0:1|\
             port = 0|scheduler = rr|start_cmd = a|stop_cmd = b|server s {|active = 1|}|}|virtual v {|active = 1|}",
            &[
                "3:14 warning: `nat_router` is ignored",
                "7:8 error: a failover service has one port",
                "8:13 warning: `scheduler` has no effect in a failover block",
                "11:8 warning: servers of a failover block have no effect",
                "15:9 warning: virtual `v` has no effect: `service` is fos",
            ],
        ),
        (
            "virtual v {|active = 1|address = 192.0.2.1 eth0:1|start_cmd = a|server s {|active = 1|address = 10.0.0.1|weight = 1|}|}",
            &["4:13 warning: `start_cmd` has no effect in a virtual block"],
        ),
        (
            "virtual v {|persistent = 300|pmask = x|load_monitor = rup|}",
            &["3:9 warning: `x` is no mask and ignored"],
        ),
        // Settings of ours.
        ("sloppy_tcp = 2", &["1:14 error: boolean expected"]),
        (
            "conn_reuse_mode = 4",
            &["1:19 error: invalid argument, not `4`"],
        ),
        ("stateless_above = -1", &["1:19 error: -1 is out of range"]),
        (
            "answers_per_second = -1",
            &["1:22 error: -1 is out of range"],
        ),
        ("snat_ports = 9-1", &["1:14 error: 9 to 1 is no range"]),
        ("snat_ports = 0", &["1:14 error: 0 to 0 is no range"]),
        (
            "mh_secret = short",
            &["1:13 error: the secret is too short"],
        ),
        (
            "mh_secret = correct horse battery staple",
            &["1:21 error: unexpected arguments from the second word on"],
        ),
        ("flow_table = 63", &["1:14 error: 63 is out of range"]),
        (
            "flow_table = 1000|half_open = 1001",
            &["2:13 error: 1001 is out of range"],
        ),
        (
            "tcp_timeout = 1001ms",
            &["1:15 warning: only whole seconds are counted here; 2 are used"],
        ),
        (
            "nat_router = 0.0.0.0 eth0",
            &["1:14 warning: 0.0.0.0 is a placeholder"],
        ),
        // Between directives.
        (
            "keepalive = 5500ms",
            &["1:13 warning: `deadtime` is not longer"],
        ),
        (
            "keepalive = 2|deadtime = 2",
            &["2:12 warning: `deadtime` is not longer"],
        ),
        (
            "backup_active = 1",
            &["1:17 warning: `backup_active` without"],
        ),
        (
            "virtual v {|active = 1|}",
            &[
                "1:9 error: virtual `v` is active and has no address",
                "1:9 warning: virtual `v` has no active server",
            ],
        ),
        (
            "virtual v {|active = 0|address = 0.0.0.0 eth0:1|server [server_name] {|address = 0.0.0.0|}|}",
            &[],
        ),
    ];
    let virtuals: &[(&str, &[&str])] = &[
        // Each follows `virtual v {`, `active = 1`, `address = 10.0.0.9 eth0:1`.
        ("timeout = 0", &["4:11 error: `timeout`"]),
        ("timeout = 49ms", &["4:11 error: `timeout`"]),
        ("timeout = 5d", &["4:11 error: time expected, not `5d`"]),
        (
            "persistent = 1500ms",
            &["4:14 warning: only whole seconds are counted here; 2 are used"],
        ),
        (
            "timeout = 2s|reentry = 1999ms",
            &["5:11 warning: `reentry` is shorter"],
        ),
        (
            "timeout = 9|reentry = 3",
            &["5:11 warning: `reentry` is shorter"],
        ),
        ("port = 70000", &["4:8 error: 70000 is no port"]),
        ("port = -1", &["4:8 error: -1 is no port"]),
        (
            "port = 0",
            &[
                "1:9 error: there is no port at which",
                "4:8 warning: a service of all ports without `persistent`",
            ],
        ),
        ("port = 0|persistent = 60|check_port = 80", &[]),
        ("port = 0|persistent = 60|send_program = /c", &[]),
        (
            "port = 0|persistent = 60|send_program = \"/c %p\"",
            &["1:9 error: there is no port at which"],
        ),
        ("port = 1000-2000", &[]),
        (
            "port = 2000-1000",
            &["4:8 error: 2000 to 1000 is no range of ports"],
        ),
        ("port = 0-10", &["4:8 error: 0 to 10 is no range of ports"]),
        (
            "port = 1000-66000",
            &["4:8 error: invalid port, not `1000-66000`"],
        ),
        ("check_port = 0", &["4:14 error: 0 is no port"]),
        (
            "check_at = vip",
            &["4:12 error: masqueraded servers do not have the virtual IP"],
        ),
        (
            "method = fullnat|check_at = vip",
            &["5:12 error: masqueraded servers do not have the virtual IP"],
        ),
        ("method = direct|check_at = vip", &[]),
        ("method = tunnel|check_at = vip|check = https", &[]),
        ("check_at = server", &[]),
        ("check_at = there", &["4:12 error: invalid argument"]),
        (
            "method = direct|check_at = vip|send_program = /c",
            &["5:12 error: a `send_program` cannot ask at the virtual IP"],
        ),
        (
            "method = direct|check = icmp|check_at = vip",
            &["6:12 error: an echo cannot be asked for at the virtual IP"],
        ),
        (
            "method = direct|protocol = sctp|check_at = vip",
            &["6:12 error: SCTP cannot be checked at the virtual IP"],
        ),
        ("check = ssh", &["4:9 error: invalid argument"]),
        ("check = http", &[]),
        (
            "check = https|check_path = health",
            &["5:14 error: no path of a page"],
        ),
        (
            "check = http|check_status = 99-200",
            &["5:16 error: these are no status codes"],
        ),
        (
            "check = http|check_body = \"(\"",
            &["5:14 error: `check_body` is not a regular expression"],
        ),
        (
            "check = http|check_method = HEAD|check_body = OK",
            &["6:14 error: `check_body` has nothing to look at"],
        ),
        (
            "check = https|check_sni = \"a b\"",
            &["5:13 error: no certificate could be for this"],
        ),
        (
            "check = tls|check_ca = ca.pem",
            &["5:12 error: not a path from the root"],
        ),
        (
            "check = tls|check_verify = 0|check_ca = /ca.pem",
            &["6:12 warning: `check_ca` is ignored"],
        ),
        (
            "check = dns|check_name = a..b",
            &["5:14 error: no name of DNS"],
        ),
        (
            "check = icmp|send = x|check_path = /x",
            &[
                "5:8 warning: `send` is ignored: `check = icmp` does not look at it",
                "6:14 warning: `check_path` is ignored: `check = icmp` does not look at it",
            ],
        ),
        (
            "check_path = /x",
            &["4:14 warning: `check_path` has no effect without `check`"],
        ),
        ("check_retries = 11", &["4:17 error: 11 is out of range"]),
        ("check_jitter = -1", &["4:16 error: -1 is out of range"]),
        (
            "check_timeout = 0",
            &["4:17 error: no check can be made in this time"],
        ),
        ("rise = 0", &["4:8 error: 0 is out of range"]),
        ("rise = 3|fall = 2", &[]),
        ("damping = -1", &["4:11 error: `damping` is a time"]),
        ("agent_port = 0", &["4:14 error: 0 is out of range"]),
        ("port = 0|persistent = 60|check = icmp", &[]),
        ("scheduler = wcl", &["4:13 error: invalid argument"]),
        (
            "fwmark = 1",
            &["4:10 warning: without a `match`, the group 1 is TCP 10.0.0.9:80 alone"],
        ),
        (
            "match = \"tcp 10.0.0.9:80\"",
            &["4:9 error: `match` is for groups, and the block has no `fwmark`"],
        ),
        (
            "fwmark = 1|match = tcp 10.0.0.9:80",
            &["5:13 error: unexpected arguments"],
        ),
        (
            "fwmark = 1|match = \"icmp 10.0.0.9\"",
            &["5:9 error: invalid protocol, not"],
        ),
        (
            "fwmark = 1|match = tcp",
            &["5:9 error: an address is missing, not `tcp`"],
        ),
        (
            "fwmark = 1|match = \"tcp 10.0.0.300:80\"",
            &["5:9 error: `10.0.0.300` is no address"],
        ),
        (
            "fwmark = 1|match = \"esp 10.0.0.9:80\"",
            &["5:9 error: ESP has no ports"],
        ),
        (
            "fwmark = 1|match = \"tcp 10.0.0.9:80,90-81\"",
            &["5:9 error: `90-81` is no port and no range"],
        ),
        (
            "fwmark = 1|match = \"tcp 10.0.0.9:80\"|match = \"tcp [2001:db8::9]:80\"",
            &["6:9 error: 2001:db8::9 and 10.0.0.9 are not of one address family"],
        ),
        (
            "fwmark = 1|match = \"tcp 10.0.0.8:80\"",
            &["3:11 warning: no `match` names 10.0.0.9"],
        ),
        (
            "fwmark = 1|match = \"tcp 10.0.0.9:80\"|match = \"tcp 10.0.0.9:70-90\"",
            &["5:9 warning: TCP 10.0.0.9:80 is in the group already"],
        ),
        (
            "fwmark = 1|match = \"esp 10.0.0.9\"",
            &["1:9 error: there is no port at which"],
        ),
        ("fwmark = 1|match = \"esp 10.0.0.9\"|check_port = 22", &[]),
        (
            "fwmark = 1|match = \"esp 10.0.0.9\"|send_program = \"/c %h\"",
            &[],
        ),
        (
            "sched_flags = sh-port",
            &["4:15 error: `sh-port` is a flag of `scheduler = sh`, not of wlc"],
        ),
        (
            "scheduler = mh|sched_flags = sh-port,mh-compat",
            &["5:15 error: `sh-port` is a flag of `scheduler = sh`, not of mh"],
        ),
        (
            "sched_flags = port",
            &["4:15 error: `port` is none of them"],
        ),
        ("ops = 1", &["4:7 error: `ops` is for UDP"]),
        (
            "ops = 1|protocol = udp|send = x|expect = y|persistent = 9",
            &["4:7 error: `ops` and `persistent`"],
        ),
        ("persistent = -1", &["4:14 warning: a negative time"]),
        (
            "pmask = 255.255.255.0",
            &["4:9 warning: `pmask` has no effect without"],
        ),
        (
            "persistent = 9|pmask = 24",
            &["5:9 warning: 24 is read as a prefix length; Piranha read it as 0.0.0.24"],
        ),
        (
            "persistent = 9|pmask = 64",
            &["5:9 error: /64 is no mask for clients of 10.0.0.9"],
        ),
        (
            "sorry_server = 10.0.0.5",
            &["4:16 error: 10.0.0.5:80 is a server of this service already"],
        ),
        (
            "sorry_server = 2001:db8::1",
            &["4:16 error: sorry server and virtual IP are not"],
        ),
        (
            "sorry_server = 10.0.0.7:x",
            &["4:16 error: invalid address"],
        ),
        (
            "method = direct|sorry_server = 10.0.0.7:81",
            &["5:16 warning: packets keep their port; 81 is ignored"],
        ),
        ("method = dr", &["4:10 error: invalid argument"]),
        (
            "tunnel_type = gre",
            &["4:15 warning: this has no effect: it is for a tunnel"],
        ),
        (
            "method = tunnel|tunnel_port = 6080|tunnel_checksum = 1",
            &[
                "5:15 warning: this has no effect: it is for `tunnel_type = gue`",
                "6:19 warning: this has no effect: it is for `tunnel_type = gre`",
            ],
        ),
        (
            "method = tunnel|tunnel_type = gue|tunnel_port = 0",
            &["6:15 error: 0 is no port of a tunnel"],
        ),
        ("drain = -1", &["4:9 error: `drain` is a time"]),
        ("refuse = no", &["4:10 error: invalid argument"]),
        (
            "server t {|active = 1|address = 10.0.0.6|upper_threshold = -1|}",
            &["7:19 error: -1 connections are none"],
        ),
        (
            "server t {|active = 1|address = 10.0.0.6|lower_threshold = 1|}",
            &["7:19 warning: `lower_threshold` has no effect"],
        ),
        (
            "server t {|active = 1|address = 10.0.0.6|upper_threshold = 5|lower_threshold = 6|}",
            &["8:19 error: `lower_threshold` is more than `upper_threshold`, 5"],
        ),
        (
            "server t {|active = 1|address = 10.0.0.6|port = 0|}",
            &["7:8 error: 0 is no port of a server"],
        ),
        (
            "port = 1000-2000|method = direct|server t {|active = 1|address = 10.0.0.6|port = 80|}",
            &["9:8 warning: packets keep their port; 80 is only used to check"],
        ),
        (
            "expect = \"(\"|use_regex = 1",
            &["4:10 error: `expect` is not a regular expression"],
        ),
        (
            "protocol = udp",
            &["4:12 warning: a UDP service without `expect`"],
        ),
        ("send = 'x'", &["4:8 warning: the single quotes"]),
        (
            "send_program = \"/c --host=%h\"",
            &["4:16 warning: %h and %p are replaced only"],
        ),
        (
            "address = 10.0.0.9 interface-name-too-long",
            &["4:11 error: `interface-name-too-long` cannot be"],
        ),
        (
            "server t {|active = 1|}",
            &["4:8 error: server `t` is active and has no address"],
        ),
        (
            "server t {|active = 1|address = 2001:db8::1|}",
            &["6:11 error: server and virtual IP are not"],
        ),
        (
            "server t {|active = 1|address = 10.0.0.6|weight = 70000|}",
            &["7:10 error: weight 70000 is too large"],
        ),
        (
            "server t {|active = 1|address = 10.0.0.6|weight = -1|}",
            &["7:10 warning: weight -1 works as 1"],
        ),
        (
            "server t {|active = 1|address = 10.0.0.5|}",
            &["8:8 error: 10.0.0.5:80 is a server of this service already, at lvs.cf:4"],
        ),
        (
            "server t {|active = 1|address = 10.0.0.6|}|port = 81",
            &["4:8 warning: the server gets port 80"],
        ),
        (
            "}|virtual w {|active = 1|address = 10.0.0.9 eth0:1",
            &[
                "1:9 warning: virtual `v` has no active",
                "5:9 error: TCP 10.0.0.9:80 is a service already, at lvs.cf:1",
            ],
        ),
        (
            "}|virtual w {|port = 81|active = 1|address = 10.0.0.9 eth1:1",
            &[
                "1:9 warning: virtual `v` has no active",
                "8:11 warning: 10.0.0.9 has been put on eth0:1",
            ],
        ),
        (
            "}|virtual w {|port = 81|active = 1|address = 10.0.0.8 eth0:1",
            &[
                "1:9 warning: virtual `v` has no active",
                "8:11 warning: alias `eth0:1` carries 10.0.0.9",
            ],
        ),
    ];
    for (text, expected) in table {
        let text = if text.is_empty() {
            String::new()
        } else {
            format!("{text}|")
        };
        compare(&text.replace('|', "\n"), expected);
    }
    for (lines, expected) in virtuals {
        compare(
            &service(&format!("{}\n", lines.replace('|', "\n"))),
            expected,
        );
    }
}

/// What a service becomes by a directive.
#[test]
fn services() {
    type Change = fn(&mut VirtualService);
    let table: &[(&str, Change)] = &[
        ("", |_| {}),
        ("protocol = sctp\n", |v| {
            with(v, &[(9, Protocol::Sctp, 80, 80)]);
            v.check_protocol = Protocol::Sctp;
            v.probe.as_mut().unwrap().check = talk(None, None);
        }),
        ("method = nat\n", |_| {}),
        ("method = fullnat\n", |v| by(v, Forwarding::FullNat)),
        ("method = direct\n", |v| by(v, Forwarding::Direct)),
        ("method = tunnel\n", |v| by(v, IPIP)),
        (
            "method = tunnel\ntunnel_type = gre\ntunnel_checksum = 1\n",
            |v| {
                let tunnel = Tunnel::Gre { checksum: true };
                by(v, Forwarding::Tunnel { tunnel });
            },
        ),
        ("method = tunnel\ntunnel_type = gue\n", |v| {
            let tunnel = Tunnel::Gue {
                port: 6080,
                checksum: false,
            };
            by(v, Forwarding::Tunnel { tunnel });
        }),
        ("scheduler = twos\n", |v| v.scheduler = Scheduler::Twos),
        ("scheduler = sh\nsched_flags = sh-fallback,sh-port\n", |v| {
            v.scheduler = Scheduler::Sh;
            v.flags = SchedulerFlags {
                fallback: true,
                port: true,
                compat: false,
            };
        }),
        (
            "scheduler = mh\nsched_flags = 'mh-compat, mh-port'\n",
            |v| {
                v.scheduler = Scheduler::Mh;
                v.flags = SchedulerFlags {
                    fallback: false,
                    port: true,
                    compat: true,
                };
            },
        ),
        ("persistent = 300\npmask = 255.255.255.0\n", |v| {
            v.persistence = Some(Persistence {
                timeout: seconds(300),
                mask: ip("255.255.255.0"),
            });
        }),
        ("persistent = 1\npmask = 20\n", |v| {
            v.persistence = Some(Persistence {
                timeout: seconds(1),
                mask: ip("255.255.240.0"),
            });
        }),
        ("sorry_server = 10.0.0.7\n", |v| {
            v.sorry_server = Some("10.0.0.7:80".parse().unwrap());
        }),
        ("sorry_server = 10.0.0.7:81\n", |v| {
            v.sorry_server = Some("10.0.0.7:81".parse().unwrap());
        }),
        ("method = tunnel\nsorry_server = [2001:db8::7]:80\n", |v| {
            by(v, IPIP);
            v.sorry_server = Some("[2001:db8::7]:80".parse().unwrap());
        }),
        ("sorry_server = 0.0.0.0\n", |_| {}),
        ("refuse = unreachable\n", |v| {
            v.refusal = Refusal::Unreachable
        }),
        ("refuse = drop\n", |v| v.refusal = Refusal::Drop),
        ("drain = 0\n", |v| v.drain = Duration::ZERO),
        ("drain = 90\n", |v| v.drain = seconds(90)),
        ("drain = 1500ms\n", |v| {
            v.drain = Duration::from_millis(1500);
        }),
        ("timeout = 500ms\nreentry = 2m\n", |v| {
            let probe = v.probe.as_mut().unwrap();
            (probe.interval, probe.reentry) = (Duration::from_millis(500), seconds(120));
        }),
        ("persistent = 1h\n", |v| {
            v.persistence = Some(Persistence {
                timeout: seconds(3600),
                mask: ip("255.255.255.255"),
            });
        }),
        ("persistent = 1500ms\n", |v| {
            v.persistence = Some(Persistence {
                timeout: seconds(2),
                mask: ip("255.255.255.255"),
            });
        }),
        (
            "address = 10.0.0.8 eth0:2\naddress = 10.0.0.10 eth1\n",
            |v| {
                let tcp = |host| (host, Protocol::Tcp, 80, 80);
                with(v, &[tcp(8), tcp(9), tcp(10)]);
            },
        ),
        ("address = 10.0.0.9 eth1\naddress = 0.0.0.0 eth0\n", |_| {}),
        ("check_port = 8080\n", |v| {
            v.probe.as_mut().unwrap().check = talk(None, None);
            v.servers[0].check_port = 8080;
        }),
        ("port = 1000-2000\n", |v| {
            with(v, &[(9, Protocol::Tcp, 1000, 2000)]);
            v.probe.as_mut().unwrap().check = talk(None, None);
            v.servers[0].socket.set_port(0);
            v.servers[0].check_port = 1000;
        }),
        (
            "port = 0\ncheck_port = 22\nsorry_server = 10.0.0.7\n",
            |v| {
                with(v, &[(9, Protocol::Tcp, 0, 65535)]);
                v.probe.as_mut().unwrap().check = talk(None, None);
                v.servers[0].socket.set_port(0);
                v.servers[0].check_port = 22;
                v.sorry_server = Some("10.0.0.7:0".parse().unwrap());
            },
        ),
        ("fwmark = 7\n", mark),
        ("fwmark = 7\nmatch = \"tcp 10.0.0.9:443,80\"\n", |v| {
            with(
                v,
                &[(9, Protocol::Tcp, 80, 80), (9, Protocol::Tcp, 443, 443)],
            );
            mark(v);
            v.servers[0].socket.set_port(0);
        }),
        (
            "fwmark = 7\nport = 443\nmatch = \"tcp 10.0.0.9:80 10.0.0.8:443\"\n",
            |v| {
                with(
                    v,
                    &[(8, Protocol::Tcp, 443, 443), (9, Protocol::Tcp, 80, 80)],
                );
                mark(v);
                v.probe.as_mut().unwrap().check = talk(None, None);
                v.servers[0].socket.set_port(0);
                v.servers[0].check_port = 443;
            },
        ),
        (
            "fwmark = 7\nmatch = \"esp 10.0.0.9\"\nmatch = \"udp 10.0.0.9:500,4500\"\nexpect = x\n",
            |v| {
                with(
                    v,
                    &[
                        (9, Protocol::Esp, 0, 0),
                        (9, Protocol::Udp, 500, 500),
                        (9, Protocol::Udp, 4500, 4500),
                    ],
                );
                mark(v);
                v.check_protocol = Protocol::Udp;
                v.probe.as_mut().unwrap().check = talk(None, Some(Expect::Prefix(b"x".to_vec())));
                v.servers[0].socket.set_port(0);
                v.servers[0].check_port = 500;
            },
        ),
        (
            "fwmark = 7\nmatch = \"udp 10.0.0.9:10-20,15-30\"\nmatch = \"tcp 10.0.0.9\"\nprotocol = tcp\ncheck_port = 22\n",
            |v| {
                with(
                    v,
                    &[(9, Protocol::Tcp, 0, 65535), (9, Protocol::Udp, 10, 30)],
                );
                mark(v);
                v.check_protocol = Protocol::Tcp;
                v.probe.as_mut().unwrap().check = talk(None, None);
                v.servers[0].socket.set_port(0);
                v.servers[0].check_port = 22;
            },
        ),
    ];
    for (lines, change) in table {
        let said = parse(&service(lines));
        let (_, site) = said
            .site
            .unwrap_or_else(|| panic!("{lines}: {:?}", said.diagnostics));
        let key = ServiceAddress {
            address: ip("10.0.0.9"),
            port: 80,
            protocol: Protocol::Tcp,
        };
        let probe = Probe::new(
            talk(
                Some("GET / HTTP/1.0\r\n\r\n"),
                Some(Expect::Prefix(b"HTTP".to_vec())),
            ),
            seconds(10),
            seconds(180),
        );
        let mut expected = VirtualService {
            servers: vec![server("s", "10.0.0.5:80", 1)],
            ..VirtualService::new("v", key, Scheduler::Wlc, probe)
        };
        change(&mut expected);
        assert_eq!(site.services, [Arc::new(expected)], "{lines}");
    }
}

/// What a server becomes by a directive.
#[test]
fn servers() {
    type Change = fn(&mut RealServer);
    let table: &[(&str, &str, Change)] = &[
        ("", "", |_| {}),
        ("", "weight = 65535\n", |s| s.weight = 65535),
        ("", "weight = 0\n", |_| {}),
        ("", "quiesced = 1\n", |s| s.weight = 0),
        ("", "weight = 0\nquiesced = 1\n", |s| s.weight = 0),
        ("", "upper_threshold = 9\nlower_threshold = 5\n", |s| {
            (s.upper, s.lower) = (9, 5);
        }),
        ("check_port = 9\n", "port = 81\n", |s| {
            s.socket.set_port(81);
            s.check_port = 9;
        }),
        ("port = 10-20\n", "port = 81\n", |s| {
            s.socket.set_port(81);
            s.check_port = 81;
        }),
        ("port = 10-20\n", "port = 0\n", |s| {
            s.socket.set_port(0);
            s.check_port = 10;
        }),
        (
            "fwmark = 1\nmatch = \"tcp 10.0.0.9:70,71\"\n",
            "port = 81\n",
            |s| {
                s.socket.set_port(81);
                s.check_port = 81;
            },
        ),
    ];
    for (of_service, of_server, change) in table {
        let text =
            format!("{of_service}server t {{\nactive = 1\naddress = 10.0.0.6\n{of_server}}}\n");
        let said = parse(&service(&text));
        let (_, site) = said
            .site
            .unwrap_or_else(|| panic!("{text}: {:?}", said.diagnostics));
        let mut expected = server("t", "10.0.0.6:80", 1);
        change(&mut expected);
        assert_eq!(site.services[0].servers[0], expected, "{text}");
    }
}

#[test]
fn settings_for_all_services() {
    type Change = fn(&mut Settings);
    let table: &[(&str, Change)] = &[
        ("", |_| {}),
        ("expire_nodest_conn = 0", |s| s.expire_nodest_conn = false),
        ("expire_quiescent_template = 0", |s| {
            s.expire_quiescent_template = false;
        }),
        ("conn_reuse_mode = 3", |s| s.conn_reuse_mode = 3),
        ("sloppy_tcp = 1", |s| s.sloppy_tcp = true),
        ("sloppy_sctp = 1", |s| s.sloppy_sctp = true),
        ("schedule_icmp = 1", |s| s.schedule_icmp = true),
        ("pmtu_disc = 0", |s| s.pmtu_disc = false),
        ("stateless_above = 0", |s| s.stateless_above = 0),
        ("answers_per_second = 5", |s| s.answers = 5),
        ("snat_ports = 2000-3000", |s| s.snat_ports = (2000, 3000)),
        ("snat_ports = 2000", |s| s.snat_ports = (2000, 2000)),
        ("flow_table = 64\nhalf_open = 64", |s| {
            (s.flows, s.half_open) = (Some(64), Some(64));
        }),
        // sha256sum of the same 16 characters, its first 16 bytes.
        ("mh_secret = 0123456789abcdef", |s| {
            s.secret = [0x9f9f_5111_f7b2_7a78, 0x1f1f_1ddd_e5eb_c2dd];
        }),
    ];
    for (text, change) in table {
        let said = parse(&format!("{text}\n"));
        let (_, site) = said
            .site
            .unwrap_or_else(|| panic!("{text}: {:?}", said.diagnostics));
        let mut expected = Settings::default();
        change(&mut expected);
        assert_eq!(site.settings, expected, "{text}");
    }
}

/// Two services and what is said about their meeting; a block's lines, with `|` for line ends.
#[test]
fn services_that_want_the_same() {
    let group = "fwmark = 1|match = \"tcp 10.0.0.9:80,443,1000-2000\"";
    let table: &[(&str, &str, &[&str])] = &[
        ("", "port = 81", &[]),
        ("", "protocol = udp|expect = x", &[]),
        (
            "",
            "",
            &["TCP 10.0.0.9:80 is a service already, at lvs.cf:1"],
        ),
        ("port = 1000-2000", "port = 1500", &[]),
        ("port = 1000-2000", "port = 999", &[]),
        ("port = 1000-2000", "port = 2001-2002", &[]),
        ("port = 1000-2000", "port = 500-999", &[]),
        (
            "port = 1000-2000",
            "port = 1000-2000",
            &["TCP 10.0.0.9:1000-2000 is a service already, at lvs.cf:1"],
        ),
        (
            "port = 1000-2000",
            "port = 2000-3000",
            &["TCP 10.0.0.9:2000-3000 and TCP 10.0.0.9:1000-2000 overlap; that is at lvs.cf:1"],
        ),
        (
            "port = 1000-2000",
            "port = 500-3000",
            &["TCP 10.0.0.9:500-3000 and TCP 10.0.0.9:1000-2000 overlap"],
        ),
        (
            "port = 1000-2000",
            "port = 1000",
            &["TCP 10.0.0.9:1000 begins with the same port as the service at lvs.cf:1"],
        ),
        (
            "port = 0|persistent = 9|check_port = 1",
            "port = 1000-2000",
            &[],
        ),
        (
            "port = 0|persistent = 9|check_port = 1",
            "port = 0|persistent = 9|check_port = 1",
            &["TCP 10.0.0.9 (all ports) is a service already, at lvs.cf:1"],
        ),
        (group, "port = 81", &[]),
        (group, "port = 1500", &[]),
        (
            group,
            "port = 443",
            &["TCP 10.0.0.9:443 is a service already, at lvs.cf:5"],
        ),
        (
            "port = 443",
            group,
            &["TCP 10.0.0.9:443 is a service already, at lvs.cf:1"],
        ),
        (
            group,
            "fwmark = 1|match = \"tcp 10.0.0.9:81\"",
            &["`fwmark = 1` is a group already, at lvs.cf:4"],
        ),
        (group, "fwmark = 2|match = \"tcp 10.0.0.9:81\"", &[]),
    ];
    for (one, other, expected) in table {
        let block = |lines: &str| service(&format!("{}\n", lines.replace('|', "\n")));
        let text = format!(
            "{}{}",
            block(one),
            block(other).replace("virtual v", "virtual w")
        );
        let said = parse(&text);
        let found: Vec<_> = said.diagnostics.iter().map(|one| &one.message).collect();
        let same = found.len() == expected.len()
            && found
                .iter()
                .zip(*expected)
                .all(|(found, expected)| found.starts_with(expected));
        assert!(same, "{one} and {other}: {found:#?}");
        assert_eq!(
            said.site.is_some(),
            expected.is_empty(),
            "{one} and {other}"
        );
    }
    let both_families = "virtual v {\nactive = 1\nfwmark = 1\naddress = 10.0.0.9 eth0:1\n}\n\
                         virtual w {\nactive = 1\nfwmark = 1\naddress = 2001:db8::9 eth0:1\n}\n";
    assert!(parse(both_families).site.is_some());
}

#[test]
fn every_address_of_a_group_is_put_up() {
    let group = service(
        "vip_nmask = 24\nfwmark = 1\nmatch = \"tcp 10.0.0.9:80 10.0.0.8:80 10.0.0.7:80\"\n",
    );
    let other = "virtual w {\nactive = 1\nport = 81\naddress = 10.0.0.7 eth1:7\n}\n";
    for text in [format!("{group}{other}"), format!("{other}{group}")] {
        let said = parse(&text);
        let (_, mut site) = said
            .site
            .unwrap_or_else(|| panic!("{:?}", said.diagnostics));
        site.addresses.sort_by_key(|floating| floating.address);
        assert_eq!(
            site.addresses,
            [
                floating("10.0.0.7", 32, "eth1", "eth1:7"),
                floating("10.0.0.8", 24, "eth0", "eth0"),
                floating("10.0.0.9", 24, "eth0", "eth0:1"),
            ]
        );
    }
}

#[test]
fn every_address_of_a_block_is_put_up() {
    let text = service(
        "vip_nmask = 24\naddress = 10.0.0.8/32 eth1:2\naddress = 10.0.0.7 eth1\naddress = 10.0.0.9 eth2\n",
    );
    let said = parse(&text);
    let (_, site) = said
        .site
        .as_ref()
        .unwrap_or_else(|| panic!("{:?}", said.diagnostics));
    assert_eq!(
        site.addresses,
        [
            floating("10.0.0.8", 32, "eth1", "eth1:2"),
            floating("10.0.0.7", 24, "eth1", "eth1"),
            // Of one address the last line holds.
            floating("10.0.0.9", 24, "eth2", "eth2"),
        ]
    );
    let said = lines(&said);
    let others = said
        .iter()
        .filter(|line| line.contains("warning: another address of this service"));
    assert_eq!(others.count(), 2, "{said:#?}");
    let mixed = parse(&service("address = 2001:db8::9 eth0\n"));
    assert!(mixed.site.is_none());
    let said = lines(&mixed);
    assert!(
        said.iter()
            .any(|line| line.starts_with("4:11 error: 2001:db8::9 and 10.0.0.9 are not of")),
        "{said:#?}"
    );
}

#[test]
fn servers_without_a_weight_and_placeholders_are_told_of() {
    let server = |name: &str, more: &str| {
        format!("server {name} {{\nactive = 1\naddress = 10.0.0.{name}\n{more}}}\n")
    };
    let table = [
        (server("6", "weight = 2\n"), None),
        (server("6", "quiesced = 1\n"), None),
        (
            server("6", ""),
            Some("4:8 warning: server `6` has no `weight`, which makes it 1"),
        ),
        (
            server("6", "weight = 1\n") + &server("7", "") + &server("8", ""),
            Some("9:8 warning: server `7` has no `weight`, which makes it 1, as has another one"),
        ),
        (
            "server [server_name] {\nactive = 1\naddress = 10.0.0.6\nweight = 1\n}\n".into(),
            Some("4:8 warning: server `[server_name]` has the name of a placeholder"),
        ),
    ];
    for (text, expected) in table {
        let found = lines(&parse(&service(&text)));
        assert_eq!(
            found.len(),
            usize::from(expected.is_some()),
            "{text}: {found:?}"
        );
        let same = found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found.starts_with(expected));
        assert!(same, "{text}: {found:?}");
    }
}

#[test]
fn interfaces_that_are_not_there_are_told_of() {
    let text = "nat_router = 10.0.0.254 eth3:1\n".to_owned()
        + &service("address = 10.0.0.8 eth1:1\naddress = 10.0.0.7 eth2\naddress = 10.0.0.6 eth0\n")
        + "virtual w {\nactive = 0\naddress = 10.0.0.10 eth9\n}\n";
    let directory = std::env::temp_dir().join(format!("lvs-cf-interfaces-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("lvs.cf");
    std::fs::write(&path, text).unwrap();
    let mut out = Vec::new();
    let verdict = config::check_with(&path, Format::Json, &mut Cables, &mut out).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(verdict, Verdict::Loadable);
    let answer: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let said: Vec<_> = answer["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["message"].as_str().unwrap().contains("interface"))
        .map(|one| format!("{} {}", one["line"], one["message"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            "1 there is no interface `eth3` here",
            "5 interface `eth1` is down: nobody reaches what is on it",
            "6 interface `eth2` has no link: nobody reaches what is on it",
        ]
    );
}

struct Cables;

impl Interfaces for Cables {
    fn state(&mut self, name: &str) -> State {
        match name {
            "eth0" => State::Up,
            "eth1" => State::Down,
            "eth2" => State::NoCarrier,
            _ => State::Absent,
        }
    }
}

#[test]
fn what_may_be_a_secret_is_not_shown() {
    for line in [
        "mh_secret = correct horse battery",
        "mh_secre = correct horse battery",
        "mh_secert=correct",
        "mhsecret: correct horse",
        "mh_secret:correct",
        "keepalive = x mh_secrte = correct",
    ] {
        let said = parse(&format!("{line}\n"));
        assert!(said.site.is_none(), "{line}");
        for one in &said.diagnostics {
            let text = config::render(one, &said.document.source, Colour::Never);
            assert!(
                !text.contains("correct") && !text.contains("horse"),
                "{text}"
            );
        }
    }
}

#[test]
fn ports_of_servers_change_only_with_nat() {
    let lines = "server t {\nactive = 1\naddress = 10.0.0.6\nport = 8080\n}\n";
    for (setting, warns) in [
        ("network = nat\n", false),
        ("network = direct\n", true),
        ("network = tunnel\n", true),
        ("network = nat\nmethod = direct\n", true),
        ("network = direct\nmethod = fullnat\n", false),
    ] {
        let (network, method) = setting.split_once('\n').unwrap();
        let text = format!("{network}\n{}", service(&format!("{method}{lines}")));
        let said = parse(&text);
        let found = said
            .diagnostics
            .iter()
            .any(|one| one.message.contains("packets keep port 80"));
        assert_eq!(found, warns, "{setting}");
    }
}

#[test]
fn line_ends_and_marks_do_not_matter() {
    let plain = parse(WEB_TOOL);
    for (name, text) in [
        ("CRLF", WEB_TOOL.replace('\n', "\r\n")),
        ("CR", WEB_TOOL.replace('\n', "\r")),
        ("BOM", format!("\u{feff}{WEB_TOOL}")),
        ("one CR", WEB_TOOL.replacen('\n', "\r\n", 1)),
        ("trailing blanks", WEB_TOOL.replace('\n', " \t\n")),
        (
            "tabs",
            WEB_TOOL
                .replace(' ', "\t")
                .replace("GET\t/\t", "GET / ")
                .replace("check-dns\t", "check-dns "),
        ),
    ] {
        let said = parse(&text);
        assert_eq!(said.site, plain.site, "{name}: {:?}", said.diagnostics);
        assert_eq!(said.document.source.text(), text, "{name}");
    }
}

#[test]
fn bytes_that_are_no_text() {
    let table: &[(&[u8], bool, &str)] = &[
        (b"\0\0\0", false, "1:1 error: this is not a text file"),
        (
            b"syncd_iface = \xe4\n",
            false,
            "1:15 error: byte 0xe4 is not UTF-8",
        ),
        (
            b"# \xe4\nkeepalive = 2\n",
            true,
            "1:3 warning: byte 0xe4 is not UTF-8 text; it is in a comment",
        ),
    ];
    for (bytes, accepted, expected) in table {
        let said = config::parse("lvs.cf", bytes);
        assert_eq!(said.site.is_some(), *accepted, "{expected}");
        let found = lines(&said);
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{expected}: {found:?}"
        );
    }
}

#[test]
fn too_much_nonsense_is_cut() {
    let said = parse(&"nonsense\n".repeat(200_000));
    assert!(said.site.is_none() && said.diagnostics.len() < 2000);
    assert!(
        said.diagnostics
            .last()
            .unwrap()
            .message
            .contains("more errors are not shown")
    );
    let said = parse(&"x".repeat(1 << 20));
    assert_eq!(
        lines(&said)[0],
        "1:1 error: the line is longer than 65536 bytes"
    );
}

#[test]
fn check_answers_people_and_machines() {
    let directory = std::env::temp_dir().join(format!("lvs-cf-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("lvs.cf");
    std::fs::write(&path, "network = nt\n").unwrap();
    let answer = |format| {
        let mut out = Vec::new();
        let verdict = config::check(&path, format, &mut out).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    };
    let (verdict, text) = answer(Format::Text(Colour::Never));
    assert_eq!(verdict, Verdict::Refused);
    assert!(
        text.contains("lvs.cf:1:11: error: invalid argument, not `nt`\n   1 | network = nt\n"),
        "{text}"
    );
    assert!(
        text.contains("     |           ^^\n     = help: did you mean `nat`?\n"),
        "{text}"
    );
    let (_, json) = answer(Format::Json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["diagnostics"][1]["line"], 1);
    assert_eq!(json["diagnostics"][1]["column"], 11);
    assert_eq!(json["diagnostics"][1]["severity"], "error");
    let error = config::load(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("lvs.cf:1:11: error: invalid argument, not `nt`"),
        "{error}"
    );

    std::fs::write(&path, WEB_TOOL).unwrap();
    assert_eq!(answer(Format::Text(Colour::Always)).0, Verdict::Loadable);
    let loaded = config::load(&path).unwrap();
    assert_eq!(loaded.site.services.len(), 2);
    // Everything that the web tool wrote has its effect.
    assert!(
        !loaded
            .warnings
            .iter()
            .any(|one| one.contains("has no effect"))
    );
    std::fs::remove_dir_all(&directory).unwrap();
    let error = anyhow::Error::from(config::load(&path).unwrap_err());
    let error = format!("{error:#}");
    assert!(
        error.starts_with("reading ")
            && error.ends_with("lvs.cf: No such file or directory (os error 2)"),
        "{error}"
    );
}

/// The tables in docs/lvs.cf.md are those of the program. `UPDATE_DOCS=1` writes them.
#[test]
fn the_documentation_is_true() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/lvs.cf.md");
    let mut text = std::fs::read_to_string(path).unwrap();
    for (name, table) in [
        ("global", markdown(GLOBALS)),
        ("virtual", markdown(SERVICES)),
        ("server", markdown(SERVERS)),
    ] {
        let (begin, end) = (format!("<!-- table {name} -->\n"), "<!-- end -->");
        let start = text.find(&begin).unwrap() + begin.len();
        let length = text[start..].find(end).unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            text.replace_range(start..start + length, &table);
            std::fs::write(path, &text).unwrap();
        } else {
            assert_eq!(text[start..start + length], table, "run with UPDATE_DOCS=1");
        }
    }
}

/// What the table says of a directive's kind and default is what happens.
#[test]
fn the_table_of_directives_is_true() {
    fn check<K>(table: &[Entry<K>], before: &str, after: &str) {
        for entry in table {
            let accepted = |value: &str| {
                // Alone, this is an error of another kind.
                if value == "1" && entry.name == "active" && before.starts_with("virtual v {\n") {
                    return true;
                }
                let text = format!("{before}{} = {value}\n{after}", entry.name);
                parse(&text).site.is_some()
            };
            assert!(
                accepted(entry.kind.example()),
                "{} = {}",
                entry.name,
                entry.kind.example()
            );
            let bad: &[&str] = match entry.kind {
                Kind::Integer | Kind::Entries => &["x", "1s", "08"],
                Kind::Time => &["x", "1d", "08", "s", "0.5s", "-1s"],
                Kind::Boolean => &["2", "yes"],
                Kind::Host | Kind::Socket => &["10.0.0.1/24", "1.2.3.4.5"],
                Kind::HostAndDevice => &["10.0.0.1", "10.0.0.1 a b"],
                Kind::Mask if entry.name == "pmask" => &[],
                Kind::Mask => &["x"],
                Kind::Port | Kind::Ports => &["no-such-service"],
                Kind::Secret => &["too short"],
                Kind::Keys => &["1:00", "\"\"", "0:000102030405060708090a0b0c0d0e0f"],
                Kind::Match => &["tcp", "\"icmp 10.0.0.1\"", "\"tcp 10.0.0.1:x\""],
                Kind::Choice(_) | Kind::Flags(_) => &["no-such-word"],
                Kind::Text => &["a b", "\"a"],
                Kind::List => &["a", "[a]", "[ a"],
            };
            for value in bad {
                assert!(!accepted(value), "{} = {value}", entry.name);
            }
            let own = matches!(entry.name, "primary" | "address");
            if !entry.default.is_empty() && !own {
                assert!(
                    accepted(entry.default),
                    "{} = {}",
                    entry.name,
                    entry.default
                );
            }
        }
    }
    check(GLOBALS, "", "");
    check(SERVICES, "virtual v {\n", "}\n");
    check(SERVERS, "virtual v {\nserver s {\n", "}\n}\n");
}

fn markdown<K>(table: &[Entry<K>]) -> String {
    let mut text = String::from(
        "| directive | value | default | effect | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for entry in table {
        let default = if entry.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", entry.default)
        };
        let effect = match entry.effect {
            Effect::Works if entry.extension => "yes; ours".to_owned(),
            Effect::Works => "yes".to_owned(),
            Effect::Never { because, .. } => format!("none: {because}"),
            Effect::Note => "none: a note for tools".to_owned(),
        };
        let kind = entry.kind.describe();
        text += &format!(
            "| `{}` | {kind} | {default} | {effect} | {} |\n",
            entry.name, entry.doc
        );
    }
    text
}

fn compare(text: &str, expected: &[&str]) {
    // Every little file here has no live service, or servers without weights; that is not the question.
    let found: Vec<_> = lines(&parse(text))
        .into_iter()
        .filter(|line| !line.contains("no virtual block is active"))
        .filter(|line| !line.contains("has no `weight`"))
        .collect();
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found.starts_with(expected));
    assert!(same, "{text}\nfound {found:#?}\nexpected {expected:#?}");
}

fn lines(said: &Outcome) -> Vec<String> {
    let line = |one: &config::Diagnostic| {
        let at = said.document.source.position(one.span);
        format!(
            "{}:{} {}: {}",
            at.line,
            at.column,
            one.severity.word(),
            one.message
        )
    };
    said.diagnostics.iter().map(line).collect()
}

fn parse(text: &str) -> Outcome {
    config::parse("lvs.cf", text.as_bytes())
}

/// An active service with a server, `lines` in between.
fn service(lines: &str) -> String {
    format!(
        "virtual v {{\nactive = 1\naddress = 10.0.0.9 eth0:1\n{lines}server s {{\nactive = 1\naddress = 10.0.0.5\nweight = 1\n}}\n}}\n"
    )
}

fn talk(send: Option<&str>, expect: Option<Expect>) -> Check {
    Check::Talk {
        send: send.map(|text| text.as_bytes().to_vec()),
        expect,
    }
}

fn program(command: &[&str], expect: Option<&str>) -> Check {
    Check::Program {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        expect: expect.map(String::from),
    }
}

fn server(name: &str, socket: &str, weight: u16) -> RealServer {
    RealServer::new(name, socket.parse().unwrap(), Forwarding::Nat, weight)
}

/// Gives a service its selectors: the last byte of 10.0.0.x, protocol, first and last port.
fn with(service: &mut VirtualService, selectors: &[(u8, Protocol, u16, u16)]) {
    service.selectors = selectors
        .iter()
        .map(|&(host, protocol, first, last)| Selector {
            address: [10, 0, 0, host].into(),
            protocol,
            first,
            last,
        })
        .collect();
    service.key = service.selectors[0].key().into();
}

/// All its servers are reached in this way.
fn by(service: &mut VirtualService, forwarding: Forwarding) {
    service.forwarding = forwarding;
    for server in &mut service.servers {
        server.forwarding = forwarding;
    }
}

const IPIP: Forwarding = Forwarding::Tunnel {
    tunnel: Tunnel::Ipip,
};

/// It is known by the mark 7.
fn mark(service: &mut VirtualService) {
    service.key = ServiceId::Mark {
        mark: 7,
        family: Family::Ipv4,
    };
}

fn floating(address: &str, prefix: u8, interface: &str, label: &str) -> FloatingAddress {
    FloatingAddress {
        address: ip(address),
        prefix,
        interface: interface.into(),
        label: label.into(),
    }
}

fn director(public: &str, private: &str) -> Director {
    Director {
        public: Some(ip(public)),
        private: Some(ip(private)),
    }
}

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
