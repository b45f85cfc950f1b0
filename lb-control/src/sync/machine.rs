//! Who says what, and when. No socket, no clock and no table: the time is given, what flows there are is asked of a
//! [`Source`], and what is heard is done by a [`Sink`].
//!
//! What is told is always how a flow is *when it is told*, not what happened to it: a change only makes a flow due. So
//! changes of one flow that come close together are told once, and it does not matter in which order they are heard of.
//!
//! | this node | partner | what happens |
//! | --- | --- | --- |
//! | any | unheard, or of another session | hellos; data only after it has answered to a challenge |
//! | active | standby, heard | everything is told once (a *round*), then what changes; a round again every `refresh`, and when a change was lost |
//! | standby | active, heard | what comes is done in order and acknowledged; after a round, what it did not have is dropped |
//! | active | active | nothing is told: the heartbeats settle it |
//! | standby | standby | nothing is told |
//! | any | silent for `gone` | it is taken for out of sync: what waits is forgotten, and all is told anew when it is back |

mod receiving;
mod sending;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::time::Duration;

use self::{receiving::Receiving, sending::Sending};
pub use super::wire::Role;
use super::{
    connection::{Connection, Item, Key},
    wire::{Body, Header, Message, Seal},
};

/// Who knows what flows there are.
pub trait Source {
    /// How a flow is now; nothing if there is none, or none that is worth telling.
    fn current(&mut self, key: &Key) -> Option<Connection>;
}

/// Who does what is heard.
pub trait Sink {
    /// There is such a flow, or there is none.
    fn learn(&mut self, told: Told<'_>);

    /// Drops all flows that are not kept.
    fn retain(&mut self, keeps: &dyn Fn(&Key) -> bool);
}

/// What the partner tells of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// It is like this.
    Has(&'a Connection),
    /// There is none.
    Gone(&'a Key),
}

/// How it is done. The times and numbers of [`Default`] are those of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Which pair of directors this is.
    pub pair: u8,
    /// How long a change waits for others to go with.
    pub delay: Duration,
    /// Time between two hellos.
    pub hello: Duration,
    /// After so much silence the partner is gone.
    pub gone: Duration,
    /// Time between two rounds.
    pub refresh: Duration,
    /// How many flows of a round are told in a second.
    pub pace: u32,
    /// How many flows may be due at a time. If there are more, a round follows.
    pub due: usize,
    /// How many messages may be on their way.
    pub window: usize,
    /// How many bytes a message has at the most.
    pub longest: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pair: 0,
            delay: Duration::from_millis(10),
            hello: Duration::from_millis(500),
            gone: Duration::from_millis(2_500),
            refresh: Duration::from_secs(60),
            pace: 50_000,
            due: 65_536,
            window: 256,
            longest: super::wire::LONGEST,
        }
    }
}

/// What is known of the partner.
#[derive(Debug, Clone, Copy)]
struct Partner {
    session: u64,
    challenge: u64,
    role: Role,
    heard: Duration,
    is_here: bool,
    numbers: Numbers,
}

/// The numbers that were heard of a session: none is heard twice.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    highest: u64,
    /// The lowest bit is `highest`, the next the one before it.
    before: u128,
}

impl Numbers {
    /// Whether it is heard for the first time; those that are far behind are taken for heard.
    fn is_new(&mut self, number: u64) -> bool {
        if number > self.highest {
            let by = number - self.highest;
            let shifted = u32::try_from(by)
                .ok()
                .and_then(|by| self.before.checked_shl(by));
            self.before = shifted.unwrap_or(0) | 1;
            self.highest = number;
            return true;
        }
        let behind = u32::try_from(self.highest - number).ok();
        let Some(bit) = behind.and_then(|behind| 1_u128.checked_shl(behind)) else {
            return false;
        };
        let is_new = self.before & bit == 0;
        self.before |= bit;
        is_new
    }
}

