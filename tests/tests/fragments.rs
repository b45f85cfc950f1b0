//! Datagrams that are larger than the MTU, in whatever order their fragments come.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lb_common::testing::{cut, udp};
use lb_tests::{
    Family, Method, Plan, Service, Site, Stage, address::FAMILIES, network::OUTSIDE, on_stage,
};
use socket2::{Domain, Protocol, Socket, Type};

/// The port of the service that sends every datagram back.
const ECHO: u16 = 5300;
const LENGTH: usize = 9_000;
/// What a fragment of ours carries.
const PIECE: usize = 1_200;
/// Raw packets with their IP header.
const WITH_HEADER: i32 = 255;
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn nat() {
    comes_back(Method::Nat);
}

#[test]
fn direct_routing() {
    comes_back(Method::Direct);
}

#[test]
fn tunnels() {
    comes_back(Method::Tunnel);
}

fn comes_back(method: Method) {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 2,
            ..Plan::new(method)
        };
        let site = FAMILIES
            .into_iter()
            .fold(Site::new(method), |site, family| {
                let dns = Service::dns(family, plan.servers);
                let echo = Service {
                    name: format!("{}-echo", dns.name),
                    port: ECHO,
                    ..dns.clone()
                };
                site.with(dns).with(echo)
            });
        let stage = Stage::set(lab, lb, plan, &site)?;
        for (index, server) in (0..).zip(&stage.network.servers) {
            for family in FAMILIES {
                let address = match method {
                    Method::Nat => family.server(index),
                    Method::Direct | Method::Tunnel => family.vip(),
                };
                let socket = server.inside(|| Ok(UdpSocket::bind((address, ECHO))?))?;
                // It ends with the test.
                thread::spawn(move || echo(&socket));
            }
        }
        stage.await_servers()?;
        for family in FAMILIES {
            if method == Method::Tunnel {
                // Fragments must leave room for the outer header.
                let vip = family.alone(family.vip());
                let route = format!("route add {vip} dev {OUTSIDE} mtu 1400");
                stage.network.client.ip(&route)?;
            }
            for port in [4_001, 4_002, 4_003] {
                in_order(&stage, family, port).with_context(|| format!("{family}, in order"))?;
            }
            for port in [4_011, 4_012, 4_013] {
                backwards(&stage, family, port).with_context(|| format!("{family}, backwards"))?;
            }
        }
        Ok(())
    });
}

/// Sends every datagram back.
fn echo(socket: &UdpSocket) {
    let mut bytes = [0; 1 << 16];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        let _ = socket.send_to(&bytes[..length], from);
    }
}

fn data(port: u16) -> Vec<u8> {
    (0..LENGTH)
        .map(|i| (i * 7 + usize::from(port)) as u8)
        .collect()
}

/// The kernel cuts the datagram.
fn in_order(stage: &Stage, family: Family, port: u16) -> Result<()> {
    let socket = listen(stage, family, port)?;
    socket.send_to(&data(port), (family.vip(), ECHO))?;
    await_answer(&socket, family, port)
}

/// The last fragment first.
fn backwards(stage: &Stage, family: Family, port: u16) -> Result<()> {
    let socket = listen(stage, family, port)?;
    let ends = [(family.client(), port), (family.vip(), ECHO)].map(SocketAddr::from);
    let frame = udp(&ends[0].to_string(), &ends[1].to_string())
        .payload(&data(port))
        .build();
    let cuts: Vec<usize> = (PIECE..LENGTH + 8).step_by(PIECE).collect();
    let fragments = cut(&frame, u32::from(port), &cuts);
    stage.network.client.inside(|| {
        let domain = match family.vip() {
            IpAddr::V4(_) => Domain::IPV4,
            IpAddr::V6(_) => Domain::IPV6,
        };
        let raw = Socket::new(domain, Type::RAW, Some(Protocol::from(WITH_HEADER)))?;
        for fragment in fragments.iter().rev() {
            let ip = &fragment[14..];
            raw.send_to(ip, &SocketAddr::new(family.vip(), 0).into())?;
        }
        Ok(())
    })?;
    await_answer(&socket, family, port)
}

fn listen(stage: &Stage, family: Family, port: u16) -> Result<UdpSocket> {
    let client = &stage.network.client;
    let socket = client.inside(|| Ok(UdpSocket::bind((family.client(), port))?))?;
    socket.set_read_timeout(Some(LIMIT))?;
    Ok(socket)
}

fn await_answer(socket: &UdpSocket, family: Family, port: u16) -> Result<()> {
    let mut bytes = [0; 1 << 16];
    let (length, from) = socket.recv_from(&mut bytes).context("no answer")?;
    ensure!(
        from == SocketAddr::new(family.vip(), ECHO),
        "it is from {from}"
    );
    ensure!(bytes[..length] == data(port), "the answer differs");
    Ok(())
}
