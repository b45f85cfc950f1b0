//! `lb nanny`: one check by hand, step by step, by the very code that the director's nannies run.

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{CONFIG, output, runtime};
use crate::{
    config,
    control::order::{self, Order},
    daemon,
    difference::tried,
    health::{Failure, Target, check::wanted, probe_told, quoted, witness::Happening},
    model::{self, Check, Expect, Probe, ServiceAddress, ServiceId},
};

#[derive(Debug, Args)]
#[command(
    after_help = "A server of lvs.cf:   lb nanny --service web --server rs1\n\
                        Any server:           lb nanny --address 10.0.0.11:80 --send 'GET / HTTP/1.0\\r\\n\\r\\n' --expect HTTP\n\
                        As lvs.cf would:      lb nanny --address 10.0.0.11:443 --with 'check = https' --with 'check_host = www.example.com'"
)]
pub(super) struct Nanny {
    /// The service: its name in lvs.cf, or ADDRESS:PORT.
    #[arg(long, requires = "server", required_unless_present = "address")]
    service: Option<String>,
    /// The real server: its name in lvs.cf, or ADDRESS[:PORT].
    #[arg(long, requires = "service")]
    server: Option<String>,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// A server that need not be in lvs.cf, ADDRESS:PORT.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["service", "server", "config"])]
    address: Option<SocketAddr>,
    /// By which protocol it is checked.
    #[arg(long, value_enum, default_value_t, conflicts_with = "service")]
    protocol: Protocol,
    /// What is sent, with \n \r \t \\.
    #[arg(long, value_name = "TEXT", conflicts_with = "service")]
    send: Option<String>,
    /// What the answer has to begin with; `*` for any answer. With --program, what it has to print.
    #[arg(long, value_name = "TEXT", conflicts_with = "service")]
    expect: Option<String>,
    /// --expect is a regular expression.
    #[arg(long, requires = "expect", conflicts_with = "program")]
    regex: bool,
    /// A program that checks the server; the words %h and %p are its address and port.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["service", "send"])]
    program: Option<String>,
    /// A directive of a `virtual` block of lvs.cf, such as 'check = https'; repeatable.
    #[arg(long, value_name = "DIRECTIVE", conflicts_with_all = ["service", "send", "expect", "regex", "program", "protocol"])]
    with: Vec<String>,
    /// How long each step may take.
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, conflicts_with = "service", default_value = "10")]
    timeout: Duration,
    /// How many checks.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The pause between two of them.
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds, default_value = "1")]
    interval: Duration,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Protocol {
    /// A connection.
    #[default]
    Tcp,
    /// A datagram.
    Udp,
    /// An association.
    Sctp,
}

impl From<Protocol> for model::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Sctp => Self::Sctp,
        }
    }
}

/// What the checks found.
#[derive(Debug, Serialize)]
struct Answer {
    /// Where the server was checked.
    address: SocketAddr,
    /// By which protocol.
    protocol: model::Protocol,
    /// One after the other.
    checks: Vec<Checked>,
}

/// One check.
#[derive(Debug, Serialize)]
struct Checked {
    /// Whether the server is well.
    well: bool,
    /// What went well, in order.
    steps: Vec<Told>,
    /// How it ended.
    outcome: Told,
    /// What may be behind a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

/// What happened when.
#[derive(Debug, Serialize)]
struct Told {
    /// Milliseconds after the check began.
    milliseconds: f64,
    /// What happened.
    text: String,
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
        match self.hint {
            Some(hint) => writeln!(f, "               {hint}"),
            None => Ok(()),
        }
    }
}

impl Nanny {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let target = self.target()?;
        let mut answer = Answer {
            address: target.address,
            protocol: target.protocol,
            checks: Vec::new(),
        };
        if !self.json {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", head(&target))?;
        }
        let runtime = runtime()?;
        for number in 0..self.count {
            if number > 0 {
                runtime.block_on(tokio::time::sleep(self.interval));
            }
            let checked = runtime.block_on(check(&target));
            if !self.json {
                let mut out = io::stdout().lock();
                write!(out, "{checked}")?;
                out.flush()?;
            }
            answer.checks.push(checked);
        }
        if self.json {
            output::print_json(&answer)?;
        }
        Ok(match answer.checks.iter().all(|check| check.well) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }

    fn target(&self) -> anyhow::Result<Target> {
        match (&self.address, &self.service, &self.server) {
            (Some(address), _, _) => self.named_by_flags(*address),
            (None, Some(service), Some(server)) => self.named_in_file(service, server),
            (None, _, _) => Err(anyhow!("whom to check? see `lb nanny --help`")),
        }
    }

