//! What other programs have, as lvs.cf: whole files with what comes of them in data/import (`UPDATE_GOLDEN=1`
//! writes it anew; look at the difference), single directives in tables, and nonsense.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Instant,
};

use lb_control::{
    config::{self, Severity, marks},
    import::{self, Disk, Files, Home, Imported, Interfaces, Kind, Surroundings, Unknown},
    ipvsadm::Names,
    model::{Forwarding, Protocol, Site, Tunnel},
};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import")
}

/// The names that the files use, so that no name server is asked.
struct Fixed;

impl Names for Fixed {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        match host {
            "www.example.com" => Some([192, 0, 2, 20].into()),
            "one.example.com" => Some([10, 0, 0, 21].into()),
            _ => None,
        }
    }

    fn port(&self, service: &str, _: Protocol) -> Option<u16> {
        (service == "http").then_some(80)
    }

    fn hosts(&self, _: &BTreeSet<IpAddr>) -> HashMap<IpAddr, String> {
        HashMap::new()
    }

    fn service(&self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}

/// What comes out has addresses only.
struct Nobody;

impl config::names::Names for Nobody {
    fn host(&mut self, name: &str) -> Option<IpAddr> {
        panic!("{name} is asked for")
    }

    fn service(&mut self, name: &str) -> Option<u16> {
        panic!("{name} is asked for")
    }
}

/// A machine with 192.0.2.0/24 on eth7.
struct Eth7;

impl Interfaces for Eth7 {
    fn home(&mut self, address: IpAddr) -> Option<Home> {
        let IpAddr::V4(v4) = address else { return None };
        v4.octets().starts_with(&[192, 0, 2]).then(|| Home {
            device: "eth7".to_owned(),
            prefix: None,
        })
    }
}

fn imported(name: &str, text: &str, files: &mut dyn Files, marks: &str) -> Imported {
    let surroundings = Surroundings {
        names: &Fixed,
        interfaces: &mut Eth7,
        marks: marks::import(marks),
        files,
        config_id: "one",
    };
    match Kind::of(text) {
        Some(Kind::Ipvsadm) => import::ipvsadm(name, text, surroundings),
        Some(Kind::Keepalived) => import::keepalived(Path::new(name), text, surroundings),
        Some(Kind::Marks) => import::marks(name, text),
        None => panic!("{name} is nothing"),
    }
}

fn told(imported: &Imported) -> String {
    let lines = imported.left_out.iter();
    lines.map(|one| format!("{one}\n")).collect()
}

fn site(text: &str) -> Site {
    let outcome = config::parse_with("lvs.cf", text.as_bytes(), &mut Nobody);
    let errors: Vec<_> = outcome
        .diagnostics
        .iter()
        .filter(|one| one.severity == Severity::Error)
        .collect();
    match outcome.site {
        Some((_, site)) => site,
        None => panic!("{errors:?}\n{text}"),
    }
}

/// The data folder under the name of a relative path, as whoever types the command has it.
struct Data;

impl Files for Data {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(&data().join(path))
    }

    fn names(&mut self, folder: &Path) -> Vec<String> {
        Disk.names(&data().join(folder))
    }
}

#[test]
fn files_as_they_are() {
    let sources = [
        "direct.conf",
        "nat.conf",
        "tunnel.conf",
        "groups.conf",
        "templates.conf",
        "broken.conf",
        "listing.save",
        "full.save",
    ];
    for source in sources {
        let text = fs::read_to_string(data().join(source)).unwrap();
        let marks = fs::read_to_string(data().join("groups.marks")).unwrap();
        let marks = if source == "groups.conf" {
            marks.as_str()
        } else {
            ""
        };
        let imported = imported(source, &text, &mut Data, marks);
        site(&imported.text);
        for (kind, found) in [("cf", &imported.text), ("told", &told(&imported))] {
            let golden = data().join(source).with_extension(kind);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&golden, found).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(*found, expected, "{}", golden.display());
        }
    }
}

/// A file by itself, without interfaces and other files.
fn plain(text: &str) -> Imported {
    let surroundings = Surroundings {
        names: &Fixed,
        interfaces: &mut Eth7,
        marks: marks::Imported::default(),
        files: &mut Data,
        config_id: "one",
    };
    import::keepalived(Path::new("k"), text, surroundings)
}

