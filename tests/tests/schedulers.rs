//! Who gets the next connection, as clients see it.

use std::{collections::BTreeSet, net::TcpStream};

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::in_url,
    client::{self, all_good, shares},
    on_stage,
    wire::add_address,
};

const FAMILY: Family = Family::V4;
/// Addresses that the client asks from, besides its own.
const FURTHER_CLIENTS: u8 = 12;

#[test]
fn each_scheduler_keeps_its_promise() {
    on_stage(|lab, lb| {
        let mut site = Site::new(Method::Nat);
        for (index, scheduler) in (0..).zip(["rr", "wrr", "sh", "wlc"]) {
            let mut service = Service::web(FAMILY, 3);
            service.name = scheduler.to_owned();
            service.scheduler = scheduler.to_owned();
            service.address = FAMILY.further_vip(index);
            site = site.with(service);
        }
        site.services[1].servers[0].weight = 3;
        site.services[1].servers.truncate(2);
        let stage = Stage::set(lab, lb, Plan::new(Method::Nat), &site)?;
        stage.await_servers()?;
        round_robin_is_exact(&stage).context("rr")?;
        weights_are_shares(&stage).context("wrr")?;
        clients_stay_with_their_server(&stage).context("sh")?;
        the_idle_server_is_next(&stage).context("wlc")
    });
}

fn url(service: u8) -> String {
    format!("http://{}/", in_url(FAMILY.further_vip(service)))
}

fn round_robin_is_exact(stage: &Stage) -> Result<()> {
    let answers = client::get_many(&stage.network.client, &url(0), 30, 1)?;
    all_good(&answers)?;
    let order: Vec<_> = answers.iter().map(|answer| &answer.server).collect();
    let turn: BTreeSet<_> = order[..3].iter().collect();
    ensure!(
        turn.len() == 3 && order.chunks(3).all(|next| next == &order[..3]),
        "{order:?}"
    );
    Ok(())
}

fn weights_are_shares(stage: &Stage) -> Result<()> {
    let answers = client::get_many(&stage.network.client, &url(1), 40, 1)?;
    all_good(&answers)?;
    let shares = shares(&answers);
    ensure!(
        shares == [("rs1".to_owned(), 30), ("rs2".to_owned(), 10)].into(),
        "{shares:?}"
    );
    Ok(())
}

fn clients_stay_with_their_server(stage: &Stage) -> Result<()> {
    let client = &stage.network.client;
    let mut servers = BTreeSet::new();
    for number in 0..FURTHER_CLIENTS {
        let address = format!("10.88.0.{}", 200 + number);
        add_address(client, "eth0", &format!("{address}/24"))?;
        let answers = client::get_many_with(client, &url(2), 6, 3, &["--interface", &address])?;
        all_good(&answers)?;
        let shares = shares(&answers);
        ensure!(shares.len() == 1, "{address} got to {shares:?}");
        servers.extend(shares.into_keys());
    }
    ensure!(servers.len() > 1, "all clients got to {servers:?}");
    Ok(())
}

/// Three connections are one for each server; whoever loses his gets the next.
fn the_idle_server_is_next(stage: &Stage) -> Result<()> {
    let connect = || -> Result<(String, TcpStream)> {
        let client = &stage.network.client;
        let mut stream = client.inside(|| Ok(TcpStream::connect((FAMILY.further_vip(3), 80))?))?;
        Ok((client::ask(&mut stream)?, stream))
    };
    let mut held = vec![connect()?, connect()?, connect()?];
    let names: BTreeSet<_> = held.iter().map(|(name, _)| name).collect();
    ensure!(names.len() == 3, "{names:?}");
    for turn in [1, 0, 1] {
        let (idle, connection) = held.remove(turn);
        drop(connection);
        stage
            .director
            .await_status("the end is noticed", |status| {
                let service = status.service("wlc");
                let server = service.and_then(|service| service.server(&idle));
                server.is_some_and(|server| server.active == 0)
            })?;
        let (next, connection) = connect()?;
        ensure!(next == idle, "{next} instead of {idle}");
        held.push((next, connection));
    }
    Ok(())
}
