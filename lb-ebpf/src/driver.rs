//! What measures the balancer in the kernel: makes a fresh packet each time that it is run, and hands it
//! to the balancer, or to a program that does nothing.
//!
//! A test run of the kernel (`BPF_PROG_TEST_RUN`) gives each of its repetitions the packet that the one
//! before has left: rewritten, and longer by a tunnel. This takes the tunnel off and writes the packet
//! anew, by the [`Recipe`] in its map. It is an object of its own and no part of the product.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics, asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        internal_features,
        reason = "`packet` has an intrinsic of the compiler's"
    )
)]

#[cfg(target_arch = "bpf")]
#[expect(dead_code, reason = "the balancer needs more of it")]
mod packet;

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        EbpfContext as _,
        bindings::xdp_action,
        btf_maps::{Array, PerCpuArray, ProgramArray},
        helpers::{bpf_redirect, bpf_xdp_store_bytes},
        macros::{btf_map, xdp},
        programs::XdpContext,
    };
    use lb_common::{
        checksum::{Checksum, Sum},
        packet::Packet as _,
        recipe::{Progress, Recipe},
        tables::xorshift,
        wire::Be16,
    };

    use crate::packet::XdpPacket;

    /// How packets are made.
    #[btf_map(name = "recipe")]
    static RECIPE: Array<Recipe, 1> = Array::new();
    /// How far we are.
    #[btf_map(name = "progress")]
    static PROGRESS: Array<Progress, 1> = Array::new();
    /// Who gets the packets.
    #[btf_map(name = "targets")]
    static TARGETS: ProgramArray<2> = ProgramArray::new();
    /// How many packets came to an end here.
    #[btf_map(name = "sunk")]
    static SUNK: PerCpuArray<u64, 1> = PerCpuArray::new();

    /// One packet. One that does not get as far as its target is aborted.
    #[xdp]
    fn drive(ctx: XdpContext) -> u32 {
        if let Some(target) = make(&ctx) {
            // SAFETY: nothing is left to be dropped.
            unsafe { TARGETS.tail_call(&ctx, target) };
        }
        xdp_action::XDP_ABORTED
    }

    /// Sends every packet back at once.
    #[xdp]
    fn bare(_ctx: XdpContext) -> u32 {
        xdp_action::XDP_TX
    }

    /// One packet, out by the interface whose number is in the place of the target. One that is not made is
    /// aborted.
    #[xdp]
    fn lead(ctx: XdpContext) -> u32 {
        match make(&ctx) {
            // SAFETY: the helper has no conditions.
            Some(interface) => unsafe { bpf_redirect(interface, 0) as u32 },
            None => xdp_action::XDP_ABORTED,
        }
    }

    /// Sends every packet on by the interface whose number is in the place of the target: what a balancer
    /// would cost that has nothing to decide.
    #[xdp]
    fn onward(_ctx: XdpContext) -> u32 {
        match RECIPE.get_ptr(0) {
            // SAFETY: the pointer is to the value of the map; the helper has no conditions.
            Some(recipe) => unsafe { bpf_redirect((*recipe).target, 0) as u32 },
            None => xdp_action::XDP_ABORTED,
        }
    }

    /// Counts every packet, and drops it.
    #[xdp]
    fn sink(_ctx: XdpContext) -> u32 {
        if let Some(sunk) = SUNK.get_ptr_mut(0) {
            // SAFETY: the pointer is to this CPU's value of the map.
            unsafe { *sunk = (*sunk).wrapping_add(1) };
        }
        xdp_action::XDP_DROP
    }

    /// Makes the next packet; whose it is.
    #[inline(always)]
    fn make(ctx: &XdpContext) -> Option<u32> {
        let mut packet = XdpPacket::new(ctx.ctx);
        // Whoever had the packet before may have put something in front of it. The helper is called in any
        // case: it then costs the same whoever that was.
        let (recipe, progress) = (RECIPE.get_ptr_mut(0)?, PROGRESS.get_ptr_mut(0)?);
        // SAFETY: the pointers are to values of maps, which nobody else uses while this runs.
        let (recipe, progress) = unsafe { (&mut *recipe, &mut *progress) };
        let in_front = packet.length().checked_sub(recipe.length as usize)?;
        packet.pop_front(in_front)?;
        vary(recipe, next(recipe, progress));
        // Of either length the verifier of every kernel knows that the frame has it.
        let length = if (recipe.length as usize) < Recipe::LENGTH {
            Recipe::SHORTEST
        } else {
            Recipe::LENGTH
        };
        let frame = recipe.frame.as_mut_ptr().cast();
        // SAFETY: the context is the kernel's, and the frame is no shorter than that.
        let written = unsafe { bpf_xdp_store_bytes(ctx.as_ptr().cast(), 0, frame, length as u32) };
        (written == 0).then_some(recipe.target)
    }

    /// The number of the next packet.
    #[inline(always)]
    fn next(recipe: &Recipe, progress: &mut Progress) -> u32 {
        let turn = if recipe.is_random != 0 {
            progress.random = xorshift(progress.random);
            progress.random
        } else {
            let made = progress.made;
            progress.made = made.wrapping_add(1);
            made
        };
        recipe.first.wrapping_add(turn & recipe.mask)
    }

    /// Writes what is this packet's own.
    #[inline(always)]
    fn vary(recipe: &mut Recipe, number: u32) {
        let (client, port) = Recipe::client(number);
        let lane = if recipe.lanes > 1 {
            number.checked_rem(recipe.lanes).unwrap_or(0)
        } else {
            0
        };
        let (client_port, client_address) = (Recipe::FIRST_PORT | port, recipe.client | client);
        let lane_address = recipe.lane.wrapping_add(lane);
        put_address(recipe, recipe.client_at, client_address);
        put_address(recipe, recipe.lane_at, lane_address);
        put(recipe, recipe.port_at, Be16::new(client_port));
        // The frame has the sum of client 0 in lane 0.
        let addresses = Sum::default().plus(&client.to_be()).plus(&lane.to_be());
        let mut checksum = recipe.header_checksum;
        checksum.apply(addresses);
        put(recipe, recipe.header_checksum_at, checksum.0);
        let mut checksum: Checksum = recipe.checksum;
        checksum.apply_udp(addresses.plus(&Be16::new(port)));
        put(recipe, recipe.checksum_at, checksum.0);
    }

    #[inline(always)]
    fn put_address(recipe: &mut Recipe, at: u32, address: u32) {
        put(recipe, at, Be16::new((address >> 16) as u16));
        put(recipe, at.wrapping_add(1), Be16::new(address as u16));
    }

    /// Writes a word, if the frame has it.
    #[inline(always)]
    fn put(recipe: &mut Recipe, at: u32, word: Be16) {
        if let Some(place) = recipe.frame.get_mut(at as usize) {
            *place = word;
        }
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    /// The licence that the kernel looks for.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
