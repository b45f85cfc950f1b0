//! Our heartbeat on the wire. All numbers are big-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 | magic, `LBHB` |
//! | 4 | version, 1 |
//! | 5 | number of the key that has signed it; 0 if it is not signed |
//! | 6 | path that it was sent on: 0 public, 1 private |
//! | 7 | role: 0 starting, 1 standby, 2 active, 3 leaving, 4 yielding, 5 goodbye, 6 absent |
//! | 8 | flags: 1 fit, 2 wants an answer, 4 primary, 8 hears the public path, 16 hears the private path |
//! | 10 | capabilities: none yet |
//! | 12 | `keepalive` in milliseconds |
//! | 16 | `deadtime` in milliseconds: how long the sender's lease is good from now on |
//! | 20 | back within so many milliseconds, if absent |
//! | 24 | hash of lvs.cf |
//! | 32 | stamp of this message: epoch, counter, time, 8 bytes each |
//! | 56 | stamp of the last message of the partner, as believed; zeros if there is none |
//! | 80 | stamp of the last message of somebody who is not believed yet; zeros if there is none |
//! | 104 | what later versions of 1 have besides; a receiver skips it |
//! | end - 32 | HMAC-SHA256 of everything before, if there is a key |
//!
//! An epoch is random and drawn when a daemon starts; the counter goes up with each message; the time is the
//! sender's own, means nothing to others and comes back in the stamps of the partner.

use std::time::Duration;

use super::{
    key::{Key, SIGNATURE},
    machine::Role,
};

const MAGIC: &[u8; 4] = b"LBHB";
const VERSION: u8 = 1;

/// How long a message is without its signature.
pub const LENGTH: usize = 104;

/// No message is longer.
pub const LONGEST: usize = 512;

/// By which of two networks a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Between the real addresses.
    Public,
    /// Between the private ones.
    Private,
}

impl Path {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Public, Self::Private];

    /// Its place among both.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Public => 0,
            Self::Private => 1,
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// Which message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Of which run of the daemon; 0 for none.
    pub epoch: u64,
    /// The how manieth of it, from 1.
    pub counter: u64,
    /// When, by the sender's clock, in nanoseconds.
    pub time: u64,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The network that it goes by.
    pub path: Path,
    /// The part of the sender.
    pub role: Role,
    /// It may become active.
    pub fit: bool,
    /// It wants an answer at once.
    pub wants_answer: bool,
    /// It is the primary.
    pub is_primary: bool,
    /// On which networks it hears its partner.
    pub hears: [bool; 2],
    /// What it can do besides; bits that nobody has yet.
    pub capabilities: u16,
    /// Time between two messages, in milliseconds.
    pub keepalive: u32,
    /// How long its lease is good, in milliseconds.
    pub deadtime: u32,
    /// When it is back, in milliseconds.
    pub back_within: u32,
    /// What its lvs.cf comes down to.
    pub config: u64,
    /// Which message this is.
    pub stamp: Stamp,
    /// The last one of the partner.
    pub echo: Stamp,
    /// The last one of somebody who is not believed yet.
    pub hello: Stamp,
}

/// Why a datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is too short or too long.
    #[error("not as long as a heartbeat is")]
    Length,
    /// It does not begin as one does.
    #[error("not a heartbeat of ours; is `heartbeat_format` the same on both nodes?")]
    Magic,
    /// It is of another version.
    #[error("heartbeat of another version")]
    Version,
    /// It says what is not known.
    #[error("heartbeat with an unknown role or path")]
    Content,
    /// It is not signed, and has to be.
    #[error("heartbeat without a signature")]
    Unsigned,
    /// It is signed with a key that is not here.
    #[error("heartbeat signed with key {0}, which is not here")]
    Key(u8),
    /// It is not signed with the key that it names.
    #[error("heartbeat with a wrong signature")]
    Signature,
}

/// Which messages are believed and how own ones are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authentication {
    /// Own ones are not signed; others may be: the first step of a roll-out.
    Receive,
    /// Own ones are signed; others need not be: the second step.
    Permissive,
    /// Everything is signed, if there are keys.
    #[default]
    Enforce,
}

