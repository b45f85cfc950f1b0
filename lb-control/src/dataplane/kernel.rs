//! The kernel. Only this file, `attachment`, `changes`, `connections`, `flows`, `held`, `learn`,
//! `lease`, `trial` and `log` know aya.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, anyhow, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{
        Array, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray, PerCpuValues,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{TestRun, TestRunOptions, Xdp},
};
use lb_common::{
    address::{Address4, Address6},
    flow::{Flow, FlowKey},
    maps::{
        InterfaceTraffic, Load, Persistence, RangeKey, Role, Server, Service, ServiceKey, Settings,
        Thresholds, Traffic, Vlan, size,
    },
    sieve,
    verdict::{Event, Reason},
};
use tracing::{info, warn};

use super::{
    Change, Dataplane, Sizes, Tables, attachment, both,
    bpffs::Pins,
    held::{self, Held},
    learn,
    log::{self, Records, Sampling},
    memory,
};
pub use attachment::Attached;

/// The program, compiled for the kernel and embedded: `lb` is one file. Empty if it was built without.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/balancer.o"));

/// The maps, by name; all of them are pinned.
pub(super) const MAPS: &[&str] = &[
    "services",
    "service_ranges",
    "addresses",
    "sieve",
    "persistence",
    "turns",
    "ring",
    "servers",
    "thresholds",
    "loads",
    "traffic",
    "localities",
    "flows4",
    "flows6",
    "half_open4",
    "half_open6",
    "standing4",
    "standing6",
    "queued",
    "round",
    "census",
    "fragments4",
    "fragments6",
    "held",
    "rates",
    "events",
    "interfaces",
    "settings",
    "vlans",
    "reasons",
    "room4",
    "room6",
    "complaint",
    "clock",
    "lease",
    "changes",
    "told4",
    "told6",
    "lesson",
    "lesson4",
    "lesson6",
    "sweeper",
];

/// How the program is run by an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By the driver where it can, else by the kernel.
    #[default]
    Auto,
    /// By the driver.
    Native,
    /// By the kernel's own packet handling.
    Generic,
}

/// How a packet leaves by the interface that it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// By `XDP_TX`: what network cards are made for.
    Transmit,
    /// By a redirect: what virtual cables (veth) need.
    Redirect,
}

/// The loaded programs, not yet attached.
pub struct Program {
    ebpf: Ebpf,
    /// The one with the decision log, while it is in the other's place.
    talking: Option<Ebpf>,
    back: Back,
    pins: Pins,
    in_vain: Arc<AtomicU64>,
}

/// The maps.
pub struct KernelDataplane {
    services: HashMap<MapData, ServiceKey, Service>,
    ranges: LpmTrie<MapData, RangeKey, Service>,
    addresses: HashMap<MapData, Address6, Role>,
    sieve: Array<MapData, u64>,
    persistence: Array<MapData, Persistence>,
    thresholds: Array<MapData, Thresholds>,
    weigh: Xdp,
    events: PerCpuArray<MapData, u64>,
    turns: Array<MapData, u64>,
    ring: Array<MapData, u32>,
    servers: Array<MapData, Server>,
    loads: Array<MapData, Load>,
    traffic: PerCpuArray<MapData, Traffic>,
    settings: Array<MapData, Settings>,
    vlans: HashMap<MapData, u32, Vlan>,
    reasons: PerCpuArray<MapData, u64>,
    queued: Array<MapData, u32>,
    in_vain: Arc<AtomicU64>,
    interfaces: PerCpuArray<MapData, InterfaceTraffic>,
    sizes: Sizes,
    memory: u64,
}

/// Loads the program, or takes over the maps that are pinned and loads it beside them.
///
/// # Errors
/// Why the kernel does not take it. What was pinned until then stays, for the caller to remove.
pub fn load(pins: &Pins, sizes: Sizes, back: Back) -> anyhow::Result<(Program, KernelDataplane)> {
    load_object(OBJECT, pins, sizes, back)
}

