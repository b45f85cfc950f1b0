//! Forged openings that never become connections, and sockets that are used again at once.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lb_common::{
    testing::tcp,
    wire::{ethernet::Ethernet, tcp::flags::SYN},
};
use lb_tests::{
    Family, Host, Plan, Service, Site, Stage, address::FAMILIES, client, director::SOCKET,
    on_stage, site::METHODS, wait,
};
use serde_json::Value;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// `IPPROTO_RAW`.
const RAW: i32 = 255;
/// Far more than there is room for.
const FORGED: u32 = 20_000;
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn connections_go_on_through_a_flood_of_forged_ones() {
    for method in METHODS {
        on_stage(|lab, lb| {
            let plan = Plan::new(method);
            let mut site = web_site(plan);
            site.directives
                .extend(["flow_table = 2048", "half_open = 1024"].map(str::to_owned));
            let stage = Stage::set(lab, lb, plan, &site)?;
            stage.await_servers()?;
            let client = &stage.network.client;
            let mut standing = Vec::new();
            for family in FAMILIES {
                let mut stream = client.inside(|| Ok(TcpStream::connect((family.vip(), 80))?))?;
                stream.set_read_timeout(Some(LIMIT))?;
                standing.push((client::ask(&mut stream)?, stream));
            }
            for family in FAMILIES {
                forge(client, family)?;
            }
            let displaced = displaced(&stage)?;
            // Half of them at least, in each family, were more than there is room for.
            ensure!(
                displaced > u64::from(FORGED),
                "{method:?}: only {displaced} made room for others"
            );
            for (server, stream) in &mut standing {
                let now = client::ask(stream).with_context(|| format!("{method:?}"))?;
                ensure!(now == *server, "{method:?}: from {server} to {now}");
            }
            for family in FAMILIES {
                let answers = client::get_many(client, &family.url(), 20, 4)?;
                client::all_good(&answers).with_context(|| format!("{method:?}, {family}"))?;
            }
            Ok(())
        });
    }
}

/// Opens from one forged socket after the other.
fn forge(client: &Host, family: Family) -> Result<()> {
    let vip = SocketAddr::new(family.vip(), 80);
    let to = SocketAddr::new(family.vip(), 0).into();
    client.inside(|| {
        // A socket of this protocol sends IP packets as they are.
        let protocol = Protocol::from(RAW);
        let socket = Socket::new(Domain::for_address(vip), Type::RAW, Some(protocol))?;
        for number in 1..=FORGED {
            let [.., b, c, d] = number.to_be_bytes();
            let source = match family {
                Family::V4 => format!("198.18.{c}.{d}:{}", 1024 + u16::from(b)),
                Family::V6 => format!("[2001:db8:bad::{b:x}:{c:x}:{d:x}]:1024"),
            };
            let frame = tcp(&source, &vip.to_string()).flags(SYN).build();
            let packet = frame.get(size_of::<Ethernet>()..).context("no frame")?;
            socket.send_to(packet, &to)?;
        }
        Ok(())
    })
}

/// How many half-open flows made room for others.
fn displaced(stage: &Stage) -> Result<u64> {
    let text = stage.director.lb(["drops", "--json", "--socket", SOCKET])?;
    let drops: Value = serde_json::from_str(&text)?;
    let events = drops["events"].as_array().context("no events")?;
    let event = events.iter().find(|event| event["event"] == "displaced");
    Ok(event.and_then(|event| event["count"].as_u64()).unwrap_or(0))
}

/// A client's socket is in the table, ended, when it is used again. IPVS with `conn_reuse_mode` keeps such a
/// client waiting until it sends its SYN once more.
#[test]
fn a_port_that_is_used_again_is_served_at_once() {
    for method in METHODS {
        on_stage(|lab, lb| {
            let plan = Plan::new(method);
            let stage = Stage::set(lab, lb, plan, &web_site(plan))?;
            stage.await_servers()?;
            let client = &stage.network.client;
            let before = repeated(client)?;
            for family in FAMILIES {
                for _ in 0..4 {
                    for end in [End::Reset, End::ByTheServer] {
                        visit(client, family, end)
                            .with_context(|| format!("{method:?}, {family}, {end:?}"))?;
                    }
                }
            }
            let after = repeated(client)?;
            ensure!(
                before == after,
                "{method:?}: openings were repeated: {before}, {after}"
            );
            Ok(())
        });
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The client breaks it off.
    Reset,
    /// The server closes first, so that nothing of it stays with the client.
    ByTheServer,
}

/// Fetches the page from the port that is always the same.
fn visit(client: &Host, family: Family, end: End) -> Result<()> {
    let vip = SocketAddr::new(family.vip(), 80);
    let own = SocketAddr::new(family.client(), 4321);
    wait::until("the client's own kernel gives the port back", LIMIT, || {
        let sockets = client.run("ss", ["-Htan", "sport = :4321"])?;
        Ok(sockets.trim().is_empty().then_some(()))
    })?;
    let mut stream: TcpStream = client.inside(|| {
        let socket = Socket::new(Domain::for_address(vip), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&own.into())?;
        socket.connect_timeout(&vip.into(), LIMIT)?;
        Ok(socket.into())
    })?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    ensure!(page.contains("200 OK"), "{page}");
    if matches!(end, End::Reset) {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// How many SYNs the client had to repeat.
fn repeated(client: &Host) -> Result<u64> {
    let text = client.run("cat", ["/proc/net/netstat"])?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = lines.next().zip(lines.next()).context("no TcpExt")?;
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs
        .find(|(name, _)| *name == "TCPSynRetrans")
        .context("no TCPSynRetrans")?;
    Ok(value.parse()?)
}

fn web_site(plan: Plan) -> Site {
    FAMILIES
        .into_iter()
        .fold(Site::new(plan.method), |site, family| {
            site.with(Service::web(family, plan.servers))
        })
}
