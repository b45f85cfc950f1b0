//! Words → values. A word that is none is told with its place.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde::{Serialize, Serializer};

use super::{
    diagnostic::{Diagnostic, Diagnostics, quote},
    lexer::Word,
    names::Names,
    numbers::{inet_aton, strtol},
    settings::{Matched, Ports},
    suggest,
};
use crate::{
    heartbeat::key::Key,
    model::{Protocol, Selector},
};

/// No address; also what lvs.cf writes for "none".
pub const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Text with the quotes it was written in, which Piranha kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// The text inside.
    pub text: String,
    /// The quotes.
    pub quote: Option<char>,
}

impl Serialize for Quoted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let quote = self.quote.map(String::from).unwrap_or_default();
        serializer.collect_str(&format_args!("{quote}{}{quote}", self.text))
    }
}

/// A netmask as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Netmask {
    /// `255.255.255.0`; 0.0.0.0 stands for none.
    Dotted(Ipv4Addr),
    /// `24`: a prefix length. (Piranha read this as 0.0.0.24, which masks nothing useful.)
    Prefix(u8),
}

impl Netmask {
    /// None given.
    pub const NONE: Self = Self::Dotted(Ipv4Addr::UNSPECIFIED);
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dotted(mask) => mask.fmt(f),
            Self::Prefix(length) => write!(f, "/{length}"),
        }
    }
}

impl Serialize for Netmask {
    /// As Piranha held it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Dotted(mask) => mask.serialize(serializer),
            Self::Prefix(length) => Ipv4Addr::from(u32::from(*length)).serialize(serializer),
        }
    }
}

/// A time as it was written; negative ones were to Piranha as good as any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    milliseconds: i64,
}

impl Time {
    /// Whole seconds.
    #[must_use]
    pub const fn seconds(seconds: i32) -> Self {
        Self {
            milliseconds: seconds as i64 * 1000,
        }
    }

    /// As a duration, unless it is negative.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        u64::try_from(self.milliseconds)
            .ok()
            .map(Duration::from_millis)
    }
}

impl Serialize for Time {
    /// In seconds, as Piranha held it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.milliseconds % 1000 {
            0 => serializer.serialize_i64(self.milliseconds / 1000),
            _ => Duration::from_millis(self.milliseconds.unsigned_abs())
                .as_secs_f64()
                .serialize(serializer),
        }
    }
}

