use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;
use crate::{
    config,
    network::links::{Tag, Vlan, Xdp},
};

/// A machine where everything is as it should be: eth0 has the driver ice, two queues and two CPUs.
struct World {
    root: TempDir,
    facts: Facts,
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        up: true,
        carrier: true,
        vlan: None,
        veth: false,
        xdp: None,
    }
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let facts = Facts {
            machine: Machine::below(root.path()),
            links: [link(2, "eth0")].into_iter().collect(),
            addresses: vec![("eth0".to_owned(), [192, 0, 2, 2].into())],
            offloads: [("eth0".to_owned(), BTreeSet::new())].into(),
            ours: BTreeSet::new(),
        };
        let world = Self { root, facts };
        for (path, text) in [
            ("proc/sys/kernel/osrelease", "6.12.1-amd64\n"),
            ("proc/self/status", "CapEff:\t000001ffffffffff\n"),
            ("proc/self/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n"),
            (
                "proc/self/limits",
                "Max open files            1024                 524288               files\n",
            ),
            ("proc/sys/net/core/bpf_jit_enable", "1\n"),
            ("proc/sys/net/ipv4/ip_forward", "1\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("proc/sys/net/ipv4/conf/all/rp_filter", "0\n"),
            ("proc/sys/net/ipv4/conf/eth0/rp_filter", "0\n"),
            ("proc/irq/40/effective_affinity_list", "0\n"),
            ("proc/irq/41/effective_affinity_list", "1\n"),
            ("sys/kernel/btf/vmlinux", ""),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", ""),
            ("sys/class/net/eth0/queues/rx-1/rps_cpus", ""),
            ("sys/class/net/eth0/device/msi_irqs/40", ""),
            ("sys/class/net/eth0/device/msi_irqs/41", ""),
            ("sys/class/net/eth0/speed", "25000\n"),
            ("sys/class/net/eth0/ifindex", "2\n"),
        ] {
            world.write(path, text);
        }
        world.lead("sys/class/net/eth0/device/driver", "ice");
        world
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.root.path().join(path);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    fn lead(&self, path: &str, to: &str) {
        let path = self.root.path().join(path);
        let _ = fs::remove_file(&path);
        symlink(format!("../somewhere/{to}"), path).unwrap();
    }

    fn links(&mut self, links: impl IntoIterator<Item = Link>) {
        self.facts.links = links.into_iter().collect();
    }

    /// All that is not ok: how bad, and what.
    fn findings(&self, site: Option<&Site>) -> Vec<(Level, String)> {
        let report = examine(&self.facts, &["eth0".to_owned()], site);
        let bad = report
            .findings
            .into_iter()
            .filter(|finding| finding.level != Level::Ok);
        bad.map(|finding| (finding.level, finding.what)).collect()
    }
}

fn site(network: &str, more: &str, server_address: &str) -> Site {
    let text = format!(
        "network = {network}\nvirtual web {{\n active = 1\n address = 192.0.2.10 eth0:1\n port = 80\n {more}\n \
         server one {{\n active = 1\n address = {server_address}\n }}\n}}\n"
    );
    let outcome = config::parse("lvs.cf", text.as_bytes());
    outcome
        .site
        .unwrap_or_else(|| panic!("{:?}", outcome.diagnostics))
        .1
}

#[test]
fn nothing_is_said_against_a_good_machine() {
    let world = World::new();
    assert_eq!(world.findings(None), []);
    assert_eq!(world.findings(Some(&site("nat", "", "10.0.0.1"))), []);
    let report = examine(&world.facts, &[], None);
    let text = report.text(false).to_string();
    assert!(
        text.contains("eth0\n  ok       driver ice, which can run XDP programs (native)\n"),
        "{text}"
    );
    assert!(
        text.ends_with("\n0 faults, 0 warnings, 0 notes\n"),
        "{text}"
    );
}

type Change = fn(&mut World);