#[test]
fn what_is_said_of_a_service() {
    let table = [
        ("lb_algo rr", "scheduler = rr", ""),
        ("lvs_sched mh\nflag-2", "sched_flags = mh-port", ""),
        (
            "lvs_sched wrr\nmh-port",
            "scheduler = wrr",
            "`mh-port`: wrr has no such flag",
        ),
        (
            "lvs_sched sh\nflag-3",
            "scheduler = sh",
            "`flag-3`: sh has no such flag",
        ),
        ("lb_kind NAT", "network = nat", ""),
        ("lvs_method dr", "network = direct", ""),
        ("lvs_method TUN type gre csum", "tunnel_checksum = 1", ""),
        (
            "lvs_method TUN type gue port 6080 remcsum",
            "tunnel_port = 6080",
            "`remcsum` of a tunnel has no directive",
        ),
        ("persistence_timeout", "persistent = 360", ""),
        ("persistence_timeout 50", "persistent = 50", ""),
        (
            "persistence_timeout 50\npersistence_granularity 255.255.0.0",
            "pmask = 255.255.0.0",
            "",
        ),
        (
            "persistence_engine sip",
            "network",
            "`persistence_engine sip`: clients are told apart by their addresses",
        ),
        (
            "snmp_name the web",
            "virtual the {",
            "`web` behind `snmp_name` is not understood",
        ),
        ("snmp_name \"the web\"", "virtual the-web {", ""),
        (
            "sorry_server 10.0.0.9 8080",
            "sorry_server = 10.0.0.9:8080",
            "",
        ),
        ("sorry_server 10.0.0.9", "sorry_server = 10.0.0.9", ""),
        (
            "sorry_server 2001:db8::9 80",
            "network",
            "a sorry server of the other address family: only a tunnel leads there",
        ),
        (
            "sorry_server_lvs_method DR",
            "network",
            "`sorry_server_lvs_method DR`: the sorry server is reached as the others are",
        ),
        ("inhibit_on_failure", "quiesce_server = 1", ""),
        ("inhibit_on_failure no", "network", ""),
        ("quorum 1\nalpha", "network", ""),
        (
            "quorum 2",
            "network",
            "`quorum 2`: the sorry server steps in when no other is left",
        ),
        (
            "ha_suspend",
            "network",
            "`ha_suspend`: servers are checked whether this director has the address or not",
        ),
        ("retry 0", "network", ""),
        (
            "frob 1",
            "network",
            "`frob 1`: no directive that is known here",
        ),
        (
            "frob {\n a\n b\n}",
            "network",
            "`frob`: no directive that is known here",
        ),
        ("protocol UDP\nops", "ops = 1", ""),
    ];
    for (directives, expected, why) in table {
        let imported = plain(&format!(
            "virtual_server 192.0.2.10 81 {{\n{directives}\nreal_server 10.0.0.1 81 {{ }}\n}}"
        ));
        assert!(
            imported.text.contains(expected),
            "{directives}\n{}",
            imported.text
        );
        let told: Vec<_> = imported
            .left_out
            .iter()
            .map(|one| one.why.as_str())
            .collect();
        let expected: Vec<&str> = [why].into_iter().filter(|why| !why.is_empty()).collect();
        assert_eq!(told, expected, "{directives}");
        site(&imported.text);
    }
}

