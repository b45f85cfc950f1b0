//! The program's side of the waiting room: the ring by which fragments come, the tables that say whether
//! the first one has come, and the way back into the program.

use std::io;

use anyhow::Context;
use aya::{
    Ebpf, TestRun, TestRunAttrs, TestRunOptions,
    maps::{HashMap, MapData, RingBuf},
    programs::{ProgramError, Xdp},
};
use aya_obj::programs::XdpAttachType;
use lb_common::{
    address::{Address4, Address6},
    flow::Flow,
    fragment::FragmentKey,
    state::TICK_SHIFT,
};
use nix::time::{ClockId, clock_gettime};
use tokio::io::{Interest, unix::AsyncFd};

use crate::waiting_room::{Datagram, Frame};

type Fragments<A> = HashMap<MapData, FragmentKey<A>, Flow<A>>;

/// What the waiting room has of the kernel.
pub struct Held {
    ring: AsyncFd<RingBuf<MapData>>,
    v4: Fragments<Address4>,
    v6: Fragments<Address6>,
    program: Xdp,
}

impl Held {
    /// Takes the maps. What lies in the ring from the time before is thrown away.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types whose descriptor changes; that of a ring does not"
    )]
    pub(super) fn open(ebpf: &mut Ebpf, program: Xdp) -> anyhow::Result<Self> {
        let mut map = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("there is no map `{name}`"))
        };
        let mut ring = RingBuf::try_from(map("held")?)?;
        while ring.next().is_some() {}
        Ok(Self {
            ring: AsyncFd::with_interest(ring, Interest::READABLE)?,
            v4: HashMap::try_from(map("fragments4")?)?,
            v6: HashMap::try_from(map("fragments6")?)?,
            program,
        })
    }

    /// Waits until there may be something to take.
    ///
    /// # Errors
    /// If that cannot be waited for.
    pub async fn wait(&self) -> io::Result<()> {
        // What comes from here on makes it ready again.
        self.ring.readable().await?.clear_ready();
        Ok(())
    }

    /// The next frame.
    pub fn take(&mut self) -> Option<Frame> {
        let record = self.ring.get_mut().next()?;
        let (interface, rest) = record.split_first_chunk::<4>()?;
        let (length, bytes) = rest.split_first_chunk::<4>()?;
        let length = u32::from_ne_bytes(*length) as usize;
        Some(Frame {
            interface: u32::from_ne_bytes(*interface),
            bytes: bytes.get(..length)?.to_vec(),
        })
    }

    /// Whether the first fragment of a datagram has come.
    #[must_use]
    pub fn has_come(&self, datagram: &Datagram) -> bool {
        let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
            return false;
        };
        let nanoseconds = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
        let now = (nanoseconds >> TICK_SHIFT) as u32;
        // One that cannot be read has not come.
        match datagram {
            Datagram::V4(key) => self.v4.get(key, 0).is_ok_and(|way| !way.is_expired(now)),
            Datagram::V6(key) => self.v6.get(key, 0).is_ok_and(|way| !way.is_expired(now)),
        }
    }

    /// Runs the program for a frame as if it came in now, and lets it do what the program says.
    ///
    /// # Errors
    /// The kernel's; it does so since Linux 5.18.
    pub fn hand_in(&self, frame: &Frame) -> Result<(), ProgramError> {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context: [u32; 6] = [0, frame.bytes.len() as u32, 0, frame.interface, 0, 0];
        self.program.test_run(TestRunOptions {
            data_in: Some(&frame.bytes),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::new()
        })?;
        Ok(())
    }
}

/// The program that is pinned.
pub(super) fn pinned(path: &std::path::Path) -> anyhow::Result<Xdp> {
    Xdp::from_pin(path, XdpAttachType::Interface).context("taking the pinned program")
}