/// What is changed, and what is said about it.
#[test]
fn what_is_wrong_is_said() {
    use Level::{Fault, Note, Warning};
    let table: &[(Change, Level, &str)] = &[
        (
            |world| world.write("proc/sys/kernel/osrelease", "5.10.0-30-amd64"),
            Fault,
            "Linux 5.10.0-30-amd64 is too old: 5.17 or newer is needed",
        ),
        (
            |world| world.write("proc/sys/kernel/osrelease", "5.19.0"),
            Note,
            "Linux 5.19.0; nothing older than 6.1 is tried by us",
        ),
        (
            |world| world.write("proc/self/status", "CapEff:\t0000003fffffffff"),
            Fault,
            "we may not run a director: CAP_PERFMON, CAP_BPF missing",
        ),
        (
            |world| world.write("proc/self/status", "CapEff:\t0"),
            Fault,
            "we may not run a director: CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, CAP_BPF missing",
        ),
        (
            |world| world.remove("sys/kernel/btf"),
            Note,
            "it does not describe its types",
        ),
        (
            |world| world.write("proc/self/mounts", "bpf /mnt bpf rw"),
            Note,
            "no bpf filesystem is mounted",
        ),
        (
            |world| world.write("proc/sys/net/core/bpf_jit_enable", "0"),
            Warning,
            "the BPF compiler (JIT) is off",
        ),
        (
            |world| world.write("proc/sys/net/core/bpf_jit_harden", "2"),
            Note,
            "the BPF compiler hardens programs of root too",
        ),
        (|world| world.links([]), Fault, "there is no interface eth0"),
        (
            |world| {
                world.links([Link {
                    up: false,
                    ..link(2, "eth0")
                }])
            },
            Fault,
            "it is switched off",
        ),
        (
            |world| {
                world.links([Link {
                    carrier: false,
                    ..link(2, "eth0")
                }])
            },
            Warning,
            "it hears no other end",
        ),
        (
            |world| {
                world.links([Link {
                    xdp: Some(Xdp::Native),
                    ..link(2, "eth0")
                }])
            },
            Fault,
            "an XDP program is on it that is not pinned by us",
        ),
        (
            |world| {
                world.facts.ours.insert("eth0".to_owned());
                world.links([Link {
                    xdp: Some(Xdp::Generic),
                    ..link(2, "eth0")
                }]);
            },
            Warning,
            "our program is on it, but run by the kernel",
        ),
        (
            |world| {
                world.facts.ours.insert("eth0".to_owned());
            },
            Warning,
            "a link of ours is pinned for it, but no program is on it",
        ),
        (
            |world| world.lead("sys/class/net/eth0/device/driver", "tg3"),
            Warning,
            "driver tg3 cannot run XDP programs",
        ),
        (
            |world| world.lead("sys/class/net/eth0/device/driver", "novel"),
            Note,
            "driver novel; whether it can run XDP programs",
        ),
        (
            |world| {
                world.links([Link {
                    mtu: 9000,
                    ..link(2, "eth0")
                }])
            },
            Warning,
            "with an MTU of 9000 most drivers refuse",
        ),
        (
            |world| world.facts.offloads.clear(),
            Note,
            "its offloads are not known",
        ),
        (
            |world| {
                world
                    .facts
                    .offloads
                    .insert("eth0".to_owned(), ["rx-lro".to_owned()].into());
            },
            Warning,
            "it merges packets (lro)",
        ),
        (
            |world| {
                let on = ["rx-vlan-hw-parse".to_owned()].into();
                world.facts.offloads.insert("eth0".to_owned(), on);
                let vlan = Vlan {
                    parent: Some(2),
                    id: 100,
                    tag: Tag::Customer,
                };
                let vlan = Link {
                    vlan: Some(vlan),
                    ..link(3, "eth0.100")
                };
                world.links([link(2, "eth0"), vlan]);
            },
            Fault,
            "it carries eth0.100 and takes the tags off before the program sees them (rxvlan)",
        ),
        (
            |world| {
                world.write("sys/class/net/bond0/bonding/mode", "802.3ad 4");
                world.lead("sys/class/net/eth0/master", "bond0");
            },
            Warning,
            "it is a part of bond0: the program belongs on that",
        ),
        (
            |world| {
                world.write("sys/class/net/br0/bridge/bridge_id", "");
                world.lead("sys/class/net/eth0/master", "br0");
            },
            Warning,
            "it is a port of br0",
        ),
        (
            |world| world.write("sys/class/net/eth0/bonding/mode", "balance-tlb 5"),
            Warning,
            "a bond in mode balance-tlb does not run XDP programs itself",
        ),
        (
            |world| world.remove("sys/class/net/eth0/queues/rx-1"),
            Warning,
            "it has one receive queue: one CPU of 2 does all the work",
        ),
        (
            |world| world.write("proc/irq/41/effective_affinity_list", "0"),
            Warning,
            "all its interrupts go to one CPU of 2",
        ),
        (
            |world| {
                // The link is ours (by netlink), what /sys tells is of another: nothing of that is believed.
                world.write("sys/class/net/eth0/ifindex", "7");
                world.write("sys/class/net/eth0/duplex", "half");
                world.links([Link {
                    veth: true,
                    ..link(2, "eth0")
                }]);
            },
            Note,
            "the mounted /sys is of another network namespace",
        ),
        (
            |world| world.write("sys/class/net/eth0/speed", "100"),
            Note,
            "its speed is 100 Mbit/s",
        ),
        (
            |world| world.write("sys/class/net/eth0/duplex", "half"),
            Warning,
            "it is half duplex",
        ),
    ];
    for (change, level, what) in table {
        let mut world = World::new();
        change(&mut world);
        let found = world.findings(None);
        assert!(
            matches!(&found[..], [(at, text)] if at == level && text.starts_with(what)),
            "{what}: {found:?}"
        );
    }
}

