//! The table that the golden listings are of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_control::{
    control::{
        connection::Connection,
        table::{
            Counts, Origin, PersistenceRow, ServerRow, ServiceRow, SyncDaemonRow, Table,
            TimeoutsRow,
        },
    },
    model::{Forwarding, Scheduler, SchedulerFlags, Tunnel},
    sync::ipvs::daemon::{SyncDaemon, SyncRole},
};

pub(crate) const V4_ONES: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
pub(crate) const V6_ONES: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

/// A service without servers.
pub(crate) fn service(id: &str, scheduler: Scheduler) -> ServiceRow {
    ServiceRow {
        service: id.parse().unwrap(),
        name: id.to_owned(),
        origin: Origin::File,
        matches: Vec::new(),
        scheduler,
        flags: SchedulerFlags::default(),
        persistence: None,
        one_packet: false,
        forwarding: Forwarding::Direct,
        counts: Counts::default(),
        rates: Counts::default(),
        servers: Vec::new(),
    }
}

/// A server with its weight, active and inactive connections.
pub(crate) fn server(at: &str, forwarding: Forwarding, numbers: [u32; 3]) -> ServerRow {
    let [weight, active, inactive] = numbers;
    let weight = u16::try_from(weight).unwrap();
    ServerRow {
        server: at.parse::<SocketAddr>().unwrap(),
        name: at.to_owned(),
        origin: Origin::File,
        present: true,
        forwarding,
        local: false,
        weight,
        configured_weight: weight,
        upper: 0,
        lower: 0,
        active,
        inactive,
        persistent: 0,
        counts: Counts::default(),
        rates: Counts::default(),
    }
}

fn counts(numbers: [u64; 5]) -> Counts {
    let [connections, packets_in, packets_out, bytes_in, bytes_out] = numbers;
    Counts {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
    }
}

fn half(counts: Counts) -> Counts {
    Counts {
        connections: counts.connections / 2,
        packets_in: counts.packets_in / 2,
        packets_out: counts.packets_out / 2,
        bytes_in: counts.bytes_in / 2,
        bytes_out: counts.bytes_out / 2,
    }
}

fn persistence(timeout: u32, mask: IpAddr, engine: Option<&str>) -> Option<PersistenceRow> {
    Some(PersistenceRow {
        timeout,
        mask,
        engine: engine.map(str::to_owned),
    })
}

