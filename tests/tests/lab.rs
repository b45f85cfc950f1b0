//! The lab itself: without `lb`, the router only routes.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Dns, Family, Lab, Method, Network, Plan, Web, Wiring, address::FAMILIES, address::in_url,
    client, in_lab, lab::is_root, lab::skip, switch::Link, wire,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[test]
fn two_hosts_reach_each_other() {
    in_lab(|lab| {
        let (left, right) = (lab.host("left")?, lab.host("right")?);
        wire::connect(&left, "eth0", &right, "eth0")?;
        for (host, addresses) in [
            (&left, ["10.1.1.1/24", "fd00::1/64"]),
            (&right, ["10.1.1.2/24", "fd00::2/64"]),
        ] {
            for address in addresses {
                wire::add_address(host, "eth0", address)?;
            }
        }
        left.run("ping", ["-c", "1", "-W", "2", "10.1.1.2"])?;
        left.run("ping", ["-c", "1", "-W", "2", "fd00::2"])?;
        Ok(())
    });
}

#[test]
fn the_client_reaches_every_server_through_the_router() {
    in_lab(|lab| {
        for wiring in [Wiring::OneNet, Wiring::TwoNets] {
            let network = Network::new(lab, Plan::new(Method::Nat).wired(wiring))?;
            for (index, server) in (0..).zip(&network.servers) {
                let _web = Web::start(server)?;
                for family in FAMILIES {
                    let url = format!("http://{}/", in_url(family.server(index)));
                    let answer = client::get(&network.client, &url)?;
                    ensure!(
                        answer.server.as_deref() == Some(server.name()),
                        "{url}: {answer:?}"
                    );
                }
            }
        }
        Ok(())
    });
}

#[test]
fn many_requests_in_parallel_are_all_reported() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Nat))?;
        let mut web = Web::start(&network.servers[0])?;
        let url = format!("http://{}/", in_url(Family::V6.server(0)));
        let ask = || client::get_many(&network.client, &url, 100, 20);
        ensure!(client::shares(&ask()?) == [("rs1".to_owned(), 100)].into());
        web.kill();
        let answers = ask()?;
        ensure!(
            answers
                .iter()
                .all(|answer| !answer.is_good() && !answer.error.is_empty())
        );
        web.start_again()?;
        ensure!(ask()?.iter().all(client::Answer::is_good));
        web.quit()?;
        ensure!(!ask()?.iter().any(client::Answer::is_good));
        Ok(())
    });
}

#[test]
fn a_big_file_arrives_as_it_is() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Nat))?;
        let web = Web::start(&network.servers[0])?;
        let sum = web.offer_big_file(8)?;
        let url = format!("http://{}/big", in_url(Family::V4.server(0)));
        ensure!(client::sha256(&network.client, &url)? == sum);
        Ok(())
    });
}

#[test]
fn name_servers_tell_who_they_are() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Nat))?;
        for (index, server) in (0..).zip(&network.servers) {
            let _dns = Dns::start(server, index)?;
            for family in FAMILIES {
                let name = client::dig(&network.client, family.server(index))?;
                ensure!(name == server.name(), "{family}: {name}");
            }
        }
        Ok(())
    });
}

/// The router is not a director here: it hands packets for the virtual address over by a route,
/// which is what direct routing comes to.
#[test]
fn real_servers_answer_for_the_virtual_address_by_a_way_around_the_router() {
    in_lab(|lab| {
        for wiring in [Wiring::OneNet, Wiring::TwoNets] {
            let network = Network::new(lab, Plan::new(Method::Direct).wired(wiring))?;
            let _web = Web::start(&network.servers[1])?;
            for family in FAMILIES {
                network.router().ip(&format!(
                    "route add {} via {}",
                    family.vip(),
                    family.server(1)
                ))?;
                network.client.ip(&format!(
                    "route add {} via {}",
                    family.vip(),
                    family.router(0)
                ))?;
                let url = format!("http://{}/", in_url(family.vip()));
                let answer = client::get(&network.client, &url)?;
                ensure!(
                    answer.server.as_deref() == Some("rs2"),
                    "{wiring:?} {family}: {answer:?}"
                );
            }
        }
        Ok(())
    });
}

#[test]
fn real_servers_do_not_say_that_they_have_the_virtual_address() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Direct))?;
        for family in FAMILIES {
            let vip = family.vip().to_string();
            let ping = network
                .client
                .output("ping", ["-c", "1", "-W", "1", &vip])?;
            ensure!(!ping.status.success(), "somebody answered for {vip}");
        }
        network.hold_vips(network.router())?;
        for family in FAMILIES {
            network
                .client
                .ip(&format!("neighbour flush to {}", family.vip()))?;
            network
                .client
                .run("ping", ["-c", "1", "-W", "2", &family.vip().to_string()])?;
        }
        Ok(())
    });
}