#[test]
fn what_the_site_needs_is_said() {
    use Level::{Fault, Note, Warning};
    let nat = || site("nat", "", "10.0.0.1");
    let table: &[(Change, Site, Level, &str)] = &[
        (
            |world| world.write("proc/sys/net/ipv4/ip_forward", "0"),
            nat(),
            Fault,
            "net.ipv4.ip_forward is 0",
        ),
        (
            |world| {
                world
                    .facts
                    .addresses
                    .push(("lo".to_owned(), [192, 0, 2, 10].into()))
            },
            nat(),
            Warning,
            "192.0.2.10 is on lo, and lvs.cf wants it on eth0",
        ),
        (
            |world| world.write("proc/sys/net/ipv4/conf/all/rp_filter", "1"),
            nat(),
            Note,
            "eth0 has a strict reverse path filter",
        ),
        (
            |_| {},
            site("direct", "", "10.0.0.1"),
            Note,
            "its servers are routed to directly",
        ),
        (
            |_| {},
            site("tunnel", "tunnel_type = gue", "10.0.0.1"),
            Note,
            "its tunnels take 32 bytes of 1500",
        ),
        (
            |world| world.write("proc/sys/net/ipv4/ip_local_port_range", "1024 60999"),
            site("nat", "method = fullnat", "10.0.0.1"),
            Warning,
            "full NAT takes the ports 1024 to 32767, and this machine's own connections 1024 to 60999",
        ),
        (
            |world| {
                world.write("proc/sys/net/netfilter/nf_conntrack_count", "95");
                world.write("proc/sys/net/netfilter/nf_conntrack_max", "100");
            },
            nat(),
            Warning,
            "the kernel tracks 95 connections of 100 at most",
        ),
        (
            |world| {
                let table = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port\n  -> \n\
                             TCP  C0000201:0050 wlc\n";
                world.write("proc/net/ip_vs", table);
            },
            nat(),
            Warning,
            "the kernel's own balancer (IPVS) has 1 services",
        ),
        (
            |world| world.write("proc/self/limits", "Max open files 64 64 files"),
            nat(),
            Warning,
            "64 files may be open, and the checks of 1 servers may need 65",
        ),
        (
            |_| {},
            Site::default(),
            Warning,
            "lvs.cf has no active service",
        ),
    ];
    for (change, site, level, what) in table {
        let mut world = World::new();
        change(&mut world);
        let found = world.findings(Some(site));
        assert!(
            matches!(&found[..], [(at, text)] if at == level && text.starts_with(what)),
            "{what}: {found:?}"
        );
    }
    // What is no fault of a site that does not need it.
    let world = World::new();
    world.write("proc/sys/net/ipv4/ip_forward", "0");
    let found = world.findings(Some(&site("direct", "", "10.0.0.1")));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn the_interfaces_of_the_site_are_meant() {
    let mut world = World::new();
    world.links([
        link(2, "eth0"),
        link(3, "eth1"),
        Link {
            up: false,
            ..link(4, "eth2")
        },
    ]);
    let site = site("nat", "", "10.0.0.1");
    assert_eq!(meant(&world.facts, None), ["eth0", "eth1"]);
    assert_eq!(meant(&world.facts, Some(&site)), ["eth0"]);
    world.facts.ours.insert("eth1".to_owned());
    assert_eq!(meant(&world.facts, Some(&site)), ["eth0", "eth1"]);
}

#[test]
fn checks_at_virtual_addresses_take_a_right() {
    const WITHOUT: &str = "CapEff:\t000001ffffdfffff";
    let told = |lines: &str, status: Option<&str>| {
        let world = World::new();
        if let Some(status) = status {
            world.write("proc/self/status", status);
        }
        let said = world.findings(Some(&site("direct", lines, "10.0.0.1")));
        let is_it = |(_, what): &&(Level, String)| what.contains("CAP_SYS_ADMIN");
        said.iter().find(is_it).map(|(level, _)| *level)
    };
    assert_eq!(told("check_at = vip", None), None);
    assert_eq!(told("", Some(WITHOUT)), None);
    assert_eq!(told("check_at = vip", Some(WITHOUT)), Some(Level::Warning));
}
