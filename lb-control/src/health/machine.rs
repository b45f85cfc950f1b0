//! One nanny: what the checks of a real server say about it, over time. No socket and no clock.
//!
//! | state       | well                                | failed                | untried   |
//! | ----------- | ----------------------------------- | --------------------- | --------- |
//! | `Unknown`   | `Up`, reported                      | `Down`, reported (1)  | no change |
//! | `Up`        | no change                           | `Down`, reported (1)  | no change |
//! | `Down`      | `Returning`, or `Up` (2)            | no change             | no change |
//! | `Returning` | no change, or `Up`, reported (2)    | `Down`                | no change |
//!
//! 1. With the `fall`th failure in a row; until then no change. A server whose agent says that it is down
//!    leaves at once.
//! 2. When it has been well for `reentry`, for `rise` checks in a row, and no longer than it is held (below). A
//!    `reentry` that is shorter than the interval is over with the first good check, as it was in Piranha.
//!
//! A check is *untried* when the director was short of something; that says nothing about the
//! server.
//!
//! **Damping** (RFC 2439 has the idea): each time a server leaves from `Up`, 1 is added to what is held
//! against it, up to [`MOST`]; that halves with every half-life. From [`HOLD`] on the server is held: it does
//! not return before it is less than [`RELEASE`].

use std::time::{Duration, Instant};

use super::{Failure, Outcome};
use crate::model::Probe;

/// Held against a server that comes and goes, at most.
const MOST: f64 = 5.0;

/// From here on it is held.
const HOLD: f64 = 2.5;

/// Below that it may return.
const RELEASE: f64 = 1.0;

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
    /// This is its weight in the table, whether it belongs there or not.
    Weighs {
        /// In place of what is configured; nothing for just that.
        weight: Option<u16>,
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
    rise: u32,
    fall: u32,
    jitter: u8,
    damping: Duration,
}

impl Timing {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

    /// The timing of a probe, within bounds that no arithmetic overflows at.
    pub fn of(probe: &Probe) -> Self {
        Self {
            interval: probe.interval.clamp(Self::SHORTEST, Self::LONGEST),
            reentry: probe.reentry.min(Self::LONGEST),
            rise: probe.rise,
            fall: probe.fall,
            jitter: probe.jitter.min(90),
            damping: probe.damping.min(Self::LONGEST),
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
    /// Good checks in a row, and failed ones.
    good: u32,
    bad: u32,
    /// What is held against it, as it was then.
    held: (f64, Instant),
    is_held: bool,
    /// What jitter is drawn from.
    lot: u64,
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
            good: 0,
            bad: 0,
            held: (0.0, now),
            is_held: false,
            lot: 0,
        }
    }

