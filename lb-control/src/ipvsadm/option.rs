//! The options, and how a command line is taken apart: by the rules of popt, which ipvsadm uses. Short
//! options may stand together (`-Lnc`), long ones have two dashes and are not shortened, a value follows
//! in the same word or in the next, and words that are no options may stand anywhere.

/// What stands on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// One of those that the line has to begin with.
    Verb(Verb),
    /// An option that may be given once, and not with every verb.
    Once(Kind),
    /// `-t`, `-u`, `--sctp-service`: a service by its address.
    Service(crate::model::Protocol),
    /// `-f`: a service by its mark.
    Mark,
    /// `-g`, `-i`, `-m`.
    Forwarding(crate::model::Method),
    /// `-6`.
    Ipv6,
    /// `--sort`, which is what happens anyway.
    Sort,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
    Help,
    Version,
}

/// An option as the rules of [`super::legality`] know it, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Numeric,
    Connection,
    ServiceAddress,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    ForwardingMethod,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    OnePacket,
    Engine,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
}

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Needed,
    /// Without one in the same word, the next word is it unless that begins with a dash.
    Possible,
}

/// The options: the long name, the short one, whether there is a value, what it is.
const OPTIONS: &[(&str, Option<char>, Value, Tag)] = {
    use crate::model::{Method, Protocol};
    use Kind as K;
    use Tag::{Forwarding, Ipv6, Mark, Once, Service, Sort};
    use Value::{Needed, Possible};
    const fn verb(long: &str, short: char, verb: Verb) -> (&str, Option<char>, Value, Tag) {
        (long, Some(short), Value::None, Tag::Verb(verb))
    }
    const fn flag(long: &str, kind: Kind) -> (&str, Option<char>, Value, Tag) {
        (long, None, Value::None, Tag::Once(kind))
    }
    const fn with(long: &str, kind: Kind) -> (&str, Option<char>, Value, Tag) {
        (long, None, Value::Needed, Tag::Once(kind))
    }
    &[
        verb("add-service", 'A', Verb::AddService),
        verb("edit-service", 'E', Verb::EditService),
        verb("delete-service", 'D', Verb::DeleteService),
        verb("clear", 'C', Verb::Flush),
        verb("list", 'L', Verb::List),
        verb("list", 'l', Verb::List),
        verb("zero", 'Z', Verb::Zero),
        verb("add-server", 'a', Verb::AddServer),
        verb("edit-server", 'e', Verb::EditServer),
        verb("delete-server", 'd', Verb::DeleteServer),
        verb("help", 'h', Verb::Help),
        verb("version", 'v', Verb::Version),
        verb("restore", 'R', Verb::Restore),
        verb("save", 'S', Verb::Save),
        ("set", None, Value::None, Tag::Verb(Verb::Set)),
        ("start-daemon", None, Needed, Tag::Verb(Verb::StartDaemon)),
        ("stop-daemon", None, Needed, Tag::Verb(Verb::StopDaemon)),
        ("tcp-service", Some('t'), Needed, Service(Protocol::Tcp)),
        ("udp-service", Some('u'), Needed, Service(Protocol::Udp)),
        ("sctp-service", None, Needed, Service(Protocol::Sctp)),
        ("fwmark-service", Some('f'), Needed, Mark),
        ("ipv6", Some('6'), Value::None, Ipv6),
        ("scheduler", Some('s'), Needed, Once(K::Scheduler)),
        ("persistent", Some('p'), Possible, Once(K::Persistent)),
        ("netmask", Some('M'), Needed, Once(K::Netmask)),
        ("ops", Some('o'), Value::None, Once(K::OnePacket)),
        with("pe", K::Engine),
        ("sched-flags", Some('b'), Needed, Once(K::SchedulerFlags)),
        ("real-server", Some('r'), Needed, Once(K::RealServer)),
        (
            "gatewaying",
            Some('g'),
            Value::None,
            Forwarding(Method::Direct),
        ),
        ("ipip", Some('i'), Value::None, Forwarding(Method::Tunnel)),
        (
            "masquerading",
            Some('m'),
            Value::None,
            Forwarding(Method::Nat),
        ),
        ("weight", Some('w'), Needed, Once(K::Weight)),
        ("u-threshold", Some('x'), Needed, Once(K::UpperThreshold)),
        ("l-threshold", Some('y'), Needed, Once(K::LowerThreshold)),
        with("tun-type", K::TunType),
        with("tun-port", K::TunPort),
        flag("tun-nocsum", K::TunNocsum),
        flag("tun-csum", K::TunCsum),
        flag("tun-remcsum", K::TunRemcsum),
        ("numeric", Some('n'), Value::None, Once(K::Numeric)),
        ("connection", Some('c'), Value::None, Once(K::Connection)),
        flag("timeout", K::Timeout),
        flag("daemon", K::Daemon),
        flag("stats", K::Stats),
        flag("rate", K::Rate),
        ("exact", Some('X'), Value::None, Once(K::Exact)),
        flag("thresholds", K::Thresholds),
        flag("persistent-conn", K::PersistentConn),
        flag("tun-info", K::TunInfo),
        flag("nosort", K::NoSort),
        ("sort", None, Value::None, Sort),
        with("mcast-interface", K::McastInterface),
        with("syncid", K::SyncId),
        with("sync-maxlen", K::SyncMaxlen),
        with("mcast-group", K::McastGroup),
        with("mcast-port", K::McastPort),
        with("mcast-ttl", K::McastTtl),
    ]
};

