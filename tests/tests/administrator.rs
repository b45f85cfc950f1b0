//! An administrator's day: everything that is typed, while clients go on asking. No request is lost.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    client::{self, Answer, all_good, shares},
    on_stage,
};

const FAMILY: Family = Family::V4;
/// A second service on the same address.
const PORT: u16 = 8080;

#[test]
fn a_day_with_traffic_on_loses_no_request() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let mut service = Service::web(FAMILY, plan.servers);
        service.servers.truncate(2);
        let site = Site::new(Method::Nat).with(service);
        let mut stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        let client = stage.network.client.clone();
        let evening = AtomicBool::new(false);
        let (day, answers) = thread::scope(|scope| {
            let asking = scope.spawn(|| -> Result<Vec<Answer>> {
                let mut answers = Vec::new();
                while !evening.load(Ordering::Relaxed) {
                    answers.extend(client::get_many(&client, &FAMILY.url(), 20, 2)?);
                }
                Ok(answers)
            });
            let day = day(&mut stage);
            evening.store(true, Ordering::Relaxed);
            (day, asking.join())
        });
        day?;
        let answers = answers.map_err(|_| anyhow!("the clients panicked"))??;
        ensure!(
            answers.len() > 100,
            "{} requests are no traffic",
            answers.len()
        );
        all_good(&answers)?;
        let shares = shares(&answers);
        ensure!(
            shares.len() == 3,
            "each real server had its hour: {shares:?}"
        );
        Ok(())
    });
}

fn day(stage: &mut Stage) -> Result<()> {
    let vip = FAMILY.vip();
    let [first, second, third] = [0, 1, 2].map(|index| FAMILY.server(index));
    let web = format!("{vip}:80");
    let more = format!("{vip}:{PORT}");

    // A server is added by ipvsadm, and one service.
    lb(stage, &format!("ipvsadm -a -t {web} -r {third}:80 -m"))?;
    lb(stage, &format!("ipvsadm -A -t {more} -s rr"))?;
    lb(
        stage,
        &format!("ipvsadm -a -t {more} -r {first}:80 -m -w 2"),
    )?;
    lb(
        stage,
        &format!("ipvsadm -a -t {more} -r {second}:80 -m -x 500 -y 400"),
    )?;
    let listing = lb(stage, "ipvsadm -Ln")?;
    for row in [
        format!("TCP  {web} rr"),
        format!("TCP  {more} rr"),
        format!("  -> {third}:80"),
    ] {
        ensure!(listing.contains(&row), "no “{row}” in\n{listing}");
    }
    asked(stage, PORT, &["rs1", "rs2"])?;
    asked(stage, 80, &["rs1", "rs2", "rs3"])?;
    // lvs.cf knows nothing of it.
    let difference = lb(stage, "config diff")?;
    ensure!(
        difference.contains(&more) && difference.contains(&third.to_string()),
        "{difference}"
    );

    // One is drained, looked at, and comes back.
    lb(stage, "server drain web rs1 --deadline 5")?;
    stage.director.await_status("rs1 is drained", |status| {
        let server = status.service("web").and_then(|web| {
            let mut servers = web.servers.iter();
            servers.find(|server| server.name == "rs1")
        });
        server.is_some_and(|server| server.state == "drained")
    })?;
    asked(stage, 80, &["rs2", "rs3"])?;
    lb(stage, "server auto web rs1")?;
    stage.director.await_status("rs1 is back", |status| {
        let web = status.service("web");
        web.is_some_and(|web| web.servers.iter().all(|server| server.state == "up"))
    })?;

    // A broken file is refused, and nothing changes.
    let before = lb(stage, "ipvsadm -Ln")?;
    let file = stage.network.router().run("cat", ["/run/lvs.cf"])?;
    let broken = file.replace("scheduler = rr", "scheduler = fastest");
    stage.network.router().write("/run/lvs.cf", &broken)?;
    let line = broken.lines().position(|line| line.contains("fastest"));
    let line = line.context("it is not broken")? + 1;
    let complaint = stage.director.refused(["reload"])?;
    ensure!(
        complaint.contains(&format!("/run/lvs.cf:{line}:")),
        "{complaint}"
    );
    ensure!(complaint.lines().count() == 1, "{complaint}");
    ensure!(
        rows(&lb(stage, "ipvsadm -Ln")?) == rows(&before),
        "{before}"
    );

    // A good one is taken; what was typed before stays.
    stage.network.router().write("/run/lvs.cf", &file)?;
    lb(
        stage,
        "config edit --config /run/lvs.cf --set virtual/web/server/rs2/weight=3",
    )?;
    let difference = lb(stage, "config diff")?;
    ensure!(difference.contains("weight 1 -> 3"), "{difference}");
    let reloaded = lb(stage, "reload")?;
    ensure!(reloaded.contains("weight 1 -> 3"), "{reloaded}");
    let listing = lb(stage, "ipvsadm -Ln")?;
    ensure!(listing.contains(&format!("TCP  {more} rr")), "{listing}");
    ensure!(listing.contains("Masq    3 "), "{listing}");

    // It is saved, and restored on a daemon that begins without it.
    let saved = lb(stage, "ipvsadm -S -n")?;
    ensure!(
        saved.contains(&format!(
            "-a -t {more} -r {second}:80 -m -w 1 -x 500 -y 400"
        )),
        "{saved}"
    );
    stage.director.kill()?;
    stage.network.router().run("rm", ["/run/lb/changes.json"])?;
    stage.director.start_again()?;
    let listing = lb(stage, "ipvsadm -Ln")?;
    ensure!(!listing.contains(&more), "{listing}");
    stage.network.router().write("/run/saved", &saved)?;
    let restore = "ln -s \"$0\" /run/ipvsadm-restore && /run/ipvsadm-restore < /run/saved";
    let program = stage.director.program().as_os_str().to_owned();
    let words = ["-c".into(), restore.into(), program];
    stage.network.router().run("sh", words)?;
    let restored = lb(stage, "ipvsadm -S -n")?;
    ensure!(restored == saved, "{restored}\ninstead of\n{saved}");
    asked(stage, PORT, &["rs1", "rs2"])?;

    // Somebody brings a keepalived.conf, which knows two of the servers.
    let keepalived = keepalived(&[(first, 1), (third, 2)]);
    stage
        .network
        .router()
        .write("/run/keepalived.conf", &keepalived)?;
    // Exit status 1: not all of it can be carried over, which is told by line.
    let import = "config import /run/keepalived.conf --out /run/imported.cf";
    let told = stage.director.refused(import.split(' '))?;
    let is_told =
        |line: &str| line.starts_with("/run/keepalived.conf:") && line.contains(": left out: ");
    ensure!(told.lines().all(is_told), "{told}");
    lb(stage, "check /run/imported.cf")?;
    let imported = stage.network.router().run("cat", ["/run/imported.cf"])?;
    stage.network.router().write("/run/lvs.cf", &imported)?;
    lb(stage, "reload --discard")?;
    stage
        .director
        .await_status("the servers of keepalived.conf are up", |status| {
            status.is_complete()
                && status.services.len() == 1
                && status.services[0].servers.len() == 2
        })?;
    asked(stage, 80, &["rs1", "rs3"])?;
    let listing = lb(stage, "ipvsadm -Ln")?;
    ensure!(listing.contains(&format!("TCP  {web} wrr")), "{listing}");
    ensure!(!listing.contains(&more), "{listing}");
    Ok(())
}

