//! One nanny: what the checks of a real server say about it, over time. No socket and no clock.
//!
//! | state       | well                                | failed                | untried   |
//! | ----------- | ----------------------------------- | --------------------- | --------- |
//! | `Unknown`   | `Up`, reported                      | `Down`, reported      | no change |
//! | `Up`        | no change                           | `Down`, reported      | no change |
//! | `Down`      | `Returning`, or see below           | no change             | no change |
//! | `Returning` | after `reentry`: `Up`, reported     | `Down`                | no change |
//!
//! `Down` becomes `Up` at once if `reentry` is shorter than the interval, as it did in Piranha.
//! A check is *untried* when the director was short of something; that says nothing about the
//! server.

use std::time::{Duration, Instant};

use super::{Failure, Outcome};
use crate::model::Probe;

/// A real server's health, as the routing table needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The server belongs into the table.
    Up,
    /// It does not.
    Down {
        /// What the check found.
        reason: Failure,
    },
}

/// What a nanny thinks of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No check has ended yet. The server is not in the table.
    Unknown,
    /// In the table.
    Up,
    /// Not in the table; the last check failed.
    Down,
    /// Not in the table yet; all checks have been good since.
    Returning {
        /// When the first good check ended.
        well_since: Instant,
    },
}

/// When to check and when to believe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    interval: Duration,
    reentry: Duration,
}

impl Timing {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

    /// The timing of a probe, within bounds that no arithmetic overflows at.
    pub fn of(probe: &Probe) -> Self {
        Self {
            interval: probe.interval.clamp(Self::SHORTEST, Self::LONGEST),
            reentry: probe.reentry.min(Self::LONGEST),
        }
    }

    /// The pause between two checks, and the limit of each step of one.
    pub fn interval(&self) -> Duration {
        self.interval
    }
}

/// What was wrong the last time that something was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// In words.
    pub reason: Failure,
    /// When the check ended.
    pub at: Instant,
}

/// The state machine of one real server's health.
///
/// Call [`checked`](Self::checked) with the outcome of a check that was started at
/// [`deadline`](Self::deadline) or later; then ask for the deadline again.
#[derive(Debug, Clone)]
pub struct Nanny {
    timing: Timing,
    state: State,
    since: Instant,
    next: Instant,
    last_failure: Option<LastFailure>,
    checks: u64,
    failures: u64,
}

impl Nanny {
    /// A nanny that knows nothing yet.
    pub fn new(timing: Timing, now: Instant, first_check: Instant) -> Self {
        Self {
            timing,
            state: State::Unknown,
            since: now,
            next: first_check,
            last_failure: None,
            checks: 0,
            failures: 0,
        }
    }

    /// The probe has changed: what is known of the server stays, the next check is at `next`.
    pub fn retime(&mut self, timing: Timing, next: Instant) {
        self.timing = timing;
        self.next = next;
    }

    /// A check has ended now. Gives the server's health if that is not what it was.
    #[must_use]
    pub fn checked(&mut self, outcome: Outcome, now: Instant) -> Option<Health> {
        self.checks += 1;
        let change = match outcome {
            Ok(()) => self.found_well(now),
            Err(reason) => {
                self.last_failure = Some(LastFailure {
                    reason: reason.clone(),
                    at: now,
                });
                if reason.is_the_directors() {
                    None
                } else {
                    self.found_failing(reason)
                }
            }
        };
        if change.is_some() {
            self.since = now;
        }
        self.next = self.next_check(now);
        change
    }

    /// When the next check is due.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// What the nanny thinks now.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the server came, went, or, while nothing is known, when the nanny started.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The last failure, also if the server has been well after it.
    pub fn last_failure(&self) -> Option<&LastFailure> {
        self.last_failure.as_ref()
    }

    /// How many checks have ended.
    pub fn checks(&self) -> u64 {
        self.checks
    }

