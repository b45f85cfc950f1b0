//! The program in the kernel, run for one packet at a time (`BPF_PROG_TEST_RUN`).
#![allow(dead_code, reason = "not every test needs all of it")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod, TestRun, TestRunAttrs, TestRunOptions,
    maps::{
        Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, Queue, RingBuf,
        lpm_trie::{self, LpmTrie},
    },
    programs::Xdp,
    util::nr_cpus,
};
use bytemuck::Zeroable;
use lb_common::{
    address::{Address4, Address6},
    flow::{Flow, FlowKey},
    fragment::FragmentKey,
    lease::{Clock, Lease, Moment},
    maps::{
        Census, HeldFrame, Load, Locality, LocalityKey, Persistence, RangeKey, Rate, Role, Server,
        Service, ServiceKey, Settings, Thresholds, Traffic, Vlan,
    },
    record::Record,
    room::Room,
    sieve,
    state::TICK_SHIFT,
    testing::{BACK, CLOSED, FRONT, FRONT_VLAN, SERVERS, Site, Write},
    verdict::{Event, Reason},
};
use lb_tests::{Host, Lab, lab::skip};

/// Sizes of the maps in these tests, in entries.
const SIZES: [(&str, u32); 23] = [
    ("services", 16),
    ("service_ranges", 64),
    ("addresses", 16),
    ("persistence", 16),
    ("turns", 16),
    ("ring", 512),
    ("servers", SERVERS as u32),
    ("thresholds", SERVERS as u32),
    ("loads", SERVERS as u32),
    ("traffic", SERVERS as u32),
    ("localities", 16),
    ("flows4", FLOWS),
    ("flows6", FLOWS),
    ("half_open4", 2 * FLOWS),
    ("half_open6", 2 * FLOWS),
    ("standing4", 2 * FLOWS),
    ("standing6", 2 * FLOWS),
    ("fragments4", 16),
    ("fragments6", 16),
    ("interfaces", 16),
    ("vlans", 4),
    ("census", 2),
    ("settings", 1),
];
/// How many flows fit.
pub(crate) const FLOWS: u32 = 32;

/// The BPF object: what `LB_BPF_OBJECT` names, or the one of the build directory that this test is
/// in. Without it the test is skipped.
pub(crate) fn object() -> Option<PathBuf> {
    let path = match std::env::var_os("LB_BPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        // target/debug/deps/test
        None => std::env::current_exe()
            .ok()?
            .ancestors()
            .nth(3)?
            .join("bpf/balancer.o"),
    };
    if path.is_file() {
        return Some(path);
    }
    skip(&format!("there is no BPF object {}", path.display()));
    None
}

/// Whose time and chance the program has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// The kernel's.
    Real,
    /// The test's, by [`Program::set_clock`].
    Virtual,
}

/// Runs `test` with a program of its own, on a router whose interfaces are those of [`Site`].
pub(crate) fn on_a_router(test: impl FnOnce(&mut Program) -> Result<()> + Send) {
    on_a_router_with(Time::Real, test);
}

/// As [`on_a_router`], with this time.
pub(crate) fn on_a_router_with(time: Time, test: impl FnOnce(&mut Program) -> Result<()> + Send) {
    let Some(path) = object() else {
        return;
    };
    lb_tests::in_lab(|lab| {
        let router = router(lab)?;
        let object = fs::read(&path)?;
        router.inside(|| test(&mut Program::load(&object, time)?))
    });
}

