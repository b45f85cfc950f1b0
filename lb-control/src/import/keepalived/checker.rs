//! The checkers of a `real_server`: how a nanny could do the same.

use std::net::IpAddr;

use super::{
    group::port,
    http::Http,
    is_on,
    known::{self, Within},
    time,
    tree::Node,
};
use crate::{
    import::{
        found::Setting,
        report::{Place, Report},
    },
    model::Protocol,
};

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    /// To connect is enough; over UDP, not to be refused.
    Connect,
    /// A request and its answer, as they are, without escapes.
    Talk {
        send: Option<String>,
        expect: Option<String>,
        is_regex: bool,
    },
    /// A program that ends well.
    Program(String),
}

/// A checker that was found.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    pub(super) place: Place,
    pub(super) probe: Probe,
    /// Another port than that of the server.
    pub(super) port: Option<u16>,
    /// Milliseconds between two checks, if it says so.
    pub(super) interval: Option<u32>,
}

/// What is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
    /// The protocol of the service, if it is one.
    pub(super) protocol: Option<Protocol>,
    /// `virtualhost` of the server, or of the service.
    pub(super) host: Option<&'a str>,
}

const CHECKERS: &str = "TCP_CHECK HTTP_GET SSL_GET SMTP_CHECK DNS_CHECK UDP_CHECK PING_CHECK MISC_CHECK BFD_CHECK \
                        FILE_CHECK";

/// Whether a block is a checker.
pub(super) fn is_checker(node: &Node) -> bool {
    CHECKERS
        .split_ascii_whitespace()
        .any(|name| name == node.name())
}

/// The check that comes nearest to a checker.
pub(super) fn checker(node: &Node, subject: Subject<'_>, report: &mut Report) -> Checker {
    let mut reader = Reader {
        subject,
        http: Http::new(subject.host),
        path: None,
        payload: None,
        reply: None,
        limit: 5,
        checker: Checker {
            place: node.place.clone(),
            probe: Probe::Connect,
            port: None,
            interval: None,
        },
        report,
    };
    for directive in node.inside() {
        reader.directive(node.name(), directive);
    }
    reader.finish(node)
}

struct Reader<'a, 'r> {
    subject: Subject<'a>,
    http: Http<'a>,
    path: Option<&'a Node>,
    payload: Option<&'a Node>,
    reply: Option<&'a Node>,
    /// Seconds for a connection.
    limit: u32,
    checker: Checker,
    report: &'r mut Report,
}

impl<'a> Reader<'a, '_> {
    fn directive(&mut self, checker: &str, node: &'a Node) {
        let is_http = matches!(checker, "HTTP_GET" | "SSL_GET");
        if is_http && self.http.take(node) {
            return;
        }
        match (checker, node.name()) {
            (_, "connect_port") => match port(node.value()) {
                Ok(port) => self.checker.port = Some(port),
                Err(why) => self.report.left_out(&node.place, why),
            },
            (_, "connect_ip") if node.value().parse() == Ok(self.subject.address) => {}
            (_, "connect_ip") => self.left_out(node, "a server is checked at its own address"),
            (_, "connect_timeout") => {
                self.limit = time(node.value()).map_or(5, |limit| limit.div_ceil(1000).max(1));
                timing(node, self.report);
            }
            (_, "delay_loop") => self.checker.interval = interval(node, self.report),
            (_, "retry" | "nb_get_retry" | "delay_before_retry" | "alpha") => {
                timing(node, self.report);
            }
            ("MISC_CHECK", "misc_path") => self.path = Some(node),
            ("MISC_CHECK", "misc_timeout") => {
                self.left_out(node, "a program may run for `timeout` seconds");
            }
            ("MISC_CHECK", "misc_dynamic") => {
                self.left_out(node, "the exit status of a check does not change weights");
            }
            ("MISC_CHECK", "user") => self.left_out(node, "checks run as lvs-xdp does"),
            ("UDP_CHECK", "payload") => self.payload = Some(node),
            ("UDP_CHECK", "require_reply") => self.reply = Some(node),
            ("UDP_CHECK", "min_reply_length" | "max_reply_length") => {
                self.left_out(node, "the length of an answer is not compared");
            }
            ("SMTP_CHECK", "helo_name") => self.left_out(node, "the server's greeting is enough"),
            ("DNS_CHECK", "type" | "name") => self.left_out(node, "no question of DNS is asked"),
            ("BFD_CHECK", "name") | ("FILE_CHECK", _) => {}
            _ => known::tell(Within::Server, node, self.report),
        }
    }

    fn left_out(&mut self, node: &Node, why: &str) {
        let why = format!("`{}`: {why}", node.written());
        self.report.left_out(&node.place, why);
    }

    fn finish(mut self, node: &'a Node) -> Checker {
        let protocol = self.subject.protocol;
        let wanted = match node.name() {
            "UDP_CHECK" | "DNS_CHECK" => Some(Protocol::Udp),
            "TCP_CHECK" | "HTTP_GET" | "SSL_GET" | "SMTP_CHECK" => Some(Protocol::Tcp),
            _ => None,
        };
        if let (Some(wanted), Some(protocol)) = (wanted, protocol)
            && wanted != protocol
        {
            let why = format!(
                "`{}`: servers are checked by the protocol of their service, {protocol}",
                node.name()
            );
            self.report.left_out(&node.place, why);
            return self.checker;
        }
        let mut told = |why: &str| {
            let why = format!("`{}`: {why}", node.name());
            self.report.left_out(&node.place, why);
        };
        self.checker.probe = match node.name() {
            "HTTP_GET" => self.http.probe(self.report),
            "SSL_GET" => {
                told("servers are not checked over TLS yet; to connect is enough");
                Probe::Connect
            }
            "SMTP_CHECK" => {
                told(
                    "only the greeting is looked at, which must be 220; nothing is said to the server",
                );
                Probe::Talk {
                    send: None,
                    expect: Some("220".to_owned()),
                    is_regex: false,
                }
            }
            "DNS_CHECK" => {
                told("no question of DNS is asked; only a closed port is noticed");
                Probe::Connect
            }
            "BFD_CHECK" | "FILE_CHECK" => {
                told("there is no such check; to connect is enough");
                Probe::Connect
            }
            "PING_CHECK" => Probe::Program(format!("/bin/ping -c 1 -W {} %h", self.limit)),
            "MISC_CHECK" => self.program(node),
            "UDP_CHECK" => self.datagram(),
            _ => Probe::Connect,
        };
        self.checker
    }

    /// The server's address and port become `%h` and `%p`, so that one text does for all servers.
    fn program(&mut self, node: &Node) -> Probe {
        let Some(path) = self.path else {
            self.left_out(node, "it names no program");
            return Probe::Connect;
        };
        let text = path.values().join(" ");
        if text.contains(['\'', '"', '\\']) || text.contains(char::is_control) {
            self.left_out(path, "`send_program` is split at blanks, and has no quotes");
            return Probe::Connect;
        }
        let port = self.subject.port.map(|port| port.to_string());
        let word = |word: &str| match word {
            word if word.parse() == Ok(self.subject.address) => "%h".to_owned(),
            word if port.as_deref() == Some(word) => "%p".to_owned(),
            word => word.to_owned(),
        };
        let words: Vec<_> = text.split_whitespace().map(word).collect();
        if words.is_empty() {
            self.left_out(node, "it names no program");
            return Probe::Connect;
        }
        Probe::Program(words.join(" "))
    }

    fn datagram(&mut self) -> Probe {
        let payload = self.payload.map(|node| (node, printable(node)));
        let reply = self.reply.map(|node| (node, printable(node)));
        for (node, text) in payload.iter().chain(&reply) {
            if text.is_none() {
                self.left_out(node, "only text can be said in `send` and `expect`");
            }
        }
        let send = payload
            .and_then(|(_, text)| text)
            .filter(|text| !text.is_empty());
        let expect = reply.map(|(_, text)| match text {
            Some(text) if !text.is_empty() => text,
            // Any answer will do.
            Some(_) | None => "*".to_owned(),
        });
        match (send, expect) {
            (None, None) => Probe::Connect,
            (send, expect) => Probe::Talk {
                send,
                expect,
                is_regex: false,
            },
        }
    }
}

