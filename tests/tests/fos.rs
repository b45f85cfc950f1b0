//! `service = fos`: nginx runs on the active director, and moves with it.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use lb_tests::{
    Director, Family, Host, Lab, Method, Network, Pair, Plan, Site, client, on_stage, wait,
};

const FAMILY: Family = Family::V4;
const LIMIT: Duration = Duration::from_secs(20);
const FOLDER: &str = "/run/fos";
/// Prints whoever listens.
const LISTENS: &str = "ss --no-header --listening --numeric --tcp 'sport = :80'";

/// nginx at the virtual address alone: it cannot start where that is not.
fn site() -> Site {
    let mut site = Site::new(Method::Direct).paired();
    let vip = FAMILY.vip();
    site.directives.push(format!(
        r#"service = fos
command_timeout = 5
failover web {{
     active = 1
     address = {vip} eth0:1
     vip_nmask = 255.255.255.255
     port = 80
     timeout = 500ms
     reentry = 1
     start_cmd = "/usr/sbin/nginx -e {FOLDER}/error.log -p {FOLDER} -c nginx.conf"
     stop_cmd = "/bin/sh {FOLDER}/stop"
}}"#
    ));
    site
}

fn install(router: &Host) -> Result<()> {
    let (name, vip) = (router.name(), FAMILY.vip());
    router.write(
        format!("{FOLDER}/nginx.conf"),
        &format!(
            "master_process off;
pid nginx.pid;
events {{ worker_connections 100; }}
http {{
    access_log off;
    client_body_temp_path body;
    fastcgi_temp_path fastcgi;
    proxy_temp_path proxy;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
    server {{
        listen {vip}:80;
        add_header Real-Server {name};
        location / {{ return 200 {name}; }}
    }}
}}
"
        ),
    )?;
    router.write(
        format!("{FOLDER}/stop"),
        &format!(
            "pid=$(cat {FOLDER}/nginx.pid) || exit 0
kill $pid && while {LISTENS} | grep -q .; do sleep 0.05; done
exit 0
"
        ),
    )?;
    Ok(())
}

fn pair(lab: &Lab, lb: &Path) -> Result<Pair> {
    let plan = Plan {
        routers: 2,
        ..Plan::new(Method::Direct)
    };
    let network = Network::new(lab, plan)?;
    for router in &network.routers {
        install(router)?;
    }
    let start = |index: usize| Director::start(lb, &network.routers[index], plan, &site());
    let directors = [start(0)?, start(1)?];
    Ok(Pair {
        network,
        webs: Vec::new(),
        directors,
        frozen: [false; 2],
    })
}

fn state(director: &Director) -> Result<String> {
    let status = director.status()?;
    let [web] = &status.failovers[..] else {
        bail!("{status:?}");
    };
    Ok(web.state.clone())
}

/// Waits until this one runs the service, alone, and clients are answered by it.
fn await_served(pair: &Pair, by: usize) -> Result<()> {
    pair.await_active(by)?;
    let name = pair.network.routers[by].name();
    let url = FAMILY.url();
    let mut last = None;
    let served = wait::until(&format!("{name} serves"), LIMIT, || {
        let answer = client::get(&pair.network.client, &url)?;
        let is_there = answer.is_good() && answer.server.as_deref() == Some(name);
        last = Some(answer);
        let is_told = state(&pair.directors[by])? == "running";
        Ok((is_there && is_told).then_some(()))
    });
    served.with_context(|| {
        format!(
            "{last:?}\nthe first printed:\n{}\nthe second printed:\n{}",
            pair.directors[0].printed(),
            pair.directors[1].printed()
        )
    })
}

/// Whether nginx listens on a router.
fn runs(pair: &Pair, index: usize) -> Result<bool> {
    let printed = pair.network.routers[index].run("sh", ["-c", LISTENS])?;
    Ok(!printed.is_empty())
}

