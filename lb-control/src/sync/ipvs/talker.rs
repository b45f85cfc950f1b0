//! One end of IPVS's protocol, without sockets and clock: the active director tells in multicasts, the other one
//! believes them.

use std::time::Duration;

use super::{mapping, message, outbox::Outbox};
use crate::sync::{
    connection::{Key, Names},
    machine::{Figures, Role, Sink, Source, Told},
};

/// Time between two rounds through the table, so that what is long-lived is not forgotten, and whoever starts later
/// learns what there is: of IPVS itself it would hear of a flow at its next change only.
const REFRESH: Duration = Duration::from_secs(60);

/// How many flows of a round are told in a second.
const PACE: f64 = 20_000.0;

/// How long a partner counts as heard of.
const HEARD: Duration = Duration::from_secs(120);

/// When messages of others are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listens {
    /// While this director does not tell.
    OnStandby,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One end.
#[derive(Debug)]
pub struct Talker {
    role: Role,
    listens: Listens,
    /// The messages of others that are heeded have this.
    syncid: u8,
    outbox: Outbox,
    round: u64,
    is_walking: bool,
    /// When the next round begins.
    due: Duration,
    /// How many flows of the walk may be taken, and when that was reckoned.
    budget: (f64, Duration),
    heard: Option<Duration>,
    figures: Figures,
}

impl Talker {
    /// One that does not tell yet. What it tells goes by the outbox, what it hears has the syncid.
    #[must_use]
    pub fn new(now: Duration, outbox: Outbox, listens: Listens, syncid: u8) -> Self {
        Self {
            role: Role::Standby,
            listens,
            syncid,
            outbox,
            round: 0,
            is_walking: false,
            due: now,
            budget: (0.0, now),
            heard: None,
            figures: Figures::default(),
        }
    }

    /// This node is active now, or on standby.
    pub fn set_role(&mut self, now: Duration, role: Role) {
        if self.role != role {
            self.role = role;
            self.is_walking = false;
            self.due = now;
        }
    }

    /// A flow began, changed its state or ended.
    pub fn changed(&mut self, now: Duration, key: Key) {
        if self.role == Role::Active {
            self.outbox.add(now, key);
        }
    }

    /// Some changes were lost on their way here.
    pub fn lost(&mut self, now: Duration) {
        self.due = now;
    }

    /// The round for which all flows are to be walked, if one is.
    #[must_use]
    pub fn walking(&self) -> Option<u64> {
        self.is_walking.then_some(self.round)
    }

    /// How many flows of a walk it takes now.
    pub fn room(&mut self, now: Duration) -> usize {
        let (budget, reckoned) = self.budget;
        let more = now.saturating_sub(reckoned).as_secs_f64() * PACE;
        let budget = (budget + more).min(1_024.0);
        self.budget = (budget, now);
        (budget as usize).min(self.outbox.room())
    }

    /// There is such a flow.
    pub fn walked(&mut self, now: Duration, key: Key) {
        self.budget.0 -= 1.0;
        if self.is_walking {
            self.outbox.add(now, key);
        }
    }

    /// These were all.
    pub fn walk_ended(&mut self) {
        if std::mem::take(&mut self.is_walking) {
            self.figures.rounds += 1;
        }
    }

    /// A datagram has come.
    ///
    /// # Errors
    /// If nothing of it can be heeded.
    pub fn heard(
        &mut self,
        now: Duration,
        datagram: &[u8],
        names: &Names,
        sink: &mut dyn Sink,
    ) -> Result<(), message::Malformed> {
        let decoded = message::decode(self.syncid, datagram);
        let (entries, end) = decoded.inspect_err(|_| self.figures.rejected += 1)?;
        self.heard = Some(now);
        let is_believed = match self.listens {
            Listens::OnStandby => self.role == Role::Standby,
            Listens::Always => true,
            Listens::Never => false,
        };
        if is_believed {
            for entry in &entries {
                match mapping::connection(entry, names) {
                    Ok(connection) => {
                        self.figures.heard += 1;
                        sink.learn(Told::Has(&connection));
                    }
                    Err(_) => self.figures.rejected += 1,
                }
            }
        }
        end.inspect_err(|_| self.figures.rejected += 1)
    }

    /// The next message.
    pub fn poll(&mut self, now: Duration, source: &mut dyn Source) -> Option<Vec<u8>> {
        if self.role == Role::Standby {
            return None;
        }
        if now >= self.due && !self.is_walking {
            self.round += 1;
            self.is_walking = true;
            self.due = now + REFRESH;
        }
        self.outbox.poll(now, source)
    }

    /// When [`Self::poll`] is to be called again if nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match self.role {
            Role::Standby => None,
            Role::Active => {
                let round = (!self.is_walking).then_some(self.due);
                [round, self.outbox.deadline()].into_iter().flatten().min()
            }
        }
    }

    /// How it goes. Nobody acknowledges anything: what was sent counts as known.
    #[must_use]
    pub fn figures(&self, now: Duration) -> Figures {
        let partner = self.heard.is_some_and(|heard| now < heard + HEARD);
        Figures {
            partner,
            in_sync: false,
            unsynced: self.outbox.waiting() as u64,
            told: self.outbox.told,
            overflowed: self.outbox.overflowed,
            ..self.figures
        }
    }
}
