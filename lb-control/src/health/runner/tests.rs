use std::net::IpAddr;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    health::Health,
    model::{Expect, Probe, Protocol, ServiceAddress},
};

/// Only a runner that hangs gets there.
const GENEROUS: Duration = Duration::from_secs(60);

const INTERVAL: Duration = Duration::from_millis(20);

struct Nannies {
    handle: Handle,
    reports: mpsc::Receiver<Report>,
}

impl Nannies {
    fn start(room: usize) -> Self {
        let (sender, reports) = mpsc::channel(room);
        let (handle, watch) = Watch::new(sender);
        tokio::spawn(watch.run());
        Self { handle, reports }
    }

    async fn report(&mut self) -> Report {
        time::timeout(GENEROUS, self.reports.recv())
            .await
            .expect("no report comes")
            .expect("the nannies are gone")
    }

    /// The next report's server and what was wrong, if anything.
    async fn news(&mut self) -> (SocketAddr, Option<String>) {
        let report = self.report().await;
        match report.health {
            Health::Up => (report.server, None),
            Health::Down { reason } => (report.server, Some(reason.to_string())),
            Health::Weighs { weight } => (report.server, Some(format!("weight {weight:?}"))),
        }
    }

    async fn status(&self, server: SocketAddr) -> Status {
        let all = self.handle.snapshot().await;
        all.into_iter()
            .find(|status| status.server == server)
            .expect("nobody watches the server")
    }
}

/// A listener at an address that no other test uses, so that its port is free again when closed.
async fn listener(host: u8) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((IpAddr::from([127, 0, 2, host]), 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn service(port: u16) -> ServiceId {
    ServiceId::Address(ServiceAddress {
        address: [192, 0, 2, 1].into(),
        port,
        protocol: Protocol::Tcp,
    })
}

fn talk(server: SocketAddr, expect: Option<Expect>) -> Target {
    Target {
        service: service(80),
        server,
        address: server,
        protocol: Protocol::Tcp,
        through: None,
        weight: 1,
        probe: Probe::new(Check::Talk { send: None, expect }, INTERVAL, INTERVAL * 3),
    }
}

fn refused(server: SocketAddr) -> String {
    format!("connect to {server}: connection refused")
}

#[tokio::test]
async fn a_server_comes_goes_and_comes_back() {
    let (open, server) = listener(1).await;
    let mut nannies = Nannies::start(1);
    nannies.handle.watch(vec![talk(server, None)]);

    assert_eq!(nannies.news().await, (server, None));
    assert_eq!(nannies.status(server).await.state, State::Up);

    drop(open);
    assert_eq!(nannies.news().await, (server, Some(refused(server))));
    let down = nannies.status(server).await;
    assert_eq!(
        down.last_failure.map(|last| last.reason.to_string()),
        Some(refused(server))
    );

    let _open = TcpListener::bind(server).await.unwrap();
    assert_eq!(nannies.news().await, (server, None));
    let back = nannies.status(server).await;
    assert!(
        back.since - down.since >= INTERVAL * 3,
        "reentry was not kept"
    );
    assert!(back.failures >= 1 && back.checks > back.failures);
    assert!(back.last_failure.is_some());
}

#[tokio::test]
async fn a_hostile_server_holds_up_nobody() {
    let (good, well) = listener(2).await;
    let (bad, mute) = listener(3).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = good.accept().await {
            let _gone = stream.write_all(b"OK").await;
        }
    });
    let mut nannies = Nannies::start(1);
    let expect = Some(Expect::Prefix(b"OK".into()));
    let mut patient = talk(mute, expect.clone());
    patient.probe.interval = Duration::from_secs(3600);
    nannies.handle.watch(vec![patient, talk(well, expect)]);

    let _never_answered = bad.accept().await.unwrap();
    assert_eq!(nannies.news().await, (well, None));
    while nannies.status(well).await.checks < 10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(nannies.status(mute).await.state, State::Unknown);
}

#[tokio::test]
async fn the_set_of_targets_changes() {
    let (_kept_open, kept) = listener(4).await;
    let (_gone_open, gone) = listener(5).await;
    let (_new_open, new) = listener(6).await;
    let mut nannies = Nannies::start(10);

    nannies
        .handle
        .watch(vec![talk(kept, None), talk(gone, None)]);
    let mut up = [nannies.news().await.0, nannies.news().await.0];
    up.sort();
    assert_eq!(up, [kept, gone]);
    let before = nannies.status(kept).await;

    nannies
        .handle
        .watch(vec![talk(kept, None), talk(new, None)]);
    assert_eq!(nannies.news().await, (new, None));
    let after = nannies.handle.snapshot().await;
    let watched: Vec<SocketAddr> = after.iter().map(|status| status.server).collect();
    assert_eq!(watched, [kept, new]);
    assert_eq!(after[0].since, before.since, "what was known was lost");

    nannies.handle.watch(Vec::new());
    while !nannies.handle.snapshot().await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_changed_probe_keeps_the_health_and_is_used() {
    let (open, server) = listener(7).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = open.accept().await {
            let _gone = stream.write_all(b"220 ready").await;
        }
    });
    let mut nannies = Nannies::start(1);
    let mut rarely = talk(server, None);
    rarely.probe.interval = Duration::from_secs(3600);
    nannies.handle.watch(vec![rarely]);
    assert_eq!(nannies.news().await, (server, None));
    let before = nannies.status(server).await;

    let greeting = |text: &str| talk(server, Some(Expect::Prefix(text.into())));
    nannies.handle.watch(vec![greeting("220")]);
    while nannies.status(server).await.checks < 3 {
        tokio::task::yield_now().await;
    }
    let after = nannies.status(server).await;
    assert_eq!((after.state, after.since), (State::Up, before.since));

    nannies.handle.watch(vec![greeting("250")]);
    let wrong = r#"answered "220", expected "250""#.to_owned();
    assert_eq!(nannies.news().await, (server, Some(wrong)));
}

