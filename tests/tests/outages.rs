//! Real servers fail and return, or change their hardware address, while clients go on asking.

use std::{thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    client::{self, all_good, shares},
    on_stage, wait,
};

const FAMILY: Family = Family::V4;
/// Requests that are under way when the server is killed.
const REQUESTS: u32 = 200;
/// The real server that is killed: `rs2`.
const VICTIM: usize = 1;
const VICTIM_NAME: &str = "rs2";
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_killed_server_behind_nat_takes_only_its_own_connections_along() {
    a_killed_server(Method::Nat);
}

#[test]
fn a_killed_server_behind_direct_routing_takes_only_its_own_connections_along() {
    a_killed_server(Method::Direct);
}

#[test]
fn a_killed_server_behind_a_tunnel_takes_only_its_own_connections_along() {
    a_killed_server(Method::Tunnel);
}

fn a_killed_server(method: Method) {
    on_stage(|lab, lb| {
        let plan = Plan::new(method);
        let site = Site::new(method).with(Service::web(FAMILY, plan.servers));
        let mut stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        only_its_own_connections_fail(&mut stage)?;

        let is_up = |status: &lb_tests::status::Status| {
            status
                .service("web")
                .is_some_and(|web| web.has_up(VICTIM_NAME))
        };
        stage
            .director
            .await_status("the server has left", |status| !is_up(status))?;
        let ask =
            |stage: &Stage| client::get_many(&stage.network.client, &FAMILY.url(), REQUESTS, 20);
        let answers = ask(&stage)?;
        all_good(&answers).context("after the server had left")?;
        ensure!(!shares(&answers).contains_key(VICTIM_NAME));

        stage.webs[VICTIM].start_again()?;
        wait::until("the server answers again", LIMIT, || {
            let answers = ask(&stage)?;
            all_good(&answers).context("while the server returned")?;
            Ok(shares(&answers).contains_key(VICTIM_NAME).then_some(()))
        })
    });
}

/// All requests are under way when the server is killed.
fn only_its_own_connections_fail(stage: &mut Stage) -> Result<()> {
    let client = stage.network.client.clone();
    let slow = format!("{}slow", FAMILY.url());
    let requests = thread::spawn(move || {
        client::get_many_with(&client, &slow, REQUESTS, REQUESTS, &["--max-time", "30"])
    });
    wait::until("all requests are under way", LIMIT, || {
        let open = stage.webs.iter().map(lb_tests::Web::connections);
        let open: usize = open.sum::<Result<_>>()?;
        Ok((open >= REQUESTS as usize).then_some(()))
    })?;
    let of_victim = stage.webs[VICTIM].connections()?;
    stage.webs[VICTIM].kill();
    let answers = requests
        .join()
        .map_err(|_| anyhow!("the client panicked"))??;
    // What curl got of the head counts as an answer; it says so if there was not all of it.
    let failed = answers.iter().filter(|a| !a.error.is_empty()).count();
    ensure!(
        (1..=of_victim).contains(&failed),
        "{failed} of {REQUESTS} failed, of which {of_victim} were on the server that was killed"
    );
    Ok(())
}

#[test]
fn a_new_hardware_address_is_followed() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Direct);
        let site = Site::new(Method::Direct).with(Service::web(FAMILY, plan.servers));
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let server = &stage.network.servers[VICTIM];
        // With arp_notify the server tells everybody.
        for (notify, address) in [("1", "02:00:00:00:00:01"), ("0", "02:00:00:00:00:02")] {
            server.set(&[("ipv4/conf/eth0/arp_notify", notify)])?;
            server.ip(&format!("link set dev eth0 address {address}"))?;
            wait::until("the server answers by its new address", LIMIT, || {
                let answers = client::get_many(&stage.network.client, &FAMILY.url(), 24, 24)?;
                let came = shares(&answers);
                Ok((all_good(&answers).is_ok() && came.contains_key(VICTIM_NAME)).then_some(()))
            })
            .with_context(|| format!("arp_notify {notify}"))?;
        }
        Ok(())
    });
}
