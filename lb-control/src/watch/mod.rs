//! `lb watch`: how things are, live, on the whole terminal.
//!
//! - `model`: what is known and what is selected. It is given answers and keys, and says what it wishes.
//! - `rates`: what comes in a second, from two answers.
//! - `rows`: which services and servers are shown, in what order.
//! - `view`: draws a model.
//! - `screen`: the terminal, which is left as it was, whatever way the program ends.
//!
//! Only this file and `screen` know the daemon, the terminal and the clock.

pub mod model;
pub(crate) mod rates;
pub(crate) mod rows;
mod screen;
mod view;

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use ratatui::crossterm::event;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use self::{
    model::{Input, Model, Wish},
    screen::Screen,
};
use crate::control::client;

/// How long the daemon may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How `lb watch` was called.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the daemon listens.
    pub socket: PathBuf,
    /// How often it is asked.
    pub interval: Duration,
    /// States have colours.
    pub colour: bool,
}

/// Shows how things are until the user or a signal ends it.
///
/// # Errors
/// If the terminal fails.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let (inputs, mut incoming) = mpsc::unbounded_channel();
    tokio::spawn(ask(options.clone(), inputs.clone()));
    let mut screen = Screen::enter()?;
    let keys = inputs.clone();
    // It waits in a system call that nothing ends but a key; it ends with the process.
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if keys.send(Input::Event(event)).is_err() {
                return;
            }
        }
    });
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut model = Model::new(options.colour);
    loop {
        screen.draw(|frame| view::draw(&mut model, frame))?;
        let first = tokio::select! {
            input = incoming.recv() => input,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
        };
        // What has come meanwhile is drawn at once.
        let mut next = first;
        while let Some(input) = next {
            match model.take(input) {
                None => {}
                Some(Wish::Quit) => return Ok(()),
                Some(wish) => {
                    let (socket, inputs) = (options.socket.clone(), inputs.clone());
                    tokio::spawn(async move {
                        let done = fulfil(&socket, wish).await;
                        // Nobody is told if the program is about to end.
                        let _ =
                            inputs.send(Input::Done(done.map_err(|error| format!("{error:#}"))));
                    });
                }
            }
            next = incoming.try_recv().ok();
        }
    }
}

/// Asks the daemon at each interval, but never before it has answered.
async fn ask(options: Options, inputs: mpsc::UnboundedSender<Input>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time of day is only shown; what follows is counted from here by a clock that does not step"
    )]
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let (began, clock) = (began.unwrap_or_default(), Instant::now());
    let mut times = interval(options.interval);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        let answer = match timeout(PATIENCE, client::status(&options.socket)).await {
            Ok(answer) => answer.map_err(|error| format!("{error:#}")),
            Err(_elapsed) => Err(format!("the daemon takes longer than {PATIENCE:?}")),
        };
        let input = Input::Answer {
            report: answer.map(Box::new),
            at: began + clock.elapsed(),
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}

/// What became of it, in words.
async fn fulfil(socket: &Path, wish: Wish) -> anyhow::Result<String> {
    match wish {
        Wish::Quit => Ok(String::new()),
        Wish::Order(order) => client::order(socket, &order).await,
        Wish::Reload => {
            let done = client::reload(socket, false).await?;
            let (file, changed) = (done.file, done.changed.len());
            let warnings = match done.warnings.len() {
                0 => String::new(),
                number => format!(", {number} warnings: see `lb check`"),
            };
            Ok(format!(
                "{file} was read again: {changed} differences{warnings}"
            ))
        }
    }
}
