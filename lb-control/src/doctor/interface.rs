//! One interface.

use std::collections::BTreeSet;

use super::{Facts, Level, Report, machine::numbers};
use crate::network::links::{Link, Xdp};

/// Drivers of Linux that run XDP programs themselves.
const NATIVE: &[&str] = &[
    "atlantic",
    "bnxt_en",
    "bonding",
    "dpaa2-eth",
    "ena",
    "fec",
    "fsl_dpa",
    "fsl_dpaa2_eth",
    "fsl_enetc",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "lan966x-switch",
    "mana",
    "mlx4_core",
    "mlx4_en",
    "mlx5_core",
    "mtk_soc_eth",
    "mvneta",
    "mvpp2",
    "netdevsim",
    "nfp",
    "nicvf",
    "qede",
    "rvu_nicpf",
    "rvu_nicvf",
    "sfc",
    "stmmaceth",
    "thunder-nicvf",
    "tsnep",
    "tun",
    "veth",
    "vif",
    "virtio_net",
    "vmxnet3",
];

/// Drivers that are often met and do not.
const GENERIC: &[&str] = &[
    "8139cp",
    "8139too",
    "atl1c",
    "be2net",
    "bnx2x",
    "bridge",
    "cdc_ether",
    "dummy",
    "e100",
    "e1000",
    "e1000e",
    "forcedeth",
    "macvlan",
    "r8152",
    "r8169",
    "sky2",
    "tg3",
];

/// Most drivers refuse a program on an interface with a longer MTU: a frame has to fit into a page.
const LONGEST: u32 = 3498;

/// Offloads that merge packets, by the kernel's name and that of `ethtool -K`.
const MERGING: &[(&str, &str)] = &[("rx-lro", "lro"), ("rx-gro-hw", "rx-gro-hw")];

pub(super) fn examine(facts: &Facts, name: &str, report: &mut Report) {
    let Ok(link) = facts.links.named(name) else {
        report
            .add(name, Level::Fault, format!("there is no interface {name}"))
            .mend("ip link show");
        return;
    };
    if !link.up {
        report
            .add(name, Level::Fault, "it is switched off")
            .mend(format!("ip link set dev {name} up"));
    } else if !link.carrier {
        report
            .add(name, Level::Warning, "it hears no other end")
            .mend("look at the cable, or at the other end");
    }
    let index = facts.machine.read(&class(name, "ifindex"));
    if index != Some(link.index.to_string()) {
        // As after `nsenter --net`: what is there may have the name of ours and be another.
        let what = "the mounted /sys is of another network namespace: driver, queues and speed are not known";
        xdp(facts, link, link.veth.then_some("veth"), report);
        frames(facts, link, report);
        report.add(name, Level::Note, what);
        return;
    }
    let driver = driver(facts, link);
    xdp(facts, link, driver.as_deref(), report);
    frames(facts, link, report);
    place(facts, link, report);
    if link.vlan.is_none() && !facts.machine.has(&class(name, "bridge")) {
        queues(facts, link, driver.as_deref(), report);
    }
    speed(facts, link, report);
}

fn class(name: &str, file: &str) -> String {
    format!("sys/class/net/{name}/{file}")
}

/// By the device's link; what has no device by what it is.
fn driver(facts: &Facts, link: &Link) -> Option<String> {
    let machine = &facts.machine;
    let name = &link.name;
    if link.veth {
        return Some("veth".to_owned());
    }
    if let Some(driver) = machine.leads_to(&class(name, "device/driver")) {
        return Some(driver);
    }
    let kinds = [
        ("bridge", "bridge"),
        ("bonding", "bonding"),
        ("tun_flags", "tun"),
    ];
    let kind = kinds
        .iter()
        .find(|(file, _)| machine.has(&class(name, file)));
    kind.map(|(_, driver)| (*driver).to_owned())
}

