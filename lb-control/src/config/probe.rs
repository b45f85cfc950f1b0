//! How the servers of a service are checked: `send`, `expect`, `use_regex`, `send_program`,
//! `timeout`, `reentry`, and what is ours.

use std::time::Duration;

use regex::bytes::RegexBuilder;

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    directives::ServiceKey,
    kinds::{self, number_of},
    servers::Checked,
    settings::ServiceSettings,
    values::Quoted,
};
use crate::model::{Check, Expect, Probe, Protocol};

/// What Piranha sends to a web server that it has been told nothing about, and what must come back.
const WEB_REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const WEB_ANSWER: &[u8] = b"HTTP";
const WEB_PORT: u16 = 80;

/// More checks would be a burden to the servers.
const SHORTEST: Duration = Duration::from_millis(50);

/// Piranha's fallback for `reentry = 0`.
const REENTRY: Duration = Duration::from_secs(180);

/// The probe of a service; what cannot be is told.
pub(super) fn probe(
    settings: &ServiceSettings<'_>,
    checked: &Checked,
    rsh: &str,
    diagnostics: &mut Diagnostics,
) -> Probe {
    let mut maker = Maker {
        settings,
        checked,
        diagnostics,
    };
    let probe = maker.probe();
    Probe {
        reentry: maker.reentry(probe.interval),
        damping: maker.damping(),
        slow_start: settings.ours.slow_start,
        load: maker.load(rsh),
        agent: maker.agent(),
        ..probe
    }
}

/// The probe of a failover service: it is well again with the first good checks.
pub(super) fn failover_probe(
    settings: &ServiceSettings<'_>,
    checked: &Checked,
    diagnostics: &mut Diagnostics,
) -> Probe {
    let mut maker = Maker {
        settings,
        checked,
        diagnostics,
    };
    maker.probe()
}

/// For how long the node on which a failover service failed is not to take over again (`reentry`).
pub(super) fn held(settings: &ServiceSettings<'_>, diagnostics: &mut Diagnostics) -> Duration {
    let checked = Checked::new(settings, None, diagnostics);
    let mut maker = Maker {
        settings,
        checked: &checked,
        diagnostics,
    };
    maker.long_reentry()
}

struct Maker<'a, 'd> {
    settings: &'a ServiceSettings<'d>,
    checked: &'a Checked,
    diagnostics: &'a mut Diagnostics,
}

impl Maker<'_, '_> {
    /// What servers and failover services have in common.
    fn probe(&mut self) -> Probe {
        self.tell_foreign_quotes();
        let interval = self.interval();
        let ours = &self.settings.ours;
        let retries = self.number(ServiceKey::CheckRetries, ours.check.retries, (0, 10));
        let jitter = self.number(ServiceKey::CheckJitter, ours.check.jitter, (0, 50));
        Probe {
            reentry: Duration::ZERO,
            rise: self.number(ServiceKey::Rise, ours.rise.unwrap_or(1), (1, 1_000)),
            fall: self.number(ServiceKey::Fall, ours.fall, (1, 1_000)),
            retries,
            limit: self.limit(),
            jitter: u8::try_from(jitter).unwrap_or(0),
            ..Probe::new(self.check(), interval, interval)
        }
    }

    fn number(&mut self, key: ServiceKey, number: i32, bounds: (u32, u32)) -> u32 {
        number_of(self.settings, key, number, bounds, self.diagnostics)
    }

    /// The port at which the server itself says what is to become of it.
    fn agent(&mut self) -> Option<u16> {
        let port = self.settings.ours.agent_port?;
        u16::try_from(self.number(ServiceKey::AgentPort, port, (1, 65_535))).ok()
    }

