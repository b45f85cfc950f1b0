//! Who is logged in. Sessions live in memory: a restart ends them all.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    role::Role,
    token::{Token, digest},
};

/// A session that asks for nothing ends after this time.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);

/// Every session ends after this time.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// So many sessions there may be; with one more the one ends that has been silent for longest.
const MOST: usize = 1_024;

/// So many of one user.
const MOST_OF_ONE: usize = 16;

/// So many words wait for the next page of a session; older ones are forgotten.
const MOST_NOTICES: usize = 8;

/// What is to be told on the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// It is done.
    Done(String),
    /// It was not done.
    Failed(String),
}

/// What a session is called among us: the digest of what the browser calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionId([u8; 32]);

impl SessionId {
    fn of(cookie: &str) -> Self {
        Self(digest(cookie.as_bytes()))
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) user: String,
    pub(super) role: Role,
    /// What every form of this session has to bring back.
    pub(super) csrf: Token,
    /// What the password file said of the user at login; another line ends the session.
    pub(super) entry: [u8; 32],
}

#[derive(Debug)]
struct Kept {
    session: Session,
    born: Instant,
    seen: Instant,
    address: IpAddr,
    notices: Vec<Notice>,
}

impl Kept {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.seen + IDLE || now >= self.born + LONGEST
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionId, Kept>>);

impl Sessions {
    /// Begins a session. What its cookie says.
    pub(super) fn begin(
        &self,
        user: &str,
        role: Role,
        entry: [u8; 32],
        address: IpAddr,
        now: Instant,
    ) -> anyhow::Result<Token> {
        let cookie = Token::draw()?;
        let session = Session {
            id: SessionId::of(cookie.as_str()),
            user: user.to_owned(),
            role,
            csrf: Token::draw()?,
            entry,
        };
        let mut kept = self.kept();
        kept.retain(|_, kept| !kept.is_over(now));
        let of_user = kept
            .values()
            .filter(|kept| kept.session.user == user)
            .count();
        if of_user >= MOST_OF_ONE {
            drop_oldest(&mut kept, |kept| kept.session.user == user);
        }
        if kept.len() >= MOST {
            drop_oldest(&mut kept, |_| true);
        }
        let begun = Kept {
            born: now,
            seen: now,
            address,
            notices: Vec::new(),
            session,
        };
        kept.insert(begun.session.id, begun);
        Ok(cookie)
    }

    /// The session with this cookie, which is not idle any more.
    pub(super) fn find(&self, cookie: &str, now: Instant) -> Option<Session> {
        let id = SessionId::of(cookie);
        let mut kept = self.kept();
        let found = kept.get_mut(&id)?;
        if found.is_over(now) {
            kept.remove(&id);
            return None;
        }
        found.seen = now;
        Some(found.session.clone())
    }

    /// The same for what is asked without its user doing anything: it gets idle nevertheless.
    pub(super) fn look(&self, cookie: &str, now: Instant) -> Option<Session> {
        let kept = self.kept();
        let found = kept.get(&SessionId::of(cookie))?;
        (!found.is_over(now)).then(|| found.session.clone())
    }

    /// Whether a session goes on; that it is asked for is no sign of its user.
    pub(super) fn goes_on(&self, id: SessionId, now: Instant) -> bool {
        self.kept().get(&id).is_some_and(|kept| !kept.is_over(now))
    }

    /// Ends a session.
    pub(super) fn end(&self, id: SessionId) {
        self.kept().remove(&id);
    }

    /// Something is to be told on the next page.
    pub(super) fn tell(&self, id: SessionId, notice: Notice) {
        if let Some(kept) = self.kept().get_mut(&id) {
            if kept.notices.len() == MOST_NOTICES {
                kept.notices.remove(0);
            }
            kept.notices.push(notice);
        }
    }

    /// What is to be told, which is told once.
    pub(super) fn told(&self, id: SessionId) -> Vec<Notice> {
        let mut kept = self.kept();
        kept.get_mut(&id)
            .map(|kept| std::mem::take(&mut kept.notices))
            .unwrap_or_default()
    }

    /// Who is logged in: users, from where, and for how long.
    pub(super) fn present(&self, now: Instant) -> Vec<(String, Role, IpAddr, Duration)> {
        let kept = self.kept();
        let present = kept.values().filter(|kept| !kept.is_over(now)).map(|kept| {
            let Session { user, role, .. } = &kept.session;
            (user.clone(), *role, kept.address, now - kept.born)
        });
        let mut present: Vec<_> = present.collect();
        present.sort();
        present
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<SessionId, Kept>> {
        // Whoever panicked with it in hand left it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drop_oldest(kept: &mut HashMap<SessionId, Kept>, which: impl Fn(&Kept) -> bool) {
    let oldest = kept
        .iter()
        .filter(|(_, kept)| which(kept))
        .min_by_key(|(_, kept)| kept.seen)
        .map(|(id, _)| *id);
    if let Some(id) = oldest {
        kept.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn begin(sessions: &Sessions, user: &str, now: Instant) -> Token {
        sessions
            .begin(user, Role::Viewer, [0; 32], HERE, now)
            .unwrap()
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_at_last_anyway() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let minute = Duration::from_secs(60);
        let cookie = begin(&sessions, "ada", start);
        let idle = begin(&sessions, "ada", start);
        let mut now = start;
        while now < start + LONGEST {
            assert!(
                sessions.find(cookie.as_str(), now).is_some(),
                "{:?}",
                now - start
            );
            now += 20 * minute;
        }
        assert!(sessions.find(cookie.as_str(), now).is_none());
        assert!(sessions.find(idle.as_str(), start + 30 * minute).is_none());
        assert!(sessions.find("", start).is_none());
        assert!(sessions.kept().is_empty());
    }

    #[test]
    fn looking_on_does_not_keep_a_session() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let cookie = begin(&sessions, "ada", start);
        let id = sessions.find(cookie.as_str(), start).unwrap().id;
        assert!(sessions.goes_on(id, start + IDLE / 2));
        assert!(!sessions.goes_on(id, start + IDLE));
        sessions.end(id);
        assert!(!sessions.goes_on(id, start));
    }

    #[test]
    fn there_are_never_too_many() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let first = begin(&sessions, "ada", start);
        for number in 0..MOST as u64 {
            let user = format!("user{}", number % 200);
            begin(&sessions, &user, start + Duration::from_millis(number + 1));
        }
        assert_eq!(sessions.kept().len(), MOST);
        assert!(sessions.find(first.as_str(), start).is_none());
        for _ in 0..100 {
            begin(&sessions, "ada", start + IDLE / 2);
        }
        let of_ada = |kept: &&Kept| kept.session.user == "ada";
        assert_eq!(sessions.kept().values().filter(of_ada).count(), MOST_OF_ONE);
    }

    #[test]
    fn what_is_told_is_told_once() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let cookie = begin(&sessions, "ada", now);
        let id = sessions.find(cookie.as_str(), now).unwrap().id;
        for number in 0..10 {
            sessions.tell(id, Notice::Done(number.to_string()));
        }
        let told = sessions.told(id);
        assert_eq!(told.len(), MOST_NOTICES);
        assert_eq!(told.last(), Some(&Notice::Done("9".to_owned())));
        assert!(sessions.told(id).is_empty());
    }
}
