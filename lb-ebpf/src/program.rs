//! The entry points.

use aya_ebpf::{Global, bindings::xdp_action, cty::c_void, macros::xdp, programs::XdpContext};
use lb_common::{
    age::{self, Step},
    family::{Family, V4, V6},
    link::Link,
    parse::Parse,
    pipeline,
    room::Room,
    tables::{FlowTable, Tables},
    verdict::{Fate, Reason, Verdict},
};

use crate::{kernel, maps, packet::XdpPacket};

/// Every packet of an interface comes here. The two families are functions of their own, so that
/// each has a stack frame to itself.
#[xdp]
fn balance(ctx: XdpContext) -> u32 {
    match Link::parse(&XdpPacket::new(ctx.ctx)) {
        Ok(link) if link.ethertype == V4::ETHERTYPE => balance_v4(ctx),
        Ok(link) if link.ethertype == V6::ETHERTYPE => balance_v6(ctx),
        Ok(_) => xdp_action::XDP_PASS,
        Err(reason) => action(&ctx, Err(reason)),
    }
}

#[inline(never)]
fn balance_v4(ctx: XdpContext) -> u32 {
    process::<V4>(ctx, maps::room4())
}

#[inline(never)]
fn balance_v6(ctx: XdpContext) -> u32 {
    process::<V6>(ctx, maps::room6())
}

#[inline(always)]
fn process<F: Parse>(ctx: XdpContext, room: Option<&mut Room<F::Address>>) -> u32
where
    maps::KernelTables: FlowTable<F>,
{
    let Some(room) = room else {
        return xdp_action::XDP_ABORTED;
    };
    let mut packet = XdpPacket::new(ctx.ctx);
    let tables = maps::KernelTables::new(ctx.ctx);
    let verdict = Link::parse(&packet)
        .and_then(|link| pipeline::process::<F, _, _>(&mut packet, &tables, room, link));
    action(&ctx, verdict)
}

/// What the kernel is told to do with the packet.
#[inline(always)]
fn action(ctx: &XdpContext, verdict: Result<Verdict, Reason>) -> u32 {
    match verdict {
        Ok(Verdict::Pass) => xdp_action::XDP_PASS,
        Ok(Verdict::Transmit) => back(ctx),
        Ok(Verdict::Redirect(interface)) => kernel::redirect(interface),
        Err(reason) => {
            maps::count(reason);
            match reason.fate() {
                Fate::Pass => xdp_action::XDP_PASS,
                Fate::Drop => xdp_action::XDP_DROP,
            }
        }
    }
}

/// Not zero where packets that go back by the interface they came from have to be redirected to it:
/// the receiving end of a veth is not woken by `XDP_TX` unless it has an XDP program itself. The
/// daemon sets it when it loads the program; the kernel then drops the branch that is not taken.
#[unsafe(no_mangle)]
static REDIRECT_BACK: Global<u8> = Global::new(0);

/// Back by the interface that the packet came from.
#[inline(always)]
fn back(ctx: &XdpContext) -> u32 {
    if REDIRECT_BACK.load() == 0 {
        xdp_action::XDP_TX
    } else {
        kernel::redirect(ctx.ingress_ifindex() as u32)
    }
}

/// Starts the sweeper's clock, or hands a running one over to this program. The daemon runs it
/// once after loading; from then on flows age without the daemon.
#[xdp]
fn wind(_ctx: XdpContext) -> u32 {
    match maps::wind_clock(tick) {
        Ok(()) => xdp_action::XDP_PASS,
        Err(_) => xdp_action::XDP_ABORTED,
    }
}

/// Runs every [`age::TICK_MS`]: takes a few steps through the flows of each family.
fn tick(_map: *mut c_void, _key: *mut u32, sweeper: *mut maps::Sweeper) -> i32 {
    kernel::repeat(maps::steps::<V4>(), sweep::<V4>);
    kernel::repeat(maps::steps::<V6>(), sweep::<V6>);
    maps::wind_again(sweeper);
    0
}

/// One step of the sweeper; nonzero if there is nothing left to do.
unsafe extern "C" fn sweep<F: Family>(_index: u64, _context: *mut c_void) -> i64
where
    maps::KernelTables: FlowTable<F>,
{
    let tables = maps::KernelTables::without_packet();
    let now = tables.now();
    match age::step::<F, _>(&tables, now) {
        Step::Idle => 1,
        Step::Kept | Step::Removed => 0,
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The licence that the kernel looks for: helpers that are for GPL programs only are used.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