    /// How many of them the server failed.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    fn found_well(&mut self, now: Instant) -> Option<Health> {
        let returns = match self.state {
            State::Up => return None,
            State::Unknown => true,
            State::Down => self.timing.reentry < self.timing.interval,
            State::Returning { well_since } => now >= well_since + self.timing.reentry,
        };
        match (returns, self.state) {
            (true, _) => {
                self.state = State::Up;
                Some(Health::Up)
            }
            (false, State::Down) => {
                self.state = State::Returning { well_since: now };
                None
            }
            (false, State::Unknown | State::Up | State::Returning { .. }) => None,
        }
    }

    fn found_failing(&mut self, reason: Failure) -> Option<Health> {
        self.failures += 1;
        let before = std::mem::replace(&mut self.state, State::Down);
        match before {
            State::Unknown | State::Up => Some(Health::Down { reason }),
            State::Down | State::Returning { .. } => None,
        }
    }

    /// An interval after the last check ended; earlier if the server can return earlier.
    fn next_check(&self, now: Instant) -> Instant {
        let regular = now + self.timing.interval;
        match self.state {
            State::Returning { well_since } => {
                let return_at = well_since + self.timing.reentry;
                if return_at > now {
                    regular.min(return_at)
                } else {
                    regular
                }
            }
            State::Unknown | State::Up | State::Down => regular,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(6);
    const REENTRY: Duration = Duration::from_secs(15);

    fn timing(interval: Duration, reentry: Duration) -> Timing {
        Timing { interval, reentry }
    }

    fn refused() -> Failure {
        Failure::NoAnswer { within: INTERVAL }
    }

    fn untried() -> Failure {
        Failure::Untried {
            error: "too many open files".to_owned(),
        }
    }

    fn nanny(state: State, now: Instant) -> Nanny {
        Nanny {
            state,
            ..Nanny::new(timing(INTERVAL, REENTRY), now, now)
        }
    }

    #[test]
    fn every_state_and_every_outcome() {
        let then = Instant::now();
        let now = then + REENTRY;
        let early = now - Duration::from_millis(1);
        let down = || Some(Health::Down { reason: refused() });
        let returning = State::Returning { well_since: then };

        let table = [
            (State::Unknown, Ok(()), now, State::Up, Some(Health::Up)),
            (State::Unknown, Err(refused()), now, State::Down, down()),
            (State::Unknown, Err(untried()), now, State::Unknown, None),
            (State::Up, Ok(()), now, State::Up, None),
            (State::Up, Err(refused()), now, State::Down, down()),
            (State::Up, Err(untried()), now, State::Up, None),
            (
                State::Down,
                Ok(()),
                now,
                State::Returning { well_since: now },
                None,
            ),
            (State::Down, Err(refused()), now, State::Down, None),
            (State::Down, Err(untried()), now, State::Down, None),
            (returning, Ok(()), early, returning, None),
            (returning, Ok(()), now, State::Up, Some(Health::Up)),
            (returning, Err(refused()), now, State::Down, None),
            (returning, Err(untried()), now, returning, None),
        ];
        for (before, outcome, at, after, change) in table {
            let case = format!("{before:?} on {outcome:?}");
            let mut nanny = nanny(before, then);
            assert_eq!(nanny.checked(outcome, at), change, "{case}");
            assert_eq!(nanny.state(), after, "{case}");
            assert_eq!(
                nanny.since(),
                if change.is_some() { at } else { then },
                "{case}"
            );
            assert!(nanny.deadline() > at, "{case}: checks would spin");
        }
    }

    #[test]
    fn a_server_returns_when_it_was_well_for_reentry() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut nanny = Nanny::new(timing(INTERVAL, REENTRY), start, start);

        let _down = nanny.checked(Err(refused()), start);
        let mut good = Vec::new();
        let returned = loop {
            let now = nanny.deadline();
            good.push(now);
            if let Some(health) = nanny.checked(Ok(()), now) {
                break health;
            }
        };

        assert_eq!(returned, Health::Up);
        assert_eq!(good, [second(6), second(12), second(18), second(21)]);
    }

    #[test]
    fn one_failure_starts_the_wait_again() {
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let mut nanny = nanny(State::Returning { well_since: start }, start);

        assert_eq!(nanny.checked(Err(refused()), second(14)), None);
        assert_eq!(nanny.checked(Ok(()), second(20)), None);
        assert_eq!(nanny.checked(Ok(()), second(34)), None);
        assert_eq!(nanny.checked(Ok(()), second(35)), Some(Health::Up));
    }

    #[test]
    fn reentry_shorter_than_the_interval_returns_at_the_first_good_check() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let table = [
            (Duration::ZERO, State::Up),
            (minute - Duration::from_secs(15), State::Up),
            (minute, State::Returning { well_since: now }),
        ];
        for (reentry, after) in table {
            let mut nanny = Nanny::new(timing(minute, reentry), now, now);
            let _down = nanny.checked(Err(refused()), now);
            let _maybe_up = nanny.checked(Ok(()), now);
            assert_eq!(nanny.state(), after, "reentry {reentry:?}");
        }
    }

    #[test]
    fn a_new_probe_keeps_what_is_known() {
        let now = Instant::now();
        let mut nanny = nanny(State::Up, now);
        let soon = now + Duration::from_secs(1);
        nanny.retime(timing(Duration::from_secs(2), REENTRY), soon);
        assert_eq!((nanny.state(), nanny.deadline()), (State::Up, soon));
        let _no_change = nanny.checked(Ok(()), soon);
        assert_eq!(nanny.deadline(), soon + Duration::from_secs(2));
    }

    #[test]
    fn checks_and_failures_are_counted_and_the_last_one_is_kept() {
        let now = Instant::now();
        let mut nanny = nanny(State::Unknown, now);
        for outcome in [Ok(()), Err(refused()), Err(untried()), Ok(())] {
            let _change = nanny.checked(outcome, now);
        }
        assert_eq!((nanny.checks(), nanny.failures()), (4, 1));
        let last = nanny.last_failure().map(|last| &last.reason);
        assert_eq!(last, Some(&untried()));
    }

    #[test]
    fn absurd_timings_are_bounded() {
        let now = Instant::now();
        let probe = |duration| Probe {
            check: crate::model::Check::Talk {
                send: None,
                expect: None,
            },
            interval: duration,
            reentry: duration,
        };
        for duration in [Duration::ZERO, Duration::MAX] {
            let mut nanny = Nanny::new(Timing::of(&probe(duration)), now, now);
            for outcome in [Err(refused()), Ok(()), Ok(())] {
                let _change = nanny.checked(outcome, now);
                assert!(nanny.deadline() > now, "{duration:?}");
            }
        }
    }
}