fn xdp(facts: &Facts, link: &Link, driver: Option<&str>, report: &mut Report) {
    let name = &link.name;
    let is_ours = facts.ours.contains(name);
    match (link.xdp, is_ours) {
        (Some(_), false) => report
            .add(
                name,
                Level::Fault,
                "an XDP program is on it that is not pinned by us (below --bpffs), and there can be one only",
            )
            .mend(format!(
                "bpftool net list dev {name} names it; ip link set dev {name} xdp off"
            )),
        (Some(Xdp::Native), true) => {
            report.add(name, Level::Ok, "our program is on it, run by the driver");
        }
        (Some(Xdp::Generic), true) => report
            .add(
                name,
                Level::Warning,
                "our program is on it, but run by the kernel instead of the driver: slowly",
            )
            .mend("lb run --xdp native tells why the driver does not"),
        (None, true) => report
            .add(
                name,
                Level::Warning,
                "a link of ours is pinned for it, but no program is on it: the interface went and came",
            )
            .mend("restart `lb run`"),
        (None, false) => match driver {
            Some(driver) if NATIVE.contains(&driver) => {
                let what = format!("driver {driver}, which can run XDP programs (native)");
                report.add(name, Level::Ok, what);
            }
            Some(driver) if GENERIC.contains(&driver) => report
                .add(
                    name,
                    Level::Warning,
                    format!("driver {driver} cannot run XDP programs; the kernel does (generic), slowly"),
                )
                .mend("a card with another driver, such as ice, ixgbe, mlx5 or virtio_net"),
            Some(driver) => report
                .add(
                    name,
                    Level::Note,
                    format!("driver {driver}; whether it can run XDP programs is seen when it is tried"),
                )
                .mend("lb run --xdp native"),
            None => {
                report.add(name, Level::Note, "it has no driver of its own: the kernel runs programs (generic)");
            }
        },
    }
}

/// What frames look like when the program sees them.
fn frames(facts: &Facts, link: &Link, report: &mut Report) {
    let name = &link.name;
    if link.mtu > LONGEST && link.xdp != Some(Xdp::Native) {
        report
            .add(
                name,
                Level::Warning,
                format!(
                    "with an MTU of {} most drivers refuse XDP programs: {LONGEST} is what fits",
                    link.mtu
                ),
            )
            .mend(format!("ip link set dev {name} mtu 1500"));
    }
    let Some(offloads) = facts.offloads.get(name) else {
        report.add(name, Level::Note, "its offloads are not known");
        return;
    };
    for (offload, called) in MERGING {
        if offloads.contains(*offload) {
            report
                .add(
                    name,
                    Level::Warning,
                    format!(
                        "it merges packets ({called}); what was merged is too large to be sent on"
                    ),
                )
                .mend(format!("ethtool -K {name} {called} off"));
        }
    }
    let carries = |other: &&Link| {
        let parent = other.vlan.as_ref().and_then(|vlan| vlan.parent);
        parent == Some(link.index)
    };
    let vlans: Vec<_> = facts
        .links
        .iter()
        .filter(carries)
        .map(|vlan| vlan.name.as_str())
        .collect();
    if !vlans.is_empty() && offloads.contains("rx-vlan-hw-parse") {
        report
            .add(
                name,
                Level::Fault,
                format!(
                    "it carries {} and takes the tags off before the program sees them (rxvlan)",
                    vlans.join(", ")
                ),
            )
            .mend(format!("ethtool -K {name} rxvlan off"));
    }
    if link.veth && offloads.contains("tx-checksum-ip-generic") {
        report
            .add(
                name,
                Level::Note,
                "it is a veth: senders at either end must not leave checksums to hardware, and its other end needs gro",
            )
            .mend(format!("ethtool -K {name} tx off tso off; at the other end: ethtool -K IF gro on tx off tso off"));
    }
}