    fn named_in_file(&self, service: &str, server: &str) -> anyhow::Result<Target> {
        let site = config::load(&self.config)?.site;
        let asked = Order {
            verb: order::Verb::Auto,
            service: service.to_owned(),
            server: server.to_owned(),
            deadline: None,
        };
        let key = asked.find(&site)?;
        daemon::targets(&site)
            .into_iter()
            .find(|target| (target.service, target.server) == key)
            .context("the server is not checked")
    }

    /// As a server of a block with these directives would be checked.
    fn said_by_directives(&self, address: SocketAddr) -> anyhow::Result<Target> {
        let lines: String = self.with.iter().map(|line| format!("{line}\n")).collect();
        let (vip, port) = match address {
            SocketAddr::V4(_) => ("192.0.2.1", address.port()),
            SocketAddr::V6(_) => ("2001:db8::1", address.port()),
        };
        let ip = address.ip();
        let text = format!(
            "virtual v {{\nactive = 1\naddress = {vip} lo\nport = {port}\ntimeout = {}ms\n{lines}server s {{\n\
             active = 1\nweight = 1\naddress = {ip}\n}}\n}}\n",
            self.timeout.as_millis()
        );
        let said = config::parse("--with", text.as_bytes());
        let Some((_, site)) = said.site else {
            let errors = said.diagnostics.iter();
            let errors = errors.filter(|one| one.severity == config::Severity::Error);
            let told: Vec<_> = errors.map(|one| one.message.clone()).collect();
            return Err(anyhow!("--with: {}", told.join("; ")));
        };
        let target = daemon::targets(&site).pop();
        target.context("--with: the server is not checked")
    }

    fn named_by_flags(&self, address: SocketAddr) -> anyhow::Result<Target> {
        if !self.with.is_empty() {
            return self.said_by_directives(address);
        }
        let protocol = self.protocol.into();
        let check = match &self.program {
            Some(program) => Check::Program {
                command: program.split_ascii_whitespace().map(String::from).collect(),
                expect: self.expect.as_deref().map(config::unescape),
            },
            None => Check::Talk {
                send: self
                    .send
                    .as_deref()
                    .map(|text| config::unescape(text).into_bytes()),
                expect: self.expectation()?,
            },
        };
        Ok(Target {
            service: ServiceId::Address(ServiceAddress {
                address: address.ip(),
                port: address.port(),
                protocol,
            }),
            server: address,
            address,
            protocol,
            weight: 1,
            probe: Probe::new(check, self.timeout, self.timeout),
        })
    }

    fn expectation(&self) -> anyhow::Result<Option<Expect>> {
        let Some(text) = &self.expect else {
            return Ok(None);
        };
        config::expect(text, self.regex)
            .map(Some)
            .map_err(|why| anyhow!("--expect is not a regular expression: {why}"))
    }
}

/// What is going to be done.
fn head(target: &Target) -> String {
    let limit = target.probe.interval;
    let (address, protocol) = (target.address, target.protocol);
    match &target.probe.check {
        Check::Program { command, .. } => {
            format!(
                "{address}: by `{}`, which may take {limit:?}",
                command.join(" ")
            )
        }
        Check::Talk { .. } => format!("{address} by {protocol}: each step may take {limit:?}"),
        check @ (Check::Tls { .. }
        | Check::Http(_)
        | Check::Grpc(_)
        | Check::Dns(_)
        | Check::Icmp
        | Check::Greeting(_)) => {
            let limit = target.probe.limit.unwrap_or(limit);
            format!("{address}: {}, which may take {limit:?}", tried(check))
        }
    }
}

async fn check(target: &Target) -> Checked {
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
        hint: outcome.err().as_ref().and_then(hint),
    }
}

