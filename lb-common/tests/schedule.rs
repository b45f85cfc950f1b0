//! Schedulers: who gets the next flow, against tables worked by hand.

use lb_common::{
    maps::{Load, MethodKind, Role, SchedulerKind, Server, Service},
    state::ticks,
    tables::Tables,
    testing::{FRONT, HostPacket, HostTables, Site, balance, server, service_key, tcp},
    verdict::{Reason, Verdict},
    wire::{protocol::TCP, tcp::flags::SYN},
};

const VIRTUAL: &str = "192.0.2.10:80";

#[test]
fn wlc_takes_the_lowest_overhead_by_weight_and_the_first_of_equals() {
    // For each server weight, active, inactive; overhead = 256 * active + inactive.
    type Row = (&'static [(u32, u32, u32)], Option<u32>, &'static str);
    let table: [Row; 14] = [
        (&[(1, 0, 0), (1, 0, 0), (1, 0, 0)], Some(1), "0, 0, 0"),
        (&[(1, 0, 1), (1, 0, 0), (1, 0, 0)], Some(2), "1, 0, 0"),
        (
            &[(1, 1, 0), (1, 0, 255), (1, 2, 0)],
            Some(2),
            "256, 255, 512",
        ),
        (&[(1, 1, 0), (1, 0, 256)], Some(1), "256 each"),
        (&[(1, 1, 1), (1, 0, 256)], Some(2), "257, 256"),
        (&[(1, 1, 0), (3, 3, 0)], Some(1), "256 / 1 and 768 / 3"),
        (&[(1, 1, 0), (3, 2, 255)], Some(2), "256 / 1 and 767 / 3"),
        (&[(2, 3, 0), (3, 4, 0)], Some(2), "384 and 341"),
        (
            &[(3, 4, 0), (2, 3, 0)],
            Some(1),
            "the same the other way round",
        ),
        (
            &[(0, 0, 0), (1, 9, 9)],
            Some(2),
            "weight 0 is not available",
        ),
        (&[(0, 0, 0), (0, 0, 0)], None, "nobody is"),
        (&[(5, 0, 0), (1, 0, 0)], Some(1), "0 / 5 and 0 / 1"),
        (&[(1, 0, 0), (5, 0, 0)], Some(1), "0 / 1 and 0 / 5"),
        (
            // In 32 bits the products would be 0 and 256.
            &[(32_767, 65_536, 0), (32_768, 1, 0)],
            Some(2),
            "2^24 / 32767 and 256 / 32768",
        ),
    ];
    for (servers, expected, name) in table {
        let tables = site(
            SchedulerKind::LEAST_LOADED,
            servers.len(),
            |index, server| server.weight(servers[index].0 as u16),
        );
        for (id, (_, active, inactive)) in (1..).zip(servers) {
            set_load(&tables, id, *active, *inactive);
        }
        assert_eq!(chosen(&tables, "198.51.100.7:4321"), expected, "{name}");
    }
}

#[test]
fn nobody_gets_a_server_of_another_service() {
    // The slots that a service has just given up may hold another's servers already.
    let mut tables = site(SchedulerKind::TURNS, 1, |_, server| server);
    assert_eq!(chosen(&tables, "198.51.100.7:1"), Some(1));
    for server in &mut tables.servers {
        server.service += 1;
    }
    assert_eq!(chosen(&tables, "198.51.100.7:2"), None);
}

#[test]
fn wlc_spreads_new_flows_by_weight() {
    // Weights 1, 2 and 3, flows that stay in SYN_RECV: overheads grow by 256. Worked by hand; the
    // first of equals wins: 0 0 0, 1 0 0, 1 ½ 0, 1 ½ ⅓, 1 ½ ⅔, 1 1 ⅔, and so on.
    let tables = site(SchedulerKind::LEAST_LOADED, 3, |index, server| {
        server.weight(index as u16 + 1)
    });
    let got: Vec<_> = (1..=12)
        .filter_map(|port| chosen(&tables, &format!("198.51.100.7:{port}")))
        .collect();
    assert_eq!(got, [1, 2, 3, 3, 2, 3, 1, 2, 3, 3, 2, 3]);
}

