//! Flows in the kernel: who gets them, how many fit, and how they end by themselves.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lb_common::{
    maps::{Load, MethodKind, SchedulerKind, Server, Settings},
    state::{State, TICK_SHIFT},
    testing::{BACK, FRONT, PacketBuilder, Site, server, tcp, udp},
    wire::{
        protocol::{TCP, UDP},
        tcp::flags::{ACK, SYN},
    },
};

use nix::time::{ClockId, clock_gettime};

mod kernel;
use kernel::{FLOWS, Program, on_a_router};

const VIRTUAL: &str = "192.0.2.10:80";
const VIRTUAL6: &str = "[2001:db8:a::10]:80";
const XDP_DROP: u32 = 1;
const XDP_REDIRECT: u32 = 4;

#[test]
fn servers_take_turns() {
    on_a_router(|program| {
        program.set_up(&three_servers(SchedulerKind::TURNS))?;
        expect(
            program,
            &(1..=7).zip([1, 2, 3, 1, 2, 3, 1]).collect::<Vec<_>>(),
        )
    });
}

#[test]
fn turns_follow_the_ring() {
    on_a_router(|program| {
        // IPVS's wrr for weights 4, 3 and 2 gives AABABCABC.
        let mut site = three_servers(SchedulerKind::TURNS);
        site.ring = vec![1, 1, 2, 1, 2, 3, 1, 2, 3];
        for service in site.services.values_mut() {
            service.slots = 9;
        }
        program.set_up(&site)?;
        let order = [1, 1, 2, 1, 2, 3, 1, 2, 3, 1, 1];
        expect(program, &(1..).zip(order).collect::<Vec<_>>())
    });
}

#[test]
fn wlc_takes_the_least_loaded() {
    // Weights 1, 2 and 3. Each row: active and inactive of the three, who is next.
    let table = [
        ([(0, 0), (0, 0), (0, 0)], 1),
        ([(0, 1), (0, 1), (0, 1)], 3),
        ([(1, 0), (1, 255), (3, 0)], 2),
        ([(1, 0), (2, 0), (3, 0)], 1),
        ([(1, 1), (2, 0), (3, 0)], 2),
        ([(1, 1), (2, 1), (3, 1)], 3),
        ([(9, 0), (18, 1), (27, 1)], 1),
    ];
    on_a_router(|program| {
        let mut site = three_servers(SchedulerKind::LEAST_LOADED);
        for (server, weight) in site.servers.iter_mut().skip(1).zip(1..) {
            server.weight = weight;
        }
        for (loads, expected) in table {
            program.set_up(&site)?;
            let loads = loads.map(|(active, inactive)| Load {
                active,
                inactive,
                ..Load::default()
            });
            program.fill("loads", &[&[Load::default()], &loads[..]].concat())?;
            expect(program, &[(1, expected)]).with_context(|| format!("{loads:?}"))?;
        }
        Ok(())
    });
}

#[test]
fn the_source_hash_keeps_a_client_with_its_server() {
    on_a_router(|program| {
        let mut site = three_servers(SchedulerKind::SOURCE_HASH);
        site.ring = vec![1; 256];
        site.ring[CLIENT_SLOT] = 3;
        for service in site.services.values_mut() {
            service.slots = 256;
        }
        program.set_up(&site)?;
        expect(program, &[(1, 3), (2, 3), (3, 3), (65_535, 3)])
    });
}

#[test]
fn a_full_table_refuses_flows_and_serves_those_that_are_in() {
    on_a_router(|program| {
        for (method, fit) in [(MethodKind::DIRECT, FLOWS), (MethodKind::NAT, FLOWS / 2)] {
            program.set_up(&one_server(UDP, VIRTUAL, "10.0.0.11:80", method))?;
            for port in 1..=fit {
                ensure!(send(program, &from(port))? == XDP_REDIRECT, "flow {port}");
                stand(program, port, method)?;
            }
            for port in fit + 1..fit + 4 {
                ensure!(send(program, &from(port))? == XDP_DROP, "flow {port}");
            }
            ensure!(program.reasons()?["flow-table-full"] == 3);
            ensure!(
                program.load_of(1)?.inactive == fit,
                "{:?}",
                program.load_of(1)?
            );
            ensure!(program.flows4()?.len() as u32 == FLOWS);
            ensure!(send(program, &from(1))? == XDP_REDIRECT, "a known flow");
        }
        Ok(())
    });
}

