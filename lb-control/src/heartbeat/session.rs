//! Which messages are the partner's, and new. No clock decides that: a message is known by the run of the daemon that
//! sent it (its epoch) and its counter, and a new epoch is believed when it answers to what this node has said since
//! it last believed anything, which nobody can have recorded.

use std::time::Duration;

use super::{
    key::Key,
    machine::{Heard, Node, Say},
    wire::{Authentication, Malformed, Message, Path, Stamp, milliseconds, nanoseconds},
};

/// What a node says of itself in every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Which of the two it is.
    pub node: Node,
    /// Time between two messages.
    pub keepalive: Duration,
    /// How long its lease is good.
    pub deadtime: Duration,
    /// What its lvs.cf comes down to.
    pub config: u64,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is news of the partner.
    News {
        /// What the machine is to know.
        heard: Heard,
        /// The message.
        message: Message,
        /// The partner's daemon was started since.
        is_new: bool,
    },
    /// It is what came by the other path too.
    Known,
    /// It is signed as it should be, and may be new or recorded: it is believed when it answers to what is sent now.
    Stranger,
}

/// Why a datagram is not heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It was sent on the other network.
    #[error("heartbeat of the other path")]
    Path,
    /// It is our own.
    #[error("our own heartbeat came back")]
    Reflected,
    /// It was heard before.
    #[error("a heartbeat was heard twice, or came late")]
    Replayed,
}

/// A conversation with the partner.
#[derive(Debug)]
pub struct Session {
    profile: Profile,
    keys: Vec<Key>,
    authentication: Authentication,
    /// Of the last message that was sent.
    sent: Stamp,
    /// Of the last message of the partner, as believed.
    partner: Stamp,
    /// Its epoch, even if it is not answered to any more.
    epoch: u64,
    /// The last counter of the partner by each path, and over both.
    counters: [u64; 2],
    newest: u64,
    /// Of the last message of somebody else.
    stranger: Stamp,
    /// The highest own counter that was answered to.
    answered: u64,
}

impl Session {
    /// One that begins now. The epoch is random and not 0.
    #[must_use]
    pub fn new(
        epoch: u64,
        profile: Profile,
        keys: Vec<Key>,
        authentication: Authentication,
    ) -> Self {
        Self {
            profile,
            keys,
            authentication,
            sent: Stamp {
                epoch,
                counter: 0,
                time: 0,
            },
            partner: Stamp::default(),
            epoch: 0,
            counters: [0; 2],
            newest: 0,
            stranger: Stamp::default(),
            answered: 0,
        }
    }

    /// Other terms and keys hold from now on.
    pub fn amend(&mut self, profile: Profile, keys: Vec<Key>, authentication: Authentication) {
        self.profile = profile;
        self.keys = keys;
        self.authentication = authentication;
    }

    /// The messages to send now, one for each path.
    pub fn write(&mut self, say: &Say, hears: [bool; 2], now: Duration) -> [Vec<u8>; 2] {
        self.sent.counter += 1;
        self.sent.time = nanoseconds(now);
        let key = self
            .keys
            .first()
            .filter(|_| self.authentication != Authentication::Receive);
        Path::ALL.map(|path| {
            let message = Message {
                path,
                role: say.role,
                fit: say.fit,
                wants_answer: say.wants_answer,
                is_primary: self.profile.node == Node::Primary,
                hears,
                capabilities: 0,
                keepalive: milliseconds(self.profile.keepalive),
                deadtime: milliseconds(self.profile.deadtime),
                back_within: milliseconds(say.back_within),
                config: self.profile.config,
                stamp: self.sent,
                echo: self.partner,
                hello: self.stranger,
            };
            message.encode(key)
        })
    }

