//! How much comes in a second, by the estimator of IPVS (`ip_vs_est.c`): every two seconds the mean moves by a
//! quarter of its distance from what was measured.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use lb_common::maps::Traffic;

use crate::{control::table::Counts, dataplane::Dataplane};

/// How often a server is measured, if there are not too many.
const PERIOD: Duration = Duration::from_secs(2);

/// How many servers are measured at a time. Where there are more, each has its turn later.
const AT_ONCE: usize = 8_192;

/// The rates of all real servers, by id.
#[derive(Debug, Default)]
pub struct Rates {
    servers: BTreeMap<u32, Estimate>,
    /// Whose turn it was last.
    last: u32,
    measured: Option<Duration>,
}

#[derive(Debug)]
struct Estimate {
    counted: Counts,
    at: Duration,
    /// Per second, in units of 2^-10.
    mean: Counts,
}

impl Rates {
    /// Measures again, if it is time to: `ids` are the real servers in the tables.
    pub fn measure<D: Dataplane>(
        &mut self,
        now: Duration,
        ids: impl Iterator<Item = u32>,
        dataplane: &D,
    ) {
        let is_early = self.measured.is_some_and(|last| now - last < PERIOD);
        if is_early {
            return;
        }
        self.measured = Some(now);
        let ids: std::collections::BTreeSet<_> = ids.collect();
        self.servers.retain(|id, _| ids.contains(id));
        let after = ids.range((Bound::Excluded(self.last), Bound::Unbounded));
        let turns: Vec<_> = after
            .chain(ids.range(..=self.last))
            .take(AT_ONCE)
            .copied()
            .collect();
        for id in turns {
            self.last = id;
            // One that cannot be read is measured the next time.
            if let Ok(traffic) = dataplane.traffic(id) {
                self.note(id, now, Counts::from(traffic));
            }
        }
    }

    fn note(&mut self, id: u32, now: Duration, counted: Counts) {
        let estimate = self.servers.entry(id).or_insert(Estimate {
            counted,
            at: now,
            mean: Counts::default(),
        });
        let millis = u64::try_from((now - estimate.at).as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return;
        }
        let before = estimate.counted;
        estimate.mean = estimate
            .mean
            .with(&counted, &before, |mean, (counted, before)| {
                let rate = u128::from(counted.saturating_sub(before)) * (1000 << SHIFT)
                    / u128::from(millis);
                let rate = u64::try_from(rate).unwrap_or(u64::MAX);
                mean - mean / 4 + rate / 4
            });
        estimate.counted = counted;
        estimate.at = now;
    }

    /// How much comes to a real server in a second.
    #[must_use]
    pub fn of(&self, id: u32) -> Counts {
        let mean = self.servers.get(&id).map(|estimate| estimate.mean);
        let mean = mean.unwrap_or_default();
        // Rounded as by IPVS, so that a steady rate is shown as it is.
        mean.with(&mean, &mean, |mean, _| (mean + (1 << (SHIFT - 1))) >> SHIFT)
    }

    /// A server counts anew.
    pub fn forget(&mut self, id: u32) {
        self.servers.remove(&id);
    }
}

const SHIFT: u32 = 10;

impl Counts {
    /// Something else of each count, with the two others.
    fn with(self, one: &Self, other: &Self, what: impl Fn(u64, (u64, u64)) -> u64) -> Self {
        Self {
            connections: what(self.connections, (one.connections, other.connections)),
            packets_in: what(self.packets_in, (one.packets_in, other.packets_in)),
            packets_out: what(self.packets_out, (one.packets_out, other.packets_out)),
            bytes_in: what(self.bytes_in, (one.bytes_in, other.bytes_in)),
            bytes_out: what(self.bytes_out, (one.bytes_out, other.bytes_out)),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        self.with(other, &Self::default(), |one, (other, _)| {
            one.saturating_add(other)
        })
    }
}

impl From<Traffic> for Counts {
    fn from(traffic: Traffic) -> Self {
        Self {
            connections: traffic.connections,
            packets_in: traffic.packets_in,
            packets_out: traffic.packets_out,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::fake::Fake;

    #[test]
    fn a_rate_is_reached_in_steps_of_a_quarter_and_left_so() {
        let fake = Fake::default();
        let mut rates = Rates::default();
        let mut shown = Vec::new();
        let mut connections = 0;
        for second in (0..60).step_by(2) {
            let traffic = Traffic {
                connections,
                ..Traffic::default()
            };
            fake.0.borrow_mut().traffic.insert(1, traffic);
            rates.measure(Duration::from_secs(second), [1].into_iter(), &fake);
            shown.push(rates.of(1).connections);
            // A hundred per second for half a minute.
            if second < 30 {
                connections += 200;
            }
        }
        assert_eq!(shown[..6], [0, 25, 44, 58, 68, 76]);
        assert_eq!((shown[15], shown[16]), (99, 74));
        assert_eq!(shown[29], 2);
    }

    #[test]
    fn where_there_are_many_each_has_its_turn() {
        let fake = Fake::default();
        let mut rates = Rates::default();
        let ids = 1..=u32::try_from(AT_ONCE).unwrap() + 10;
        rates.measure(Duration::from_secs(2), ids.clone(), &fake);
        assert_eq!(rates.servers.len(), AT_ONCE);
        rates.measure(Duration::from_secs(3), ids.clone(), &fake);
        assert_eq!(rates.servers.len(), AT_ONCE, "it is not time yet");
        rates.measure(Duration::from_secs(4), ids, &fake);
        assert_eq!(rates.servers.len(), AT_ONCE + 10);
    }
}