impl Message {
    /// As bytes, signed if there is a key.
    #[must_use]
    pub fn encode(&self, key: Option<&Key>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH + SIGNATURE);
        bytes.extend_from_slice(MAGIC);
        let id = key.map_or(0, |key| key.id);
        let path = match self.path {
            Path::Public => 0,
            Path::Private => 1,
        };
        bytes.extend([VERSION, id, path, role_number(self.role)]);
        let [public, private] = self.hears;
        let flags = [
            self.fit,
            self.wants_answer,
            self.is_primary,
            public,
            private,
        ];
        let bits = flags
            .iter()
            .enumerate()
            .map(|(bit, set)| u16::from(*set) << bit);
        bytes.extend(bits.sum::<u16>().to_be_bytes());
        bytes.extend(self.capabilities.to_be_bytes());
        for number in [self.keepalive, self.deadtime, self.back_within] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.config.to_be_bytes());
        for stamp in [self.stamp, self.echo, self.hello] {
            for number in [stamp.epoch, stamp.counter, stamp.time] {
                bytes.extend(number.to_be_bytes());
            }
        }
        if let Some(key) = key {
            let signature = key.sign(&bytes);
            bytes.extend(signature);
        }
        bytes
    }

    /// What a datagram says.
    ///
    /// # Errors
    /// If it is no message, or not one that may be believed.
    pub fn decode(
        bytes: &[u8],
        keys: &[Key],
        authentication: Authentication,
    ) -> Result<Self, Malformed> {
        if !(LENGTH..=LONGEST).contains(&bytes.len()) {
            return Err(Malformed::Length);
        }
        let mut reader = Reader(bytes);
        if reader.take::<4>()? != *MAGIC {
            return Err(Malformed::Magic);
        }
        let [version, id, path, role] = reader.take()?;
        if version != VERSION {
            return Err(Malformed::Version);
        }
        match id {
            0 if authentication == Authentication::Enforce && !keys.is_empty() => {
                return Err(Malformed::Unsigned);
            }
            0 => {}
            // Who has no keys cannot know; that is what `Enforce` is for on the other node.
            id => match keys.iter().find(|key| key.id == id) {
                None => return Err(Malformed::Key(id)),
                Some(key) => {
                    let (signed, signature) = bytes
                        .split_last_chunk::<SIGNATURE>()
                        .ok_or(Malformed::Length)?;
                    if signed.len() < LENGTH {
                        return Err(Malformed::Length);
                    }
                    if !key.has_signed(signed, signature) {
                        return Err(Malformed::Signature);
                    }
                }
            },
        }
        let path = match path {
            0 => Path::Public,
            1 => Path::Private,
            _ => return Err(Malformed::Content),
        };
        let role = role_of(role).ok_or(Malformed::Content)?;
        let flags = u16::from_be_bytes(reader.take()?);
        let has = |bit: u16| flags & (1 << bit) != 0;
        Ok(Self {
            path,
            role,
            fit: has(0),
            wants_answer: has(1),
            is_primary: has(2),
            hears: [has(3), has(4)],
            capabilities: u16::from_be_bytes(reader.take()?),
            keepalive: u32::from_be_bytes(reader.take()?),
            deadtime: u32::from_be_bytes(reader.take()?),
            back_within: u32::from_be_bytes(reader.take()?),
            config: u64::from_be_bytes(reader.take()?),
            stamp: reader.stamp()?,
            echo: reader.stamp()?,
            hello: reader.stamp()?,
        })
    }
}

/// In milliseconds, as a message has it.
#[must_use]
pub fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// In nanoseconds, as a stamp has it.
#[must_use]
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const ROLES: [Role; 7] = [
    Role::Starting,
    Role::Standby,
    Role::Active,
    Role::Leaving,
    Role::Yielding,
    Role::Goodbye,
    Role::Absent,
];

fn role_number(role: Role) -> u8 {
    let place = (0_u8..).zip(ROLES).find(|(_, one)| *one == role);
    place.map_or(0, |(number, _)| number)
}