/// Reads words, asks for names, tells what is wrong.
pub(super) struct Reader<'a> {
    pub(super) names: &'a mut dyn Names,
    pub(super) diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    /// A C `int`. What does not fit is cut to 32 bits, with a warning, as Piranha did without one.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Piranha assigned a long to an int"
    )]
    pub(super) fn integer(&mut self, word: &Word) -> Option<i32> {
        let Some(value) = strtol(&word.text) else {
            return self.refuse(word, "integer expected", integer_help(&word.text));
        };
        let kept = value as i32;
        if i64::from(kept) != value && !(0..=i64::from(u32::MAX)).contains(&value) {
            let message = format!(
                "{} is too large a number; {kept} is what is left of it",
                quote(&word.text)
            );
            self.diagnostics
                .push(Diagnostic::warning(word.span, message));
        }
        Some(kept)
    }

    /// Seconds as Piranha read them, or a number with its unit.
    pub(super) fn time(&mut self, word: &Word) -> Option<Time> {
        if let Some(milliseconds) = with_unit(&word.text) {
            return Some(Time { milliseconds });
        }
        if strtol(&word.text).is_none() {
            let is_number = word.text.contains('#') || word.text.starts_with('0');
            let help = integer_help(&word.text).filter(|_| is_number);
            let units = || "seconds, or a number with its unit: 500ms, 2s, 1m, 1h".into();
            return self.refuse(word, "time expected", Some(help.unwrap_or_else(units)));
        }
        self.integer(word).map(Time::seconds)
    }

    pub(super) fn boolean(&mut self, word: &Word) -> Option<bool> {
        match strtol(&word.text) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            Some(_) => self.refuse(word, "boolean expected: 0 or 1", None),
            None => self.refuse(word, "boolean expected: 0 for no or 1 for yes", None),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        word: &Word,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word.text) {
            return Some(*value);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let help = match suggest::nearest(&word.text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {}", names.join(", ")),
        };
        self.refuse(word, "invalid argument", Some(help))
    }

    /// An address, or a name that is asked for now.
    pub(super) fn host(&mut self, word: &Word) -> Option<IpAddr> {
        if let Some(address) = literal(&word.text) {
            return Some(address);
        }
        if let Some((host, _)) = word.text.split_once('/') {
            let help = literal(host).map(|host| format!("without prefix length: `{host}`"));
            return self.refuse(word, "invalid host name or address", help);
        }
        if !may_be_name(&word.text) {
            return self.refuse(word, "invalid host name or address", None);
        }
        match self.names.host(&word.text) {
            Some(address) => Some(address),
            None => self.refuse(
                word,
                "this host name is not known",
                Some("names are looked up when the file is loaded; addresses are safer".into()),
            ),
        }
    }

    /// A written-out address.
    /// An address, perhaps with a port: `10.0.0.1:80`, `[2001:db8::1]:80`.
    pub(super) fn socket(&mut self, word: &Word) -> Option<(IpAddr, Option<u16>)> {
        match socket(&word.text) {
            Some(socket) => Some(socket),
            None => self.refuse(
                word,
                "invalid address",
                Some(
                    "names are not allowed here; a port stands behind a colon, [2001:db8::1]:80"
                        .into(),
                ),
            ),
        }
    }

    /// `10.0.0.1`, or `10.0.0.1/24` with the length of its prefix.
    pub(super) fn host_with_prefix(&mut self, word: &Word) -> Option<(IpAddr, Option<u8>)> {
        let Some((host, length)) = word.text.split_once('/') else {
            return self.host(word).map(|address| (address, None));
        };
        let Some(address) = literal(host) else {
            return self.refuse(word, "invalid address", None);
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        match length.parse::<u8>() {
            Ok(length) if (1..=most).contains(&length) => Some((address, Some(length))),
            _ => self.refuse(word, "invalid prefix length", Some(format!("1 to {most}"))),
        }
    }

    pub(super) fn mask(&mut self, word: &Word) -> Option<Netmask> {
        if let Ok(length @ 1..=128) = word.text.parse::<u8>() {
            return Some(Netmask::Prefix(length));
        }
        match inet_aton(&word.text) {
            Some(mask) => Some(Netmask::Dotted(mask)),
            None => self.refuse(
                word,
                "bad subnet mask",
                Some("like 255.255.255.0, or a prefix length".into()),
            ),
        }
    }

    /// A number, which may be out of range as Piranha's could, or the name of a service.
    pub(super) fn port(&mut self, word: &Word) -> Option<i32> {
        if strtol(&word.text).is_some() {
            return self.integer(word);
        }
        match self.names.service(&word.text) {
            Some(port) => Some(i32::from(port)),
            None => self.refuse(
                word,
                "invalid port",
                Some("a number, or a name of /etc/services".into()),
            ),
        }
    }

    /// A port, or two numbers with a hyphen in between. What is no such range is a port, for names
    /// and negative numbers have hyphens too.
    pub(super) fn ports(&mut self, word: &Word) -> Option<Ports> {
        match range(&word.text) {
            Some((first, last)) => Some(Ports {
                first: i32::from(first),
                last: Some(i32::from(last)),
            }),
            None => self.port(word).map(|first| Ports { first, last: None }),
        }
    }

    /// Some of a few words, with commas or blanks in between.
    pub(super) fn flags(
        &mut self,
        word: &Word,
        names: &'static [&'static str],
    ) -> Option<Vec<&'static str>> {
        let mut flags = Vec::new();
        for flag in split(&word.text) {
            let Some(name) = names.iter().find(|name| **name == flag) else {
                return self.refuse(
                    word,
                    &format!("{} is none of them", quote(flag)),
                    Some(format!("some of: {}", names.join(", "))),
                );
            };
            flags.push(*name);
        }
        Some(flags)
    }

    /// A text that is long enough for a secret. It is not repeated in a message.
    pub(super) fn secret(&mut self, word: &Word) -> Option<String> {
        if word.text.chars().count() >= 16 {
            return Some(word.text.clone());
        }
        self.diagnostics.error(
            word.span,
            "the secret is too short",
            "at least 16 characters, e.g. of `openssl rand -base64 24`",
        );
        None
    }

    /// Keys with their numbers. They are not repeated in a message.
    pub(super) fn keys(&mut self, word: &Word) -> Option<Vec<Key>> {
        let keys: Result<Vec<_>, _> = word.text.split_ascii_whitespace().map(Key::parse).collect();
        match keys {
            Ok(keys) if !keys.is_empty() => Some(keys),
            Ok(_) => {
                self.diagnostics
                    .error(word.span, "there is no key", "like \"1:HEX\"");
                None
            }
            Err(error) => {
                self.diagnostics
                    .error(word.span, "this is no key", &format!("{error}"));
                None
            }
        }
    }

    /// `tcp 192.0.2.10:80,443 192.0.2.11:1000-2000`: a protocol and addresses with their ports.
    pub(super) fn matched(&mut self, word: &Word) -> Option<Vec<Matched>> {
        let mut words = word.text.split_ascii_whitespace();
        let said = words.next().unwrap_or_default();
        let Some((_, protocol)) = PROTOCOLS.iter().find(|(name, _)| *name == said) else {
            let names: Vec<_> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            let help = format!("it begins with one of: {}", names.join(", "));
            return self.refuse(word, "invalid protocol", Some(help));
        };
        let mut matched = Vec::new();
        for part in words {
            let (host, ports) = split_ports(part);
            let Some(address) = literal(host) else {
                let help = "like \"tcp 192.0.2.10:80,443\" or \"udp [2001:db8::1]:53\"".into();
                return self.refuse(word, &format!("{} is no address", quote(host)), Some(help));
            };
            if ports.is_some() && matches!(protocol, Protocol::Ah | Protocol::Esp) {
                let message = format!("{protocol} has no ports");
                return self.refuse(word, &message, None);
            }
            for (first, last) in self.port_list(word, ports, *protocol)? {
                let selector = Selector {
                    address,
                    protocol: *protocol,
                    first,
                    last,
                };
                let span = word.span;
                matched.push(Matched { selector, span });
            }
        }
        if matched.is_empty() {
            return self.refuse(word, "an address is missing", None);
        }
        Some(matched)
    }

    /// `80,443,1000-2000`; without, all ports.
    fn port_list(
        &mut self,
        word: &Word,
        ports: Option<&str>,
        protocol: Protocol,
    ) -> Option<Vec<(u16, u16)>> {
        let Some(ports) = ports else {
            return Some(vec![match protocol {
                Protocol::Tcp | Protocol::Udp | Protocol::Sctp => EVERY_PORT,
                Protocol::Ah | Protocol::Esp => (0, 0),
            }]);
        };
        let mut list = Vec::new();
        for part in ports.split(',') {
            let named = || self.names.service(part).map(|port| (port, port));
            let number = || part.parse().ok().map(|port: u16| (port, port));
            match range(part).or_else(number).or_else(named) {
                Some((0, 0) | EVERY_PORT) => list.push(EVERY_PORT),
                Some((first, last)) if first != 0 && first <= last => list.push((first, last)),
                Some(_) | None => {
                    let message = format!("{} is no port and no range of ports", quote(part));
                    return self.refuse(word, &message, Some("like 80,443,1000-2000".into()));
                }
            }
        }
        Some(list)
    }

    fn refuse<T>(&mut self, word: &Word, message: &str, help: Option<String>) -> Option<T> {
        let message = format!("{message}, not {}", quote(&word.text));
        self.diagnostics.push(Diagnostic {
            help,
            ..Diagnostic::error(word.span, message)
        });
        None
    }
}

