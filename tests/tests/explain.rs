//! `lb explain` tells what would become of a packet and changes nothing; `lb log` tells what became of
//! those that came.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use lb_common::{
    maps::VERSION,
    testing::{cut, tcp, udp},
    wire::tcp::flags,
};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage, client,
    director::{PINS, SOCKET},
    network::OUTSIDE,
    on_stage,
    process::Process,
    wait,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);
const CLIENT: &str = "10.88.0.10";

fn stage(lab: &lb_tests::Lab, lb: &std::path::Path) -> Result<Stage> {
    let plan = Plan {
        servers: 1,
        ..Plan::new(Method::Nat)
    };
    let site = Site::new(Method::Nat).with(Service::web(Family::V4, 1));
    let stage = Stage::set(lab, lb, plan, &site)?;
    stage.await_servers()?;
    Ok(stage)
}

/// What `lb explain` tells of one packet.
fn explain(stage: &Stage, words: &str) -> Result<Value> {
    let args = ["explain", "--json", "--bpffs", PINS, "--socket", SOCKET];
    let text = stage
        .director
        .lb(args.into_iter().chain(["--tuple", words]))?;
    let stories: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    stories.get(0).cloned().context("no packet was explained")
}

/// What the daemon tells of a SYN from this socket.
fn asked(stage: &Stage, source: &str) -> Result<Value> {
    let destination = format!("{}:80", Family::V4.vip());
    let url =
        format!("http://lb/v1/explain?protocol=tcp&source={source}&destination={destination}");
    let router = stage.network.router();
    let text = router.run("curl", ["-sS", "--unix-socket", SOCKET, &url])?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// What it found at one of its steps.
fn found<'a>(story: &'a Value, what: &str) -> &'a str {
    let steps = story["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let step = steps.iter().find(|step| step["what"] == what);
    step.and_then(|step| step["found"].as_str())
        .unwrap_or_default()
}

/// The entries of a map, as bpftool shows them.
fn dump(stage: &Stage, map: &str) -> Result<String> {
    let pin = format!("{PINS}/v{VERSION}/maps/{map}");
    let router = stage.network.router();
    router.run("bpftool", ["--json", "map", "dump", "pinned", &pin])
}