/// Ten thousand sources that are never heard of again.
#[test]
fn a_flood_of_half_open_flows_displaces_no_standing_one() {
    on_a_router(|program| {
        for (method, standing) in [(MethodKind::DIRECT, 8), (MethodKind::NAT, 4)] {
            let site = one_server(UDP, VIRTUAL, "10.0.0.11:80", method)
                .settings(|settings| settings.half_open = FLOWS / 2);
            program.set_up(&site)?;
            for port in 1..=standing {
                ensure!(send(program, &from(port))? == XDP_REDIRECT, "flow {port}");
                stand(program, port, method)?;
            }
            let before = program.census(0)?;
            for source in 0..10_000_u32 {
                let [_, a, b, c] = source.to_be_bytes();
                let datagram = udp(
                    &format!("198.51.{}.{b}:{}", 101 + a, 1_000 + u32::from(c)),
                    VIRTUAL,
                );
                ensure!(send(program, &datagram)? == XDP_REDIRECT, "source {source}");
            }
            let census = program.census(0)?;
            ensure!(
                census.standing == before.standing,
                "{before:?} became {census:?}"
            );
            ensure!(census.half_open <= FLOWS / 2, "{census:?}");
            ensure!(program.events()?["displaced"] > 9_000);
            for port in 1..=standing {
                let key = program.flows4()?.into_keys().find(|key| {
                    u32::from(key.source_port.get()) == port && key.destination_port.get() == 80
                });
                ensure!(key.is_some(), "flow {port} is gone");
            }
            ensure!(program.reasons()?.is_empty(), "{:?}", program.reasons()?);
        }
        Ok(())
    });
}

/// Makes the flow of a datagram a standing one: by an answer where that is seen, else by another
/// datagram.
fn stand(program: &Program, port: u32, method: MethodKind) -> Result<()> {
    let action = if method == MethodKind::NAT {
        let answer = udp("10.0.0.11:80", &format!("198.51.100.7:{port}"));
        program.balance(BACK, &answer.build())?.0
    } else {
        send(program, &from(port))?
    };
    ensure!(action == XDP_REDIRECT, "the second datagram of flow {port}");
    Ok(())
}

#[test]
fn a_removed_server_is_left_at_the_next_packet() {
    on_a_router(|program| {
        let mut site = three_servers(SchedulerKind::TURNS);
        program.set_up(&site)?;
        expect(program, &[(1, 1)])?;
        site.servers[1].flags &= !Server::PRESENT;
        program.set_server(1, site.servers[1])?;
        // It keeps its slot here, so that the next turns are the second's and the third's.
        expect(program, &[(1, 2), (1, 2), (2, 3)])?;
        ensure!(program.load_of(1)? == Load::default());
        ensure!(program.load_of(2)?.inactive == 1);
        Ok(())
    });
}

