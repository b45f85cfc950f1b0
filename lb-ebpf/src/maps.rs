//! The maps, and [`Tables`] on them: the only map pointers of the program.
//!
//! The sizes here are the defaults; the daemon sets others when it loads the program.

use core::ops::ControlFlow;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST, bpf_timer, xdp_md},
    btf_maps::{Array, HashMap, PerCpuArray, Queue},
    cty::c_void,
    helpers::{bpf_timer_init, bpf_timer_set_callback, bpf_timer_start},
    macros::btf_map,
};
use lb_common::{
    address::{Address4, Address6},
    age,
    family::{Family, V4, V6},
    flow::{Flow, FlowKey},
    maps::{Load, Server, Service, ServiceKey, Settings, Traffic, Vlan, size},
    room::Room,
    state::State,
    tables::{FlowEntry, FlowTable, Inserted, Route, Routed, Tables},
    verdict::Reason,
};

use crate::kernel;

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
/// The flows of IPv4.
#[btf_map(name = "flows4")]
static FLOWS4: HashMap<Key4, Flow<Address4>, FLOWS> = HashMap::new();
/// The flows of IPv6.
#[btf_map(name = "flows6")]
static FLOWS6: HashMap<Key6, Flow<Address6>, FLOWS> = HashMap::new();
/// The flows of IPv4 that wait for the sweeper.
#[btf_map(name = "queue4")]
static QUEUE4: Queue<Key4, QUEUE> = Queue::new();
/// The flows of IPv6 that wait for the sweeper.
#[btf_map(name = "queue6")]
static QUEUE6: Queue<Key6, QUEUE> = Queue::new();
/// The lengths of both queues: how many flows there are.
#[btf_map(name = "queued")]
static QUEUED: Array<u32, 2> = Array::new();
/// Timeouts.
#[btf_map(name = "settings")]
static SETTINGS: Array<Settings, 1> = Array::new();
/// The VLAN interfaces by index.
#[btf_map(name = "vlans")]
static VLANS: HashMap<u32, Vlan, { size::VLANS as usize }> = HashMap::new();
/// How many packets were not steered, by [`Reason`].
#[btf_map(name = "reasons")]
static REASONS: PerCpuArray<u64, { Reason::ALL.len() }> = PerCpuArray::new();
/// Room for one packet of IPv4.
#[btf_map(name = "room4")]
static ROOM4: PerCpuArray<Room<Address4>, 1> = PerCpuArray::new();
/// Room for one packet of IPv6.
#[btf_map(name = "room6")]
static ROOM6: PerCpuArray<Room<Address6>, 1> = PerCpuArray::new();
/// The sweeper's clock.
#[btf_map(name = "sweeper")]
static SWEEPER: Array<Sweeper, 1> = Array::new();

/// The sweeper's clock. The kernel finds the timer in it by its type.
#[repr(C)]
pub(crate) struct Sweeper {
    timer: bpf_timer,
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

/// How many steps the sweeper of a family has to take this time.
#[inline(always)]
pub(crate) fn steps<F: Family>() -> u32 {
    age::steps(QUEUED.get(queue_index::<F>()).copied().unwrap_or(0))
}

#[inline(always)]
const fn queue_index<F: Family>() -> u32 {
    (F::AF != V4::AF) as u32
}

#[inline(always)]
fn count_queued<F: Family>(change: i32) {
    if let Some(length) = QUEUED.get_ptr_mut(queue_index::<F>()) {
        // SAFETY: the pointer is to a map value.
        unsafe { kernel::add(length, change as u32) };
    }
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
    fn server(&self, id: u32) -> Option<&Server> {
        SERVERS_BY_ID.get(id)
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
    fn turn(&self, service: u32) -> u64 {
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
    fn adjust_load(&self, server: u32, active: i32, inactive: i32) {
        let Some(load) = LOADS.get_ptr_mut(server) else {
            return;
        };
        // SAFETY: the pointers are into a map value.
        unsafe {
            if active != 0 {
                kernel::add(&raw mut (*load).active, active as u32);
            }
            if inactive != 0 {
                kernel::add(&raw mut (*load).inactive, inactive as u32);
            }
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
    fn timeout(&self, state: State) -> u32 {
        SETTINGS
            .get(0)
            .and_then(|settings| settings.timeouts.get(state.0 as usize))
            .copied()
            .unwrap_or_default()
    }

    #[inline(always)]
    fn now(&self) -> u32 {
        kernel::now()
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

impl<F: Family> FlowEntry<F> for KernelEntry<F::Address> {
    #[inline(always)]
    fn get(&self) -> Flow<F::Address> {
        // SAFETY: the pointer is to a map value, whose memory stays while the program runs. Other
        // CPUs may write meanwhile: each field is a word that is written as a whole.
        unsafe { *self.flow }
    }

    #[inline(always)]
    fn touch(&self, now: u32) {
        // SAFETY: as above. A line that is up to date is not made dirty.
        unsafe {
            let seen = &raw mut (*self.flow).seen;
            if *seen != now {
                seen.write_volatile(now);
            }
        }
    }

    #[inline(always)]
    fn advance(&self, from: State, to: State, timeout: u32) -> bool {
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

macro_rules! flow_table {
    ($family:ty, $key:ty, $address:ty, $flows:ident, $queue:ident) => {
        impl FlowTable<$family> for KernelTables {
            type Entry = KernelEntry<$address>;

            #[inline(always)]
            fn find(&self, key: &$key) -> Option<Self::Entry> {
                $flows.get_ptr_mut(key).map(|flow| KernelEntry { flow })
            }

            #[inline(always)]
            fn insert(&self, key: &$key, flow: &Flow<$address>) -> Inserted {
                inserted($flows.insert(key, flow, u64::from(BPF_NOEXIST)))
            }

            #[inline(always)]
            fn replace(&self, key: &$key, flow: &Flow<$address>) -> Inserted {
                inserted($flows.insert(key, flow, u64::from(BPF_ANY)))
            }

            #[inline(always)]
            fn remove(&self, key: &$key) {
                // One that is gone already is as good as removed.
                let _ = $flows.remove(key);
            }

            #[inline(always)]
            fn enqueue(&self, key: &$key) -> Inserted {
                let result = inserted($queue.push(key, 0));
                if result == Inserted::Yes {
                    count_queued::<$family>(1);
                }
                result
            }

            #[inline(always)]
            fn dequeue(&self) -> Option<$key> {
                let key = $queue.pop().ok().flatten()?;
                count_queued::<$family>(-1);
                Some(key)
            }
        }
    };
}

flow_table!(V4, Key4, Address4, FLOWS4, QUEUE4);
flow_table!(V6, Key6, Address6, FLOWS6, QUEUE6);