/// The same with an object of the caller's: to compare one with another. What we read and write of its maps
/// must have our layout.
///
/// # Errors
/// As [`load`].
pub fn load_object(
    object: &[u8],
    pins: &Pins,
    sizes: Sizes,
    back: Back,
) -> anyhow::Result<(Program, KernelDataplane)> {
    if object.is_empty() {
        bail!("this lb was built without its BPF program; build it by `cargo xtask build`");
    }
    let pinned = pinned_sizes(pins, &sizes)?;
    if let Some(pinned) = pinned
        && pinned
            != (Sizes {
                half_open: pinned.half_open,
                ..sizes
            })
    {
        warn!(
            ?pinned,
            wanted = ?sizes,
            "the tables that are in use keep their sizes; `lb detach` frees them"
        );
    }
    let sizes = pinned.unwrap_or(sizes);
    let mut loader = EbpfLoader::new();
    let queue = sizes.flows.saturating_add(size::QUEUE_SPARE);
    for (name, entries) in [
        ("services", sizes.services),
        ("turns", sizes.services),
        ("persistence", sizes.services),
        ("addresses", sizes.services.saturating_add(sizes.servers)),
        ("service_ranges", sizes.services.max(size::RANGES)),
        ("servers", sizes.servers),
        ("thresholds", sizes.servers),
        ("loads", sizes.servers),
        ("traffic", sizes.servers),
        ("ring", sizes.ring),
        ("flows4", sizes.flows),
        ("flows6", sizes.flows),
        ("half_open4", queue),
        ("half_open6", queue),
        ("standing4", queue),
        ("standing6", queue),
    ] {
        loader.map_max_entries(name, entries);
    }
    for name in MAPS {
        loader.map_pin_path(name, pins.maps().join(name));
    }
    let redirect_back = u8::from(back == Back::Redirect);
    loader.override_global("REDIRECT_BACK", &redirect_back, true);
    let mut ebpf = loader.load(object).context("loading the BPF program")?;
    let weigh = beside(&mut ebpf, pins, "weigh")?;
    // An object that is not ours may do without.
    if ebpf.program(learn::PROGRAM).is_some() {
        beside(&mut ebpf, pins, learn::PROGRAM)?;
    }
    let mut dataplane = KernelDataplane::take(&mut ebpf, weigh, sizes)?;
    dataplane.memory = memory_of_maps(pins)?;
    let balance = program(&mut ebpf, "balance")?;
    balance
        .load()
        .context("the kernel refused the program `balance`")?;
    let pin = pins.programs().join("balance");
    // The pin of the program before this one; the links hold it until they are replaced.
    let _ = std::fs::remove_file(&pin);
    balance.pin(&pin).context("pinning the program")?;
    wind(&mut ebpf)?;
    info!(
        "the maps take {} MiB: {} flows of each family, {} of them half-open, {} services, {} real \
         servers",
        dataplane.memory.div_ceil(1 << 20),
        sizes.flows,
        sizes.half_open,
        sizes.services,
        sizes.servers
    );
    let program = Program {
        ebpf,
        talking: None,
        back,
        pins: pins.clone(),
        in_vain: Arc::clone(&dataplane.in_vain),
    };
    Ok((program, dataplane))
}

/// How many bytes the pinned maps take.
fn memory_of_maps(pins: &Pins) -> anyhow::Result<u64> {
    let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
    let mut sum = 0;
    for name in MAPS {
        let path = pins.maps().join(name);
        // An object that is not ours may do without some.
        if !path.exists() {
            continue;
        }
        let info =
            MapInfo::from_pin(&path).with_context(|| format!("reading {}", path.display()))?;
        sum += memory::of(&info, cpus);
    }
    Ok(sum)
}