fn await_stopped(pair: &Pair, index: usize) -> Result<()> {
    let director = &pair.directors[index];
    let mut last = None;
    let stopped = wait::until(&format!("it is stopped on {index}"), LIMIT, || {
        let (state, runs) = (state(director)?, runs(pair, index)?);
        let is_stopped = state == "stopped" && !runs;
        last = Some((state, runs));
        Ok(is_stopped.then_some(()))
    });
    stopped.with_context(|| format!("{last:?}\n{}", director.printed()))
}

#[test]
fn a_service_runs_on_the_active_director_and_moves_when_it_fails() {
    on_stage(|lab, lb| {
        let pair = pair(lab, lb)?;
        await_served(&pair, 0)?;
        await_stopped(&pair, 1)?;
        ensure!(!pair.holds_vip(1, FAMILY)?, "the standby node holds it");

        // Somebody kills it: the partner gets it.
        let kill = format!("kill -9 $(cat {FOLDER}/nginx.pid)");
        pair.network.routers[0].run("sh", ["-c", &kill])?;
        await_served(&pair, 1)?;
        await_stopped(&pair, 0)?;
        let status = pair.directors[0].lb(["status"])?;
        ensure!(status.contains("failover web TCP"), "{status}");
        let events = pair.directors[0].lb(["events"])?;
        for told in ["[inactive] web at", "stop_cmd of web: exit status: 0"] {
            ensure!(events.contains(told), "{told}: {events}");
        }
        let metrics = pair.directors[1].lb(["metrics"])?;
        let running = "lb_failover_running{failover=\"web\"} 1";
        ensure!(metrics.contains(running), "{metrics}");

        // And back by command: the other one may take it again after a second.
        wait::until("it may be handed over", LIMIT, || {
            let order = pair.directors[1].lb(["failover"]);
            Ok(order.is_ok().then_some(()))
        })?;
        await_served(&pair, 0)?;
        await_stopped(&pair, 1)
    });
}

#[test]
fn the_partner_of_a_killed_daemon_starts_the_service() {
    on_stage(|lab, lb| {
        let mut pair = pair(lab, lb)?;
        await_served(&pair, 0)?;
        await_stopped(&pair, 1)?;
        pair.directors[0].kill()?;
        await_served(&pair, 1)?;
        // Nobody was there to stop it; nobody reaches it either.
        ensure!(runs(&pair, 0)?);
        pair.directors[0].start_again()?;
        await_stopped(&pair, 0)?;
        await_served(&pair, 1)?;
        ensure!(!pair.holds_vip(0, FAMILY)?);

        // A clean end stops it before the address comes off.
        pair.directors[1].stop()?;
        await_served(&pair, 0)?;
        ensure!(!runs(&pair, 1)? && !pair.holds_vip(1, FAMILY)?);
        Ok(())
    });
}

#[test]
fn a_service_that_fails_without_a_partner_is_started_again() {
    on_stage(|lab, lb| {
        let mut pair = pair(lab, lb)?;
        await_served(&pair, 0)?;
        pair.directors[1].stop()?;
        let kill = format!("kill -9 $(cat {FOLDER}/nginx.pid)");
        pair.network.routers[0].run("sh", ["-c", &kill])?;
        wait::until("it was started again", LIMIT, || {
            let status = pair.directors[0].status()?;
            Ok((status.failovers[0].starts >= 2).then_some(()))
        })?;
        pair.directors[1].start_again()?;
        await_served(&pair, 0)?;

        // The file takes it away, and brings it back.
        let empty = {
            let mut site = Site::new(Method::Direct).paired();
            site.directives.push("service = fos".to_owned());
            site
        };
        pair.directors[0].reload(&empty)?;
        wait::until("it is stopped", LIMIT, || {
            Ok(
                (!runs(&pair, 0)? && pair.directors[0].status()?.failovers.is_empty())
                    .then_some(()),
            )
        })?;
        ensure!(!pair.holds_vip(0, FAMILY)?);
        pair.directors[0].reload(&site())?;
        await_served(&pair, 0)
    });
}
