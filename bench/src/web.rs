//! `web`: what the web tool takes for a large site, and what those who look on cost the daemon.
//!
//! A director and its web tool run as they are used, in a lab: real servers are addresses of one host, which takes
//! their connections and so passes their checks, and a client connects to one service after the other, so that numbers
//! move. Pages are asked for one after the other on one connection. Then nobody looks on for a while, and then some do;
//! the difference between these is what they cost.

use std::{
    collections::VecDeque,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Shutdown, TcpListener},
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use lb_tests::{
    Director, Family, Host, Lab, Method, Network, Plan, Site, WebTool, Wiring,
    site::{Server, Service},
    wait, web_tool,
};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket},
};
use serde::Serialize;
use tokio::{
    runtime,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    browser::{self, Browser, attribute},
    busy::busy,
    machine::{Build, Machine},
    printer::Printer,
    samples::Samples,
    site::{PORT, real_address, virtual_address},
};

/// How large, and how long.
#[derive(Args)]
pub(crate) struct Options {
    /// How many services
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    services: u32,
    /// How many real servers each of them has
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    servers: u32,
    /// How often each page is asked for
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// How many look on
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    viewers: u32,
    /// For how many seconds they do, and before that nobody does
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// How many connections a client opens in a second
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Print everything that was measured as JSON
    #[arg(long)]
    json: bool,
}

/// All that was measured.
#[derive(Serialize)]
struct Summary {
    machine: Machine,
    commit: String,
    services: u32,
    servers: u32,
    pages: Vec<Asked>,
    /// Nobody looks on.
    alone: Taken,
    /// The viewers do.
    watched: Taken,
    viewers: Vec<Viewed>,
}

/// What a page takes. Times are in microseconds, a number for each time that it was asked for.
#[derive(Serialize)]
struct Asked {
    page: String,
    path: String,
    first: Samples,
    last: Samples,
    /// The page, in bytes; the last one.
    bytes: u64,
    /// What of it came by the wire, TLS and all.
    wire: u64,
}

/// What both processes take, in thousandths of a percent of a core.
#[derive(Debug, Clone, Copy, Serialize)]
struct Taken {
    daemon: u64,
    web: u64,
}

/// What a viewer got.
#[derive(Serialize)]
struct Viewed {
    path: String,
    /// Bytes by the wire in a second.
    bytes: u64,
    /// Between one news and the next, in microseconds.
    gaps: Samples,
    /// How many parts of the page were new, each time.
    parts: Samples,
    /// How often the page became another one, and was asked for again.
    shapes: u64,
}

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Seconds between two checks of a real server, so that ten thousand take little.
const CHECKED: u32 = 30;

/// So many connections are open at a time: at the client, and at the real servers.
const OPEN: usize = 300;

/// What real servers say to everybody.
const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\n\r\n";

/// How often it opens some.
const TICK: Duration = Duration::from_millis(10);

const FAMILY: Family = Family::V4;
const PLAN: Plan = Plan {
    method: Method::Nat,
    wiring: Wiring::TwoNets,
    routers: 1,
    servers: 1,
};
/// Where the addresses of real servers are.
const SERVERS: &str = "10.128.0.0/10";
const USER: &str = "ada";
const PASSWORD: &str = "correct-horse-battery";

/// Measures.
pub(crate) fn run(options: &Options, build: &Build) -> Result<()> {
    let lb = build.lb.as_deref().context("where is lb?")?;
    let machine = Machine::find();
    let printer = Printer::new(options.json);
    printer.line(format_args!("{machine}, commit {}", build.commit))?;
    let Options {
        services, servers, ..
    } = options;
    printer.line(format_args!(
        "{services} services with {servers} real servers each"
    ))?;
    let lab = Lab::new()?;
    let network = network(&lab, options)?;
    let (router, client) = (network.router(), &network.client);
    let mut site = site(options);
    site.socket_group = Some(web_tool::group()?);
    let mut director = Director::start(lb, router, PLAN, &site)?;
    let web = WebTool::start(lb, router, FAMILY.router(0), USER, PASSWORD)?;
    let place = browser::Site::new(web.address(), &web.file("certificate.pem")?)?;
    wait::until("all real servers are up", LIMIT, || {
        Ok(director.status()?.is_complete().then_some(()))
    })?;
    let both = Both {
        daemon: process(director.daemon().pid()),
        web: process(web.pid()),
    };
    let _traffic = Traffic::start(client, options)?;
    let summary = client.inside(|| {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(measure(options, printer, &place, &both))
    })?;
    let (pages, alone, watched, viewers) = summary;
    printer.end(&Summary {
        machine,
        commit: build.commit.clone(),
        services: options.services,
        servers: options.servers,
        pages,
        alone,
        watched,
        viewers,
    })
}

const PAGES: &str =
    "page                        first ms   p99   last ms   p99   most     bytes      wire";