#[test]
fn a_pulled_plug_is_seen_by_the_host() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Nat))?;
        let router = network.router();
        let carrier = || router.run("cat", ["/sys/class/net/eth0/carrier"]);
        ensure!(carrier()?.trim() == "1");
        network.outside.set_link(router, Link::Down)?;
        ensure!(carrier()?.trim() == "0");
        network.outside.set_link(router, Link::Up)?;
        ensure!(carrier()?.trim() == "1");
        Ok(())
    });
}

#[test]
fn hosts_have_their_own_run_and_pins() {
    in_lab(|lab| {
        let (left, right) = (lab.host("left")?, lab.host("right")?);
        left.write("/run/lb/a", "left")?;
        left.run("mkdir", ["/sys/fs/bpf/lb"])?;
        for path in ["/run/lb", "/sys/fs/bpf/lb"] {
            ensure!(left.output("test", ["-e", path])?.status.success());
            ensure!(!right.output("test", ["-e", path])?.status.success());
            ensure!(path == "/run/lb" || !fs::exists(path)?);
        }
        ensure!(!fs::exists("/run/lb/a")?);
        Ok(())
    });
}

/// As the showcase tells the user to do.
#[test]
fn others_can_enter_a_host() {
    in_lab(|lab| {
        let host = lab.host("alone")?;
        let entered = Command::new("nsenter")
            .args([
                "-t",
                &host.pid().to_string(),
                "-m",
                "-n",
                "ip",
                "-brief",
                "link",
            ])
            .output()?;
        ensure!(entered.status.success());
        let links = String::from_utf8(entered.stdout)?;
        ensure!(
            links.lines().count() == 1 && links.starts_with("lo "),
            "{links}"
        );
        Ok(())
    });
}

#[test]
fn nothing_is_left_of_a_lab_that_was_dropped() {
    in_lab(|_| {
        let lab = Lab::new()?;
        let network = Network::new(&lab, Plan::new(Method::Tunnel))?;
        let _web = Web::start(&network.servers[0])?;
        let namespaces = namespaces_of(network.router().pid())?;
        ensure!(!users_of(&namespaces)?.is_empty());
        drop((_web, network, lab));
        ensure!(users_of(&namespaces)?.is_empty());
        Ok(())
    });
}

#[test]
fn nothing_is_left_of_a_lab_that_was_killed() {
    if !is_root() {
        return skip("needs root");
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "victim", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let pids: Vec<u32> = lines
        .find_map(|line| {
            line.unwrap().split_once("hosts:").map(|(_, pids)| {
                pids.split_whitespace()
                    .map(|pid| pid.parse().unwrap())
                    .collect()
            })
        })
        .unwrap();
    let namespaces: BTreeSet<_> = pids
        .iter()
        .flat_map(|pid| namespaces_of(*pid).unwrap())
        .collect();
    assert!(
        users_of(&namespaces).unwrap().len() > pids.len(),
        "{pids:?}"
    );

    kill(Pid::from_raw(victim.id().cast_signed()), Signal::SIGKILL).unwrap();
    victim.wait().unwrap();

    // Nobody tells when other processes' children have been reaped.
    let deadline = Instant::now() + Duration::from_secs(10);
    let (_never, pause) = mpsc::channel::<()>();
    while !users_of(&namespaces).unwrap().is_empty() {
        assert!(
            Instant::now() < deadline,
            "left: {:?}",
            users_of(&namespaces)
        );
        let _timeout = pause.recv_timeout(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "waits to be killed by another test"]
fn victim() {
    in_lab(|lab| {
        let network = Network::new(lab, Plan::new(Method::Tunnel))?;
        let _web = Web::start(&network.servers[0])?;
        let hosts = network
            .servers
            .iter()
            .chain([&network.client, network.router()]);
        let pids: Vec<_> = hosts.map(|host| host.pid().to_string()).collect();
        println!("\nhosts: {}", pids.join(" "));
        let (_never, killed) = mpsc::channel::<()>();
        killed
            .recv_timeout(Duration::from_secs(60))
            .context("nobody killed it")
    });
}

/// Those of a host that the machine itself is not in.
fn namespaces_of(pid: u32) -> Result<BTreeSet<PathBuf>> {
    ["net", "mnt", "pid"]
        .into_iter()
        .map(|kind| Ok(fs::read_link(format!("/proc/{pid}/ns/{kind}"))?))
        .collect()
}

/// The processes that are in any of the namespaces.
fn users_of(namespaces: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut users = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let is_user = ["net", "mnt", "pid"].into_iter().any(|kind| {
            // A process may end while we look.
            fs::read_link(process.join("ns").join(kind)).is_ok_and(|ns| namespaces.contains(&ns))
        });
        if is_user {
            users.push(process);
        }
    }
    Ok(users)
}
