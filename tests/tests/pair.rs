//! A pair of directors with clients: whatever happens to one of them, the other goes on.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use lb_tests::{
    Director, Family, Lab, Method, Network, Pair, Pings, Plan, Service, Site, Web, client,
    on_stage, site::METHODS, switch::Link, wait,
};

const FAMILY: Family = Family::V4;
const LIMIT: Duration = Duration::from_secs(20);
/// MiB of the file that is downloaded meanwhile.
const BIG: usize = 64;

fn site(method: Method) -> Site {
    let site = Site::new(method).with(Service::web(FAMILY, 3)).paired();
    with(site, "syncdaemon = 1")
}

fn with(mut site: Site, directive: &str) -> Site {
    site.directives.push(directive.to_owned());
    site
}

fn pair(lab: &Lab, lb: &Path, method: Method) -> Result<Pair> {
    let pair = Pair::set(lab, lb, method, &site(method))?;
    pair.await_ready()?;
    pair.all_answered(FAMILY, 20)?;
    Ok(pair)
}

/// Clients that have something under way: one that is silent, as ssh may be for hours, and one that downloads.
struct Clients {
    idle: TcpStream,
    answered_by: String,
    download: TcpStream,
    expected: usize,
}

impl Clients {
    /// They have begun.
    fn start(pair: &Pair) -> Result<Self> {
        for web in &pair.webs {
            web.offer_big_file(BIG)?;
        }
        let connect = || {
            let client = &pair.network.client;
            let stream = client.inside(|| Ok(TcpStream::connect((FAMILY.vip(), 80))?))?;
            stream.set_read_timeout(Some(LIMIT))?;
            anyhow::Ok(stream)
        };
        let mut idle = connect()?;
        let answered_by = client::ask(&mut idle)?;
        let mut download = connect()?;
        download.write_all(b"GET /big HTTP/1.0\r\n\r\n")?;
        let mut first = [0; 1000];
        download.read_exact(&mut first)?;
        Ok(Self {
            idle,
            answered_by,
            download,
            expected: BIG << 20,
        })
    }

    /// Where they ask from.
    fn addresses(&self) -> Result<[SocketAddr; 2]> {
        Ok([self.idle.local_addr()?, self.download.local_addr()?])
    }

    /// They go on with what they have begun, and end it well.
    fn go_on(mut self) -> Result<()> {
        let server = client::ask(&mut self.idle).context("the idle connection")?;
        ensure!(
            server == self.answered_by,
            "{server} instead of {}",
            self.answered_by
        );
        let mut rest = Vec::new();
        self.download
            .read_to_end(&mut rest)
            .with_context(|| format!("the download, after {} bytes", rest.len()))?;
        // A part of it came at the begin, with a header before it.
        ensure!(
            rest.len() + 1000 >= self.expected,
            "{} bytes of {} came",
            rest.len(),
            self.expected
        );
        Ok(())
    }
}

/// Nothing that clients have begun is lost when this happens to the active one, and the other goes on.
fn survives(
    methods: &[Method],
    happens: impl Fn(&mut Pair) -> Result<()>,
    passes: impl Fn(&mut Pair) -> Result<()>,
) {
    for method in methods {
        on_stage(|lab, lb| {
            let mut pair = pair(lab, lb, *method)?;
            let clients = Clients::start(&pair)?;
            await_known(&pair, &clients.addresses()?)?;
            if *method == Method::Nat {
                await_way(&pair, FAMILY.client())?;
            }
            happens(&mut pair)?;
            pair.await_active(1)?;
            clients.go_on().with_context(|| method.to_string())?;
            pair.all_answered(FAMILY, 40)?;
            let drops = pair.directors[1].lb(["drops"])?;
            ensure!(!drops.contains("next-hop-unknown"), "{drops}");
            ensure!(
                pair.neighbour_of_client(FAMILY)? == 1,
                "the client asks the other"
            );
            // It comes back, and nobody has to notice.
            let clients = Clients::start(&pair)?;
            passes(&mut pair)?;
            let stays = |status: &lb_tests::status::Status| status.role == "standby";
            pair.directors[0].await_status("the first is back", stays)?;
            ensure!(!pair.holds_vip(0, FAMILY)?, "it still holds the address");
            clients.go_on().with_context(|| method.to_string())?;
            pair.all_answered(FAMILY, 40)?;
            pair.await_active(1)
        });
    }
}