const VIEWERS: &str =
    "viewer                      bytes/s  news   parts  apart ms   p90   most  again";

async fn measure(
    options: &Options,
    printer: Printer,
    site: &browser::Site,
    both: &Both,
) -> Result<(Vec<Asked>, Taken, Taken, Vec<Viewed>)> {
    let mut browser = Browser::log_in(site, USER, PASSWORD).await?;
    let control = browser.page("/control").await?.text;
    let service = control
        .split_once("<table")
        .and_then(|(_, table)| attribute(table, "href"));
    let service = service.context("the page names no service")?;
    let last = options.services - 1;
    let pages = [
        ("control", "/control".to_owned()),
        ("control, page 2", "/control?page=2".to_owned()),
        ("control, searched", format!("/control?q=s{last}")),
        ("control, by traffic", "/control?sort=traffic".to_owned()),
        ("virtual servers", "/virtual".to_owned()),
        ("a service", service.clone()),
        ("events", "/events".to_owned()),
    ];
    printer.line(PAGES)?;
    let mut asked = Vec::new();
    for (name, path) in pages {
        let page = ask(&mut browser, name, &path, options.requests).await?;
        printer.line(page.line())?;
        asked.push(page);
    }
    let time = Duration::from_secs(options.seconds);
    let begun = both.now()?;
    sleep_until((Instant::now() + time).into()).await;
    let alone = both.since(begun)?;
    let mut viewers = JoinSet::new();
    let paths = [
        "/control",
        "/control",
        "/control?page=2",
        "/control?show=trouble&sort=name",
        &service,
    ];
    let mut looking = Vec::new();
    for path in paths.into_iter().cycle().take(options.viewers as usize) {
        looking.push((path, Browser::log_in(site, USER, PASSWORD).await?));
    }
    for (path, browser) in looking {
        viewers.spawn(look_on(browser, path.to_owned(), time));
    }
    let begun = both.now()?;
    let mut viewed = viewers
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let watched = both.since(begun)?;
    viewed.sort_by(|one, other| one.path.cmp(&other.path));
    printer.line(VIEWERS)?;
    for viewer in &viewed {
        printer.line(viewer.line())?;
    }
    let percent = |thousandths: u64| thousandths as f64 / 1_000.0;
    printer.line("of a core                   daemon %   web %")?;
    let viewers = format!("{} look on", options.viewers);
    for (who, taken) in [("nobody looks on", &alone), (&*viewers, &watched)] {
        let Taken { daemon, web } = *taken;
        printer.line(format_args!(
            "{who:<27} {:>8.2} {:>7.2}",
            percent(daemon),
            percent(web)
        ))?;
    }
    Ok((asked, alone, watched, viewed))
}

async fn ask(browser: &mut Browser, name: &str, path: &str, requests: u32) -> Result<Asked> {
    let mut asked = Asked {
        page: name.to_owned(),
        path: path.to_owned(),
        first: Samples::default(),
        last: Samples::default(),
        bytes: 0,
        wire: 0,
    };
    for _ in 0..requests {
        let page = browser.page(path).await.with_context(|| path.to_owned())?;
        asked.first.add(micros(page.first)?);
        asked.last.add(micros(page.last)?);
        asked.bytes = page.text.len() as u64;
        asked.wire = page.wire;
    }
    Ok(asked)
}

/// Looks on for so long.
async fn look_on(mut browser: Browser, path: String, time: Duration) -> Result<Viewed> {
    let end = Instant::now() + time;
    let mut viewed = Viewed {
        path: path.clone(),
        bytes: 0,
        gaps: Samples::default(),
        parts: Samples::default(),
        shapes: 0,
    };
    let mut last: Option<Instant> = None;
    let mut heard = 0;
    let mut looking = browser.look_on(&path).await?;
    loop {
        let news = tokio::select! {
            news = looking.next() => news.with_context(|| path.clone())?,
            () = sleep_until(end.into()) => break,
        };
        let now = Instant::now();
        if let Some(last) = last.replace(now) {
            viewed.gaps.add(micros(now - last)?);
        }
        match &*news.event {
            "shape" => {
                viewed.shapes += 1;
                heard += looking.heard();
                looking = browser.look_on(&path).await?;
            }
            _ => viewed.parts.add(news.parts as u64),
        }
    }
    viewed.bytes = (heard + looking.heard() + browser.heard()) / time.as_secs().max(1);
    Ok(viewed)
}

impl Asked {
    fn line(&self) -> String {
        let milliseconds = |samples: &Samples, percent| samples.percentile(percent) as f64 / 1e3;
        let Self {
            page,
            first,
            last,
            bytes,
            wire,
            ..
        } = self;
        format!(
            "{page:<27} {:>8.1} {:>5.1} {:>9.1} {:>5.1} {:>6.1} {bytes:>9} {wire:>9}",
            milliseconds(first, 50),
            milliseconds(first, 99),
            milliseconds(last, 50),
            milliseconds(last, 99),
            milliseconds(last, 100),
        )
    }
}

