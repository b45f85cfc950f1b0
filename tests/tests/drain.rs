//! Servers that get nothing new and finish what they have.

use std::{io::ErrorKind, net::TcpStream, thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage, Web,
    client::{self, all_good, shares},
    dns, on_stage,
    site::METHODS,
    status::{ServerStatus, Status},
    wait,
};

const FAMILY: Family = Family::V4;
const LIMIT: Duration = Duration::from_secs(20);
/// Downloads that are under way when the server leaves.
const REQUESTS: u32 = 10;

fn two_servers(method: Method) -> (Plan, Site) {
    let plan = Plan {
        servers: 2,
        ..Plan::new(method)
    };
    (plan, Site::new(method).with(Service::web(FAMILY, 2)))
}

/// The same without its first server, which has so many seconds to finish.
fn without_the_first(site: &Site, seconds: u32) -> Site {
    let mut site = site.clone();
    let service = &mut site.services[0];
    service.servers.remove(0);
    service.directives.push(format!("drain = {seconds}"));
    site
}

#[test]
fn downloads_go_on_when_their_server_leaves_the_file() {
    on_stage(|lab, lb| {
        let (plan, site) = two_servers(Method::Nat);
        let mut stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let client = stage.network.client.clone();
        let slow = format!("{}slow", FAMILY.url());
        let downloads = thread::spawn(move || {
            client::get_many_with(&client, &slow, REQUESTS, REQUESTS, &["--max-time", "30"])
        });
        wait::until("all downloads are under way", LIMIT, || {
            let open: usize = stage.webs.iter().map(Web::connections).sum::<Result<_>>()?;
            Ok((open >= REQUESTS as usize).then_some(()))
        })?;
        ensure!(
            stage.webs[0].connections()? > 0,
            "rs1 has nothing to finish"
        );
        stage.director.reload(&without_the_first(&site, 600))?;
        let status = stage.director.status()?;
        ensure!(status.leaving.len() == 1, "{status:?}");
        answered_by(&stage, "rs2")?;
        let downloads = downloads
            .join()
            .map_err(|_| anyhow!("the client panicked"))??;
        ensure!(
            downloads.iter().all(|answer| answer.error.is_empty()),
            "{downloads:?}"
        );
        ensure!(shares(&downloads).contains_key("rs1"), "{downloads:?}");
        // It has far more time than it needs.
        stage
            .director
            .await_status("rs1 has left", |status| status.leaving.is_empty())
            .map(drop)
    });
}

#[test]
fn what_goes_on_after_the_deadline_is_reset() {
    for method in METHODS {
        on_stage(|lab, lb| {
            let (plan, site) = two_servers(method);
            let mut stage = Stage::set(lab, lb, plan, &site)?;
            stage.await_servers()?;
            let (mut first, mut second) = one_to_each(&stage)?;
            stage.director.reload(&without_the_first(&site, 2))?;
            client::ask(&mut first).context("while the server finishes")?;
            stage
                .director
                .await_status("rs1 has left", |status| status.leaving.is_empty())?;
            // It was silent meanwhile.
            is_reset(&mut first)?;
            client::ask(&mut second).context("on the server that stays")?;
            Ok(())
        });
    }
}

