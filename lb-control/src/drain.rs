//! Servers that get nothing new and may finish what they have, for a time.

use std::{fmt, net::SocketAddr, time::Duration};

use lb_common::maps::Load;

use crate::{ids::Identity, model::ServiceId};

/// A sorry server that is no longer needed has no more time than this.
pub const SORRY: Duration = Duration::from_secs(30);

/// How far a server is that an operator has drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// It may finish until then, by [`crate::state::State::now`].
    Until(Duration),
    /// It has left the table.
    Done,
}

impl Drain {
    /// For this time from `now` on.
    #[must_use]
    pub const fn within(now: Duration, time: Duration) -> Self {
        if time.is_zero() {
            Self::Done
        } else {
            Self::Until(now.saturating_add(time))
        }
    }
}

/// How many flows a server still has to finish. Clients that stay with it are none.
#[must_use]
pub const fn open(load: &Load) -> u32 {
    // The three are not counted at once.
    load.active
        .saturating_add(load.inactive)
        .saturating_sub(load.closing)
}

/// A server whose time has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The service that it worked for.
    pub service: ServiceId,
    /// Where it listens.
    pub server: SocketAddr,
    /// Why it ended.
    pub why: Why,
}

/// Why a server's time has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It has no flows but closing ones.
    Finished,
    /// It has no more time.
    Deadline {
        /// How many flows it had left, which end.
        left: u32,
    },
}

impl Ended {
    /// The end of the time of `identity`.
    #[must_use]
    pub const fn new(identity: &Identity, why: Why) -> Self {
        Self {
            service: identity.0,
            server: identity.1,
            why,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("it has finished"),
            Self::Deadline { left } => write!(f, "its time is over: {left} flows end"),
        }
    }
}