/// The table; in an order that is not that of the listing.
pub(crate) fn table() -> Table {
    let both = SchedulerFlags {
        fallback: true,
        port: true,
        compat: false,
    };
    let one_to_five = counts([1, 2, 3, 4, 5]);
    let http = ServiceRow {
        counts: counts([
            1_234_567,
            98_765_432,
            87_654_321,
            12_345_678_901,
            987_654_321_012,
        ]),
        rates: counts([152, 9_123, 8_456, 1_145_678, 91_456_789]),
        servers: vec![
            ServerRow {
                local: true,
                ..server("10.0.0.13:80", Forwarding::Direct, [0, 0, 0])
            },
            server("10.0.0.11:80", Forwarding::Direct, [1, 12, 345]),
            ServerRow {
                upper: 1_000,
                lower: 750,
                persistent: 3,
                ..server("10.0.0.12:80", Forwarding::Nat, [100, 7, 8])
            },
        ],
        ..service("TCP 192.0.2.10:80", Scheduler::Wlc)
    };
    let tunnel = |tunnel| Forwarding::Tunnel { tunnel };
    let https = ServiceRow {
        persistence: persistence(300, Ipv4Addr::new(255, 255, 255, 0).into(), None),
        counts: counts([42, 4_242, 0, 424_242, 0]),
        rates: counts([0, 1, 0, 64, 0]),
        servers: vec![
            server(
                "[2001:db8::22]:443",
                tunnel(Tunnel::Gre { checksum: false }),
                [5, 0, 0],
            ),
            server(
                "10.0.0.22:443",
                tunnel(Tunnel::Gue {
                    port: 6_080,
                    checksum: true,
                }),
                [5, 1, 2],
            ),
            ServerRow {
                persistent: 1,
                ..server("10.0.0.21:443", tunnel(Tunnel::Ipip), [5, 1, 2])
            },
        ],
        ..service("TCP 192.0.2.10:443", Scheduler::Wrr)
    };
    let dns = ServiceRow {
        one_packet: true,
        counts: counts([99_999_999, 99_999_999, 99_999_999, 100_000_000, 999_999_999]),
        rates: counts([10, 10, 10, 100, 100]),
        servers: vec![server("10.0.0.53:5353", Forwarding::Nat, [1, 0, 17])],
        ..service("UDP 192.0.2.10:53", Scheduler::Rr)
    };
    let sip = ServiceRow {
        flags: both,
        persistence: persistence(600, V4_ONES, Some("sip")),
        ..service("UDP 192.0.2.11:5060", Scheduler::Mh)
    };
    let sctp = ServiceRow {
        counts: one_to_five,
        servers: vec![server("10.0.0.77:2905", Forwarding::Nat, [2, 1, 0])],
        ..service("SCTP 192.0.2.12:2905", Scheduler::Ovf)
    };
    let v6 = ServiceRow {
        persistence: persistence(360, "ffff:ffff:ffff:ffff::".parse().unwrap(), None),
        counts: one_to_five,
        servers: vec![ServerRow {
            persistent: 1,
            ..server("[2001:db8::a0a0]:8080", Forwarding::Nat, [1, 4, 2])
        }],
        ..service("TCP [2001:db8::80]:80", Scheduler::Lc)
    };
    let seven = ServiceRow {
        flags: both,
        counts: counts([5, 50, 0, 5_000, 0]),
        servers: vec![server("10.0.0.31:0", Forwarding::Direct, [1, 0, 0])],
        ..service("FWM 7", Scheduler::Sh)
    };
    let nine = ServiceRow {
        counts: one_to_five,
        ..service("FWM 9 IPv6", Scheduler::Wlc)
    };
    let mut services = vec![nine, v6, http, seven, sip, https, sctp, dns];
    for service in &mut services {
        for server in &mut service.servers {
            server.counts = half(service.counts);
            server.rates = half(service.rates);
        }
    }
    Table {
        timeouts: TimeoutsRow {
            tcp: 900,
            tcp_fin: 120,
            udp: 300,
        },
        services,
        sync_daemons: [SyncRole::Master, SyncRole::Backup]
            .map(|role| SyncDaemonRow {
                role,
                origin: Origin::Command,
                daemon: SyncDaemon::on("eth1".to_owned(), 51),
            })
            .into(),
    }
}

/// The connections of the golden listings.
pub(crate) fn connections() -> Vec<Connection> {
    let connection = |words: &str| {
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        let [protocol, expires, state, client, address, server] = words[..] else {
            panic!("{words:?}");
        };
        Connection {
            protocol: protocol.to_owned(),
            expires: expires.parse().unwrap(),
            state: state.to_owned(),
            client: client.parse().unwrap(),
            address: address.parse().unwrap(),
            server: server.parse().unwrap(),
            service: None,
            is_template: state == "NONE",
        }
    };
    [
        "TCP 899 ESTABLISHED 192.0.2.1:35391 192.0.2.10:80 10.0.0.11:80",
        "TCP 287 NONE 192.0.2.99:0 192.0.2.10:443 10.0.0.21:443",
        "UDP 300 UDP 192.0.2.2:54321 192.0.2.10:53 10.0.0.53:5353",
        "TCP 119 FIN_WAIT [2001:db8::1]:50001 [2001:db8::80]:80 [2001:db8::a0a0]:8080",
        "UDP 599 UDP 192.0.2.3:5060 192.0.2.11:5060 10.0.0.11:5060",
    ]
    .map(connection)
    .into()
}
