//! The maps, and [`Tables`] on them: the only map pointers of the program.
//!
//! The sizes here are the defaults; the daemon sets others when it loads the program.

use core::{hint::black_box, ops::ControlFlow};

use aya_ebpf::{
    Global,
    bindings::{BPF_ANY, BPF_NOEXIST, bpf_timer, xdp_md},
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, Queue, RingBuf, lpm_trie},
    cty::c_void,
    helpers::{bpf_timer_init, bpf_timer_set_callback, bpf_timer_start, bpf_xdp_load_bytes},
    macros::btf_map,
};
use lb_common::{
    address::{Address4, Address6},
    age, count,
    family::{Family, V4, V6},
    flow::{Flow, FlowKey},
    fragment::FragmentKey,
    icmp::Complaint,
    learn::learn,
    lease::{Clock, Lease, Moment},
    maps::{
        Census, HeldFrame, InterfaceTraffic, Load, Locality, LocalityKey, NextHop, Persistence,
        RangeKey, Rate, Role, Server, Service, ServiceKey, Settings, Thresholds, Traffic, Vlan,
        size,
    },
    packet::Packet,
    record::{self, Record},
    room::Room,
    sieve,
    state::{State, TICK_SHIFT},
    tables::{self, Change, FlowEntry, FlowTable, FragmentTable, Inserted, Route, Routed, Tables},
    verdict::{Event, Reason},
};

use crate::{
    kernel,
    packet::{XdpPacket, positive},
};

type Key4 = FlowKey<Address4>;
type Key6 = FlowKey<Address6>;

const FLOWS: usize = size::FLOWS as usize;
const QUEUE: usize = (size::FLOWS + size::QUEUE_SPARE) as usize;
const SERVERS: usize = size::SERVERS as usize;

/// The virtual services.
#[btf_map(name = "services")]
static SERVICES: HashMap<ServiceKey, Service, { size::SERVICES as usize }> = HashMap::new();
/// The turn of each service.
#[btf_map(name = "turns")]
static TURNS: Array<u64, { size::SERVICES as usize }> = Array::new();
/// The slots of all rings: ids of real servers.
#[btf_map(name = "ring")]
static RING: Array<u32, { size::RING as usize }> = Array::new();
/// The real servers by id.
#[btf_map(name = "servers")]
static SERVERS_BY_ID: Array<Server, SERVERS> = Array::new();
/// How many flows each real server has.
#[btf_map(name = "loads")]
static LOADS: Array<Load, SERVERS> = Array::new();
/// What each real server got and sent.
#[btf_map(name = "traffic")]
static TRAFFIC: PerCpuArray<Traffic, SERVERS> = PerCpuArray::new();
/// The virtual services with ranges of ports.
#[btf_map(name = "service_ranges")]
static SERVICE_RANGES: LpmTrie<RangeKey, Service, { size::RANGES as usize }> = LpmTrie::new();
/// The addresses of virtual services and real servers.
#[btf_map(name = "addresses")]
static ADDRESSES: HashMap<Address6, Role, { size::ADDRESSES as usize }> = HashMap::new();
/// Fragments on their way into the daemon's hands.
#[btf_map(name = "held")]
static HELD: RingBuf<(), { size::HELD as usize }> = RingBuf::new();
/// How long clients stay, by service.
#[btf_map(name = "persistence")]
static PERSISTENCE: Array<Persistence, { size::SERVICES as usize }> = Array::new();
/// How many flows each real server may have.
#[btf_map(name = "thresholds")]
static THRESHOLDS: Array<Thresholds, SERVERS> = Array::new();
/// The servers that lblc and lblcr remember.
#[btf_map(name = "localities")]
static LOCALITIES: LruHashMap<LocalityKey, Locality, { size::LOCALITIES as usize }> =
    LruHashMap::new();
