//! What weight a server has in its table, over time. No socket and no clock: it counts checks.
//!
//! With `W` configured, as in Piranha:
//!
//! - A server that *returns* begins with `max(1, W / 32)`, which doubles with every adjustment up to `W`. (In
//!   Piranha so did all servers at the director's start, which says nothing about them.)
//! - After that, with a `load_monitor`: let `step = W/2 · |1 − load|^(1/3)`. Below a load of 1 the weight goes up
//!   by that, to `10·W` at most; above 1 it goes down, to `W` at least. It changes only by `W/4` or more.
//! - An adjustment comes about every 20 seconds: with each check if they are further apart.
//!
//! An agent's share is of what comes out of this.

use std::time::Duration;

use super::agent::{Said, Share, Wish};

/// The time between two adjustments.
const PACE: Duration = Duration::from_secs(20);

/// How the weight of one server comes about.
#[derive(Debug, Clone)]
pub struct Weighing {
    configured: u16,
    plan: Plan,
    /// The weight before an agent has its say.
    own: u16,
    /// Good checks since the last adjustment.
    good: u32,
    share: Share,
    is_draining: bool,
}

/// What moves the weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// A server that returns begins with little.
    pub slow_start: bool,
    /// Its load is measured.
    pub has_load: bool,
    /// It speaks for itself.
    pub has_agent: bool,
    /// Good checks between two adjustments.
    pub every: u32,
}

impl Plan {
    /// Good checks between two adjustments if they come in this interval.
    pub fn every(interval: Duration) -> u32 {
        let times = PACE.as_nanos() / interval.as_nanos().max(1);
        u32::try_from(times).unwrap_or(u32::MAX).max(1)
    }
}

/// What an adjustment needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing is to be adjusted now.
    Nothing,
    /// The load has to be measured.
    Load,
}

impl Weighing {
    /// As it is configured.
    pub fn new(configured: u16, plan: Plan) -> Self {
        Self {
            configured,
            plan,
            own: configured,
            good: 0,
            share: Share::Percent(100),
            is_draining: false,
        }
    }

    /// Something else is configured.
    pub fn reconfigure(&mut self, configured: u16, plan: Plan) {
        let is_whole = self.own == self.configured;
        self.configured = configured;
        self.plan = plan;
        if is_whole || !plan.has_load && self.own > configured || configured == 0 {
            self.own = configured;
        }
        self.own = self.own.min(self.ceiling());
        if !plan.has_agent {
            self.share = Share::Percent(100);
            self.is_draining = false;
        }
    }

    /// The server returns to its table.
    pub fn returns(&mut self) {
        self.good = 0;
        self.own = if self.plan.slow_start {
            self.configured.min((self.configured >> 5).max(1))
        } else {
            self.configured
        };
    }

    /// A check of a server in its table was good. If its load has to be known now, [`loaded`](Self::loaded)
    /// wants to hear of it.
    pub fn found_well(&mut self) -> Due {
        self.good = self.good.saturating_add(1);
        if self.good < self.plan.every {
            return Due::Nothing;
        }
        self.good = 0;
        if self.own < self.configured {
            self.own = self.own.saturating_mul(2).min(self.configured);
            return Due::Nothing;
        }
        if self.plan.has_load && self.configured > 0 {
            Due::Load
        } else {
            Due::Nothing
        }
    }

