//! Packets get to real servers and answers get back: every method, in every wiring.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage, Wiring,
    address::FAMILIES,
    client::{self, all_good, shares},
    on_stage,
};

/// Requests by each family.
const REQUESTS: u32 = 90;
/// Questions by each family.
const QUESTIONS: usize = 12;
const BIG_FILE_MEBIBYTES: usize = 100;

#[test]
fn nat_between_two_networks() {
    forwards(Method::Nat, Wiring::TwoNets);
}

#[test]
fn nat_by_one_interface() {
    forwards(Method::Nat, Wiring::OneNet);
}

#[test]
fn direct_routing_between_two_networks() {
    forwards(Method::Direct, Wiring::TwoNets);
}

#[test]
fn direct_routing_by_one_interface() {
    forwards(Method::Direct, Wiring::OneNet);
}

#[test]
fn tunnels_between_two_networks() {
    forwards(Method::Tunnel, Wiring::TwoNets);
}

#[test]
fn tunnels_by_one_interface() {
    forwards(Method::Tunnel, Wiring::OneNet);
}

fn forwards(method: Method, wiring: Wiring) {
    on_stage(|lab, lb| {
        let plan = Plan::new(method).wired(wiring);
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(method), |site, family| {
                site.with(Service::web(family, plan.servers))
                    .with(Service::dns(family, plan.servers))
            });
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        for family in FAMILIES {
            requests_are_shared(&stage, family).context(family.to_string())?;
            questions_are_shared(&stage, family).context(family.to_string())?;
        }
        let sum = stage.offer_big_file(BIG_FILE_MEBIBYTES)?;
        for family in FAMILIES {
            let passed = stage.pass_on(family, &sum);
            passed.with_context(|| family.to_string())?;
        }
        Ok(())
    });
}

fn requests_are_shared(stage: &Stage, family: Family) -> Result<()> {
    let answers = client::get_many(&stage.network.client, &family.url(), REQUESTS, 6)?;
    all_good(&answers)?;
    let shares = shares(&answers);
    let fair = REQUESTS / u32::from(stage.network.plan.servers);
    ensure!(
        stage
            .names()
            .iter()
            .all(|name| shares.get(name).is_some_and(|share| *share >= fair / 2)),
        "{shares:?}"
    );
    Ok(())
}

fn questions_are_shared(stage: &Stage, family: Family) -> Result<()> {
    let names: BTreeSet<_> = (0..QUESTIONS)
        .map(|_| client::dig(&stage.network.client, family.vip()))
        .collect::<Result<_>>()?;
    ensure!(
        names == stage.names().into_iter().collect(),
        "those who answered: {names:?}"
    );
    Ok(())
}
