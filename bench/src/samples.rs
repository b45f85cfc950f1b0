//! Many short measurements of one thing.

use serde::Serialize;

/// One number for each, such as nanoseconds per packet in a chunk, in the order in which they were measured.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    /// One more.
    pub(crate) fn add(&mut self, sample: u64) {
        self.0.push(sample);
    }

    /// All of them.
    pub(crate) fn values(&self) -> &[u64] {
        &self.0
    }

    /// Those of these chunks.
    pub(crate) fn only(&self, chunks: &[usize]) -> Self {
        let chunks = chunks.iter().filter_map(|chunk| self.0.get(*chunk));
        Self(chunks.copied().collect())
    }

    /// What so many percent of the chunks do not exceed; 0 without chunks.
    pub(crate) fn percentile(&self, percent: usize) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get(last * percent / 100).copied().unwrap_or(0)
    }

    /// How far apart the 10th and the 90th percentile are.
    pub(crate) fn spread(&self) -> u64 {
        self.percentile(90) - self.percentile(10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_samples() {
        let mut samples = Samples::default();
        assert_eq!((samples.percentile(50), samples.spread()), (0, 0));
        for sample in (1..=11).rev() {
            samples.add(sample * 10);
        }
        let found = [0, 10, 50, 90, 100].map(|percent| samples.percentile(percent));
        assert_eq!(found, [10, 20, 60, 100, 110]);
        assert_eq!(samples.spread(), 80);
        assert_eq!(samples.only(&[0, 10, 11]).values(), [110, 10]);
    }
}