    /// A datagram has come by a path.
    ///
    /// # Errors
    /// If it is not heeded.
    pub fn read(&mut self, path: Path, bytes: &[u8]) -> Result<Accepted, Rejected> {
        let message = Message::decode(bytes, &self.keys, self.authentication)?;
        if message.path != path {
            return Err(Rejected::Path);
        }
        let stamp = message.stamp;
        if stamp.epoch == self.sent.epoch || stamp.epoch == 0 {
            return Err(Rejected::Reflected);
        }
        let own =
            |stamp: &&Stamp| stamp.epoch == self.sent.epoch && stamp.counter <= self.sent.counter;
        let answer = [message.echo, message.hello]
            .iter()
            .filter(own)
            .max_by_key(|it| it.counter)
            .copied();
        let is_new = stamp.epoch != self.epoch;
        if is_new {
            if answer.is_none_or(|answer| answer.counter <= self.answered) {
                self.stranger = stamp;
                return Ok(Accepted::Stranger);
            }
            self.epoch = stamp.epoch;
            self.counters = [0; 2];
            self.newest = 0;
            self.stranger = Stamp::default();
        }
        if let Some(counter) = self.counters.get_mut(path.index()) {
            if stamp.counter <= *counter {
                return Err(Rejected::Replayed);
            }
            *counter = stamp.counter;
        }
        if stamp.counter <= self.newest {
            return Ok(Accepted::Known);
        }
        self.newest = stamp.counter;
        self.partner = stamp;
        self.answered = self.answered.max(answer.map_or(0, |answer| answer.counter));
        let outranks = match (message.is_primary, self.profile.node) {
            (true, Node::Backup) => true,
            (false, Node::Primary) => false,
            // Both files say the same of themselves.
            (true, Node::Primary) | (false, Node::Backup) => stamp.epoch < self.sent.epoch,
        };
        let heard = Heard {
            role: message.role,
            fit: message.fit,
            outranks,
            wants_answer: message.wants_answer,
            deadtime: Duration::from_millis(message.deadtime.into()),
            back_within: Duration::from_millis(message.back_within.into()),
            answers: answer.map(|answer| Duration::from_nanos(answer.time)),
        };
        Ok(Accepted::News {
            heard,
            message,
            is_new,
        })
    }

    /// This node did not run for a while: what it heard before is nothing to answer to.
    pub fn slept(&mut self) {
        self.partner = Stamp::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::machine::Role, *};

    const KEY: &str = "1:000102030405060708090a0b0c0d0e0f";
    const SAY: Say = Say {
        role: Role::Standby,
        fit: true,
        wants_answer: false,
        back_within: Duration::ZERO,
    };

    fn session(epoch: u64, node: Node) -> Session {
        let profile = Profile {
            node,
            keepalive: Duration::from_millis(200),
            deadtime: Duration::from_millis(700),
            config: 1,
        };
        let keys = vec![Key::parse(KEY).unwrap()];
        Session::new(epoch, profile, keys, Authentication::Enforce)
    }

    fn write(session: &mut Session) -> [Vec<u8>; 2] {
        session.write(&SAY, [true; 2], Duration::from_secs(9))
    }

    fn is_news(read: Result<Accepted, Rejected>) -> bool {
        matches!(read, Ok(Accepted::News { .. }))
    }

    /// Both believe each other after a message there, one back, and one there.
    fn introduce(one: &mut Session, other: &mut Session) {
        let [hello, _] = write(one);
        assert_eq!(other.read(Path::Public, &hello), Ok(Accepted::Stranger));
        let [answer, _] = write(other);
        assert!(is_news(one.read(Path::Public, &answer)));
        let [hello, _] = write(one);
        assert!(is_news(other.read(Path::Public, &hello)));
    }

    #[test]
    fn an_epoch_is_believed_when_it_answers() {
        let (mut one, mut other) = (session(1, Node::Primary), session(2, Node::Backup));
        introduce(&mut one, &mut other);
        let [public, private] = write(&mut other);
        assert!(is_news(one.read(Path::Public, &public)));
        assert_eq!(one.read(Path::Private, &private), Ok(Accepted::Known));
    }