fn role_of(number: u8) -> Option<Role> {
    ROLES.get(usize::from(number)).copied()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn stamp(&mut self) -> Result<Stamp, Malformed> {
        Ok(Stamp {
            epoch: u64::from_be_bytes(self.take()?),
            counter: u64::from_be_bytes(self.take()?),
            time: u64::from_be_bytes(self.take()?),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{
        super::piranha::{self, Services},
        *,
    };

    pub(crate) fn message() -> Message {
        Message {
            path: Path::Private,
            role: Role::Active,
            fit: true,
            wants_answer: false,
            is_primary: true,
            hears: [true, false],
            capabilities: 0,
            keepalive: 200,
            deadtime: 700,
            back_within: 0,
            config: 0x0123_4567_89ab_cdef,
            stamp: Stamp {
                epoch: 0x1111_1111_1111_1111,
                counter: 2,
                time: 3_000_000_000,
            },
            echo: Stamp {
                epoch: 0x2222_2222_2222_2222,
                counter: 5,
                time: 7_000_000_000,
            },
            hello: Stamp::default(),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The vectors of docs/failover.md.
    #[test]
    fn published_vectors() {
        let text = include_str!("../../../docs/failover.md");
        let vectors: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("vector "))
            .collect();
        let key = Key::parse("1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let key = key.unwrap();
        let goodbye = Message {
            path: Path::Public,
            role: Role::Goodbye,
            is_primary: false,
            hears: [true, true],
            hello: Stamp {
                epoch: 9,
                counter: 1,
                time: 4,
            },
            ..message()
        };
        let table = [
            ("plain", message().encode(None)),
            ("signed", message().encode(Some(&key))),
            ("goodbye", goodbye.encode(Some(&key))),
        ];
        let made: Vec<_> = table
            .iter()
            .map(|(name, it)| format!("{name} {}", hex(it)))
            .collect();
        assert_eq!(vectors, made);
    }

    #[test]
    fn what_is_written_is_read() {
        let key = Key::parse("3:000102030405060708090a0b0c0d0e0f").unwrap();
        for role in ROLES {
            for key in [None, Some(&key)] {
                let message = Message { role, ..message() };
                let mut bytes = message.encode(key);
                let keys: Vec<_> = key.into_iter().cloned().collect();
                assert_eq!(
                    Message::decode(&bytes, &keys, Authentication::Enforce),
                    Ok(message)
                );
                // A later version of 1 says more.
                bytes.truncate(LENGTH);
                bytes.extend([1, 2, 3]);
                if let Some(key) = key {
                    bytes.extend(key.sign(&bytes));
                }
                assert_eq!(
                    Message::decode(&bytes, &keys, Authentication::Enforce),
                    Ok(message)
                );
            }
        }
    }

    #[test]
    fn what_is_not_signed_as_it_should_be_is_refused() {
        let [one, two] = [
            "1:000102030405060708090a0b0c0d0e0f",
            "2:ff0102030405060708090a0b0c0d0e0f",
        ]
        .map(|text| Key::parse(text).unwrap());
        let forged = Key::parse("1:ff0102030405060708090a0b0c0d0e0f").unwrap();
        let keys = [one.clone(), two.clone()];
        let enforce = Authentication::Enforce;
        let table = [
            (None, &keys[..], enforce, Some(Malformed::Unsigned)),
            (None, &keys[..], Authentication::Permissive, None),
            (None, &keys[..], Authentication::Receive, None),
            (None, &[], enforce, None),
            (Some(&one), &keys[..], enforce, None),
            (Some(&two), &keys[..], enforce, None),
            (Some(&two), &keys[..1], enforce, Some(Malformed::Key(2))),
            (Some(&one), &[], enforce, Some(Malformed::Key(1))),
            (
                Some(&forged),
                &keys[..],
                enforce,
                Some(Malformed::Signature),
            ),
            (
                Some(&forged),
                &keys[..],
                Authentication::Receive,
                Some(Malformed::Signature),
            ),
        ];
        for (number, (key, keys, authentication, error)) in table.into_iter().enumerate() {
            let bytes = message().encode(key);
            let read = Message::decode(&bytes, keys, authentication);
            assert_eq!(read.err(), error, "{number}");
        }
    }

    #[test]
    fn no_change_of_a_signed_message_is_believed_and_nothing_panics() {
        let key = Key::parse("1:000102030405060708090a0b0c0d0e0f").unwrap();
        let keys = [key.clone()];
        let bytes = message().encode(Some(&key));
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                let read = Message::decode(&changed, &keys, Authentication::Enforce);
                assert!(read.is_err(), "byte {place}, bit {bit}");
            }
        }
        for length in 0..bytes.len() {
            let read = Message::decode(&bytes[..length], &keys, Authentication::Enforce);
            assert!(read.is_err(), "{length} bytes");
        }
        let mut random = 1_u64;
        for _ in 0..20_000 {
            let mut draw = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random
            };
            let length = draw() as usize % (LONGEST + 8);
            let mut bytes: Vec<_> = (0..length).map(|_| draw() as u8).collect();
            if draw() % 2 == 0 {
                for (byte, known) in bytes.iter_mut().zip(MAGIC.iter().chain(&[VERSION, 0])) {
                    *byte = *known;
                }
            }
            let _ = Message::decode(&bytes, &keys, Authentication::Receive);
            for services in [Services::Virtual, Services::Failover] {
                let _ = piranha::decode(&bytes, services);
            }
        }
    }
}