/// `500ms` in milliseconds. No longer than what Piranha's seconds can say.
fn with_unit(word: &str) -> Option<i64> {
    let unit = word.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = word.split_at(unit);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    let milliseconds = number.parse::<i64>().ok()?.checked_mul(factor)?;
    (milliseconds <= i64::from(i32::MAX) * 1000).then_some(milliseconds)
}

fn integer_help(word: &str) -> Option<String> {
    let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
    match word.get(digits.len()..) {
        _ if digits.is_empty() => None,
        Some(rest) if rest.starts_with('#') => {
            Some("a comment needs a blank before its `#`".into())
        }
        Some(_) if digits.starts_with('0') => Some("a leading 0 makes the number octal".into()),
        Some(_) | None => Some("numbers have no unit and nothing behind them".into()),
    }
}

fn literal(word: &str) -> Option<IpAddr> {
    inet_aton(word).map(IpAddr::V4).or_else(|| {
        word.parse::<Ipv6Addr>()
            .ok()
            .map(|address| address.to_canonical())
    })
}

/// What stands for all ports: 0 in lvs.cf, as in ipvsadm.
pub(super) const EVERY_PORT: (u16, u16) = (0, u16::MAX);

/// The protocols that a group can have.
const PROTOCOLS: [(&str, Protocol); 5] = [
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("sctp", Protocol::Sctp),
    ("ah", Protocol::Ah),
    ("esp", Protocol::Esp),
];

/// `1000-2000`.
fn range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn socket(word: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Some(address) = literal(word) {
        return Some((address, None));
    }
    let socket: SocketAddr = word.parse().ok()?;
    Some((socket.ip().to_canonical(), Some(socket.port())))
}

/// An address and what stands behind its colon; an address of IPv6 has brackets then.
fn split_ports(word: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = word.strip_prefix('[').and_then(|word| word.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match word.split_once(':') {
        Some((host, ports)) if !ports.contains(':') => (host, Some(ports)),
        Some(_) | None => (word, None),
    }
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ', '\t']).filter(|part| !part.is_empty())
}

/// Whether it is worth asking for: `10.0.0.300` is not.
pub(super) fn may_be_name(word: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !word.is_empty()
        && word.len() <= 253
        && word.chars().all(letters)
        && word.contains(|c: char| c.is_ascii_alphabetic())
}
