//! What the verifier says of the BPF object, and how much room it leaves.

use std::io::{self, Write};

use anyhow::{Context, Result, ensure};
use aya::{EbpfLoader, programs::Xdp};
use lb_tests::{in_lab, lab::skip};

mod kernel;
use kernel::object;

/// The kernel's limit is 1,000,000 instructions that the verifier looks at. Older verifiers find fewer
/// states equal to ones that they have seen: Linux 6.1 looks at half as many again as 6.18.
const MAX_VERIFIED: u32 = 500_000;
const MAX_VERIFIED_BEFORE_6_18: u32 = 700_000;

const PROGRAMS: [&str; 5] = ["balance", "wind", "sweep", "weigh", "learn"];

#[test]
fn the_verifier_is_done_soon() {
    let Some(path) = object() else {
        return;
    };
    in_lab(|_| {
        let max_verified = if release()? < (6, 18) {
            MAX_VERIFIED_BEFORE_6_18
        } else {
            MAX_VERIFIED
        };
        let mut ebpf = EbpfLoader::new().load_file(&path)?;
        for name in PROGRAMS {
            let program: &mut Xdp = ebpf
                .program_mut(name)
                .with_context(|| format!("no program {name}"))?
                .try_into()?;
            program.load()?;
            let info = program.info()?;
            let verified = info
                .verified_instruction_count()
                .context("this kernel does not tell what it verified")?;
            // Past the test harness, which would keep to itself what a test that passes prints.
            writeln!(
                io::stdout(),
                "{name}: {verified} of at most {max_verified} instructions verified; \
                 {} bytes of BPF, {} bytes of machine code",
                info.size_translated().unwrap_or_default(),
                info.size_jitted(),
            )?;
            ensure!(verified <= max_verified, "{name}: {verified} instructions");
        }
        Ok(())
    });
}

/// The first two numbers of the kernel's release.
fn release() -> Result<(u32, u32)> {
    let name = nix::sys::utsname::uname()?;
    let text = name.release().to_str().context("a release of text")?;
    let (major, rest) = text.split_once('.').context("a release has a dot")?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next();
    Ok((major.parse()?, minor.unwrap_or_default().parse()?))
}

/// Also shows that libbpf takes the object: its maps are described in BTF.
#[test]
fn libbpf_loads_it() {
    let Some(path) = object() else {
        return;
    };
    in_lab(|lab| {
        let host = lab.host("router")?;
        if host.output("bpftool", ["version"]).is_err() {
            skip("bpftool is not installed");
            return Ok(());
        }
        let path = path.to_str().context("a path of text")?;
        // The pins are on the host's own mount and go with it.
        let said = host.output("bpftool", ["prog", "loadall", path, "/sys/fs/bpf/lb"])?;
        let log = [said.stdout, said.stderr].concat();
        let log = String::from_utf8_lossy(&log);
        ensure!(
            said.status.success(),
            "libbpf refuses it: {}",
            log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
        );
        Ok(())
    });
}
