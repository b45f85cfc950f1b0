//! The rounds of a case, and what they say.

use serde::Serialize;

use crate::samples::Samples;

/// Nanoseconds per packet, one of each kind for each round.
#[derive(Debug, Serialize)]
pub(crate) struct Rounds {
    /// The least that the empty loop took, in this case and those before.
    pub(crate) fastest: u64,
    /// The kernel's loop round a program that does nothing.
    empty: Samples,
    /// A fresh packet and a call of the program that does nothing.
    driver: Samples,
    /// A fresh packet and a call of the balancer.
    balancer: Samples,
    /// A fresh packet and a call of the balancer that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Samples>,
}

/// What was measured in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) empty: u64,
    pub(crate) driver: u64,
    pub(crate) balancer: u64,
    pub(crate) base: Option<u64>,
}

/// What a balancer costs by itself, in nanoseconds per packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Cost {
    /// The 10th percentile less that of the driver.
    pub(crate) net_p10: i64,
    /// The same of medians.
    pub(crate) net_median: i64,
    /// How far the 10th and the 90th percentile are apart.
    pub(crate) spread: u64,
}

/// What the balancer costs, divided by what the one costs that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// Of the 10th percentiles.
    pub(crate) p10: f64,
    /// Of medians.
    pub(crate) median: f64,
    /// Of both in the same round: the 10th, 50th and 90th percentile of all rounds.
    pub(crate) of_pairs: [f64; 3],
}

/// Fewer rounds than this say nothing.
const FEW: usize = 10;

impl Rounds {
    /// None yet.
    pub(crate) fn new(fastest: u64, is_compared: bool) -> Self {
        Self {
            fastest,
            empty: Samples::default(),
            driver: Samples::default(),
            balancer: Samples::default(),
            base: is_compared.then(Samples::default),
        }
    }

    /// One more.
    pub(crate) fn add(&mut self, round: Round) {
        self.fastest = self.fastest.min(round.empty);
        self.empty.add(round.empty);
        self.driver.add(round.driver);
        self.balancer.add(round.balancer);
        if let (Some(samples), Some(base)) = (&mut self.base, round.base) {
            samples.add(base);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.empty.values().len()
    }

    /// How many were quiet.
    pub(crate) fn quiet(&self) -> usize {
        self.quiet_ones().count()
    }

    /// Which were quiet. Only the empty loop decides it, which knows nothing of the balancer.
    fn quiet_ones(&self) -> impl Iterator<Item = usize> {
        let limit = self.fastest * 5 / 4;
        let rounds = self.empty.values().iter().enumerate();
        rounds
            .filter(move |(_, empty)| **empty <= limit)
            .map(|(round, _)| round)
    }

    /// What of these counts: the quiet rounds, or all if there are too few of them.
    fn counted(&self, samples: &Samples) -> Samples {
        let quiet: Vec<_> = self.quiet_ones().collect();
        if quiet.len() < FEW {
            samples.clone()
        } else {
            samples.only(&quiet)
        }
    }

    /// What the balancer costs.
    pub(crate) fn cost(&self) -> Cost {
        self.cost_of(&self.balancer)
    }

    /// What the one costs that it is compared with.
    pub(crate) fn base_cost(&self) -> Option<Cost> {
        self.base.as_ref().map(|base| self.cost_of(base))
    }

    fn cost_of(&self, samples: &Samples) -> Cost {
        let (driver, balancer) = (self.counted(&self.driver), self.counted(samples));
        let net = |percent| balancer.percentile(percent) as i64 - driver.percentile(percent) as i64;
        Cost {
            net_p10: net(10),
            net_median: net(50),
            spread: balancer.spread(),
        }
    }

    /// How both compare; `None` if there is one only.
    pub(crate) fn ratio(&self) -> Option<Ratio> {
        let (cost, base_cost) = (self.cost(), self.base_cost()?);
        let [driver, balancer, base] =
            [&self.driver, &self.balancer, self.base.as_ref()?].map(|one| self.counted(one));
        let mut pairs: Vec<_> = driver
            .values()
            .iter()
            .zip(balancer.values())
            .zip(base.values())
            .map(|((driver, balancer), base)| {
                ratio(
                    *balancer as i64 - *driver as i64,
                    *base as i64 - *driver as i64,
                )
            })
            .collect();
        pairs.sort_unstable_by(f64::total_cmp);
        let last = pairs.len().saturating_sub(1);
        let percentile =
            |percent: usize| pairs.get(last * percent / 100).copied().unwrap_or(f64::NAN);
        Some(Ratio {
            p10: ratio(cost.net_p10, base_cost.net_p10),
            median: ratio(cost.net_median, base_cost.net_median),
            of_pairs: [10, 50, 90].map(percentile),
        })
    }

    /// The 10th percentiles of driver and empty loop, and how many percent of the rounds were quiet.
    pub(crate) fn conditions(&self) -> (u64, u64, usize) {
        (
            self.driver.percentile(10),
            self.empty.percentile(10),
            self.quiet() * 100 / self.count().max(1),
        )
    }
}

/// To a thousandth. What costs nothing is taken for a nanosecond.
fn ratio(of: i64, to: i64) -> f64 {
    (of as f64 / to.max(1) as f64 * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(list: &[(u64, u64, u64, Option<u64>)]) -> Rounds {
        let mut rounds = Rounds::new(u64::MAX / 5, list.iter().any(|round| round.3.is_some()));
        for &(empty, driver, balancer, base) in list {
            rounds.add(Round {
                empty,
                driver,
                balancer,
                base,
            });
        }
        rounds
    }

    #[test]
    fn only_quiet_rounds_count_if_there_are_enough() {
        let quiet = (10, 50, 150, None);
        let noisy = (20, 100, 400, None);
        // Quiet rounds, noisy ones; net median.
        let table = [(10, 30, 100), (9, 30, 300), (40, 0, 100), (0, 3, 300)];
        for (few, many, median) in table {
            let list = [vec![quiet; few], vec![noisy; many]].concat();
            let rounds = rounds(&list);
            assert_eq!(rounds.cost().net_median, median, "{few} and {many}");
            assert_eq!(rounds.quiet(), if few == 0 { many } else { few });
            assert_eq!(rounds.ratio(), None);
        }
    }

    #[test]
    fn what_disturbs_both_of_a_pair_does_not_change_its_ratio() {
        // The same loads make everything two and three times as slow.
        let list: Vec<_> = (1..=3)
            .cycle()
            .take(30)
            .map(|slow| (10, 50 * slow, 140 * slow, Some(150 * slow)))
            .collect();
        let ratio = rounds(&list).ratio().unwrap();
        assert_eq!(ratio.of_pairs, [0.9; 3]);
        assert_eq!(ratio.median, 0.9);
        let same = rounds(&[(10, 50, 50, Some(50)); 3]).ratio().unwrap();
        assert_eq!(same.p10, 0.0, "nothing of nothing");
    }
}
