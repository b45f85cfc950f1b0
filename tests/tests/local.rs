//! A web server on the director itself, as a real server among others.

use anyhow::ensure;
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage, Web,
    client::{self, all_good, shares},
    on_stage,
    site::Server,
};

#[test]
fn the_director_is_a_real_server_by_direct_routing() {
    among_others(Method::Direct);
}

#[test]
fn the_director_is_a_real_server_behind_nat() {
    among_others(Method::Nat);
}

fn among_others(method: Method) {
    for family in [Family::V4, Family::V6] {
        on_stage(|lab, lb| {
            let plan = Plan {
                servers: 2,
                ..Plan::new(method)
            };
            let mut service = Service::web(family, plan.servers);
            service.servers.push(Server {
                name: "itself".to_owned(),
                address: family.router(0),
                weight: 1,
                directives: Vec::new(),
            });
            let stage = Stage::set(lab, lb, plan, &Site::new(method).with(service))?;
            // It listens on all addresses, the virtual one included.
            let router = stage.network.router();
            let _web = Web::start(router)?;
            stage.await_servers()?;
            let status = stage.director.status()?;
            let itself = status.services[0].server("itself");
            ensure!(
                itself.is_some_and(|server| server.local && server.unreachable.is_none()),
                "{itself:?}"
            );
            let answers = client::get_many(&stage.network.client, &family.url(), 30, 3)?;
            all_good(&answers)?;
            let shares = shares(&answers);
            let names = ["rs1", "rs2", router.name()];
            ensure!(
                shares.len() == 3 && names.iter().all(|name| shares.get(*name) == Some(&10)),
                "{shares:?}"
            );
            Ok(())
        });
    }
}

#[test]
fn its_connections_end_with_it() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Direct)
        };
        let mut service = Service::web(Family::V4, plan.servers);
        service.servers[0].address = Family::V4.router(0);
        let stage = Stage::set(lab, lb, plan, &Site::new(Method::Direct).with(service))?;
        let mut web = Web::start(stage.network.router())?;
        stage.await_servers()?;
        let client = &stage.network.client;
        all_good(&client::get_many(client, &Family::V4.url(), 10, 2)?)?;
        web.kill();
        stage.director.await_status("it is down", |status| {
            !status.services.iter().any(|service| service.has_up("rs1"))
        })?;
        let refused = client::get(client, &Family::V4.url())?;
        ensure!(!refused.is_good(), "{refused:?}");
        Ok(())
    });
}
