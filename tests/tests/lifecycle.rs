//! The daemon starts, ends, dies and starts again; the data plane goes on until it is taken off.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use lb_common::maps::VERSION;
use lb_tests::{
    Family, Host, Method, Network, Plan, Service, Site, Stage, Web,
    address::FAMILIES,
    client::{self, Answer, all_good},
    director::{Director, PINS, SOCKET},
    on_stage,
    wire::add_address,
};

#[test]
fn sigterm_takes_the_virtual_addresses_off_and_detach_the_rest() {
    ends_cleanly(Director::stop);
}

#[test]
fn ctrl_c_takes_the_virtual_addresses_off_and_detach_the_rest() {
    ends_cleanly(Director::interrupt);
}

fn ends_cleanly(end: impl FnOnce(&mut Director) -> Result<std::process::ExitStatus>) {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let network = Network::new(lab, plan)?;
        let router = network.router();
        let _web = Web::start(&network.servers[0])?;
        let before = belongings(router)?;
        let mut director = Director::start(lb, router, plan, &both_families(Method::Nat, 1))?;
        for family in FAMILIES {
            ensure!(
                addresses(router)?.contains(&family.alone(family.vip())),
                "{family}: no virtual address"
            );
        }
        let links = links(router)?;
        ensure!(links.matches("prog/xdp").count() == 2, "{links}");
        let services = format!("{PINS}/v{VERSION}/maps/services");
        let dump = router.run("bpftool", ["map", "dump", "pinned", &services])?;
        for name in ["\"address\"", "\"port\"", "\"protocol\"", "\"scheduler\""] {
            ensure!(dump.contains(name), "{dump}");
        }
        let refused = router.output(lb, ["detach"])?;
        ensure!(
            refused.status.code() == Some(1),
            "detached while the daemon runs"
        );

        let status = end(&mut director)?;
        ensure!(status.success(), "{status}");
        ensure!(addresses(router)? == before.addresses);
        ensure!(!exists(router, SOCKET)?, "{SOCKET} is left");
        ensure!(exists(router, PINS)?, "the data plane is gone");

        director.lb(["detach", "--bpffs", PINS])?;
        let after = belongings(router)?;
        ensure!(after == before, "{after:?} instead of {before:?}");
        Ok(())
    });
}

#[test]
fn an_address_that_was_there_before_stays() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let network = Network::new(lab, plan)?;
        let router = network.router();
        let (theirs, ours) = (Family::V4, Family::V6);
        add_address(router, "eth0", &theirs.alone(theirs.vip()))?;
        let site = both_families(Method::Nat, 1);
        let mut director = Director::start(lb, router, plan, &site)?;
        ensure!(addresses(router)?.contains(&ours.alone(ours.vip())));
        director.stop()?;
        let left = addresses(router)?;
        ensure!(left.contains(&theirs.alone(theirs.vip())), "{left}");
        ensure!(!left.contains(&ours.alone(ours.vip())), "{left}");
        Ok(())
    });
}

/// The pins of another layout stand for those of an older release: they only differ in the name.
#[test]
fn the_data_plane_of_an_older_release_is_replaced() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let mut stage = Stage::set(lab, lb, plan, &both_families(Method::Nat, 1))?;
        stage.await_servers()?;
        stage.director.stop()?;
        let (ours, older) = (format!("{PINS}/v{VERSION}"), format!("{PINS}/v1"));
        let router = stage.network.router().clone();
        router.run("mv", [&ours, &older])?;

        stage.director.start_again()?;
        stage.await_servers()?;
        let daemon = stage.director.daemon();
        daemon.wait_until_printed("layout 1 was replaced", Duration::from_secs(5))?;
        ensure!(!exists(&router, &older)?, "{older} is left");
        let links = links(&router)?;
        ensure!(links.matches("prog/xdp").count() == 2, "{links}");
        for family in FAMILIES {
            all_good(&client::get_many(
                &stage.network.client,
                &family.url(),
                10,
                2,
            )?)?;
        }

        // And whatever the layout, it can be taken off.
        stage.director.stop()?;
        router.run("mv", [&ours, &older])?;
        stage.director.lb(["detach", "--bpffs", PINS])?;
        ensure!(!exists(&router, PINS)?, "{PINS} is left");
        Ok(())
    });
}

#[test]
fn nothing_is_lost_while_the_daemon_is_dead_and_when_it_returns() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let mut stage = Stage::set(lab, lb, plan, &both_families(Method::Nat, plan.servers))?;
        stage.await_servers()?;
        let client = stage.network.client.clone();
        let is_over = AtomicBool::new(false);
        let answers = thread::scope(|scope| {
            let stream = scope.spawn(|| ask_until(&client, &is_over));
            let played = kill_and_start_again(&mut stage);
            is_over.store(true, Ordering::Relaxed);
            let answers = stream.join().map_err(|_| anyhow!("the client panicked"))?;
            played.and(answers)
        })?;
        ensure!(answers.len() > 100, "only {} requests", answers.len());
        all_good(&answers)
    });
}

fn kill_and_start_again(stage: &mut Stage) -> Result<()> {
    let ask = |stage: &Stage| {
        for family in FAMILIES {
            all_good(&client::get_many(
                &stage.network.client,
                &family.url(),
                100,
                10,
            )?)?;
        }
        anyhow::Ok(())
    };
    stage.director.kill()?;
    ask(stage).context("without a daemon")?;
    stage.director.start_again()?;
    ask(stage).context("after the start")?;
    stage.await_servers()?;
    ask(stage).context("when all servers have been checked")?;
    // An end and a start, as the upgrade of a package does it.
    stage.director.kill()?;
    stage.director.start_again()?;
    ask(stage).context("after the second start")
}

fn ask_until(client: &Host, is_over: &AtomicBool) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        for family in FAMILIES {
            answers.extend(client::get_many(client, &family.url(), 20, 4)?);
        }
    }
    Ok(answers)
}

fn both_families(method: Method, servers: u8) -> Site {
    FAMILIES
        .into_iter()
        .fold(Site::new(method), |site, family| {
            site.with(Service::web(family, servers))
        })
}

/// What a director may leave behind on its machine.
#[derive(Debug, PartialEq)]
struct Belongings {
    addresses: String,
    links: String,
    pins: String,
}

fn belongings(host: &Host) -> Result<Belongings> {
    Ok(Belongings {
        addresses: addresses(host)?,
        links: links(host)?,
        pins: host.run("find", ["/sys/fs/bpf"])?,
    })
}

fn addresses(host: &Host) -> Result<String> {
    host.run("ip", ["-brief", "address"])
}

fn links(host: &Host) -> Result<String> {
    host.run("ip", ["-details", "link"])
}

fn exists(host: &Host, path: &str) -> Result<bool> {
    Ok(host.output("test", ["-e", path])?.status.success())
}
