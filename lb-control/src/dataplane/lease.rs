//! The lease as the daemon writes it: for how long this director may answer for the addresses of services
//! ([`lb_common::lease`]). Who has it opens it by itself, from the pins, and writes from whatever thread: it
//! is one word, which the kernel copies as a whole.
//!
//! What is there stays when the daemon stops, is killed or starts again, and is gone with the pins (`lb
//! detach`). A data plane that is made anew has [`Lease::NONE`]: a director with a partner has to write what
//! it is before the program is put on the first interface.

use anyhow::Context;
use aya::maps::{Array, Map, MapData};
pub use lb_common::lease::Lease;
use nix::time::{ClockId, clock_gettime};

use super::bpffs::Pins;

/// The lease of a data plane that is pinned.
pub struct PinnedLease {
    map: Array<MapData, Lease>,
}

impl PinnedLease {
    /// Opens it.
    ///
    /// # Errors
    /// If there is no data plane, or none that has a lease.
    pub fn open(pins: &Pins) -> anyhow::Result<Self> {
        let path = pins.maps().join("lease");
        let map =
            MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))?;
        let map = Array::try_from(Map::Array(map)).context("the map `lease` has another layout")?;
        Ok(Self { map })
    }

    /// This director steers until this time ([`now`]), in nanoseconds.
    ///
    /// # Errors
    /// The kernel's; what was there stays.
    pub fn renew(&mut self, until: u64) -> anyhow::Result<()> {
        self.write(Lease::until(until))
    }

    /// The partner steers.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub fn standby(&mut self) -> anyhow::Result<()> {
        self.write(Lease::STANDBY)
    }

    /// There is no partner: this director steers.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub fn none(&mut self) -> anyhow::Result<()> {
        self.write(Lease::NONE)
    }

    /// What is there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self) -> anyhow::Result<Lease> {
        self.map.get(&0, 0).context("reading the lease")
    }

    fn write(&mut self, lease: Lease) -> anyhow::Result<()> {
        self.map.set(0, lease, 0).context("writing the lease")
    }
}

/// The time that leases count by: nanoseconds since the machine was started, those in which it was suspended
/// included, as `bpf_ktime_get_boot_ns` tells it.
///
/// # Errors
/// None on Linux since 2.6.39.
pub fn now() -> anyhow::Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).context("reading CLOCK_BOOTTIME")?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_given_to_a_thread() {
        fn is_send<T: Send>() {}
        is_send::<PinnedLease>();
    }

    #[test]
    fn without_a_data_plane_there_is_none() {
        let pins = Pins::below(std::path::Path::new("/nowhere"));
        let error = format!("{:#}", PinnedLease::open(&pins).err().unwrap());
        assert!(error.contains("/maps/lease"), "{error}");
    }
}
