//! What an lvs.cf means, and what is said about it.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::time::Duration;

use lb_control::{
    config::{
        self, Colour, Director, Format, Outcome, Verdict,
        directives::{Effect, Entry, GLOBALS, Kind, SERVERS, SERVICES},
    },
    model::{
        Check, Expect, FloatingAddress, Method, Probe, Protocol, RealServer, Scheduler,
        ServiceAddress, VirtualService,
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

    let http = VirtualService {
        name: "http".into(),
        key: ServiceAddress {
            address: ip("192.0.2.10"),
            port: 80,
            protocol: Protocol::Tcp,
        },
        method: Method::Nat,
        scheduler: Scheduler::Wlc,
        probe: Probe {
            check: talk(
                Some("GET / HTTP/1.0\r\n\r\n"),
                Some(Expect::Prefix(b"HTTP".to_vec())),
            ),
            interval: seconds(6),
            reentry: seconds(15),
        },
        quiesce: false,
        servers: vec![
            server("web1", "10.0.0.11:80", 1),
            server("web2", "10.0.0.12:8080", 1),
        ],
    };
    let dns = VirtualService {
        name: "dns".into(),
        key: ServiceAddress {
            address: ip("192.0.2.10"),
            port: 53,
            protocol: Protocol::Udp,
        },
        method: Method::Nat,
        scheduler: Scheduler::Rr,
        probe: Probe {
            check: Check::Program {
                command: vec!["/usr/local/bin/check-dns".into(), "%h".into()],
                expect: Some("OK".into()),
            },
            interval: seconds(6),
            reentry: seconds(15),
        },
        quiesce: true,
        servers: vec![server("dns1", "10.0.0.13:53", 3)],
    };
    assert_eq!(site.services, [http, dns]);
    assert_eq!(
        site.addresses,
        [
            floating("192.0.2.10", 24, "eth0", "eth0:1"),
            floating("10.0.0.254", 24, "eth1", "eth1:1"),
        ]
    );
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
        assert_eq!(site.services[0].probe.check, check, "{lines}");
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
            &[
                "1:13 error: integer expected",
                "2:12 error: integer expected",
            ],
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
            "keepalive = 1",
            &["1:1 warning: `keepalive` has no effect yet"],
        ),
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
            &["1:10 warning: failover `f` has no effect yet"],
        ),
        (
            "virtual v {|persistent = 300|pmask = x|}",
            &["2:1 warning: `persistent`", "3:1 warning: `pmask`"],
        ),
        // Between directives.
        (
            "keepalive = 2|deadtime = 2",
            &[
                "2:1 warning: `deadtime` has no",
                "2:12 warning: `deadtime` is not longer",
            ],
        ),
        (
            "backup_active = 1",
            &[
                "1:1 warning: `backup_active` has no",
                "1:17 warning: `backup_active` without",
            ],
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
        (
            "timeout = 9|reentry = 3",
            &["5:11 warning: `reentry` is shorter"],
        ),
        ("port = 0", &["4:8 error: 0 is no port"]),
        (
            "scheduler = lc",
            &["4:13 warning: `scheduler = lc` has no effect yet: wlc is used"],
        ),
        ("scheduler = wcl", &["4:13 error: invalid argument"]),
        ("fwmark = 1", &["4:1 warning: `fwmark` has no effect yet"]),
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

#[test]
fn ports_of_servers_change_only_with_nat() {
    let lines = "server t {\nactive = 1\naddress = 10.0.0.6\nport = 8080\n}\n";
    for (network, warns) in [("nat", false), ("direct", true), ("tunnel", true)] {
        let text = format!("network = {network}\n{}", service(lines));
        let said = parse(&text);
        let found = said
            .diagnostics
            .iter()
            .any(|one| one.message.contains("packets keep port 80"));
        assert_eq!(found, warns, "{network}");
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

/// Any bytes become a value or diagnostics: real files with pieces changed, at random but the same
/// each time.
#[test]
fn nothing_panics() {
    let golden = include_str!("data/lvs-cf-probes.jsonl");
    let mut seeds: Vec<Vec<u8>> = golden
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|probe| probe["input"].as_str().unwrap().as_bytes().to_vec())
        .filter(|input| !input.windows(7).any(|part| part == b"no.such"))
        .collect();
    seeds.push(WEB_TOOL.as_bytes().to_vec());
    let pieces: &[&[u8]] = &[
        b"{",
        b"}",
        b"\"",
        b"'",
        b"=",
        b" = ",
        b"\n",
        b"\r",
        b"\r\n",
        b"#",
        b"\\",
        b"\xff",
        b"\xc3",
        "ä".as_bytes(),
        "\u{feff}".as_bytes(),
        b"\0",
        b"0",
        b"-1",
        b"99999999999999999999",
        b"/",
        b"::",
        b"0.0.0.0",
        b"[",
        b"]",
        b"server",
        b"virtual",
        b"\t",
        b"(",
        b"*",
        b"%h",
    ];
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut silent = NoNames;
    for round in 0..6000 {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            let at = random.below(bytes.len() + 1);
            let end = (at + random.below(9)).min(bytes.len());
            match random.below(3) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..at, pieces[random.below(pieces.len())].iter().copied())),
                _ => {
                    drop(bytes.splice(at..end, pieces[random.below(pieces.len())].iter().copied()))
                }
            }
        }
        let said = config::parse_with("lvs.cf", &bytes, &mut silent);
        for diagnostic in &said.diagnostics {
            let text = config::render(diagnostic, &said.document.source, Colour::Always);
            assert!(!text.is_empty(), "round {round}");
        }
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
    assert!(
        loaded
            .warnings
            .iter()
            .any(|one| one.contains("`persistent` has no effect yet"))
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
                Kind::Integer => &["x", "1s", "08"],
                Kind::Boolean => &["2", "yes"],
                Kind::Host | Kind::Address => &["10.0.0.1/24", "1.2.3.4.5"],
                Kind::HostAndDevice => &["10.0.0.1", "10.0.0.1 a b"],
                Kind::Mask if entry.name == "pmask" => &[],
                Kind::Mask => &["x"],
                Kind::Port => &["no-such-service"],
                Kind::Choice(_) => &["no-such-word"],
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
            Effect::Works => "yes".to_owned(),
            Effect::NotYet { instead, .. } => format!("not yet: {instead}"),
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
    // Every little file here has no live service; that is not the question.
    let found: Vec<_> = lines(&parse(text))
        .into_iter()
        .filter(|line| !line.contains("no virtual block is active"))
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
        "virtual v {{\nactive = 1\naddress = 10.0.0.9 eth0:1\n{lines}server s {{\nactive = 1\naddress = 10.0.0.5\n}}\n}}\n"
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
    RealServer {
        name: name.into(),
        socket: socket.parse().unwrap(),
        weight,
    }
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

struct NoNames;

impl config::names::Names for NoNames {
    fn host(&mut self, _: &str) -> Option<std::net::IpAddr> {
        None
    }

    fn service(&mut self, _: &str) -> Option<u16> {
        None
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}
