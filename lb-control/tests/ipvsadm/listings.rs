//! Names, order and speed of listings.

use lb_control::{
    control::table::{Origin, Table},
    model::{Forwarding, Scheduler},
};

use super::{
    director::{Fixed, run},
    fixture::{self, server, service},
};

#[test]
fn names_are_cut_as_ipvsadm_cuts_them() {
    let ended = run(&mut Fixed::with(fixture::table()), &["-L"]);
    // As ipvsadm 1.31 prints these names.
    for line in [
        "TCP  web.example.org:http wlc",
        "  -> a-real-server-with-a-very-lo Route   1      12         345       ",
        "  -> real-server-12.rack.example. Masq    100    7          8         ",
        "UDP  web.example.org:domain rr ops",
        "SCTP a-director-with-a-long-name. ovf",
        "TCP  [v6.example.org]:http lc persistent 360 mask 64",
        "  -> [a-real-server-with-a-long-name.v6.example.org]:8080 Masq    1      4          2         ",
        "  -> 10.0.0.31:0                  Route   1      0          0         ",
    ] {
        assert!(
            ended.out.lines().any(|printed| printed == line),
            "{line}\n{}",
            ended.out
        );
    }
    let without = run(&mut Fixed::with(fixture::table()), &[]);
    assert_eq!(ended, without, "no words at all list everything");
}

#[test]
fn the_order_is_that_of_ipvsadm() {
    let rows = [
        "TCP 10.0.0.1:80",
        "TCP 192.0.2.1:80",
        "TCP 100.0.2.1:443",
        "TCP [2001:db8::80]:80",
        "TCP [a001:db8::80]:80",
        "SCTP 1.2.3.4:36412",
        "FWM 4000000000",
        "FWM 7",
        "UDP 1.2.3.4:53",
    ];
    let at = [
        "[2001:db8::11]:80",
        "192.0.2.7:80",
        "10.0.0.7:80",
        "10.0.0.7:70",
        "100.0.0.7:70",
    ];
    let mut table = Table::default();
    for id in rows {
        let mut row = service(id, Scheduler::Wlc);
        row.servers = at
            .map(|at| server(at, Forwarding::Direct, [1, 0, 0]))
            .into();
        table.services.push(row);
    }
    let first_words = |out: &str| -> Vec<String> {
        let words = |line: &str| {
            let words: Vec<&str> = line.split_ascii_whitespace().take(2).collect();
            words.join(" ")
        };
        out.lines().skip(3).map(words).collect()
    };
    let mut director = Fixed::with(table);
    let sorted = first_words(&run(&mut director, &["-Ln"]).out);
    // Recorded of ipvsadm 1.31: what is further apart than half of all addresses stands the other way round.
    let servers = [
        "-> 192.0.2.7:80",
        "-> 10.0.0.7:70",
        "-> 10.0.0.7:80",
        "-> [2001:db8::11]:80",
        "-> 100.0.0.7:70",
    ];
    let services = [
        "FWM -294967296",
        "TCP 100.0.2.1:443",
        "TCP 192.0.2.1:80",
        "TCP 10.0.0.1:80",
        "UDP 1.2.3.4:53",
        "SCTP 1.2.3.4:36412",
        "TCP [2001:db8::80]:80",
        "TCP [a001:db8::80]:80",
        "FWM 7",
    ];
    let mut expected = Vec::new();
    for service in services {
        expected.push(service.to_owned());
        expected.extend(servers.map(str::to_owned));
    }
    assert_eq!(sorted, expected);
    let unsorted = first_words(&run(&mut director, &["-Ln", "--nosort"]).out);
    assert_eq!(unsorted[0], "TCP 10.0.0.1:80");
    assert_eq!(unsorted[1], "-> [2001:db8::11]:80");
}

#[test]
fn servers_that_are_out_of_the_table_are_saved_but_not_listed() {
    let mut table = Table::default();
    let mut row = service("TCP 192.0.2.10:80", Scheduler::Rr);
    let mut gone = server("10.0.0.1:80", Forwarding::FullNat, [0, 0, 0]);
    gone.present = false;
    gone.configured_weight = 5;
    gone.origin = Origin::Command;
    row.servers.push(gone);
    table.services.push(row);
    table.timeouts = fixture::table().timeouts;
    let mut director = Fixed::with(table);
    let listed = run(&mut director, &["-Ln"]);
    assert!(!listed.out.contains("10.0.0.1"), "{}", listed.out);
    let saved = run(&mut director, &["-Sn"]);
    assert_eq!(
        saved.out,
        "-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 10.0.0.1:80 -m -w 5\n"
    );
}

#[test]
fn a_large_table_is_listed() {
    let mut table = Table::default();
    for number in 0..10_000_u32 {
        let id = format!("TCP 10.{}.{}.1:80", number / 256, number % 256);
        let mut row = service(&id, Scheduler::Wlc);
        row.servers = (1..=10)
            .map(|host| {
                let at = format!("10.{}.{}.{host}:80", 128 + number / 256, number % 256);
                server(&at, Forwarding::Direct, [1, 0, 0])
            })
            .collect();
        table.services.push(row);
    }
    let ended = run(&mut Fixed::with(table), &["-Ln", "--stats"]);
    assert_eq!(ended.out.lines().count(), 3 + 10_000 * 11);
}
