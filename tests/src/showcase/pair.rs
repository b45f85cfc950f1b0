//! Two routers, one as the backup of the other: what clients notice when the active one fails.

use std::{
    io::{IsTerminal, stdin},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    live::{enter, lines_typed},
    say,
};
use crate::{
    Family, Lab, Method, Pair, Pings, Service, Site, WebTool,
    client::{self, all_good},
    director::SOCKET,
    wait, web_tool,
};

const FAMILY: Family = Family::V4;
const SERVERS: u8 = 3;
const REQUESTS: u32 = 30;
const REDRAW: Duration = Duration::from_secs(1);
/// How long a pair may take to hear of each other.
const LIMIT: Duration = Duration::from_secs(10);

fn set(lab: &Lab, lb: &Path, method: Method) -> Result<Pair> {
    let mut site = Site::new(method)
        .with(Service::web(FAMILY, SERVERS))
        .paired();
    site.directives.push("syncdaemon = 1".to_owned());
    site.socket_group = Some(web_tool::group()?);
    let pair = Pair::set(lab, lb, method, &site).context("starting a pair of lb")?;
    pair.await_ready()?;
    Ok(pair)
}

/// The active one hands over, comes back by a failover, and is killed; the other one serves on.
pub(super) fn once(lab: &Lab, lb: &Path, methods: &[Method]) -> Result<ExitCode> {
    for method in methods {
        let mut pair = set(lab, lb, *method)?;
        let pings = Pings::start(&pair.network.client, FAMILY.vip())?;
        pair.all_answered(FAMILY, REQUESTS)?;
        for router in &pair.network.routers {
            let web_tool = WebTool::start_on_machine(lb, router)?;
            web_tool.check(pair.network.servers[0].name())?;
        }
        for active in [1, 0] {
            let director = &pair.directors[1 - active];
            // It is refused until the partner was heard of since the last change.
            wait::until("the active one hands over", LIMIT, || {
                Ok(director.lb(["failover"]).ok())
            })?;
            pair.await_active(active)?;
            pair.all_answered(FAMILY, REQUESTS)?;
        }
        pair.directors[0].kill()?;
        pair.await_active(1)?;
        pair.all_answered(FAMILY, REQUESTS)?;
        let answers = pings.stop()?;
        ensure!(answers.sent() > 0, "nobody pinged");
        say(format_args!(
            "{method}: two failovers and a kill, a log-in to both web tools; all of {} requests were answered, pings for at most {} ms not",
            4 * REQUESTS,
            answers.outage()?.as_millis()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs until Ctrl-C.
pub(super) fn run(lab: &Lab, lb: &Path, method: Method) -> Result<ExitCode> {
    let mut pair = set(lab, lb, method)?;
    let routers = pair.network.routers.iter();
    let web_tools = routers.map(|router| WebTool::start_on_machine(lb, router));
    let web_tools = web_tools.collect::<Result<Vec<_>>>()?;
    explain(lb, &pair, &web_tools)?;
    let (_sender, keys) = lines_typed();
    let mut failed = 0;
    loop {
        let answers = client::get_many(&pair.network.client, &FAMILY.url(), REQUESTS, 8)?;
        failed += answers.iter().filter(|answer| !answer.is_good()).count();
        let active = match pair.active()? {
            Some(index) => pair.network.routers[index].name().to_owned(),
            None => "none, or both".to_owned(),
        };
        let now = match all_good(&answers) {
            Ok(()) => "all answered".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        say(format_args!(
            "active: {active:<8} {now}; not answered since the start: {failed}"
        ))?;
        if let Ok(line) = keys.recv_timeout(REDRAW) {
            obey(&mut pair, line.trim())?;
        }
    }
}

fn explain(lb: &Path, pair: &Pair, web_tools: &[WebTool]) -> Result<()> {
    let lb = lb.canonicalize()?;
    let lb = lb.display();
    say("A client, two routers with lb, three real servers. Try in another terminal:")?;
    say(format_args!(
        "  {} curl {}",
        enter(pair.network.client.pid()),
        FAMILY.url()
    ))?;
    for router in &pair.network.routers {
        say(format_args!(
            "  {} {lb} status --socket {SOCKET}    # on {}",
            enter(router.pid()),
            router.name()
        ))?;
    }
    for (router, web_tool) in pair.network.routers.iter().zip(web_tools) {
        say(format_args!("  {web_tool}    # of {}", router.name()))?;
    }
    if stdin().is_terminal() {
        say(
            "Type f and Enter for a failover, 1 or 2 to kill the lb of a router, and again to start it.",
        )?;
    }
    say("Ctrl-C ends the lab.\n")
}

fn obey(pair: &mut Pair, line: &str) -> Result<()> {
    match line {
        "f" => match pair.active()? {
            Some(index) => match pair.directors[index].lb(["failover"]) {
                Ok(text) => say(text.trim()),
                Err(error) => say(format_args!("{error:#}")),
            },
            None => say("There is not one that is active."),
        },
        "1" | "2" => {
            let index = usize::from(line == "2");
            let director = &mut pair.directors[index];
            if director.daemon().ended()?.is_none() {
                director.kill()?;
                say(format_args!("killed lb on router {line}"))
            } else {
                director.start_again()?;
                say(format_args!("started lb on router {line}"))
            }
        }
        _ => say(format_args!("“{line}” is none of f, 1 and 2.")),
    }
}
