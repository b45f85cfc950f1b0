//! The kernel's helpers and atomic operations, each in a safe cover.

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd},
    mem::zeroed,
    ops::ControlFlow,
    ptr,
};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup, xdp_md,
    },
    btf_maps::Queue,
    cty::c_void,
    helpers,
};
use bytemuck::Pod;
use lb_common::{
    family::Family,
    maps::NextHop,
    state::TICK_SHIFT,
    tables::{Route, Routed},
    verdict::Reason,
};

/// The time in ticks, for the clock that packets read. The coarse one's few milliseconds do not matter to
/// timeouts.
#[inline(always)]
pub(crate) fn now() -> u32 {
    // SAFETY: the helper has no conditions.
    (unsafe { helpers::bpf_ktime_get_coarse_ns() } >> TICK_SHIFT) as u32
}

/// The time since the machine was started, that in which it was suspended included, in nanoseconds.
#[inline(always)]
pub(crate) fn boot_time() -> u64 {
    // SAFETY: the helper has no conditions.
    unsafe { helpers::bpf_ktime_get_boot_ns() }
}

/// A number that nobody can foretell.
#[inline(always)]
pub(crate) fn random() -> u32 {
    // SAFETY: the helper has no conditions.
    unsafe { helpers::bpf_get_prandom_u32() }
}

/// Takes the first element of a queue; `false` if it is empty.
#[inline(always)]
pub(crate) fn pop<T, const ENTRIES: usize>(queue: &Queue<T, ENTRIES>, element: &mut T) -> bool {
    let queue = ptr::from_ref(queue).cast_mut().cast();
    // SAFETY: the queue is a map, and its elements are of this type.
    unsafe { helpers::bpf_map_pop_elem(queue, ptr::from_mut(element).cast()) == 0 }
}

/// As [`pop`], and leaves the element where it is.
#[inline(always)]
pub(crate) fn peek<T, const ENTRIES: usize>(queue: &Queue<T, ENTRIES>, element: &mut T) -> bool {
    let queue = ptr::from_ref(queue).cast_mut().cast();
    // SAFETY: the queue is a map, and its elements are of this type.
    unsafe { helpers::bpf_map_peek_elem(queue, ptr::from_mut(element).cast()) == 0 }
}

/// Sends the packet out by another interface; the result is what the program returns.
#[inline(always)]
pub(crate) fn redirect(interface: u32) -> u32 {
    // SAFETY: the helper has no conditions; an unknown interface is found out later.
    unsafe { helpers::bpf_redirect(interface, 0) as u32 }
}

/// Copies bytes of the packet from byte `at` on; `false` if it ends before.
#[inline(always)]
pub(crate) fn copy_from<T: Pod>(ctx: *mut xdp_md, at: u32, to: &mut T) -> bool {
    let (to, size) = (ptr::from_mut(to).cast(), size_of::<T>() as u32);
    // SAFETY: the context is the kernel's, and there is room for so many bytes, whatever they are.
    unsafe { helpers::bpf_xdp_load_bytes(ctx, at, to, size) == 0 }
}

/// Copies bytes into the packet from byte `at` on; nothing if it ends before.
#[inline(always)]
pub(crate) fn copy_to<T: Pod>(ctx: *mut xdp_md, at: u32, from: &T) {
    let (from, size) = (ptr::from_ref(from).cast_mut().cast(), size_of::<T>() as u32);
    // SAFETY: the context is the kernel's, which only reads so many bytes there.
    unsafe { helpers::bpf_xdp_store_bytes(ctx, at, from, size) };
}

/// Adds to a counter that other CPUs add to as well.
///
/// # Safety
/// `counter` points to a map value that lives as long as the program runs.
#[inline(always)]
pub(crate) unsafe fn add<T: Copy>(counter: *mut T, change: T) {
    // SAFETY: the caller's promise; all accesses to shared counters are atomic.
    unsafe { atomic_xadd::<T, T, { AtomicOrdering::Relaxed }>(counter, change) };
}

