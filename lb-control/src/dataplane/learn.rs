//! What a partner tells of its flows is learned by the program itself ([`lb_common::learn`]), which is run
//! on the records (`BPF_PROG_TEST_RUN`): so there is one place that makes flows, counts and queues them.
//!
//! A flow that is learned ages like any other. Its packets go through the partner, so that one has to tell
//! every standing flow again before half of its time is over.

use anyhow::{Context, ensure};
use aya::programs::{TestRun, TestRunOptions, Xdp};
pub use lb_common::record::{Outcome, Record};

use super::{bpffs::Pins, held};

/// The program's name, and that of its pin.
pub(super) const PROGRAM: &str = "learn";

/// The program that learns. There must be one at a time: it has one room on each CPU.
pub struct Learner {
    program: Xdp,
}

/// How often each outcome came.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    counts: [u64; Outcome::COUNT],
}

impl Learned {
    /// How many records had this outcome.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        let count = self.counts.get(usize::from(outcome.0));
        count.copied().unwrap_or_default()
    }

    fn count(&mut self, outcome: Outcome) {
        if let Some(count) = self.counts.get_mut(usize::from(outcome.0)) {
            *count += 1;
        }
    }
}

impl Learner {
    /// Opens the program that is pinned.
    ///
    /// # Errors
    /// If there is no data plane, or none that learns.
    pub fn open(pins: &Pins) -> anyhow::Result<Self> {
        let program = held::pinned(&pins.programs().join(PROGRAM))?;
        Ok(Self { program })
    }

    /// Learns records, any number of them. Ids of real servers and services are ours. What came of each is
    /// in its [`Record::outcome`] afterwards.
    ///
    /// # Errors
    /// The kernel's. Those that were learned until then are; the others have [`Outcome::NONE`].
    pub fn learn(&mut self, records: &mut [Record]) -> anyhow::Result<Learned> {
        let mut learned = Learned::default();
        for record in records.iter_mut() {
            record.outcome = Outcome::NONE;
        }
        for chunk in records.chunks_mut(Record::AT_ONCE as usize) {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(chunk);
            let mut out = vec![0; bytes.len()];
            let result = self
                .program
                .test_run(TestRunOptions {
                    data_in: Some(bytes),
                    data_out: Some(&mut out),
                    ..TestRunOptions::new()
                })
                .context("running the program `learn`")?;
            ensure!(
                result.data_size_out as usize == bytes.len(),
                "the program `learn` gave {} bytes for {}",
                result.data_size_out,
                bytes.len()
            );
            bytes.copy_from_slice(&out);
            for record in chunk {
                learned.count(record.outcome);
            }
        }
        Ok(learned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted() {
        let mut learned = Learned::default();
        for outcome in [Outcome::LEARNED, Outcome::FULL, Outcome::LEARNED] {
            learned.count(outcome);
        }
        assert_eq!(learned.of(Outcome::LEARNED), 2);
        assert_eq!(learned.of(Outcome::FULL), 1);
        assert_eq!(learned.of(Outcome::BUSY), 0);
        assert_eq!(learned.of(Outcome(200)), 0);
    }
}
