//! The test bed: a router of the lab with the data plane of one case on it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    maps::{Array, Map, MapData, PerCpuArray},
    programs::Xdp,
};
use aya_obj::programs::XdpAttachType;
use lb_common::{
    maps::{InterfaceTraffic, Server},
    recipe::Recipe,
    verdict::Reason,
};
use lb_control::{
    dataplane::{
        Sizes,
        bpffs::Pins,
        kernel::{self, Back},
    },
    model::{Forwarding, Timeouts, Tunnel},
};
use lb_tests::{Host, Lab};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use tokio::{runtime, time};

use crate::{
    case::{Case, Method, Traffic},
    driver::{Driver, Run},
    frame::{Numbers, Packet},
    site::{self, GUE_PORT, MTU, Site},
};

/// The number of the router's interface.
pub(crate) const INTERFACE: u32 = 11;

/// Where the balancer is pinned; the hosts of the lab have a bpf filesystem of their own.
pub(crate) const PLACE: &str = "/sys/fs/bpf/lb";

/// A router on one interface: clients and real servers are behind the same gateway.
pub(crate) fn router(lab: &Lab) -> Result<Host> {
    let router = lab.host("router")?;
    router.set(&[
        ("ipv4/conf/all/forwarding", "1"),
        ("ipv6/conf/all/forwarding", "1"),
    ])?;
    router.ip(&format!(
        "link add front index {INTERFACE} address 02:00:00:00:00:01 type veth peer front-end"
    ))?;
    for line in [
        "link set front up",
        "link set front-end up",
        "address add 192.0.2.1/24 dev front",
        "address add 2001:db8:a::1/64 dev front nodad",
        "neighbour add 192.0.2.254 lladdr 02:00:00:00:00:c1 dev front",
        "neighbour add 2001:db8:a::fe lladdr 02:00:00:00:00:c1 dev front",
        "route add 198.18.0.0/15 via 192.0.2.254",
        "route add 2001:2::/48 via 2001:db8:a::fe",
    ] {
        router.ip(line)?;
    }
    Ok(router)
}

/// Keeps this thread on one CPU.
pub(crate) fn stay_on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("there is no CPU {cpu}"))
}

/// The data plane of a case, with its flows.
pub(crate) struct Bed {
    pub(crate) pins: Pins,
    balancer: Xdp,
    case: Case,
    /// How many entries the flow table has.
    entries: u32,
}

/// How many packets met which fate, and why.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Fates {
    /// Sent on.
    pub(crate) steered: u64,
    /// Given to the kernel's own stack.
    pub(crate) passed: u64,
    /// Dropped.
    pub(crate) dropped: u64,
    /// Why they were not sent on.
    pub(crate) reasons: Vec<(&'static str, u64)>,
}

/// The sweeper's queues.
const QUEUES: &[u32] = &[0, 1, 2, 3];
/// Those of half-open flows: of IPv4, of IPv6.
const HALF_OPEN: &[u32] = &[0, 2];
/// It sees 204,800 flows in a second.
const SETTLED: Duration = Duration::from_secs(120);

/// Flows that are begun and established together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batch {
    first: u32,
    count: u32,
}

/// How many they are at most.
const BATCH: u32 = 65_536;
/// Packets of flows that are to be new have numbers from here on.
pub(crate) const NEW: Numbers = Numbers::InOrder {
    first: 1 << 23,
    count: 1 << 30,
};

impl Bed {
    /// Loads an object and fills its tables, for this many entries of flows without masquerading. Everything
    /// is pinned in `place`. To be called on the router.
    pub(crate) fn load(case: Case, entries: u32, object: &[u8], place: &str) -> Result<Self> {
        let entries = if case.method.is_masquerading() {
            entries * 2
        } else {
            entries
        };
        let pins = Pins::below(Path::new(place));
        pins.create()?;
        let sizes = Sizes {
            flows: entries,
            half_open: match case.traffic {
                Traffic::New | Traffic::Established(_) => entries,
                Traffic::Foreign | Traffic::Full | Traffic::Flood | Traffic::Stateless(_) => {
                    entries / 2
                }
            },
            ..Sizes::default()
        };
        let (_program, dataplane) = kernel::load_object(object, &pins, sizes, Back::Transmit)?;
        site::fill(&[site(&case, INTERFACE)], dataplane)?;
        let balancer = pins.programs().join("balance");
        let balancer = Xdp::from_pin(&balancer, XdpAttachType::Interface)
            .with_context(|| format!("opening {}", balancer.display()))?;
        Ok(Self {
            pins,
            balancer,
            case,
            entries,
        })
    }

