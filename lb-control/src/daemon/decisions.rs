//! The decision log: lines from the program to the log and to those who read along.

use std::{fmt::Write, time::Duration};

use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tracing::{error, info};

use crate::{
    control::log::{Asked, Log, Wish},
    dataplane::{
        kernel::Program,
        log::{Outcome, Record, Records, Sampling},
    },
    event::Event,
    explain::{layers::protocol_name, names::Names},
    journal::{About, Journal, Kind},
};

/// How many lines wait for those who read along; the slower ones miss those before.
const WAITING: usize = 1_024;

/// For how long names are good: lvs.cf may be read again meanwhile.
const NAMES_LAST: Duration = Duration::from_secs(5);

/// The decision log, off or on.
pub(super) struct Decisions {
    wishes: mpsc::Receiver<Asked>,
    lines: broadcast::Sender<String>,
    events: mpsc::Sender<Event>,
    journal: Journal,
    /// What reads the records; empty while it is off.
    reading: JoinSet<()>,
}

impl Decisions {
    /// It is off at first. What commands need to talk to it.
    pub(super) fn new(events: mpsc::Sender<Event>, journal: Journal) -> (Self, Log) {
        let (wish_sender, wishes) = mpsc::channel(1);
        let (lines, _) = broadcast::channel(WAITING);
        let log = Log {
            wishes: wish_sender,
            lines: lines.clone(),
        };
        let decisions = Self {
            wishes,
            lines,
            events,
            journal,
            reading: JoinSet::new(),
        };
        (decisions, log)
    }

    /// The next wish.
    pub(super) async fn asked(&mut self) -> Option<Asked> {
        self.wishes.recv().await
    }

    /// Does what was asked for.
    pub(super) fn carry_out(&mut self, program: &mut Program, asked: Asked) {
        let Asked { wish, who, reply } = asked;
        let done = match wish {
            Some(wish) => self.switch_on(program, wish, &who),
            None => self.switch_off(program, &who),
        };
        if let Err(error) = &done {
            error!("the decision log: {error:#}");
        }
        // Whoever asked may have gone.
        let _ = reply.send(done.map_err(|error| format!("{error:#}")));
    }

    fn switch_on(&mut self, program: &mut Program, wish: Wish, who: &str) -> anyhow::Result<()> {
        let records = program.begin_log(Sampling {
            one_of: wish.sample,
            drops_only: wish.drops_only,
        })?;
        self.reading.abort_all();
        self.reading = JoinSet::new();
        self.reading
            .spawn(read(records, self.lines.clone(), self.events.clone()));
        let Wish { sample, drops_only } = wish;
        let what = if drops_only { "drops only" } else { "all" };
        let text = format!("the decision log is on: {what}, one packet of {sample}");
        self.journal.tell(Kind::Logging, About::ALL.by(who), text);
        Ok(())
    }

    fn switch_off(&mut self, program: &mut Program, who: &str) -> anyhow::Result<()> {
        program.end_log()?;
        self.reading = JoinSet::new();
        let about = About::ALL.by(who);
        self.journal
            .tell(Kind::Logging, about, "the decision log is off");
        Ok(())
    }
}

/// Passes records on until the log is switched off.
async fn read(mut records: Records, lines: broadcast::Sender<String>, events: mpsc::Sender<Event>) {
    let (mut names, mut good_until) = (Names::default(), Instant::now());
    loop {
        let (batch, lost) = match records.next().await {
            Ok(batch) => batch,
            Err(error) => {
                error!(%error, "the decision log ends");
                return;
            }
        };
        if Instant::now() >= good_until {
            names = ask_names(&events).await.unwrap_or(names);
            good_until = Instant::now() + NAMES_LAST;
        }
        for record in &batch {
            publish(&lines, told(record, &records, &names));
        }
        if lost > 0 {
            publish(&lines, format!("{lost} lines lost"));
        }
    }
}

fn publish(lines: &broadcast::Sender<String>, line: String) {
    info!(target: "lb::decisions", "{line}");
    // Nobody may be reading along.
    let _ = lines.send(line);
}

async fn ask_names(events: &mpsc::Sender<Event>) -> Option<Names> {
    let (reply, answer) = oneshot::channel();
    events.send(Event::Status(reply)).await.ok()?;
    Some(Names::of(&answer.await.ok()?))
}

/// A record in words.
fn told(record: &Record, records: &Records, names: &Names) -> String {
    let mut line = match record.outcome {
        Outcome::Steered => "steered",
        Outcome::Passed => "passed",
        Outcome::Dropped => "dropped",
    }
    .to_owned();
    // Writing to a string does not fail.
    let mut add = |text: std::fmt::Arguments<'_>| {
        let _ = line.write_fmt(text);
    };
    match &record.key {
        Some(key) => {
            let (source, destination) = (key.source, key.destination);
            add(format_args!(
                " {} {source} > {destination}",
                protocol_name(key.protocol)
            ));
            if let Some(id) = record.service {
                match names.service(destination, key.protocol) {
                    Some(name) => add(format_args!(" service \"{name}\"")),
                    None => add(format_args!(" service {id}")),
                }
            }
            if let Some(id) = record.server {
                match records.server(id, destination.port()) {
                    // What it sends itself.
                    Some(server) if server.ip() == source.ip() => {
                        add(format_args!(" server {}", names.server(source)));
                    }
                    Some(server) => add(format_args!(" server {}", names.server(server))),
                    None => add(format_args!(" server {id}")),
                }
            }
        }
        None => add(format_args!(" a packet that is not balanced")),
    }
    if let Some(reason) = record.reason {
        add(format_args!(" reason {}", reason.name()));
    }
    line
}
