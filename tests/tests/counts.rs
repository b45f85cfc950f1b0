//! What `lb status` counts, and how flows end by themselves.

use std::{
    net::{Shutdown, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use lb_common::maps::VERSION;
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::FAMILIES,
    client,
    director::PINS,
    on_stage,
    status::{Flows, Status},
    wait,
};
use socket2::SockRef;

const SERVICES: [&str; 2] = ["web", "web6"];
const LIMIT: Duration = Duration::from_secs(20);

/// As IPVS: who only sees the client's packets takes the FIN for the end, so `tcpfin_timeout` says
/// how long that is remembered.
#[test]
fn connections_by_direct_routing_are_active_then_inactive_then_gone() {
    connections_come_and_go(Method::Direct, |connection| {
        Ok(connection.shutdown(Shutdown::Both)?)
    });
}

/// As IPVS: who has seen both FINs is in TIME_WAIT, for which lvs.cf has no word, so this one is
/// reset.
#[test]
fn connections_by_nat_are_active_then_inactive_then_gone() {
    connections_come_and_go(Method::Nat, |connection| {
        Ok(SockRef::from(connection).set_linger(Some(Duration::ZERO))?)
    });
}

fn connections_come_and_go(method: Method, end: impl Fn(&TcpStream) -> Result<()>) {
    on_stage(|lab, lb| {
        let mut site = FAMILIES
            .into_iter()
            .fold(Site::new(method), |site, family| {
                site.with(Service::web(family, 1))
            });
        site.directives.push("tcpfin_timeout = 3".to_owned());
        let plan = Plan {
            servers: 1,
            ..Plan::new(method)
        };
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let client = &stage.network.client;
        let await_counts = |what: &str, expected: (u64, u64)| {
            stage.director.await_status(what, |status| {
                SERVICES.iter().all(|name| count(status, name) == expected)
            })
        };
        let connect = || -> Result<Vec<TcpStream>> {
            let connect =
                |family: Family| client.inside(|| Ok(TcpStream::connect((family.vip(), 80))?));
            FAMILIES.into_iter().map(connect).collect()
        };

        await_counts("nothing is there", (0, 0))?;
        let (staying, leaving) = (connect()?, connect()?);
        await_counts("two are open", (2, 0))?;
        for connection in leaving {
            end(&connection)?;
        }
        await_counts("one has ended", (1, 1))?;
        await_counts("it is forgotten", (1, 0))?;
        for connection in staying {
            end(&connection)?;
        }
        let status = await_counts("both have ended", (0, 1))?;
        let servers = status.services.iter().flat_map(|service| &service.servers);
        let connections: Vec<_> = servers.map(|server| server.connections).collect();
        ensure!(connections == [2, 2], "{connections:?}");
        let status = await_counts("both are forgotten", (0, 0))?;
        ensure!(status.flows == Flows::default(), "{:?}", status.flows);
        Ok(())
    });
}

fn count(status: &Status, service: &str) -> (u64, u64) {
    status
        .service(service)
        .and_then(|service| service.servers.first())
        .map_or((99, 99), |server| (server.active, server.inactive))
}

#[test]
fn silent_questions_are_forgotten_even_without_a_daemon() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Nat)
        };
        let mut site = Site::new(Method::Nat).with(Service::dns(Family::V4, 1));
        site.directives.push("udp_timeout = 3".to_owned());
        let mut stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let ask = |stage: &Stage| client::dig(&stage.network.client, Family::V4.vip()).map(drop);

        ask(&stage)?;
        let status = stage.director.status()?;
        ensure!(count(&status, "dns") == (0, 1), "{status:?}");
        ensure!(status.flows.ipv4 > 0, "{:?}", status.flows);
        stage
            .director
            .await_status("the flow is forgotten", |status| {
                count(status, "dns") == (0, 0) && status.flows == Flows::default()
            })?;

        ask(&stage)?;
        stage.director.kill()?;
        let flows = || -> Result<String> {
            let map = format!("{PINS}/v{VERSION}/maps/flows4");
            stage
                .network
                .router()
                .run("bpftool", ["--json", "map", "dump", "pinned", &map])
        };
        ensure!(flows()?.contains("key"), "{}", flows()?);
        wait::until("the flow is forgotten without a daemon", LIMIT, || {
            Ok((flows()?.trim() == "[]").then_some(()))
        })?;
        ask(&stage)
    });
}
