//! Full NAT: real servers that know no way to the clients.

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::FAMILIES,
    client::{self, all_good, shares},
    on_stage,
};

const REQUESTS: u32 = 60;

#[test]
fn real_servers_answer_the_director() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let full = |mut service: Service| {
            service.directives.push("method = fullnat".to_owned());
            service
        };
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(Method::Nat), |site, family| {
                site.with(full(Service::web(family, plan.servers)))
                    .with(full(Service::dns(family, plan.servers)))
            });
        let stage = Stage::set(lab, lb, plan, &site)?;
        forget_clients(&stage)?;
        stage.await_servers()?;
        for family in FAMILIES {
            is_served(&stage, family).context(family.to_string())?;
        }
        Ok(())
    });
}

/// The real servers lose their way to the clients, which masquerading at one end needs.
fn forget_clients(stage: &Stage) -> Result<()> {
    for server in &stage.network.servers {
        for option in ["-4", "-6"] {
            server.ip(&format!("{option} route del default"))?;
        }
        for family in FAMILIES {
            let way = server.ip(&format!("route get {}", family.client()));
            ensure!(way.is_err(), "{} knows a way", server.name());
        }
    }
    Ok(())
}

fn is_served(stage: &Stage, family: Family) -> Result<()> {
    let client = &stage.network.client;
    let answers = client::get_many(client, &family.url(), REQUESTS, 6)?;
    all_good(&answers)?;
    let shares = shares(&answers);
    let names = stage.names();
    let all = names.iter().all(|name| shares.contains_key(name));
    ensure!(all, "{shares:?}");
    let mut who = Vec::new();
    while names.iter().any(|name| !who.contains(name)) {
        ensure!(who.len() < 12, "those who answered: {who:?}");
        who.push(client::dig(client, family.vip())?);
    }
    Ok(())
}