#[tokio::test]
async fn programs_check_too() {
    let (_open, server) = listener(8).await;
    let mut target = talk(server, None);
    target.probe.interval = Duration::from_secs(5);
    target.probe.check = Check::Program {
        command: ["/bin/echo", "%h"].map(str::to_owned).into(),
        expect: Some(server.ip().to_string()),
    };
    let mut nannies = Nannies::start(1);
    nannies.handle.watch(vec![target]);
    assert_eq!(nannies.news().await, (server, None));
}

#[tokio::test]
async fn a_thousand_servers_come_up() {
    let (open, server) = listener(9).await;
    tokio::spawn(async move { while open.accept().await.is_ok() {} });
    let targets = (1..=1000).map(|port| {
        let mut target = talk(server, None);
        target.service = service(port);
        target.probe.interval = Duration::from_secs(1);
        target
    });
    let mut nannies = Nannies::start(1);
    nannies.handle.watch(targets.collect());

    let mut up = BTreeSet::new();
    while up.len() < 1000 {
        let report = nannies.report().await;
        assert_eq!(report.health, Health::Up);
        up.insert(report.service);
    }
}

#[tokio::test]
async fn a_slow_receiver_gets_the_latest_state_only() {
    let (open, server) = listener(10).await;
    let (_second_open, second) = listener(11).await;
    let mut nannies = Nannies::start(1);
    nannies.handle.watch(vec![talk(server, None)]);
    while nannies.status(server).await.checks == 0 {
        tokio::task::yield_now().await;
    }
    // The channel is full of the first report, that `server` is up.
    nannies
        .handle
        .watch(vec![talk(server, None), talk(second, None)]);
    drop(open);
    while nannies.status(server).await.state == State::Up {
        tokio::task::yield_now().await;
    }
    let _open = TcpListener::bind(server).await.unwrap();
    while nannies.status(server).await.state != State::Up {
        tokio::task::yield_now().await;
    }
    assert_eq!(nannies.news().await, (server, None));
    let mut rest = [nannies.news().await, nannies.news().await];
    rest.sort();
    assert_eq!(rest, [(server, None), (second, None)]);
}

#[tokio::test]
async fn nannies_end_with_their_last_handle() {
    let (open, server) = listener(12).await;
    let mut nannies = Nannies::start(1);
    let mut target = talk(server, Some(Expect::Anything));
    target.probe.interval = Duration::from_secs(3600);
    nannies.handle.watch(vec![target]);
    let (mut checking, _): (TcpStream, _) = open.accept().await.unwrap();

    drop(nannies.handle);
    assert_eq!(nannies.reports.recv().await, None);
    // The check under way was stopped with them: its connection is closed.
    let mut buffer = [0];
    let read = tokio::io::AsyncReadExt::read(&mut checking, &mut buffer);
    assert!(matches!(
        time::timeout(GENEROUS, read).await.expect("still open"),
        Ok(0) | Err(_)
    ));
}

#[test]
fn few_servers_start_at_once_and_many_are_spread() {
    let server = SocketAddr::from(([10, 0, 0, 2], 80));
    let table = [(1, 0), (FEW - 1, 0), (1000, 1000), (1_000_000, 2000)];
    for (servers, at_most) in table {
        let at_most = Duration::from_millis(at_most);
        let mut latest = Duration::ZERO;
        for port in 1..=500 {
            let mut target = talk(server, None);
            target.probe.interval = Duration::from_secs(2);
            target.service = service(port);
            let key = (target.service, target.server);
            let wait = head_start(&key, &target, servers);
            assert_eq!(wait, head_start(&key, &target, servers));
            latest = latest.max(wait);
        }
        assert!(latest <= at_most, "{servers} servers: {latest:?}");
        assert!(latest >= at_most / 2, "{servers} servers: {latest:?}");
    }
}