    /// Has the balancer get so many packets by this recipe.
    pub(crate) fn run(&self, driver: &mut Driver, recipe: &Recipe, packets: u32) -> Result<Run> {
        driver.aim(&self.balancer)?;
        driver.run(recipe, packets)
    }

    /// Sends what has to come before the packets that are measured.
    pub(crate) fn prepare(&self, driver: &mut Driver) -> Result<()> {
        let room = self.entries
            / if self.case.method.is_masquerading() {
                2
            } else {
                1
            };
        match self.case.traffic {
            Traffic::Foreign | Traffic::New | Traffic::Stateless(_) => Ok(()),
            Traffic::Established(flows) => self.establish(driver, flows),
            Traffic::Full => {
                self.establish(driver, room)?;
                self.settle()
            }
            // The half of the room that they may have, and a few that displace others.
            Traffic::Flood => self.send(driver, Packet::Opening, NEW, room / 2 + BATCH),
        }
    }

    /// Waits until the sweeper has seen of all flows that they are established. Until then a new one takes
    /// them for half-open ones that could make room for it.
    fn settle(&self) -> Result<()> {
        wait(SETTLED, || Ok(self.queued(HALF_OPEN)? == 0))?
            .map(drop)
            .context("the sweeper takes too long to see that flows are established")
    }

    /// Has so many flows established, by packets of their own.
    fn establish(&self, driver: &mut Driver, flows: u32) -> Result<()> {
        for Batch { first, count } in batches(flows) {
            for packet in beginning(self.case.method) {
                self.send(driver, *packet, Numbers::InOrder { first, count }, count)?;
            }
        }
        Ok(())
    }

    fn send(
        &self,
        driver: &mut Driver,
        packet: Packet,
        numbers: Numbers,
        packets: u32,
    ) -> Result<()> {
        let recipe = packet.recipe(&self.case, numbers);
        self.run(driver, &recipe, packets).map(drop)
    }

    /// The packets to be measured, and how many of them there may be.
    pub(crate) fn traffic(&self) -> (Packet, Numbers, u64) {
        let endless = u64::MAX;
        let (numbers, limit) = match self.case.traffic {
            Traffic::Foreign => (Numbers::ByLot { count: 1 << 20 }, endless),
            Traffic::Established(count) | Traffic::Stateless(count) => {
                (Numbers::ByLot { count }, endless)
            }
            // Half the table: it never gets crowded.
            Traffic::New => {
                let entries = if self.case.method.is_masquerading() {
                    4
                } else {
                    2
                };
                (NEW, u64::from(self.entries / entries))
            }
            Traffic::Full | Traffic::Flood => (NEW, endless),
        };
        (self.case.packet(), numbers, limit)
    }

    /// What became of the packets so far.
    pub(crate) fn fates(&self) -> Result<Fates> {
        let interfaces = PerCpuArray::<_, InterfaceTraffic>::try_from(Map::PerCpuArray(
            self.map("interfaces")?,
        ))?;
        let mut fates = Fates::default();
        for cpu in interfaces.get(&INTERFACE, 0)?.iter() {
            fates.steered += cpu.steered;
            fates.passed += cpu.passed;
            fates.dropped += cpu.dropped;
        }
        let counters = PerCpuArray::<_, u64>::try_from(Map::PerCpuArray(self.map("reasons")?))?;
        for reason in Reason::ALL {
            let count = counters.get(&(*reason as u32), 0)?.iter().sum();
            fates.reasons.push((reason.name(), count));
        }
        Ok(fates)
    }

    /// Takes all real servers away, and with them the right of their flows to be there.
    pub(crate) fn take_servers_away(&self) -> Result<()> {
        let mut servers = Array::<_, Server>::try_from(Map::Array(self.map("servers")?))?;
        // Ids count from 1.
        for id in 1..=self.case.services * self.case.servers {
            let mut server = servers.get(&id, 0)?;
            server.flags &= !Server::PRESENT;
            servers.set(id, server, 0)?;
        }
        Ok(())
    }