    fn check(&mut self) -> Check {
        if let Some(kind) = self.settings.ours.check.kind {
            let expect = self.expect();
            return kinds::check(kind, self.settings, expect, self.diagnostics);
        }
        kinds::tell_without_kind(self.settings, self.diagnostics);
        if let Some(program) = written(self.settings.send_program.as_ref()) {
            return self.program(program);
        }
        let send = written(self.settings.send.as_ref()).map(|text| unescape(text).into_bytes());
        let expect = self.expect();
        let is_web =
            (self.checked.protocol, self.checked.port()) == (Protocol::Tcp, Some(WEB_PORT));
        if send.is_none() && expect.is_none() && is_web {
            return Check::Talk {
                send: Some(WEB_REQUEST.to_vec()),
                expect: Some(Expect::Prefix(WEB_ANSWER.to_vec())),
            };
        }
        if expect.is_none() && self.checked.protocol == Protocol::Udp {
            // Piranha's nanny crashed here. A closed port still answers with an ICMP error, which
            // is worth something: a datagram is sent and only an error counts as failure.
            self.warn(
                ServiceKey::Protocol,
                "a UDP service without `expect`: only a closed port is noticed",
                "add `send` and `expect`, or a `send_program`",
            );
        }
        Check::Talk { send, expect }
    }

    fn expect(&mut self) -> Option<Expect> {
        let text = written(self.settings.expect.as_ref())?;
        match expect(text, self.settings.use_regex) {
            Ok(expect) => Some(expect),
            Err(reason) => {
                let message = format!("`expect` is not a regular expression: {reason}");
                let span = self.settings.block.place(ServiceKey::Expect);
                self.diagnostics.push(
                    Diagnostic::error(span, message).help("without `use_regex` it is plain text"),
                );
                None
            }
        }
    }

    fn program(&mut self, text: &str) -> Check {
        let command: Vec<String> = text.split_ascii_whitespace().map(String::from).collect();
        if written(self.settings.send.as_ref()).is_some() {
            self.warn(
                ServiceKey::Send,
                "`send` is ignored: `send_program` is used",
                "remove one of them",
            );
        }
        if self.settings.use_regex {
            self.warn(
                ServiceKey::UseRegex,
                "`use_regex` does not apply to `send_program`: its output must equal `expect`",
                "let the program do the matching",
            );
        }
        let inside = |word: &String| {
            ["%h", "%p"]
                .iter()
                .any(|token| word.contains(token) && word != token)
        };
        if command.iter().any(inside) {
            self.warn(
                ServiceKey::SendProgram,
                "%h and %p are replaced only where they are a word of their own",
                "put blanks around them, or wrap the command in a script",
            );
        }
        Check::Program {
            command,
            expect: written(self.settings.expect.as_ref()).map(unescape),
        }
    }

    fn interval(&mut self) -> Duration {
        match self.settings.timeout.duration() {
            Some(interval) if interval >= SHORTEST => interval,
            Some(_) | None => {
                let span = self.settings.block.place(ServiceKey::Timeout);
                self.diagnostics.push(
                    Diagnostic::error(
                        span,
                        "`timeout` is the time between two checks; less than 50ms is too short",
                    )
                    .help("e.g. `timeout = 6`, or `500ms`; with 0 Piranha's nanny crashed"),
                );
                Duration::from_secs(1)
            }
        }
    }

    /// `rise` takes the place of `reentry`, unless both are said.
    fn reentry(&mut self, interval: Duration) -> Duration {
        if self.settings.ours.rise.is_some() && !self.settings.block.says(ServiceKey::Reentry) {
            return Duration::ZERO;
        }
        let reentry = self.long_reentry();
        if reentry < interval {
            self.warn(
                ServiceKey::Reentry,
                "`reentry` is shorter than `timeout`: a failed server returns with its first good check",
                "a multiple of `timeout`",
            );
        }
        reentry
    }

    /// As it is said; 0 is Piranha's own.
    fn long_reentry(&mut self) -> Duration {
        match self.settings.reentry.duration() {
            Some(Duration::ZERO) => REENTRY,
            Some(time) => time,
            None => {
                self.warn(
                    ServiceKey::Reentry,
                    "a negative `reentry` is taken for 180",
                    "0 or more",
                );
                REENTRY
            }
        }
    }