/// A server that takes connections, and its agent at a port of its own, which says whatever it is told to say.
async fn with_agent(host: u8) -> (SocketAddr, u16, tokio::sync::watch::Sender<&'static str>) {
    let (open, server) = listener(host).await;
    let agent = TcpListener::bind((server.ip(), 0)).await.unwrap();
    let port = agent.local_addr().unwrap().port();
    let (sender, line) = tokio::sync::watch::channel("up 50%\n");
    tokio::spawn(async move { while open.accept().await.is_ok() {} });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = agent.accept().await {
            let said = *line.borrow();
            let _gone = stream.write_all(said.as_bytes()).await;
        }
    });
    (server, port, sender)
}

#[tokio::test]
async fn an_agent_has_its_say() {
    let (server, port, say) = with_agent(13).await;
    let mut target = talk(server, None);
    target.weight = 10;
    target.probe.agent = Some(port);
    target.probe.fall = 100;
    target.probe.slow_start = false;
    target.probe.reentry = Duration::ZERO;
    let mut nannies = Nannies::start(1);
    nannies.handle.watch(vec![target.clone()]);
    let weight = |weight: Option<u16>| (server, Some(format!("weight {weight:?}")));
    // Who comes is never seen with another weight.
    assert_eq!(nannies.news().await, weight(Some(5)));
    assert_eq!(nannies.news().await, (server, None));
    assert_eq!(nannies.status(server).await.weight, Some(5));
    say.send("drain\n").unwrap();
    assert_eq!(nannies.news().await, weight(Some(0)));
    say.send("ready 100%\n").unwrap();
    assert_eq!(nannies.news().await, weight(None));
    say.send("down # no disk\n").unwrap();
    let down = r#"its agent says "down # no disk""#.to_owned();
    assert_eq!(nannies.news().await, (server, Some(down)));
    say.send("up\n").unwrap();
    assert_eq!(nannies.news().await, (server, None));
    say.send("50%\n").unwrap();
    assert_eq!(nannies.news().await, weight(Some(5)));
    // It has no agent any more.
    target.probe.agent = None;
    nannies.handle.watch(vec![target]);
    assert_eq!(nannies.news().await, weight(None));
}

#[tokio::test]
async fn who_is_watched_anew_takes_his_weight_back() {
    let (server, port, _say) = with_agent(17).await;
    let mut target = talk(server, None);
    target.weight = 10;
    target.probe.agent = Some(port);
    let mut nannies = Nannies::start(4);
    nannies.handle.watch(vec![target.clone()]);
    while nannies.status(server).await.checks == 0 {
        tokio::task::yield_now().await;
    }
    // His weight and that he is up wait to be read.
    nannies.handle.watch(Vec::new());
    target.probe.agent = None;
    nannies.handle.watch(vec![target]);
    let weight = |weight: Option<u16>| (server, Some(format!("weight {weight:?}")));
    assert_eq!(nannies.news().await, weight(Some(5)));
    assert_eq!(nannies.news().await, (server, None));
    assert_eq!(nannies.news().await, weight(None));
    assert_eq!(nannies.news().await, (server, None));
}

#[tokio::test]
async fn who_returns_is_light_before_he_is_there() {
    let (open, server) = listener(14).await;
    let mut target = talk(server, None);
    target.weight = 64;
    target.probe.reentry = Duration::ZERO;
    let mut nannies = Nannies::start(1);
    nannies.handle.watch(vec![target]);
    assert_eq!(
        nannies.news().await,
        (server, None),
        "at the start it has all of its weight"
    );
    drop(open);
    assert_eq!(nannies.news().await, (server, Some(refused(server))));
    let _open = TcpListener::bind(server).await.unwrap();
    assert_eq!(
        nannies.news().await,
        (server, Some("weight Some(2)".to_owned()))
    );
    assert_eq!(nannies.news().await, (server, None));
}

#[tokio::test]
async fn the_load_is_measured_beside_the_checks() {
    let (_open, server) = listener(15).await;
    let mut target = talk(server, None);
    target.weight = 4;
    // With so long a pause the load is measured with each check.
    target.probe.interval = Duration::from_secs(3600);
    let command = ["/bin/echo", "load average: 0.0,", "%h"];
    target.probe.load = Some(command.map(str::to_owned).into());
    let mut nannies = Nannies::start(1);
    nannies.handle.watch(vec![target]);
    assert_eq!(nannies.news().await, (server, None));
    assert_eq!(
        nannies.news().await,
        (server, Some("weight Some(6)".to_owned()))
    );
}

/// As the daemon has them: the caller has no runtime at all.
#[test]
fn nannies_have_a_thread_of_their_own() {
    let open = std::net::TcpListener::bind("127.0.2.16:0").unwrap();
    let server = open.local_addr().unwrap();
    let (sender, mut reports) = mpsc::channel(1);
    let handle = Watch::spawn(sender).unwrap();
    handle.watch(vec![talk(server, None)]);
    let report = reports.blocking_recv().unwrap();
    assert_eq!((report.server, report.health), (server, Health::Up));
    drop(handle);
    assert_eq!(reports.blocking_recv(), None, "the thread has ended");
}