    /// With other pauses between its checks than others have.
    #[must_use]
    pub fn with_lot(mut self, lot: u64) -> Self {
        self.lot = lot;
        self
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
                    self.found_failing(reason, now)
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

    /// Until when the server stays away because it came and went too often, if it does.
    pub fn held_until(&self) -> Option<Instant> {
        let (held, since) = self.held;
        if !self.is_held {
            return None;
        }
        // A breath later, so that then it is less.
        let half_lives = (held / RELEASE).log2() + 1e-6;
        Some(since + self.timing.damping.mul_f64(half_lives.max(0.0)))
    }

    fn found_well(&mut self, now: Instant) -> Option<Health> {
        self.bad = 0;
        self.good = self.good.saturating_add(1);
        let well_since = match self.state {
            State::Up => return None,
            State::Unknown => {
                self.state = State::Up;
                return Some(Health::Up);
            }
            State::Down => now,
            State::Returning { well_since } => well_since,
        };
        if self.held_until().is_none_or(|until| now >= until) {
            self.is_held = false;
        }
        let is_over = self.timing.reentry < self.timing.interval
            || well_since != now && now >= well_since + self.timing.reentry;
        if is_over && self.good >= self.timing.rise && !self.is_held {
            self.state = State::Up;
            return Some(Health::Up);
        }
        self.state = State::Returning { well_since };
        None
    }

    fn found_failing(&mut self, reason: Failure, now: Instant) -> Option<Health> {
        self.failures += 1;
        self.good = 0;
        self.bad = self.bad.saturating_add(1);
        match self.state {
            State::Down => None,
            State::Returning { .. } => {
                self.state = State::Down;
                None
            }
            State::Unknown | State::Up => {
                if self.bad < self.timing.fall && !reason.is_said() {
                    return None;
                }
                if self.state == State::Up {
                    self.hold_against(now);
                }
                self.state = State::Down;
                Some(Health::Down { reason })
            }
        }
    }

    fn hold_against(&mut self, now: Instant) {
        if self.timing.damping.is_zero() {
            return;
        }
        let (held, since) = self.held;
        let passed = now.saturating_duration_since(since);
        let half_lives = passed.as_secs_f64() / self.timing.damping.as_secs_f64();
        let held = (held * (-half_lives).exp2() + 1.0).min(MOST);
        self.held = (held, now);
        self.is_held = held >= HOLD;
    }

    /// An interval after the last check ended, less some jitter; earlier if the server can return earlier.
    fn next_check(&mut self, now: Instant) -> Instant {
        let regular = now + self.pause();
        let State::Returning { well_since } = self.state else {
            return regular;
        };
        let return_at = well_since + self.timing.reentry;
        let return_at = self
            .held_until()
            .map_or(return_at, |held| held.max(return_at));
        let is_enough = self.good.saturating_add(1) >= self.timing.rise;
        if return_at > now && is_enough {
            regular.min(return_at)
        } else {
            regular
        }
    }

    fn pause(&mut self) -> Duration {
        let interval = self.timing.interval;
        if self.timing.jitter == 0 {
            return interval;
        }
        // The generator of SplittableRandom, of which the upper half is enough.
        self.lot = self.lot.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut lot = self.lot;
        lot = (lot ^ (lot >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lot = (lot ^ (lot >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = f64::from((lot >> 32) as u32) / f64::from(u32::MAX);
        interval.mul_f64(1.0 - part * f64::from(self.timing.jitter) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(6);
    const REENTRY: Duration = Duration::from_secs(15);

    fn timing(interval: Duration, reentry: Duration) -> Timing {
        Timing {
            interval,
            reentry,
            rise: 1,
            fall: 1,
            jitter: 0,
            damping: Duration::ZERO,
        }
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

    /// What a nanny reports when checks a second apart end so: `+` well, `-` failed, `?` untried, `!` its
    /// agent says that it is down. `U` came, `D` left, `.` nothing.
    fn history(timing: Timing, checks: &str) -> String {
        let start = Instant::now();
        let mut nanny = Nanny::new(timing, start, start);
        let mut reported = String::new();
        for (second, check) in (0..).zip(checks.chars()) {
            let outcome = match check {
                '+' => Ok(()),
                '-' => Err(refused()),
                '!' => Err(Failure::Said {
                    said: "down".to_owned(),
                }),
                _ => Err(untried()),
            };
            let now = start + Duration::from_secs(second);
            reported.push(match nanny.checked(outcome, now) {
                Some(Health::Up) => 'U',
                Some(Health::Down { .. }) => 'D',
                Some(Health::Weighs { .. }) | None => '.',
            });
        }
        reported
    }

    #[test]
    fn rise_and_fall() {
        // rise, fall, seconds of reentry, how checks end, what is reported.
        let table = [
            (1, 1, 0, "+-+-", "UDUD"),
            (1, 3, 0, "+--+---+", "U.....DU"),
            (1, 3, 0, "---+", "..DU"),
            (1, 3, 0, "+-?--", "U...D"),
            (3, 1, 0, "+-+++", "UD..U"),
            (3, 1, 0, "+-++-+++", "UD.....U"),
            (3, 1, 0, "+-++?+", "UD...U"),
            (2, 1, 3, "+-++++", "UD...U"),
            (4, 1, 2, "+-++++", "UD...U"),
            (1, 3, 0, "+!", "UD"),
            (1, 3, 0, "!+", "DU"),
        ];
        for (rise, fall, reentry, checks, reported) in table {
            let timing = Timing {
                rise,
                fall,
                ..timing(Duration::from_secs(1), Duration::from_secs(reentry))
            };
            let case = format!("rise {rise} fall {fall} reentry {reentry}: {checks}");
            assert_eq!(history(timing, checks), reported, "{case}");
        }
    }

    #[test]
    fn a_server_that_flaps_is_held() {
        let damped = |half_life| Timing {
            damping: Duration::from_secs(half_life),
            ..timing(Duration::from_secs(1), Duration::ZERO)
        };
        // The half-life, how checks end, what is reported.
        let table: [(u64, &str, &str); 3] = [
            (0, "+-+-+-+-+", "UDUDUDUDU"),
            // Held with the third time at 1 + 0.93 + 0.87 = 2.8, for 1.49 half-lives of 20 s.
            (
                20,
                &format!("+-+-+-{}", "+".repeat(31)),
                &format!("UDUDUD{}U", ".".repeat(29)),
            ),
            // Seldom enough: half is forgotten in between.
            (2, "+-+++-+++-++", "UDU..DU..DU."),
        ];
        for (half_life, checks, reported) in table {
            let told = history(damped(half_life), checks);
            assert_eq!(
                told.trim_end_matches('.'),
                reported.trim_end_matches('.'),
                "{half_life}"
            );
        }
    }

    #[test]
    fn nobody_is_held_for_longer_than_he_deserves() {
        let start = Instant::now();
        let half_life = Duration::from_secs(60);
        let timing = Timing {
            damping: half_life,
            ..timing(Duration::from_secs(1), Duration::ZERO)
        };
        let mut nanny = nanny(State::Up, start);
        nanny.timing = timing;
        for _ in 0..100 {
            nanny.state = State::Up;
            let _down = nanny.checked(Err(refused()), start);
        }
        let until = nanny.held_until().unwrap();
        assert!(
            until - start <= half_life.mul_f64(2.33),
            "{:?}",
            until - start
        );
        assert_eq!(nanny.checked(Ok(()), start + half_life), None);
        assert!(nanny.deadline() <= until);
        assert_eq!(nanny.checked(Ok(()), until), Some(Health::Up));
        assert_eq!(nanny.held_until(), None);
    }

    #[test]
    fn jitter_only_shortens_and_differs() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let pauses = |lot| {
            let timing = Timing {
                jitter: 20,
                ..timing(second, Duration::ZERO)
            };
            let mut nanny = Nanny::new(timing, start, start).with_lot(lot);
            let pause = |_| {
                let _up = nanny.checked(Ok(()), start);
                nanny.deadline() - start
            };
            (0..100).map(pause).collect::<Vec<_>>()
        };
        let (one, other) = (pauses(1), pauses(2));
        assert_ne!(one, other);
        for pause in one.iter().chain(&other) {
            assert!((second.mul_f64(0.8)..=second).contains(pause), "{pause:?}");
        }
        let (least, most) = (one.iter().min().unwrap(), one.iter().max().unwrap());
        assert!(
            *most - *least > second.mul_f64(0.1),
            "{least:?} to {most:?}"
        );
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
        let probe = |duration| {
            Probe::new(
                crate::model::Check::Talk {
                    send: None,
                    expect: None,
                },
                duration,
                duration,
            )
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
