//! The long version: runs until Ctrl-C, shows the routing table, and lets the user play.

use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal, Write, stdin, stdout},
    path::Path,
    process::ExitCode,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{ask, say, service, table::table};
use crate::{
    Stage, WebTool,
    address::{FAMILIES, Family},
    client::{Answer, shares},
    director::SOCKET,
    status::{ServerStatus, Status},
};

/// Requests per family and second.
const REQUESTS: u32 = 30;
const REDRAW: Duration = Duration::from_secs(1);

/// What the client has seen so far: answers per service and real server, and failures.
#[derive(Default)]
struct Seen {
    answers: BTreeMap<(&'static str, String), u64>,
    failed: u64,
    last_failure: String,
}

pub(super) fn run(lb: &Path, mut stage: Stage) -> Result<ExitCode> {
    let web_tool = WebTool::start_on_machine(lb, stage.network.router())?;
    explain(lb, &stage, &web_tool)?;
    // The sender lives on when there are no keys, so that waiting for one is still waiting.
    let (_sender, keys) = lines_typed();
    let mut seen = Seen::default();
    let mut screen = Screen::default();
    loop {
        let start = Instant::now();
        for family in FAMILIES {
            seen.note(family, &ask(&stage, family, REQUESTS)?);
        }
        let status = stage.director.status()?;
        screen.show(&stage, &seen, &status)?;
        let left = REDRAW.saturating_sub(start.elapsed());
        if let Ok(line) = keys.recv_timeout(left) {
            screen.forget();
            stop_or_start(&mut stage, &line)?;
        }
    }
}

fn explain(lb: &Path, stage: &Stage, web_tool: &WebTool) -> Result<()> {
    let network = &stage.network;
    let client = enter(network.client.pid());
    let router = enter(network.router().pid());
    let lb = lb.canonicalize()?;
    let lb = lb.display();
    say(format_args!(
        "A client, a router with lb (method {}), three real servers.",
        network.plan.method
    ))?;
    say("Try in another terminal:")?;
    for family in FAMILIES {
        say(format_args!("  {client} curl -g {}", family.url()))?;
    }
    say(format_args!("  {router} {lb} status --socket {SOCKET}"))?;
    say(format_args!("  {web_tool}"))?;
    for server in &network.servers {
        say(format_args!(
            "  {} bash    # a shell on {}",
            enter(server.pid()),
            server.name()
        ))?;
    }
    if stdin().is_terminal() {
        say(
            "Type 1, 2 or 3 and Enter to stop the web server of a real server, and again to start it.",
        )?;
    }
    say("Ctrl-C ends the lab.\n")
}

/// What one types before a command that is to run on a host.
pub(super) fn enter(pid: u32) -> String {
    let sudo = if std::env::var_os("SUDO_USER").is_some() {
        "sudo "
    } else {
        ""
    };
    format!("{sudo}nsenter -t {pid} -m -n")
}

/// Lines from the terminal, if we are on one.
pub(super) fn lines_typed() -> (Sender<String>, Receiver<String>) {
    let (sender, receiver) = channel();
    if stdin().is_terminal() {
        let typed = sender.clone();
        std::thread::spawn(move || {
            stdin()
                .lock()
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| typed.send(line))
        });
    }
    (sender, receiver)
}

fn stop_or_start(stage: &mut Stage, line: &str) -> Result<()> {
    let number: usize = line.trim().parse().unwrap_or(0);
    let Some(web) = number
        .checked_sub(1)
        .and_then(|index| stage.webs.get_mut(index))
    else {
        return say(format_args!("There is no real server “{}”.", line.trim()));
    };
    if web.is_running() {
        web.kill();
        say(format_args!(
            "stopped the web server on {}",
            web.host().name()
        ))
    } else {
        web.start_again()?;
        say(format_args!(
            "started the web server on {}",
            web.host().name()
        ))
    }
}

impl Seen {
    fn note(&mut self, family: Family, answers: &[Answer]) {
        for (server, count) in shares(answers) {
            *self.answers.entry((service(family), server)).or_default() += u64::from(count);
        }
        for failure in answers.iter().filter(|answer| !answer.is_good()) {
            self.failed += 1;
            self.last_failure.clone_from(&failure.error);
        }
    }
}

/// On a terminal the table is drawn over the one before; elsewhere it is printed when a state has
/// changed.
#[derive(Default)]
struct Screen {
    lines_drawn: usize,
    states_printed: Vec<String>,
}

impl Screen {
    fn show(&mut self, stage: &Stage, seen: &Seen, status: &Status) -> Result<()> {
        let text = draw(stage, seen, status);
        let mut out = stdout().lock();
        if out.is_terminal() {
            if self.lines_drawn > 0 {
                // Up to the first line of the table, and clear from there.
                write!(out, "\x1b[{}A\x1b[J", self.lines_drawn)?;
            }
            self.lines_drawn = text.lines().count();
            write!(out, "{text}")?;
        } else {
            let servers = status.services.iter().flat_map(|service| &service.servers);
            let states: Vec<_> = servers.map(|server| server.state.clone()).collect();
            if states != self.states_printed {
                self.states_printed = states;
                writeln!(out, "{text}")?;
            }
        }
        Ok(out.flush()?)
    }

    /// Something else was printed: the next table is drawn below it.
    fn forget(&mut self) {
        self.lines_drawn = 0;
    }
}

fn draw(stage: &Stage, seen: &Seen, status: &Status) -> String {
    let head = [
        "service",
        "server",
        "answered",
        "state",
        "weight",
        "active",
        "inactive",
        "packets in",
        "packets out",
        "last error",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for family in FAMILIES {
        for name in stage.names() {
            let entry = status
                .service(service(family))
                .and_then(|service| service.server(&name));
            let answered = seen.answers.get(&(service(family), name.clone())).copied();
            rows.push(row(family, &name, answered.unwrap_or(0), entry));
        }
    }
    let failures = if seen.failed == 0 {
        "no request failed".to_owned()
    } else {
        format!(
            "{} requests failed, the last: {}",
            seen.failed, seen.last_failure
        )
    };
    format!("{}{failures}\n", table(&rows))
}

fn row(family: Family, name: &str, answered: u64, entry: Option<&ServerStatus>) -> Vec<String> {
    let mut row = vec![family.url(), name.to_owned(), answered.to_string()];
    match entry {
        None => row.push("not in the table".to_owned()),
        Some(server) => row.extend([
            server.state.clone(),
            server.weight.to_string(),
            server.active.to_string(),
            server.inactive.to_string(),
            server.packets_in.to_string(),
            server.packets_out.to_string(),
            server.last_error.clone().unwrap_or_default(),
        ]),
    }
    row
}
