//! The way into tunnels as global functions, one for each family inside: so the verifier looks at
//! them once and by themselves, and not wherever a packet is sent to a real server.

use core::hint::black_box;

use aya_ebpf::bindings::xdp_md;
use lb_common::{
    family::{Family, V4, V6},
    forward::tunnel,
    parse::Parse,
    verdict::Reason,
};

use crate::{maps::KernelTables, packet::XdpPacket};

/// What the functions give if the packet is in the tunnel.
const ENTERED: u32 = 0;
const NO_HEADROOM: u32 = 1;
const MALFORMED: u32 = 2;

/// Puts the packet of `ctx`, which is one of family `F`, into a tunnel to the real server `id`.
#[inline(always)]
pub(crate) fn enter<F: Parse>(ctx: *mut xdp_md, id: u32) -> Result<(), Reason> {
    let result = if F::AF == V4::AF {
        tunnel_v4(ctx, id)
    } else {
        tunnel_v6(ctx, id)
    };
    // What the compiler knows of the result, the verifier does not.
    match black_box(result) {
        ENTERED => Ok(()),
        NO_HEADROOM => Err(Reason::NoHeadroom),
        _ => Err(Reason::Malformed),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tunnel_v4(ctx: *mut xdp_md, id: u32) -> u32 {
    number(enter_here::<V4>(ctx, id))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tunnel_v6(ctx: *mut xdp_md, id: u32) -> u32 {
    number(enter_here::<V6>(ctx, id))
}

#[inline(always)]
fn enter_here<F: Parse>(ctx: *mut xdp_md, id: u32) -> Result<(), Reason> {
    let (mut packet, tables) = (XdpPacket::new(ctx), KernelTables::new(ctx));
    tunnel::enter::<F, _, _>(&mut packet, &tables, id)
}

#[inline(always)]
fn number(entered: Result<(), Reason>) -> u32 {
    match entered {
        Ok(()) => ENTERED,
        Err(Reason::NoHeadroom) => NO_HEADROOM,
        Err(_) => MALFORMED,
    }
}