    #[test]
    fn what_was_recorded_is_not_believed() {
        let (mut one, mut other) = (session(1, Node::Primary), session(2, Node::Backup));
        introduce(&mut one, &mut other);
        let [recorded, _] = write(&mut other);
        assert!(is_news(one.read(Path::Public, &recorded)));
        assert_eq!(one.read(Path::Public, &recorded), Err(Rejected::Replayed));
        let [withheld, _] = write(&mut other);
        let [later, _] = write(&mut other);
        assert!(is_news(one.read(Path::Public, &later)));
        assert_eq!(one.read(Path::Public, &withheld), Err(Rejected::Replayed));
        assert_eq!(one.read(Path::Private, &later), Err(Rejected::Path));

        // The partner starts anew; what its first run said is not believed any more.
        let mut again = session(3, Node::Backup);
        introduce(&mut again, &mut one);
        for old in [&recorded, &withheld, &later] {
            assert_eq!(one.read(Path::Public, old), Ok(Accepted::Stranger));
        }
        // Nor by this node, when it starts anew.
        let mut anew = session(4, Node::Primary);
        for old in [&recorded, &withheld, &later] {
            assert_eq!(anew.read(Path::Public, old), Ok(Accepted::Stranger));
        }
        // That somebody repeats them does not keep the partner from being believed.
        let [news, _] = write(&mut again);
        assert!(is_news(one.read(Path::Public, &news)));
        let [own, _] = write(&mut one);
        assert_eq!(one.read(Path::Public, &own), Err(Rejected::Reflected));
    }

    #[test]
    fn after_a_sleep_nothing_is_answered_to_until_it_is_heard_anew() {
        let (mut one, mut other) = (session(1, Node::Primary), session(2, Node::Backup));
        introduce(&mut one, &mut other);
        other.slept();
        let [message, _] = write(&mut other);
        let Ok(Accepted::News { heard, .. }) = one.read(Path::Public, &message) else {
            panic!("it is the same epoch");
        };
        assert_eq!(heard.answers, None);
    }

    #[test]
    fn keys_change_without_a_silence() {
        let keys = |ids: &[u8]| -> Vec<Key> {
            ids.iter()
                .map(|id| Key::parse(&format!("{id}:{}", "ab".repeat(16))).unwrap())
                .collect()
        };
        let (mut one, mut other) = (session(1, Node::Primary), session(2, Node::Backup));
        let steps: [(&[u8], &[u8]); 6] = [
            (&[1], &[1]),
            (&[1, 2], &[1]),
            (&[1, 2], &[1, 2]),
            (&[2, 1], &[1, 2]),
            (&[2, 1], &[2, 1]),
            (&[2], &[2]),
        ];
        for (number, (first, second)) in steps.into_iter().enumerate() {
            let (profile, other_profile) = (one.profile, other.profile);
            one.amend(profile, keys(first), Authentication::Enforce);
            other.amend(other_profile, keys(second), Authentication::Enforce);
            if number == 0 {
                introduce(&mut one, &mut other);
            }
            let [there, _] = write(&mut one);
            assert!(is_news(other.read(Path::Public, &there)), "step {number}");
            let [back, _] = write(&mut other);
            assert!(is_news(one.read(Path::Public, &back)), "step {number}");
        }
    }

    #[test]
    fn signatures_are_rolled_out_without_a_silence() {
        use Authentication::{Enforce, Permissive, Receive};
        let key = || vec![Key::parse(KEY).unwrap()];
        let (mut one, mut other) = (session(1, Node::Primary), session(2, Node::Backup));
        let steps = [
            (Vec::new(), Enforce, Vec::new(), Enforce),
            (key(), Receive, Vec::new(), Enforce),
            (key(), Receive, key(), Receive),
            (key(), Permissive, key(), Receive),
            (key(), Permissive, key(), Permissive),
            (key(), Enforce, key(), Permissive),
            (key(), Enforce, key(), Enforce),
        ];
        for (number, (first, how, second, other_how)) in steps.into_iter().enumerate() {
            let (profile, other_profile) = (one.profile, other.profile);
            one.amend(profile, first, how);
            other.amend(other_profile, second, other_how);
            if number == 0 {
                introduce(&mut one, &mut other);
            }
            let [there, _] = write(&mut one);
            assert!(is_news(other.read(Path::Public, &there)), "step {number}");
            let [back, _] = write(&mut other);
            assert!(is_news(one.read(Path::Public, &back)), "step {number}");
        }
    }
}
