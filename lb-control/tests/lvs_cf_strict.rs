//! `lb check --strict --json` against what the parser of Piranha 0.8.6 answered.
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::net::IpAddr;

use lb_control::config::{
    self, Colour, Format,
    directives::{Entry, GLOBALS, Kind, SERVERS, SERVICES},
    names::Names,
    piranha::{self, Answer},
};
use serde_json::Value;

const PROBES: &str = include_str!("data/lvs-cf-probes.jsonl");

#[derive(serde::Deserialize)]
struct Probe {
    name: String,
    input: String,
    result: Value,
}

#[test]
fn every_answer_is_that_of_piranha() {
    let probes: Vec<Probe> = PROBES
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(probes.len() > 100, "{} probes", probes.len());
    for probe in probes {
        let answer = piranha::parse(probe.input.as_bytes(), &mut Fixed);
        let found = serde_json::to_value(&answer).unwrap();
        assert_eq!(found, probe.result, "{}: {:?}", probe.name, probe.input);
    }
}

/// Inputs of our own, one for each rule, with what is known of Piranha's answer: `ok` and values that are
/// not the defaults, as `part.name=value`, or `line text`.
#[test]
fn every_rule() {
    let web = "virtual w {\nactive = 1\n";
    let table: &[(&str, &str)] = &[
        // Signs and comments.
        ("primary=10.0.0.1\n", "1 unknown command"),
        ("primary =10.0.0.1\n", "1 equal (=) expected after command"),
        ("primary 10.0.0.1\n", "1 equal (=) expected after command"),
        ("primary =\n", "1 missing arguments"),
        ("primary\n", "1 missing arguments"),
        ("keepalive = 3;\n", "1 integer expected"),
        ("\tkeepalive\t=  3 \t\n", "ok global.keepalive=3"),
        ("ipvsadm = \"a # b\"\n", "ok global.ipvsadm=\"a # b\""),
        // Quotes.
        ("ipvsadm = 'a b'\n", "ok global.ipvsadm=\"a b\""),
        ("ipvsadm = \"a b\" \n", "ok global.ipvsadm=\"a b\""),
        ("ipvsadm = \"a\" \n", "1 quotation mismatch"),
        ("ipvsadm = \"a\n", "1 quotation mismatch"),
        ("ipvsadm = \"a b\n", "1 quotation mismatch"),
        ("ipvsadm = \"abc\"xyz\n", "1 quotation mismatch"),
        ("ipvsadm = \"a \\\"b\\\" c\"\n", "1 unexpected arguments"),
        ("ipvsadm = \"a\\\"b\"\n", "1 unexpected arguments"),
        ("keepalive = \"\"\n", "ok global.keepalive=0"),
        ("virtual \"w\" {\n}\n", "1 quotation mismatch"),
        ("virtual \"a b\" {\n}\n", "ok virtual.0.name=\"a b\""),
        ("@send = \"QUIT\" \n}\n", "3 missing arguments"),
        ("@server \"s\" {\n}\n}\n", "3 missing arguments"),
        ("@send = \"a b\" \n}\n", "ok virtual.0.send=\"\\\"a b\\\"\""),
        ("@send = 'a b'\n}\n", "ok virtual.0.send=\"'a b'\""),
        ("@send = \"a \\\"b\\\"\"\n}\n", "3 unexpected arguments"),
        (
            "@load_monitor = 'none'\n}\n",
            "ok virtual.0.load_monitor=\"none\"",
        ),
        // Line ends.
        (
            "keepalive = 3\r\ndeadtime = x\r\nfoo\r\n",
            "ok global.keepalive=3",
        ),
        ("keepalive = 3\ndeadtime = 9\r\n", "1 unexpected arguments"),
        ("keepalive = 3\r\ndeadtime = 9\n", "ok global.deadtime=9"),
        ("keepalive = 3\r\nfoo = 9\n", "3 unknown command"),
        ("# c\rkeepalive = x\r", "2 integer expected"),
        ("\u{feff}keepalive = 3\n", "1 unknown command"),
        ("\u{feff}# c\n", "1 unknown command"),
        ("\0", "ok"),
        // Numbers.
        ("keepalive = 08\n", "1 integer expected"),
        ("keepalive = +6\n", "ok global.keepalive=6"),
        ("keepalive = 6s\n", "1 integer expected"),
        ("keepalive = 500ms\n", "1 integer expected"),
        ("keepalive = 4294967303\n", "ok global.keepalive=7"),
        (
            "keepalive = 2147483648\n",
            "ok global.keepalive=-2147483648",
        ),
        (
            "keepalive = 99999999999999999999\n",
            "ok global.keepalive=-1",
        ),
        (
            "keepalive = -99999999999999999999\n",
            "ok global.keepalive=0",
        ),
        ("@fwmark = -1\n}\n", "ok virtual.0.fwmark=4294967295"),
        ("sync = 2\n", "1 boolean expected"),
        ("sync = x\n", "1 integer expected"),
        // Addresses and masks.
        ("primary = 10.1\n", "ok global.primary=\"10.0.0.1\""),
        ("primary = 0.0.0.0\n", "1 invalid host name or ip address"),
        (
            "primary_private = 0.0.0.0\n",
            "1 invalid host name or ip address",
        ),
        (
            "backup_private = 0.0.0.0\n",
            "1 invalid host name or ip address",
        ),
        ("backup = 0.0.0.0\n", "ok global.backup=\"0.0.0.0\""),
        (
            "backup_private = 10.0.0.2\n",
            "ok global.backup_private=\"10.0.0.2\"",
        ),
        ("nat_nmask = x\n", "1 Bad subnet mask specified"),
        (
            "@vip_nmask = 24\n}\n",
            "ok virtual.0.vip_nmask=\"0.0.0.24\"",
        ),
        ("@pmask = x\n}\n", "ok virtual.0.pmask=\"0.0.0.0\""),
        ("@sorry_server = localhost\n}\n", "3 invalid argument"),
        (
            "@address = localhost eth0\n}\n",
            "ok virtual.0.address=\"127.0.0.1\"",
        ),
        ("@master = localhost\n}\n", "ok"),
        ("@master = no-such-host\n}\n", "3 invalid argument"),
        ("heartbeat_port = http\n", "ok global.heartbeat_port=80"),
        ("heartbeat_port = dgram\n", "1 invalid argument"),
        // Words.
        ("network = tunnel\n", "ok global.network=\"tunnel\""),
        ("service = LVS\n", "1 invalid argument"),
        ("@scheduler = pcc\n}\n", "3 invalid argument"),
        (
            "@scheduler = lblcr\n}\n",
            "ok virtual.0.scheduler=\"lblcr\"",
        ),
        ("@protocol = sctp\n}\n", "3 invalid argument"),
        ("@dirs = [a:b c:d]\n}\n", "3 list expected"),
        ("@dirs = a:b\n}\n", "3 list expected"),
        // Blocks.
        ("virtual w\n{\n}\n", "1 missing arguments"),
        ("virtual w { active = 1 }\n", "1 unexpected arguments"),
        ("virtual {\n}\n", "1 missing arguments"),
        ("failover f{\n}\n", "1 missing arguments"),
        ("}\n", "1 unknown command"),
        ("virtual w {\n}\n}\n", "3 unknown command"),
        ("@virtual x {\n}\n}\n", "3 unknown command"),
        ("@server s {\nserver t {\n}\n}\n}\n", "4 unknown command"),
        ("@server s {\nnmask = 1\n}\n}\n", "4 unknown command"),
        (
            "@server s {\naddress = 10.0.0.5 eth0\n}\n}\n",
            "4 unexpected arguments",
        ),
        (
            "@server s {\n}\nport = 81\nserver t {\n}\n}\n",
            "ok virtual.0.servers.1.port=81",
        ),
        (
            "@server s {\n}\nport = 81\n}\n",
            "ok virtual.0.servers.0.port=80",
        ),
        ("@port = 81\n}\nvirtual x {\n", "ok virtual.1.port=80"),
        ("@expect_program = x\n}\n", "3 unknown command"),
        ("@deadtime = 9\n}\n", "3 unknown command"),
        ("@method = nat\n}\n", "3 unknown command"),
        ("@} x y z\nkeepalive = x\n", "4 integer expected"),
    ];
    for (input, expected) in table {
        let text = match input.strip_prefix('@') {
            Some(rest) => format!("{web}{rest}"),
            None => (*input).to_owned(),
        };
        let answer = piranha::parse(text.as_bytes(), &mut Fixed);
        let json = serde_json::to_value(&answer).unwrap();
        match answer {
            Answer::Refused(refusal) => {
                let found = format!("{} {}", refusal.line, refusal.fault.text());
                assert_eq!(found, *expected, "{text:?}");
            }
            Answer::Loaded(_) => {
                let rest = expected
                    .strip_prefix("ok")
                    .unwrap_or_else(|| panic!("{text:?} is loaded"));
                if let Some((path, value)) = rest.trim().split_once('=') {
                    let found = json
                        .pointer(&format!("/{}", path.replace('.', "/")))
                        .unwrap();
                    assert_eq!(
                        found,
                        &serde_json::from_str::<Value>(value).unwrap(),
                        "{text:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn no_more_than_99_tokens_are_seen() {
    let list = |items: usize| {
        let items = "a:b ".repeat(items);
        let text = format!("virtual w {{\ndirs = [ {items}]\n}}\n");
        piranha::parse(text.as_bytes(), &mut Fixed)
    };
    assert!(list(95).is_loaded());
    assert!(!list(96).is_loaded());
}

/// In words: Piranha's own message, then every line that it would have refused, each with its place.
#[test]
fn all_that_piranha_refuses_is_told() {
    let table: &[(&str, u8, &[&str])] = &[
        (
            "keepalive = 6\n",
            0,
            &["f: Piranha 0.8.6 would load it; 0 places"],
        ),
        (
            "",
            1,
            &[
                "pulse: error parsing f at line 0: Empty",
                "f:1:1: error: Piranha: Empty",
            ],
        ),
        (
            "keepalive = 2s\nprimary=10.0.0.1\nvirtual w\n{\nmethod = direct\nport = 70000\n}\n",
            1,
            &[
                "pulse: error parsing f at line 1: integer expected\nf:1:13: error: Piranha: integer",
                "f:2:1: error: Piranha: unknown command\n   2 | primary=10.0.0.1\n     | ^^^^^^^^^^^^^^^^\n     = help: it is only a warning here: no blanks around `=`",
                "f:3:9: error: Piranha: missing arguments",
                "f:5:1: error: Piranha: unknown command\n   5 | method = direct\n     | ^^^^^^\n     = help: this directive is an extension",
                "f:4:1: error: the brace is not on the line of its block",
                "f: Piranha 0.8.6 would refuse it; 5 places",
            ],
        ),
        (
            "keepalive = 6\r\nfoo\r\n",
            1,
            &[
                "f:1:1: error: lines end with CR and LF",
                "f:2:1: error: Piranha: unknown command",
                "it is an error here too: unknown directive `foo`",
                "f: Piranha 0.8.6 would load it; 2 places",
            ],
        ),
        (
            "virtual w {\nactive = 1\naddress = 10.0.0.9 eth0:1\naddress = 10.0.0.8 eth0:2\nvip_nmask = 24\n}\n",
            1,
            &[
                "f:4:11: error: another address of this service; Piranha took the last one alone",
                "f:5:13: error: 24 is read as a prefix length; Piranha read it as 0.0.0.24",
            ],
        ),
        (
            "mh_secre = \"correct horse\"\n",
            1,
            &["   1 | mh_secre = \"******* *****\"\n"],
        ),
    ];
    for (text, status, expected) in table {
        let mut out = Vec::new();
        let format = Format::Text(Colour::Never);
        let verdict = config::check_strict_with("f", text.as_bytes(), format, &mut Fixed, &mut out);
        let found = String::from_utf8(out).unwrap();
        assert_eq!(verdict.unwrap().exit_status(), *status, "{found}");
        for part in *expected {
            assert!(found.contains(part), "{part}\nis not in\n{found}");
        }
    }
}

/// Each directive and each word that is ours is refused.
#[test]
fn every_extension_is_refused() {
    fn check<K>(table: &[Entry<K>], before: &str, after: &str) {
        for entry in table {
            let line = |value: &str| format!("{before}{} = {value}\n{after}", entry.name);
            let refuses = |value| !piranha::parse(line(value).as_bytes(), &mut Fixed).is_loaded();
            assert_eq!(
                refuses(entry.kind.example()),
                entry.extension,
                "{}",
                entry.name
            );
            let ours: &[&str] = match entry.kind {
                _ if entry.extension => continue,
                Kind::Time => &["500ms", "2s"],
                Kind::Host => &["2001:db8::1"],
                Kind::Socket => &["10.0.0.1:80", "2001:db8::1"],
                Kind::HostAndDevice => &["10.0.0.1/24 eth0", "2001:db8::1 eth0"],
                Kind::Ports => &["1000-2000"],
                Kind::Port if before.contains("server") => &["http"],
                Kind::Choice(words) if words.contains(&"sctp") => &["sctp"],
                Kind::Choice(words) if words.contains(&"mh") => {
                    &["sed", "nq", "mh", "fo", "ovf", "twos"]
                }
                Kind::Integer
                | Kind::Entries
                | Kind::Boolean
                | Kind::Mask
                | Kind::Port
                | Kind::Choice(_)
                | Kind::Flags(_)
                | Kind::Match
                | Kind::Secret
                | Kind::Keys
                | Kind::Text
                | Kind::List => &[],
            };
            for value in ours {
                assert!(refuses(value), "{} = {value}", entry.name);
            }
        }
    }
    check(GLOBALS, "", "");
    check(SERVICES, "virtual v {\n", "}\n");
    check(SERVERS, "virtual v {\nserver s {\n", "}\n}\n");
}

/// The names that the inputs use, so that no name server is asked.
struct Fixed;

impl Names for Fixed {
    fn host(&mut self, name: &str) -> Option<IpAddr> {
        (name == "localhost").then(|| IpAddr::from([127, 0, 0, 1]))
    }

    fn service(&mut self, name: &str) -> Option<u16> {
        match name {
            "http" => Some(80),
            "https" => Some(443),
            "dgram" => Some(9),
            _ => None,
        }
    }

    fn tcp_service(&mut self, name: &str) -> Option<u16> {
        self.service(name).filter(|_| name != "dgram")
    }
}