/// The sizes of the maps that are pinned; `None` if there are none. How many flows may be half-open
/// is not the size of a map: that is as it is `wanted`.
pub(super) fn pinned_sizes(pins: &Pins, wanted: &Sizes) -> anyhow::Result<Option<Sizes>> {
    let info = |name: &str| {
        let path = pins.maps().join(name);
        path.exists()
            .then(|| {
                MapInfo::from_pin(&path).with_context(|| format!("reading {}", path.display()))
            })
            .transpose()
    };
    let layouts = [
        ("services", size_of::<ServiceKey>(), size_of::<Service>()),
        ("servers", size_of::<u32>(), size_of::<Server>()),
        (
            "flows4",
            size_of::<FlowKey<Address4>>(),
            size_of::<Flow<Address4>>(),
        ),
        (
            "flows6",
            size_of::<FlowKey<Address6>>(),
            size_of::<Flow<Address6>>(),
        ),
        ("settings", size_of::<u32>(), size_of::<Settings>()),
        ("traffic", size_of::<u32>(), size_of::<Traffic>()),
    ];
    for (name, key, value) in layouts {
        if let Some(found) = info(name)?
            && (found.key_size() as usize, found.value_size() as usize) != (key, value)
        {
            bail!("the pinned map `{name}` has another layout; `lb detach` takes the pins away");
        }
    }
    let entries = |name: &str| anyhow::Ok(info(name)?.map(|info| info.max_entries()));
    let (Some(services), Some(servers), Some(ring), Some(flows)) = (
        entries("services")?,
        entries("servers")?,
        entries("ring")?,
        entries("flows4")?,
    ) else {
        return Ok(None);
    };
    Ok(Some(Sizes {
        services,
        servers,
        ring,
        flows,
        half_open: wanted.half_open.min(flows),
    }))
}

/// Starts the sweeper's clock, or hands it over to this program.
fn wind(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    /// What the program returns when the clock runs: `XDP_PASS`.
    const RUNS: u32 = 2;

    let wind = program(ebpf, "wind")?;
    wind.load()
        .context("the kernel refused the program `wind`")?;
    let result = wind.test_run(TestRunOptions {
        data_in: Some(&[0; 64]),
        ..TestRunOptions::new()
    })?;
    if result.return_value != RUNS {
        bail!("the clock that flows age by could not be started");
    }
    Ok(())
}

/// A program that is run by hand. It is pinned to be had beside the others.
fn beside(ebpf: &mut Ebpf, pins: &Pins, name: &str) -> anyhow::Result<Xdp> {
    let beside = program(ebpf, name)?;
    beside
        .load()
        .with_context(|| format!("the kernel refused the program `{name}`"))?;
    let pin = pins.programs().join(name);
    // That of the program before this one.
    let _ = std::fs::remove_file(&pin);
    beside
        .pin(&pin)
        .with_context(|| format!("pinning the program `{name}`"))?;
    held::pinned(&pin)
}

pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name);
    Ok(program
        .with_context(|| format!("there is no program `{name}`"))?
        .try_into()?)
}

impl Program {
    /// What the waiting room of early fragments needs, and where it counts those that waited in vain;
    /// to be had once.
    ///
    /// # Errors
    /// If a map or the program cannot be had.
    pub fn held(&mut self) -> anyhow::Result<(Held, Arc<AtomicU64>)> {
        let balance = held::pinned(&self.pins.programs().join("balance"))?;
        let held = Held::open(&mut self.ebpf, balance)?;
        Ok((held, Arc::clone(&self.in_vain)))
    }

    /// Puts the program on an interface.
    ///
    /// # Errors
    /// Why it cannot be there.
    pub fn attach(&mut self, interface: &str, mode: Mode) -> anyhow::Result<Attached> {
        let pin = self.pins.links().join(interface);
        let ebpf = self.talking.as_mut().unwrap_or(&mut self.ebpf);
        attachment::attach(program(ebpf, "balance")?, interface, mode, &pin)
    }

    /// Puts the program with the decision log in the place of the one that is on the interfaces. What it
    /// says.
    ///
    /// # Errors
    /// Why it cannot be there.
    pub fn begin_log(&mut self, sampling: Sampling) -> anyhow::Result<Records> {
        let (mut ebpf, records) = log::load(&self.pins, self.back, sampling)?;
        attachment::replace_all(program(&mut ebpf, "balance")?, &self.pins.links())?;
        self.talking = Some(ebpf);
        Ok(records)
    }

    /// Puts the one without it there again.
    ///
    /// # Errors
    /// Why it cannot be there.
    pub fn end_log(&mut self) -> anyhow::Result<()> {
        if self.talking.is_some() {
            let quiet = program(&mut self.ebpf, "balance")?;
            attachment::replace_all(quiet, &self.pins.links())?;
            self.talking = None;
        }
        Ok(())
    }

