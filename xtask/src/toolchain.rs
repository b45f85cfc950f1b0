//! The compiler for BPF: `core` is built with the program, so a compiler that takes `-Z build-std`
//! and the standard library's sources of exactly that compiler are needed.
//!
//! Two ways: a nightly of rustup with the component `rust-src`, or Debian's pair `rustc-web` and
//! `rust-web-src`, a stable compiler that `RUSTC_BOOTSTRAP=1` makes take unstable options.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    command,
    packages::{self, Packages},
    rustc::Rustc,
};

/// The nightly: its LLVM is that of Debian's rustc-web and of the pinned bpf-linker.
const NIGHTLY: &str = "nightly-2026-05-20";
/// Debian puts its compiler and its sources here.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Forces one way: `rustup` or `debian`.
const FORCE: &str = "LB_BPF_TOOLCHAIN";

/// Where a compiler comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Rustup,
    Debian,
}

/// One thing to try in order to have a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Use(Way),
    Install(Way),
}

/// What is there.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    forced: Option<Way>,
    rustup: bool,
    nightly: bool,
    debian: bool,
}

/// A compiler for BPF.
#[derive(Debug)]
pub(crate) struct Toolchain {
    way: Way,
    /// The `bin` of the nightly; Debian's is not used through it.
    cargo: PathBuf,
    rustc: PathBuf,
}

/// Finds a compiler, or installs one.
pub(crate) fn provide(packages: &Packages) -> Result<Toolchain> {
    let facts = Facts::find()?;
    let mut reasons = Vec::new();
    for attempt in attempts(facts) {
        match attempt.make(packages) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => {
                let reason = format!("{}: {error:#}", attempt.way().name());
                command::tell(&format!("no compiler for BPF by way of {reason}"));
                reasons.push(format!("    {reason}\n"));
            }
        }
    }
    if !facts.rustup {
        reasons.insert(
            0,
            "    rustup: it is not installed (https://rustup.rs)\n".to_owned(),
        );
    }
    bail!(
        "there is no compiler for BPF:\n{}Type one of these (`cargo xtask tools --print` tells the \
         rest):\n{}",
        reasons.concat(),
        typed()
    )
}

/// What a person types to have a compiler for BPF: one line for each way.
pub(crate) fn typed() -> String {
    let debian = packages::typed(&DEBIAN_PACKAGES);
    format!("    {}\n    {debian}", command::typed(&install_nightly()))
}

/// The order: what is there before what would have to be installed, rustup before Debian.
fn attempts(facts: Facts) -> Vec<Attempt> {
    let wanted = |way| facts.forced.is_none_or(|forced| forced == way);
    let all = [
        (facts.nightly, Attempt::Use(Way::Rustup)),
        (facts.debian, Attempt::Use(Way::Debian)),
        (
            facts.rustup && !facts.nightly,
            Attempt::Install(Way::Rustup),
        ),
        (!facts.debian, Attempt::Install(Way::Debian)),
    ];
    let possible = all
        .into_iter()
        .filter(|(possible, attempt)| *possible && wanted(attempt.way()));
    possible.map(|(_, attempt)| attempt).collect()
}

impl Way {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "rustup" => Ok(Self::Rustup),
            "debian" => Ok(Self::Debian),
            other => bail!("{FORCE} is {other:?}; it takes rustup or debian"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian => "Debian",
        }
    }
}

impl Facts {
    fn find() -> Result<Self> {
        let forced = match env::var(FORCE) {
            Ok(text) if !text.is_empty() => Some(Way::parse(&text)?),
            Ok(_) | Err(_) => None,
        };
        Ok(Self {
            forced,
            rustup: command::program("rustup").is_some(),
            nightly: nightly().is_ok(),
            debian: debian().is_ok(),
        })
    }
}

impl Attempt {
    fn way(self) -> Way {
        match self {
            Self::Use(way) | Self::Install(way) => way,
        }
    }

    fn make(self, packages: &Packages) -> Result<Toolchain> {
        match self {
            Self::Use(_) => {}
            Self::Install(Way::Rustup) => {
                command::tell(&format!("installing the toolchain {NIGHTLY} (once)"));
                command::run(&mut install_nightly())?;
            }
            Self::Install(Way::Debian) => packages.install(&DEBIAN_PACKAGES)?,
        }
        match self.way() {
            Way::Rustup => nightly(),
            Way::Debian => debian(),
        }
    }
}