/// A router with interfaces of known numbers and addresses, and clients and gateways that it knows
/// of without asking: nobody is there.
fn router(lab: &Lab) -> Result<Host> {
    let router = lab.host("router")?;
    router.set(&[
        ("ipv4/conf/all/forwarding", "1"),
        ("ipv6/conf/all/forwarding", "1"),
    ])?;
    // Kernels without VLANs are tested with, too: to the program a VLAN interface is an interface
    // that the map `vlans` knows.
    for (name, index, mac) in [
        ("front", FRONT, 1),
        ("vlan", FRONT_VLAN, 1),
        ("back", BACK, 2),
        ("closed", CLOSED, 3),
    ] {
        router.ip(&format!(
            "link add {name} index {index} address 02:00:00:00:00:{mac:02x} \
             type veth peer {name}-end"
        ))?;
        router.ip(&format!("link set {name} up"))?;
        router.ip(&format!("link set {name}-end up"))?;
        // Without GRO, switched on while it is up, it would take no frames from XDP.
        router.run("ethtool", ["-K", &format!("{name}-end"), "gro", "on"])?;
    }
    for line in [
        "address add 192.0.2.1/24 dev front",
        "address add 192.168.20.1/24 dev vlan",
        "address add 10.0.0.1/24 dev back",
        "address add 10.0.3.1/24 dev closed",
        "address add 2001:db8:a::1/64 dev front nodad",
        "address add fd20::1/64 dev vlan nodad",
        "address add fd00::1/64 dev back nodad",
        "address add fd03::1/64 dev closed nodad",
        "neighbour add 192.0.2.254 lladdr 02:00:00:00:00:c1 dev front",
        "neighbour add 192.168.20.254 lladdr 02:00:00:00:00:c2 dev vlan",
        "neighbour add 2001:db8:a::fe lladdr 02:00:00:00:00:c1 dev front",
        "neighbour add fd20::fe lladdr 02:00:00:00:00:c2 dev vlan",
        "route add 198.51.100.0/24 via 192.0.2.254",
        "route add 198.51.101.0/24 via 192.168.20.254",
        "route add 203.0.113.0/24 via 192.0.2.253",
        "route add 2001:db8:c::/64 via 2001:db8:a::fe",
        "route add 2001:db8:d::/64 via fd20::fe",
        "route add 2001:db8:e::/64 via 2001:db8:a::fd",
    ] {
        router.ip(line)?;
    }
    router.set(&[
        ("ipv4/conf/closed/forwarding", "0"),
        ("ipv6/conf/closed/forwarding", "0"),
    ])?;
    Ok(router)
}

/// The program and its maps.
pub(crate) struct Program {
    ebpf: Ebpf,
    /// The words of the sieve that are not zero.
    sieve: BTreeMap<u32, u64>,
    held: RingBuf<MapData>,
    changes: RingBuf<MapData>,
    time: Time,
    lease: Lease,
}