impl Viewed {
    fn line(&self) -> String {
        let milliseconds = |percent| self.gaps.percentile(percent) as f64 / 1e3;
        let mut path = self.path.clone();
        path.truncate(27);
        format!(
            "{path:<27} {:>7} {:>5} {:>7} {:>9.0} {:>5.0} {:>6.0} {:>6}",
            self.bytes,
            self.parts.values().len(),
            self.parts.percentile(50),
            milliseconds(50),
            milliseconds(90),
            milliseconds(100),
            self.shapes,
        )
    }
}

fn micros(time: Duration) -> Result<u64> {
    Ok(u64::try_from(time.as_micros())?)
}

/// The two processes, below `/proc`.
struct Both {
    daemon: PathBuf,
    web: PathBuf,
}

/// For how many seconds each was busy, until when.
#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    daemon: f64,
    web: f64,
}

fn process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

impl Both {
    fn now(&self) -> Result<Moment> {
        Ok(Moment {
            at: Instant::now(),
            daemon: busy(&self.daemon)?,
            web: busy(&self.web)?,
        })
    }

    fn since(&self, before: Moment) -> Result<Taken> {
        let now = self.now()?;
        let passed = (now.at - before.at).as_secs_f64();
        let share = |now: f64, before: f64| ((now - before) / passed * 1e5).round() as u64;
        Ok(Taken {
            daemon: share(now.daemon, before.daemon),
            web: share(now.web, before.web),
        })
    }
}

/// The lab, with all real servers on one host behind the router.
fn network(lab: &Lab, options: &Options) -> Result<Network> {
    let count = options.services * options.servers;
    ensure!(
        count < 1 << 22,
        "{count} real servers are more than have addresses"
    );
    let network = Network::new(lab, PLAN)?;
    let server = &network.servers[0];
    network
        .router()
        .ip(&format!("route add {SERVERS} via {}", FAMILY.server(0)))?;
    server.ip(&format!("route add local {SERVERS} dev lo"))?;
    let listener = server.inside(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?))?;
    // It ends with us.
    thread::Builder::new()
        .name("servers".to_owned())
        .spawn(move || {
            let mut open = VecDeque::new();
            for mut stream in listener.incoming().flatten() {
                // Whoever has gone already needs no answer.
                let _ = stream.write_all(ANSWER);
                let _ = stream.shutdown(Shutdown::Write);
                // Closed at once, what a check has sent would be answered by a reset.
                open.push_back(stream);
                if open.len() > OPEN {
                    open.pop_front();
                }
            }
        })?;
    Ok(network)
}

fn site(options: &Options) -> Site {
    let service = |number: u32| Service {
        name: format!("s{number}"),
        address: virtual_address(FAMILY, number),
        port: PORT,
        protocol: "tcp",
        scheduler: "wlc".to_owned(),
        timeout: CHECKED,
        reentry: CHECKED,
        directives: Vec::new(),
        servers: (0..options.servers)
            .map(|server| Server {
                name: format!("r{server}"),
                address: real_address(FAMILY, number * options.servers + server),
                weight: 1,
                directives: Vec::new(),
            })
            .collect(),
    };
    let mut site = Site::new(PLAN.method);
    site.services = (0..options.services).map(service).collect();
    site
}

/// A client that opens connections, until it is dropped.
struct Traffic {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Traffic {
    fn start(client: &Host, options: &Options) -> Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let (ended, host) = (Arc::clone(&end), client.clone());
        let (rate, services) = (options.rate, options.services);
        let thread = thread::Builder::new()
            .name("client".to_owned())
            .spawn(move || host.inside(|| visit(&ended, rate, services)))?;
        Ok(Self {
            end,
            thread: Some(thread),
        })
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        // What it complains of has no reader any more.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Opens so many connections in a second to one service after the other, and closes the oldest.
fn visit(end: &AtomicBool, rate: u32, services: u32) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut open = VecDeque::new();
        let each = f64::from(rate) * TICK.as_secs_f64();
        let (mut due, mut number) = (0.0, 0);
        while !end.load(Ordering::Relaxed) {
            ticks.tick().await;
            due += each;
            while due >= 1.0 {
                due -= 1.0;
                open.push_back(begin(virtual_address(FAMILY, number % services))?);
                number = number.wrapping_add(1);
                if open.len() > OPEN {
                    open.pop_front();
                }
            }
        }
        Ok(())
    })
}

/// Begins a connection, and does not wait for it.
fn begin(address: IpAddr) -> Result<OwnedFd> {
    let stream = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let IpAddr::V4(address) = address else {
        anyhow::bail!("{address} is of another family");
    };
    let target = SockaddrIn::from(std::net::SocketAddrV4::new(address, PORT));
    match connect(stream.as_raw_fd(), &target) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(stream),
        Err(error) => Err(error.into()),
    }
}
