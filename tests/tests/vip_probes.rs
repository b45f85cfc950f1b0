//! Checks at virtual addresses, by the way that packets of clients take to each server (`check_at = vip`).

use anyhow::{Context, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage, address::FAMILIES, director, dns, on_stage,
    tunnel::TunnelEnd,
};

/// The real server that something happens to: `rs2`.
const VICTIM: usize = 1;
const VICTIM_NAME: &str = "rs2";

#[test]
fn a_server_without_the_virtual_address_leaves() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Direct);
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(Method::Direct), |site, family| {
                site.with(at_vip(Service::web(family, plan.servers)))
                    .with(at_vip(questions(family, plan.servers)))
                    .with(at_own_address(family, plan.servers))
            });
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        for family in FAMILIES {
            let [web, dns, own] = ["web", "dns", "own"].map(|kind| name(kind, family));
            let vip = family.alone(family.vip());
            let victim = &stage.network.servers[VICTIM];
            victim.ip(&format!("address delete {vip} dev lo"))?;
            let status = stage
                .director
                .await_status("the server has left", |status| {
                    let is_out = |name: &String| {
                        let service = status.service(name);
                        service.is_some_and(|service| !service.has_up(VICTIM_NAME))
                    };
                    is_out(&web) && is_out(&dns)
                })?;
            // Only what is checked at the virtual address knows, and says where it asked.
            let asked = if family.vip().is_ipv4() {
                format!("connect to {}:80: no answer within 1s", family.vip())
            } else {
                format!("connect to [{}]:80: no answer within 1s", family.vip())
            };
            let said = status.service(&web).and_then(|web| web.server(VICTIM_NAME));
            let said = said.and_then(|server| server.last_error.clone());
            ensure!(said.as_deref() == Some(&*asked), "{said:?}");
            let own = status.service(&own).context("no such service")?;
            ensure!(own.has_up(VICTIM_NAME), "{own}");
            for other in ["rs1", "rs3"] {
                let web = status.service(&web).context("no such service")?;
                ensure!(web.has_up(other), "{web}");
            }

            let nodad = if family.vip().is_ipv4() { "" } else { "nodad" };
            victim.ip(&format!("address add {vip} dev lo {nodad}"))?;
            stage.await_servers().context("it has returned")?;
        }
        Ok(())
    });
}

#[test]
fn a_server_without_the_end_of_its_tunnel_leaves() {
    tunnelled(&["tunnel_type = ipip"], |service| service);
}

#[test]
fn a_server_without_the_end_of_its_gre_tunnel_leaves() {
    let directives = ["tunnel_type = gre", "tunnel_checksum = 1"];
    tunnelled(&directives, |service| service);
}

#[test]
fn a_server_without_the_end_of_its_gue_tunnel_in_the_other_family_leaves() {
    let directives = ["tunnel_type = gue", "tunnel_checksum = 1"];
    tunnelled(&directives, Service::across);
}

fn tunnelled(directives: &[&str], dressed: impl Fn(Service) -> Service) {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Tunnel);
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(Method::Tunnel), |site, family| {
                let mut service = dressed(at_vip(Service::web(family, plan.servers)));
                let directives = directives.iter().map(|line| (*line).to_owned());
                service.directives.extend(directives);
                site.with(service)
            });
        let mut stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        // The other ends stay where they are.
        let end = stage.network.tunnel_ends.remove(VICTIM);
        ensure!(end.packets() > 0, "nothing came through the tunnel");
        drop(end);
        stage
            .director
            .await_status("the server has left", |status| {
                FAMILIES.into_iter().all(|family| {
                    let web = status.service(&name("web", family));
                    web.is_some_and(|web| {
                        !web.has_up(VICTIM_NAME) && web.has_up("rs1") && web.has_up("rs3")
                    })
                })
            })?;
        let end = TunnelEnd::open(&stage.network.servers[VICTIM], VICTIM as u8)?;
        stage.network.tunnel_ends.insert(VICTIM, end);
        stage.await_servers().context("it has returned")
    });
}

#[test]
fn pages_are_asked_for_at_the_virtual_address_and_by_hand() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Direct);
        let mut web = at_vip(Service::web(Family::V4, plan.servers));
        web.directives = vec!["check = http".to_owned(), "check_at = vip".to_owned()];
        // Long enough that it comes in several packets, which the kernel puts together.
        web.directives.push("check_path = /big".to_owned());
        web.directives.push("check_body = .".to_owned());
        let site = Site::new(Method::Direct).with(web);
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.offer_big_file(1)?;
        stage.await_servers()?;
        let asked = [
            "nanny",
            "--config",
            director::CONFIG,
            "--service",
            "web",
            "--server",
            "rs1",
        ];
        let said = stage.director.lb(asked)?;
        let vip = format!("{}:80 is asked, by the way", Family::V4.vip());
        ensure!(said.contains(&vip), "{said}");
        ensure!(
            said.contains("well: the answer is what it should be"),
            "{said}"
        );
        Ok(())
    });
}

fn at_vip(mut service: Service) -> Service {
    service.directives.push("check_at = vip".to_owned());
    service
}

/// Name servers that are asked by the director itself.
fn questions(family: Family, servers: u8) -> Service {
    let mut service = Service::dns(family, servers);
    let name = dns::NAME;
    service.directives = vec![
        "check = dns".to_owned(),
        format!("check_name = {name}"),
        "check_type = TXT".to_owned(),
    ];
    service
}

/// The same web servers at another port, checked as ever.
fn at_own_address(family: Family, servers: u8) -> Service {
    let mut service = Service::web(family, servers);
    service.name = name("own", family);
    service.port = 8080;
    service.directives.push("check_port = 80".to_owned());
    service
}

/// As the lab calls a service.
fn name(kind: &str, family: Family) -> String {
    match family {
        Family::V4 => kind.to_owned(),
        Family::V6 => format!("{kind}6"),
    }
}
