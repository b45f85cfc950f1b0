//! The guest's first and only file system.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    archive::Archive,
    kernel::Kernel,
    unpacked::{self, Store},
};
use crate::command;

/// What the guest runs as its first process.
const INIT: &str = include_str!("init.sh");

/// Modules that lab, tests and comparisons with IPVS want. Those that are not there are built in.
const MODULES: [&str; 48] = [
    "ip_vs",
    "ip_vs_dh",
    "ip_vs_fo",
    "ip_vs_lblc",
    "ip_vs_lblcr",
    "ip_vs_lc",
    "ip_vs_mh",
    "ip_vs_nq",
    "ip_vs_ovf",
    "ip_vs_rr",
    "ip_vs_sed",
    "ip_vs_sh",
    "ip_vs_twos",
    "ip_vs_wlc",
    "ip_vs_wrr",
    "act_bpf",
    "act_gact",
    "act_mirred",
    "act_skbedit",
    "bridge",
    "cls_bpf",
    "cls_flower",
    "cls_matchall",
    "dummy",
    "fou",
    "fou6",
    "ip6_tunnel",
    "ip_gre",
    "ipip",
    "iptable_filter",
    "iptable_nat",
    "macvlan",
    "nf_conntrack",
    "nf_tables",
    "nft_ct",
    "nft_masq",
    "pktgen",
    "sch_fq_codel",
    "sch_ingress",
    "sit",
    "tun",
    "veth",
    "virtio_net",
    "virtio_pci",
    "virtio_rng",
    "xt_MASQUERADE",
    "xt_mark",
    "xt_state",
];

/// Packages that are only unpacked, and what their programs need.
const PACKAGES: [&str; 5] = [
    "busybox-static",
    "ipvsadm",
    "libnl-3-200",
    "libnl-genl-3-200",
    "libpopt0",
];
const BUSYBOX: &str = "bin/busybox";
/// Where Debian puts libraries.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Programs of this machine that the guest has in place of busybox's, if they are here.
const PROGRAMS: [&str; 9] = [
    "bash", "ip", "tc", "ethtool", "bpftool", "tcpdump", "taskset", "curl", "nsenter",
];

/// The file system of a guest.
#[derive(Debug)]
pub(crate) struct Image {
    archive: Archive,
    tools: PathBuf,
}

impl Image {
    /// A system with a shell, the usual programs, ipvsadm, and the modules of this kernel.
    pub(crate) fn base(kernel: &Kernel, store: &Store) -> Result<Self> {
        let tools = store.once("tools", |folder| {
            let mut packages = PACKAGES.iter();
            packages.try_for_each(|package| unpacked::fetch(package, folder))
        })?;
        let mut image = Self {
            archive: Archive::default(),
            tools,
        };
        for folder in [
            "proc",
            "sys",
            "dev",
            "tmp",
            "out",
            "etc",
            "root",
            "run/netns",
            "var/tmp",
            "guest",
        ] {
            image.archive.folder(&Path::new("/").join(folder));
        }
        for (link, target) in [("/sbin", "bin"), ("/var/run", "/run")] {
            image.archive.link(Path::new(link), Path::new(target));
        }
        image
            .archive
            .file(Path::new("/init"), 0o755, INIT.as_bytes());
        image.programs()?;
        for (file, path) in kernel.modules(&MODULES)? {
            image.archive.copy(&file, &path)?;
        }
        Ok(image)
    }

    /// A program of this machine, with the libraries that it needs.
    pub(crate) fn program(&mut self, from: &Path, path: &Path) -> Result<()> {
        self.archive.copy(from, path)?;
        for library in self.libraries(from)? {
            let inside = library
                .strip_prefix(&self.tools)
                .map_or_else(|_| library.clone(), |inside| Path::new("/").join(inside));
            self.archive.copy(&library, &inside)?;
        }
        Ok(())
    }

    /// A file or folder of this machine.
    pub(crate) fn copy(&mut self, from: &Path, path: &Path) -> Result<()> {
        self.archive.copy(from, path)
    }

    /// The bytes of the file system, in which `script` is what is to be run.
    pub(crate) fn finish(mut self, script: &str) -> Vec<u8> {
        let path = Path::new("/guest/command");
        self.archive.file(path, 0o644, script.as_bytes());
        self.archive.finish()
    }

    fn programs(&mut self) -> Result<()> {
        for name in PROGRAMS {
            if let Some(program) = command::program(name) {
                self.program(&program, &Path::new("/bin").join(name))?;
            }
        }
        let ipvsadm = self.tools.join("sbin/ipvsadm");
        self.program(&ipvsadm, Path::new("/bin/ipvsadm"))?;
        let busybox = self.tools.join(BUSYBOX);
        self.copy(&busybox, Path::new("/bin/busybox"))?;
        let applets = command::answer(Command::new(&busybox).arg("--list"))
            .context("busybox does not start")?;
        for applet in applets.lines() {
            let path = Path::new("/bin").join(applet);
            self.archive.link(&path, Path::new("busybox"));
        }
        Ok(())
    }

    /// What the dynamic linker would load. A program that needs no library has none.
    fn libraries(&self, program: &Path) -> Result<Vec<PathBuf>> {
        let folders = LIBRARIES.map(|folder| self.tools.join(folder));
        let mut ldd = Command::new("ldd");
        ldd.arg(program)
            .env("LD_LIBRARY_PATH", std::env::join_paths(folders)?);
        let answer = command::answer(&mut ldd).unwrap_or_default();
        Ok(libraries(&answer).filter(|path| path.is_file()).collect())
    }
}

/// Lines of ldd: `libc.so.6 => /lib/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn libraries(answer: &str) -> impl Iterator<Item = PathBuf> {
    answer
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_tells() {
        let answer = "\tlinux-vdso.so.1 (0x7ffd)\n\
             \tlibpopt.so.0 => /t/lib/libpopt.so.0 (0x7f1)\n\
             \tlibgone.so => not found\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x7f2)\n";
        let found: Vec<PathBuf> = libraries(answer).collect();
        let paths = ["/t/lib/libpopt.so.0", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, paths.map(PathBuf::from));
        assert_eq!(libraries("\tstatically linked\n").count(), 0);
    }
}