impl Program {
    fn load(object: &[u8], time: Time) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        for (name, size) in SIZES {
            loader.map_max_entries(name, size);
        }
        let is_virtual = u8::from(time == Time::Virtual);
        if time == Time::Virtual {
            // What the kernel takes away where room is short is its own business.
            for name in ["localities", "fragments4", "fragments6"] {
                loader.map_max_entries(name, 4_096);
            }
            loader.override_global("VIRTUAL", &is_virtual, true);
        }
        let mut ebpf = loader.load(object).context("loading the BPF object")?;
        for name in ["balance", "wind", "sweep", "weigh", "learn"] {
            let program: &mut Xdp = ebpf
                .program_mut(name)
                .with_context(|| format!("the program {name}"))?
                .try_into()?;
            program.load().with_context(|| format!("loading {name}"))?;
        }
        let held = ebpf.take_map("held").context("no map held")?;
        let held = RingBuf::try_from(held)?;
        let changes = ebpf.take_map("changes").context("no map changes")?;
        let changes = RingBuf::try_from(changes)?;
        Ok(Self {
            ebpf,
            sieve: BTreeMap::new(),
            held,
            changes,
            time,
            lease: Lease::NONE,
        })
    }

    /// Writes the sieve of these addresses.
    fn set_sieve(&mut self, roles: &BTreeMap<Address6, Role>) -> Result<()> {
        let old = std::mem::take(&mut self.sieve);
        for (word, bits) in roles.keys().map(sieve::place) {
            *self.sieve.entry(word).or_default() |= bits;
        }
        let new = self.sieve.clone();
        let mut words = Array::<_, u64>::try_from(self.map_mut("sieve")?)?;
        for word in old.keys().filter(|word| !new.contains_key(word)) {
            words.set(*word, 0, 0)?;
        }
        for (word, bits) in new {
            words.set(word, bits, 0)?;
        }
        Ok(())
    }

    /// Empties all maps and writes what the control plane would write.
    pub(crate) fn set_up(&mut self, site: &Site) -> Result<()> {
        self.empty::<ServiceKey, Service>("services")?;
        self.empty::<Address6, Role>("addresses")?;
        self.empty::<LocalityKey, Locality>("localities")?;
        self.empty::<FlowKey<Address4>, Flow<Address4>>("flows4")?;
        self.empty::<FlowKey<Address6>, Flow<Address6>>("flows6")?;
        self.empty::<FragmentKey<Address4>, Flow<Address4>>("fragments4")?;
        self.empty::<FragmentKey<Address6>, Flow<Address6>>("fragments6")?;
        let mut services = self.hash::<ServiceKey, Service>("services")?;
        for (key, service) in &site.services {
            services.insert(key, service, 0)?;
        }
        let mut roles = self.hash::<Address6, Role>("addresses")?;
        for (address, role) in site.roles() {
            roles.insert(address, role, 0)?;
        }
        self.set_sieve(&site.roles())?;
        let mut ranges =
            LpmTrie::<_, RangeKey, Service>::try_from(self.map_mut("service_ranges")?)?;
        let old: Vec<_> = ranges.keys().collect::<Result<_, _>>()?;
        for key in old {
            ranges.remove(&key)?;
        }
        for ((key, bits), service) in &site.ranges {
            ranges.insert(&lpm_trie::Key::new(*bits, *key), service, 0)?;
        }
        let mut vlans = self.hash::<u32, Vlan>("vlans")?;
        for (interface, vlan) in &site.vlans {
            vlans.insert(interface, vlan, 0)?;
        }
        let mut persistence = [Persistence::zeroed(); 16];
        for (service, stays) in &site.persistence {
            persistence[*service as usize] = *stays;
        }
        let mut thresholds = [Thresholds::default(); SERVERS];
        for (server, limits) in &site.thresholds {
            thresholds[*server as usize] = *limits;
        }
        self.fill("persistence", &persistence)?;
        self.fill("thresholds", &thresholds)?;
        self.fill("ring", &site.ring)?;
        let mut servers = [Server::zeroed(); SERVERS];
        servers[..site.servers.len()].copy_from_slice(&site.servers);
        self.fill("servers", &servers)?;
        let settings = Settings {
            flows: site.settings.flows.min(FLOWS),
            half_open: site.settings.half_open.min(FLOWS),
            ..site.settings
        };
        self.fill("settings", &[settings])?;
        self.set_lease(Lease::NONE)?;
        self.fill("turns", &[0_u64; 16])?;
        self.fill("loads", &[Load::default(); SERVERS])?;
        self.fill("queued", &[0_u32; 4])?;
        self.fill("census", &[Census::default(); 2])?;
        for queue in ["half_open4", "standing4"] {
            self.drain::<FlowKey<Address4>>(queue)?;
        }
        for queue in ["half_open6", "standing6"] {
            self.drain::<FlowKey<Address6>>(queue)?;
        }
        let mut rates = PerCpuArray::<_, Rate>::try_from(self.map_mut("rates")?)?;
        for index in 0..2 {
            rates.set(index, per_cpu(Rate::default())?, 0)?;
        }
        let mut events = PerCpuArray::<_, u64>::try_from(self.map_mut("events")?)?;
        for index in 0..Event::ALL.len() as u32 {
            events.set(index, per_cpu(0)?, 0)?;
        }
        self.held()?;
        self.told()?;
        self.clean::<{ size_of::<Room<Address4>>() }>("room4")?;
        self.clean::<{ size_of::<Room<Address6>>() }>("room6")?;
        let mut reasons = PerCpuArray::<_, u64>::try_from(self.map_mut("reasons")?)?;
        for index in 0..Reason::ALL.len() as u32 {
            reasons.set(index, per_cpu(0)?, 0)?;
        }
        let mut traffic = PerCpuArray::<_, Traffic>::try_from(self.map_mut("traffic")?)?;
        for index in 0..SERVERS as u32 {
            traffic.set(index, per_cpu(bytemuck::Zeroable::zeroed())?, 0)?;
        }
        Ok(())
    }

    /// Runs `balance` for a frame that comes in by `interface`: what it returns, and the frame as
    /// it is then.
    pub(crate) fn balance(&self, interface: u32, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context: [u32; 6] = [0, frame.len() as u32, 0, interface, 0, 0];
        let mut out = vec![0; frame.len() + 256];
        let result = self.program("balance")?.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            ..TestRunOptions::default()
        })?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// As [`Program::balance`], with a frame that really leaves if it is forwarded.
    pub(crate) fn balance_live(&self, interface: u32, frame: &[u8]) -> Result<()> {
        let context: [u32; 6] = [0, frame.len() as u32, 0, interface, 0, 0];
        self.program("balance")?.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::default()
        })?;
        Ok(())
    }

    /// Starts the sweeper's clock.
    pub(crate) fn wind(&self) -> Result<()> {
        const XDP_PASS: u32 = 2;
        let result = self.program("wind")?.test_run(TestRunOptions {
            data_in: Some(&[0; 64]),
            ..TestRunOptions::default()
        })?;
        ensure!(result.return_value == XDP_PASS, "{result:?}");
        Ok(())
    }

    /// Sets the time, in ticks, and the last random number, where they are the test's.
    pub(crate) fn set_clock(&mut self, now: u32, random: u32) -> Result<()> {
        self.change_clock(|clock| {
            (clock.random, clock.moment) = (random, Moment::new(now, false))
        })?;
        self.doubt()
    }

    /// Sets the lease, and has doubt noted as the sweeper does it.
    pub(crate) fn set_lease(&mut self, lease: Lease) -> Result<()> {
        self.fill("lease", &[lease])?;
        self.lease = lease;
        self.doubt()
    }

    fn doubt(&mut self) -> Result<()> {
        let lease = self.lease;
        let is_virtual = self.time == Time::Virtual;
        self.change_clock(|clock| {
            let now = clock.moment.now();
            // A lease of a test in the kernel's time is over or lasts, whatever the time is.
            let time = if is_virtual {
                u64::from(now) << TICK_SHIFT
            } else {
                1_000
            };
            clock.moment = Moment::new(now, lease.refusal(|| time).is_some());
        })
    }

    fn change_clock(&mut self, change: impl FnOnce(&mut Clock)) -> Result<()> {
        let mut array = Array::<_, Clock>::try_from(self.map_mut("clock")?)?;
        let mut clock = array.get(&0, 0)?;
        change(&mut clock);
        Ok(array.set(0, clock, 0)?)
    }

    /// The last random number.
    pub(crate) fn random(&self) -> Result<u32> {
        Ok(Array::<_, Clock>::try_from(self.map("clock")?)?
            .get(&0, 0)?
            .random)
    }

    /// Has the sweeper take so many steps through each queue, where time is the test's.
    pub(crate) fn sweep(&mut self, steps: u32) -> Result<()> {
        const XDP_PASS: u32 = 2;
        self.change_clock(|clock| clock.steps = steps)?;
        let result = self.program("sweep")?.test_run(TestRunOptions {
            data_in: Some(&[0; 64]),
            ..TestRunOptions::default()
        })?;
        ensure!(result.return_value == XDP_PASS, "{result:?}");
        Ok(())
    }

    /// Has the program learn a record: what it made of it.
    pub(crate) fn learn(&self, record: &Record) -> Result<Record> {
        let mut out = vec![0; size_of::<Record>()];
        self.program("learn")?.test_run(TestRunOptions {
            data_in: Some(bytemuck::bytes_of(record)),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        })?;
        Ok(bytemuck::pod_read_unaligned(&out))
    }

    /// Takes what the partner is told.
    pub(crate) fn told(&mut self) -> Result<Vec<Record>> {
        let mut told = Vec::new();
        while let Some(record) = self.changes.next() {
            told.push(bytemuck::pod_read_unaligned(&record));
        }
        Ok(told)
    }

    /// Writes what the control plane would write.
    pub(crate) fn write(&mut self, write: &Write) -> Result<()> {
        match write {
            Write::Settings(settings) => self.fill("settings", &[*settings])?,
            Write::Thresholds(id, thresholds) => {
                Array::<_, Thresholds>::try_from(self.map_mut("thresholds")?)?
                    .set(*id, thresholds, 0)?;
                self.weigh(*id)?;
            }
            Write::Persistence(id, persistence) => {
                Array::<_, Persistence>::try_from(self.map_mut("persistence")?)?.set(
                    *id,
                    persistence,
                    0,
                )?;
            }
            Write::Address(address, role) => {
                self.hash::<Address6, Role>("addresses")?
                    .insert(address, role, 0)?;
                self.set_sieve(&self.entries("addresses")?)?;
            }
            Write::NoAddress(address) => {
                self.hash::<Address6, Role>("addresses")?.remove(address)?;
                self.set_sieve(&self.entries("addresses")?)?;
            }
            Write::Server(id, server) => self.set_server(*id, *server)?,
            Write::Ring(first, slots) => {
                let mut ring = Array::<_, u32>::try_from(self.map_mut("ring")?)?;
                for (index, id) in (*first..).zip(slots) {
                    ring.set(index, id, 0)?;
                }
            }
            Write::Turn(id, turn) => {
                Array::<_, u64>::try_from(self.map_mut("turns")?)?.set(*id, turn, 0)?;
            }
            Write::Service(key, service) => {
                self.hash::<ServiceKey, Service>("services")?
                    .insert(key, service, 0)?;
            }
            Write::NoService(key) => {
                self.hash::<ServiceKey, Service>("services")?.remove(key)?;
            }
            Write::Range((key, bits), service) => {
                let ranges = self.map_mut("service_ranges")?;
                let mut ranges = LpmTrie::<_, RangeKey, Service>::try_from(ranges)?;
                ranges.insert(&lpm_trie::Key::new(*bits, *key), service, 0)?;
            }
            Write::Lease(lease) => self.set_lease(*lease)?,
            Write::NoRange((key, bits)) => {
                let ranges = self.map_mut("service_ranges")?;
                let mut ranges = LpmTrie::<_, RangeKey, Service>::try_from(ranges)?;
                ranges.remove(&lpm_trie::Key::new(*bits, *key))?;
            }
        }
        Ok(())
    }

    /// Has the program look at the thresholds of a real server.
    fn weigh(&self, id: u32) -> Result<()> {
        const XDP_PASS: u32 = 2;
        let mut packet = [0; 64];
        packet[..4].copy_from_slice(&id.to_ne_bytes());
        let result = self.program("weigh")?.test_run(TestRunOptions {
            data_in: Some(&packet),
            ..TestRunOptions::default()
        })?;
        ensure!(result.return_value == XDP_PASS, "{result:?}");
        Ok(())
    }

    /// All entries of a hash map.
    pub(crate) fn entries<K: Pod + Ord, V: Pod>(&self, name: &str) -> Result<BTreeMap<K, V>> {
        let map = HashMap::try_from(self.map(name)?)?;
        Ok(map.iter().collect::<Result<_, MapError>>()?)
    }

    /// Takes the frames that were given into the daemon's hands.
    pub(crate) fn held(&mut self) -> Result<Vec<Vec<u8>>> {
        const BYTES: usize = std::mem::offset_of!(HeldFrame, bytes);
        let mut frames = Vec::new();
        while let Some(record) = self.held.next() {
            let length = std::mem::offset_of!(HeldFrame, length);
            let length: [u8; 4] = record[length..length + 4].try_into()?;
            let length = u32::from_ne_bytes(length) as usize;
            frames.push(record[BYTES..BYTES + length].to_vec());
        }
        Ok(frames)
    }

    /// The turn of a service.
    pub(crate) fn turn(&self, service: u32) -> Result<u64> {
        Ok(Array::try_from(self.map("turns")?)?.get(&service, 0)?)
    }

    /// The counter of each reason, all CPUs together.
    pub(crate) fn reasons(&self) -> Result<BTreeMap<&'static str, u64>> {
        let counters = PerCpuArray::<_, u64>::try_from(self.map("reasons")?)?;
        let mut reasons = BTreeMap::new();
        for reason in Reason::ALL {
            let counter: u64 = counters.get(&(*reason as u32), 0)?.iter().sum();
            if counter > 0 {
                reasons.insert(reason.name(), counter);
            }
        }
        Ok(reasons)
    }

    /// The flows of IPv4.
    pub(crate) fn flows4(&self) -> Result<BTreeMap<FlowKey<Address4>, Flow<Address4>>> {
        self.entries("flows4")
    }

    /// The flows of IPv6.
    pub(crate) fn flows6(&self) -> Result<BTreeMap<FlowKey<Address6>, Flow<Address6>>> {
        self.entries("flows6")
    }

    /// How many keys a queue has: of half-open flows of IPv4, others of IPv4, the same of IPv6.
    pub(crate) fn queued(&self, queue: u32) -> Result<u32> {
        Ok(Array::try_from(self.map("queued")?)?.get(&queue, 0)?)
    }

    /// How many entries the flow table of a family has: index 0 is IPv4's.
    pub(crate) fn census(&self, family: u32) -> Result<Census> {
        Ok(Array::try_from(self.map("census")?)?.get(&family, 0)?)
    }

    /// How often each event happened, all CPUs together.
    pub(crate) fn events(&self) -> Result<BTreeMap<&'static str, u64>> {
        let counters = PerCpuArray::<_, u64>::try_from(self.map("events")?)?;
        let mut events = BTreeMap::new();
        for event in Event::ALL {
            let counter: u64 = counters.get(&(*event as u32), 0)?.iter().sum();
            if counter > 0 {
                events.insert(event.name(), counter);
            }
        }
        Ok(events)
    }

    /// The load of a real server.
    pub(crate) fn load_of(&self, server: u32) -> Result<Load> {
        Ok(Array::try_from(self.map("loads")?)?.get(&server, 0)?)
    }

    /// The traffic of a real server, all CPUs together.
    pub(crate) fn traffic_of(&self, server: u32) -> Result<Traffic> {
        let map = PerCpuArray::<_, Traffic>::try_from(self.map("traffic")?)?;
        let mut sum: Traffic = bytemuck::Zeroable::zeroed();
        for traffic in map.get(&server, 0)?.iter() {
            sum.connections += traffic.connections;
            sum.packets_in += traffic.packets_in;
            sum.bytes_in += traffic.bytes_in;
            sum.packets_out += traffic.packets_out;
            sum.bytes_out += traffic.bytes_out;
        }
        Ok(sum)
    }

    /// Writes the first entries of an array.
    pub(crate) fn fill<T: Pod>(&mut self, name: &str, values: &[T]) -> Result<()> {
        let mut array = Array::<_, T>::try_from(self.map_mut(name)?)?;
        for (index, value) in (0..).zip(values) {
            array
                .set(index, value, 0)
                .with_context(|| format!("{name}[{index}]"))?;
        }
        Ok(())
    }

    /// Replaces a real server.
    pub(crate) fn set_server(&mut self, id: u32, server: Server) -> Result<()> {
        Ok(Array::<_, Server>::try_from(self.map_mut("servers")?)?.set(id, server, 0)?)
    }

    fn empty<K: Pod, V: Pod>(&mut self, name: &str) -> Result<()> {
        let mut map = self.hash::<K, V>(name)?;
        let old: Vec<K> = map.keys().collect::<Result<_, _>>()?;
        for key in old {
            map.remove(&key)?;
        }
        Ok(())
    }

    /// Nothing of the packets before is left in the room for the next.
    fn clean<const SIZE: usize>(&mut self, name: &str) -> Result<()> {
        let mut room = PerCpuArray::<_, [u8; SIZE]>::try_from(self.map_mut(name)?)?;
        Ok(room.set(0, per_cpu([0; SIZE])?, 0)?)
    }

    fn drain<K: Pod>(&mut self, name: &str) -> Result<()> {
        let mut queue = Queue::<_, K>::try_from(self.map_mut(name)?)?;
        while queue.pop(0).is_ok() {}
        Ok(())
    }

    fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> Result<HashMap<&mut MapData, K, V>> {
        Ok(HashMap::try_from(self.map_mut(name)?)?)
    }

    fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self.ebpf.program(name);
        Ok(program
            .with_context(|| format!("the program {name}"))?
            .try_into()?)
    }

    fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf.map(name).ok_or_else(|| anyhow!("no map {name}"))
    }

    fn map_mut(&mut self, name: &str) -> Result<&mut Map> {
        let map = self.ebpf.map_mut(name);
        map.ok_or_else(|| anyhow!("no map {name}"))
    }
}

fn per_cpu<T: Pod>(value: T) -> Result<PerCpuValues<T>> {
    let cpus = nr_cpus().map_err(|(path, error)| anyhow!("{path}: {error}"))?;
    Ok(PerCpuValues::try_from(vec![value; cpus])?)
}