/// Waits until the second director, which is the backup, knows the flows of these clients.
fn await_known(pair: &Pair, clients: &[SocketAddr]) -> Result<()> {
    wait::until("the backup knows the flows", LIMIT, || {
        let known = pair.directors[1].lb(["connections"])?;
        let is_known = |client: &SocketAddr| known.contains(&format!(" {client} "));
        Ok(clients.iter().all(is_known).then_some(()))
    })
}

/// Waits until the kernel of the second director, which has never sent this client anything, knows the way to it.
fn await_way(pair: &Pair, client: IpAddr) -> Result<()> {
    wait::until("the backup knows the client's neighbour", LIMIT, || {
        let client = client.to_string();
        let shown = pair.network.routers[1].run("ip", ["neighbour", "show", &client])?;
        Ok(shown.contains("lladdr").then_some(()))
    })
}

#[test]
fn a_killed_daemon_is_replaced() {
    survives(
        &METHODS,
        |pair| pair.directors[0].kill().map(drop),
        |pair| pair.directors[0].start_again(),
    );
}

#[test]
fn a_frozen_daemon_is_replaced_and_steps_back_when_it_thaws() {
    survives(
        &[Method::Nat],
        |pair| pair.freeze(0, true),
        |pair| pair.freeze(0, false),
    );
}

#[test]
fn a_router_without_links_is_replaced() {
    survives(
        &[Method::Nat],
        |pair| {
            for director in &mut pair.directors {
                director.reload(&with(site(Method::Nat), "monitor_links = 1"))?;
            }
            pair.set_links(0, Link::Down)
        },
        |pair| pair.set_links(0, Link::Up),
    );
}

/// The network of the clients is gone for the active one; the partner is heard on the other network.
#[test]
fn a_router_whose_gateway_is_silent_hands_over() {
    survives(
        &[Method::Nat],
        |pair| {
            let tracked = format!("track_gateway = {}", FAMILY.client());
            for director in &mut pair.directors {
                director.reload(&with(site(Method::Nat), &tracked))?;
            }
            let routers = &pair.network.routers;
            pair.network.outside.set_silent(&routers[0], true)
        },
        |pair| {
            let routers = &pair.network.routers;
            pair.network.outside.set_silent(&routers[0], false)
        },
    );
}

/// It hears nobody, and cannot know whether the other one is dead.
#[test]
fn a_router_that_has_lost_its_network_does_not_take_over() {
    on_stage(|lab, lb| {
        let tracked = format!("track_gateway = {}", FAMILY.client());
        let site = with(site(Method::Nat), &tracked);
        let pair = Pair::set(lab, lb, Method::Nat, &site)?;
        pair.await_ready()?;
        let (network, backup) = (&pair.network, &pair.network.routers[1]);
        network.outside.set_silent(backup, true)?;
        network.inside.set_silent(backup, true)?;
        let told = "does not answer: this node does not become active";
        wait::until("the backup misses its gateway", LIMIT, || {
            let printed = pair.directors[1].printed();
            let all = [told, "the partner is not heard any more"];
            Ok(all.iter().all(|it| printed.contains(it)).then_some(()))
        })?;
        ensure!(
            pair.directors[1].status()?.role == "standby",
            "it took over"
        );
        ensure!(!pair.holds_vip(1, FAMILY)?, "it holds the address");
        pair.all_answered(FAMILY, 20)?;
        network.outside.set_silent(backup, false)?;
        network.inside.set_silent(backup, false)?;
        wait::until("the backup hears its gateway", LIMIT, || {
            let printed = pair.directors[1].printed();
            Ok(printed.contains(&format!("the gateway {} answers", FAMILY.client())))
                .map(|is| is.then_some(()))
        })?;
        ensure!(!pair.directors[1].printed().contains("activating"));
        pair.await_active(0)
    });
}