fn words(happening: Happening<'_>) -> String {
    match happening {
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
        (Check::Talk { expect: None, .. }, model::Protocol::Udp) => {
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

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener, thread};

    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        nanny: Nanny,
    }

    fn nanny(arguments: &[&str]) -> Result<Nanny, clap::Error> {
        let line = ["nanny"].iter().chain(arguments);
        Line::try_parse_from(line).map(|line| line.nanny)
    }

    /// A check, its times replaced.
    fn said(nanny: &Nanny) -> (bool, Vec<String>) {
        let target = nanny.target().unwrap();
        let checked = runtime().unwrap().block_on(check(&target));
        let lines = checked.steps.iter().chain([&checked.outcome]);
        let texts = lines.map(|told| told.text.replace(&target.address.to_string(), "SERVER"));
        (checked.well, texts.collect())
    }

    fn web() -> (SocketAddr, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 18];
            std::io::Read::read_exact(&mut stream, &mut asked).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        });
        (address, serving)
    }

    #[test]
    fn each_step_is_told() {
        for (expect, is_well, last) in [
            ("HTTP", true, "well: the answer begins with \"HTTP\""),
            ("SSH", false, "not well: answered \"HTT\", expected \"SSH\""),
        ] {
            let (address, serving) = web();
            let address = address.to_string();
            let line = [
                "--address",
                &address,
                "--send",
                r"GET / HTTP/1.0\r\n\r\n",
                "--expect",
                expect,
            ];
            let (well, texts) = said(&nanny(&line).unwrap());
            serving.join().unwrap();
            assert_eq!(well, is_well, "{expect}");
            assert_eq!(texts[0], "connected");
            assert_eq!(texts[1], r#"sent 18 bytes: "GET / HTTP/1.0\r\n\r\n""#);
            assert!(texts[2].starts_with("got "), "{texts:?}");
            assert_eq!(texts[3], last);
        }
    }

    #[test]
    fn a_program_is_told_too() {
        let line = [
            "--address",
            "192.0.2.1:80",
            "--program",
            "echo %h",
            "--expect",
            "192.0.2.1",
        ];
        let (well, texts) = said(&nanny(&line).unwrap());
        assert!(well, "{texts:?}");
        assert_eq!(
            texts,
            [
                "echo runs",
                r#"it ended with exit status 0 and printed "192.0.2.1\n""#,
                r#"well: it printed "192.0.2.1""#,
            ]
        );
    }

    #[test]
    fn a_refusal_is_explained() {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let target = nanny(&["--address", &address.to_string()])
            .unwrap()
            .target()
            .unwrap();
        let checked = runtime().unwrap().block_on(check(&target));
        assert!(!checked.well);
        assert!(checked.hint.unwrap().starts_with("the host is there"));
    }

    #[test]
    fn a_server_of_the_file_is_checked_as_the_file_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "virtual web {\n active = 1\n address = 192.0.2.10 eth0:1\n port = 80\n \
                    check_port = 8080\n timeout = 3\n server rs1 {\n address = 10.0.0.1\n active = 1\n }\n}\n";
        std::fs::write(file.path(), text).unwrap();
        let config = file.path().to_str().unwrap();
        let target = |server| {
            let line = ["--service", "web", "--server", server, "--config", config];
            nanny(&line).unwrap().target()
        };
        let found = target("10.0.0.1").unwrap();
        assert_eq!(found.address.to_string(), "10.0.0.1:8080");
        assert_eq!(found.probe.interval, Duration::from_secs(3));
        assert_eq!(
            target("rs2").unwrap_err().to_string(),
            "no real server is called “rs2”; there is rs1 (10.0.0.1:80)"
        );
    }

    #[test]
    fn directives_say_how() {
        let with = |address, directives: &[&str]| {
            let mut line = vec!["--address", address, "--timeout", "3"];
            for directive in directives {
                line.extend(["--with", directive]);
            }
            nanny(&line).unwrap().target()
        };
        let target = with("10.0.0.1:8080", &["check = http", "check_path = /x"]).unwrap();
        assert_eq!(target.address.to_string(), "10.0.0.1:8080");
        assert_eq!(target.probe.interval, Duration::from_secs(3));
        assert!(matches!(target.probe.check, Check::Http(http) if http.path == "/x"));
        let target = with("[2001:db8::5]:53", &["check = dns", "protocol = udp"]).unwrap();
        assert!(matches!(target.probe.check, Check::Dns(_)));
        assert_eq!(target.protocol, model::Protocol::Udp);
        let told = with("10.0.0.1:80", &["check = htp"])
            .unwrap_err()
            .to_string();
        assert!(told.starts_with("--with: invalid argument"), "{told}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let table: [&[&str]; 6] = [
            &[],
            &["--service", "web"],
            &["--service", "web", "--server", "rs1", "--send", "x"],
            &[
                "--address",
                "10.0.0.1:80",
                "--service",
                "web",
                "--server",
                "rs1",
            ],
            &["--address", "10.0.0.1:80", "--timeout", "0"],
            &[
                "--address",
                "10.0.0.1:80",
                "--program",
                "true",
                "--send",
                "x",
            ],
        ];
        for line in table {
            assert!(nanny(line).is_err(), "{line:?}");
        }
    }
}
