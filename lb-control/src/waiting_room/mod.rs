//! Where fragments wait that came before the first one of their datagram, until that has come. The
//! room is small and nobody stays long: who floods it only drives out those who came before.

mod frame;

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

pub use self::frame::{Datagram, Frame};
use crate::dataplane::held::Held;

/// How much there is room for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many frames.
    pub frames: usize,
    /// How many bytes they may have.
    pub bytes: usize,
    /// How long one waits.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frames: 1024,
            bytes: 1 << 20,
            patience: Duration::from_secs(1),
        }
    }
}

/// How soon after a look the next one follows at the earliest and at the latest. In between it is as
/// long as the frame has waited: most first fragments are close behind.
const PAUSE: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(64)];

/// The room. It knows no clock; time is given to it.
#[derive(Debug)]
pub struct WaitingRoom {
    limits: Limits,
    /// Who came first is in front.
    guests: VecDeque<Guest>,
    bytes: usize,
    /// Those that were sent in again, by a hash of the frame, and since when they had waited: one that
    /// comes back does not begin anew.
    left: VecDeque<(u64, Instant)>,
    in_vain: u64,
}

#[derive(Debug)]
struct Guest {
    frame: Frame,
    datagram: Datagram,
    since: Instant,
    look: Instant,
}

impl WaitingRoom {
    /// An empty room.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            guests: VecDeque::new(),
            bytes: 0,
            left: VecDeque::new(),
            in_vain: 0,
        }
    }

    /// A frame comes in. If there is no room, those leave that came first.
    pub fn enter(&mut self, frame: Frame, now: Instant) {
        let Some(datagram) = frame.datagram() else {
            self.in_vain += 1;
            return;
        };
        let hash = hash(&frame);
        self.forget(now);
        let before = self.left.iter().position(|(left, _)| *left == hash);
        let since = before.and_then(|index| self.left.remove(index));
        self.bytes += frame.bytes.len();
        self.guests.push_back(Guest {
            frame,
            datagram,
            since: since.map_or(now, |(_, since)| since),
            look: now,
        });
        while self.guests.len() > self.limits.frames || self.bytes > self.limits.bytes {
            self.drive_out();
        }
    }

    /// Looks after those whose time for it has come: those leave whose first fragment has come, and
    /// those that have waited for too long. The former are returned, the latter counted.
    pub fn look(
        &mut self,
        now: Instant,
        mut has_come: impl FnMut(&Datagram) -> bool,
    ) -> Vec<Frame> {
        let patience = self.limits.patience;
        let mut known = HashMap::new();
        let mut ready = Vec::new();
        for mut guest in std::mem::take(&mut self.guests) {
            if guest.look > now {
                self.guests.push_back(guest);
                continue;
            }
            let waited = now.saturating_duration_since(guest.since);
            let datagram = guest.datagram;
            if *known.entry(datagram).or_insert_with(|| has_come(&datagram)) && waited < patience {
                self.bytes -= guest.frame.bytes.len();
                self.left.push_back((hash(&guest.frame), guest.since));
                ready.push(guest.frame);
            } else if waited >= patience {
                self.bytes -= guest.frame.bytes.len();
                self.in_vain += 1;
            } else {
                guest.look = now + waited.clamp(PAUSE[0], PAUSE[1]);
                self.guests.push_back(guest);
            }
        }
        while self.left.len() > self.limits.frames {
            self.left.pop_front();
        }
        ready
    }

    /// When it is time to look again; `None` while nobody waits.
    #[must_use]
    pub fn next_look(&self) -> Option<Instant> {
        self.guests.iter().map(|guest| guest.look).min()
    }

    /// How many waited in vain since this was asked last.
    pub fn take_in_vain(&mut self) -> u64 {
        std::mem::take(&mut self.in_vain)
    }

    fn drive_out(&mut self) {
        if let Some(guest) = self.guests.pop_front() {
            self.bytes -= guest.frame.bytes.len();
            self.in_vain += 1;
        }
    }

    /// Who left so long ago is not taken for one that comes back.
    fn forget(&mut self, now: Instant) {
        // Whoever comes back in the end is turned out at once.
        let memory = self.limits.patience * 2;
        self.left
            .retain(|(_, since)| now.saturating_duration_since(*since) < memory);
    }
}

fn hash(frame: &Frame) -> u64 {
    let mut hasher = DefaultHasher::new();
    frame.hash(&mut hasher);
    hasher.finish()
}

/// Keeps the room: lets in whom the program hands over, and hands those in again who may go on. Those
/// who waited in vain are counted.
pub async fn keep(mut held: Held, in_vain: Arc<AtomicU64>) {
    let mut room = WaitingRoom::new(Limits::default());
    let mut can_send = true;
    loop {
        let next = room.next_look();
        let time = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            came = held.wait() => {
                if let Err(error) = came {
                    warn!(%error, "fragments that come too early are not held any more");
                    return;
                }
            }
            () = time => {}
        }
        while let Some(frame) = held.take() {
            room.enter(frame, Instant::now());
        }
        for frame in room.look(Instant::now(), |datagram| held.has_come(datagram)) {
            match held.hand_in(&frame) {
                Ok(()) => debug!(interface = frame.interface, "an early fragment goes on"),
                Err(error) => {
                    in_vain.fetch_add(1, Ordering::Relaxed);
                    if std::mem::take(&mut can_send) {
                        warn!(%error, "fragments that come too early are dropped: this kernel does not take them back");
                    }
                }
            }
        }
        in_vain.fetch_add(room.take_in_vain(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