/// The flows of IPv4.
#[btf_map(name = "flows4")]
static FLOWS4: HashMap<Key4, Flow<Address4>, FLOWS> = HashMap::new();
/// The flows of IPv6.
#[btf_map(name = "flows6")]
static FLOWS6: HashMap<Key6, Flow<Address6>, FLOWS> = HashMap::new();
/// The half-open flows of IPv4 that wait for the sweeper.
#[btf_map(name = "half_open4")]
static HALF_OPEN4: Queue<Key4, QUEUE> = Queue::new();
/// The other flows of IPv4 that wait for it.
#[btf_map(name = "standing4")]
static STANDING4: Queue<Key4, QUEUE> = Queue::new();
/// The half-open flows of IPv6 that wait for the sweeper.
#[btf_map(name = "half_open6")]
static HALF_OPEN6: Queue<Key6, QUEUE> = Queue::new();
/// The other flows of IPv6 that wait for it.
#[btf_map(name = "standing6")]
static STANDING6: Queue<Key6, QUEUE> = Queue::new();
/// The lengths of the queues: of half-open flows of IPv4, others of IPv4, the same of IPv6.
#[btf_map(name = "queued")]
static QUEUED: Array<u32, 4> = Array::new();
/// How long each queue has been in this round of the sweeper, and the number of the next run.
#[btf_map(name = "round")]
static ROUND: Array<u32, 5> = Array::new();
/// Where in [`ROUND`] the number of the next run is.
const ROUND_RUN: u32 = 4;
/// How many entries the flow tables have: of IPv4, of IPv6.
#[btf_map(name = "census")]
static CENSUS: Array<Census, 2> = Array::new();
/// Where the fragments of datagrams of IPv4 go.
#[btf_map(name = "fragments4")]
static FRAGMENTS4: LruHashMap<FragmentKey<Address4>, Flow<Address4>, { size::FRAGMENTS as usize }> =
    LruHashMap::new();
/// Where the fragments of datagrams of IPv6 go.
#[btf_map(name = "fragments6")]
static FRAGMENTS6: LruHashMap<FragmentKey<Address6>, Flow<Address6>, { size::FRAGMENTS as usize }> =
    LruHashMap::new();
/// New flows and answers of this second.
#[btf_map(name = "rates")]
static RATES: PerCpuArray<Rate, 2> = PerCpuArray::new();
/// How often each [`Event`] happened.
#[btf_map(name = "events")]
static EVENTS: PerCpuArray<u64, { Event::ALL.len() }> = PerCpuArray::new();
/// What came in by each interface; number 0 is all those whose number is too high.
#[btf_map(name = "interfaces")]
static INTERFACES: PerCpuArray<InterfaceTraffic, { size::INTERFACES as usize }> =
    PerCpuArray::new();
/// Which addresses may be anything to us: [`sieve::place`].
#[btf_map(name = "sieve")]
static SIEVE: Array<u64, { sieve::WORDS as usize }> = Array::new();
/// Settings and timeouts.
#[btf_map(name = "settings")]
static SETTINGS: Array<Settings, 1> = Array::new();
/// The VLAN interfaces by index.
#[btf_map(name = "vlans")]
static VLANS: HashMap<u32, Vlan, { size::VLANS as usize }> = HashMap::new();
/// How many packets were not steered, by [`Reason`].
#[btf_map(name = "reasons")]
static REASONS: PerCpuArray<u64, { Reason::ALL.len() }> = PerCpuArray::new();
/// What became of flows, on its way to the daemon, which tells the partner.
#[btf_map(name = "changes")]
static CHANGES: RingBuf<(), { size::CHANGES as usize }> = RingBuf::new();
/// The key of the flow of IPv4 that is told.
#[btf_map(name = "told4")]
static TOLD4: PerCpuArray<Key4, 1> = PerCpuArray::new();
/// The key of the flow of IPv6 that is told.
#[btf_map(name = "told6")]
static TOLD6: PerCpuArray<Key6, 1> = PerCpuArray::new();
/// The record that is being learned. What learns is no packet, and may be interrupted by one: it has rooms of
/// its own.
#[btf_map(name = "lesson")]
static LESSON: PerCpuArray<Record, 1> = PerCpuArray::new();
/// Room to learn a flow of IPv4.
#[btf_map(name = "lesson4")]
static LESSON4: PerCpuArray<Room<Address4>, 1> = PerCpuArray::new();
/// Room to learn a flow of IPv6.
#[btf_map(name = "lesson6")]
static LESSON6: PerCpuArray<Room<Address6>, 1> = PerCpuArray::new();
/// Room for one packet of IPv4.
#[btf_map(name = "room4")]
static ROOM4: PerCpuArray<Room<Address4>, 1> = PerCpuArray::new();
/// Room for one packet of IPv6.
#[btf_map(name = "room6")]
static ROOM6: PerCpuArray<Room<Address6>, 1> = PerCpuArray::new();
/// What an ICMP error says about a tunnel.
#[btf_map(name = "complaint")]
static COMPLAINT: PerCpuArray<Complaint, 1> = PerCpuArray::new();
/// The sweeper's clock.
#[btf_map(name = "sweeper")]
static SWEEPER: Array<Sweeper, 1> = Array::new();

/// The time in ticks, as it was when the sweeper ran last: a packet that reads it here needs not ask the
/// kernel, and no timeout is as short as the sweeper's period. Beside it is whether the lease may be over. If
/// [`VIRTUAL`] all of it is a test's.
#[btf_map(name = "clock")]
static CLOCK: Array<Clock, 1> = Array::new();
/// Whether this director steers.
#[btf_map(name = "lease")]
static LEASE: Array<Lease, 1> = Array::new();

