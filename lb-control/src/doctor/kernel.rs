//! The kernel, and what we may do.

use super::{Facts, Level, Report};
use crate::preflight;

const ABOUT: &str = "kernel";

/// The oldest kernel that releases are tried on.
const TRIED: (u32, u32) = (6, 1);

pub(super) fn examine(facts: &Facts, report: &mut Report) {
    release(facts, report);
    rights(facts, report);
    let machine = &facts.machine;
    match machine.has("sys/kernel/btf/vmlinux") {
        true => report.add(ABOUT, Level::Ok, "it describes its types (BTF)"),
        false => report.add(
            ABOUT,
            Level::Note,
            "it does not describe its types (CONFIG_DEBUG_INFO_BTF): tools such as bpftool show less",
        ),
    };
    let mounts = machine.read("proc/self/mounts").unwrap_or_default();
    let is_mounted = mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some("/sys/fs/bpf") && words.next() == Some("bpf")
    });
    match is_mounted {
        true => {
            report.add(ABOUT, Level::Ok, "a bpf filesystem is mounted on /sys/fs/bpf");
        }
        false => report
            .add(
                ABOUT,
                Level::Note,
                "no bpf filesystem is mounted on /sys/fs/bpf; `lb run` mounts it, if it has CAP_SYS_ADMIN",
            )
            .mend("mount -t bpf bpf /sys/fs/bpf"),
    }
    jit(facts, report);
}

fn release(facts: &Facts, report: &mut Report) {
    let release = facts
        .machine
        .setting("kernel/osrelease")
        .unwrap_or_default();
    let (major, minor) = preflight::OLDEST;
    match preflight::version(&release) {
        Some(version) if version < preflight::OLDEST => report
            .add(
                ABOUT,
                Level::Fault,
                format!("Linux {release} is too old: {major}.{minor} or newer is needed"),
            )
            .mend("install a newer kernel"),
        Some(version) if version < TRIED => {
            let (major, minor) = TRIED;
            let what =
                format!("Linux {release}; nothing older than {major}.{minor} is tried by us");
            report.add(ABOUT, Level::Note, what);
        }
        Some(_) => {
            report.add(ABOUT, Level::Ok, format!("Linux {release}"));
            report.add(
                ABOUT,
                Level::Ok,
                "the limit of locked memory (memlock) does not hold for maps",
            );
        }
        None => {
            report.add(
                ABOUT,
                Level::Note,
                format!("the release {release:?} is not understood"),
            );
        }
    }
}

fn rights(facts: &Facts, report: &mut Report) {
    let status = facts.machine.read("proc/self/status").unwrap_or_default();
    match preflight::missing_rights(&status) {
        Some(missing) if missing.is_empty() => {
            report.add(ABOUT, Level::Ok, "we have all rights that `lb run` needs");
        }
        Some(missing) => report
            .add(
                ABOUT,
                Level::Fault,
                format!("we may not run a director: {} missing", missing.join(", ")),
            )
            .mend("run it as root, or give it these capabilities"),
        None => {
            report.add(ABOUT, Level::Note, "our capabilities are not known");
        }
    }
}

fn jit(facts: &Facts, report: &mut Report) {
    match facts.machine.setting("net/core/bpf_jit_enable").as_deref() {
        Some("0") => report
            .add(
                ABOUT,
                Level::Warning,
                "the BPF compiler (JIT) is off: each packet takes many times as long",
            )
            .mend("sysctl -w net.core.bpf_jit_enable=1"),
        Some(_) => {
            report.add(ABOUT, Level::Ok, "the BPF compiler (JIT) is on");
        }
        None => {
            report.add(
                ABOUT,
                Level::Note,
                "whether the BPF compiler (JIT) is on is told in the machine's own network namespace only",
            );
        }
    }
    if facts.machine.setting("net/core/bpf_jit_harden").as_deref() == Some("2") {
        report
            .add(
                ABOUT,
                Level::Note,
                "the BPF compiler hardens programs of root too, which makes them slower",
            )
            .mend("sysctl -w net.core.bpf_jit_harden=1");
    }
}
