//! Associations of SCTP go to one real server each, and come to their end.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::FAMILIES,
    director::{PINS, SOCKET},
    lab::skip,
    on_stage,
    sctp::{self, Association, Responder},
    status::{ServerStatus, Status},
    tunnel::TunnelEnd,
};
use serde_json::Value;

/// The port of the service, and another one of the real servers.
const PORT: u16 = 7;
const INSIDE: u16 = 7007;
/// The client's ports: so many associations for each real server.
const EACH: u16 = 2;
const FIRST: u16 = 40_000;

#[test]
fn masqueraded() {
    associations(Plan::new(Method::Nat), INSIDE, &[]);
}

#[test]
fn masqueraded_at_the_same_port() {
    associations(Plan::new(Method::Nat), PORT, &[]);
}

#[test]
fn masqueraded_at_both_ends() {
    associations(Plan::new(Method::Nat), INSIDE, &["method = fullnat"]);
}

#[test]
fn behind_direct_routing() {
    associations(Plan::new(Method::Direct), PORT, &[]);
}

#[test]
fn behind_tunnels() {
    associations(Plan::new(Method::Tunnel), PORT, &[]);
}

#[test]
fn behind_gue() {
    let directives = ["tunnel_type = gue", "tunnel_checksum = 1"];
    associations(Plan::new(Method::Tunnel), PORT, &directives);
}

fn associations(plan: Plan, inside: u16, directives: &[&str]) {
    if sctp::is_in_the_kernel() {
        return skip("this kernel speaks SCTP and would answer for the lab");
    }
    on_stage(|lab, lb| {
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(plan.method), |site, family| {
                let mut service = Service::echo(family, plan.servers, inside);
                let directives = directives.iter().map(|line| (*line).to_owned());
                service.directives.extend(directives);
                site.with(service)
            });
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let is_known = !directives.contains(&"method = fullnat");
        let tunnelled = || stage.network.tunnel_ends.iter().map(TunnelEnd::packets);
        for family in FAMILIES {
            let before: u64 = tunnelled().sum();
            let responders = responders(&stage, family, inside)?;
            live_and_die(&stage, family, &responders, is_known).with_context(|| {
                let complaints: Vec<_> = responders.iter().map(Responder::complaints).collect();
                format!("{family}; the servers say {complaints:?}")
            })?;
            let through = tunnelled().sum::<u64>() - before;
            ensure!((through > 0) == (plan.method == Method::Tunnel));
        }
        Ok(())
    });
}

/// One per real server, at the address that packets for it have when they come.
fn responders(stage: &Stage, family: Family, port: u16) -> Result<Vec<Responder>> {
    (0..)
        .zip(&stage.network.servers)
        .map(|(index, server)| {
            let address = match stage.network.plan.method {
                Method::Nat => family.server(index),
                Method::Direct | Method::Tunnel => family.vip(),
            };
            Responder::start(server, address, port)
        })
        .collect()
}

/// `is_known` says whether real servers see the clients' own addresses.
fn live_and_die(
    stage: &Stage,
    family: Family,
    responders: &[Responder],
    is_known: bool,
) -> Result<()> {
    let vip = SocketAddr::new(family.vip(), PORT);
    let clients = (FIRST..)
        .take(usize::from(EACH) * responders.len())
        .map(|port| SocketAddr::new(family.client(), port));
    let clients: Vec<_> = clients.collect();
    let mut associations = Vec::new();
    for client in &clients {
        let association = Association::open(&stage.network.client, *client, vip)?;
        associations.push(association);
    }
    let mut servers = Vec::new();
    for association in &mut associations {
        servers.push(talk(association)?);
    }
    for responder in responders {
        let peers = responder.peers();
        ensure!(peers.len() == usize::from(EACH), "{responder:?}");
        ensure!(
            peers
                .iter()
                .all(|peer| clients.contains(&(*peer).into()) == is_known),
            "{responder:?}"
        );
    }
    let found = flow(stage, clients[0], vip)?;
    ensure!(found.contains("ESTABLISHED"), "{found}");
    loads(stage, family, |server| {
        (server.active, server.inactive) == (EACH.into(), 0)
    })?;

    for (turn, association) in associations.into_iter().enumerate() {
        match turn % 2 {
            0 => association.shut_down()?,
            _ => association.abort()?,
        }
    }
    for client in &clients[..2] {
        let found = flow(stage, *client, vip)?;
        ensure!(found.contains("CLOSED"), "{found}");
    }
    loads(stage, family, |server| {
        (server.active, server.inactive) == (0, EACH.into())
    })?;
    for responder in responders {
        ensure!(responder.peers().is_empty(), "{responder:?}");
        ensure!(responder.ended() == usize::from(EACH), "{responder:?}");
    }

    // What has ended is in nobody's way: the same client is a new one, whose turn is another's.
    let mut again = Association::open(&stage.network.client, clients[1], vip)?;
    let server = talk(&mut again)?;
    ensure!(
        server == servers[0] && server != servers[1],
        "{server} after {servers:?}"
    );
    again.shut_down()?;
    for responder in responders {
        ensure!(responder.complaints().is_empty());
    }
    Ok(())
}

/// Texts of all lengths that are padded differently; all go to one server. Its name.
fn talk(association: &mut Association) -> Result<String> {
    let mut servers = Vec::new();
    for length in [1, 2, 3, 4, 235, 1000] {
        let text = vec![b'x'; length];
        let answer = association.ask(&text)?;
        let answer = String::from_utf8(answer)?;
        let (server, echo) = answer.split_once(": ").context("no name")?;
        ensure!(echo.as_bytes() == text, "{answer} for {length} bytes");
        servers.push(server.to_owned());
    }
    servers.dedup();
    ensure!(servers.len() == 1, "those who answered: {servers:?}");
    Ok(servers.remove(0))
}

/// What `lb explain` finds out about the flow of a packet.
fn flow(stage: &Stage, client: SocketAddr, vip: SocketAddr) -> Result<String> {
    let tuple = format!("sctp {client} {vip}");
    let args = ["explain", "--json", "--bpffs", PINS, "--socket", SOCKET];
    let args = args.into_iter().chain(["--tuple", &tuple]);
    let text = stage.director.lb(args)?;
    let stories: Value = serde_json::from_str(&text)?;
    let steps = stories[0]["steps"].as_array().context("no steps")?;
    let step = steps.iter().find(|step| step["what"] == "flow");
    let found = step.and_then(|step| step["found"].as_str());
    Ok(found.context("nothing about a flow")?.to_owned())
}

/// Waits until the loads of all real servers are as they should be.
fn loads(stage: &Stage, family: Family, are_so: impl Fn(&ServerStatus) -> bool) -> Result<()> {
    let name = match family {
        Family::V4 => "echo",
        Family::V6 => "echo6",
    };
    let all = |status: &Status| {
        let service = status.service(name);
        service.is_some_and(|service| service.servers.iter().all(&are_so))
    };
    stage.director.await_status("the loads", all).map(drop)
}