#[test]
fn wlc_leaves_out_who_is_not_present() {
    let tables = site(SchedulerKind::LEAST_LOADED, 2, |index, server| Server {
        flags: if index == 0 { 0 } else { Server::PRESENT },
        ..server
    });
    assert_eq!(chosen(&tables, "198.51.100.7:4321"), Some(2));
}

#[test]
fn turns_go_round_and_begin_with_the_first() {
    let tables = site(SchedulerKind::TURNS, 3, |_, server| server);
    let got: Vec<_> = (1..=7)
        .filter_map(|port| chosen(&tables, &format!("198.51.100.7:{port}")))
        .collect();
    assert_eq!(got, [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn turns_follow_the_ring_as_wrr_lays_it() {
    // IPVS's wrr for weights 4, 3 and 2 gives AABABCABC.
    let mut tables = site(SchedulerKind::TURNS, 3, |_, server| server);
    tables.ring = vec![1, 1, 2, 1, 2, 3, 1, 2, 3];
    for service in tables.services.values_mut() {
        service.slots = 9;
    }
    let got: Vec<_> = (1..=11)
        .filter_map(|port| chosen(&tables, &format!("198.51.100.7:{port}")))
        .collect();
    assert_eq!(got, [1, 1, 2, 1, 2, 3, 1, 2, 3, 1, 1]);
}

#[test]
fn services_take_turns_by_themselves() {
    let servers = [
        server(MethodKind::DIRECT, "10.0.0.11:80", 0x51),
        server(MethodKind::DIRECT, "10.0.0.12:80", 0x52),
    ];
    let tables = Site::default()
        .service(TCP, VIRTUAL, SchedulerKind::TURNS, &servers)
        .service(TCP, "192.0.2.11:80", SchedulerKind::TURNS, &servers)
        .tables();
    let got: Vec<_> = [VIRTUAL, VIRTUAL, "192.0.2.11:80", VIRTUAL, "192.0.2.11:80"]
        .iter()
        .enumerate()
        .filter_map(|(port, to)| chosen_by(&tables, &format!("198.51.100.7:{}", port + 1), to))
        .collect();
    assert_eq!(got, [1, 2, 3, 1, 4]);
}

#[test]
fn a_client_stays_with_the_server_of_its_hash() {
    // 1.0.0.1 is in slot 0xa8, 1.0.0.2 in 0x0a, 1.0.0.3 in 0x6c, whatever the port.
    let mut tables = site(SchedulerKind::SOURCE_HASH, 3, |_, server| server);
    tables.ring = vec![3; 256];
    tables.ring[0xa8] = 1;
    tables.ring[0x0a] = 2;
    for service in tables.services.values_mut() {
        service.slots = 256;
    }
    for (client, expected) in [("1.0.0.1", 1), ("1.0.0.2", 2), ("1.0.0.3", 3)] {
        for port in [1, 2, 65_535] {
            let got = chosen(&tables, &format!("{client}:{port}"));
            assert_eq!(got, Some(expected), "{client}:{port}");
        }
    }
    // As IPVS without sh-fallback: who is quiesced is not replaced.
    tables.servers[1].weight = 0;
    assert_eq!(chosen(&tables, "1.0.0.1:9"), None);
    assert_eq!(chosen(&tables, "1.0.0.2:9"), Some(2));
}

/// All schedulers of the data plane.
const KINDS: [(SchedulerKind, &str); 14] = [
    (SchedulerKind::TURNS, "turns"),
    (SchedulerKind::LEAST_LOADED, "wlc"),
    (SchedulerKind::SOURCE_HASH, "sh"),
    (SchedulerKind::LEAST_CONNECTIONS, "lc"),
    (SchedulerKind::SHORTEST_DELAY, "sed"),
    (SchedulerKind::NEVER_QUEUE, "nq"),
    (SchedulerKind::FAILOVER, "fo"),
    (SchedulerKind::OVERFLOW, "ovf"),
    (SchedulerKind::TWO_CHOICES, "twos"),
    (SchedulerKind::DESTINATION_HASH, "dh"),
    (SchedulerKind::MAGLEV, "mh"),
    (SchedulerKind::MAGLEV_COMPAT, "mh-compat"),
    (SchedulerKind::LOCALITY, "lblc"),
    (SchedulerKind::LOCALITY_SET, "lblcr"),
];

#[test]
fn the_least_is_what_the_scheduler_compares() {
    // For each server weight, active, inactive; fo and ovf find the heaviest first in the ring.
    type Row = (
        SchedulerKind,
        &'static [(u16, u32, u32)],
        Option<u32>,
        &'static str,
    );
    let (lc, sed, nq, fo, ovf) = (
        SchedulerKind::LEAST_CONNECTIONS,
        SchedulerKind::SHORTEST_DELAY,
        SchedulerKind::NEVER_QUEUE,
        SchedulerKind::FAILOVER,
        SchedulerKind::OVERFLOW,
    );
    let table: [Row; 17] = [
        (
            lc,
            &[(1, 2, 0), (9, 2, 1)],
            Some(1),
            "512 and 513, whatever the weight",
        ),
        (lc, &[(1, 2, 0), (9, 1, 255)], Some(2), "512 and 511"),
        (lc, &[(1, 1, 0), (1, 0, 256)], Some(1), "256 each"),
        (
            lc,
            &[(0, 0, 0), (1, 5, 0)],
            Some(2),
            "weight 0 is not available",
        ),
        (sed, &[(1, 0, 0), (4, 2, 0)], Some(2), "1 / 1 and 3 / 4"),
        (sed, &[(1, 0, 0), (4, 3, 0)], Some(1), "1 / 1 and 4 / 4"),
        (
            sed,
            &[(1, 0, 9), (1, 0, 0)],
            Some(1),
            "inactive ones do not count",
        ),
        (
            nq,
            &[(9, 1, 0), (1, 0, 5)],
            Some(2),
            "idle, though 2 / 9 is less than 1 / 1",
        ),
        (
            nq,
            &[(1, 1, 0), (4, 2, 0)],
            Some(2),
            "nobody is idle: 2 / 1 and 3 / 4",
        ),
        (
            nq,
            &[(1, 0, 0), (9, 0, 0)],
            Some(1),
            "the first that is idle",
        ),
        (
            fo,
            &[(5, 900, 9), (3, 0, 0)],
            Some(1),
            "the heaviest, whatever it has to do",
        ),
        (
            fo,
            &[(0, 0, 0), (3, 0, 0)],
            Some(2),
            "the heaviest that is available",
        ),
        (ovf, &[(3, 3, 99), (2, 0, 0)], Some(1), "3 connections of 3"),
        (ovf, &[(3, 4, 0), (2, 0, 0)], Some(2), "4 of 3"),
        (ovf, &[(3, 4, 0), (2, 2, 0)], Some(2), "4 of 3 and 2 of 2"),
        (ovf, &[(3, 4, 0), (2, 3, 0)], None, "4 of 3 and 3 of 2"),
        (
            ovf,
            &[(3, 4, 0), (0, 0, 0)],
            None,
            "weight 0 is not available",
        ),
    ];
    for (kind, servers, expected, name) in table {
        let tables = site(kind, servers.len(), |index, server| {
            server.weight(servers[index].0)
        });
        for (id, (_, active, inactive)) in (1..).zip(servers) {
            set_load(&tables, id, *active, *inactive);
        }
        assert_eq!(chosen(&tables, "198.51.100.7:4321"), expected, "{name}");
    }
}

#[test]
fn nobody_gets_who_is_not_available() {
    type Change = (fn(&mut HostTables, u32), &'static str);
    let table: [Change; 4] = [
        (
            |tables, id| tables.servers[id as usize].weight = 0,
            "weight 0",
        ),
        (
            |tables, id| tables.servers[id as usize].flags = 0,
            "not present",
        ),
        (
            |tables, id| tables.servers[id as usize].service += 1,
            "of another service",
        ),
        (
            |tables, id| {
                tables.servers[id as usize].flags |= Server::LIMITED;
                let mut loads = tables.loads.borrow_mut();
                loads.entry(id).or_default().overloaded = 1;
            },
            "overloaded",
        ),
    ];
    for (kind, scheduler) in KINDS {
        for (spoil, how) in table {
            for gone in [1, 2] {
                let mut tables = site(kind, 2, |_, server| server.weight(100));
                tables.ring = [1, 2].repeat(32);
                for service in tables.services.values_mut() {
                    service.slots = 64;
                    service.flags |= Service::FALLBACK;
                }
                spoil(&mut tables, gone);
                for client in 1..=20 {
                    let client = format!("198.51.100.{client}:1");
                    let name = format!("{scheduler}, server {gone} {how}, {client}");
                    assert_eq!(chosen(&tables, &client), Some(3 - gone), "{name}");
                }
                spoil(&mut tables, 3 - gone);
                let name = format!("{scheduler}, all {how}");
                assert_eq!(chosen(&tables, "198.51.100.99:1"), None, "{name}");
            }
        }
    }
}

#[test]
fn who_has_no_thresholds_is_never_overloaded() {
    for (kind, scheduler) in KINDS {
        let tables = site(kind, 1, |_, server| server);
        let load = Load {
            overloaded: 1,
            ..Load::default()
        };
        tables.loads.borrow_mut().insert(1, load);
        assert_eq!(chosen(&tables, "198.51.100.7:1"), Some(1), "{scheduler}");
    }
}

#[test]
fn who_is_overloaded_loses_its_turn() {
    let tables = site(SchedulerKind::TURNS, 3, |index, server| {
        server.with(if index == 1 { Server::LIMITED } else { 0 })
    });
    let next = |port: u16| chosen(&tables, &format!("198.51.100.7:{port}"));
    assert_eq!([next(1), next(2), next(3)], [Some(1), Some(2), Some(3)]);
    tables.set_overloaded(2, true);
    assert_eq!([next(4), next(5), next(6)], [Some(1), Some(3), Some(1)]);
    tables.set_overloaded(2, false);
    assert_eq!([next(7), next(8), next(9)], [Some(2), Some(3), Some(1)]);
}

#[test]
fn twos_takes_the_less_loaded_of_two() {
    // The busy one only if it is drawn twice: one time in four.
    let tables = site(SchedulerKind::TWO_CHOICES, 2, |_, server| server);
    set_load(&tables, 1, 1_000, 0);
    let busy = (1..=400)
        .filter_map(|port| chosen(&tables, &format!("198.51.100.7:{port}")))
        .filter(|id| *id == 1)
        .count();
    assert!((60..=140).contains(&busy), "{busy} of 400");
}

#[test]
fn twos_draws_by_share_and_compares_by_weight() {
    // Three slots for the second, one for the first, and nobody has anything to do: the first of
    // both draws wins.
    let mut tables = site(SchedulerKind::TWO_CHOICES, 2, |index, server| {
        server.weight(if index == 0 { 1 } else { 3 })
    });
    tables.ring = vec![1, 2, 2, 2];
    for service in tables.services.values_mut() {
        service.slots = 4;
    }
    let mut first = 0;
    for port in 1..=400 {
        if chosen(&tables, &format!("198.51.100.7:{port}")) == Some(1) {
            first += 1;
        }
        tables.loads.borrow_mut().clear();
    }
    assert!((60..=140).contains(&first), "{first} of 400");
    // 256 / 1 is less than 1024 / 3.
    set_load(&tables, 1, 1, 0);
    set_load(&tables, 2, 4, 0);
    let busier = tables.loads.borrow().clone();
    let mut first = 0;
    for port in 1_000..1_400 {
        if chosen(&tables, &format!("198.51.100.7:{port}")) == Some(1) {
            first += 1;
        }
        tables.loads.borrow_mut().clone_from(&busier);
    }
    // Unless the second is drawn twice: nine times in sixteen.
    assert!((135..=215).contains(&first), "{first} of 400");
}

#[test]
fn sh_looks_at_the_port_and_at_other_slots_if_it_is_told_to() {
    let laid = |flags| {
        // 1.0.0.1 is in slot 0xa8. The slots after that are 2 * 0xa8 and those that follow
        // (`ip_vs_sh_get_fallback`).
        let mut tables = site(SchedulerKind::SOURCE_HASH, 4, |_, server| server);
        tables.ring = vec![4; 256];
        tables.ring[0xa8] = 1;
        tables.ring[0x50] = 1;
        tables.ring[0x51] = 2;
        tables.ring[0x0a] = 2;
        tables.ring[0x6c] = 3;
        for service in tables.services.values_mut() {
            service.slots = 256;
            service.flags = flags;
        }
        tables
    };
    let tables = laid(Service::HASH_PORT);
    for (client, expected) in [("1.0.0.0:1", 1), ("1.0.0.1:1", 2), ("1.0.0.1:2", 3)] {
        // Address and port are added: those of 1.0.0.1, 1.0.0.2 and 1.0.0.3.
        assert_eq!(chosen(&tables, client), Some(expected), "{client}");
    }
    let mut tables = laid(Service::FALLBACK);
    assert_eq!(chosen(&tables, "1.0.0.1:1"), Some(1));
    tables.servers[1].weight = 0;
    assert_eq!(chosen(&tables, "1.0.0.1:2"), Some(2));
    tables.servers[2].weight = 0;
    assert_eq!(chosen(&tables, "1.0.0.1:3"), Some(4));
    tables.servers[4].hop.interface = 0;
    assert_eq!(
        chosen(&tables, "1.0.0.1:4"),
        Some(3),
        "not who cannot be reached"
    );
}

#[test]
fn dh_looks_at_the_destination() {
    // 192.0.2.10 as a number times 0x61c88647, worked with a calculator: its upper byte is 0xa2.
    let mut tables = site(SchedulerKind::DESTINATION_HASH, 2, |_, server| server);
    tables.ring = vec![2; 256];
    tables.ring[0xa2] = 1;
    for service in tables.services.values_mut() {
        service.slots = 256;
        service.flags = Service::HASH_PORT;
    }
    for client in ["198.51.100.7:1", "1.0.0.1:2", "203.0.113.9:4711"] {
        assert_eq!(chosen(&tables, client), Some(1), "{client}");
    }
}

#[test]
fn who_is_where_in_mh_is_a_secret() {
    // A hundred clients, two servers. Addresses that IPVS's hash does not tell apart are told apart,
    // and with another secret half of all clients are elsewhere.
    let laid = |kind, secret| {
        let mut tables = Site::default()
            .service(
                TCP,
                "[2001:db8::10]:80",
                kind,
                &[
                    server(MethodKind::DIRECT, "[fd00::11]:80", 0x51),
                    server(MethodKind::DIRECT, "[fd00::12]:80", 0x52),
                ],
            )
            .settings(|settings| settings.secret = secret)
            .tables();
        tables.capacity = 10_000;
        tables
    };
    let clients: Vec<_> = (1..=100)
        .map(|number| format!("[2001:db8:{number:x}::{number:x}:7]:4321"))
        .collect();
    let firsts = |tables: &HostTables| {
        let chosen = |client| chosen_by(tables, client, "[2001:db8::10]:80") == Some(1);
        clients
            .iter()
            .map(|client| chosen(client))
            .collect::<Vec<_>>()
    };
    let known = firsts(&laid(SchedulerKind::MAGLEV_COMPAT, [1, 2]));
    assert!(
        known.iter().all(|first| *first == known[0]),
        "all fold to one"
    );
    let one = firsts(&laid(SchedulerKind::MAGLEV, [1, 2]));
    let two = firsts(&laid(SchedulerKind::MAGLEV, [1, 3]));
    let again = firsts(&laid(SchedulerKind::MAGLEV, [1, 2]));
    assert_eq!(one, again);
    let count = one.iter().filter(|first| **first).count();
    assert!((30..=70).contains(&count), "{count} of 100 get the first");
    let moved = one.iter().zip(&two).filter(|(one, two)| one != two).count();
    assert!((30..=70).contains(&moved), "{moved} of 100 are elsewhere");
}

#[test]
fn mh_without_fallback_refuses_and_with_it_keeps_all_others() {
    let laid = |flags| {
        let tables = site(SchedulerKind::MAGLEV, 3, |_, server| server);
        let mut services = tables.services.clone();
        for service in services.values_mut() {
            service.flags = flags;
        }
        HostTables { services, ..tables }
    };
    let clients: Vec<_> = (1..=60)
        .map(|last| format!("198.51.100.{last}:9"))
        .collect();
    let before = laid(0);
    let before: Vec<_> = clients
        .iter()
        .map(|client| chosen(&before, client))
        .collect();
    for flags in [0, Service::FALLBACK] {
        let mut tables = laid(flags);
        tables.servers[2].weight = 0;
        for (client, before) in clients.iter().zip(&before) {
            let got = chosen(&tables, client);
            if *before != Some(2) {
                assert_eq!(got, *before, "{client}");
            } else if flags == 0 {
                assert_eq!(got, None, "{client}");
            } else {
                assert!(matches!(got, Some(1 | 3)), "{client}: {got:?}");
            }
        }
    }
}

#[test]
fn lblc_keeps_a_destination_with_its_server() {
    let tables = caches(SchedulerKind::LOCALITY, &[4, 4, 4]);
    let get = |port: u16, to| chosen_by(&tables, &format!("198.51.100.7:{port}"), to);
    assert_eq!(get(1, CACHES[0]), Some(1), "the first of equals");
    set_load(&tables, 1, 4, 0);
    assert_eq!(get(2, CACHES[0]), Some(1), "4 connections of weight 4");
    assert_eq!(
        get(3, CACHES[1]),
        Some(2),
        "another destination, another server"
    );
    set_load(&tables, 1, 5, 0);
    set_load(&tables, 2, 2, 0);
    set_load(&tables, 3, 2, 0);
    assert_eq!(
        get(4, CACHES[0]),
        Some(1),
        "5 of 4, but nobody is idle: 2 * 2 is not below 4"
    );
    set_load(&tables, 3, 1, 0);
    assert_eq!(get(5, CACHES[0]), Some(3), "now somebody is");
    set_load(&tables, 1, 0, 0);
    assert_eq!(get(6, CACHES[0]), Some(3), "and it stays there");
}

#[test]
fn lblc_forgets_a_destination_that_was_not_used_for_a_day() {
    let hour = ticks(60 * 60);
    let tables = caches(SchedulerKind::LOCALITY, &[1, 1]);
    let get = |port: u16| chosen_by(&tables, &format!("198.51.100.7:{port}"), CACHES[0]);
    assert_eq!(get(1), Some(1));
    set_load(&tables, 1, 1, 0);
    tables.advance(23 * hour);
    assert_eq!(get(2), Some(1), "23 hours");
    set_load(&tables, 1, 1, 0);
    tables.advance(23 * hour);
    assert_eq!(get(3), Some(1), "23 hours after it was used again");
    set_load(&tables, 1, 1, 0);
    tables.advance(ticks(24 * 60 * 60));
    assert_eq!(get(4), Some(2), "a day");
}

#[test]
fn lblcr_adds_servers_to_a_destination_and_takes_one_off_each_day() {
    let hour = ticks(60 * 60);
    let tables = caches(SchedulerKind::LOCALITY_SET, &[2, 2, 2]);
    let get = |port: u16| chosen_by(&tables, &format!("198.51.100.7:{port}"), CACHES[0]);
    let set = || {
        let localities = tables.localities.borrow();
        let (_, locality) = localities.first_key_value().expect("a destination");
        locality.servers
    };
    assert_eq!(get(1), Some(1));
    assert_eq!(set(), [1, 0, 0, 0, 0, 0, 0, 0]);
    set_load(&tables, 1, 3, 0);
    assert_eq!(get(2), Some(2), "3 of 2, and the second is idle");
    assert_eq!(set(), [2, 1, 0, 0, 0, 0, 0, 0]);
    set_load(&tables, 2, 3, 0);
    assert_eq!(get(3), Some(3), "both have too much to do");
    assert_eq!(set(), [3, 2, 1, 0, 0, 0, 0, 0]);
    set_load(&tables, 1, 1, 0);
    set_load(&tables, 2, 2, 0);
    set_load(&tables, 3, 1, 0);
    assert_eq!(get(4), Some(3), "of equals the one that came last");
    for port in [5, 6] {
        tables.advance(12 * hour);
        set_load(&tables, 1, 1, 0);
        set_load(&tables, 2, 2, 0);
        set_load(&tables, 3, 1, 0);
        assert_eq!(get(port), Some(3));
        assert_eq!(set(), [3, 2, 1, 0, 0, 0, 0, 0], "a day has not passed");
    }
    tables.advance(ticks(60));
    set_load(&tables, 1, 1, 0);
    set_load(&tables, 2, 2, 0);
    set_load(&tables, 3, 1, 0);
    assert_eq!(get(7), Some(3));
    assert_eq!(set(), [3, 1, 0, 0, 0, 0, 0, 0], "the busiest has left");
}

#[test]
fn a_set_of_lblcr_has_no_more_than_eight() {
    let tables = caches(SchedulerKind::LOCALITY_SET, &[2; 10]);
    let get = |port: u16| chosen_by(&tables, &format!("198.51.100.7:{port}"), CACHES[0]);
    for id in 1..=10 {
        assert_eq!(get(id as u16), Some(id), "all before have too much to do");
        set_load(&tables, id, 3, 0);
    }
    let localities = tables.localities.borrow();
    let (_, locality) = localities.first_key_value().expect("a destination");
    assert_eq!(locality.servers, [10, 9, 8, 7, 6, 5, 4, 3]);
}

/// Two destinations of one service.
const CACHES: [&str; 2] = ["192.0.2.10:80", "192.0.2.11:80"];

/// A service for several destinations.
fn caches(scheduler: SchedulerKind, weights: &[u16]) -> HostTables {
    let mut tables = site(scheduler, weights.len(), |index, server| {
        server.weight(weights[index])
    });
    let key = service_key(TCP, CACHES[0]);
    let service = tables.services[&key];
    let other = service_key(TCP, CACHES[1]);
    tables.services.insert(other, service);
    tables.roles.insert(other.address, Role::VIRTUAL);
    tables
}

fn set_load(tables: &HostTables, id: u32, active: u32, inactive: u32) {
    let load = Load {
        active,
        inactive,
        ..Load::default()
    };
    tables.loads.borrow_mut().insert(id, load);
}

/// A service with servers 1, 2, 3 …
fn site(
    scheduler: SchedulerKind,
    count: usize,
    change: impl Fn(usize, Server) -> Server,
) -> HostTables {
    let servers: Vec<_> = (0..count)
        .map(|index| {
            let last = 11 + index as u8;
            let address = format!("10.0.0.{last}:80");
            change(index, server(MethodKind::DIRECT, &address, last))
        })
        .collect();
    Site::default()
        .service(TCP, VIRTUAL, scheduler, &servers)
        .tables()
}

/// Who gets the connection of this client: the server whose count goes up.
fn chosen(tables: &HostTables, client: &str) -> Option<u32> {
    chosen_by(tables, client, VIRTUAL)
}

fn chosen_by(tables: &HostTables, client: &str, to: &str) -> Option<u32> {
    let connections = |id: u32| {
        let traffic = tables.traffic.borrow();
        traffic.get(&id).map_or(0, |traffic| traffic.connections)
    };
    let ids = 1..tables.servers.len() as u32;
    let before: Vec<_> = ids.clone().map(connections).collect();
    let packet = tcp(client, to).flags(SYN).build();
    match balance(&mut HostPacket::new(&packet, FRONT), tables) {
        Ok(Verdict::Redirect(_)) => {}
        // It was refused, and told so or not.
        Ok(Verdict::Transmit) | Err(Reason::Unanswered) => return None,
        other => panic!("{other:?}"),
    }
    ids.zip(before)
        .find_map(|(id, before)| (connections(id) == before + 1).then_some(id))
}
