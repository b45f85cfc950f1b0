//! The short version: every method is tried, a real server stopped and started again.

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{ask, in_seconds, say, service, set, table::table};
use crate::{
    Lab, Method, Stage, WebTool,
    address::{FAMILIES, Family},
    client::{Answer, all_good, shares},
    status::Status,
};

/// Requests per family from which the shares are counted.
const REQUESTS: u32 = 300;
/// Requests between two looks at the routing table.
const FEW: u32 = 24;
/// The real server that is stopped: `rs2`.
const VICTIM: usize = 1;
/// How long a real server may take to come, to leave and to return.
const LIMIT: Duration = Duration::from_secs(20);
/// How much of what lb said is shown when something failed.
const LOG_LINES: usize = 20;

/// What was seen with one method.
struct Outcome {
    method: Method,
    shares: Vec<(Family, BTreeMap<String, u32>)>,
    left_after: Duration,
    returned_after: Duration,
}

pub(super) fn run(lab: &Lab, lb: &Path, methods: &[Method]) -> Result<ExitCode> {
    let mut outcomes = Vec::new();
    let mut failures = Vec::new();
    for &method in methods {
        say(format_args!(
            "{method}: a client, a router with lb, three real servers"
        ))?;
        match rehearse(lab, lb, method) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => failures.push(format!("{method} FAILED: {error:#}")),
        }
    }
    say("")?;
    if !outcomes.is_empty() {
        say(summary(&outcomes))?;
    }
    for failure in &failures {
        say(failure)?;
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn rehearse(lab: &Lab, lb: &Path, method: Method) -> Result<Outcome> {
    let mut stage = set(lab, lb, method)?;
    play(lb, &mut stage, method).with_context(|| {
        let log = stage.director.daemon().printed();
        let first = log.lines().count().saturating_sub(LOG_LINES);
        let last_lines: Vec<_> = log.lines().skip(first).collect();
        format!("lb said last:\n{}\nwhat failed", last_lines.join("\n"))
    })
}

fn play(lb: &Path, stage: &mut Stage, method: Method) -> Result<Outcome> {
    let names = stage.names();
    let victim = names.get(VICTIM).context("too few real servers")?.clone();

    let all_up = |status: &Status| names.iter().all(|name| in_all_services(status, name));
    ask_until(stage, "all real servers are up", |status, _| all_up(status))?;
    let shares = balanced_shares(stage, &names)?;
    let web_tool = WebTool::start_on_machine(lb, stage.network.router())?;
    web_tool.check(&victim)?;
    say(format_args!(
        "  {}/ lets the admin log in, and shows the servers",
        web_tool.url()
    ))?;

    say(format_args!("  stopping the web server on {victim}"))?;
    stage.webs[VICTIM].kill();
    let left = |status: &Status, _: &[Answer]| !in_any_service(status, &victim);
    let left_after = ask_until(stage, &format!("{victim} has left the table"), left)?;
    for family in FAMILIES {
        let answers = ask(stage, family, REQUESTS / 3)?;
        all_good(&answers).with_context(|| format!("{family}, after {victim} had left"))?;
    }

    say(format_args!("  starting it again"))?;
    stage.webs[VICTIM].start_again()?;
    let back = |status: &Status, answers: &[Answer]| {
        in_all_services(status, &victim) && shares_of(answers, &victim) > 0
    };
    let returned_after = ask_until(stage, &format!("{victim} answers again"), back)?;
    Ok(Outcome {
        method,
        shares,
        left_after,
        returned_after,
    })
}

/// How many requests each real server answered; an error unless each did its part.
fn balanced_shares(
    stage: &Stage,
    names: &[String],
) -> Result<Vec<(Family, BTreeMap<String, u32>)>> {
    let mut all = Vec::new();
    for family in FAMILIES {
        let answers = ask(stage, family, REQUESTS)?;
        all_good(&answers).with_context(|| family.to_string())?;
        let shares = shares(&answers);
        let words: Vec<_> = shares
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        say(format_args!(
            "  {REQUESTS} requests by {family}: {}",
            words.join(", ")
        ))?;
        let fair = REQUESTS / u32::try_from(names.len())?;
        for name in names {
            let share = shares.get(name).copied().unwrap_or(0);
            ensure!(
                share >= fair / 2,
                "{name} answered {share} of {REQUESTS} requests by {family}"
            );
        }
        all.push((family, shares));
    }
    Ok(all)
}

/// Keeps asking by both families until it is so; how long it took.
fn ask_until(
    stage: &Stage,
    what: &str,
    is_so: impl Fn(&Status, &[Answer]) -> bool,
) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let mut answers = Vec::new();
        for family in FAMILIES {
            answers.extend(ask(stage, family, FEW)?);
        }
        let status = stage.director.status()?;
        if is_so(&status, &answers) {
            say(format_args!(
                "  {what} after {}",
                in_seconds(start.elapsed())
            ))?;
            return Ok(start.elapsed());
        }
        ensure!(
            start.elapsed() < LIMIT,
            "waited {} in vain until {what}; the routing table: {status}",
            in_seconds(LIMIT)
        );
    }
}

fn shares_of(answers: &[Answer], name: &str) -> u32 {
    shares(answers).get(name).copied().unwrap_or(0)
}

fn in_all_services(status: &Status, name: &str) -> bool {
    FAMILIES
        .into_iter()
        .all(|family| is_in(status, family, name))
}

fn in_any_service(status: &Status, name: &str) -> bool {
    FAMILIES
        .into_iter()
        .any(|family| is_in(status, family, name))
}

fn is_in(status: &Status, family: Family, name: &str) -> bool {
    status
        .service(service(family))
        .is_some_and(|service| service.has_up(name))
}

fn summary(outcomes: &[Outcome]) -> String {
    let victim = format!("rs{}", VICTIM + 1);
    let mut head = vec!["method".to_owned(), "family".to_owned()];
    let names: Vec<_> = outcomes
        .first()
        .and_then(|outcome| outcome.shares.first())
        .map(|(_, shares)| shares.keys().cloned().collect())
        .unwrap_or_default();
    head.extend(names.iter().cloned());
    head.extend([format!("{victim} left after"), "returned after".to_owned()]);
    let mut rows = vec![head];
    for outcome in outcomes {
        for (family, shares) in &outcome.shares {
            let mut row = vec![outcome.method.to_string(), family.to_string()];
            row.extend(
                names
                    .iter()
                    .map(|name| shares.get(name).unwrap_or(&0).to_string()),
            );
            row.push(in_seconds(outcome.left_after));
            row.push(in_seconds(outcome.returned_after));
            rows.push(row);
        }
    }
    table(&rows)
}