#[test]
fn what_is_said_of_a_server() {
    let table = [
        ("weight 7", "weight = 7", ""),
        ("weight 0", "quiesced = 1", ""),
        ("uthreshold 9\nlthreshold 5", "lower_threshold = 5", ""),
        ("inhibit_on_failure", "quiesce_server = 1", ""),
        ("lvs_method NAT", "network = nat", ""),
        ("TCP_CHECK { }", "reentry = 1", ""),
        (
            "TCP_CHECK { }\nTCP_CHECK { }",
            "timeout = 60",
            "a second checker: a service has one check, that of line 2",
        ),
        ("TCP_CHECK {\nconnect_port 8080\n}", "check_port = 8080", ""),
        ("TCP_CHECK {\nconnect_port 81\n}", "timeout = 60", ""),
        ("TCP_CHECK {\ndelay_loop 7\n}", "timeout = 7", ""),
        ("delay_loop 8\nTCP_CHECK {\n}", "timeout = 8", ""),
        ("TCP_CHECK {\nconnect_ip 10.0.0.1\n}", "timeout = 60", ""),
        (
            "TCP_CHECK {\nconnect_ip 10.0.0.2\n}",
            "timeout = 60",
            "`connect_ip 10.0.0.2`: a server is checked at its own address",
        ),
        (
            "TCP_CHECK {\nbindto 10.0.0.2\n}",
            "timeout = 60",
            "`bindto 10.0.0.2`: checks come from whatever address routing chooses",
        ),
        ("HTTP_GET { }", r#"send = "GET / HTTP/1.0\r\n\r\n""#, ""),
        (
            "virtualhost a.example\nHTTP_GET {\nhttp_protocol 1.0C\nurl {\npath /x\n}\n}",
            r#"send = "GET /x HTTP/1.0\r\nHost: a.example\r\nConnection: close\r\n\r\n""#,
            "",
        ),
        (
            "HTTP_GET {\nurl {\nstatus_code 200 404-405 9\n}\n}",
            r#"expect = "^HTTP/1\\.[01] (200|40[4-5])""#,
            "`9` is no status of HTTP",
        ),
        (
            "HTTP_GET {\nurl {\nregex '(?=x)'\n}\n}",
            "(2[0-9][0-9])",
            "`regex (?=x)`: no regular expression that can be carried over",
        ),
        (
            "HTTP_GET {\nurl {\npath '/a b'\n}\n}",
            "GET / HTTP",
            "the path `/a b` cannot stand in a request; `/` is asked for",
        ),
        (
            "MISC_CHECK {\nmisc_path \"/c -H 10.0.0.1 81\"\n}",
            "send_program = \"/c -H %h %p\"",
            "",
        ),
        (
            "MISC_CHECK {\nmisc_path \"/c 'a b'\"\n}",
            "timeout = 60",
            "`misc_path /c 'a b'`: `send_program` is split at blanks, and has no quotes",
        ),
        (
            "MISC_CHECK { }",
            "timeout = 60",
            "`MISC_CHECK`: it names no program",
        ),
        (
            "MISC_CHECK {\nmisc_path /c\nmisc_dynamic\n}",
            "send_program = \"/c\"",
            "`misc_dynamic`: the exit status of a check does not change weights",
        ),
        ("PING_CHECK { }", "check = icmp", ""),
        (
            "SMTP_CHECK {\nhelo_name lb.example\nretry 2\n}",
            "check = smtp",
            "",
        ),
        (
            "SMTP_CHECK {\nhelo_name lb.example\nretry 2\n}",
            "check_retries = 2",
            "",
        ),
        (
            "SSL_GET {\nurl {\npath /health\nstatus_code 200\nregex '^OK$'\n}\n}",
            "check_path = /health",
            "",
        ),
        (
            "SSL_GET {\nurl {\npath /health\nstatus_code 200\nregex '^OK$'\n}\n}",
            "check_body = \"^OK$\"",
            "",
        ),
        (
            "TCP_CHECK {\nretry 99\n}",
            "timeout = 60",
            "`retry 99`: `check_retries` is 0 to 10",
        ),
        (
            "UDP_CHECK { }",
            "timeout = 60",
            "`UDP_CHECK`: servers are checked by the protocol of their service, TCP",
        ),
        (
            "FILE_CHECK {\ntrack_file f\n}",
            "timeout = 60",
            "`FILE_CHECK`: there is no such check; to connect is enough",
        ),
    ];
    for (directives, expected, why) in table {
        let imported = plain(&format!(
            "virtual_server 192.0.2.10 81 {{ real_server 10.0.0.1 81 {{\n{directives}\n}} }}"
        ));
        assert!(
            imported.text.contains(expected),
            "{directives}\n{}",
            imported.text
        );
        let told: Vec<_> = imported
            .left_out
            .iter()
            .map(|one| one.why.clone())
            .collect();
        let expected: Vec<&str> = [why].into_iter().filter(|why| !why.is_empty()).collect();
        assert_eq!(told, expected, "{directives}");
        site(&imported.text);
    }
}

#[test]
fn what_a_text_is() {
    let table = [
        ("-A -t 1.2.3.4:80 -s rr\n", Some(Kind::Ipvsadm)),
        (
            "#!/bin/sh\n/sbin/ipvsadm -A -t 1.2.3.4:80 -s rr\n",
            Some(Kind::Ipvsadm),
        ),
        ("! c\nglobal_defs {\n}\n", Some(Kind::Keepalived)),
        ("virtual_server 1.2.3.4 80{\n", Some(Kind::Keepalived)),
        (
            "*mangle\n-A PREROUTING -p tcp -j MARK --set-mark 1\n",
            Some(Kind::Marks),
        ),
        ("table ip mangle {\n}\n", Some(Kind::Marks)),
        ("serial_no = 1\n", None),
        ("", None),
    ];
    for (text, kind) in table {
        assert_eq!(Kind::of(text), kind, "{text}");
    }
}

/// Every service and server of the listing is in the site as ipvsadm wrote it, but for those that are told.
#[test]
fn a_saved_table_means_the_same() {
    let text = fs::read_to_string(data().join("listing.save")).unwrap();
    let imported = imported("listing.save", &text, &mut Data, "");
    let site = site(&imported.text);
    let left_out: Vec<usize> = imported.left_out.iter().map(|one| one.place.line).collect();
    let mut servers = 0;
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let of = |options: &[&str]| {
            let at = words.iter().position(|word| options.contains(word));
            at.and_then(|at| words.get(at + 1)).copied()
        };
        let Some(virtual_ip) = of(&["-t", "-u", "--sctp-service"]) else {
            continue;
        };
        let protocol = words[1].trim_start_matches('-').replace("-service", "");
        let service = site.services.iter().find(|service| {
            let key = service.key.address().unwrap();
            let socket = std::net::SocketAddr::new(key.address, key.port).to_string();
            let name = key.protocol.to_string().to_lowercase();
            socket == virtual_ip && name.starts_with(&protocol)
        });
        let service = service.unwrap_or_else(|| panic!("{line}"));
        if words[0] == "-A" {
            assert_eq!(of(&["-s"]), Some(service.scheduler.name()), "{line}");
            let seconds = service
                .persistence
                .map(|one| one.timeout.as_secs().to_string());
            assert_eq!(of(&["-p"]), seconds.as_deref(), "{line}");
            assert_eq!(words.contains(&"-o"), service.one_packet, "{line}");
            let flags = of(&["-b"]).unwrap_or_default();
            assert_eq!(flags.contains("-port"), service.flags.port, "{line}");
            assert_eq!(
                flags.contains("-fallback"),
                service.flags.fallback,
                "{line}"
            );
            assert!(!service.flags.compat, "{line}");
            continue;
        }
        if left_out.contains(&(number + 1)) {
            continue;
        }
        let socket = of(&["-r"]).unwrap();
        let server = service
            .servers
            .iter()
            .find(|one| one.socket.to_string() == socket);
        let server = server.unwrap_or_else(|| panic!("{line}"));
        assert_eq!(
            of(&["-w"]),
            Some(server.weight.to_string().as_str()),
            "{line}"
        );
        let way = match server.forwarding {
            Forwarding::Nat => "-m",
            Forwarding::Direct => "-g",
            Forwarding::Tunnel {
                tunnel: Tunnel::Ipip,
            } => "-i",
            other @ (Forwarding::FullNat | Forwarding::Tunnel { .. }) => {
                panic!("{other:?}: {line}")
            }
        };
        assert!(words.contains(&way), "{line}");
        servers += 1;
    }
    assert_eq!(servers, 6);
}

