//! One check of one server, step by step, for those who look on: `lb nanny` and `POST /v1/probe`.

use std::{fmt, time::Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Failure, Target, check::wanted, probe_told, quoted, witness::Happening};
use crate::model::{Check, Expect, Protocol};

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// Whether the server is well.
    pub well: bool,
    /// What went well, in order.
    pub steps: Vec<Told>,
    /// How it ended.
    pub outcome: Told,
    /// What may be behind a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What happened when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// Milliseconds after the check began.
    pub milliseconds: f64,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>10.1} ms  {}", self.milliseconds, self.text)
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| step.fmt(f))?;
        self.outcome.fmt(f)?;
        match &self.hint {
            Some(hint) => writeln!(f, "               {hint}"),
            None => Ok(()),
        }
    }
}

/// Checks a real server once, and tells each step.
pub async fn check(target: &Target) -> Checked {
    let start = Instant::now();
    let told = |text: String| Told {
        milliseconds: start.elapsed().as_secs_f64() * 1e3,
        text,
    };
    let mut steps = Vec::new();
    let outcome = probe_told(target, &mut |happening: Happening<'_>| {
        steps.push(told(words(happening)));
    })
    .await;
    let end = told(match &outcome {
        Ok(()) => format!("well: {}", why_well(target)),
        Err(failure) if failure.is_the_directors() => format!("nothing is known: {failure}"),
        Err(failure) => format!("not well: {failure}"),
    });
    Checked {
        well: outcome.is_ok(),
        steps,
        outcome: end,
        hint: outcome
            .err()
            .as_ref()
            .and_then(|failure| hint_at(target, failure))
            .map(String::from),
    }
}

fn words(happening: Happening<'_>) -> String {
    match happening {
        Happening::Called(address) => {
            format!("{address} is asked, by the way that packets of clients take to the server")
        }
        Happening::Connected => "connected".to_owned(),
        Happening::Secured { days: Some(days) } => {
            format!("TLS is established; the certificate is good for {days} days")
        }
        Happening::Secured { days: None } => "TLS is established".to_owned(),
        Happening::Answered(what) => format!("the answer is {what}"),
        Happening::Again(failure) => format!("{failure}; once more"),
        Happening::Sent(bytes) => format!("sent {}: {}", size(bytes), quoted(bytes)),
        Happening::Received(bytes) => format!("got {}: {}", size(bytes), quoted(bytes)),
        Happening::Ended => "the server has closed".to_owned(),
        Happening::Started(program) => format!("{program} runs"),
        Happening::Exited { status, printed } => {
            format!("it ended with {status} and printed {}", quoted(printed))
        }
    }
}

fn size(bytes: &[u8]) -> String {
    match bytes.len() {
        1 => "1 byte".to_owned(),
        length => format!("{length} bytes"),
    }
}

/// Why a server that has passed is well.
fn why_well(target: &Target) -> String {
    match (&target.probe.check, target.protocol) {
        (
            Check::Talk {
                expect: Some(expect),
                ..
            },
            _,
        ) => match expect {
            Expect::Anything => "it answered".to_owned(),
            Expect::Prefix(_) => format!("the answer begins with {}", wanted(expect)),
            Expect::Regex(_) => format!("the answer has {}", wanted(expect)),
        },
        (Check::Talk { expect: None, .. }, Protocol::Udp) => {
            "nobody refused the datagram; more cannot be said without an expected answer".to_owned()
        }
        (Check::Talk { expect: None, .. }, _) => {
            "it takes connections, and no answer is expected".to_owned()
        }
        (Check::Program { expect: None, .. }, _) => {
            "exit status 0, and no output is expected".to_owned()
        }
        (
            Check::Program {
                expect: Some(expect),
                ..
            },
            _,
        ) => {
            format!("it printed {}", quoted(expect.as_bytes()))
        }
        (Check::Tls { expect, .. }, _) => match expect {
            Some(expect) => format!("the answer has {}", wanted(expect)),
            None => "the handshake is complete".to_owned(),
        },
        (Check::Http(_), _) => "the answer is what it should be".to_owned(),
        (Check::Grpc(_), _) => "it serves".to_owned(),
        (Check::Dns(_), _) => "the answer is what it should be".to_owned(),
        (Check::Icmp, _) => "it answered".to_owned(),
        (Check::Greeting(_), _) => "it greets as it should".to_owned(),
    }
}

/// What may be behind a failure of this server.
fn hint_at(target: &Target, failure: &Failure) -> Option<&'static str> {
    if let Failure::Step { error, .. } = failure
        && target.through.is_some()
        && error.starts_with("no answer")
    {
        return Some(
            "the server does not have the virtual IP (`ip address show dev lo`), or not the end of its \
             tunnel, or its answer to the director is dropped on its way",
        );
    }
    hint(failure)
}

/// What may be behind a failure.
fn hint(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Step { error, .. } if error == "connection refused" => Some(
            "the host is there: nothing listens at this port, or on another address, or a packet \
             filter rejects",
        ),
        Failure::Step { error, .. } if error == "no route to host" => Some(
            "no neighbour has this address, or a packet filter says so: is the host up, `ip route \
             get` right?",
        ),
        Failure::Step { error, .. } if error == "network is unreachable" => {
            Some("the director has no route there: `ip route`")
        }
        Failure::Step { error, .. } if error.starts_with("no answer") => Some(
            "packets or their answers are lost: the host is down, or its way back is another, or a \
             packet filter drops",
        ),
        Failure::NoAnswer { .. } => {
            Some("it took what was sent and says nothing: is `send` what the server waits for?")
        }
        Failure::Unfinished { .. } => Some(
            "what came may be the beginning of the right answer: a longer timeout, or a shorter `expect`",
        ),
        Failure::Empty { .. } => {
            Some("the program behind the port closes at once: look at its log and access rules")
        }
        Failure::WrongAnswer { .. } => Some(
            "`expect` is compared with the beginning of the answer, unless it is a regular expression",
        ),
        Failure::WrongOutput { .. } => {
            Some("the output has to equal `expect`, but for one newline at the end")
        }
        Failure::Said { .. } => Some("the server has taken itself out, by its agent"),
        Failure::Untried { .. } => Some("that says nothing about the server"),
        Failure::NotStarted { .. } => Some("the path in full, and the right to run it?"),
        Failure::Step { .. } | Failure::Killed { .. } | Failure::Exited { .. } => None,
    }
}
