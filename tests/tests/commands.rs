//! What an administrator types: services and servers that come, change and go by command, with traffic on.

use std::{net::TcpStream, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage,
    address::{FAMILIES, in_url},
    client::{self, all_good, shares},
    director::CONFIG,
    on_stage,
    status::ServerStatus,
};
use serde_json::Value;

const FAMILY: Family = Family::V4;
const LIMIT: Duration = Duration::from_secs(20);
/// The port of services that are added by command. The servers behind them listen on 80.
const PORT: u16 = 8080;

fn two_servers() -> (Plan, Site) {
    let plan = Plan {
        servers: 2,
        ..Plan::new(Method::Nat)
    };
    let site = Site::new(Method::Nat).with(Service::web(FAMILY, 2));
    (plan, site)
}

/// A stage with a service from lvs.cf.
fn stage_of(lab: &lb_tests::Lab, lb: &Path) -> Result<(Stage, Site)> {
    let (plan, site) = two_servers();
    let stage = Stage::set(lab, lb, plan, &site)?;
    stage.await_servers()?;
    Ok((stage, site))
}

fn added(family: Family) -> String {
    format!("tcp:{}:{PORT}", in_url(family.vip()))
}

/// Adds a service with the two servers, in one command.
fn add(stage: &Stage, family: Family, more: &[&str]) -> Result<String> {
    let servers =
        [0, 1].map(|index| format!("{}:80,name=rs{}", in_url(family.server(index)), index + 1));
    let service = added(family);
    let mut command = vec![
        "service", "add", &service, "--name", "more", "-m", "nat", "-s", "rr",
    ];
    for server in &servers {
        command.extend(["--server", server]);
    }
    command.extend(more);
    stage.director.lb(command)
}

fn answered(stage: &Stage, family: Family, names: &[&str]) -> Result<()> {
    let url = format!("http://{}:{PORT}/", in_url(family.vip()));
    let answers = client::get_many(&stage.network.client, &url, 20, 4)?;
    if names.is_empty() {
        ensure!(!answers.iter().any(client::Answer::is_good), "{answers:?}");
        return Ok(());
    }
    all_good(&answers)?;
    let shares = shares(&answers);
    ensure!(shares.keys().eq(names), "{shares:?} instead of {names:?}");
    Ok(())
}

fn json(stage: &Stage, command: &[&str]) -> Result<Value> {
    let text = stage.director.lb(command)?;
    serde_json::from_str(&text).with_context(|| format!("lb {command:?} printed: {text}"))
}

#[test]
fn a_service_comes_changes_and_goes_by_command() {
    on_stage(|lab, lb| {
        let plan = two_servers().0;
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(Method::Nat), |site, family| {
                site.with(Service::web(family, 2))
            });
        let stage = Stage::set(lab, lb, plan, &site)?;
        stage.await_servers()?;
        for family in FAMILIES {
            answered(&stage, family, &[])?;
            let text = add(&stage, family, &["--dry-run"])?;
            ensure!(text.contains("could be added"), "{text}");
            answered(&stage, family, &[])?;
            let text = add(&stage, family, &[])?;
            ensure!(text.contains(": added"), "{text}");
            stage.await_servers()?;
            answered(&stage, family, &["rs1", "rs2"])?;

            stage
                .director
                .lb(["server", "edit", "more", "rs1", "--weight", "0"])?;
            answered(&stage, family, &["rs2"])?;
            let rows = json(&stage, &["server", "list", "more", "--json"])?;
            let row = &rows[0];
            ensure!(
                (&row["weight"], &row["origin"]) == (&0.into(), &"command".into()),
                "{rows}"
            );
            let address = family.server(0).to_string();
            stage
                .director
                .lb(["server", "edit", "more", &address, "--weight", "2"])?;
            stage.director.lb(["server", "remove", "more", "rs2"])?;
            answered(&stage, family, &["rs1"])?;
            stage.director.lb(["service", "remove", "more"])?;
            answered(&stage, family, &[])?;
        }
        let listed = stage.director.lb(["service", "list"])?;
        ensure!(
            listed.lines().count() == 3 && listed.contains("lvs.cf"),
            "{listed}"
        );
        Ok(())
    });
}