/// As [`add`], and gives the counter's value before.
///
/// # Safety
/// As [`add`].
#[inline(always)]
pub(crate) unsafe fn fetch_add<T: Copy>(counter: *mut T, change: T) -> T {
    // Of a relaxed addition LLVM makes an instruction that gives no value back, whether the value
    // is used or not, and takes `change` for it.
    // SAFETY: the caller's promise.
    unsafe { atomic_xadd::<T, T, { AtomicOrdering::SeqCst }>(counter, change) }
}

/// Changes a word if it still is `from`.
///
/// # Safety
/// As [`add`].
#[inline(always)]
pub(crate) unsafe fn compare_exchange(word: *mut u32, from: u32, to: u32) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        atomic_cxchg::<u32, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, from, to)
            .1
    }
}

/// Calls `callback` up to `count` times, until it gives something else than zero.
#[inline(always)]
pub(crate) fn repeat(count: u32, callback: unsafe extern "C" fn(u64, *mut c_void) -> i64) {
    // SAFETY: the callback takes what `bpf_loop` passes and does not look at the null context.
    unsafe { helpers::bpf_loop(count, callback as *mut c_void, ptr::null_mut(), 0) };
}

/// Calls `visit` for each number below `count` until it breaks off.
#[inline(always)]
pub(crate) fn each<V: FnMut(u32) -> ControlFlow<()>>(count: u32, mut visit: V) {
    unsafe extern "C" fn call<V: FnMut(u32) -> ControlFlow<()>>(index: u64, visit: *mut V) -> i64 {
        // SAFETY: `visit` is the closure below, which outlives the loop and is lent to nobody
        // else meanwhile.
        match unsafe { (*visit)(index as u32) } {
            ControlFlow::Continue(()) => 0,
            ControlFlow::Break(()) => 1,
        }
    }
    let callback: unsafe extern "C" fn(u64, *mut V) -> i64 = call::<V>;
    // SAFETY: the callback and its context belong together.
    unsafe {
        helpers::bpf_loop(
            count,
            callback as *mut c_void,
            ptr::from_mut(&mut visit).cast(),
            0,
        )
    };
}

/// The kernel's route for a packet that came in by `interface`; VLAN interfaces are not resolved.
#[inline(always)]
pub(crate) fn route<F: Family>(ctx: *mut xdp_md, interface: u32, packet: &Routed<'_, F>) -> Route {
    // SAFETY: all zero is a valid query; the rest is filled in below.
    let mut query: bpf_fib_lookup = unsafe { zeroed() };
    query.family = F::AF;
    query.__bindgen_anon_1.tot_len = packet.length as u16;
    query.ifindex = interface;
    if F::AF == 2 {
        query.__bindgen_anon_2.tos = packet.service;
    }
    // SAFETY: both unions hold an IPv6 address, so that an address of either family fits.
    unsafe {
        ptr::from_mut(&mut query.__bindgen_anon_3)
            .cast::<F::Address>()
            .write_unaligned(*packet.source);
        ptr::from_mut(&mut query.__bindgen_anon_4)
            .cast::<F::Address>()
            .write_unaligned(*packet.destination);
    }
    // SAFETY: the context is the kernel's, the query is as long as is said.
    let result = unsafe {
        helpers::bpf_fib_lookup(
            ctx.cast(),
            &mut query,
            size_of::<bpf_fib_lookup>() as i32,
            0,
        )
    };
    match result as u32 {
        BPF_FIB_LKUP_RET_SUCCESS => Route::Via(NextHop {
            interface: query.ifindex,
            vlan: 0,
            mac: query.dmac,
            source_mac: query.smac,
            // SAFETY: the kernel has put the MTU where the length was.
            mtu: unsafe { query.__bindgen_anon_1.mtu_result },
        }),
        BPF_FIB_LKUP_RET_NO_NEIGH => Route::NoNeighbour,
        // SAFETY: the kernel has put the MTU where the length was.
        BPF_FIB_LKUP_RET_FRAG_NEEDED => {
            Route::TooBig(u32::from(unsafe { query.__bindgen_anon_1.mtu_result }))
        }
        BPF_FIB_LKUP_RET_FWD_DISABLED => Route::None(Reason::ForwardingOff),
        // Blackhole, unreachable, prohibited, the router's own address, and what kernels to come
        // may say.
        _ => Route::None(Reason::NoRoute),
    }
}