/// Why an option cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    Unknown,
    NoValue,
    UnwantedValue,
}

impl Unreadable {
    /// In the words of popt.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown option",
            Self::NoValue => "missing argument",
            Self::UnwantedValue => "option does not take an argument",
        }
    }
}

/// A command line on its way through.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    words: &'a [String],
    next: usize,
    /// What is left of a word of short options.
    cluster: &'a str,
    /// `--` was there: nothing more is an option.
    is_literal: bool,
    left_over: Vec<&'a str>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(words: &'a [String]) -> Self {
        Self {
            words,
            next: 0,
            cluster: "",
            is_literal: false,
            left_over: Vec::new(),
        }
    }

    /// The next option and its value.
    pub(super) fn option(&mut self) -> Option<Result<(Tag, Option<&'a str>), Unreadable>> {
        loop {
            if let Some(short) = self.cluster.chars().next() {
                let rest = &self.cluster[short.len_utf8()..];
                self.cluster = "";
                return Some(self.short(short, rest));
            }
            let word = self.word()?;
            match word.strip_prefix("--") {
                _ if self.is_literal => self.left_over.push(word),
                Some("") => self.is_literal = true,
                Some(long) => return Some(self.long(long)),
                None => match word.strip_prefix('-') {
                    None | Some("") => self.left_over.push(word),
                    Some(cluster) => self.cluster = cluster,
                },
            }
        }
    }

    /// The word that was read last, by which popt tells what was wrong.
    pub(super) fn last(&self) -> &'a str {
        let last = self.next.checked_sub(1);
        last.and_then(|last| self.words.get(last))
            .map_or("", String::as_str)
    }

    /// The words that are no options.
    pub(super) fn left_over(self) -> Vec<&'a str> {
        self.left_over
    }

    fn word(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    fn long(&mut self, text: &'a str) -> Result<(Tag, Option<&'a str>), Unreadable> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let (.., takes, tag) = OPTIONS
            .iter()
            .find(|(long, ..)| *long == name)
            .ok_or(Unreadable::Unknown)?;
        match (takes, value) {
            (Value::None, Some(_)) => Err(Unreadable::UnwantedValue),
            (Value::None, None) => Ok((*tag, None)),
            (Value::Needed | Value::Possible, Some(value)) => Ok((*tag, Some(value))),
            (Value::Needed | Value::Possible, None) => self.value(*takes, *tag),
        }
    }

    fn short(&mut self, name: char, rest: &'a str) -> Result<(Tag, Option<&'a str>), Unreadable> {
        let (.., takes, tag) = OPTIONS
            .iter()
            .find(|(_, short, ..)| *short == Some(name))
            .ok_or(Unreadable::Unknown)?;
        match takes {
            Value::None if rest.starts_with('=') => Err(Unreadable::UnwantedValue),
            Value::None => {
                self.cluster = rest;
                Ok((*tag, None))
            }
            Value::Needed | Value::Possible if rest.is_empty() => self.value(*takes, *tag),
            Value::Needed | Value::Possible => {
                Ok((*tag, Some(rest.strip_prefix('=').unwrap_or(rest))))
            }
        }
    }

    /// The value of an option that does not stand in its own word.
    fn value(&mut self, takes: Value, tag: Tag) -> Result<(Tag, Option<&'a str>), Unreadable> {
        let is_there = match self.words.get(self.next) {
            Some(word) => takes == Value::Needed || !word.starts_with('-'),
            None => false,
        };
        match is_there {
            true => Ok((tag, self.word())),
            false if takes == Value::Needed => Err(Unreadable::NoValue),
            false => Ok((tag, None)),
        }
    }
}
