//! The generator: real frames that go into a cable, and the sinks in which they end.
//!
//! A test run of the kernel with live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`) sends what the program redirects.
//! The kernel's own pktgen costs more: each of its packets is a new buffer of the stack, which a veth may have
//! to copy before an XDP program sees it (see `pktgen/module.rs`).

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::PerCpuArray,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, XdpMode},
};
use lb_common::recipe::Recipe;

use crate::driver::{open, program, set};

/// Generator and sinks.
pub(crate) struct Generator(Ebpf);

/// So many frames are on their way at once, as from a network card. The ring of a veth has room for 256.
const BATCH: u32 = 64;
/// Bytes that the program takes away from the front of each frame. A kernel that puts the header of a tunnel
/// there still has the room that it wants for an XDP program at the other end, and copies nothing.
const ROOM: usize = 64;

impl Generator {
    /// Loads the driver's object.
    pub(crate) fn load(object: &Path) -> Result<Self> {
        Ok(Self(open(object, &["lead", "sink", "onward"])?))
    }

    /// Ends all packets that come to an interface. To be called on the host that has it.
    pub(crate) fn end_at(&mut self, interface: &str) -> Result<()> {
        program(&mut self.0, "sink")?
            .attach(interface, XdpMode::Driver)
            .with_context(|| format!("attaching the sink to {interface}"))?;
        Ok(())
    }

    /// Sends all packets that come to an interface on by the one whose number is the target of `recipe`; this
    /// one then generates no others. To be called on the host that has both.
    pub(crate) fn pass_on(&mut self, interface: &str, recipe: &Recipe) -> Result<()> {
        set(&mut self.0, recipe)?;
        program(&mut self.0, "onward")?
            .attach(interface, XdpMode::Driver)
            .with_context(|| format!("attaching to {interface}"))?;
        Ok(())
    }

    /// Sends packets by a recipe, whose target is the number of an interface. To be called on the host that
    /// has it. All of them have to arrive. What each took, in nanoseconds as the kernel counts them: those in
    /// which it waits for others, before and after, are not among them.
    pub(crate) fn send(&mut self, recipe: &Recipe, packets: u32) -> Result<u64> {
        let before = self.sunk()?;
        let time = self.push(recipe, packets)?;
        // Each batch has been dealt with before the next one is made.
        let arrived = self.sunk()?.wrapping_sub(before);
        ensure!(
            arrived == u64::from(packets),
            "{arrived} of {packets} packets arrived"
        );
        Ok(time)
    }

    /// As [`Self::send`], whether they arrive or not.
    pub(crate) fn push(&mut self, recipe: &Recipe, packets: u32) -> Result<u64> {
        set(&mut self.0, recipe)?;
        let frame = vec![0; ROOM + recipe.length as usize];
        let run = program(&mut self.0, "lead")?
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                repeat: packets,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .context("the kernel sends no live frames (BPF_PROG_TEST_RUN)")?;
        Ok(u64::try_from(run.duration.as_nanos())?)
    }

    /// How many packets ended at its sinks so far.
    pub(crate) fn sunk(&self) -> Result<u64> {
        let map = self.0.map("sunk").context("the map `sunk`")?;
        let sunk = PerCpuArray::<_, u64>::try_from(map)?.get(&0, 0)?;
        Ok(sunk.iter().sum())
    }
}
