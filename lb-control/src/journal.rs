//! The journal: what happened, told once, to the log and to those who ask the daemon.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{Level, error, field::display, info, warn};
use utoipa::ToSchema;

use crate::model::ServiceId;

/// How many entries are kept.
pub const KEPT: usize = 1_000;

/// Of what comes in a flood, so many are told one by one.
const ONE_BY_ONE: usize = 100;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Event)]
pub struct Entry {
    /// Goes up by one with each event; over a restart of the daemon it goes up too, by more than that.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// What kind of thing it is.
    pub kind: Kind,
    /// The service that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The real server of it that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.0.0.11:80")]
    pub server: Option<SocketAddr>,
    /// Who wanted it: the peer of the socket as the kernel knows it, or `SIGHUP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// What happened, in one line, for people.
    pub text: String,
}

/// What kind of thing happened.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schema(as = EventKind)]
pub enum Kind {
    /// The daemon runs.
    Started,
    /// The daemon is about to end.
    Stopping,
    /// The program is on an interface.
    Attached,
    /// The program cannot be put on an interface.
    NotAttached,
    /// A virtual address was put on an interface, or taken off.
    Address,
    /// A real server's check is good, or a failover service runs.
    ServerUp,
    /// A real server's check fails, or a failover service does.
    ServerDown,
    /// An operator says what is to become of a real server.
    Ordered,
    /// A real server may finish what it has.
    Leaving,
    /// A real server that might finish leaves the table.
    Left,
    /// The sorry server of a service stands in, or steps back.
    Sorry,
    /// Something of the table is different, by command or by reload.
    Changed,
    /// Counters begin anew.
    Zeroed,
    /// lvs.cf was read again.
    Reloaded,
    /// lvs.cf was read again, and is not fit to be used.
    ReloadRefused,
    /// The decision log was switched on or off.
    Logging,
    /// This node became active, or announced its addresses again.
    Active,
    /// This node is no longer active.
    Standby,
    /// The partner, a path to it, or what keeps this node from being active.
    Pair,
    /// A program ran that lvs.cf names for a change of part, or for a failover service.
    Command,
    /// Something that is wanted cannot be done now; it is tried again.
    Trouble,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Started,
        Self::Stopping,
        Self::Attached,
        Self::NotAttached,
        Self::Address,
        Self::ServerUp,
        Self::ServerDown,
        Self::Ordered,
        Self::Leaving,
        Self::Left,
        Self::Sorry,
        Self::Changed,
        Self::Zeroed,
        Self::Reloaded,
        Self::ReloadRefused,
        Self::Logging,
        Self::Active,
        Self::Standby,
        Self::Pair,
        Self::Command,
        Self::Trouble,
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Attached => "attached",
            Self::NotAttached => "not-attached",
            Self::Address => "address",
            Self::ServerUp => "server-up",
            Self::ServerDown => "server-down",
            Self::Ordered => "ordered",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Sorry => "sorry",
            Self::Changed => "changed",
            Self::Zeroed => "zeroed",
            Self::Reloaded => "reloaded",
            Self::ReloadRefused => "reload-refused",
            Self::Logging => "logging",
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Pair => "pair",
            Self::Command => "command",
            Self::Trouble => "trouble",
        }
    }

    /// How the log takes it.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Started
            | Self::Stopping
            | Self::Attached
            | Self::Address
            | Self::ServerUp
            | Self::Ordered
            | Self::Leaving
            | Self::Left
            | Self::Changed
            | Self::Zeroed
            | Self::Reloaded
            | Self::Logging
            | Self::Active
            | Self::Standby
            | Self::Pair
            | Self::Command => Level::INFO,
            Self::ServerDown | Self::Sorry | Self::Trouble => Level::WARN,
            Self::NotAttached | Self::ReloadRefused => Level::ERROR,
        }
    }
}

/// What something is about, and who wanted it.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    service: Option<ServiceId>,
    server: Option<SocketAddr>,
    who: Option<&'a str>,
}

impl<'a> About<'a> {
    /// Nothing in particular.
    pub const ALL: Self = Self {
        service: None,
        server: None,
        who: None,
    };

    /// A service.
    #[must_use]
    pub const fn service(service: ServiceId) -> Self {
        Self {
            service: Some(service),
            ..Self::ALL
        }
    }

