//! A window of time in which packets are counted at the sink.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{bed, generator::Generator};

/// What came in a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    packets: u64,
    time: Duration,
}

/// Nobody is that late with the first packet.
const LIMIT: Duration = Duration::from_secs(5);
/// How long the generators of all CPUs are given to get going after the first packet has come.
const START: Duration = Duration::from_millis(50);
/// How often is looked, since nobody tells.
const LOOK: Duration = Duration::from_millis(1);

impl Window {
    /// Counts for so long from shortly after the first packet on, or until a generator has finished. If there
    /// is so little to send that it `is_short`, from the first packet on.
    pub(crate) fn open(
        sinks: &Generator,
        over: &Receiver<()>,
        length: Duration,
        is_short: bool,
    ) -> Result<Self> {
        let (before, begun) = (sinks.sunk()?, Instant::now());
        while sinks.sunk()? == before {
            if is_over(over, LOOK) || begun.elapsed() > LIMIT {
                bail!("no packet comes to the sink");
            }
        }
        if !is_short && is_over(over, START) {
            bail!("a generator was done before it was measured");
        }
        let (before, begun) = (sinks.sunk()?, Instant::now());
        if is_short {
            return Self::until_the_last(sinks, over, length, (before, begun));
        }
        is_over(over, length);
        Ok(Self {
            packets: sinks.sunk()? - before,
            time: begun.elapsed(),
        })
    }

    /// A generator says that it has finished only when it has also tidied up: what counts is when the last
    /// packet came.
    fn until_the_last(
        sinks: &Generator,
        over: &Receiver<()>,
        length: Duration,
        (before, begun): (u64, Instant),
    ) -> Result<Self> {
        let (mut packets, mut time) = (0, LOOK);
        while time < length {
            let is_over = is_over(over, LOOK);
            let now = sinks.sunk()? - before;
            if now > packets {
                (packets, time) = (now, begun.elapsed());
            }
            if is_over {
                break;
            }
        }
        Ok(Self { packets, time })
    }

    /// How long a generator sends that is not to be done before the window is closed.
    pub(crate) fn needs(length: Duration) -> Duration {
        (START + length) * 5 / 4
    }

    pub(crate) fn per_second(&self) -> u64 {
        (self.packets as f64 / self.time.as_secs_f64()) as u64
    }
}

/// Waits for so long; whether a generator has finished meanwhile.
fn is_over(over: &Receiver<()>, time: Duration) -> bool {
    !matches!(over.recv_timeout(time), Err(RecvTimeoutError::Timeout))
}

/// How many packets have come to the sinks, once no more come.
pub(crate) fn all_that_came(sinks: &Generator) -> Result<u64> {
    let mut came = None;
    bed::wait(LIMIT, || {
        let before = came.replace(sinks.sunk()?);
        Ok(before == came)
    })?;
    came.context("nobody looked")
}
