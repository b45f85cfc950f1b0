//! The program on an interface, by a pinned link, so that it stays when the daemon goes and can be
//! replaced without a packet lost.

use std::{fs, path::Path};

use anyhow::{Context, anyhow, bail};
use aya::programs::{
    Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};
use tracing::{info, warn};

use super::kernel::Mode;

/// How the program runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// By the driver, before the kernel makes a packet of its own.
    Native,
    /// By the kernel's own packet handling: slow.
    Generic,
    /// As a daemon before this one attached it.
    TakenOver,
}

impl std::fmt::Display for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::TakenOver => "taken over",
        })
    }
}

/// Puts `program` on an interface, in the place of the one that is pinned at `pin`, if there is one.
pub(super) fn attach(
    program: &mut Xdp,
    interface: &str,
    mode: Mode,
    pin: &Path,
) -> anyhow::Result<Attached> {
    if pin.exists() {
        match replace(program, pin) {
            Ok(()) => {
                info!(interface, "program replaced");
                return Ok(Attached::TakenOver);
            }
            Err(error) => {
                // The interface went away and came again: the link leads nowhere.
                info!(interface, error = %format!("{error:#}"), "the old link is of no use");
                fs::remove_file(pin).with_context(|| format!("removing {}", pin.display()))?;
            }
        }
    }
    let attempts: &[(XdpMode, Attached)] = match mode {
        Mode::Native => &[(XdpMode::Driver, Attached::Native)],
        Mode::Generic => &[(XdpMode::Skb, Attached::Generic)],
        Mode::Auto => &[
            (XdpMode::Driver, Attached::Native),
            (XdpMode::Skb, Attached::Generic),
        ],
    };
    let mut refusal = anyhow!("no way to attach");
    for (xdp_mode, attached) in attempts {
        match attach_new(program, interface, *xdp_mode, pin) {
            Ok(()) => {
                if *attached == Attached::Generic && mode == Mode::Auto {
                    warn!(
                        interface,
                        "the driver has no native XDP: running in generic mode, slowly"
                    );
                }
                return Ok(*attached);
            }
            Err(error) if is_taken(&error) => {
                bail!(
                    "another XDP program is on {interface}: `bpftool net list dev {interface}` names \
                     it; it has to be taken off by what put it there (another lb: `lb detach`)"
                );
            }
            Err(error) => refusal = error,
        }
    }
    Err(refusal.context(format!("attaching the program to {interface}")))
}

fn attach_new(program: &mut Xdp, interface: &str, mode: XdpMode, pin: &Path) -> anyhow::Result<()> {
    let id = program.attach(interface, mode)?;
    let link = program.take_link(id)?;
    // aya falls back to netlink where the kernel refuses a link; such an attachment cannot be
    // pinned. Dropping it detaches.
    let link = FdLink::try_from(link)
        .map_err(|_| anyhow!("the kernel offers no BPF link for this interface"))?;
    link.pin(pin)
        .with_context(|| format!("pinning the link at {}", pin.display()))?;
    Ok(())
}

/// Puts `program` in the place of those whose links are pinned in a folder. Links that lead nowhere stay
/// as they are.
pub(super) fn replace_all(program: &mut Xdp, links: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(links)? {
        let pin = entry?.path();
        if let Err(error) = replace(program, &pin) {
            warn!(link = %pin.display(), error = %format!("{error:#}"), "the program was not replaced");
        }
    }
    Ok(())
}

fn replace(program: &mut Xdp, pin: &Path) -> anyhow::Result<()> {
    let link: FdLink = PinnedLink::from_pin(pin)?.into();
    let id = program.attach_to_link(XdpLink::try_from(link)?)?;
    // The pin holds the link from now on, so that removing it takes the program off.
    drop(program.take_link(id)?);
    Ok(())
}

/// Whether the kernel said that an XDP program is there already.
fn is_taken(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.raw_os_error() == Some(nix::libc::EBUSY))
}