/// Not zero where time and chance are a test's, in the map `clock`. It is zero in the daemon's hands; the
/// kernel then drops the branch that is not taken.
#[unsafe(no_mangle)]
static VIRTUAL: Global<u8> = Global::new(0);

/// The sweeper's clock. The kernel finds the timer in it by its type.
#[repr(C)]
pub(crate) struct Sweeper {
    timer: bpf_timer,
}

/// Not zero in the program by which `lb explain` tries packets: nothing is written that the maps in
/// use would keep, and everything that would be written is said to have succeeded. Counters need no
/// such care, since that program has some of its own. Where it is zero the kernel drops the branches
/// that are not taken.
#[unsafe(no_mangle)]
static DRY: Global<u8> = Global::new(0);

/// The interface that a packet which is only tried would leave by.
#[btf_map(name = "departure")]
static DEPARTURE: PerCpuArray<u32, 1> = PerCpuArray::new();

/// Notes by which interface a packet that is only tried would leave.
#[inline(always)]
pub(crate) fn note_departure(interface: u32) {
    if let Some(departure) = DEPARTURE.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own.
        unsafe { *departure = interface };
    }
}

/// Whether packets are only tried.
#[inline(always)]
pub(crate) fn is_dry() -> bool {
    DRY.load() != 0
}

/// Room for the packet of IPv4 that is being handled.
#[inline(always)]
pub(crate) fn room4() -> Option<&'static mut Room<Address4>> {
    // SAFETY: the value is this CPU's own, and the entry point asks for it once per packet.
    ROOM4.get_ptr_mut(0).map(|room| unsafe { &mut *room })
}

/// Room for the packet of IPv6 that is being handled.
#[inline(always)]
pub(crate) fn room6() -> Option<&'static mut Room<Address6>> {
    // SAFETY: as in `room4`.
    ROOM6.get_ptr_mut(0).map(|room| unsafe { &mut *room })
}

/// The record that is being learned.
#[inline(always)]
pub(crate) fn lesson() -> Option<&'static mut Record> {
    // SAFETY: the value is this CPU's own, there is one who learns, and nobody has two of these.
    LESSON.get_ptr_mut(0).map(|record| unsafe { &mut *record })
}

/// Learns the record, if it is one of IPv4: what came of it.
#[inline(always)]
fn learn_in<F: Family>(room: Option<*mut Room<F::Address>>) -> u32
where
    KernelTables: FlowTable<F>,
{
    let (Some(record), Some(room)) = (lesson(), room) else {
        return u32::from(record::Outcome::NONE.0);
    };
    // SAFETY: as in `lesson`.
    let room = unsafe { &mut *room };
    let tables = KernelTables::without_packet();
    u32::from(learn::<F, _>(&tables, record, &mut room.key, &mut room.new).0)
}

/// Learns the record of IPv4, as a global function: what came of it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn learn_v4() -> u32 {
    learn_in::<V4>(LESSON4.get_ptr_mut(0))
}

/// The same for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn learn_v6() -> u32 {
    learn_in::<V6>(LESSON6.get_ptr_mut(0))
}

/// What the ICMP error that is being handled says about a tunnel.
#[inline(always)]
pub(crate) fn complaint() -> Option<&'static mut Complaint> {
    // SAFETY: as in `room4`.
    COMPLAINT
        .get_ptr_mut(0)
        .map(|complaint| unsafe { &mut *complaint })
}

/// Counts a packet that was not steered.
#[inline(always)]
pub(crate) fn count(reason: Reason) {
    if let Some(counter) = REASONS.get_ptr_mut(reason as u32) {
        // SAFETY: the slot is this CPU's own.
        unsafe { *counter += 1 };
    }
}

/// What runs when the clock strikes.
type Tick = fn(*mut c_void, *mut u32, *mut Sweeper) -> i32;

/// Starts the sweeper's clock with this program's `tick`.
#[inline(always)]
pub(crate) fn wind_clock(tick: Tick) -> Result<(), i64> {
    /// `CLOCK_MONOTONIC`.
    const MONOTONIC: u64 = 1;
    /// `EBUSY`: the clock was started by a program before this one. It is taken over.
    const BUSY: i64 = -16;

    set_clock();
    let sweeper = SWEEPER.get_ptr_mut(0).ok_or(0)?;
    let map = core::ptr::from_ref(&SWEEPER).cast_mut().cast();
    // SAFETY: timer and map belong together; the callback has the type that the kernel calls.
    unsafe {
        let timer = &raw mut (*sweeper).timer;
        match bpf_timer_init(timer, map, MONOTONIC) {
            0 | BUSY => {}
            error => return Err(error),
        }
        match bpf_timer_set_callback(timer, tick as *mut c_void) {
            0 => {}
            error => return Err(error),
        }
    }
    wind_again(sweeper);
    Ok(())
}

