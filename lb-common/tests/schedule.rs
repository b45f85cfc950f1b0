//! Schedulers: who gets the next flow, against tables worked by hand.

use lb_common::{
    maps::{Load, MethodKind, SchedulerKind, Server},
    testing::{FRONT, HostPacket, HostTables, Site, balance, server, tcp},
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
            let load = Load {
                active: *active,
                inactive: *inactive,
                ..Load::default()
            };
            tables.loads.borrow_mut().insert(id, load);
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
    // 0.0.0.1 is in slot 0x61, 0.0.0.2 in 0xc3, 0.0.0.3 in 0x25, whatever the port.
    let mut tables = site(SchedulerKind::SOURCE_HASH, 3, |_, server| server);
    tables.ring = vec![3; 256];
    tables.ring[0x61] = 1;
    tables.ring[0xc3] = 2;
    for service in tables.services.values_mut() {
        service.slots = 256;
    }
    for (client, expected) in [("0.0.0.1", 1), ("0.0.0.2", 2), ("0.0.0.3", 3)] {
        for port in [1, 2, 65_535] {
            let got = chosen(&tables, &format!("{client}:{port}"));
            assert_eq!(got, Some(expected), "{client}:{port}");
        }
    }
    // As IPVS without sh-fallback: who is quiesced is not replaced.
    tables.servers[1].weight = 0;
    assert_eq!(chosen(&tables, "0.0.0.1:9"), None);
    assert_eq!(chosen(&tables, "0.0.0.2:9"), Some(2));
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