    /// A real server of a service.
    #[must_use]
    pub const fn server(service: ServiceId, server: SocketAddr) -> Self {
        Self {
            service: Some(service),
            server: Some(server),
            who: None,
        }
    }

    /// The same, and this is who wanted it.
    #[must_use]
    pub const fn by(self, who: &'a str) -> Self {
        Self {
            who: Some(who),
            ..self
        }
    }
}

/// Where everybody tells what happened. Clones are the same journal.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    /// The number of the last entry.
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    next: u64,
    entries: VecDeque<Entry>,
    tallies: BTreeMap<Kind, Tally>,
}

/// How often something of a kind happened, and when last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often since the daemon started.
    pub count: u64,
    /// In milliseconds since 1970.
    pub last: u64,
}

/// Part of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Events)]
pub struct Page {
    /// The events asked for, the oldest first.
    pub events: Vec<Entry>,
    /// The number of the oldest one that is kept: whoever has read up to an earlier one has missed some.
    pub oldest: u64,
    /// The number of the newest one.
    pub newest: u64,
}

impl Default for Journal {
    /// One that begins now.
    fn default() -> Self {
        let kept = Kept {
            // Microseconds since 1970: a later daemon begins with a higher number than this one can reach, and
            // all of them are exact in JSON.
            next: since_1970().as_micros().try_into().unwrap_or(0) + 1,
            entries: VecDeque::new(),
            tallies: BTreeMap::new(),
        };
        Self(Arc::new(Shared {
            last: watch::Sender::new(kept.next - 1),
            kept: Mutex::new(kept),
        }))
    }
}

impl Journal {
    /// Tells what happened: to the log now, to whoever asks later.
    pub fn tell(&self, kind: Kind, about: About<'_>, text: impl Into<String>) {
        let text = text.into();
        let About {
            service,
            server,
            who,
        } = about;
        let (said_of, said_to) = (service.map(display), server.map(display));
        match kind.level() {
            Level::ERROR => error!(service = said_of, server = said_to, who, "{text}"),
            Level::WARN => warn!(service = said_of, server = said_to, who, "{text}"),
            _ => info!(service = said_of, server = said_to, who, "{text}"),
        }
        let time = since_1970().as_millis().try_into().unwrap_or(u64::MAX);
        let mut kept = self.kept();
        let number = kept.next;
        kept.next += 1;
        let tally = kept.tallies.entry(kind).or_default();
        tally.count += 1;
        tally.last = time;
        if kept.entries.len() == KEPT {
            kept.entries.pop_front();
        }
        kept.entries.push_back(Entry {
            number,
            time,
            kind,
            service,
            server,
            who: who.map(str::to_owned),
            text,
        });
        drop(kept);
        self.0.last.send_replace(number);
    }

    /// Tells of many things of a kind; of a flood, of its beginning and how many more there are.
    pub fn tell_all(&self, kind: Kind, about: About<'_>, texts: &[impl ToString]) {
        for text in texts.iter().take(ONE_BY_ONE) {
            self.tell(kind, about, text.to_string());
        }
        if let Some(more) = texts.len().checked_sub(ONE_BY_ONE).filter(|more| *more > 0) {
            self.tell(kind, about, format!("and {more} more"));
        }
    }

    /// Up to so many of the entries after this number, the oldest first; without a number, the newest ones.
    #[must_use]
    pub fn page(&self, after: Option<u64>, at_most: usize) -> Page {
        let kept = self.kept();
        let entries = &kept.entries;
        let newest = kept.next - 1;
        let first = match after {
            // It is of a daemon whose clock was ahead.
            Some(number) if number > newest => 0,
            Some(number) => entries.partition_point(|entry| entry.number <= number),
            None => entries.len().saturating_sub(at_most),
        };
        Page {
            events: entries.iter().skip(first).take(at_most).cloned().collect(),
            oldest: entries.front().map_or(newest, |entry| entry.number),
            newest,
        }
    }

    /// How often which kinds of things have happened.
    #[must_use]
    pub fn tallies(&self) -> BTreeMap<Kind, Tally> {
        self.kept().tallies.clone()
    }