    /// The load average of one minute.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between nothing and the ceiling, which is a weight"
    )]
    pub fn loaded(&mut self, load: f64) {
        // A measurement may come back after the server returned, or was reconfigured.
        if self.own < self.configured || !self.plan.has_load || !load.is_finite() {
            return;
        }
        let configured = f64::from(self.configured);
        let step = configured / 2.0 * (1.0 - load).abs().cbrt();
        let wanted = f64::from(self.own) + if load < 1.0 { step } else { -step };
        let wanted = wanted.clamp(configured, f64::from(self.ceiling())) as u16;
        if wanted.abs_diff(self.own) >= self.configured / 4 {
            self.own = wanted;
        }
    }

    /// The server's agent has spoken.
    pub fn told(&mut self, said: &Said) {
        if let Some(share) = said.share {
            self.share = share;
        }
        match said.state {
            Some(Wish::Up) => self.is_draining = false,
            Some(Wish::Drain) => self.is_draining = true,
            Some(Wish::Down(_)) | None => {}
        }
    }

    /// Whether its agent wants nothing new for it.
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// The weight that it has in place of the configured one; nothing if that is the same.
    pub fn weight(&self) -> Option<u16> {
        Some(self.effective()).filter(|weight| *weight != self.configured)
    }

    fn effective(&self) -> u16 {
        let own = u64::from(self.own);
        let scaled = match self.share {
            _ if self.is_draining || self.configured == 0 => return 0,
            Share::Percent(100) => return self.own,
            Share::Percent(percent) => own * u64::from(percent) / 100,
            // A server that has just returned gets the same part of another weight.
            Share::Weight(weight) => {
                u64::from(weight) * own.min(self.configured.into()) / u64::from(self.configured)
            }
        };
        let is_none = matches!(self.share, Share::Percent(0) | Share::Weight(0));
        u16::try_from(scaled)
            .unwrap_or(u16::MAX)
            .max(u16::from(!is_none))
    }

    fn ceiling(&self) -> u16 {
        self.configured.saturating_mul(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(every: u32) -> Plan {
        Plan {
            slow_start: true,
            has_load: false,
            has_agent: false,
            every,
        }
    }

    #[test]
    fn adjustments_come_every_20_seconds_or_with_each_check() {
        let table = [(1, 20), (6, 3), (7, 2), (20, 1), (21, 1), (3600, 1)];
        for (seconds, every) in table {
            assert_eq!(
                Plan::every(Duration::from_secs(seconds)),
                every,
                "{seconds}"
            );
        }
        assert_eq!(Plan::every(Duration::from_millis(500)), 40);
    }

    #[test]
    fn a_server_that_returns_starts_slowly() {
        // Configured, and the weights from its return on.
        let table: [(u16, &[u16]); 6] = [
            (0, &[0, 0]),
            (1, &[1, 1]),
            (5, &[1, 2, 4, 5, 5]),
            (64, &[2, 4, 8, 16, 32, 64, 64]),
            (100, &[3, 6, 12, 24, 48, 96, 100]),
            (65_535, &[2047, 4094, 8188, 16_376, 32_752, 65_504, 65_535]),
        ];
        for (configured, weights) in table {
            let mut weighing = Weighing::new(configured, plan(2));
            assert_eq!(weighing.weight(), None, "at the start it has all of it");
            weighing.returns();
            for weight in weights {
                assert_eq!(
                    weighing.weight().unwrap_or(configured),
                    *weight,
                    "{configured}"
                );
                for _ in 0..2 {
                    assert_eq!(weighing.found_well(), Due::Nothing);
                }
            }
        }
        let mut at_once = Weighing::new(
            100,
            Plan {
                slow_start: false,
                ..plan(1)
            },
        );
        at_once.returns();
        assert_eq!(at_once.weight(), None);
    }

    #[test]
    fn idle_servers_climb_and_loaded_ones_fall_back() {
        let mut weighing = Weighing::new(
            100,
            Plan {
                has_load: true,
                ..plan(1)
            },
        );
        // Load, and the weight after it: 100/2 · ∛|1 − load| up or down, and 25 at least.
        let table = [
            (0.0, 150),
            (0.0, 200),
            (0.875, 225),
            (0.999, 225),
            (1.0, 225),
            (9.0, 125),
            (9.0, 100),
            (9.0, 100),
            (f64::NAN, 100),
        ];
        for (load, weight) in table {
            assert_eq!(weighing.found_well(), Due::Load);
            weighing.loaded(load);
            assert_eq!(weighing.weight().unwrap_or(100), weight, "load {load}");
        }
        for _ in 0..100 {
            weighing.loaded(0.0);
        }
        assert_eq!(weighing.weight(), Some(1000));
        // Less is configured.
        weighing.reconfigure(
            10,
            Plan {
                has_load: true,
                ..plan(1)
            },
        );
        assert_eq!(weighing.weight(), Some(100));
        weighing.reconfigure(10, plan(1));
        assert_eq!(weighing.weight(), None);
    }

    #[test]
    fn small_weights_move_too() {
        let mut weighing = Weighing::new(
            1,
            Plan {
                has_load: true,
                ..plan(1)
            },
        );
        weighing.loaded(0.0);
        assert_eq!(weighing.weight(), None, "1.5 is 1");
        let mut weighing = Weighing::new(
            2,
            Plan {
                has_load: true,
                ..plan(1)
            },
        );
        weighing.loaded(0.0);
        assert_eq!(weighing.weight(), Some(3));
    }

    #[test]
    fn a_late_measurement_does_not_end_a_slow_start() {
        let mut weighing = Weighing::new(
            64,
            Plan {
                has_load: true,
                ..plan(1)
            },
        );
        assert_eq!(weighing.found_well(), Due::Load);
        weighing.returns();
        weighing.loaded(0.0);
        assert_eq!(weighing.weight(), Some(2));
    }

    #[test]
    fn agents_have_their_say() {
        let said = |state, share| Said { state, share };
        let percent = |percent| Some(Share::Percent(percent));
        // What is said, one after the other, and the weight of 20 after it.
        let table = [
            (said(None, percent(75)), 15),
            (said(Some(Wish::Drain), None), 0),
            (said(None, percent(50)), 0),
            (said(Some(Wish::Up), None), 10),
            (said(None, percent(1)), 1),
            (said(None, percent(0)), 0),
            (said(None, percent(200)), 40),
            (said(None, Some(Share::Weight(7))), 7),
            (said(None, Some(Share::Weight(0))), 0),
            (said(None, percent(100)), 20),
        ];
        let agent = Plan {
            has_agent: true,
            ..plan(1)
        };
        let mut weighing = Weighing::new(20, agent);
        for (said, weight) in table {
            weighing.told(&said);
            assert_eq!(weighing.weight().unwrap_or(20), weight, "{said:?}");
        }
        weighing.told(&said(Some(Wish::Drain), percent(50)));
        weighing.reconfigure(20, plan(1));
        assert_eq!(weighing.weight(), None, "nobody speaks for it any more");

        let mut quiesced = Weighing::new(0, agent);
        quiesced.told(&said(None, Some(Share::Weight(7))));
        assert_eq!(quiesced.weight(), None, "lvs.cf says 0");
    }
}
