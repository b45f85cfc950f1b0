//! Tunnels with GRE and GUE headers, from `lb` to the far end.

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::FAMILIES,
    client::{self, all_good},
    on_stage,
};

const REQUESTS: u32 = 30;

#[test]
fn gre_without_checksums() {
    tunnelled(&["tunnel_type = gre"], false);
}

#[test]
fn gre_with_checksums() {
    tunnelled(&["tunnel_type = gre", "tunnel_checksum = 1"], true);
}

#[test]
fn gue_without_checksums() {
    tunnelled(&["tunnel_type = gue"], false);
}

#[test]
fn gue_with_checksums() {
    tunnelled(&["tunnel_type = gue", "tunnel_checksum = 1"], true);
}

fn tunnelled(directives: &[&str], has_checksums: bool) {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Tunnel);
        let dressed = |mut service: Service| {
            let directives = directives.iter().map(|line| (*line).to_owned());
            service.directives.extend(directives);
            service
        };
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(Method::Tunnel), |site, family| {
                site.with(dressed(Service::web(family, plan.servers)))
                    .with(dressed(Service::dns(family, plan.servers)))
            });
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        for family in FAMILIES {
            comes_through(&stage, family, has_checksums).context(family.to_string())?;
        }
        Ok(())
    });
}

fn comes_through(stage: &Stage, family: Family, has_checksums: bool) -> Result<()> {
    let client = &stage.network.client;
    let before = packets(stage);
    all_good(&client::get_many(client, &family.url(), REQUESTS, 3)?)?;
    client::dig(client, family.vip())?;
    let after = packets(stage);
    let (all, checked) = (after.0 - before.0, after.1 - before.1);
    // A request is at least a SYN, an acknowledgement and the question.
    ensure!(all >= u64::from(REQUESTS) * 3, "only {all} packets");
    let expected = if has_checksums { all } else { 0 };
    ensure!(checked == expected, "{checked} of {all} with a checksum");
    Ok(())
}

/// Packets that came out of tunnels, and how many of them had a checksum.
fn packets(stage: &Stage) -> (u64, u64) {
    let ends = &stage.network.tunnel_ends;
    (
        ends.iter().map(|end| end.packets()).sum(),
        ends.iter().map(|end| end.checked_packets()).sum(),
    )
}