/// Lets the clock strike once more.
#[inline(always)]
pub(crate) fn wind_again(sweeper: *mut Sweeper) {
    const PERIOD_NS: u64 = age::TICK_MS as u64 * 1_000_000;
    // SAFETY: the timer lies in the map and was set up before.
    unsafe { bpf_timer_start(&raw mut (*sweeper).timer, PERIOD_NS, 0) };
}

/// The time in ticks, and whether the lease may be over.
#[inline(always)]
pub(crate) fn moment() -> Moment {
    CLOCK.get(0).map_or(Moment::default(), |clock| clock.moment)
}

/// The exact time that the lease counts by; in ticks where it is a test's.
#[inline(always)]
fn boot_time() -> u64 {
    if VIRTUAL.load() == 0 {
        kernel::boot_time()
    } else {
        u64::from(moment().now()) << TICK_SHIFT
    }
}

/// Sets the clock, unless it is a test's.
#[inline(always)]
pub(crate) fn set_clock() {
    if VIRTUAL.load() != 0 {
        return;
    }
    let is_doubtful = KernelTables::without_packet().refusal().is_some();
    if let Some(clock) = CLOCK.get_ptr_mut(0) {
        let moment = Moment::new(kernel::now(), is_doubtful);
        // SAFETY: the pointer is to a map value; the word is written as a whole.
        unsafe { (&raw mut (*clock).moment).write_volatile(moment) };
    }
}

/// A number that nobody can foretell, or the one that a test's own tables come to.
#[inline(always)]
fn random() -> u32 {
    if VIRTUAL.load() == 0 {
        return kernel::random();
    }
    let Some(clock) = CLOCK.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the pointer is to a map value, and such a test runs one packet at a time.
    let clock = unsafe { &mut *clock };
    clock.random = tables::xorshift(clock.random);
    clock.random
}

/// How many steps a test wants the sweeper to take through each queue.
#[inline(always)]
pub(crate) fn virtual_steps() -> u32 {
    if VIRTUAL.load() == 0 {
        return 0;
    }
    let steps = CLOCK.get(0).map_or(0, |clock| clock.steps);
    steps.min(age::MAX_STEPS)
}

/// Counts a packet that came in by an interface, and what becomes of it.
#[inline(always)]
pub(crate) fn count_interface(interface: u32, bytes: usize, fate: Outcome) {
    let index = if interface < size::INTERFACES {
        interface
    } else {
        0
    };
    if let Some(traffic) = INTERFACES.get_ptr_mut(index) {
        // SAFETY: the slot is this CPU's own.
        let traffic = unsafe { &mut *traffic };
        traffic.packets += 1;
        traffic.bytes += bytes as u64;
        match fate {
            Outcome::Steered => traffic.steered += 1,
            Outcome::Passed => traffic.passed += 1,
            Outcome::Dropped => traffic.dropped += 1,
        }
    }
}

/// What became of a packet, as interfaces count it.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Steered,
    Passed,
    Dropped,
}

/// How many steps the sweeper has to take through a queue this time. `run` is the number of this run in
/// its round.
#[inline(always)]
pub(crate) fn steps<F: Family>(queue: tables::Queue, run: u32) -> u32 {
    let index = queue_index::<F>(queue);
    let length = QUEUED.get(index).copied().unwrap_or(0);
    let Some(longest) = ROUND.get_ptr_mut(index) else {
        return age::steps(length);
    };
    // SAFETY: the pointer is to a map value, which nobody else writes: the clock strikes on one CPU.
    let longest = unsafe { &mut *longest };
    if run == 0 || length > *longest {
        *longest = length;
    }
    age::steps(*longest)
}

/// The number of this run of the sweeper in its round, from zero on.
#[inline(always)]
pub(crate) fn run() -> u32 {
    ROUND.get_ptr_mut(ROUND_RUN).map_or(0, |next| {
        // SAFETY: as in `steps`.
        let next = unsafe { &mut *next };
        let run = *next;
        *next = if run + 1 < age::ROUND_TICKS {
            run + 1
        } else {
            0
        };
        run
    })
}

#[inline(always)]
const fn queue_index<F: Family>(queue: tables::Queue) -> u32 {
    family_index::<F>() * 2 + matches!(queue, tables::Queue::Standing) as u32
}

#[inline(always)]
const fn family_index<F: Family>() -> u32 {
    (F::AF != V4::AF) as u32
}

#[inline(always)]
fn count_queued<F: Family>(queue: tables::Queue, change: i32) {
    if let Some(length) = QUEUED.get_ptr_mut(queue_index::<F>(queue)) {
        // SAFETY: the pointer is to a map value.
        unsafe { kernel::add(length, change as u32) };
    }
}

