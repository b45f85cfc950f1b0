//! The program, loaded once more to try packets by: it reads the maps that are in use and writes
//! none of them.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues},
    programs::{ProgramInfo, TestRun, TestRunOptions},
    util::nr_cpus,
};
use bytemuck::Zeroable;
use lb_common::{
    address::{Address4, Address6},
    family::{Family, V4, V6},
    flow::{Flow, FlowKey},
    maps::{Rate, Server, Service, ServiceKey},
    room::{Gist, Room},
    state::{State, TICK_SHIFT},
    verdict::{Event, Reason},
    wire::Be16,
};

use super::{
    Sizes,
    bpffs::Pins,
    kernel::{OBJECT, pinned_sizes, program},
};

/// The maps that the program reads. Of all others it has its own: what it counts is counted there,
/// and what one stage tells the next is found there.
const SHARED: &[&str] = &[
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
    "localities",
    "flows4",
    "flows6",
    "half_open4",
    "half_open6",
    "standing4",
    "standing6",
    "queued",
    "census",
    "clock",
    "lease",
    "held",
    "settings",
    "vlans",
];

/// Maps of its own that would be large, and how many entries suffice. What real servers got is
/// counted nowhere: they have no entry.
const SMALL: &[(&str, u32)] = &[
    ("traffic", 1),
    ("fragments4", 1_024),
    ("fragments6", 1_024),
    ("changes", 4_096),
];

/// The longest frame that the kernel takes for a trial: a page, without the room in front and behind.
pub const LONGEST: usize = 3_500;

/// No service, no real server.
const NONE: u32 = u32::MAX;

/// The program on trial.
pub struct Trial {
    ebpf: Ebpf,
    is_same: bool,
}

/// What became of a packet.
#[derive(Debug, Clone)]
pub struct Tried {
    /// What would be done with it.
    pub fate: Fate,
    /// The frame as it would leave.
    pub frame: Vec<u8>,
    /// Why it was refused, first the reason that matters.
    pub reasons: Vec<Reason>,
    /// What would happen besides.
    pub events: Vec<Event>,
    /// What was found out, if it is a packet with a transport header that is balanced.
    pub findings: Option<Findings>,
}

/// What would be done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The kernel's own stack gets it.
    Passed,
    /// It ends.
    Dropped,
    /// It leaves by the interface that it came in by.
    Back,
    /// It leaves by this one.
    Away(u32),
    /// The program failed.
    Failed,
}

/// What the stages found out.
#[derive(Debug, Clone, Copy)]
pub struct Findings {
    /// Addresses and ports of the packet.
    pub key: Key,
    /// What parsing found out besides.
    pub gist: Gist,
    /// The service, if it is the first packet of a flow.
    pub service: Option<Service>,
    /// The real server that was chosen, if one was.
    pub server: Option<u32>,
    /// See [`Room::detail`].
    pub detail: u32,
}

/// The key of a packet of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it is going.
    pub destination: SocketAddr,
    /// Its protocol.
    pub protocol: u8,
}

/// A flow that is known.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The key of the client's packets.
    pub request: Key,
    /// Whether the packet is one of the real server's.
    pub is_reply: bool,
    /// Its state.
    pub state: State,
    /// How long it has been silent, in ticks.
    pub silent: u32,
    /// How long it may be, in ticks.
    pub timeout: u32,
    /// Its real server.
    pub server: u32,
}

impl Trial {
    /// Loads the program beside the one that is in use.
    ///
    /// # Errors
    /// If there is no data plane, or none that this program understands.
    pub fn load(pins: &Pins) -> anyhow::Result<Self> {
        if OBJECT.is_empty() {
            bail!("this lb was built without its BPF program; build it by `cargo xtask build`");
        }
        if !pins.exist() {
            bail!(
                "there is no data plane: nothing is pinned in {}; `lb run` makes one",
                pins.maps().display()
            );
        }
        // Nothing is to be pinned here: a map that is missing would be made.
        if let Some(missing) = SHARED.iter().find(|name| !pins.maps().join(name).exists()) {
            bail!(
                "the data plane in {} has no map `{missing}`: it is another version's",
                pins.maps().display()
            );
        }
        pinned_sizes(pins, &Sizes::default())?;
        let mut loader = EbpfLoader::new();
        for name in SHARED {
            loader.map_pin_path(name, pins.maps().join(name));
        }
        for (name, entries) in SMALL {
            loader.map_max_entries(name, *entries);
        }
        loader.override_global("DRY", &1_u8, true);
        let mut ebpf = loader.load(OBJECT).context("loading the BPF program")?;
        let balance = program(&mut ebpf, "balance")?;
        balance
            .load()
            .context("the kernel refused the program `balance`")?;
        let tag = balance.info()?.tag();
        let in_use = ProgramInfo::from_pin(pins.programs().join("balance"));
        Ok(Self {
            is_same: in_use.is_ok_and(|in_use| in_use.tag() == tag),
            ebpf,
        })
    }

