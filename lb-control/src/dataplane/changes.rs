//! What becomes of flows, as the program tells it for the partner: the ring `changes`
//! ([`lb_common::record`]). It says something only while the settings have
//! [`SYNC`](lb_common::maps::Settings::SYNC), and what nobody reads in time is counted as `untold`.

use std::io;

use anyhow::Context;
use aya::maps::{Map, MapData, RingBuf};
use lb_common::record::Record;
use tokio::io::{Interest, unix::AsyncFd};

use super::bpffs::Pins;

/// The reading end of the ring. There must be one at a time, since what is read is gone.
pub struct Changes {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Changes {
    /// Opens it, in a tokio runtime. What lies in the ring from the time before comes first: who has copied
    /// the tables afterwards may [`discard`](Self::discard) it.
    ///
    /// # Errors
    /// If there is no data plane, or none that tells.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types whose descriptor changes; that of a ring does not"
    )]
    pub fn open(pins: &Pins) -> anyhow::Result<Self> {
        let path = pins.maps().join("changes");
        let map =
            MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))?;
        let ring = RingBuf::try_from(Map::RingBuf(map)).context("the map `changes` is no ring")?;
        Ok(Self {
            ring: AsyncFd::with_interest(ring, Interest::READABLE)?,
        })
    }

    /// The next record; waits until there is one. It may be given up and asked again: nothing is lost.
    ///
    /// # Errors
    /// If that cannot be waited for.
    pub async fn next(&mut self) -> io::Result<Record> {
        loop {
            // What comes behind this makes the ring readable again.
            let mut ready = self.ring.readable_mut().await?;
            if let Some(record) = ready.get_inner_mut().next() {
                if let Ok(record) = bytemuck::try_pod_read_unaligned(&record) {
                    return Ok(record);
                }
                continue;
            }
            ready.clear_ready();
            // One that came before that does not.
            if let Some(record) = self.take() {
                return Ok(record);
            }
        }
    }

    /// The next record, if there is one already.
    pub fn take(&mut self) -> Option<Record> {
        let record = self.ring.get_mut().next()?;
        bytemuck::try_pod_read_unaligned(&record).ok()
    }

    /// Throws away what has come until now.
    pub fn discard(&mut self) {
        while self.ring.get_mut().next().is_some() {}
    }
}
