//! The decision log: what became of a packet and why, for a sample of packets. It is in an object of
//! its own (the feature `log`), which takes the other's place while somebody wants it, so that the
//! one without it has nothing of it.
//!
//! A record is a line of numbers; the daemon makes words of them.

use aya_ebpf::{Global, bindings::xdp_action, btf_maps::PerCpuArray, macros::btf_map};
use aya_log_ebpf::info;
use lb_common::verdict::Reason;

use crate::{kernel, maps};

/// A packet is logged if a random number of 32 bits is not above this.
#[unsafe(no_mangle)]
static SAMPLE: Global<u32> = Global::new(u32::MAX);
/// Not zero if only packets are logged that end here.
#[unsafe(no_mangle)]
static DROPS_ONLY: Global<u8> = Global::new(0);

/// No service, no real server, no reason.
const NONE: u32 = u32::MAX;

/// Why the packet at hand was refused; [`NONE`] if it was not.
#[btf_map(name = "refusal")]
static REFUSAL: PerCpuArray<u32, 1> = PerCpuArray::new();

fn note(reason: u32) {
    if let Some(noted) = REFUSAL.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own.
        unsafe { *noted = reason };
    }
}

/// A packet comes in: nothing is known of it.
#[inline(always)]
pub(crate) fn begin() {
    note(NONE);
    if let Some(room) = maps::room4() {
        room.key.protocol = 0;
        room.service.id = NONE;
        room.server = NONE;
    }
    if let Some(room) = maps::room6() {
        room.key.protocol = 0;
        room.service.id = NONE;
        room.server = NONE;
    }
}

/// It was refused for this reason. The first one is what matters.
#[inline(always)]
pub(crate) fn refused(reason: Reason) {
    if refusal() == NONE {
        note(reason as u32);
    }
}

fn refusal() -> u32 {
    REFUSAL.get(0).copied().unwrap_or(NONE)
}

/// This becomes of it.
#[inline(always)]
pub(crate) fn decided(code: u32) {
    let is_drop = matches!(code, xdp_action::XDP_DROP | xdp_action::XDP_ABORTED);
    if (is_drop || DROPS_ONLY.load() == 0) && kernel::random() <= SAMPLE.load() {
        log_decision(code);
    }
}

/// Writes the record, which has, in this order: what the program returns, the reason, the protocol,
/// source and destination with their ports, the service, and the real server. The context, which aya-log
/// does not look at, is no argument: LLVM would leave out what is not used, and the verifier wants it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn log_decision(code: u32) -> u32 {
    let reason = refusal();
    if let Some(room) = maps::room4()
        && room.key.protocol != 0
    {
        let key = &room.key;
        let server = maps::server_of4(key).unwrap_or(room.server);
        info!(
            (),
            "{} {} {} {:i} {} {:i} {} {} {}",
            code,
            reason,
            key.protocol,
            key.source.0,
            key.source_port.get(),
            key.destination.0,
            key.destination_port.get(),
            room.service.id,
            server
        );
        return 0;
    }
    if let Some(room) = maps::room6()
        && room.key.protocol != 0
    {
        let key = &room.key;
        let server = maps::server_of6(key).unwrap_or(room.server);
        info!(
            (),
            "{} {} {} {:i} {} {:i} {} {} {}",
            code,
            reason,
            key.protocol,
            key.source.0,
            key.source_port.get(),
            key.destination.0,
            key.destination_port.get(),
            room.service.id,
            server
        );
        return 0;
    }
    info!((), "{} {}", code, reason);
    0
}