    /// Whether this very program is the one in use.
    #[must_use]
    pub const fn is_the_one_in_use(&self) -> bool {
        self.is_same
    }

    /// What becomes of a frame that comes in by the interface of this number.
    ///
    /// # Errors
    /// The kernel's, for instance that there is no such interface.
    pub fn run(&mut self, interface: u32, frame: &[u8]) -> anyhow::Result<Tried> {
        const PASS: u32 = 2;
        const DROP: u32 = 1;
        const TRANSMIT: u32 = 3;
        const REDIRECT: u32 = 4;

        self.begin()?;
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context: [u32; 6] = [0, frame.len() as u32, 0, interface, 0, 0];
        let mut out = vec![0; frame.len() + 512];
        let balance = program(&mut self.ebpf, "balance")?;
        let result = balance
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(bytemuck::bytes_of(&context)),
                ..TestRunOptions::default()
            })
            .context("the kernel does not try the packet")?;
        out.truncate(result.data_size_out as usize);
        let fate = match result.return_value {
            PASS => Fate::Passed,
            DROP => Fate::Dropped,
            TRANSMIT => Fate::Back,
            REDIRECT => Fate::Away(self.departure()?),
            _ => Fate::Failed,
        };
        let mut reasons = self.counted("reasons", Reason::ALL)?;
        // It is counted besides another, which says more.
        reasons.sort_by_key(|reason| *reason == Reason::Unanswered);
        Ok(Tried {
            fate,
            frame: out,
            reasons,
            events: self.counted("events", Event::ALL)?,
            findings: match self.findings::<V4>("room4")? {
                Some(findings) => Some(findings),
                None => self.findings::<V6>("room6")?,
            },
        })
    }

    /// The flow that a packet of this key belongs to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn flow(&self, key: &Key) -> anyhow::Result<Option<Known>> {
        match key.source {
            SocketAddr::V4(_) => self.flow_in::<V4>("flows4", key),
            SocketAddr::V6(_) => self.flow_in::<V6>("flows6", key),
        }
    }

    /// The real server of this id.
    ///
    /// # Errors
    /// The kernel's.
    pub fn server(&self, id: u32) -> anyhow::Result<Option<Server>> {
        let servers = Array::<_, Server>::try_from(self.map("servers")?)?;
        match servers.get(&id, 0) {
            Ok(server) => Ok(Some(server).filter(Server::is_present)),
            Err(MapError::OutOfBounds { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The service of this key, and whether the key itself is in the table rather than a range that it
    /// is part of.
    ///
    /// # Errors
    /// The kernel's.
    pub fn has_exactly(&self, destination: SocketAddr, protocol: u8) -> anyhow::Result<bool> {
        let services = HashMap::<_, ServiceKey, Service>::try_from(self.map("services")?)?;
        let key = ServiceKey {
            address: Address6::from(destination.ip()),
            port: Be16::new(destination.port()),
            protocol,
            pad: [0; 5],
        };
        match services.get(&key, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Clears what the last packet left.
    fn begin(&mut self) -> anyhow::Result<()> {
        self.clear::<u64>("reasons", Reason::ALL.len(), 0)?;
        self.clear::<u64>("events", Event::ALL.len(), 0)?;
        self.clear("rates", 2, Rate::default())?;
        self.clear("departure", 1, 0_u32)?;
        self.clear("room4", 1, empty_room::<Address4>())?;
        self.clear("room6", 1, empty_room::<Address6>())
    }

    fn clear<T: aya::Pod>(&mut self, name: &str, entries: usize, value: T) -> anyhow::Result<()> {
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        let map = self.ebpf.map_mut(name);
        let map = map.with_context(|| format!("there is no map `{name}`"))?;
        let mut map = PerCpuArray::<_, T>::try_from(map)?;
        for index in 0..entries as u32 {
            let values = PerCpuValues::try_from(vec![value; cpus])?;
            map.set(index, values, 0)?;
        }
        Ok(())
    }

    /// The interface that the packet would leave by.
    fn departure(&self) -> anyhow::Result<u32> {
        let map = PerCpuArray::<_, u32>::try_from(self.map("departure")?)?;
        Ok(map.get(&0, 0)?.iter().copied().max().unwrap_or_default())
    }

    /// Those that were counted.
    fn counted<T: Copy>(&self, name: &str, all: &[T]) -> anyhow::Result<Vec<T>> {
        let map = PerCpuArray::<_, u64>::try_from(self.map(name)?)?;
        let mut counted = Vec::new();
        for (index, one) in (0..).zip(all) {
            if map.get(&index, 0)?.iter().any(|count| *count > 0) {
                counted.push(*one);
            }
        }
        Ok(counted)
    }

    fn findings<F: Family>(&self, name: &str) -> anyhow::Result<Option<Findings>>
    where
        Room<F::Address>: aya::Pod,
    {
        let map = PerCpuArray::<_, Room<F::Address>>::try_from(self.map(name)?)?;
        // The packet was handled by one CPU, and we do not know by which.
        let rooms = map.get(&0, 0)?;
        let room = rooms.iter().find(|room| room.key.protocol != 0);
        Ok(room.map(|room| Findings {
            key: widen::<F>(&room.key),
            gist: room.gist,
            service: (room.service.id != NONE).then_some(room.service),
            server: (room.server != NONE).then_some(room.server),
            detail: room.detail,
        }))
    }

    fn flow_in<F: Family>(&self, name: &str, key: &Key) -> anyhow::Result<Option<Known>>
    where
        FlowKey<F::Address>: aya::Pod,
        Flow<F::Address>: aya::Pod,
    {
        let flows = HashMap::<_, FlowKey<F::Address>, Flow<F::Address>>::try_from(self.map(name)?)?;
        let Some(entry) = find(&flows, &narrow::<F>(key))? else {
            return Ok(None);
        };
        let is_reply = entry.state == State::REPLY;
        let (request, flow) = if is_reply {
            let request = entry.request_key(key.protocol);
            match find(&flows, &request)? {
                Some(flow) => (widen::<F>(&request), flow),
                None => return Ok(None),
            }
        } else {
            (*key, entry)
        };
        Ok(Some(Known {
            request,
            is_reply,
            state: flow.state,
            silent: now().wrapping_sub(flow.seen),
            timeout: flow.timeout,
            server: flow.server,
        }))
    }

    fn map(&self, name: &str) -> anyhow::Result<&Map> {
        let map = self.ebpf.map(name);
        map.with_context(|| format!("there is no map `{name}`"))
    }
}

fn find<K: aya::Pod, V: aya::Pod>(
    map: &HashMap<&MapData, K, V>,
    key: &K,
) -> anyhow::Result<Option<V>> {
    match map.get(key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn empty_room<A>() -> Room<A>
where
    Room<A>: Zeroable,
{
    let mut room = Room::<A>::zeroed();
    room.service.id = NONE;
    room.server = NONE;
    room
}

fn widen<F: Family>(key: &FlowKey<F::Address>) -> Key {
    let socket = |address, port: Be16| SocketAddr::new(IpAddr::from(F::widen(address)), port.get());
    Key {
        source: socket(key.source, key.source_port),
        destination: socket(key.destination, key.destination_port),
        protocol: key.protocol,
    }
}

fn narrow<F: Family>(key: &Key) -> FlowKey<F::Address> {
    let address = |socket: SocketAddr| F::narrow(&Address6::from(socket.ip()));
    FlowKey::new(
        address(key.source),
        address(key.destination),
        Be16::new(key.source.port()),
        Be16::new(key.destination.port()),
        key.protocol,
    )
}

/// The time as flows count it.
fn now() -> u32 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
    let nanoseconds = now.map_or(0, |now| {
        now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
    });
    (nanoseconds >> TICK_SHIFT) as u32
}