/// Counts one more of what is counted by the second: 0 new flows, 1 answers.
#[inline(always)]
fn this_second(index: u32, now: u32) -> u32 {
    RATES.get_ptr_mut(index).map_or(0, |rate| {
        // SAFETY: the slot is this CPU's own.
        let rate = unsafe { &mut *rate };
        *rate = rate.counted(now);
        rate.count
    })
}

/// Copies a packet into the ring to the daemon, as a global function. Zero if there is no room, or
/// the packet is longer than is held.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hold_packet(ctx: *mut xdp_md) -> u32 {
    let packet = XdpPacket::new(ctx);
    // Two checks of one number become one of another, which the verifier could not use.
    let length = black_box(packet.length());
    if length == 0 {
        return 0;
    }
    let length = black_box(length);
    if length > HeldFrame::CAPACITY {
        return 0;
    }
    if is_dry() {
        return 1;
    }
    let Some(mut record) = HELD.reserve_untyped::<HeldFrame>(0) else {
        return 0;
    };
    let frame = record.as_mut_ptr();
    // SAFETY: the record has room for so many bytes, and is written before anybody reads it.
    let copied = unsafe {
        (&raw mut (*frame).interface).write(packet.interface());
        (&raw mut (*frame).length).write(length as u32);
        let length = positive::<{ HeldFrame::CAPACITY }>(length);
        bpf_xdp_load_bytes(ctx, 0, (&raw mut (*frame).bytes).cast(), length as u32)
    };
    if copied == 0 {
        record.submit(0);
    } else {
        record.discard(0);
    }
    u32::from(copied == 0)
}

/// The maps, and the context that routes are asked with.
pub(crate) struct KernelTables {
    ctx: *mut xdp_md,
}

impl KernelTables {
    /// The tables for a packet.
    #[inline(always)]
    pub(crate) const fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }

    /// The tables for the sweeper, which asks for no routes.
    #[inline(always)]
    pub(crate) const fn without_packet() -> Self {
        Self {
            ctx: core::ptr::null_mut(),
        }
    }

    #[inline(always)]
    fn traffic(&self, server: u32, change: impl FnOnce(&mut Traffic)) {
        if let Some(traffic) = TRAFFIC.get_ptr_mut(server) {
            // SAFETY: the slot is this CPU's own, and a program is not interrupted by another of
            // its kind.
            change(unsafe { &mut *traffic });
        }
    }
}

impl Tables for KernelTables {
    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<Service> {
        // SAFETY: the daemon replaces services as a whole and the copy is made at once.
        unsafe { SERVICES.get(key).copied() }
    }

    #[inline(always)]
    fn service_by_range(&self, key: &RangeKey) -> Option<Service> {
        SERVICE_RANGES
            .get(&lpm_trie::Key::new(RangeKey::BITS, *key))
            .copied()
    }

    #[inline(always)]
    fn role(&self, address: &Address6) -> Role {
        // SAFETY: the daemon replaces roles as a whole and the copy is made at once.
        unsafe { ADDRESSES.get(address).copied() }.unwrap_or_default()
    }

    #[inline(always)]
    fn may_concern(&self, address: &Address6) -> bool {
        let (word, bits) = sieve::place(address);
        SIEVE.get(word).is_some_and(|word| sieve::has(*word, bits))
    }

    #[inline(always)]
    fn persistence(&self, service: u32) -> Option<&Persistence> {
        PERSISTENCE.get(service)
    }

    #[inline(always)]
    fn server(&self, id: u32) -> Option<&Server> {
        SERVERS_BY_ID.get(id)
    }

