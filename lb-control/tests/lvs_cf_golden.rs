//! lvs.cf against what the parser of Piranha 0.8.6 answered (data/lvs-cf-probes.jsonl): what it
//! accepted is accepted with the same values, what it refused is refused at the same line. The
//! exceptions are listed here, each with its reason.

use std::{collections::BTreeMap, net::IpAddr};

use lb_control::config::{self, Severity, names::Names};
use serde_json::Value;

const PROBES: &str = include_str!("data/lvs-cf-probes.jsonl");

/// Refused by Piranha, accepted here with a warning.
const LIBERTIES: &[(&str, &str)] = &[
    (
        "trailing-comment",
        "tutorials teach comments after directives",
    ),
    ("blank-after-eq-only", "`=` needs no blanks"),
    (
        "virtual-name-glued-brace",
        "a brace may touch the name of its block",
    ),
    (
        "server-glued-brace",
        "a brace may touch the name of its block",
    ),
];

/// Refused by Piranha, and a proper part of the language here.
const EXTENSIONS: &[(&str, &str)] = &[
    ("primary-ipv6", "IPv6"),
    ("sched-sed", "schedulers of IPVS that Piranha did not know"),
    ("sched-mh", "schedulers of IPVS that Piranha did not know"),
    (
        "nat_router-cidr",
        "a prefix length may stand with a floating address",
    ),
    (
        "address-cidr",
        "a prefix length may stand with a floating address",
    ),
    (
        "server-port-name",
        "names of services are ports in server blocks too",
    ),
];

/// Parsed by Piranha, refused here, since it cannot work.
const IMPOSSIBLE: &[(&str, &str)] = &[
    (
        "same-name-twice",
        "one address, port and protocol in two services",
    ),
    (
        "failover-and-virtual",
        "an active service without an address",
    ),
    ("port-70000", "no such port"),
    (
        "port-0",
        "all ports: none at which the server could be checked",
    ),
    (
        "timeout-0",
        "the time between two checks; nanny divided by it",
    ),
];

#[derive(serde::Deserialize)]
struct Probe {
    name: String,
    input: String,
    result: Value,
}

#[test]
fn every_answer_of_piranha() {
    let mut seen = 0;
    for line in PROBES.lines() {
        let probe: Probe = serde_json::from_str(line).unwrap();
        let said = config::parse_with(&probe.name, probe.input.as_bytes(), &mut Fixed);
        let listed = |list: &[(&str, &str)]| list.iter().any(|(name, _)| *name == probe.name);
        let why = format!("{}: {:#?}", probe.name, said.diagnostics);
        let accepted = said.site.is_some();
        if probe.result["ok"] == true {
            assert_eq!(accepted, !listed(IMPOSSIBLE), "{why}");
            let settings = serde_json::to_value(said.settings(&mut Fixed)).unwrap();
            for part in ["global", "virtual", "failover"] {
                assert_eq!(settings[part], probe.result[part], "{part} of {why}");
            }
        } else {
            assert_eq!(accepted, listed(LIBERTIES) || listed(EXTENSIONS), "{why}");
            if listed(LIBERTIES) {
                assert!(!said.diagnostics.is_empty(), "not a word about it: {why}");
            }
            let first = said
                .diagnostics
                .iter()
                .find(|one| one.severity == Severity::Error);
            if let Some(first) = first {
                let line = said.document.source.position(first.span).line;
                // An empty file has no line, which Piranha called line 0.
                let expected = probe.result["line"].as_u64().unwrap().max(1);
                assert_eq!(line as u64, expected, "{why}");
            }
        }
        seen += 1;
    }
    let names: BTreeMap<_, _> = [LIBERTIES, EXTENSIONS, IMPOSSIBLE]
        .concat()
        .into_iter()
        .collect();
    for name in names.keys() {
        assert!(
            PROBES.contains(&format!("{{\"name\": \"{name}\"")),
            "no probe is called {name}"
        );
    }
    assert!(seen > 100, "{seen} probes");
}

/// The names that the probes use, so that no name server is asked.
struct Fixed;

impl Names for Fixed {
    fn host(&mut self, name: &str) -> Option<IpAddr> {
        (name == "localhost").then(|| IpAddr::from([127, 0, 0, 1]))
    }

    fn service(&mut self, name: &str) -> Option<u16> {
        match name {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }
}
