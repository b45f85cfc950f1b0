//! What the kernel's IPVS does, recorded.
//!
//! [`record`] starts a guest whose kernel has IPVS; [`play`] is what runs there. The result is a text
//! that tests compare our own schedulers with: no test needs the guest.

mod director;
mod histories;
mod history;
mod table;
mod wire;

use std::{env, fs, io::Write as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use lb_tests::Lab;

use super::guest::Guest;
use crate::{command, workspace::Workspace};

/// Where the record is, from the top of the sources.
const RECORD: &str = "lb-control/tests/data/ipvs-schedulers.txt";
/// Where the guest has it, and where it comes back.
const PLAYED: &str = "ipvs.txt";

/// What is told of the file in the file, with the facts that it shows.
const HEAD: &str = include_str!("head.txt");

/// Has the guest play all histories and keeps what it says; or only those whose titles contain
/// `only`, and shows it.
pub(super) fn record(mut guest: Guest, only: Option<&str>, workspace: &Workspace) -> Result<()> {
    let xtask = env::current_exe().context("cannot tell where xtask is")?;
    guest.image.program(&xtask, Path::new("/bin/xtask"))?;
    let mut play = Command::new("xtask");
    play.args(["vm", "play"])
        .arg(Path::new("/out").join(PLAYED))
        .args(only);
    let outcome = guest.run(&command::typed(&play))?;
    ensure!(outcome.status == 0, "the guest could not record");
    let folder = workspace.target.join("guest");
    outcome.write(&folder)?;
    let text = fs::read_to_string(folder.join(PLAYED)).context("the guest recorded nothing")?;
    match only {
        Some(_) => Ok(write!(std::io::stdout(), "{text}")?),
        None => fs::write(workspace.root.join(RECORD), text).context("cannot write the record"),
    }
}

/// Plays the histories whose titles contain `only` (all if it is empty); writes them to `path`.
pub(super) fn play(path: &Path, only: &str) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut text = format!("{HEAD}#\n# Kernel {}\n", release.trim());
    for module in [
        "dummy",
        "veth",
        "sch_ingress",
        "cls_flower",
        "act_skbedit",
        "ip_vs",
    ] {
        command::run(Command::new("modprobe").arg(module))?;
    }
    let lab = Lab::new()?;
    for history in histories::all() {
        if !history.title.contains(only) {
            continue;
        }
        command::tell(&history.title);
        text.push('\n');
        text.push_str(&director::play(&lab, &history)?);
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