    /// How long it is until the sweeper has taken the last flow away; `None` if it takes longer than that.
    pub(crate) fn wait_for_the_last(&self, limit: Duration) -> Result<Option<Duration>> {
        wait(limit, || Ok(self.queued(QUEUES)? == 0))
    }

    /// How many flows wait in these of the sweeper's queues.
    fn queued(&self, queues: &[u32]) -> Result<u32> {
        queued(&self.pins, queues)
    }

    fn map(&self, name: &str) -> Result<MapData> {
        map(&self.pins, name)
    }

    /// Frees everything.
    pub(crate) fn clear(self) -> Result<()> {
        drop(self.balancer);
        self.pins.remove().map(drop)
    }
}

/// How many flows a pinned balancer knows.
pub(crate) fn known_flows(pins: &Pins) -> Result<u32> {
    queued(pins, QUEUES)
}

fn queued(pins: &Pins, queues: &[u32]) -> Result<u32> {
    let queued = Array::<_, u32>::try_from(Map::Array(map(pins, "queued")?))?;
    let lengths = queues.iter().map(|queue| queued.get(queue, 0));
    Ok(lengths.sum::<Result<u32, _>>()?)
}

fn map(pins: &Pins, name: &str) -> Result<MapData> {
    let path = pins.maps().join(name);
    MapData::from_pin(&path).with_context(|| format!("opening {}", path.display()))
}

/// The packets by which a flow is established.
pub(crate) const fn beginning(method: Method) -> &'static [Packet] {
    if method.is_masquerading() {
        // Where replies are seen, a datagram is no flow until it has been answered.
        &[Packet::Opening, Packet::Welcome, Packet::Request]
    } else {
        &[Packet::Opening, Packet::Request]
    }
}

/// So many flows, batch by batch. How many numbers a recipe has is a power of two.
fn batches(flows: u32) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut first = 0;
    while first < flows {
        let count = 1 << (flows - first).min(BATCH).ilog2();
        batches.push(Batch { first, count });
        first += count;
    }
    batches
}

/// Waits until something is so; how long that took, or `None` if longer than that.
pub(crate) fn wait(
    limit: Duration,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<Option<Duration>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let begun = Instant::now();
    runtime.block_on(async {
        // The kernel tells nobody.
        let mut look = time::interval(Duration::from_millis(10));
        while !is_so()? {
            if begun.elapsed() > limit {
                return Ok(None);
            }
            look.tick().await;
        }
        Ok(Some(begun.elapsed()))
    })
}

impl Fates {
    /// What came after `before`.
    pub(crate) fn since(self, before: &Self) -> Self {
        let reasons = self.reasons.into_iter().zip(&before.reasons);
        Self {
            steered: self.steered - before.steered,
            passed: self.passed - before.passed,
            dropped: self.dropped - before.dropped,
            reasons: reasons
                .map(|((name, after), (_, before))| (name, after - before))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

/// The site of a case.
pub(crate) fn site(case: &Case, interface: u32) -> Site {
    Site {
        family: case.family,
        protocol: case.protocol,
        forwarding: match case.method {
            Method::Nat | Method::Reply => Forwarding::Nat,
            Method::Direct => Forwarding::Direct,
            Method::Tunnel => Forwarding::Tunnel {
                tunnel: Tunnel::Ipip,
            },
            Method::Gue => Forwarding::Tunnel {
                tunnel: Tunnel::Gue {
                    port: GUE_PORT,
                    checksum: false,
                },
            },
        },
        scheduler: case.scheduler,
        services: case.services,
        servers: case.servers,
        stateless_above: match case.traffic {
            Traffic::Stateless(_) => 1,
            Traffic::Foreign
            | Traffic::Established(_)
            | Traffic::New
            | Traffic::Full
            | Traffic::Flood => 0,
        },
        tcp_timeout: Timeouts::default().tcp,
        interface,
        mtu: MTU,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_powers_of_two_and_all_flows_together() {
        for flows in [0, 1, 3, BATCH - 1, BATCH, BATCH + 5, 10_000_000] {
            let batches = batches(flows);
            let mut next = 0;
            for Batch { first, count } in batches {
                assert_eq!(first, next, "{flows}");
                assert!(
                    count.is_power_of_two() && count <= BATCH,
                    "{flows}: {count}"
                );
                next += count;
            }
            assert_eq!(next, flows);
        }
    }
}