#[test]
fn a_packet_is_explained_and_nothing_changes() {
    on_stage(|lab, lb| {
        let stage = stage(lab, lb)?;
        let opening = format!("tcp {CLIENT}:4321 {}:80", Family::V4.vip());
        let maps = ["flows4", "turns", "reasons", "events", "queued", "census"];
        // Nannies and neighbours talk past the program's services; nobody else does.
        let before: Vec<_> = maps
            .iter()
            .map(|map| dump(&stage, map))
            .collect::<Result<_>>()?;

        let first = explain(&stage, &opening)?;
        ensure!(first["verdict"] == "forwarded", "{first:#}");
        ensure!(first["leaves_by"] == "eth1", "{first:#}");
        ensure!(found(&first, "flow").contains("none is known"), "{first:#}");
        ensure!(found(&first, "service").contains("\"web\""), "{first:#}");
        ensure!(found(&first, "scheduler") == "rr chooses", "{first:#}");
        ensure!(
            found(&first, "server").starts_with("rs1 (10.88.1.11:80), masqueraded"),
            "{first:#}"
        );
        let changes = first["changes"].to_string();
        ensure!(changes.contains(r#""after":"10.88.1.11""#), "{first:#}");
        for _ in 0..2 {
            let again = explain(&stage, &opening)?;
            ensure!(again == first, "{again:#} after {first:#}");
            // The daemon says the same; the second time by the program that it has kept.
            let told = asked(&stage, &format!("{CLIENT}:4321"))?;
            ensure!(told == first, "{told:#} after {first:#}");
        }
        let after: Vec<_> = maps
            .iter()
            .map(|map| dump(&stage, map))
            .collect::<Result<_>>()?;
        ensure!(before == after, "{before:?} became {after:?}");
        let status = stage.director.status()?;
        let server = &status.services[0].servers[0];
        ensure!(
            (server.connections, server.packets_in) == (0, 0),
            "{server:?}"
        );

        let story = explain(&stage, "tcp 10.88.0.10:4321 10.88.0.1:81")?;
        ensure!(story["verdict"] == "passed", "{story:#}");
        ensure!(story["reason"].is_null(), "{story:#}");
        let story = explain(&stage, &format!("{opening} flags A"))?;
        ensure!(story["verdict"] == "passed", "{story:#}");
        ensure!(story["reason"] == "no-flow", "{story:#}");
        Ok(())
    });
}

#[test]
fn flows_are_known_and_a_service_without_servers_refuses() {
    on_stage(|lab, lb| {
        let mut stage = stage(lab, lb)?;
        let connection = stage
            .network
            .client
            .inside(|| Ok(std::net::TcpStream::connect((Family::V4.vip(), 80))?))?;
        let from = connection.local_addr()?;
        let segment = format!("tcp {from} {}:80 flags A", Family::V4.vip());
        let story = explain(&stage, &segment)?;
        ensure!(found(&story, "flow").contains("ESTABLISHED"), "{story:#}");
        ensure!(found(&story, "server").starts_with("rs1"), "{story:#}");
        let reply = format!("tcp 10.88.1.11:80 {from} flags A");
        let story = explain(&stage, &reply)?;
        ensure!(found(&story, "flow").contains("a reply to"), "{story:#}");
        ensure!(story["leaves_by"] == OUTSIDE, "{story:#}");

        // It works without the daemon, but for names.
        stage.director.kill()?;
        let story = explain(&stage, &segment)?;
        ensure!(
            found(&story, "server").starts_with("10.88.1.11:80"),
            "{story:#}"
        );
        drop(connection);
        stage.director.start_again()?;

        stage.webs[0].kill();
        stage
            .director
            .await_status("rs1 is down", |status| !status.is_complete())?;
        let opening = format!("tcp {CLIENT}:4321 {}:80", Family::V4.vip());
        let story = explain(&stage, &opening)?;
        ensure!(story["verdict"] == "answered", "{story:#}");
        ensure!(story["reason"] == "no-server", "{story:#}");
        ensure!(found(&story, "answer").contains("flags RA"), "{story:#}");
        Ok(())
    });
}

#[test]
fn without_a_data_plane_it_says_so() {
    on_stage(|lab, lb| {
        let router = lab.host("router")?;
        let output = router.output(lb, ["explain", "--tuple", "tcp 192.0.2.1:1 192.0.2.2:2"])?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{complaint}");
        ensure!(complaint.contains("there is no data plane"), "{complaint}");
        ensure!(complaint.lines().count() == 1, "{complaint}");
        Ok(())
    });
}

/// A pcap file of these frames, one a second.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    file.extend([0; 8]);
    file.extend(65_535_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for (second, frame) in (1_u32..).zip(frames) {
        let length = frame.len() as u32;
        for word in [second, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

#[test]
fn packets_of_a_capture_are_written_as_they_leave() {
    on_stage(|lab, lb| {
        let stage = stage(lab, lb)?;
        let router = stage.network.router();
        let (outside, inside) = (router.mac("eth0")?, router.mac("eth1")?);
        let gateway = [2, 0, 0, 0, 0, 9];
        let opening = tcp("10.88.0.10:4321", "10.88.0.100:80")
            .flags(flags::SYN)
            .macs((gateway, outside));
        let foreign = udp("10.88.0.10:4321", "10.88.0.1:9999").macs((gateway, outside));
        let last_hop = opening.clone().from("10.88.0.10:4322").hops(1);
        let datagram = udp("10.88.0.10:4321", "10.88.0.100:80").macs((gateway, outside));
        let fragments = cut(&datagram.payload(&[7; 64]).build(), 9, &[32]);
        let early = fragments.into_iter().next_back();
        let frames = [opening.build(), foreign.build(), last_hop.build()];
        let frames: Vec<_> = frames.into_iter().chain(early).collect();
        router.inside(|| Ok(fs::write("/run/in.pcap", pcap(&frames))?))?;

        let args = [
            "explain",
            "--pcap",
            "/run/in.pcap",
            "--out",
            "/run/out.pcap",
        ];
        let options = ["--interface", "eth0", "--bpffs", PINS, "--socket", SOCKET];
        let text = stage.director.lb(args.into_iter().chain(options))?;
        for line in [
            "leaves by eth1",
            "goes up to the kernel's own stack",
            "hop-limit",
            "waits in the daemon for the first fragment",
        ] {
            ensure!(text.contains(line), "{line} is not in\n{text}");
        }
        let written = router.inside(|| Ok(fs::read("/run/out.pcap")?))?;
        let sent = opening
            .to("10.88.1.11:80")
            .macs((inside, stage.network.servers[0].mac(OUTSIDE)?))
            .hops(63)
            .build();
        let first = &written[24..];
        ensure!(first[..4] == 1_u32.to_le_bytes(), "{first:02x?}");
        ensure!(
            first[16..16 + sent.len()] == sent,
            "{:02x?} instead of {sent:02x?}",
            &first[16..16 + sent.len()]
        );
        // The second one does not leave; what is behind is the answer to the third.
        let second = &first[16 + sent.len()..];
        ensure!(second[..4] == 3_u32.to_le_bytes(), "{second:02x?}");
        let answer = &second[16..];
        lb_common::testing::checksums(answer).map_err(anyhow::Error::msg)?;
        // ICMP, time exceeded.
        ensure!((answer[23], answer[34]) == (1, 11), "{answer:02x?}");
        Ok(())
    });
}

#[test]
fn the_decision_log_names_servers_while_it_is_on() {
    on_stage(|lab, lb| {
        let stage = stage(lab, lb)?;
        let router = stage.network.router();
        let url = Family::V4.url();
        let program = || {
            let links = format!("{PINS}/v{VERSION}/links/eth0");
            router.run("bpftool", ["--json", "link", "show", "pinned", &links])
        };
        let quiet = program()?;
        stage.director.lb(["log", "on", "--socket", SOCKET])?;
        ensure!(program()? != quiet, "the program was not replaced: {quiet}");

        let mut command = Command::new(lb);
        command.args(["log", "--socket", SOCKET]);
        let reader = Process::start(router, &mut command)?;
        wait::until("a line names the server", LIMIT, || {
            let answer = client::get(&stage.network.client, &url)?;
            ensure!(answer.is_good(), "{answer:?}");
            let printed = reader.printed();
            let named = printed.lines().any(|line| {
                line.starts_with("steered tcp 10.88.0.10:")
                    && line.contains("> 10.88.0.100:80")
                    && line.contains("server rs1 (10.88.1.11:80)")
            });
            Ok(named.then_some(()))
        })
        .with_context(|| reader.printed())?;

        stage.director.lb(["log", "off", "--socket", SOCKET])?;
        ensure!(program()? == quiet, "{} instead of {quiet}", program()?);
        let answer = client::get(&stage.network.client, &url)?;
        ensure!(answer.is_good(), "{answer:?}");
        Ok(())
    });
}