#[test]
fn a_change_that_is_refused_changes_nothing_and_says_why() {
    on_stage(|lab, lb| {
        let (stage, _) = stage_of(lab, lb)?;
        let before = json(&stage, &["service", "list", "--json"])?;
        let vip = FAMILY.vip().to_string();
        let there = format!("tcp:{vip}:80");
        let new = format!("tcp:{vip}:81");
        let table: [(&[&str], &str); 8] = [
            (
                &["service", "add", &there],
                "there is a service TCP 10.88.0.100:80 already",
            ),
            (
                &["service", "edit", "wep", "-s", "rr"],
                "no service is called “wep”; there is web",
            ),
            (&["service", "remove", "web", "wep"], "“wep”"),
            (&["service", "remove", "fwm:7"], "“fwm:7”"),
            (
                &["server", "add", "web", "10.88.1.11"],
                "has a server 10.88.1.11:80 already",
            ),
            (
                &["server", "edit", "web", "rs9", "-w", "1"],
                "no real server is called “rs9”",
            ),
            (
                &[
                    "server", "edit", "web", "rs1", "--upper", "1", "--lower", "2",
                ],
                "threshold",
            ),
            // The second server is refused, so the first does not come either.
            (
                &[
                    "service",
                    "add",
                    &new,
                    "--server",
                    "10.88.1.11",
                    "--server",
                    "0.0.0.0",
                ],
                "0.0.0.0",
            ),
        ];
        for (command, expected) in table {
            let complaint = stage.director.refused(command)?;
            ensure!(complaint.contains(expected), "{command:?}: {complaint}");
            ensure!(complaint.trim_end().lines().count() == 1, "{complaint}");
        }
        for wrong in [
            &["service", "add", "web"][..],
            &["service", "edit", "web"],
            &["server", "edit", "web", "rs1", "--weight", "heavy"],
            &[
                "server",
                "add",
                "web",
                "10.88.1.13",
                "-m",
                "tunnel",
                "--tunnel-type",
                "gue",
            ],
        ] {
            let output = stage.network.router().output(lb, wrong)?;
            ensure!(
                output.status.code() == Some(2),
                "{wrong:?}: {}",
                output.status
            );
        }
        let after = json(&stage, &["service", "list", "--json"])?;
        let facts = |value: &Value| value[0]["servers"].as_array().map(Vec::len);
        ensure!(
            after.as_array().map(Vec::len) == Some(1) && facts(&after) == facts(&before),
            "{after}"
        );
        Ok(())
    });
}

#[test]
fn changes_outlive_the_daemon_and_a_reload_but_not_a_reload_that_discards_them() {
    on_stage(|lab, lb| {
        let (mut stage, site) = stage_of(lab, lb)?;
        add(&stage, FAMILY, &[])?;
        stage
            .director
            .lb(["server", "edit", "web", "rs2", "-w", "7"])?;
        stage.await_servers()?;

        stage.director.kill()?;
        answered(&stage, FAMILY, &["rs1", "rs2"])?;
        stage.director.start_again()?;
        stage.await_servers()?;
        answered(&stage, FAMILY, &["rs1", "rs2"])?;
        let listed = stage.director.lb(["server", "list", "web"])?;
        let line = listed.lines().find(|line| line.contains("rs2"));
        ensure!(
            line.is_some_and(|line| line.contains("lvs.cf, edited")),
            "{listed}"
        );

        // A file that is different: both hold.
        let mut other = site.clone();
        other.services[0].servers.remove(0);
        let text = other.to_string();
        stage.network.router().write(CONFIG, &text)?;
        let compared = stage.director.lb(["config", "diff"])?;
        let (reload, commands) = compared
            .split_once("changed by command")
            .context(compared.clone())?;
        ensure!(
            reload.contains("- server 10.88.1.11:80 (rs1)"),
            "{compared}"
        );
        ensure!(
            commands.contains("weight 1 -> 7")
                && commands.contains("+ service TCP 10.88.0.100:8080 (more)"),
            "{compared}"
        );
        let status = stage
            .network
            .router()
            .output(lb, ["config", "diff", "--exit-code"])?;
        ensure!(status.status.code() == Some(1), "{}", status.status);
        let changed = stage.director.lb(["reload"])?;
        ensure!(
            changed.contains("- server 10.88.1.11:80 (rs1)"),
            "{changed}"
        );
        ensure!(changed.lines().count() == 1, "{changed}");
        stage.await_servers()?;
        answered(&stage, FAMILY, &["rs1", "rs2"])?;
        let again = stage.director.lb(["reload"])?;
        ensure!(again.contains("nothing is different"), "{again}");

        // One that is broken changes nothing, not even what was to be discarded.
        let broken = text.replace("weight = 1", "weight = heavy");
        stage.network.router().write(CONFIG, &broken)?;
        for command in [
            &["reload"][..],
            &["reload", "--discard"],
            &["config", "diff"],
        ] {
            let complaint = stage.director.refused(command)?;
            ensure!(
                complaint.contains("/run/lvs.cf:"),
                "{command:?}: {complaint}"
            );
            ensure!(complaint.trim_end().lines().count() == 1, "{complaint}");
        }
        answered(&stage, FAMILY, &["rs1", "rs2"])?;

        stage.network.router().write(CONFIG, &site.to_string())?;
        stage.director.lb(["reload", "--discard"])?;
        stage.await_servers()?;
        answered(&stage, FAMILY, &[])?;
        let compared = stage.director.lb(["config", "diff", "--exit-code"])?;
        ensure!(
            compared.contains("nothing was changed by command"),
            "{compared}"
        );
        let url = FAMILY.url();
        all_good(&client::get_many(&stage.network.client, &url, 10, 2)?)
    });
}