    /// Takes the program off the interfaces that are pinned but for these.
    ///
    /// # Errors
    /// If a pin cannot be removed.
    pub fn detach_all_but(&mut self, interfaces: &[String]) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(self.pins.links())? {
            let entry = entry?;
            if !interfaces
                .iter()
                .any(|name| entry.file_name() == name.as_str())
            {
                std::fs::remove_file(entry.path())
                    .with_context(|| format!("removing {}", entry.path().display()))?;
            }
        }
        Ok(())
    }
}

impl KernelDataplane {
    /// Has the program look at the thresholds of a real server, which otherwise are looked at when its
    /// flows become more or fewer.
    fn weigh(&self, id: u32) -> Result<(), MapError> {
        let mut packet = [0; 64];
        packet[..4].copy_from_slice(&id.to_ne_bytes());
        let outcome = self.weigh.test_run(TestRunOptions {
            data_in: Some(&packet),
            ..TestRunOptions::new()
        });
        outcome
            .map(drop)
            .map_err(|error| io::Error::other(error).into())
    }

    fn take(ebpf: &mut Ebpf, weigh: Xdp, sizes: Sizes) -> anyhow::Result<Self> {
        fn map<T: TryFrom<Map, Error = MapError>>(
            ebpf: &mut Ebpf,
            name: &str,
        ) -> anyhow::Result<T> {
            let map = ebpf
                .take_map(name)
                .with_context(|| format!("there is no map `{name}`"))?;
            T::try_from(map).with_context(|| format!("the map `{name}` has another layout"))
        }
        Ok(Self {
            services: map(ebpf, "services")?,
            ranges: map(ebpf, "service_ranges")?,
            addresses: map(ebpf, "addresses")?,
            sieve: map(ebpf, "sieve")?,
            persistence: map(ebpf, "persistence")?,
            thresholds: map(ebpf, "thresholds")?,
            weigh,
            events: map(ebpf, "events")?,
            turns: map(ebpf, "turns")?,
            ring: map(ebpf, "ring")?,
            servers: map(ebpf, "servers")?,
            loads: map(ebpf, "loads")?,
            traffic: map(ebpf, "traffic")?,
            settings: map(ebpf, "settings")?,
            vlans: map(ebpf, "vlans")?,
            reasons: map(ebpf, "reasons")?,
            queued: map(ebpf, "queued")?,
            in_vain: Arc::default(),
            interfaces: map(ebpf, "interfaces")?,
            sizes,
            memory: 0,
        })
    }
}

impl Dataplane for KernelDataplane {
    type Error = MapError;

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn read(&self) -> Result<Tables, MapError> {
        let mut tables = Tables {
            services: self.services.iter().collect::<Result<_, _>>()?,
            ranges: self
                .ranges
                .iter()
                .map(|entry| entry.map(|(key, service)| ((key.data(), key.prefix_len()), service)))
                .collect::<Result<_, _>>()?,
            addresses: self.addresses.iter().collect::<Result<_, _>>()?,
            vlans: self.vlans.iter().collect::<Result<_, _>>()?,
            settings: Some(self.settings.get(&0, 0)?),
            ..Tables::default()
        };
        if tables.entries().next().is_none() && tables.addresses.is_empty() {
            // A map that was made just now; there is nothing to look for in the arrays.
            return Ok(tables);
        }
        for word in 0..sieve::WORDS {
            let bits = self.sieve.get(&word, 0)?;
            if bits != 0 {
                tables.sieve.insert(word, bits);
            }
        }
        for id in 0..self.sizes.servers {
            let server = self.servers.get(&id, 0)?;
            if server.is_present() {
                tables.servers.insert(id, server);
                if server.has(Server::LIMITED) {
                    tables.thresholds.insert(id, self.thresholds.get(&id, 0)?);
                }
            }
        }
        let entries: Vec<Service> = tables.entries().copied().collect();
        for service in &entries {
            let persistence = self.persistence.get(&service.id, 0)?;
            if persistence.timeout != 0 {
                tables.persistence.insert(service.id, persistence);
            }
        }
        for service in entries.iter().filter(|service| service.slots > 0) {
            let end = service
                .ring
                .saturating_add(service.slots)
                .min(self.sizes.ring);
            let slots = (service.ring..end).map(|slot| self.ring.get(&slot, 0));
            tables
                .rings
                .insert(service.ring, slots.collect::<Result<_, _>>()?);
        }
        Ok(tables)
    }