/// What is said in a word of the source stays in a word.
#[test]
fn words_that_would_be_lines() {
    let odd = r"e\n}\nx";
    let null = "e\u{0}0";
    let table = [
        format!("vrrp_instance V {{\nvirtual_ipaddress {{\n192.0.2.10 dev \"{odd}\"\n}}\n}}"),
        format!("vrrp_instance V {{\nvirtual_ipaddress {{\n192.0.2.10 dev {null}\n}}\n}}"),
        format!(
            "vrrp_instance V {{\ninterface \"{odd}\"\nvirtual_ipaddress {{\n192.0.2.10\n}}\n}}"
        ),
        format!("global_defs {{\nlvs_sync_daemon \"{odd}\" id 1\n}}"),
        format!("global_defs {{\nlvs_sync_daemon eth1 id \"1{odd}\"\n}}"),
    ];
    for source in table {
        let service = "virtual_server 192.0.2.10 81 {\nreal_server 10.0.0.1 81 { }\n}\n";
        let imported = plain(&format!("{source}\n{service}"));
        assert_eq!(
            site(&imported.text).services.len(),
            1,
            "{source}\n{}",
            imported.text
        );
        assert!(!imported.text.contains("syncd"), "{}", imported.text);
        assert!(
            imported.text.contains("address = 192.0.2.10 eth7\n"),
            "{}",
            imported.text
        );
        assert!(!imported.left_out.is_empty(), "{source}");
    }
    let named =
        format!("virtual_server 192.0.2.10 81 {{\nsnmp_name \"{odd}\"\nlvs_method DR\n}}\n");
    assert!(plain(&named).text.contains("virtual e---x {"));
}

