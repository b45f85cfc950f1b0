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
    config::directives,
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
    /// A kind of check that lvs.cf has: directives and their values, `check` among them.
    Kind(Vec<(&'static str, String)>),
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
    /// How often a failed check is tried again.
    pub(super) retries: u8,
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
        helo: None,
        record: None,
        name: None,
        checker: Checker {
            place: node.place.clone(),
            probe: Probe::Connect,
            port: None,
            interval: None,
            retries: 0,
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
    /// `helo_name` of SMTP; `type` and `name` of DNS.
    helo: Option<&'a Node>,
    record: Option<&'a Node>,
    name: Option<&'a Node>,
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
            (_, "delay_loop") => self.checker.interval = interval(node, self.report),
            (_, "retry" | "nb_get_retry") => match node.value().parse() {
                Ok(retries @ 0..=10) => self.checker.retries = retries,
                Ok(_) | Err(_) => self.left_out(node, "`check_retries` is 0 to 10"),
            },
            (_, "connect_timeout" | "delay_before_retry" | "alpha") => {
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
            ("SMTP_CHECK", "helo_name") => self.helo = Some(node),
            ("DNS_CHECK", "type") => self.record = Some(node),
            ("DNS_CHECK", "name") => self.name = Some(node),
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
            "SSL_GET" => self.http.secure_probe(self.report),
            "SMTP_CHECK" => {
                let mut settings = vec![("check", "smtp".to_owned())];
                settings.extend(
                    self.helo
                        .map(|node| ("check_host", node.value().to_owned())),
                );
                Probe::Kind(settings)
            }
            "DNS_CHECK" => self.question(),
            "BFD_CHECK" | "FILE_CHECK" => {
                told("there is no such check; to connect is enough");
                Probe::Connect
            }
            "PING_CHECK" => Probe::Kind(vec![("check", "icmp".to_owned())]),
            "MISC_CHECK" => self.program(node),
            "UDP_CHECK" => self.datagram(),
            _ => Probe::Connect,
        };
        self.checker
    }

    /// Any answer without an error is good, as in keepalived.
    fn question(&mut self) -> Probe {
        let mut settings = vec![("check", "dns".to_owned())];
        if let Some(node) = self.record {
            let name = node.value().to_ascii_uppercase();
            if directives::RECORDS.contains(&name.as_str()) {
                settings.push(("check_type", name));
            } else {
                self.left_out(node, "records of this type cannot be asked for; SOA is");
            }
        }
        if let Some(node) = self.name {
            settings.push(("check_name", node.value().to_owned()));
        }
        Probe::Kind(settings)
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
        "retry" if node.value() == "0" => return,
        "retry" => "`check_retries` or `fall` could say so",
        "delay_before_retry" => "a failed check is tried again after 200 ms",
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
            Self::Kind(directives) => {
                for (name, value) in directives {
                    settings.push(match value.bytes().all(is_plain) {
                        true => Setting::plain(name, value, place),
                        false => Setting::text(name, value, place)?,
                    });
                }
            }
            Self::Program(command) => settings.push(Setting::text("send_program", command, place)?),
        }
        Some(settings)
    }
}

/// Whether it needs no quotes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b',')
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
