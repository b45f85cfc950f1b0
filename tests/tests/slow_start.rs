//! `slow_start`: a server that returns gets its share little by little.

use std::time::Duration;

use anyhow::ensure;
use lb_tests::{Family, Method, Plan, Service, Site, Stage, on_stage, wait};

const FAMILY: Family = Family::V4;
/// What lvs.cf says. A 32nd of it is less than 1, and so it begins with 1.
const WEIGHT: u32 = 4;
/// It doubles every 20 seconds.
const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn a_server_that_returns_gets_its_weight_in_steps() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 2,
            ..Plan::new(Method::Nat)
        };
        let mut site = Site::new(Method::Nat).with(Service::web(FAMILY, 2));
        site.services[0].servers[0].weight = WEIGHT;
        let mut stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        stage.webs[0].kill();
        stage.director.await_status("rs1 is down", |status| {
            status.service("web").is_some_and(|web| !web.has_up("rs1"))
        })?;
        stage.webs[0].start_again()?;
        let mut seen = Vec::new();
        wait::until("rs1 has all of its weight", LIMIT, || {
            let status = stage.director.status()?;
            let server = status.service("web").and_then(|web| web.server("rs1"));
            if let Some(server) = server.filter(|server| server.is_up())
                && seen.last() != Some(&server.weight)
            {
                seen.push(server.weight);
            }
            Ok((seen.last() == Some(&WEIGHT)).then_some(()))
        })?;
        ensure!(seen == [1, 2, WEIGHT], "its weights were {seen:?}");
        Ok(())
    });
}
