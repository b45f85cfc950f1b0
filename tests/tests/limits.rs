//! How many connections a server gets, who stands in, and what belongs to a service.

use std::{net::TcpStream, time::Duration};

use anyhow::{Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::in_url,
    client::{self, all_good, shares},
    on_stage, wait,
};
use socket2::SockRef;

const FAMILY: Family = Family::V4;
const LIMIT: Duration = Duration::from_secs(20);

fn plan(servers: u8) -> Plan {
    Plan {
        servers,
        ..Plan::new(Method::Nat)
    }
}

fn connect(stage: &Stage) -> Result<TcpStream> {
    let client = &stage.network.client;
    client.inside(|| Ok(TcpStream::connect((FAMILY.vip(), 80))?))
}

#[test]
fn a_server_gets_no_more_than_its_upper_threshold() {
    on_stage(|lab, lb| {
        let mut service = Service::web(FAMILY, 1);
        service.servers[0]
            .directives
            .push("upper_threshold = 2".to_owned());
        let stage = Stage::set(lab, lb, plan(1), &Site::new(Method::Nat).with(service))?;
        stage.await_servers()?;
        let (first, second) = (connect(&stage)?, connect(&stage)?);
        let third = connect(&stage);
        ensure!(third.is_err(), "a third was accepted");
        // Once one of two has ended there are fewer than three quarters of the threshold.
        SockRef::from(&first).set_linger(Some(Duration::ZERO))?;
        drop(first);
        wait::until("another is accepted", LIMIT, || Ok(connect(&stage).ok()))?;
        drop(second);
        Ok(())
    });
}

#[test]
fn a_changed_threshold_holds_at_once() {
    on_stage(|lab, lb| {
        let limited = |upper: u32| {
            let mut service = Service::web(FAMILY, 1);
            service.servers[0]
                .directives
                .push(format!("upper_threshold = {upper}"));
            Site::new(Method::Nat).with(service)
        };
        let mut stage = Stage::set(lab, lb, plan(1), &limited(0))?;
        stage.await_servers()?;
        let _connections = [connect(&stage)?, connect(&stage)?];
        stage.director.reload(&limited(2))?;
        ensure!(connect(&stage).is_err(), "a third of two was accepted");
        stage.director.reload(&limited(3))?;
        let _third = connect(&stage)?;
        ensure!(connect(&stage).is_err(), "a fourth of three was accepted");
        stage.director.reload(&limited(0))?;
        let _fourth = connect(&stage)?;
        Ok(())
    });
}

#[test]
fn what_is_above_the_threshold_goes_to_another_server() {
    on_stage(|lab, lb| {
        let mut service = Service::web(FAMILY, 2);
        // By weight rs1 would get nearly all.
        service.servers[0].weight = 1000;
        service.servers[0]
            .directives
            .push("upper_threshold = 2".to_owned());
        let stage = Stage::set(lab, lb, plan(2), &Site::new(Method::Nat).with(service))?;
        stage.await_servers()?;
        let _connections = (0..6)
            .map(|_| connect(&stage))
            .collect::<Result<Vec<_>>>()?;
        stage.director.await_status("two and four", |status| {
            status.service("web").is_some_and(|web| {
                let active: Vec<_> = web.servers.iter().map(|server| server.active).collect();
                active == [2, 4]
            })
        })?;
        Ok(())
    });
}

#[test]
fn the_sorry_server_stands_in_until_another_returns() {
    on_stage(|lab, lb| {
        let mut service = Service::web(FAMILY, 1);
        let sorry = FAMILY.server(1);
        service.directives.push(format!("sorry_server = {sorry}"));
        let mut stage = Stage::set(lab, lb, plan(2), &Site::new(Method::Nat).with(service))?;
        stage.await_servers()?;
        answered_by(&stage, "rs1")?;
        stage.webs[0].kill();
        let stands_in = |is_so: bool| {
            move |status: &lb_tests::status::Status| {
                let web = status.service("web");
                web.is_some_and(|web| {
                    web.servers.len() == 1
                        && web.sorry.as_ref().is_some_and(|it| it.active == is_so)
                })
            }
        };
        stage
            .director
            .await_status("the sorry server stands in", stands_in(true))?;
        answered_by(&stage, "rs2")?;
        stage.webs[0].start_again()?;
        stage
            .director
            .await_status("the server is back", stands_in(false))?;
        answered_by(&stage, "rs1")
    });
}

#[test]
fn a_service_with_a_range_of_ports_has_all_of_them() {
    on_stage(|lab, lb| {
        let site = Site::new(Method::Nat).with(Service::web(FAMILY, 1));
        let mut stage = Stage::set(lab, lb, plan(1), &site)?;
        stage.await_servers()?;
        let ranged = site
            .to_string()
            .replace("port = 80\n", "port = 70-90\n")
            .replace("weight = 1\n", "weight = 1\n         port = 80\n");
        stage.director.reload_text(&ranged)?;
        stage.await_servers()?;
        let ask = |port: u16| {
            let url = format!("http://{}:{port}/", in_url(FAMILY.vip()));
            client::get(&stage.network.client, &url)
        };
        for port in [70, 80, 81, 90] {
            let answer = ask(port)?;
            ensure!(answer.is_good(), "port {port}: {answer:?}");
        }
        for port in [69, 91] {
            let answer = ask(port)?;
            ensure!(!answer.is_good(), "port {port}: {answer:?}");
        }
        Ok(())
    });
}

#[test]
fn a_group_of_ports_keeps_a_client_on_one_server() {
    on_stage(|lab, lb| {
        let mut service = Service::web(FAMILY, 3);
        let vip = FAMILY.vip();
        service.directives.extend([
            "fwmark = 1".to_owned(),
            format!("match = \"tcp {vip}:80,81\""),
            "persistent = 300".to_owned(),
        ]);
        for server in &mut service.servers {
            server.directives.push("port = 80".to_owned());
        }
        let stage = Stage::set(lab, lb, plan(3), &Site::new(Method::Nat).with(service))?;
        stage.await_servers()?;
        let mut servers = Vec::new();
        for port in [80, 81] {
            let url = format!("http://{}:{port}/", in_url(vip));
            let answers = client::get_many(&stage.network.client, &url, 20, 4)?;
            all_good(&answers)?;
            servers.extend(shares(&answers).into_keys());
        }
        ensure!(
            servers.len() == 2 && servers[0] == servers[1],
            "{servers:?}"
        );
        Ok(())
    });
}

fn answered_by(stage: &Stage, name: &str) -> Result<()> {
    let answers = client::get_many(&stage.network.client, &FAMILY.url(), 20, 4)?;
    all_good(&answers)?;
    let shares = shares(&answers);
    ensure!(shares.keys().eq([name]), "{shares:?} instead of {name}");
    Ok(())
}