/// What it is a part of.
fn place(facts: &Facts, link: &Link, report: &mut Report) {
    let name = &link.name;
    let machine = &facts.machine;
    if let Some(vlan) = &link.vlan {
        let parent = vlan.parent.and_then(|index| facts.links.at(index));
        let parent = parent.map_or("another interface", |parent| parent.name.as_str());
        let what = format!(
            "it is VLAN {} of {parent}, where its frames come in",
            vlan.id
        );
        report.add(name, Level::Note, what);
    }
    if let Some(master) = machine.leads_to(&class(name, "master")) {
        if machine.has(&class(&master, "bonding")) {
            report
                .add(
                    name,
                    Level::Warning,
                    format!("it is a part of {master}: the program belongs on that"),
                )
                .mend(format!("lb run --interface {master}"));
        } else {
            report.add(
                name,
                Level::Warning,
                format!("it is a port of {master}: balanced packets go past the bridge"),
            );
        }
    }
    if let Some(mode) = machine.read(&class(name, "bonding/mode")) {
        let mode = mode.split(' ').next().unwrap_or_default().to_owned();
        let can = ["balance-rr", "active-backup", "balance-xor", "802.3ad"];
        match can.contains(&mode.as_str()) {
            true => {
                report.add(
                    name,
                    Level::Ok,
                    format!("it is a bond in mode {mode}, which can run XDP programs"),
                );
            }
            false => report
                .add(
                    name,
                    Level::Warning,
                    format!("a bond in mode {mode} does not run XDP programs itself"),
                )
                .mend("mode 802.3ad, active-backup, balance-rr or balance-xor"),
        }
    }
}

/// How the work is shared by CPUs.
fn queues(facts: &Facts, link: &Link, driver: Option<&str>, report: &mut Report) {
    let name = &link.name;
    let machine = &facts.machine;
    let queues = machine.list(&class(name, "queues"));
    let queues = queues
        .iter()
        .filter(|queue| queue.starts_with("rx-"))
        .count();
    let cpus = machine.cpus();
    match queues {
        0 => return,
        // A virtual interface has no queues to speak of: the sender's CPU does the work.
        1 if cpus > 1 && driver != Some("veth") => report
            .add(
                name,
                Level::Warning,
                format!("it has one receive queue: one CPU of {cpus} does all the work"),
            )
            .mend(format!(
                "ethtool -L {name} combined {cpus}, if `ethtool -l {name}` allows it"
            )),
        queues => {
            report.add(
                name,
                Level::Ok,
                format!("{queues} receive queues, {cpus} CPUs"),
            );
        }
    }
    let interrupts = machine.list(&class(name, "device/msi_irqs"));
    let used: BTreeSet<_> = interrupts
        .iter()
        .filter_map(|irq| {
            let effective = machine.read(&format!("proc/irq/{irq}/effective_affinity_list"));
            effective.or_else(|| machine.read(&format!("proc/irq/{irq}/smp_affinity_list")))
        })
        .flat_map(|list| numbers(&list))
        .collect();
    if queues > 1 && cpus > 1 && used.len() == 1 {
        report
            .add(
                name,
                Level::Warning,
                format!("all its interrupts go to one CPU of {cpus}"),
            )
            .mend("systemctl start irqbalance, or /proc/irq/N/smp_affinity_list by hand");
    }
}

fn speed(facts: &Facts, link: &Link, report: &mut Report) {
    let name = &link.name;
    let speed = facts.machine.read(&class(name, "speed"));
    let speed: Option<u32> = speed.and_then(|speed| speed.parse().ok());
    match speed.filter(|speed| *speed > 0) {
        Some(speed) if speed < 1000 => report
            .add(name, Level::Note, format!("its speed is {speed} Mbit/s"))
            .mend(format!("ethtool {name} says what both ends offer")),
        Some(speed) => {
            report.add(name, Level::Ok, format!("its speed is {speed} Mbit/s"));
        }
        None => {}
    }
    if facts.machine.read(&class(name, "duplex")).as_deref() == Some("half") {
        report
            .add(name, Level::Warning, "it is half duplex")
            .mend(format!("ethtool {name}; both ends should negotiate"));
    }
}
