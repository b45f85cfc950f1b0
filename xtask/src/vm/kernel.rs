//! The guest's kernel: Debian's own, with its modules.

use std::{
    fs::{self, File},
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::unpacked::{self, Store};
use crate::{
    command,
    packages::{Package, Packages},
};

/// What finds out which module needs which.
pub(super) const DEPMOD: Package = Package::new("kmod", "depmod");
/// What Debian's kernels are packed with.
pub(super) const LZ4: Package = Package::new("lz4", "lz4");

/// Which kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Debian's kernel for virtual machines: the smallest.
    Cloud,
    /// Debian's kernel for all machines.
    Generic,
    /// The file of a package `linux-image-…`.
    File(PathBuf),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "cloud" => Ok(Self::Cloud),
            "generic" => Ok(Self::Generic),
            file if file.ends_with(".deb") => Ok(Self::File(file.into())),
            other => Err(format!(
                "{other} is neither cloud, generic nor the file of a package (.deb)"
            )),
        }
    }
}

impl Choice {
    /// The name of the folder that it is unpacked into.
    fn folder(&self) -> Result<String> {
        Ok(match self {
            Self::Cloud => "kernel-cloud".to_owned(),
            Self::Generic => "kernel-generic".to_owned(),
            Self::File(file) => {
                let name = file.file_stem().context("the package has no name")?;
                format!("kernel-{}", name.to_string_lossy())
            }
        })
    }

    fn unpack(&self, into: &Path) -> Result<()> {
        let newest = match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::Generic => "linux-image-amd64",
            Self::File(file) => return unpacked::unpack(file, into),
        };
        let answer = command::answer(Command::new("apt-cache").args(["depends", newest]))
            .with_context(|| format!("apt-cache does not know {newest}"))?;
        let package = answer
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: "))
            .with_context(|| format!("{newest} depends on no kernel"))?;
        unpacked::fetch(package, into)
    }
}

/// A kernel that is unpacked.
#[derive(Debug)]
pub(crate) struct Kernel {
    folder: PathBuf,
    release: String,
}

impl Kernel {
    /// Finds the kernel in the store, or puts it there.
    pub(crate) fn provide(choice: &Choice, store: &Store, packages: &Packages) -> Result<Self> {
        let folder = store.once(&choice.folder()?, |folder| {
            choice.unpack(folder)?;
            let release = release(folder)?;
            decompress_modules(&folder.join("lib/modules"), packages)?;
            let depmod = command::program("depmod").context("no depmod")?;
            command::run(Command::new(depmod).arg("-b").arg(folder).arg(&release))?;
            let packed = folder.join("boot").join(format!("vmlinuz-{release}"));
            decompress_kernel(&packed, &folder.join("vmlinux"), packages)
        })?;
        let release = release(&folder)?;
        Ok(Self { folder, release })
    }

    /// The kernel as QEMU starts it: bare, so that neither a BIOS nor the kernel's own decompressor
    /// spends emulated seconds.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    /// Of these modules and all that they need, the files here and the paths in the guest.
    /// Modules that this kernel lacks are left out: they may be built in.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<(PathBuf, PathBuf)>> {
        let modules = self.modules_folder();
        let path = modules.join("modules.dep");
        let table =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut wanted: Vec<&str> = table
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(module, _)| names.contains(&module_name(module).as_str()))
            .flat_map(|(module, needs)| std::iter::once(module).chain(needs.split_whitespace()))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let indices = [
            "modules.dep",
            "modules.alias",
            "modules.symbols",
            "modules.builtin",
            "modules.order",
        ];
        let guest = Path::new("/lib/modules").join(&self.release);
        Ok(wanted
            .into_iter()
            .chain(indices)
            .map(|file| (modules.join(file), guest.join(file)))
            .collect())
    }

    fn modules_folder(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.release)
    }
}

/// `kernel/net/netfilter/ipvs/ip_vs.ko` is `ip_vs`; in file names `-` and `_` are the same.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn release(folder: &Path) -> Result<String> {
    let modules = folder.join("lib/modules");
    let entry = fs::read_dir(&modules)
        .with_context(|| format!("no kernel in {}", folder.display()))?
        .next()
        .with_context(|| format!("{} is empty", modules.display()))??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