#[test]
fn heartbeats_and_links_of_ipv6_do_as_well() {
    on_stage(|lab, lb| {
        let site = Site {
            heartbeats: Family::V6,
            ..Site::new(Method::Nat)
        };
        let site = site.with(Service::web(FAMILY, 3)).paired();
        let pair = Pair::set(lab, lb, Method::Nat, &with(site, "monitor_links = 1"))?;
        pair.await_ready()?;
        pair.set_links(0, Link::Down)?;
        pair.await_active(1)?;
        pair.all_answered(FAMILY, 20)?;
        pair.set_links(0, Link::Up)?;
        let stays = |status: &lb_tests::status::Status| status.role == "standby";
        pair.directors[0].await_status("the first is back", stays)?;
        pair.all_answered(FAMILY, 20)
    });
}

#[test]
fn a_daemon_that_ends_hands_over() {
    survives(
        &[Method::Direct],
        |pair| pair.directors[0].stop().map(drop),
        |pair| pair.directors[0].start_again(),
    );
}

#[test]
fn connections_survive_in_the_language_of_ipvs_too() {
    let plain = Site::new(Method::Nat)
        .with(Service::web(FAMILY, 3))
        .paired();
    let compat = with(
        with(site(Method::Nat), "syncd_compat = 1"),
        "syncd_iface = eth1",
    );
    for (site, is_by_command) in [(plain, true), (compat, false)] {
        on_stage(|lab, lb| {
            let mut pair = Pair::set(lab, lb, Method::Nat, &site)?;
            pair.await_ready()?;
            for (director, role) in pair.directors.iter().zip(["master", "backup"]) {
                if is_by_command {
                    let words = "--mcast-interface eth1 --syncid 7";
                    let start = ["ipvsadm", "--start-daemon", role].into_iter();
                    director.lb(start.chain(words.split(' ')))?;
                }
                let listed = director.lb(["ipvsadm", "-L", "--daemon"])?;
                let start = format!("{role} sync daemon (mcast=eth1, ");
                ensure!(listed.starts_with(&start), "{listed}");
            }
            let clients = Clients::start(&pair)?;
            await_known(&pair, &clients.addresses()?)?;
            pair.directors[0].kill()?;
            pair.await_active(1)?;
            clients.go_on()?;
            pair.all_answered(FAMILY, 40)
        });
    }
}

#[test]
fn failover_by_command_loses_nothing() {
    on_stage(|lab, lb| {
        let pair = pair(lab, lb, Method::Nat)?;
        let clients = Clients::start(&pair)?;
        await_known(&pair, &clients.addresses()?)?;
        let pings = Pings::start(&pair.network.client, FAMILY.vip())?;
        pair.directors[0].lb(["failover"])?;
        pair.await_active(1)?;
        pair.all_answered(FAMILY, 40)?;
        // And back.
        pair.directors[1].lb(["failover"])?;
        pair.await_active(0)?;
        pair.all_answered(FAMILY, 40)?;
        clients.go_on()?;
        let answers = pings.stop()?;
        ensure!(
            answers.sent() > 0 && answers.outage().is_ok(),
            "{answers:?}"
        );
        Ok(())
    });
}

#[test]
fn one_of_two_that_start_at_once_is_active() {
    on_stage(|lab, lb| {
        let plan = Plan {
            routers: 2,
            ..Plan::new(Method::Nat)
        };
        let network = Network::new(lab, plan)?;
        let webs = network.servers.iter().map(Web::start);
        let webs = webs.collect::<Result<Vec<_>>>()?;
        let site = site(Method::Nat);
        let [first, second] = [0, 1].map(|index| {
            let (lb, router, site) = (lb.to_owned(), network.routers[index].clone(), site.clone());
            thread::spawn(move || Director::start(&lb, &router, plan, &site))
        });
        let joined = |it: thread::JoinHandle<Result<Director>>| {
            it.join().map_err(|_| anyhow!("it panicked"))?
        };
        let directors = [joined(first)?, joined(second)?];
        let pair = Pair {
            network,
            webs,
            directors,
            frozen: [false; 2],
        };
        pair.await_active(0)?;
        pair.at_most_one_holds(FAMILY)?;
        pair.directors[0].await_status("all are up", lb_tests::status::Status::is_complete)?;
        pair.all_answered(FAMILY, 20)
    });
}

