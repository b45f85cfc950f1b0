//! `cargo xtask vm`: runs something as root on Debian's own kernel, in a machine that is emulated.
//!
//! For what the kernel at hand lacks (IPVS, pktgen) and for the oldest kernel that we claim. The guest
//! has no disk: a kernel that is downloaded and unpacked, and a file system made for the run.

mod archive;
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

use self::{guest::Guest, kernel::Choice, machine::Build};
use crate::{bpf::Builder, command, packages::Packages, report::Report, workspace::Workspace};

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
    /// Run tests/verifier.rs: what the guest's verifier says of the BPF object
    Verifier,
    /// Run tests/packets.rs: the table of packets in the guest's kernel
    Packets,
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
        let test = |name| {
            let object = Builder::provide(packages)?.build(workspace)?;
            root_test::run(guest()?, name, &object, workspace, &mut |what, why| {
                command::tell(&format!("{what} skipped: {why}"));
            })
        };
        match self {
            Self::Verifier => test(VERIFIER),
            Self::Packets => test("packets"),
            Self::Record { only } => ipvs::record(guest()?, only.as_deref(), workspace),
            Self::Play { path, only } => ipvs::play(&path, &only),
        }
    }
}

/// The test of the verifier's budget, in `lb-tests`.
const VERIFIER: &str = "verifier";

/// The part of `cargo xtask test` that runs in a guest: the verifier of another kernel.
pub(crate) fn test(object: &Path, workspace: &Workspace, packages: &Packages, report: &mut Report) {
    let name = "the verifier of Debian's stock kernel";
    let guest = match Guest::with_lab(Build::default(), &Choice::Cloud, packages) {
        Ok(guest) => guest,
        Err(error) => return report.skip(name, &format!("{error:#}")),
    };
    let mut skipped = Vec::new();
    report.step(name, || {
        root_test::run(guest, VERIFIER, object, workspace, &mut |what, why| {
            skipped.push((what.to_owned(), why.to_owned()));
        })
    });
    for (what, why) in skipped {
        report.skip(&format!("{what} ({name})"), &why);
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