    fn limit(&mut self) -> Option<Duration> {
        let limit = self.settings.ours.check.timeout?.duration();
        let limit = limit.filter(|limit| *limit >= Duration::from_millis(1));
        if limit.is_none() {
            let span = self.settings.block.place(ServiceKey::CheckTimeout);
            self.diagnostics
                .error(span, "no check can be made in this time", "1ms or more");
        }
        limit
    }

    fn damping(&mut self) -> Duration {
        self.settings.ours.damping.duration().unwrap_or_else(|| {
            let span = self.settings.block.place(ServiceKey::Damping);
            self.diagnostics
                .error(span, "`damping` is a time", "0 for none");
            Duration::ZERO
        })
    }

    /// The program that tells the load of a server; Piranha knew three words that are more than the
    /// name of a program.
    fn load(&mut self, rsh: &str) -> Option<Vec<String>> {
        let text = self.settings.load_monitor.as_deref()?;
        let words = |text: &str| text.split_ascii_whitespace().map(String::from).collect();
        let mut command: Vec<String> = match text {
            "" | "none" => return None,
            "uptime" => words(rsh),
            other => words(other),
        };
        if command.is_empty() {
            return None;
        }
        if !command.iter().any(|word| word == "%h") {
            command.push("%h".into());
        }
        if text == "uptime" {
            command.push("uptime".into());
        }
        Some(command)
    }

    /// Piranha's daemons took single quotes for a part of these texts.
    fn tell_foreign_quotes(&mut self) {
        let texts = [
            (ServiceKey::Send, &self.settings.send),
            (ServiceKey::Expect, &self.settings.expect),
            (ServiceKey::SendProgram, &self.settings.send_program),
        ];
        for (key, text) in texts {
            if text.as_ref().is_some_and(|text| text.quote == Some('\'')) {
                let span = self.settings.block.place(key);
                self.diagnostics.push(
                    Diagnostic::warning(
                        span,
                        "the single quotes are not part of the text; for Piranha they were",
                    )
                    .help("use double quotes")
                    .liberty(),
                );
            }
        }
    }

    fn warn(&mut self, key: ServiceKey, message: &str, help: &str) {
        let span = self.settings.block.place(key);
        self.diagnostics
            .push(Diagnostic::warning(span, message).help(help));
    }
}

/// What `expect` asks for.
///
/// # Errors
/// If it is to be a regular expression and is none: why not.
pub fn expect(text: &str, use_regex: bool) -> Result<Expect, String> {
    let text = unescape(text);
    if text == "*" {
        return Ok(Expect::Anything);
    }
    if !use_regex {
        return Ok(Expect::Prefix(text.into_bytes()));
    }
    // As regcomp(3) has it: bytes, and a dot is any of them.
    let regex = RegexBuilder::new(&text)
        .unicode(false)
        .dot_matches_new_line(true)
        .build();
    regex.map(Expect::Regex).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        reason.trim_start_matches("error: ").to_owned()
    })
}

/// An empty text is none.
pub(super) fn written(text: Option<&Quoted>) -> Option<&str> {
    text.map(|text| text.text.as_str())
        .filter(|text| !text.is_empty())
}

/// The escapes of nanny. Any other backslash stays, with what follows it, for regular expressions
/// need it (`\.`, `\d`); Piranha's nanny hung on those.
#[must_use]
pub fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some(same @ ('\\' | '\'' | '"')) => plain.push(same),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let table = [
            ("", ""),
            ("plain", "plain"),
            (r"a\r\n", "a\r\n"),
            (r"\t\\\'", "\t\\'"),
            (r#"\""#, "\""),
            (r"\.\d", r"\.\d"),
            (r"\\.", r"\."),
            (r"end\", r"end\"),
            (r"\ä", r"\ä"),
        ];
        for (written, meant) in table {
            assert_eq!(unescape(written), meant, "{written}");
        }
    }
}