    #[inline(always)]
    fn thresholds(&self, server: u32) -> Thresholds {
        THRESHOLDS.get(server).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<u32> {
        RING.get(index).copied()
    }

    #[inline(always)]
    fn scan(&self, first: u32, count: u32, mut visit: impl FnMut(u32) -> ControlFlow<()>) {
        kernel::each(count, |index| match self.slot(first + index) {
            Some(id) => visit(id),
            None => ControlFlow::Break(()),
        });
    }

    #[inline(always)]
    fn repeat(&self, count: u32, visit: impl FnMut(u32) -> ControlFlow<()>) {
        kernel::each(count, visit);
    }

    #[inline(always)]
    fn zero(&self) -> u32 {
        // SAFETY: the pointer is to a map value; the compiler is not to know it either.
        SETTINGS.get(0).map_or(0, |settings| unsafe {
            (&raw const settings.pad).read_volatile()
        })
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        random()
    }

    #[inline(always)]
    fn locality(&self, key: &LocalityKey) -> Option<Locality> {
        // SAFETY: entries are replaced as a whole and the copy is made at once.
        unsafe { LOCALITIES.get(key).copied() }
    }

    #[inline(always)]
    fn remember_locality(&self, key: &LocalityKey, locality: &Locality) {
        if is_dry() {
            return;
        }
        // Without room it is scheduled again the next time.
        let _ = LOCALITIES.insert(key, locality, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn turn(&self, service: u32) -> u64 {
        if is_dry() {
            return TURNS.get(service).copied().unwrap_or(0);
        }
        match TURNS.get_ptr_mut(service) {
            // SAFETY: the pointer is to a map value.
            Some(turn) => unsafe { kernel::fetch_add(turn, 1) },
            None => 0,
        }
    }

    #[inline(always)]
    fn load(&self, server: u32) -> Load {
        LOADS.get(server).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn adjust_load(&self, server: u32, change: Change) {
        let Some(load) = LOADS.get_ptr_mut(server).filter(|_| !is_dry()) else {
            return;
        };
        // SAFETY: the pointers are into a map value.
        unsafe {
            if change.active != 0 {
                kernel::add(&raw mut (*load).active, change.active as u32);
            }
            if change.inactive != 0 {
                kernel::add(&raw mut (*load).inactive, change.inactive as u32);
            }
            if change.closing != 0 {
                kernel::add(&raw mut (*load).closing, change.closing as u32);
            }
            if change.persistent != 0 {
                kernel::add(&raw mut (*load).persistent, change.persistent as u32);
            }
        }
    }

    #[inline(always)]
    fn set_overloaded(&self, server: u32, overloaded: bool) {
        if let Some(load) = LOADS.get_ptr_mut(server).filter(|_| !is_dry()) {
            // SAFETY: the pointer is into a map value; the word is written as a whole.
            unsafe { (&raw mut (*load).overloaded).write_volatile(u32::from(overloaded)) };
        }
    }

    #[inline(always)]
    fn count_connection(&self, server: u32) {
        self.traffic(server, |traffic| traffic.connections += 1);
    }

    #[inline(always)]
    fn count_request(&self, server: u32, bytes: usize) {
        self.traffic(server, |traffic| {
            traffic.packets_in += 1;
            traffic.bytes_in += bytes as u64;
        });
    }

    #[inline(always)]
    fn count_reply(&self, server: u32, bytes: usize) {
        self.traffic(server, |traffic| {
            traffic.packets_out += 1;
            traffic.bytes_out += bytes as u64;
        });
    }

    #[inline(always)]
    fn count(&self, event: Event) {
        if let Some(counter) = EVENTS.get_ptr_mut(event as u32) {
            // SAFETY: the slot is this CPU's own.
            unsafe { *counter += 1 };
        }
    }

    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }

    #[inline(always)]
    fn flows_this_second(&self, now: u32) -> u32 {
        this_second(0, now)
    }

    #[inline(always)]
    fn answers_this_second(&self, now: u32) -> u32 {
        this_second(1, now)
    }

    #[inline(always)]
    fn hold<P: Packet>(&self, _packet: &P) -> bool {
        hold_packet(self.ctx) != 0
    }

    #[inline(always)]
    fn moment(&self) -> Moment {
        moment()
    }

    #[inline(always)]
    fn lease(&self) -> Lease {
        LEASE.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn boot_time(&self) -> u64 {
        boot_time()
    }

    #[inline(always)]
    fn route<F: Family>(&self, interface: u32, packet: &Routed<'_, F>) -> Route {
        let mut route = kernel::route(self.ctx, interface, packet);
        if let Route::Via(hop) = &mut route {
            // SAFETY: the daemon replaces entries as a whole; both fields are read at once.
            if let Some(vlan) = unsafe { VLANS.get(hop.interface) } {
                hop.interface = vlan.parent;
                hop.vlan = vlan.id as u16;
            }
        }
        route
    }
}

/// A flow where it lies in the table.
#[derive(Clone)]
pub(crate) struct KernelEntry<A> {
    flow: *mut Flow<A>,
}

/// The real server of the flow that this key has.
#[cfg(feature = "log")]
pub(crate) fn server_of4(key: &Key4) -> Option<u32> {
    // SAFETY: the pointer is to a map value; the word is written as a whole.
    FLOWS4.get_ptr(key).map(|flow| unsafe { (*flow).server })
}

/// The same for IPv6.
#[cfg(feature = "log")]
pub(crate) fn server_of6(key: &Key6) -> Option<u32> {
    // SAFETY: the pointer is to a map value; the word is written as a whole.
    FLOWS6.get_ptr(key).map(|flow| unsafe { (*flow).server })
}

impl<F: Family> FlowEntry<F> for KernelEntry<F::Address> {
    #[inline(always)]
    fn get(&self) -> Flow<F::Address> {
        // SAFETY: the pointer is to a map value, whose memory stays while the program runs. Other
        // CPUs may write meanwhile: each field is a word that is written as a whole.
        unsafe { *self.flow }
    }

    #[inline(always)]
    fn copy_to(&self, flow: &mut Flow<F::Address>) {
        let (from, to): (*const u32, *mut u32) =
            (self.flow.cast(), core::ptr::from_mut(flow).cast());
        for word in 0..size_of::<Flow<F::Address>>() / size_of::<u32>() {
            // SAFETY: as above; both are flows, which are made of whole words.
            unsafe { to.add(word).write(from.add(word).read_volatile()) };
        }
    }

    #[inline(always)]
    fn copy_source_to(&self, flow: &mut Flow<F::Address>) {
        // SAFETY: as above.
        unsafe {
            flow.client_address = (&raw const (*self.flow).client_address).read_volatile();
            flow.client_port = (&raw const (*self.flow).client_port).read_volatile();
        }
    }

    #[inline(always)]
    fn touch(&self, now: u32) {
        // SAFETY: as above. A line that is up to date is not made dirty.
        unsafe {
            let seen = &raw mut (*self.flow).seen;
            if *seen != now && !is_dry() {
                seen.write_volatile(now);
            }
        }
    }

    #[inline(always)]
    fn grant(&self, hop: &NextHop, now: u32, term: u32) {
        if is_dry() {
            return;
        }
        // SAFETY: as above.
        unsafe {
            let timeout = &raw mut (*self.flow).timeout;
            if (*self.flow).way_back != *hop {
                // Nothing is granted while the way is half written: whoever copies it looks at this
                // afterwards. Both exchanges are barriers.
                kernel::compare_exchange(timeout, *timeout, 0);
                let (from, to): (*const u32, *mut u32) = (
                    core::ptr::from_ref(hop).cast(),
                    (&raw mut (*self.flow).way_back).cast(),
                );
                for word in 0..size_of::<NextHop>() / size_of::<u32>() {
                    to.add(word).write_volatile(from.add(word).read_volatile());
                }
                kernel::compare_exchange(timeout, 0, 0);
            }
            (&raw mut (*self.flow).seen).write_volatile(now);
            timeout.write_volatile(term);
        }
    }

    #[inline(always)]
    fn advance(&self, from: State, to: State, timeout: u32) -> bool {
        if is_dry() {
            return true;
        }
        // SAFETY: as above.
        unsafe {
            let advanced =
                kernel::compare_exchange((&raw mut (*self.flow).state).cast(), from.0, to.0);
            if advanced {
                (&raw mut (*self.flow).timeout).write_volatile(timeout);
            }
            advanced
        }
    }
}

/// `EEXIST`.
const EXISTS: i32 = -17;

#[inline(always)]
fn inserted(result: Result<(), i32>) -> Inserted {
    match result {
        Ok(()) => Inserted::Yes,
        Err(EXISTS) => Inserted::Exists,
        Err(_) => Inserted::Full,
    }
}

/// No flow, where a state is a number.
const NO_STATE: u32 = 0x100;

#[inline(always)]
const fn state_number(state: Option<State>) -> u32 {
    match state {
        Some(state) => state.0,
        None => NO_STATE,
    }
}

#[inline(always)]
const fn state_of(number: u32) -> Option<State> {
    if number == NO_STATE {
        return None;
    }
    Some(State(number))
}

macro_rules! flow_table {
    ($family:ty, $key:ty, $address:ty, $flows:ident, $half_open:ident, $standing:ident, $fragments:ident, $changed:ident, $told:ident, $tell:ident) => {
        /// [`count::changed`] as a global function.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $changed(server: u32, before: u32, after: u32) -> u32 {
            let tables = KernelTables::without_packet();
            count::changed::<$family, _>(&tables, server, state_of(before), state_of(after));
            0
        }

        /// Tells the partner of the flow whose key was left there, as a global function.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $tell(before: u32, after: u32) -> u32 {
            if !record::is_worth_telling(state_of(before), state_of(after)) {
                return 0;
            }
            let tables = KernelTables::without_packet();
            // SAFETY: the slot is this CPU's own.
            let Some(key) = $told.get_ptr(0).map(|key| unsafe { &*key }) else {
                return 0;
            };
            let Some(entry) = FlowTable::<$family>::find(&tables, key) else {
                return 0;
            };
            let Some(mut record) = CHANGES.reserve_untyped::<Record>(0) else {
                tables.count(Event::Untold);
                return 0;
            };
            // SAFETY: a record is whatever lies in the ring, and all of it is written here.
            let place = unsafe { &mut *record.as_mut_ptr() };
            // SAFETY: as in `KernelEntry::get`; each field is read once.
            let flow = unsafe { &*entry.flow };
            let flags = if after == NO_STATE { Record::ENDED } else { 0 };
            place.fill::<$family>(key, flow, tables.now(), flags);
            record.submit(0);
            0
        }

        impl FlowTable<$family> for KernelTables {
            type Entry = KernelEntry<$address>;

            #[inline(always)]
            fn find(&self, key: &$key) -> Option<Self::Entry> {
                $flows.get_ptr_mut(key).map(|flow| KernelEntry { flow })
            }

            #[inline(always)]
            fn insert(&self, key: &$key, flow: &Flow<$address>) -> Inserted {
                if is_dry() {
                    return match FlowTable::<$family>::find(self, key) {
                        Some(_) => Inserted::Exists,
                        None => Inserted::Yes,
                    };
                }
                inserted($flows.insert(key, flow, u64::from(BPF_NOEXIST)))
            }

            #[inline(always)]
            fn replace(&self, key: &$key, flow: &Flow<$address>) -> Inserted {
                if is_dry() {
                    return Inserted::Yes;
                }
                inserted($flows.insert(key, flow, u64::from(BPF_ANY)))
            }

            #[inline(always)]
            fn remove(&self, key: &$key) {
                if is_dry() {
                    return;
                }
                // One that is gone already is as good as removed.
                let _ = $flows.remove(key);
            }

            #[inline(always)]
            fn enqueue(&self, queue: tables::Queue, key: &$key) -> Inserted {
                if is_dry() {
                    return Inserted::Yes;
                }
                let result = inserted(match queue {
                    tables::Queue::HalfOpen => $half_open.push(key, 0),
                    tables::Queue::Standing => $standing.push(key, 0),
                });
                if result == Inserted::Yes {
                    count_queued::<$family>(queue, 1);
                }
                result
            }

            #[inline(always)]
            fn dequeue(&self, queue: tables::Queue, key: &mut $key) -> bool {
                if is_dry() {
                    return match queue {
                        tables::Queue::HalfOpen => kernel::peek(&$half_open, key),
                        tables::Queue::Standing => kernel::peek(&$standing, key),
                    };
                }
                let is_there = match queue {
                    tables::Queue::HalfOpen => kernel::pop(&$half_open, key),
                    tables::Queue::Standing => kernel::pop(&$standing, key),
                };
                if is_there {
                    count_queued::<$family>(queue, -1);
                }
                is_there
            }

            #[inline(always)]
            fn census(&self) -> Census {
                CENSUS
                    .get(family_index::<$family>())
                    .copied()
                    .unwrap_or_default()
            }

            #[inline(always)]
            fn adjust_census(&self, half_open: i32, standing: i32) {
                let census = CENSUS.get_ptr_mut(family_index::<$family>());
                let Some(census) = census.filter(|_| !is_dry()) else {
                    return;
                };
                // SAFETY: the pointers are into a map value.
                unsafe {
                    if half_open != 0 {
                        kernel::add(&raw mut (*census).half_open, half_open as u32);
                    }
                    if standing != 0 {
                        kernel::add(&raw mut (*census).standing, standing as u32);
                    }
                }
            }

            #[inline(always)]
            fn told(&self, key: &$key, before: Option<State>, after: Option<State>) {
                if is_dry() {
                    return;
                }
                let Some(place) = $told.get_ptr_mut(0) else {
                    return;
                };
                // SAFETY: the slot is this CPU's own.
                unsafe { *place = *key };
                $tell(state_number(before), state_number(after));
            }

            #[inline(always)]
            fn changed(&self, server: u32, before: Option<State>, after: Option<State>) {
                $changed(server, state_number(before), state_number(after));
            }
        }

        impl FragmentTable<$family> for KernelTables {
            #[inline(always)]
            fn fragment(&self, key: &FragmentKey<$address>) -> Option<Flow<$address>> {
                // SAFETY: entries are replaced as a whole and the copy is made at once.
                unsafe { $fragments.get(key).copied() }
            }

            #[inline(always)]
            fn remember_fragment(&self, key: &FragmentKey<$address>, way: &Flow<$address>) {
                // Without room the others are dropped, as is said of an early fragment.
                let _ = $fragments.insert(key, way, u64::from(BPF_ANY));
            }
        }
    };
}

flow_table!(
    V4, Key4, Address4, FLOWS4, HALF_OPEN4, STANDING4, FRAGMENTS4, changed_v4, TOLD4, tell_v4
);
flow_table!(
    V6, Key6, Address6, FLOWS6, HALF_OPEN6, STANDING6, FRAGMENTS6, changed_v6, TOLD6, tell_v6
);