#[test]
fn a_backup_that_was_there_first_stays_active() {
    on_stage(|lab, lb| {
        let mut pair = pair(lab, lb, Method::Nat)?;
        pair.directors[0].stop()?;
        pair.await_active(1)?;
        pair.directors[0].start_again()?;
        let stays = |status: &lb_tests::status::Status| status.role == "standby";
        pair.directors[0].await_status("the primary is standby", stays)?;
        pair.await_active(1)?;
        pair.all_answered(FAMILY, 20)
    });
}

#[test]
fn a_changed_file_is_in_force_on_both() {
    on_stage(|lab, lb| {
        let mut pair = pair(lab, lb, Method::Nat)?;
        let mut further = Service::web(FAMILY, 3);
        further.name = "shop".to_owned();
        further.address = FAMILY.further_vip(0);
        let site = with(
            site(Method::Nat).with(further),
            "keepalive = 100ms\ndeadtime = 400ms",
        );
        for director in &mut pair.directors {
            director.reload(&site)?;
        }
        pair.await_active(0)?;
        let ask = |pair: &Pair| {
            let url = format!("http://{}/", FAMILY.further_vip(0));
            let answers = client::get_many(&pair.network.client, &url, 20, 4)?;
            client::all_good(&answers)
        };
        ask(&pair).context("by the first")?;
        pair.directors[0].kill()?;
        pair.await_active(1)?;
        ask(&pair).context("by the second")?;
        pair.all_answered(FAMILY, 20)
    });
}

#[test]
fn both_are_upgraded_one_after_the_other() {
    on_stage(|lab, lb| {
        let mut pair = pair(lab, lb, Method::Nat)?;
        let clients = Clients::start(&pair)?;
        await_known(&pair, &clients.addresses()?)?;
        // The backup first, as everybody does.
        pair.directors[1].stop()?;
        pair.directors[1].start_again()?;
        let is_back =
            |status: &lb_tests::status::Status| status.role == "standby" && status.is_complete();
        pair.directors[1].await_status("the backup is back", is_back)?;
        await_known(&pair, &clients.addresses()?)?;
        pair.directors[0].stop()?;
        pair.await_active(1)?;
        pair.directors[0].start_again()?;
        pair.directors[0].await_status("the first is back", is_back)?;
        clients.go_on()?;
        pair.all_answered(FAMILY, 40)
    });
}

#[test]
fn datagrams_go_on_to_the_same_server() {
    on_stage(|lab, lb| {
        let mut service = Service::web(FAMILY, 3);
        service.protocol = "udp";
        service.port = 7;
        service.name = "echo".to_owned();
        service.directives = vec![r#"send_program = "/bin/true""#.to_owned()];
        let site = site(Method::Nat).with(service);
        let mut pair = Pair::set(lab, lb, Method::Nat, &site)?;
        let _echoes: Vec<_> = pair
            .network
            .servers
            .iter()
            .map(|server| {
                let name = server.name().to_owned();
                let socket = server.inside(|| Ok(UdpSocket::bind("0.0.0.0:7")?))?;
                anyhow::Ok(thread::spawn(move || echo(&socket, &name)))
            })
            .collect::<Result<_>>()?;
        pair.await_ready()?;
        let client = &pair.network.client;
        let asker = client.inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect((FAMILY.vip(), 7))?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            Ok(socket)
        })?;
        let first = answer(&asker)?;
        await_known(&pair, &[asker.local_addr()?])?;
        pair.directors[0].kill()?;
        pair.await_active(1)?;
        let second = answer(&asker)?;
        ensure!(first == second, "{second} instead of {first}");
        Ok(())
    });
}

/// Says who answers, until the host ends.
fn echo(socket: &UdpSocket, name: &str) {
    let mut datagram = [0; 64];
    while let Ok((_, from)) = socket.recv_from(&mut datagram) {
        if socket.send_to(name.as_bytes(), from).is_err() {
            return;
        }
    }
}

/// Who answers a datagram. One may be lost.
fn answer(asker: &UdpSocket) -> Result<String> {
    wait::until("a datagram is answered", LIMIT, || {
        asker.send(b"who?")?;
        let mut answer = [0; 64];
        Ok(match asker.recv(&mut answer) {
            Ok(length) => Some(String::from_utf8_lossy(&answer[..length]).into_owned()),
            Err(_) => None,
        })
    })
}