#[test]
fn what_was_said_of_a_server_outlives_the_daemon() {
    on_stage(|lab, lb| {
        let (mut stage, _) = stage_of(lab, lb)?;
        let mut streams = [connect(&stage, 80)?, connect(&stage, 80)?];
        let mut held = None;
        for stream in &mut streams {
            if client::ask(stream)? == "rs1" {
                held = Some(stream);
            }
        }
        let held = held.context("rs1 got nothing")?;
        stage
            .director
            .lb(["server", "drain", "web", "rs1", "--deadline", "600"])?;
        stage.director.kill()?;
        stage.director.start_again()?;
        let is_draining = |server: &ServerStatus| {
            server.state == "draining" && server.overridden.as_deref() == Some("drain")
        };
        let status = stage.director.await_status("rs1 drains still", |status| {
            let service = status.service("web");
            service.is_some_and(|it| it.server("rs1").is_some_and(is_draining) && it.has_up("rs2"))
        })?;
        let answers = client::get_many(&stage.network.client, &FAMILY.url(), 20, 4)?;
        ensure!(shares(&answers).keys().eq(["rs2"]), "{answers:?}");
        client::ask(held).with_context(|| format!("while it finishes: {status}"))?;
        // The time goes on: no more is left than there was.
        let text = stage.director.lb(["server", "drain", "web", "rs1"])?;
        let left = text
            .trim()
            .strip_suffix(" s")
            .and_then(|text| text.rsplit(' ').next()?.parse::<u32>().ok());
        ensure!(left.is_some_and(|left| left < 600), "{text}");

        stage.director.lb(["server", "auto", "web", "rs1"])?;
        stage.director.kill()?;
        stage.director.start_again()?;
        stage.await_servers()
    });
}

#[test]
fn connections_and_what_they_count_are_told() {
    on_stage(|lab, lb| {
        let (stage, _) = stage_of(lab, lb)?;
        add(&stage, FAMILY, &["-p", "60"])?;
        stage.await_servers()?;
        let mut stream = connect(&stage, PORT)?;
        let name = client::ask(&mut stream)?;
        let local = stream.local_addr()?.to_string();
        let text = stage
            .director
            .lb(["connections", "--service", "more", "--json"])?;
        let lines: Vec<Value> = text
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        ensure!(lines.len() == 2, "{text}");
        let find = |is_template: bool| {
            let mut lines = lines.iter();
            lines
                .find(|line| line["is_template"] == is_template)
                .context(text.clone())
        };
        let (flow, stays) = (find(false)?, find(true)?);
        let index = if name == "rs1" { 0 } else { 1 };
        let server = format!("{}:80", FAMILY.server(index));
        for (key, expected) in [
            ("protocol", "TCP"),
            ("state", "ESTABLISHED"),
            ("client", &*local),
            ("address", "10.88.0.100:8080"),
            ("server", &*server),
            ("service", "TCP 10.88.0.100:8080"),
        ] {
            ensure!(flow[key] == expected, "{key}: {flow}");
        }
        let expires = flow["expires"].as_u64().context("no number")?;
        ensure!((890..=900).contains(&expires), "{flow}");
        ensure!(
            stays["client"] == format!("{}:0", FAMILY.client()),
            "{stays}"
        );
        ensure!(stays["server"] == server, "{stays}");

        let table = stage.director.lb(["connections", "--client", &local])?;
        ensure!(
            table.lines().count() == 2 && table.contains("ESTABLISHED"),
            "{table}"
        );
        for (filter, expected) in [
            (&["--service", "more"][..], "2"),
            (&["--service", "more", "--server", &name], "2"),
            (&["--service", "more", "--protocol", "udp"], "0"),
            (&["--client", "198.51.100.0/24"], "0"),
        ] {
            let command = [&["connections", "--count"], filter].concat();
            let count = stage.director.lb(command)?;
            ensure!(count.trim() == expected, "{filter:?}: {count}");
        }
        let limited = stage
            .director
            .lb(["connections", "--json", "--limit", "1"])?;
        ensure!(limited.lines().count() == 1, "{limited}");

        for _ in 0..4 {
            client::ask(&mut stream)?;
        }
        let stats = json(&stage, &["stats", "more", "--json"])?;
        let counts = &stats["total"]["counts"];
        ensure!(counts["connections"] == 1, "{stats}");
        let packets = |name: &str| counts[name].as_u64().unwrap_or_default();
        ensure!(
            packets("packets_in") > 5 && packets("packets_out") > 5,
            "{stats}"
        );
        let text = stage.director.lb(["stats", "--exact"])?;
        ensure!(text.contains("total") && text.contains("(more)"), "{text}");
        let text = stage.director.lb(["stats", "more", "--rate"])?;
        ensure!(text.contains("conns/s"), "{text}");

        drop(stream);
        stage.director.lb(["service", "remove", "more"]).map(drop)
    });
}

fn connect(stage: &Stage, port: u16) -> Result<TcpStream> {
    let client = &stage.network.client;
    let stream = client.inside(|| Ok(TcpStream::connect((FAMILY.vip(), port))?))?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}