    /// Waits until the last entry is not the one with this number.
    pub async fn wait(&self, after: u64) {
        let mut last = self.0.last.subscribe();
        // It cannot be closed while this journal is there.
        let _ = last.wait_for(|last| *last != after).await;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked with it in hand left it whole.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Entry {
    /// One line: when, what kind, what it is about, what happened, who wanted it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:<14}", Utc(self.time), self.kind.name())?;
        if let Some(service) = self.service {
            write!(f, " {service}")?;
        }
        if let Some(server) = self.server {
            write!(f, " {server}")?;
        }
        write!(f, " {}", self.text)?;
        match &self.who {
            Some(who) => write!(f, " ({who})"),
            None => Ok(()),
        }
    }
}

/// A time in milliseconds since 1970, written as in the log (RFC 3339).
pub(crate) struct Utc(pub(crate) u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1_000, self.0 % 1_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Years that begin in March have the odd day at their end; 400 of them are always 146,097 days.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        let (year, month) = match month {
            0..10 => (era * 400 + year, month + 3),
            _ => (era * 400 + year + 1, month - 9),
        };
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "people read when it was, and certificates end by it"
)]
pub(crate) fn since_1970() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(journal: &Journal, count: usize) {
        for number in 0..count {
            journal.tell(Kind::Changed, About::ALL, format!("{number}"));
        }
    }

    fn texts(page: &Page) -> Vec<&str> {
        page.events.iter().map(|entry| &*entry.text).collect()
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let journal = Journal::default();
        let nothing = journal.page(None, 10);
        assert_eq!((nothing.events.len(), nothing.oldest), (0, nothing.newest));
        numbered(&journal, 5);

        let newest = journal.page(None, 2);
        assert_eq!(texts(&newest), ["3", "4"]);
        assert_eq!(newest.newest, newest.oldest + 4);

        let first = journal.page(Some(0), 3);
        assert_eq!(texts(&first), ["0", "1", "2"]);
        let then = journal.page(Some(first.events[2].number), 3);
        assert_eq!(texts(&then), ["3", "4"]);
        assert!(journal.page(Some(then.newest), 3).events.is_empty());
    }

    #[test]
    fn the_oldest_make_room() {
        let journal = Journal::default();
        numbered(&journal, KEPT + 3);
        let page = journal.page(Some(0), usize::MAX);
        assert_eq!(page.events.len(), KEPT);
        assert_eq!(page.events[0].text, "3");
        assert_eq!(page.oldest, page.events[0].number);
        let tally = journal.tallies()[&Kind::Changed];
        assert_eq!(tally.count, KEPT as u64 + 3);
    }

    #[test]
    fn a_flood_is_told_by_its_beginning() {
        for (count, told, last) in [(100, 100, "99"), (101, 101, "and 1 more")] {
            let journal = Journal::default();
            let texts: Vec<_> = (0..count).collect();
            journal.tell_all(Kind::Changed, About::ALL, &texts);
            let page = journal.page(None, KEPT);
            assert_eq!(page.events.len(), told, "{count}");
            assert_eq!(page.events[told - 1].text, last, "{count}");
        }
    }

    #[test]
    fn a_later_journal_has_higher_numbers() {
        let before = Journal::default();
        numbered(&before, 3);
        let begun = since_1970().as_millis();
        while since_1970().as_millis() == begun {}
        let after = Journal::default();
        assert!(after.page(None, 1).newest > before.page(None, 1).newest);
    }

    #[test]
    fn times_are_written_as_in_the_log() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_868_799_000, "2000-02-29T23:59:59.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_767_225_599_500, "2025-12-31T23:59:59.500Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_001, "2100-03-01T00:00:00.001Z"),
        ];
        for (time, text) in table {
            assert_eq!(Utc(time).to_string(), text);
        }
    }

    #[test]
    fn kinds_are_written_as_they_are_named() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name(), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn whoever_waits_is_told() {
        let journal = Journal::default();
        let newest = journal.page(None, 1).newest;
        let (other, waiting) = (journal.clone(), journal.clone());
        let waiter = tokio::spawn(async move { waiting.wait(newest).await });
        other.tell(Kind::Started, About::ALL, "now");
        waiter.await.unwrap();
        assert_eq!(texts(&journal.page(Some(newest), 1)), ["now"]);
    }
}