    fn apply(&mut self, change: &Change) -> Result<(), MapError> {
        match change {
            Change::Settings(settings) => self.settings.set(0, settings, 0),
            Change::Vlan(index, vlan) => self.vlans.insert(index, vlan, 0),
            Change::NoVlan(index) => self.vlans.remove(index),
            Change::Address(address, role) => self.addresses.insert(address, role, 0),
            Change::NoAddress(address) => self.addresses.remove(address),
            Change::Sieve(word, bits) => self.sieve.set(*word, bits, 0),
            Change::Persistence(id, persistence) => self.persistence.set(*id, persistence, 0),
            Change::Thresholds(id, thresholds) => {
                self.thresholds.set(*id, thresholds, 0)?;
                self.weigh(*id)
            }
            Change::Range((key, bits), service) => {
                self.ranges.insert(&Key::new(*bits, *key), service, 0)
            }
            Change::NoRange((key, bits)) => self.ranges.remove(&Key::new(*bits, *key)),
            Change::Server(id, server) => self.servers.set(*id, server, 0),
            Change::NoServer(id) => {
                // The rest stays: the sweeper needs it to find the ways back of its last flows.
                let mut server = self.servers.get(id, 0)?;
                server.flags &= !Server::PRESENT;
                server.weight = 0;
                self.servers.set(*id, server, 0)
            }
            Change::Ring(first, slots) => (*first..)
                .zip(slots)
                .try_for_each(|(slot, id)| self.ring.set(slot, id, 0)),
            Change::Turn(service, turn) => self.turns.set(*service, turn, 0),
            Change::Service(key, service) => self.services.insert(key, service, 0),
            Change::NoService(key) => self.services.remove(key),
        }
    }

    fn load(&self, server: u32) -> Result<Load, MapError> {
        self.loads.get(&server, 0)
    }

    fn traffic(&self, server: u32) -> Result<Traffic, MapError> {
        let each = self.traffic.get(&server, 0)?;
        Ok(each
            .iter()
            .fold(Traffic::default(), |sum, cpu| both(&sum, cpu)))
    }

    fn clear_traffic(&mut self, server: u32) -> Result<(), MapError> {
        let nothing = vec![Traffic::default(); self.traffic.get(&server, 0)?.len()];
        let nothing = PerCpuValues::try_from(nothing)?;
        self.traffic.set(server, nothing, 0)
    }

    fn interfaces(&self) -> Result<Vec<(u32, InterfaceTraffic)>, MapError> {
        let mut all = Vec::new();
        for index in 0..size::INTERFACES {
            let each = self.interfaces.get(&index, 0)?;
            let sum = each
                .iter()
                .fold(InterfaceTraffic::default(), |sum, cpu| InterfaceTraffic {
                    packets: sum.packets + cpu.packets,
                    bytes: sum.bytes + cpu.bytes,
                    steered: sum.steered + cpu.steered,
                    passed: sum.passed + cpu.passed,
                    dropped: sum.dropped + cpu.dropped,
                });
            if sum.packets > 0 {
                all.push((index, sum));
            }
        }
        Ok(all)
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn turn(&self, service: u32) -> Result<u64, MapError> {
        self.turns.get(&service, 0)
    }

    fn reasons(&self) -> Result<Vec<(Reason, u64)>, MapError> {
        let count = |reason: &Reason| {
            let each = self.reasons.get(&(*reason as u32), 0)?;
            let waited = if *reason == Reason::EarlyFragment {
                self.in_vain.load(Ordering::Relaxed)
            } else {
                0
            };
            Ok((*reason, each.iter().sum::<u64>() + waited))
        };
        Reason::ALL.iter().map(count).collect()
    }

    fn events(&self) -> Result<Vec<(Event, u64)>, MapError> {
        let count = |event: &Event| {
            let each = self.events.get(&(*event as u32), 0)?;
            Ok((*event, each.iter().sum()))
        };
        Event::ALL.iter().map(count).collect()
    }

    fn flows(&self) -> Result<[u32; 2], MapError> {
        let queued = |queue| self.queued.get(&queue, 0);
        Ok([queued(0)? + queued(1)?, queued(2)? + queued(3)?])
    }
}