/// A datagram that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// It goes by every path that there is to the partner; else by the one on which the partner was heard last.
    pub is_for_all_paths: bool,
}

/// Why a datagram is not heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Its seal is wrong, or of a key that is not known.
    #[error("not sealed with one of our keys")]
    Seal,
    /// It is no message.
    #[error(transparent)]
    Malformed(#[from] super::wire::Malformed),
    /// It is of another pair of directors.
    #[error("of another pair of directors (`syncd_id`)")]
    Pair,
    /// It is our own.
    #[error("our own message came back")]
    Reflected,
    /// It is for a session of ours that is over.
    #[error("for a session of ours that is over")]
    Late,
    /// It may be new or recorded: it is believed when it answers to what is sent now.
    #[error("of a session that is not known yet")]
    Stranger,
    /// It was heard before.
    #[error("heard twice, or late")]
    Replayed,
}

/// Numbers for those who watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// The partner is heard.
    pub partner: bool,
    /// The other end has everything that was due: a round is complete, and nothing was lost since.
    pub in_sync: bool,
    /// How long ago the oldest change happened that is not acknowledged; zero if there is none.
    pub lag: Duration,
    /// How many flows are due or on their way.
    pub unsynced: u64,
    /// How many flows were told.
    pub told: u64,
    /// How many flows were heard of.
    pub heard: u64,
    /// How many messages were sent again.
    pub again: u64,
    /// How many rounds are complete, told or heard.
    pub rounds: u64,
    /// How many changes were not told by themselves, because too many were due; a round followed.
    pub overflowed: u64,
    /// How many datagrams were not heeded.
    pub rejected: u64,
}

/// One end.
pub struct Machine {
    settings: Settings,
    seal: Box<dyn Seal>,
    nonces: Box<dyn FnMut() -> u64 + Send>,
    session: u64,
    challenge: u64,
    number: u64,
    role: Role,
    partner: Option<Partner>,
    /// The challenge of somebody who is not believed yet, and is to be answered.
    stranger: Option<u64>,
    /// When a stranger was answered last.
    answered: Option<Duration>,
    hello_due: Duration,
    stream: u32,
    sending: Option<Sending>,
    receiving: Receiving,
    figures: Figures,
}

impl Machine {
    /// One that listens. `nonces` gives numbers that nobody can guess.
    #[must_use]
    pub fn new(
        now: Duration,
        settings: Settings,
        seal: Box<dyn Seal>,
        mut nonces: Box<dyn FnMut() -> u64 + Send>,
    ) -> Self {
        // 0 stands for none.
        let mut draw = || nonces().max(1);
        let (session, challenge) = (draw(), draw());
        Self {
            settings,
            seal,
            nonces,
            session,
            challenge,
            number: 0,
            role: Role::Standby,
            partner: None,
            stranger: None,
            answered: None,
            hello_due: now,
            stream: 0,
            sending: None,
            receiving: Receiving::default(),
            figures: Figures::default(),
        }
    }

    /// The keys are others now.
    pub fn set_seal(&mut self, seal: Box<dyn Seal>) {
        self.seal = seal;
    }

    /// This node is active now, or on standby.
    pub fn set_role(&mut self, now: Duration, role: Role) {
        if self.role == role {
            return;
        }
        self.role = role;
        self.receiving.forget();
        self.hello_due = now;
        self.settle(now);
    }

    /// What this node is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// A flow began, changed its state or ended.
    pub fn changed(&mut self, now: Duration, key: Key) {
        if let Some(sending) = &mut self.sending
            && !sending.changed(now, key)
        {
            self.figures.overflowed += 1;
        }
    }

    /// Some changes were lost on their way here.
    pub fn lost(&mut self) {
        if let Some(sending) = &mut self.sending {
            self.figures.overflowed += 1;
            sending.once_more();
        }
    }