impl Toolchain {
    /// Cargo, told to use this compiler and nothing that is meant for the host's.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(&self.cargo);
        cargo
            .env("RUSTC", &self.rustc)
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("CARGO");
        match self.way {
            Way::Rustup => cargo.env("RUSTUP_TOOLCHAIN", NIGHTLY),
            Way::Debian => cargo.env("RUSTC_BOOTSTRAP", "1"),
        };
        cargo
    }

    /// Whether this compiler has clippy.
    pub(crate) fn has_clippy(&self) -> bool {
        self.way == Way::Rustup && self.cargo.with_file_name("cargo-clippy").is_file()
    }

    /// Why not, or what to type.
    pub(crate) fn without_clippy(&self) -> String {
        match self.way {
            Way::Rustup => format!("type: rustup component add clippy --toolchain {NIGHTLY}"),
            Way::Debian => "Debian has no clippy for its rustc-web".to_owned(),
        }
    }

    /// In a word or two, for a person.
    pub(crate) fn describe(&self) -> String {
        match self.way {
            Way::Rustup => format!("rustup's {NIGHTLY}"),
            Way::Debian => format!("Debian's {}", DEBIAN_PACKAGES[0]),
        }
    }
}

fn install_nightly() -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
    rustup.args(["--component", "rust-src", "--no-self-update"]);
    // A person reads what it says when there is no network.
    rustup.env_remove("RUST_BACKTRACE");
    rustup
}

/// The pinned nightly, if it is there with the sources. Its folder says so; rustup is not asked.
fn nightly() -> Result<Toolchain> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")));
    let toolchains = home
        .context("neither RUSTUP_HOME nor HOME is set")?
        .join("toolchains");
    let folders = fs::read_dir(&toolchains)
        .with_context(|| format!("cannot read {}", toolchains.display()))?;
    let found = folders
        .filter_map(|folder| Some(folder.ok()?.path()))
        .find(|folder| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix(NIGHTLY)
                .is_some_and(|host| host.starts_with('-'))
                && folder
                    .join("lib/rustlib/src/rust/library/Cargo.lock")
                    .is_file()
                && folder.join("bin/cargo").is_file()
        });
    let folder = found.ok_or_else(|| anyhow!("{NIGHTLY} with rust-src is not installed"))?;
    let (cargo, rustc) = (folder.join("bin/cargo"), folder.join("bin/rustc"));
    Ok(Toolchain {
        way: Way::Rustup,
        cargo,
        rustc,
    })
}

/// Debian's compiler, if it fits its sources, ours, and the linker.
fn debian() -> Result<Toolchain> {
    let sources = fs::canonicalize(DEBIAN_SOURCES).context("no sources of the standard library")?;
    let text = command::answer(Command::new(DEBIAN_RUSTC).arg("-vV"))
        .with_context(|| format!("{DEBIAN_RUSTC} does not start"))?;
    let rustc = Rustc::parse(&text).with_context(|| format!("{DEBIAN_RUSTC} -vV is strange"))?;
    rustc.fits(&sources)?;
    let cargo = command::cargo().get_program().into();
    Ok(Toolchain {
        way: Way::Debian,
        cargo,
        rustc: DEBIAN_RUSTC.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_comes_first_then_rustup_then_debian() {
        use Attempt::{Install, Use};
        use Way::{Debian, Rustup};
        let facts = |forced, rustup, nightly, debian| Facts {
            forced,
            rustup,
            nightly,
            debian,
        };
        let table: [(Facts, &[Attempt]); 9] = [
            (facts(None, false, false, false), &[Install(Debian)]),
            (
                facts(None, true, false, false),
                &[Install(Rustup), Install(Debian)],
            ),
            (
                facts(None, true, true, false),
                &[Use(Rustup), Install(Debian)],
            ),
            (
                facts(None, true, false, true),
                &[Use(Debian), Install(Rustup)],
            ),
            (facts(None, true, true, true), &[Use(Rustup), Use(Debian)]),
            (facts(Some(Debian), true, true, false), &[Install(Debian)]),
            (facts(Some(Debian), true, true, true), &[Use(Debian)]),
            (facts(Some(Rustup), true, false, true), &[Install(Rustup)]),
            (facts(Some(Rustup), false, false, true), &[]),
        ];
        for (facts, expected) in table {
            assert_eq!(attempts(facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn only_the_two_ways_can_be_forced() {
        assert_eq!(Way::parse("rustup").unwrap(), Way::Rustup);
        assert_eq!(Way::parse("debian").unwrap(), Way::Debian);
        assert!(Way::parse("fedora").is_err());
    }
}