/// The time between two checks, in milliseconds.
pub(super) fn interval(node: &Node, report: &mut Report) -> Option<u32> {
    /// What lvs.cf allows.
    const SHORTEST: u32 = 50;
    let found = time(node.value()).filter(|time| *time >= SHORTEST);
    if found.is_none() {
        let why = format!("`{}`: no time between two checks", node.written());
        report.left_out(&node.place, why);
    }
    found
}

/// Tells of directives about when a check has failed, and what happens here instead.
pub(super) fn timing(node: &Node, report: &mut Report) {
    let why = match node.name() {
        "retry" | "nb_get_retry" if node.value() == "0" => return,
        "retry" | "nb_get_retry" => "a server leaves with its first failed check",
        "delay_before_retry" => "a failed check is repeated after `timeout`, as any other",
        "connect_timeout" => "each step of a check may take `timeout` seconds",
        // Servers are out until their first check was good.
        "alpha" if is_on(node) => return,
        _ => "a server is out until its first check was good",
    };
    report.left_out(&node.place, format!("`{}`: {why}", node.written()));
}

/// Hexadecimal digits as the text that they are. `None` if they are none.
fn printable(node: &Node) -> Option<String> {
    let mut bytes = Vec::new();
    for word in node.values() {
        // Pairs, and a digit that is left over is a byte of its own.
        let digits: Vec<char> = word.chars().collect();
        for pair in digits.chunks(2) {
            let pair: String = pair.iter().collect();
            bytes.push(u8::from_str_radix(&pair, 16).ok()?);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!text.contains(strange)).then_some(text)
}

impl Probe {
    /// As lvs.cf says it. At port 80 lvs.cf has a request of its own unless something is sent.
    pub(super) fn settings(&self, port: Option<u16>, place: &Place) -> Option<Vec<Setting>> {
        let text = |name, text: &str| Setting::text(name, &escaped(text), place);
        let mut settings = Vec::new();
        match self {
            Self::Connect if port == Some(80) => settings.push(text("send", "\r\n")?),
            Self::Connect => {}
            Self::Talk {
                send,
                expect,
                is_regex,
            } => {
                if let Some(send) = send {
                    settings.push(text("send", send)?);
                }
                if let Some(expect) = expect {
                    settings.push(text("expect", expect)?);
                }
                if *is_regex {
                    settings.push(Setting::plain("use_regex", 1, place));
                }
            }
            Self::Program(command) => settings.push(Setting::text("send_program", command, place)?),
        }
        Some(settings)
    }
}

/// With the escapes of `send` and `expect`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str(r"\\"),
            '\n' => escaped.push_str(r"\n"),
            '\r' => escaped.push_str(r"\r"),
            '\t' => escaped.push_str(r"\t"),
            c => escaped.push(c),
        }
    }
    escaped
}
