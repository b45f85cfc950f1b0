//! What `cargo xtask run` shows: a load balancer at work, in the lab.

mod live;
mod once;
mod pair;
mod table;

use std::{
    fmt::Display,
    io::{Write, stdout},
    path::Path,
    process::{ExitCode, exit},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::{
    Family, Lab, Method, Plan, Service, Site, Stage,
    address::FAMILIES,
    client::{self, Answer},
    site::METHODS,
    web_tool,
};

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Do it all in a few seconds, sum up and end, instead of running until Ctrl-C.
    pub once: bool,
    /// How to forward. By default NAT, and all methods with `once`.
    pub method: Option<Method>,
    /// Two routers instead of one.
    pub pair: bool,
}

impl Options {
    fn methods(self) -> Vec<Method> {
        self.method.map_or(METHODS.to_vec(), |method| vec![method])
    }
}

/// Shows the director `lb` at work. Success means that all went as it should.
pub fn run(lb: &Path, options: Options) -> Result<ExitCode> {
    // Before any thread is started, so that all have them blocked and only one waits for them.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    let lab = Lab::new()?;
    let ending = end_on_signal(signals, lab.clone(), options);
    let shown = show(&lab, lb, options);
    // If a signal is ending all this, whatever we saw is only that; it never lets us go on.
    let _ending = ending.lock().unwrap_or_else(PoisonError::into_inner);
    lab.end_all();
    shown
}

fn show(lab: &Lab, lb: &Path, options: Options) -> Result<ExitCode> {
    let method = options.method.unwrap_or(Method::Nat);
    match options {
        Options {
            pair: true,
            once: false,
            ..
        } => return pair::run(lab, lb, method),
        Options {
            pair: true,
            once: true,
            ..
        } => return pair::once(lab, lb, &options.methods()),
        Options { pair: false, .. } => {}
    }
    if !options.once {
        let stage = set(lab, lb, method)?;
        // Until they have been checked nobody is served, which is as it should be and no news.
        stage.await_servers()?;
        return live::run(lb, stage);
    }
    once::run(lab, lb, &options.methods())
}

/// Starts a thread that ends the lab and this process on a signal. It holds the mutex meanwhile.
fn end_on_signal(signals: SigSet, lab: Lab, options: Options) -> Arc<Mutex<()>> {
    let ending = Arc::new(Mutex::new(()));
    let held = Arc::clone(&ending);
    std::thread::spawn(move || {
        let Ok(signal) = signals.wait() else {
            return;
        };
        let _held = held.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody else says anything from now on.
        let mut out = stdout().lock();
        lab.end_all();
        // The terminal may be gone.
        drop(writeln!(out, "\nThe lab is gone."));
        match (signal, options.once) {
            // The usual end, unless there is a result to wait for.
            (Signal::SIGINT, false) => exit(0),
            _ => exit(128 + signal as i32),
        }
    });
    ending
}

/// A stage with the web servers behind both virtual addresses.
fn set(lab: &Lab, lb: &Path, method: Method) -> Result<Stage> {
    let plan = Plan::new(method);
    let mut site = FAMILIES
        .into_iter()
        .fold(Site::new(method), |site, family| {
            site.with(Service::web(family, plan.servers))
        });
    site.socket_group = Some(web_tool::group()?);
    Stage::set(lab, lb, plan, &site).with_context(|| format!("starting lb for the method {method}"))
}

fn ask(stage: &Stage, family: Family, count: u32) -> Result<Vec<Answer>> {
    client::get_many(&stage.network.client, &family.url(), count, 8)
}

/// The service of a family in lvs.cf.
fn service(family: Family) -> &'static str {
    match family {
        Family::V4 => "web",
        Family::V6 => "web6",
    }
}

fn say(line: impl Display) -> Result<()> {
    Ok(writeln!(stdout(), "{line}")?)
}

fn in_seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
