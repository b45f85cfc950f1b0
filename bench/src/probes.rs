//! What nannies cost: `cargo xtask bench probes`. Real servers are addresses of the loopback, at each of which one
//! listener takes connections; what is counted is the thread of the nannies alone.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use lb_control::{
    health::{Handle, Target, Watch},
    model::{Check, Expect, Http, Probe, Protocol, ServiceAddress, ServiceId},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::{busy::busy, printer::Printer};

/// How the servers answer, and what is asked of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// To connect is enough.
    Tcp,
    /// Piranha's: a request, and an answer that begins with HTTP.
    Talk,
    /// A page, by `check = http`.
    Http,
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many servers.
    #[arg(long, default_value_t = 10_000)]
    servers: u32,
    /// Milliseconds between two checks of one.
    #[arg(long, default_value_t = 1_000)]
    interval: u64,
    /// For how long it is measured, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// What is checked.
    #[arg(long, value_enum, default_value_t = Kind::Tcp)]
    kind: Kind,
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK\n";

pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = std::net::TcpListener::bind("0.0.0.0:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    // A thread of its own, so that it is not counted.
    thread::Builder::new()
        .name("servers".to_owned())
        .spawn(move || serve(listener))?;
    runtime.block_on(measure(options, port))
}

async fn measure(options: &Options, port: u16) -> Result<()> {
    let before = resident()?;
    let (sender, mut reports) = mpsc::channel(4096);
    let nannies = Watch::spawn(sender)?;
    tokio::spawn(async move { while reports.recv().await.is_some() {} });
    nannies.watch(
        (0..options.servers)
            .map(|number| target(options, number, port))
            .collect(),
    );
    while count(&nannies).await.1 < u64::from(options.servers) {
        sleep(Duration::from_millis(100)).await;
    }
    let (task, began) = (thread_of("nannies")?, Instant::now());
    let (start, first) = (busy(&task)?, count(&nannies).await);
    sleep(Duration::from_secs(options.seconds)).await;
    let (end, last) = (busy(&task)?, count(&nannies).await);
    let took = began.elapsed().as_secs_f64();
    let checks = last.1 - first.1;
    let core = (end - start) / took;
    let out = Printer::Table;
    let Options {
        servers, interval, ..
    } = options;
    out.line(format_args!(
        "{servers} servers, each checked every {interval} ms ({:?})",
        options.kind
    ))?;
    out.line(format_args!(
        "checks per second     {:.0}",
        checks as f64 / took
    ))?;
    out.line(format_args!("failed                {}", last.0 - first.0))?;
    out.line(format_args!("of a core             {:.1} %", core * 100.0))?;
    out.line(format_args!(
        "per check             {:.1} us",
        (end - start) * 1e6 / checks as f64
    ))?;
    let resident = resident()?;
    out.line(format_args!(
        "resident, of nannies  {:.1} MB",
        resident.saturating_sub(before) as f64 / 1e6
    ))?;
    out.line(format_args!(
        "resident, in all      {:.1} MB",
        resident as f64 / 1e6
    ))?;
    ensure!(checks > 0, "nothing was checked");
    Ok(())
}

/// How many checks failed, and how many there were.
async fn count(nannies: &Handle) -> (u64, u64) {
    let all = nannies.snapshot().await;
    let failed = all.iter().map(|one| one.failures).sum();
    (failed, all.iter().map(|one| one.checks).sum())
}

fn target(options: &Options, number: u32, port: u16) -> Target {
    let address = IpAddr::from(Ipv4Addr::from_bits(0x7f01_0000 + number));
    let server = SocketAddr::new(address, port);
    let check = match options.kind {
        Kind::Tcp => Check::Talk {
            send: None,
            expect: None,
        },
        Kind::Talk => Check::Talk {
            send: Some(b"GET / HTTP/1.0\r\n\r\n".to_vec()),
            expect: Some(Expect::Prefix(b"HTTP".to_vec())),
        },
        Kind::Http => Check::Http(Http {
            is_two: false,
            tls: None,
            is_head: false,
            path: "/".to_owned(),
            host: None,
            status: vec![(200, 399)],
            body: None,
        }),
    };
    let interval = Duration::from_millis(options.interval);
    Target {
        service: ServiceId::Address(ServiceAddress {
            address,
            port,
            protocol: Protocol::Tcp,
        }),
        server,
        address: server,
        protocol: Protocol::Tcp,
        through: None,
        weight: 1,
        probe: Probe::new(check, interval, interval),
    }
}

fn serve(listener: std::net::TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async move {
        let Ok(listener) = TcpListener::from_std(listener) else {
            return;
        };
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        }
    });
}

async fn answer(mut stream: TcpStream) {
    let mut heard = [0; 1024];
    let asked = stream.read(&mut heard).await.unwrap_or(0) > 0;
    if asked && stream.write_all(ANSWER).await.is_ok() {
        let _end = stream.read(&mut heard).await;
    }
}

/// The directory of a thread of ours.
fn thread_of(name: &str) -> Result<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task")?;
    let mut paths = tasks.filter_map(|task| task.ok().map(|task| task.path()));
    paths
        .find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .with_context(|| format!("there is no thread {name}"))
}

/// How much memory we take, in bytes.
fn resident() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.context("VmRSS")? * 1024)
}
