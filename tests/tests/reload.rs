//! SIGHUP: lvs.cf is read again while clients go on asking.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::in_url,
    client::{self, all_good, shares},
    on_stage,
    status::Status,
};

const FAMILY: Family = Family::V4;
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn servers_come_and_go_and_a_broken_file_changes_nothing() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let site = |servers: &[&str]| {
            let mut service = Service::web(FAMILY, plan.servers);
            service
                .servers
                .retain(|server| servers.contains(&server.name.as_str()));
            Site::new(Method::Nat).with(service)
        };
        let mut stage = Stage::set(lab, lb, plan, &site(&["rs1", "rs2"]))?;
        stage.await_servers()?;
        answered_by(&stage, &["rs1", "rs2"])?;

        stage.director.reload(&site(&["rs2", "rs3"]))?;
        let table = stage.director.await_status("rs3 is up", |status| {
            names(status) == ["rs2", "rs3"] && status.is_complete()
        })?;
        answered_by(&stage, &["rs2", "rs3"])?;

        let broken = site(&["rs1"])
            .to_string()
            .replace("weight = 1", "weight = heavy");
        stage.director.reload_text(&broken)?;
        let line = broken
            .lines()
            .position(|line| line.contains("heavy"))
            .context("not broken")?
            + 1;
        let complaint = format!("/run/lvs.cf:{line}:");
        let daemon = stage.director.daemon();
        daemon.wait_until_printed(&complaint, LIMIT)?;
        let printed = daemon.printed();
        ensure!(
            printed
                .lines()
                .any(|said| said.contains("ERROR") && said.contains(&complaint)),
            "no error names {complaint}:\n{printed}"
        );
        let after = stage.director.status()?;
        ensure!(after.to_string() == table.to_string(), "{after}");
        answered_by(&stage, &["rs2", "rs3"])?;

        // And it can be mended.
        stage.director.reload(&site(&["rs1"]))?;
        stage.await_servers()?;
        answered_by(&stage, &["rs1"])
    });
}

#[test]
fn a_virtual_address_moves() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Nat)
        };
        let mut service = Service::web(FAMILY, 1);
        let mut stage = Stage::set(lab, lb, plan, &Site::new(Method::Nat).with(service.clone()))?;
        stage.await_servers()?;
        answered_by(&stage, &["rs1"])?;
        service.address = FAMILY.further_vip(0);
        stage
            .director
            .reload(&Site::new(Method::Nat).with(service.clone()))?;
        stage.await_servers()?;
        let client = &stage.network.client;
        let url = format!("http://{}/", in_url(service.address));
        all_good(&client::get_many(client, &url, 20, 4)?)?;
        let before = client::get_many_with(client, &FAMILY.url(), 2, 2, &["--max-time", "1"])?;
        ensure!(!before.iter().any(client::Answer::is_good), "{before:?}");
        Ok(())
    });
}

/// A file that is in order, but asks for what the kernel does not grant.
#[test]
fn a_reload_that_is_refused_half_way_goes_back() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Nat)
        };
        let before = Site::new(Method::Nat).with(Service::web(FAMILY, 1));
        let mut stage = Stage::set(lab, lb, plan, &before)?;
        stage.await_servers()?;
        stage
            .network
            .router()
            .set(&[("ipv6/conf/eth0/disable_ipv6", "1")])?;
        let after = Site::new(Method::Nat).with(Service::web(Family::V6, 1));
        stage.director.reload(&after)?;
        let status = stage.director.status()?;
        ensure!(status.services.len() == 1, "{status}");
        let answers = client::get_many(&stage.network.client, &FAMILY.url(), 20, 4)?;
        all_good(&answers)
    });
}

fn names(status: &Status) -> Vec<&str> {
    let services = status.services.iter();
    services
        .flat_map(|service| &service.servers)
        .map(|server| server.name.as_str())
        .collect()
}

fn answered_by(stage: &Stage, names: &[&str]) -> Result<()> {
    let answers = client::get_many(&stage.network.client, &FAMILY.url(), 40, 4)?;
    all_good(&answers)?;
    let shares = shares(&answers);
    ensure!(shares.keys().eq(names), "{shares:?} instead of {names:?}");
    Ok(())
}
