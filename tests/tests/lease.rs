//! Of a pair of directors only one steers: what becomes of packets without the right to, with the sweeper that
//! looks at the lease.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_common::maps::VERSION;
use lb_tests::{
    Host, Method, Plan, Service, Site, Stage,
    address::FAMILIES,
    client,
    director::{PINS, SOCKET},
    on_stage, wait,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

/// Writes the lease as the daemon does.
fn set_lease(router: &Host, lease: u64) -> Result<()> {
    let map = format!("{PINS}/v{VERSION}/maps/lease");
    let bytes = lease.to_ne_bytes().map(|byte| byte.to_string());
    let words = [
        "map", "update", "pinned", &map, "key", "0", "0", "0", "0", "value",
    ];
    let words = words.into_iter().chain(bytes.iter().map(String::as_str));
    router.run("bpftool", words).map(drop)
}

/// How many packets were refused because the lease was over.
fn refused(stage: &Stage) -> Result<u64> {
    let text = stage.director.lb(["drops", "--json", "--socket", SOCKET])?;
    let drops: Value = serde_json::from_str(&text)?;
    let reasons = drops["unsteered"].as_array().context("no reasons")?;
    let row = reasons.iter().find(|row| row["reason"] == "lease-over");
    Ok(row.and_then(|row| row["packets"].as_u64()).unwrap_or(0))
}

#[test]
fn who_has_no_lease_is_silent_and_one_that_is_given_is_had_at_once() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(Method::Nat), |site, family| {
                site.with(Service::web(family, plan.servers))
            });
        let mut stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let router = stage.network.router().clone();
        let ask = |stage: &Stage| -> Result<Vec<_>> {
            let client = &stage.network.client;
            FAMILIES
                .into_iter()
                .map(|family| client::get(client, &family.url()))
                .collect()
        };
        client::all_good(&ask(&stage)?)?;

        // The daemon is dead, and the time of its lease in the past.
        stage.director.kill()?;
        set_lease(&router, 1)?;
        let map = format!("{PINS}/v{VERSION}/maps/clock");
        wait::until("the sweeper has noticed", LIMIT, || {
            let clock = router.run("bpftool", ["--json", "map", "dump", "pinned", &map])?;
            let clock: Value = serde_json::from_str(&clock)?;
            // The byte behind the four of the time.
            Ok((clock[0]["value"][4] == "0x01").then_some(()))
        })?;
        for family in FAMILIES {
            let vip = family.vip().to_string();
            let client = &stage.network.client;
            let ping = client.output("ping", ["-c", "1", "-W", "1", &vip])?;
            ensure!(!ping.status.success(), "{vip} answers pings");
            // Nobody tells any more where the address is.
            client.ip("neighbour flush all")?;
            let ping = client.output("ping", ["-c", "1", "-W", "1", &vip])?;
            ensure!(!ping.status.success(), "{vip} is found");
        }

        set_lease(&router, 0)?;
        client::all_good(&ask(&stage)?)?;

        // What is there stays when the daemon starts again, until it writes it.
        set_lease(&router, u64::MAX - 1)?;
        stage.director.start_again()?;
        stage.await_servers()?;
        client::all_good(&ask(&stage)?)?;
        ensure!(refused(&stage)? >= 4, "{} refused", refused(&stage)?);
        Ok(())
    });
}
