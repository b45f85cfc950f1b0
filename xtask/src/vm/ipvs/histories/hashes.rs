//! Schedulers that look at the client's address, or at the destination's.

use std::net::SocketAddr;

use super::{History, Name, Terms};

pub(super) fn histories() -> Vec<History> {
    let mut histories = vec![
        dh(),
        History::mark6("dh, IPv6", "dh")
            .weights(&[1, 1, 1])
            .connect_to(0..40),
        History::udp("dh, one destination", "dh")
            .weights(&[1, 1, 1])
            .connect(0..3),
        sh("sh", None),
        sh("sh, sh-port", Some("sh-port")),
        sh("sh, sh-fallback", Some("sh-fallback")),
        sh("sh, both flags", Some("sh-fallback,sh-port")),
        History::udp6("sh, IPv6", "sh")
            .weights(&[1, 2, 3])
            .connect(0..40),
        History::udp6("sh, sh-port, IPv6", "sh")
            .flags("sh-port")
            .weights(&[1, 2, 3])
            .connect(0..40),
        sh_with_a_full_table(),
    ];
    histories.extend(
        [
            ("mh", None),
            ("mh, mh-port", Some("mh-port")),
            ("mh, mh-fallback", Some("mh-fallback")),
            ("mh, both flags", Some("mh-fallback,mh-port")),
        ]
        .map(|(title, flags)| mh(title, flags)),
    );
    histories.extend([
        History::udp("mh, equal weights", "mh")
            .weights(&[1; 3])
            .connect(0..300),
        mh_of_ten(),
        History::udp6("mh, IPv6", "mh")
            .weights(&[1, 2, 3, 1])
            .connect(0..300),
        History::udp6("mh, mh-port, IPv6", "mh")
            .flags("mh-port")
            .weights(&[1, 2, 3, 1])
            .connect(0..300),
        mh_in_another_order(),
    ]);
    histories
}

fn flagged(history: History, flags: Option<&'static str>) -> History {
    match flags {
        Some(flags) => history.flags(flags),
        None => history,
    }
}

/// The same client from several ports, all below the hundred ports of other clients.
fn ports(history: History, ports: std::ops::Range<u16>) -> History {
    ports.fold(history, |history, port| {
        history.connect_from(SocketAddr::from(([203, 0, 113, 77], 40_000 + port)))
    })
}

fn dh() -> History {
    History::mark("dh, by destination", "dh")
        .weights(&[1, 3, 1])
        .connect_to(0..64)
        .weight('b', 0)
        .connect_to(0..16)
        .remove('b')
        .connect_to(0..16)
        .add('d', 1)
        .connect_to(0..32)
}

fn sh(title: &str, flags: Option<&'static str>) -> History {
    let history = flagged(History::udp(title, "sh"), flags)
        .weights(&[1, 2, 3])
        .connect(0..100);
    let history = ports(history, 0..16).weight('b', 0).connect(100..160);
    let history = ports(history, 16..32).remove('c').connect(160..200);
    history.add('d', 4).connect(200..240)
}

fn sh_with_a_full_table() -> History {
    History::udp("sh, more weight than the table has buckets", "sh")
        .weights(&[200, 100, 50])
        .connect(0..80)
}

fn mh(title: &str, flags: Option<&'static str>) -> History {
    let history = flagged(History::udp(title, "mh"), flags)
        .weights(&[1, 2, 3, 5])
        .connect(0..500);
    let history = ports(history, 0..32).weight('b', 0).connect(500..700);
    let history = ports(history, 32..64).remove('c').connect(700..900);
    history.add('e', 4).connect(900..1100)
}

/// Addresses and ports that have nothing in common; the hash is of both.
fn mh_of_ten() -> History {
    let servers = [
        ("10.1.0.1:80", 10),
        ("10.1.7.9:8080", 20),
        ("10.1.200.3:443", 30),
        ("10.1.0.2:80", 7),
        ("10.1.33.4:8443", 10),
        ("10.1.90.90:53", 1),
        ("10.1.1.1:65535", 100),
        ("10.1.2.3:1", 64),
        ("10.1.64.64:80", 3),
        ("10.1.0.255:80", 12),
    ];
    let history = History::udp("mh, ten servers of all kinds", "mh");
    add_all(history, &servers).connect(0..500)
}

/// Does the order of adding matter?
fn mh_in_another_order() -> History {
    let servers = [("10.1.0.3:80", 3), ("10.1.0.1:80", 1), ("10.1.0.2:80", 2)];
    let history = History::udp(
        "mh, servers are not added in the order of their addresses",
        "mh",
    );
    add_all(history, &servers).connect(0..300)
}

fn add_all(history: History, servers: &[(&str, u32)]) -> History {
    let named = ('a'..).zip(servers);
    named.fold(
        history,
        |history, (name, (address, weight)): (Name, _)| match address.parse() {
            Ok(address) => history.add_at(name, address, Terms::weight(*weight)),
            Err(_) => unreachable!("{address} is no address"),
        },
    )
}
