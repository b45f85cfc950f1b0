//! The driver in the kernel: makes packets by a recipe and hands them to the balancer.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use lb_common::recipe::{Progress, Recipe, Target};

/// The driver.
pub(crate) struct Driver {
    ebpf: Ebpf,
    /// Where packets come in.
    interface: u32,
}

/// What was run in one call of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// What a packet took, in whole nanoseconds: the kernel divides.
    pub(crate) per_packet: Duration,
    /// What became of the last packet: an action of XDP.
    pub(crate) action: u32,
}

impl Run {
    /// What a packet took.
    pub(crate) const fn nanoseconds(&self) -> u64 {
        self.per_packet.as_nanos() as u64
    }
}

/// `XDP_ABORTED`.
const ABORTED: u32 = 0;

impl Driver {
    /// Loads the object. Nobody gets its packets yet but the program that does nothing.
    pub(crate) fn load(object: &Path, interface: u32) -> Result<Self> {
        let mut ebpf = open(object, &["drive", "bare"])?;
        let bare = program(&mut ebpf, "bare")?.fd()?.try_clone()?;
        let map = ebpf.map_mut("targets").context("the map `targets`")?;
        let mut targets = ProgramArray::try_from(map)?;
        targets.set(Target::Bare as u32, &bare, 0)?;
        Ok(Self { ebpf, interface })
    }

    /// From now on this balancer gets the packets.
    pub(crate) fn aim(&mut self, balancer: &Xdp) -> Result<()> {
        let map = self.ebpf.map_mut("targets");
        let mut targets = ProgramArray::try_from(map.context("the map `targets`")?)?;
        targets
            .set(Target::Balancer as u32, balancer.fd()?, 0)
            .context("the balancer cannot be called from the driver")
    }

    /// As many packets by this recipe.
    pub(crate) fn run(&mut self, recipe: &Recipe, packets: u32) -> Result<Run> {
        set(&mut self.ebpf, recipe)?;
        let run = self.call("drive", packets, None)?;
        if run.action == ABORTED {
            bail!("the driver or the balancer gave a packet up");
        }
        Ok(run)
    }

    /// The next packet by this recipe.
    pub(crate) fn look(&mut self, recipe: &Recipe) -> Result<Vec<u8>> {
        let recipe = Recipe {
            target: Target::Bare as u32,
            ..*recipe
        };
        set(&mut self.ebpf, &recipe)?;
        let mut frame = vec![0; Recipe::LENGTH];
        self.call("drive", 1, Some(&mut frame))?;
        Ok(frame)
    }

    /// As many repetitions of nothing but `XDP_TX`.
    pub(crate) fn run_bare(&mut self, packets: u32) -> Result<Run> {
        self.call("bare", packets, None)
    }

    fn call(&mut self, name: &str, packets: u32, last: Option<&mut [u8]>) -> Result<Run> {
        let frame = [0; Recipe::LENGTH];
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context: [u32; 6] = [0, Recipe::LENGTH as u32, 0, self.interface, 0, 0];
        let result = program(&mut self.ebpf, name)?
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                data_out: last,
                ctx_in: Some(bytemuck::bytes_of(&context)),
                repeat: packets,
                ..TestRunOptions::default()
            })
            .context("the kernel does not run the program (BPF_PROG_TEST_RUN)")?;
        Ok(Run {
            per_packet: result.duration,
            action: result.return_value,
        })
    }
}

/// Opens the object and loads these of its programs.
pub(crate) fn open(object: &Path, programs: &[&str]) -> Result<Ebpf> {
    let bytes = fs::read(object).with_context(|| format!("reading {}", object.display()))?;
    let mut ebpf = EbpfLoader::new()
        .load(&bytes)
        .context("loading the driver of measurements")?;
    let random = Progress {
        made: 0,
        random: 0x2545_f491,
    };
    let map = ebpf.map_mut("progress").context("the map `progress`")?;
    Array::try_from(map)?.set(0, random, 0)?;
    for name in programs {
        program(&mut ebpf, name)?
            .load()
            .with_context(|| format!("the kernel refused the program `{name}`"))?;
    }
    Ok(ebpf)
}

/// How packets are made from now on.
pub(crate) fn set(ebpf: &mut Ebpf, recipe: &Recipe) -> Result<()> {
    let map = ebpf.map_mut("recipe").context("the map `recipe`")?;
    Ok(Array::<_, Recipe>::try_from(map)?.set(0, recipe, 0)?)
}

pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name);
    Ok(program
        .with_context(|| format!("there is no program `{name}`"))?
        .try_into()?)
}
