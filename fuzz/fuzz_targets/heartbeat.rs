//! What anybody may send as the partner's heartbeat, among orders and time that passes: a director always has a next
//! deadline, what it sends is always a heartbeat, and its lease never reaches beyond `deadtime`.
#![no_main]

use std::time::Duration;

use lb_control::heartbeat::{
    director::{Director, Format, Output, Rules},
    key::Key,
    lease::Lease,
    machine::{Begin, Node, Role, Unfit},
    piranha::Services,
    wire::{Authentication, LONGEST, Message, Path, Stamp},
};

const MS: Duration = Duration::from_millis(1);
const KEY: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const ROLES: [Role; 7] = [
    Role::Starting,
    Role::Standby,
    Role::Active,
    Role::Leaving,
    Role::Yielding,
    Role::Goodbye,
    Role::Absent,
];

/// A director, and what it said last.
struct Host {
    director: Director,
    rules: Rules,
    now: Duration,
    said: Stamp,
    is_lowered: bool,
}

impl Host {
    fn new(how: u8) -> Self {
        let rules = Rules {
            node: if how & 2 == 0 { Node::Primary } else { Node::Backup },
            pair: true,
            keepalive: 200 * MS,
            deadtime: 700 * MS,
            failback: how & 16 != 0,
            format: if how & 4 == 0 { Format::Own } else { Format::Piranha },
            keys: Key::parse(KEY).into_iter().filter(|_| how & 1 != 0).collect(),
            authentication: Authentication::Permissive,
            config: 7,
            services: if how & 8 == 0 { Services::Virtual } else { Services::Failover },
            letting_go: Duration::from_secs(u64::from(how >> 5)),
        };
        let now = Duration::from_secs(1);
        Self {
            director: Director::new(rules.clone(), Begin::Listen, None, 0x1111, now),
            rules,
            now,
            said: Stamp::default(),
            is_lowered: false,
        }
    }

    /// A step: a number, and as many bytes as are said.
    fn step(&mut self, what: u8, bytes: &[u8]) {
        let first = bytes.first().copied().unwrap_or(0);
        let path = Path::ALL[usize::from(first & 1)];
        match what % 6 {
            0 => drop(self.director.receive(Path::Public, bytes, self.now)),
            1 => drop(self.director.receive(Path::Private, bytes, self.now)),
            // One that is well made, and answers to what was said last.
            2 => {
                let key = self.rules.keys.first();
                let message = self.answer(bytes, path).encode(key);
                let _ = self.director.receive(path, &message, self.now);
            }
            3 => self.now += MS * 4 * u32::from(first),
            4 => self.order(first),
            _ => self.director.slept(),
        }
        self.run();
    }

    fn answer(&self, bytes: &[u8], path: Path) -> Message {
        let byte = |place: usize| bytes.get(place).copied().unwrap_or(0);
        Message {
            path,
            role: ROLES[usize::from(byte(0)) % ROLES.len()],
            fit: byte(1) & 1 != 0,
            wants_answer: byte(1) & 2 != 0,
            is_primary: self.rules.node == Node::Backup,
            hears: [byte(1) & 4 != 0, byte(1) & 8 != 0],
            capabilities: 0,
            keepalive: 200,
            deadtime: u32::from(byte(4)) * 20,
            back_within: u32::from(byte(4)) * 20,
            config: 7,
            stamp: Stamp {
                epoch: 0x2222 + u64::from(byte(3)),
                counter: u64::from(byte(2)),
                time: u64::from(byte(2)),
            },
            echo: self.said,
            hello: self.said,
        }
    }

    fn order(&mut self, which: u8) {
        match which % 5 {
            0 => drop(self.director.hand_over(self.now)),
            1 => self.director.fitness(Some(Unfit::Link("eth0".into())), self.now),
            2 => self.director.fitness(None, self.now),
            3 if std::mem::take(&mut self.is_lowered) => self.director.let_go(self.now),
            _ => self.director.amend(self.rules.clone(), self.now),
        }
    }

    fn run(&mut self) {
        for output in self.director.run(self.now) {
            match output {
                Output::Send(messages) if self.rules.format == Format::Own => {
                    for message in messages {
                        assert!(message.len() <= LONGEST);
                        let keys = &self.rules.keys;
                        let read = Message::decode(&message, keys, Authentication::Permissive);
                        self.said = read.expect("what a director says is a heartbeat").stamp;
                    }
                }
                Output::Send(messages) => assert!(messages.iter().all(|one| one.len() == 4)),
                Output::Lease(Lease::Until(until)) => {
                    assert!(until <= self.now + self.rules.deadtime);
                }
                Output::Lower(_) => self.is_lowered = true,
                Output::Raise(_) => self.is_lowered = false,
                Output::Lease(_) | Output::Announce(_) | Output::Tell(_) | Output::End => {}
            }
        }
        assert!(self.director.deadline() > self.now);
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((how, mut rest)) = data.split_first() else {
        return;
    };
    let mut host = Host::new(*how);
    while let [what, low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (bytes, after) = more.split_at(length);
        host.step(*what, bytes);
        rest = after;
    }
});