/// Everything but how many connections there are.
fn rows(listing: &str) -> Vec<String> {
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().take(4).collect();
        words.join(" ")
    };
    listing.lines().map(row).collect()
}

/// A keepalived.conf for the same virtual address, with these servers and their weights.
fn keepalived(servers: &[(IpAddr, u32)]) -> String {
    let vip = FAMILY.vip();
    let mut text = format!(
        "vrrp_instance outside {{\n  interface eth0\n  virtual_router_id 51\n  virtual_ipaddress {{\n    \
         {vip}/32 dev eth0 label eth0:1\n  }}\n}}\nvirtual_server {vip} 80 {{\n  delay_loop 1\n  \
         lb_algo wrr\n  lb_kind NAT\n  protocol TCP\n"
    );
    for (address, weight) in servers {
        text += &format!(
            "  real_server {address} 80 {{\n    weight {weight}\n    TCP_CHECK {{\n      \
             connect_timeout 1\n    }}\n  }}\n"
        );
    }
    text + "}\n"
}

/// Runs `lb` with these words on the router; what it prints.
fn lb(stage: &Stage, words: &str) -> Result<String> {
    let words = words.split_whitespace();
    stage.director.lb(words)
}

/// Whether just these servers answer at this port.
fn asked(stage: &Stage, port: u16, names: &[&str]) -> Result<()> {
    let url = format!("http://{}:{port}/", FAMILY.vip());
    let answers = client::get_many(&stage.network.client, &url, 24, 2)?;
    all_good(&answers)?;
    let shares = shares(&answers);
    ensure!(shares.keys().eq(names), "{shares:?} instead of {names:?}");
    Ok(())
}