/// The guest's modprobe takes plain modules only.
fn decompress_modules(folder: &Path, packages: &Packages) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            decompress_modules(&path, packages)?;
        } else if path.extension().is_some_and(|ending| ending == "xz") {
            packages.provide(&[Package::new("xz-utils", "xz")])?;
            command::run(Command::new("xz").arg("-d").arg(&path))?;
        }
    }
    Ok(())
}

/// How a kernel may be packed: its first bytes, the program that unpacks it, the program's package.
const PACKINGS: [(&[u8], &[&str], &str); 4] = [
    (b"\xfd7zXZ", &["xz", "-dcqq", "--single-stream"], "xz-utils"),
    (b"\x28\xb5\x2f\xfd", &["zstd", "-dcq"], "zstd"),
    (b"\x02\x21\x4c\x18", &["lz4", "-dc"], "lz4"),
    (b"\x1f\x8b", &["gzip", "-dcq"], "gzip"),
];

/// Writes the bare kernel that is in a `vmlinuz`.
fn decompress_kernel(packed: &Path, bare: &Path, packages: &Packages) -> Result<()> {
    let unreadable = || format!("cannot unpack {}", packed.display());
    let bytes = fs::read(packed).with_context(unreadable)?;
    let payload = payload(&bytes).with_context(unreadable)?;
    let (_, words, package) = PACKINGS
        .into_iter()
        .find(|(magic, _, _)| payload.starts_with(magic))
        .with_context(|| format!("{} is packed in an unknown way", packed.display()))?;
    let [program, arguments @ ..] = words else {
        bail!("no program unpacks {}", packed.display());
    };
    // A program that reads a file cannot wait for us while we wait for it, as one with two pipes could.
    let mut input = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(bare.with_extension("packed"))?;
    input.write_all(payload)?;
    input.rewind()?;
    fs::remove_file(bare.with_extension("packed"))?;
    if command::program(program).is_none() {
        packages.install(&[package])?;
    }
    let status = Command::new(program)
        .args(arguments)
        .stdin(input)
        .stdout(File::create(bare)?)
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    let whole = fs::metadata(bare)?.len() > payload.len() as u64;
    // What follows the packed kernel in the file makes some of these programs complain at the end.
    ensure!(status.success() || whole, "{program} ended with {status}");
    Ok(())
}

/// The packed kernel in a `vmlinuz` (the kernel's `Documentation/arch/x86/boot.rst`: `setup_sects`,
/// `payload_offset`, `payload_length`). Its last four bytes are the length of what is packed.
fn payload(file: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| {
        let bytes = file.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    file.get(0x202..).filter(|rest| rest.starts_with(b"HdrS"))?;
    let sectors = usize::from(*file.get(0x1f1)?);
    let start = (sectors + 1) * 512 + number(0x248)?;
    file.get(start..start + number(0x24c)?.checked_sub(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_chosen_by_name_or_file() {
        let table = [
            ("cloud", Ok(Choice::Cloud)),
            ("generic", Ok(Choice::Generic)),
            ("k/linux.deb", Ok(Choice::File("k/linux.deb".into()))),
            ("6.1", Err(())),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Choice>().map_err(drop), expected, "{text}");
        }
    }

    #[test]
    fn modules_are_known_by_their_names() {
        let table = [
            ("kernel/net/netfilter/ipvs/ip_vs.ko", "ip_vs"),
            ("kernel/net/core/pktgen.ko.xz", "pktgen"),
            ("kernel/net/sched/sch-x.ko", "sch_x"),
        ];
        for (path, name) in table {
            assert_eq!(module_name(path), name, "{path}");
        }
    }

    #[test]
    fn the_payload_is_where_the_header_says() {
        let mut file = vec![0; 3 * 512];
        file[0x1f1] = 1;
        file[0x202..0x206].copy_from_slice(b"HdrS");
        file[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        file[0x24c..0x250].copy_from_slice(&7_u32.to_le_bytes());
        file[1040..1043].copy_from_slice(b"xyz");
        assert_eq!(payload(&file), Some(&b"xyz"[..]));
        file[0x202] = 0;
        assert_eq!(payload(&file), None);
    }
}