    /// The round for which all flows are to be walked, if one is: call [`Self::walked`] with each, as long as
    /// there is [`Self::room`], then [`Self::walk_ended`]. If the number changes, the walk begins anew.
    #[must_use]
    pub fn walking(&self) -> Option<u64> {
        let round = self.sending.as_ref()?.walking()?;
        Some(u64::from(self.stream) << 32 | u64::from(round))
    }

    /// How many flows of a walk it takes now.
    pub fn room(&mut self, now: Duration) -> usize {
        match &mut self.sending {
            Some(sending) => sending.room(now, &self.settings),
            None => 0,
        }
    }

    /// There is such a flow.
    pub fn walked(&mut self, now: Duration, key: Key) {
        if let Some(sending) = &mut self.sending {
            sending.walked(now, key);
        }
    }

    /// These were all.
    pub fn walk_ended(&mut self) {
        if let Some(sending) = &mut self.sending {
            sending.walk_ended();
        }
    }

    /// A datagram has come.
    ///
    /// # Errors
    /// If it is not heeded.
    pub fn heard(
        &mut self,
        now: Duration,
        datagram: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<(), Rejected> {
        let result = self.hear(now, datagram, sink);
        match &result {
            // What comes by two paths comes twice.
            Ok(()) | Err(Rejected::Replayed | Rejected::Late) => {}
            Err(_) => self.figures.rejected += 1,
        }
        result
    }

    fn hear(
        &mut self,
        now: Duration,
        datagram: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<(), Rejected> {
        let bytes = self.seal.open(datagram).ok_or(Rejected::Seal)?;
        let Message { header, body } = Message::decode(bytes)?;
        if header.pair != self.settings.pair {
            return Err(Rejected::Pair);
        }
        if header.session == self.session {
            return Err(Rejected::Reflected);
        }
        self.recognise(now, &header)?;
        self.settle(now);
        if header.to != self.session && body != Body::Hello {
            return Err(Rejected::Late);
        }
        match body {
            Body::Hello => {}
            Body::Data {
                stream,
                sequence,
                items,
            } => {
                if self.role == Role::Standby {
                    let window = self.settings.window;
                    let took = self.receiving.take(now, window, stream, sequence, items);
                    for item in took {
                        self.figures.heard += 1;
                        self.obey(&item, sink);
                    }
                }
            }
            Body::Acknowledgement {
                stream,
                sequence,
                selected,
            } => {
                if let Some(sending) = &mut self.sending
                    && stream == self.stream
                {
                    sending.acknowledged(now, sequence, &selected, &self.settings);
                }
            }
        }
        Ok(())
    }

    /// Whether a message is the partner's, and new.
    fn recognise(&mut self, now: Duration, header: &Header) -> Result<(), Rejected> {
        let known = self
            .partner
            .as_mut()
            .filter(|partner| partner.session == header.session);
        if let Some(partner) = known {
            let is_latest = header.number > partner.numbers.highest;
            if !partner.numbers.is_new(header.number) {
                return Err(Rejected::Replayed);
            }
            partner.heard = now;
            partner.is_here = true;
            if is_latest {
                partner.role = header.role;
                partner.challenge = header.challenge;
            }
            return Ok(());
        }
        if header.echo != self.challenge {
            // Whatever it says may have been said long ago. It is answered, but not to every message.
            let is_soon = self
                .answered
                .is_some_and(|answered| now < answered + self.settings.delay);
            if !is_soon {
                self.answered = Some(now);
                self.stranger = Some(header.challenge);
                self.hello_due = now;
            }
            return Err(Rejected::Stranger);
        }
        // What it said before it was believed counts as heard.
        let numbers = Numbers {
            highest: header.number,
            before: u128::MAX,
        };
        self.partner = Some(Partner {
            session: header.session,
            challenge: header.challenge,
            role: header.role,
            heard: now,
            is_here: true,
            numbers,
        });
        // What was recorded until now is of no use for the next one.
        self.challenge = (self.nonces)().max(1);
        self.stranger = None;
        self.hello_due = now;
        self.sending = None;
        self.receiving = Receiving::default();
        Ok(())
    }

    fn obey(&mut self, item: &Item, sink: &mut dyn Sink) {
        match item {
            Item::Has(connection) => {
                self.receiving.confirm(&connection.key);
                sink.learn(Told::Has(connection));
            }
            Item::Gone(key) => sink.learn(Told::Gone(key)),
            Item::Begin(round) => self.receiving.begin(*round),
            Item::Complete(round) => {
                if let Some(confirmed) = self.receiving.complete(*round) {
                    self.figures.rounds += 1;
                    sink.retain(&|key| confirmed.has(key));
                }
            }
        }
    }

    /// Begins to tell, or ends it, as both roles are.
    fn settle(&mut self, now: Duration) {
        let tells = self.role == Role::Active
            && self
                .partner
                .is_some_and(|partner| partner.is_here && partner.role == Role::Standby);
        if !tells {
            self.sending = None;
        } else if self.sending.is_none() {
            self.stream += 1;
            self.sending = Some(Sending::new(now, &self.settings));
        }
    }

    /// The next datagram to send, if there is one. To be called until there is none, at [`Self::deadline`] and
    /// after anything else was called.
    pub fn poll(&mut self, now: Duration, source: &mut dyn Source) -> Option<Datagram> {
        if let Some(partner) = &mut self.partner
            && partner.is_here
            && now >= partner.heard + self.settings.gone
        {
            partner.is_here = false;
            self.settle(now);
        }
        if now >= self.hello_due {
            self.hello_due = now + self.settings.hello;
            let stranger = self.stranger.take();
            return Some(self.datagram(Body::Hello, stranger, true));
        }
        if let Some((stream, sequence, selected)) = self.receiving.acknowledge(now) {
            let body = Body::Acknowledgement {
                stream,
                sequence,
                selected,
            };
            return Some(self.datagram(body, None, false));
        }
        let trailer = self.seal.length();
        let sending = self.sending.as_mut()?;
        let (sequence, items) =
            sending.next(now, &self.settings, trailer, source, &mut self.figures)?;
        let body = Body::Data {
            stream: self.stream,
            sequence,
            items,
        };
        Some(self.datagram(body, None, false))
    }

    /// When [`Self::poll`] is to be called again if nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let silence = self.partner.filter(|partner| partner.is_here);
        [
            Some(self.hello_due),
            silence.map(|partner| partner.heard + self.settings.gone),
            self.receiving.deadline(),
            self.sending
                .as_ref()
                .and_then(|sending| sending.deadline(&self.settings)),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(self.hello_due)
    }

    /// How it goes.
    #[must_use]
    pub fn figures(&self, now: Duration) -> Figures {
        let (unsynced, lag, is_complete) = match &self.sending {
            Some(sending) => sending.behind(now),
            None => (0, Duration::ZERO, self.receiving.is_complete()),
        };
        let partner = self.partner.is_some_and(|partner| partner.is_here);
        Figures {
            partner,
            in_sync: partner && is_complete,
            lag,
            unsynced,
            ..self.figures
        }
    }

    fn datagram(&mut self, body: Body, stranger: Option<u64>, is_for_all_paths: bool) -> Datagram {
        self.number += 1;
        let echo = stranger.or(self.partner.map(|partner| partner.challenge));
        let header = Header {
            role: self.role,
            pair: self.settings.pair,
            session: self.session,
            to: self.partner.map_or(0, |partner| partner.session),
            challenge: self.challenge,
            echo: echo.unwrap_or(0),
            number: self.number,
        };
        let mut bytes = Message { header, body }.encode();
        self.seal.seal(&mut bytes);
        Datagram {
            bytes,
            is_for_all_paths,
        }
    }
}
