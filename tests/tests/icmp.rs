//! Control messages: pings of virtual addresses are answered, and errors reach whom they are for.

use std::{
    io::Read,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lb_tests::{
    Family, Host, Lab, Method, Network, Plan, Service, Site, Stage, Wiring,
    address::FAMILIES,
    client, on_stage,
    wire::{self, add_address},
};
use socket2::{Domain, Protocol, Socket, Type};

const BIG_FILE_MEBIBYTES: usize = 4;
/// What a packet may have behind the gateway, in bytes.
const NARROW: &str = "1280";
/// So long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn pings_are_answered_although_the_kernel_answers_none() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Nat);
        let stage = Stage::set(lab, lb, plan, &web_site(plan))?;
        stage.network.router().set(&[
            ("ipv4/icmp_echo_ignore_all", "1"),
            ("ipv6/icmp/echo_ignore_all", "1"),
        ])?;
        let client = &stage.network.client;
        client.set(&[("ipv4/ping_group_range", "0 0")])?;
        for family in FAMILIES {
            ensure!(
                ping(client, family, family.router(0)).is_err(),
                "{family}: the kernel answers, so this test shows nothing"
            );
            ping(client, family, family.vip()).context(family.to_string())?;
        }
        Ok(())
    });
}

#[test]
fn a_masqueraded_server_learns_what_the_way_to_the_client_takes() {
    narrow_way(Plan::new(Method::Nat));
}

#[test]
fn a_server_behind_direct_routing_learns_what_the_way_to_the_client_takes() {
    narrow_way(Plan::new(Method::Direct).wired(Wiring::OneNet));
}

/// A big file goes to a client behind a gateway that takes shorter packets only, and says so to the
/// virtual address.
fn narrow_way(plan: Plan) {
    on_stage(|lab, lb| {
        let stage = Stage::set(lab, lb, plan, &web_site(plan))?;
        stage.await_servers()?;
        let Beyond { far, .. } = &Beyond::plugged(lab, &stage.network)?;
        let sum = stage.offer_big_file(BIG_FILE_MEBIBYTES)?;
        for family in FAMILIES {
            let told = || servers_told(&stage.network, family);
            ensure!(told()?.is_empty(), "{family}: {:?} know already", told()?);
            let came = client::sha256(far, &format!("{}big", family.url()))
                .with_context(|| family.to_string())?;
            ensure!(came == sum, "{family}: the file differs");
            // The one that sent the file, and nobody else.
            ensure!(told()?.len() == 1, "{family}: {:?} know", told()?);
        }
        Ok(())
    });
}

/// The real servers whose kernels know how short packets to the far client have to be.
fn servers_told(network: &Network, family: Family) -> Result<Vec<&str>> {
    let mut told = Vec::new();
    for server in &network.servers {
        let route = server.run("ip", ["route", "get", far_client(family)])?;
        if route.contains(&format!("mtu {NARROW}")) {
            told.push(server.name());
        }
    }
    Ok(told)
}

/// The client's segments are as long as its own link takes, and do not fit into the tunnel. It is told.
#[test]
fn a_client_learns_what_a_tunnel_takes() {
    on_stage(|lab, lb| {
        let plan = Plan::new(Method::Tunnel);
        let stage = Stage::set(lab, lb, plan, &web_site(plan))?;
        stage.await_servers()?;
        let sum = stage.offer_big_file(BIG_FILE_MEBIBYTES)?;
        for family in FAMILIES {
            stage.network.ask_for_long_segments(family)?;
            let passed = stage.pass_on(family, &sum);
            passed.with_context(|| family.to_string())?;
        }
        Ok(())
    });
}

/// The tunnel leads over a gateway that takes shorter packets only, and says so to the director. The client
/// is told what fits into the tunnel.
#[test]
fn a_client_learns_what_the_way_to_a_tunnelled_server_takes() {
    on_stage(|lab, lb| {
        let plan = Plan {
            servers: 1,
            ..Plan::new(Method::Tunnel)
        };
        let stage = Stage::set(lab, lb, plan, &web_site(plan))?;
        let _gateway = put_in_between(lab, &stage.network)?;
        stage.await_servers()?;
        let sum = stage.offer_big_file(BIG_FILE_MEBIBYTES)?;
        // Without the outer header.
        for (family, inner) in [(Family::V4, "mtu 1380"), (Family::V6, "mtu 1360")] {
            stage.network.ask_for_long_segments(family)?;
            let passed = stage.pass_on(family, &sum);
            passed.with_context(|| family.to_string())?;
            let (client, vip) = (&stage.network.client, family.vip().to_string());
            let route = client.run("ip", ["route", "get", &vip])?;
            ensure!(route.contains(inner), "{family}: {route}");
        }
        Ok(())
    });
}

