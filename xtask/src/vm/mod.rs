//! `cargo xtask vm`: runs something as root on Debian's own kernel, in a machine that is emulated.
//!
//! For what the kernel at hand lacks (IPVS, pktgen) and for the oldest kernel that we claim. The guest
//! has no disk: a kernel that is downloaded and unpacked, and a file system made for the run.

mod archive;
pub(crate) mod bench;
mod guest;
mod image;
mod ipvs;
mod kernel;
mod machine;
mod root_test;
mod unpacked;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

use anyhow::{Context as _, Result, ensure};

use self::{
    guest::Guest,
    kernel::{Choice, DEPMOD, LZ4},
    machine::{Build, QEMU, SETPRIV},
    root_test::RootTest,
};
use crate::{
    bpf::Builder,
    command,
    packages::{Package, Packages},
    report::Report,
    workspace::Workspace,
};

/// What a guest needs of this machine; all else is downloaded and not installed.
pub(crate) const PACKAGES: [Package; 4] = [QEMU, SETPRIV, DEPMOD, LZ4];

/// What the guest is, and what goes in and out.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    machine: Build,
    /// Debian's kernel: cloud, generic, or the file of a package linux-image-….deb
    #[arg(long, default_value = "cloud")]
    kernel: Choice,
    /// A file or folder for the guest; without a second path at the same place
    #[arg(long = "file", value_name = "PATH[:PATH]")]
    files: Vec<Passed>,
    /// A program with its libraries for the guest; without a second path in /bin
    #[arg(long = "program", value_name = "PATH[:PATH]")]
    programs: Vec<Passed>,
    /// Where what the command leaves in the guest's /out goes
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Something that goes into the guest.
#[derive(Clone, Debug)]
struct Passed {
    here: PathBuf,
    there: Option<PathBuf>,
}

impl From<&str> for Passed {
    fn from(text: &str) -> Self {
        let (here, there) = match text.split_once(':') {
            Some((here, there)) => (here, Some(there.into())),
            None => (text, None),
        };
        Self {
            here: here.into(),
            there,
        }
    }
}

/// What is run in a guest, if it is not a command.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Job {
    /// What the guest's verifier says of the BPF object (tests/verifier.rs)
    Verifier,
    /// The table of packets in the guest's kernel (tests/packets.rs)
    Packets,
    /// Any test of lb-tests that needs no more than the BPF object
    Test {
        /// The file in tests/tests, without its ending
        name: String,
        /// Arguments of the test program, such as the name of one test
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Record what IPVS chooses, for the tests of our schedulers
    Record {
        /// Only histories whose titles have this in them, and to standard output
        only: Option<String>,
    },
    /// Play the histories of IPVS, in a guest
    #[command(hide = true)]
    Play {
        /// Where the record goes
        path: PathBuf,
        /// Only histories whose titles have this in them
        #[arg(default_value = "")]
        only: String,
    },
}

impl Job {
    /// Does it.
    pub(crate) fn run(
        self,
        options: Options,
        workspace: &Workspace,
        packages: &Packages,
    ) -> Result<()> {
        let guest = || Guest::with_lab(options.machine, &options.kernel, packages);
        let test = |name: &str, arguments: &[String]| {
            let object = Builder::provide(packages)?.build(workspace)?;
            let test = RootTest { name, arguments };
            for (what, why) in test.run(guest()?, &object, workspace)? {
                command::tell(&format!("{what} skipped: {why}"));
            }
            Ok(())
        };
        match self {
            Self::Verifier => test(VERIFIER, &[BUDGET.to_owned()]),
            Self::Packets => test(PACKETS, &[]),
            Self::Test { name, arguments } => test(&name, &arguments),
            Self::Record { only } => ipvs::record(guest()?, only.as_deref(), workspace),
            Self::Play { path, only } => ipvs::play(&path, &only),
        }
    }
}

/// The test of the verifier's budget, in `lb-tests`. The other test of that file reads the verifier's
/// log, which takes minutes here.
const VERIFIER: &str = "verifier";
const BUDGET: &str = "the_verifier_is_done_soon";
/// The test of the table of packets.
const PACKETS: &str = "packets";

/// The part of `cargo xtask test` that runs in a guest: what another kernel makes of the BPF object.
pub(crate) fn test(object: &Path, workspace: &Workspace, packages: &Packages, report: &mut Report) {
    for (name, arguments) in [(VERIFIER, &[BUDGET.to_owned()][..]), (PACKETS, &[])] {
        let step = format!("{name} on Debian's stock kernel");
        let guest = match Guest::with_lab(Build::default(), &Choice::Cloud, packages) {
            Ok(guest) => guest,
            Err(error) => {
                report.skip(&step, &format!("{error:#}"));
                continue;
            }
        };
        let test = RootTest { name, arguments };
        let mut skipped = Vec::new();
        report.step(&step, || {
            skipped = test.run(guest, object, workspace)?;
            Ok(())
        });
        for (what, why) in skipped {
            report.skip(&format!("{step}, {what}"), &why);
        }
    }
}

/// Runs a command in a guest; its exit status becomes ours.
pub(crate) fn run(options: Options, words: &[OsString], packages: &Packages) -> Result<()> {
    ensure!(!words.is_empty(), "what shall the guest run? (after --)");
    let mut guest = Guest::new(options.machine, &options.kernel, packages)?;
    for Passed { here, there } in &options.files {
        let path = match there {
            Some(path) => path.clone(),
            None => {
                fs::canonicalize(here).with_context(|| format!("there is no {}", here.display()))?
            }
        };
        guest.image.copy(here, &path)?;
    }
    for Passed { here, there } in &options.programs {
        let name = here.file_name().context("a program has a name")?;
        let path = there
            .clone()
            .unwrap_or_else(|| Path::new("/bin").join(name));
        guest.image.program(here, &path)?;
    }
    let outcome = guest.run(&script(words))?;
    if let Some(folder) = options.out {
        outcome.write(&folder)?;
    }
    match outcome.status {
        0 => Ok(()),
        status => exit(status.into()),
    }
}

/// One word is a line for the shell; several are a command and its arguments.
fn script(words: &[OsString]) -> String {
    match words {
        [line] => line.to_string_lossy().into_owned(),
        [program, arguments @ ..] => command::typed(Command::new(program).args(arguments)),
        [] => String::new(),
    }
}