#[test]
fn flows_end_by_themselves() {
    on_a_router(|program| {
        let settings = |udp: u32| {
            let mut settings = Settings::default();
            for state in [State::UDP, State::UDP_ONCE] {
                settings.timeouts[state.0 as usize] = udp;
            }
            settings
        };
        let turns = SchedulerKind::TURNS;
        let site = Site::default()
            .service(
                UDP,
                VIRTUAL,
                turns,
                &[server(MethodKind::NAT, "10.0.0.11:80", 0x51)],
            )
            .service(
                UDP,
                VIRTUAL6,
                turns,
                &[server(MethodKind::NAT, "[fd00::11]:80", 0x51)],
            )
            .service(
                TCP,
                VIRTUAL,
                turns,
                &[server(MethodKind::DIRECT, "10.0.0.12:80", 0x52)],
            );
        program.set_up(&site)?;
        // The sweeper, which would set it, begins only when all have been seen.
        program.set_clock(now()?, 0)?;
        // 10 milliseconds.
        program.fill("settings", &[settings(10)])?;
        for flags in [SYN, ACK] {
            let segment = tcp("198.51.100.7:1", VIRTUAL).flags(flags);
            ensure!(send(program, &segment)? == XDP_REDIRECT);
        }
        for port in 1..=5 {
            ensure!(send(program, &from(port))? == XDP_REDIRECT);
            let client = format!("[2001:db8:c::7]:{port}");
            ensure!(send(program, &udp(&client, VIRTUAL6))? == XDP_REDIRECT);
        }
        ensure!(program.flows4()?.len() == 11 && program.flows6()?.len() == 10);
        ensure!(program.load_of(1)?.inactive == 5 && program.load_of(2)?.inactive == 5);
        program.wind()?;
        // Twice is as good as once: a daemon that starts again winds a clock that runs.
        program.wind()?;
        until("the UDP flows are gone", || {
            Ok(program.flows4()?.len() == 1 && program.flows6()?.is_empty())
        })?;
        until("they are counted no longer", || {
            Ok(program.load_of(1)? == Load::default() && program.load_of(2)? == Load::default())
        })?;
        until("only the TCP flow waits", || {
            let queued: u32 = (0..4)
                .map(|queue| program.queued(queue))
                .sum::<Result<_>>()?;
            Ok(queued == 1)
        })?;
        let established = Load {
            active: 1,
            ..Load::default()
        };
        ensure!(program.load_of(3)? == established);

        // The sweeper takes the flow of a removed server, however long it would live.
        let mut removed = site.servers[3];
        removed.flags &= !Server::PRESENT;
        program.set_server(3, removed)?;
        until("the flow of the removed server is gone", || {
            Ok(program.flows4()?.is_empty() && program.load_of(3)? == Load::default())
        })
    });
}

/// The time in ticks.
fn now() -> Result<u32> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok((now.as_nanos() >> TICK_SHIFT) as u32)
}

/// 198.51.100.7 is 0xc6336407; times 0x61c88647 that is 0x4bb4b902ab1467f1: the upper eight of 32 bits.
const CLIENT_SLOT: usize = 0xab;

/// A UDP service with three servers.
fn three_servers(scheduler: SchedulerKind) -> Site {
    let servers = [11, 12, 13].map(|last| {
        let address = format!("10.0.0.{last}:80");
        server(MethodKind::NAT, &address, last)
    });
    Site::default().service(UDP, VIRTUAL, scheduler, &servers)
}

fn one_server(protocol: u8, service: &str, address: &str, method: MethodKind) -> Site {
    let servers = [server(method, address, 0x51)];
    Site::default().service(protocol, service, SchedulerKind::TURNS, &servers)
}

/// A datagram of the client from this port.
fn from(port: u32) -> PacketBuilder {
    udp(&format!("198.51.100.7:{port}"), VIRTUAL)
}

fn send(program: &Program, packet: &PacketBuilder) -> Result<u32> {
    Ok(program.balance(FRONT, &packet.build())?.0)
}

/// Sends a datagram from each port: it goes to the server 10.0.0.(10 + id).
fn expect(program: &Program, ports_and_servers: &[(u32, u8)]) -> Result<()> {
    for (port, id) in ports_and_servers {
        let (action, frame) = program.balance(FRONT, &from(*port).build())?;
        ensure!(action == XDP_REDIRECT, "port {port}: action {action}");
        ensure!(
            frame[30..34] == [10, 0, 0, 10 + id],
            "port {port}: to {:?} instead of server {id}",
            &frame[30..34]
        );
    }
    Ok(())
}

/// Waits until `is_so`, which the kernel brings about by itself.
fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    const DEADLINE: Duration = Duration::from_secs(10);
    // Nobody ever sends: it is a clock.
    let (_sender, clock) = mpsc::channel::<()>();
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > DEADLINE {
            bail!("not within {DEADLINE:?}: {what}");
        }
        let _ = clock.recv_timeout(Duration::from_millis(20));
    }
    Ok(())
}
