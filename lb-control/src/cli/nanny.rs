//! `lb nanny`: one check by hand, step by step, by the very code that the director's nannies run.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
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
    health::{
        Target,
        trial::{Checked, check},
    },
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
            through: None,
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