/// Files that include each other, and what a text can make of itself with a few lines.
#[test]
fn everything_comes_to_an_end() {
    struct Many(BTreeMap<&'static str, &'static str>);

    impl Files for Many {
        fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
            let found = path.to_str().and_then(|path| self.0.get(path));
            let text = found.ok_or(io::ErrorKind::NotFound)?;
            Ok(text.as_bytes().to_vec())
        }

        fn names(&mut self, _folder: &Path) -> Vec<String> {
            self.0.keys().map(|name| (*name).to_owned()).collect()
        }
    }

    let laughs: String = (0..40)
        .map(|n| format!("$A{n}=${{A{0}}}${{A{0}}}\n", n + 1))
        .collect();
    let doubles: String = (0..40)
        .map(|n| format!("$B{n}= \\\n$B{0} \\\n$B{0}\n", n + 1))
        .collect();
    let table = [
        ("include *\n".to_owned(), "includes itself"),
        ("include a\n".to_owned(), "includes itself"),
        (format!("{laughs}$A0\n"), "more than 1000 parameters"),
        (format!("{doubles}$B0\n"), "far too large"),
        ("$X=$X\n$X\n".to_owned(), "stand for themselves"),
        (
            "~SEQ(A, 1, 99999) ~SEQ(B, 1, 99999) x ${A}\n".to_owned(),
            "far too large",
        ),
        (
            "~SEQ(A, 1, 100000000) x\n".to_owned(),
            "is more than 100000 times",
        ),
        ("a {\n".repeat(100_000), "more than 16 deep"),
        ("}\n".repeat(1000), "a closing brace too many"),
        ("{".repeat(50_000), "a block without a name"),
        (
            format!(
                "virtual_server_group G {{\n{}}}\n",
                "10.0.0.1-255 80\n".repeat(100)
            ),
            "more than 4096 addresses",
        ),
        (
            "virtual_server_group G {\n::/0 80\n0.0.0.0/0 80\n}\n".to_owned(),
            "more than 1024 addresses",
        ),
        (format!("x {}\n", "$".repeat(60_000)), "no directive"),
        (format!("x {}\n", "\"'".repeat(30_000)), "no directive"),
        (format!("x {}\n", "${".repeat(30_000)), "no directive"),
    ];
    for (text, why) in table {
        let begun = Instant::now();
        let mut files = Many(BTreeMap::from([
            ("a", "include b\n"),
            ("b", "include a\ninclude *\n"),
        ]));
        let surroundings = Surroundings {
            names: &Fixed,
            interfaces: &mut Unknown,
            marks: marks::Imported::default(),
            files: &mut files,
            config_id: "one",
        };
        let imported = import::keepalived(Path::new("k"), &text, surroundings);
        site(&imported.text);
        let start: String = text.chars().take(60).collect();
        let told = told(&imported);
        assert!(told.contains(why), "{start}\n{told}");
        println!("{start:?}: {:?}", begun.elapsed());
    }
}

/// Pieces of good files in any order: whatever it is, there is an answer, and its file loads.
#[test]
fn mutations() {
    let mut lines: Vec<String> = Vec::new();
    for source in [
        "direct.conf",
        "nat.conf",
        "tunnel.conf",
        "groups.conf",
        "templates.conf",
        "broken.conf",
    ] {
        let text = fs::read_to_string(data().join(source)).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    let saved = fs::read_to_string(data().join("full.save")).unwrap();
    let saved: Vec<String> = saved.lines().map(str::to_owned).collect();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let is_saved = round % 4 == 0;
        let from = if is_saved { &saved } else { &lines };
        let start = chance.below(from.len());
        let mut text: Vec<String> = from.iter().skip(start).take(60).cloned().collect();
        for _ in 0..chance.below(12) {
            let line = chance.below(text.len());
            let other = from[chance.below(from.len())].clone();
            match chance.below(5) {
                0 => drop(text.remove(line)),
                1 => text.insert(line, other),
                2 => text[line] = other,
                3 => {
                    let mut words: Vec<&str> = text[line].split(' ').collect();
                    let word = chance.below(words.len());
                    words.swap(0, word);
                    text[line] = words.join(" ");
                }
                _ => {
                    let at = chance.below(text[line].chars().count() + 1);
                    let odd = [
                        "{", "}", "\"", "$", "~", "@", "\\", "\u{0}", "65536", "-1", "ä", "::",
                    ];
                    let mut changed: String = text[line].chars().take(at).collect();
                    changed.push_str(odd[chance.below(odd.len())]);
                    changed.extend(text[line].chars().skip(at));
                    text[line] = changed;
                }
            }
            if text.is_empty() {
                text.push(String::new());
            }
        }
        let text = text.join("\n");
        let surroundings = Surroundings {
            names: &Fixed,
            interfaces: &mut Unknown,
            marks: marks::Imported::default(),
            files: &mut Data,
            config_id: "one",
        };
        let imported = if is_saved {
            import::ipvsadm("s", &text, surroundings)
        } else {
            import::keepalived(Path::new("k"), &text, surroundings)
        };
        site(&imported.text);
    }
}

/// xorshift64: the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}
