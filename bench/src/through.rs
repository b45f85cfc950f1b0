//! A router that packets go through: they come from the outside by one cable and leave by another.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use lb_common::recipe::Recipe;
use lb_control::dataplane::{
    Sizes,
    bpffs::Pins,
    kernel::{self, Attached, Back, Mode},
};
use lb_tests::{Family, Host, Lab};

use crate::{
    bed,
    case::Case,
    frame::{Numbers, Packet},
    generator::Generator,
    site::{self, MTU, Site},
};

/// The numbers of the router's interfaces, and of the ends of their cables outside.
pub(crate) const FRONT: u32 = 11;
pub(crate) const BACK: u32 = 12;
pub(crate) const CLIENTS: u32 = 21;
pub(crate) const SERVERS: u32 = 22;
/// Their names.
pub(crate) const INSIDE: [&str; 2] = ["front", "back"];
pub(crate) const OUTSIDE: [&str; 2] = ["clients", "servers"];

/// What the cables and the router's addresses are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cables {
    pub(crate) family: Family,
    /// How many queues each end has: as many as CPUs send.
    pub(crate) queues: usize,
    /// How long an IP packet may be.
    pub(crate) mtu: u32,
}

impl Cables {
    /// Those of one CPU, over IPv4.
    pub(crate) const PLAIN: Self = Self {
        family: Family::V4,
        queues: 1,
        mtu: MTU,
    };
}

/// A router, and all others: clients and real servers.
pub(crate) struct Through {
    pub(crate) router: Host,
    pub(crate) outside: Host,
    cables: Cables,
}

impl Through {
    /// Two new hosts. Nobody has to be asked for a MAC address.
    pub(crate) fn new(lab: &Lab, cables: Cables) -> Result<Self> {
        let (router, outside) = (lab.host("router")?, lab.host("outside")?);
        // Nothing is to be on the cables but what is counted; IPv6 would tell that it is there.
        outside.set(&NO_IPV6)?;
        match cables.family {
            Family::V4 => {
                router.set(&[("ipv4/conf/all/forwarding", "1")])?;
                router.set(&NO_IPV6)?;
            }
            Family::V6 => router.set(&SILENT_IPV6)?,
        }
        let Cables { queues, mtu, .. } = cables;
        let queues = format!("numtxqueues {queues} numrxqueues {queues} mtu {mtu}");
        let ends = [(FRONT, CLIENTS), (BACK, SERVERS)];
        for ((inside, there), (end, other)) in INSIDE.into_iter().zip(OUTSIDE).zip(ends) {
            // Both of the router's interfaces have the address that all frames are sent to.
            router.ip(&format!(
                "link add {inside} index {end} {queues} address 02:00:00:00:00:01 type veth peer name {there} \
                 index {other} {queues} address 02:00:00:00:00:c1"
            ))?;
            let network = format!("/proc/{}/ns/net", outside.pid());
            router
                .ip(&format!("link set {there} netns {network}"))
                .with_context(|| format!("giving {there} away"))?;
            router.ip(&format!("link set {inside} up"))?;
            outside.ip(&format!("link set {there} up"))?;
        }
        for line in ways(cables.family) {
            router.ip(line)?;
        }
        Ok(Self {
            router,
            outside,
            cables,
        })
    }

    /// Has both of the router's interfaces receive as a network card does, in turns of many packets (NAPI),
    /// where no XDP program does it.
    pub(crate) fn receive_in_turns(&self) -> Result<()> {
        for interface in INSIDE {
            let words = ["--offload", interface, "gro", "on"];
            self.router.run("ethtool", words)?;
        }
        Ok(())
    }

    /// Has a program send on to the other cable whatever comes by the one of such packets, as long as what is
    /// returned lives.
    pub(crate) fn redirect(&self, packet: Packet, case: &Case, driver: &Path) -> Result<Generator> {
        let (interface, target) = if packet.is_from_server() {
            (INSIDE[1], FRONT)
        } else {
            (INSIDE[0], BACK)
        };
        self.router.inside(|| {
            let mut onward = Generator::load(driver)?;
            let recipe = Recipe {
                target,
                ..packet.recipe(case, Numbers::ByLot { count: 1 })
            };
            onward.pass_on(interface, &recipe)?;
            Ok(onward)
        })
    }

    /// Puts the balancer on the router, its tables filled for a case, with so many entries of flows.
    pub(crate) fn balance(&self, case: &Case, entries: u32) -> Result<Pins> {
        let sizes = Sizes {
            flows: entries,
            half_open: entries,
            ..Sizes::default()
        };
        let site = Site {
            mtu: self.cables.mtu,
            ..bed::site(case, BACK)
        };
        let pins = Pins::below(Path::new("/sys/fs/bpf/lb"));
        self.router.inside(|| {
            pins.create()?;
            let (mut program, dataplane) = kernel::load(&pins, sizes, Back::Redirect)?;
            site::fill(&[site], dataplane)?;
            for interface in INSIDE {
                let attached = program.attach(interface, Mode::Native)?;
                ensure!(attached == Attached::Native, "{attached} on {interface}");
            }
            Ok(())
        })?;
        Ok(pins)
    }
}

/// A host without IPv6.
const NO_IPV6: [(&str, &str); 2] = [
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// A router of IPv6 that says nothing of its own accord while something is counted: no address of a link, no
/// question whether an address is taken. It tells at once which groups it listens to; again it would do so
/// within an hour, in milliseconds.
const SILENT_IPV6: [(&str, &str); 6] = [
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    (
        "ipv6/conf/default/mldv2_unsolicited_report_interval",
        "3600000",
    ),
];

/// The router's ways to clients and real servers, and its virtual addresses.
const fn ways(family: Family) -> [&'static str; 7] {
    match family {
        Family::V4 => [
            "address add 192.0.2.1/24 dev front",
            "address add 192.0.3.1/24 dev back",
            "neighbour add 192.0.2.254 lladdr 02:00:00:00:00:c1 dev front",
            "neighbour add 192.0.3.254 lladdr 02:00:00:00:00:c1 dev back",
            "route add 198.18.0.0/15 via 192.0.2.254",
            "route add 10.128.0.0/16 via 192.0.3.254",
            // Virtual addresses are the router's own.
            "route add local 10.64.0.0/16 dev lo",
        ],
        Family::V6 => [
            "address add 2001:db8:a::1/64 dev front nodad",
            "address add 2001:db8:b::1/64 dev back nodad",
            "neighbour add 2001:db8:a::fe lladdr 02:00:00:00:00:c1 dev front",
            "neighbour add 2001:db8:b::fe lladdr 02:00:00:00:00:c1 dev back",
            "route add 2001:2::/48 via 2001:db8:a::fe",
            "route add fd00:128::/32 via 2001:db8:b::fe",
            "route add local fd00:64::/32 dev lo",
        ],
    }
}