#[test]
fn a_server_is_drained_and_brought_back_by_command() {
    on_stage(|lab, lb| {
        let (plan, site) = two_servers(Method::Nat);
        let mut stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let (mut first, _second) = one_to_each(&stage)?;
        let text = stage
            .director
            .lb(["server", "drain", "web", "rs1", "--deadline", "600"])?;
        ensure!(text.contains("draining, for at most 600 s"), "{text}");
        answered_by(&stage, "rs2")?;
        client::ask(&mut first).context("while the server finishes")?;

        // A reload changes nothing of it.
        stage.director.reload(&site)?;
        let status = stage.director.status()?;
        let server = server(&status, "rs1")?;
        ensure!(server.state == "draining", "{server:?}");
        ensure!(server.overridden.as_deref() == Some("drain"), "{server:?}");

        stage.director.lb(["server", "up", "web", "rs1"])?;
        stage.await_servers()?;
        client::ask(&mut first).context("after the server is up again")?;

        let vip = format!("{}:80", FAMILY.vip());
        let address = FAMILY.server(0).to_string();
        stage.director.lb(["server", "down", &vip, &address])?;
        is_reset(&mut first)?;
        answered_by(&stage, "rs2")?;
        stage.director.lb(["server", "auto", "web", "rs1"])?;
        stage.await_servers()?;

        let complaint = stage.director.refused(["server", "up", "web", "rs3"])?;
        ensure!(
            complaint.contains("“rs3”") && complaint.contains("rs1 (10.88.1.11:80)"),
            "{complaint}"
        );
        let complaint = stage.director.refused(["server", "up", "wep", "rs1"])?;
        ensure!(complaint.contains("web (TCP"), "{complaint}");
        stage
            .director
            .daemon()
            .wait_until_printed("who=\"uid 0 pid", LIMIT)
            .map(drop)
    });
}

#[test]
fn questions_move_on_to_another_server() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 2,
            ..Plan::new(Method::Nat)
        };
        let service = Service::dns(FAMILY, 2);
        let stage = Stage::set(lab, lb, plan, &Site::new(Method::Nat).with(service))?;
        stage.await_servers()?;
        // One socket, so that it is one flow.
        let (own, vip) = ("0.0.0.0#5353", format!("@{}", FAMILY.vip()));
        let question = [
            "+short",
            "+time=2",
            "+tries=1",
            "-b",
            own,
            &vip,
            "TXT",
            dns::NAME,
        ];
        let ask = || stage.network.client.run("dig", question);
        let before = ask()?;
        ensure!(ask()? == before, "a flow stays with its server");
        let name = before.trim().trim_matches('"').to_owned();
        stage
            .director
            .lb(["server", "drain", "dns", &name, "--deadline", "2"])?;
        ensure!(ask()? == before, "it stays while its server finishes");
        stage
            .director
            .await_status("its server has left", |status| {
                server(status, &name).is_ok_and(|server| server.state == "drained")
            })?;
        let after = ask()?;
        ensure!(
            after != before && !after.is_empty(),
            "{after} after {before}"
        );
        Ok(())
    });
}

/// A connection to each of two servers, `rs1` first.
fn one_to_each(stage: &Stage) -> Result<(TcpStream, TcpStream)> {
    let connect = || -> Result<(String, TcpStream)> {
        let client = &stage.network.client;
        let mut stream = client.inside(|| Ok(TcpStream::connect((FAMILY.vip(), 80))?))?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok((client::ask(&mut stream)?, stream))
    };
    let mut connections = [connect()?, connect()?];
    connections.sort_by(|(one, _), (other, _)| one.cmp(other));
    let [(one, first), (other, second)] = connections;
    ensure!((&*one, &*other) == ("rs1", "rs2"), "{one} and {other}");
    Ok((first, second))
}

fn is_reset(stream: &mut TcpStream) -> Result<()> {
    match client::ask(stream) {
        Ok(name) => Err(anyhow!("{name} still answers")),
        Err(error) => {
            let kind = error
                .downcast_ref::<std::io::Error>()
                .map(std::io::Error::kind);
            ensure!(
                matches!(
                    kind,
                    Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
                ),
                "{error:#}"
            );
            Ok(())
        }
    }
}

fn server<'a>(status: &'a Status, name: &str) -> Result<&'a ServerStatus> {
    status
        .services
        .iter()
        .find_map(|service| service.server(name))
        .with_context(|| format!("no {name}"))
}

fn answered_by(stage: &Stage, name: &str) -> Result<()> {
    let answers = client::get_many(&stage.network.client, &FAMILY.url(), 20, 4)?;
    all_good(&answers)?;
    let shares = shares(&answers);
    ensure!(shares.keys().eq([name]), "{shares:?} instead of {name}");
    Ok(())
}