/// A gateway on the way from the director to the real server, whose link to it takes 1400 bytes. The
/// server's own packets take the way that they took.
fn put_in_between(lab: &Lab, network: &Network) -> Result<Host> {
    let (gateway, server) = (lab.host("gateway")?, &network.servers[0]);
    gateway.set(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
    network.inside.plug(&gateway, "eth0")?;
    wire::connect(&gateway, "eth1", server, "eth1")?;
    gateway.ip("link set eth1 mtu 1400")?;
    server.ip("link set eth1 gro_max_size 1")?;
    for (family, here) in [(Family::V4, "10.88.1.20"), (Family::V6, "fd00:88:1::20")] {
        let address = family.alone(family.server(0));
        add_address(&gateway, "eth0", &family.with_length(here.parse()?))?;
        add_address(server, "eth1", &address)?;
        gateway.ip(&format!("route add {address} dev eth1"))?;
        network
            .router()
            .ip(&format!("route add {address} via {here}"))?;
    }
    Ok(gateway)
}

fn web_site(plan: Plan) -> Site {
    FAMILIES
        .into_iter()
        .fold(Site::new(plan.method), |site, family| {
            site.with(Service::web(family, plan.servers))
        })
}

/// A client that is reached by a gateway on the clients' network. Its end of the link to it takes
/// long packets, so that it does not ask for short ones.
struct Beyond {
    /// Goes with all its links when nobody has it any more.
    _gateway: Host,
    far: Host,
}

impl Beyond {
    fn plugged(lab: &Lab, network: &Network) -> Result<Self> {
        let (gateway, far) = (lab.host("gateway")?, lab.host("far")?);
        gateway.set(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
        network.outside.plug(&gateway, "eth0")?;
        wire::connect(&gateway, "eth1", &far, "eth0")?;
        gateway.ip(&format!("link set eth1 mtu {NARROW}"))?;
        for (family, here, beyond, net) in [
            (Family::V4, "10.88.0.20", "10.88.9.1", "10.88.9.0/24"),
            (Family::V6, "fd00:88::20", "fd00:88:9::1", "fd00:88:9::/64"),
        ] {
            let with_length = |address: &str| -> Result<String> {
                Ok(family.with_length(address.parse::<IpAddr>()?))
            };
            add_address(&gateway, "eth0", &with_length(here)?)?;
            add_address(&gateway, "eth1", &with_length(beyond)?)?;
            add_address(&far, "eth0", &with_length(far_client(family))?)?;
            far.ip(&format!("route add default via {beyond}"))?;
            let route = format!("route add {net} via {here}");
            network.router().ip(&route)?;
            if network.plan.method != Method::Nat {
                network
                    .servers
                    .iter()
                    .try_for_each(|server| server.ip(&route))?;
            }
        }
        Ok(Self {
            _gateway: gateway,
            far,
        })
    }
}

fn far_client(family: Family) -> &'static str {
    match family {
        Family::V4 => "10.88.9.10",
        Family::V6 => "fd00:88:9::10",
    }
}

/// Sends an echo request and waits for its reply.
fn ping(host: &Host, family: Family, to: IpAddr) -> Result<()> {
    let (domain, protocol, request, reply) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    host.inside(|| {
        let mut socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        socket.set_read_timeout(Some(LIMIT))?;
        let to = SocketAddr::new(to, 0);
        socket.connect(&to.into())?;
        // The kernel fills identifier and checksum in.
        socket.send(&[request, 0, 0, 0, 0, 0, 0, 1, b'l', b'b'])?;
        let mut answer = [0; 64];
        let length = socket.read(&mut answer).context("no reply")?;
        ensure!(answer[0] == reply, "{:02x?}", &answer[..length]);
        ensure!(answer[6..length] == [0, 1, b'l', b'b']);
        Ok(())
    })
}
