//! Tunnels with GRE and GUE headers, and of the other family, from `lb` to the far end.

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::FAMILIES,
    client::{self, all_good, shares},
    on_stage,
};

const REQUESTS: u32 = 30;
const BIG_FILE_MEBIBYTES: usize = 4;

#[test]
fn gre_without_checksums() {
    tunnelled(&["tunnel_type = gre"], Outer::Same, Checksums::Absent);
}

#[test]
fn gre_with_checksums() {
    let directives = ["tunnel_type = gre", "tunnel_checksum = 1"];
    tunnelled(&directives, Outer::Same, Checksums::Right);
}

#[test]
fn gue_without_checksums() {
    tunnelled(&["tunnel_type = gue"], Outer::Same, Checksums::Absent);
}

#[test]
fn gue_with_checksums() {
    let directives = ["tunnel_type = gue", "tunnel_checksum = 1"];
    tunnelled(&directives, Outer::Same, Checksums::Right);
}

#[test]
fn one_family_in_the_other() {
    tunnelled(&["tunnel_type = ipip"], Outer::Other, Checksums::Absent);
}

#[test]
fn one_family_in_gre_in_the_other() {
    let directives = ["tunnel_type = gre", "tunnel_checksum = 1"];
    tunnelled(&directives, Outer::Other, Checksums::Right);
}

#[test]
fn one_family_in_gue_in_the_other() {
    let directives = ["tunnel_type = gue", "tunnel_checksum = 1"];
    tunnelled(&directives, Outer::Other, Checksums::Right);
}

/// The family by which real servers are reached, seen from the virtual address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outer {
    Same,
    Other,
}

/// What every packet has outside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checksums {
    Right,
    Absent,
}

fn tunnelled(directives: &[&str], outer: Outer, checksums: Checksums) {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Tunnel);
        let dressed = |mut service: Service| {
            let directives = directives.iter().map(|line| (*line).to_owned());
            service.directives.extend(directives);
            match outer {
                Outer::Same => service,
                Outer::Other => service.across(),
            }
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
            let outer = match outer {
                Outer::Same => family,
                Outer::Other => family.other(),
            };
            let before = packets(&stage, outer);
            comes_through(&stage, family).context(family.to_string())?;
            let after = packets(&stage, outer);
            let [all, outside, checked] = [0, 1, 2].map(|at| after[at] - before[at]);
            // A request is at least a SYN, an acknowledgement and the question.
            ensure!(all >= u64::from(REQUESTS) * 3, "only {all} packets");
            ensure!(outside == all, "{outside} of {all} in {outer}");
            let expected = match checksums {
                Checksums::Right => all,
                Checksums::Absent => 0,
            };
            ensure!(checked == expected, "{checked} of {all} with a checksum");
        }
        Ok(())
    });
}

/// Requests, questions, and segments that are as long as the tunnel takes: the client is told how long.
fn comes_through(stage: &Stage, family: Family) -> Result<()> {
    let client = &stage.network.client;
    let answers = client::get_many(client, &family.url(), REQUESTS, 3)?;
    all_good(&answers)?;
    ensure!(shares(&answers).len() == stage.names().len(), "{answers:?}");
    client::dig(client, family.vip())?;
    stage.network.ask_for_long_segments(family)?;
    let sum = stage.offer_big_file(BIG_FILE_MEBIBYTES)?;
    stage.pass_on(family, &sum)
}

/// Packets that came out of tunnels, how many of them of this outer family, and with a checksum.
fn packets(stage: &Stage, outer: Family) -> [u64; 3] {
    let ends = &stage.network.tunnel_ends;
    [
        ends.iter().map(|end| end.packets()).sum(),
        ends.iter().map(|end| end.packets_in(outer)).sum(),
        ends.iter().map(|end| end.checked_packets()).sum(),
    ]
}
