//! [`Packet`] for the kernel: the only packet pointers of the program.

use core::{
    arch::asm,
    hint::{assert_unchecked, black_box},
    intrinsics::is_val_statically_known,
    mem::offset_of,
    ptr,
};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
};
use bytemuck::Pod;
use lb_common::{
    checksum::Sum,
    packet::{MAX_OFFSET, MAX_SUM, MAX_SUM_OFFSET, Packet},
    parse::{self, Walk},
    wire::{Be16, ipv4::Ipv4},
};

/// So many bytes are summed up by one call of the kernel's helper; it takes 512 at most.
const CHUNK: usize = 64;

/// The packet that the program was called for.
pub(crate) struct XdpPacket {
    ctx: *mut xdp_md,
}

impl XdpPacket {
    /// The packet of `ctx`, which is the context that the kernel called the program with.
    #[inline(always)]
    pub(crate) const fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }

    /// The first byte.
    #[inline(always)]
    fn start(&self) -> usize {
        self.pointer::<{ offset_of!(xdp_md, data) }>()
    }

    /// The byte behind the last.
    #[inline(always)]
    fn end(&self) -> usize {
        self.pointer::<{ offset_of!(xdp_md, data_end) }>()
    }

    /// A packet pointer of the context, where it is declared as a number of 32 bits. LLVM would keep it
    /// as such and widen it where it is used, which the verifier refuses to let happen to pointers.
    #[inline(always)]
    fn pointer<const AT: usize>(&self) -> usize {
        let pointer: usize;
        // SAFETY: the kernel gave the context, which lives as long as the program runs; the
        // instruction only reads this field of it.
        unsafe {
            asm!(
                "{pointer} = *(u32 *)({ctx} + {at})",
                pointer = out(reg) pointer,
                ctx = in(reg) self.ctx,
                at = const AT,
                options(pure, readonly, nostack, preserves_flags),
            );
            // No packet is at address zero, and references tell `None` by it.
            assert_unchecked(pointer != 0);
        }
        pointer
    }

    #[inline(always)]
    fn locate<H: Pod>(&self, at: usize) -> Option<*mut H> {
        self.locate_up_to::<MAX_OFFSET, H>(at)
    }

    /// A header that starts no further into the packet than `MAX`.
    #[inline(always)]
    fn locate_up_to<const MAX: usize, H: Pod>(&self, at: usize) -> Option<*mut H> {
        const {
            assert!(
                align_of::<H>() <= 2,
                "packets start at an even address, no more"
            )
        };
        if at > MAX {
            return None;
        }
        let start = self.start() + bounded::<MAX>(at);
        if start + size_of::<H>() > self.end() {
            return None;
        }
        // SAFETY: as in `pointer`; the sum of both does not wrap round.
        unsafe { assert_unchecked(start != 0) };
        Some(start as *mut H)
    }

    /// Some bytes of what is summed up, as a header.
    #[inline(always)]
    fn summand<H: Pod>(&self, at: usize) -> Option<*mut H> {
        self.locate_up_to::<{ MAX_SUM_OFFSET + MAX_SUM }, H>(at)
    }

    /// The kernel's sum over the bytes `B` from byte `at` on and what was summed up before.
    #[inline(always)]
    fn chunk<B: Pod>(&self, at: usize, before: u32) -> Option<u32> {
        let bytes: *mut B = self.summand(at)?;
        let size = size_of::<B>() as u32;
        // SAFETY: `locate` checked bounds; the helper only reads, and nothing of the null pointer.
        let sum = unsafe { bpf_csum_diff(ptr::null_mut(), 0, bytes.cast(), size, before) };
        Some(sum as u32)
    }

    /// As [`Self::chunk`], if there is a `B`, whose size is a power of two, when `length` bytes
    /// are taken in chunks that become smaller.
    #[inline(always)]
    fn chunk_of<B: Pod>(&self, at: usize, length: usize, before: u32) -> Option<u32> {
        let size = size_of::<B>();
        if length & size == 0 {
            return Some(before);
        }
        self.chunk::<B>(at + (length & !(2 * size - 1)), before)
    }

    /// The odd byte first, the large chunks last: so the verifier has to look at those only once,
    /// and not once for each way through what comes before.
    #[inline(always)]
    fn sum_up(&self, at: usize, length: usize) -> Option<Sum> {
        if at > MAX_SUM_OFFSET || length > MAX_SUM {
            return None;
        }
        // Neither compiler nor verifier are to know `length` better for what they learn of `rest`.
        let rest = black_box(length % CHUNK);
        let whole = length - length % CHUNK;
        let mut sum = Sum::default();
        if rest & 1 != 0 {
            // With the byte before it: of a check for one byte the verifier learns nothing. If the
            // compiler saw the subtraction, it would rather add to the packet's end.
            let pair: *mut [u8; 2] = self.summand(black_box((at + length).wrapping_sub(2)))?;
            // SAFETY: as in `header`.
            let [_, last] = unsafe { *pair };
            sum = sum.plus(&[last, 0]);
        }
        if rest & 2 != 0 {
            let word: *mut Be16 = self.summand(at + whole + (rest & !3))?;
            // SAFETY: as in `header`.
            sum = sum.plus(unsafe { &*word });
        }
        let mut chunks = 0;
        chunks = self.chunk_of::<[u8; 4]>(at + whole, rest, chunks)?;
        chunks = self.chunk_of::<[u8; 8]>(at + whole, rest, chunks)?;
        chunks = self.chunk_of::<[u8; 16]>(at + whole, rest, chunks)?;
        chunks = self.chunk_of::<[u8; 32]>(at + whole, rest, chunks)?;
        for chunk in 0..MAX_SUM / CHUNK {
            if chunk * CHUNK >= whole {
                break;
            }
            chunks = self.chunk::<[u8; CHUNK]>(at + chunk * CHUNK, chunks)?;
        }
        Some(sum.plus(&chunks))
    }

    #[inline(always)]
    fn adjust(&mut self, bytes: i32) -> Option<()> {
        // SAFETY: the context is the kernel's. No header is borrowed: `&mut self`.
        let result = unsafe { bpf_xdp_adjust_head(self.ctx, bytes) };
        (result == 0).then_some(())
    }
}

impl Packet for XdpPacket {
    #[inline(always)]
    fn length(&self) -> usize {
        self.end() - self.start()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: as in `start`.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn header<H: Pod>(&self, at: usize) -> Option<&H> {
        // SAFETY: `locate` checked bounds and alignment; `H: Pod` takes any bytes. While it is
        // borrowed, `&self` keeps the packet where it is.
        self.locate(at).map(|header| unsafe { &*header })
    }

    #[inline(always)]
    fn header_mut<H: Pod>(&mut self, at: usize) -> Option<&mut H> {
        // SAFETY: as in `header`; `&mut self` makes this the only borrow.
        self.locate(at).map(|header| unsafe { &mut *header })
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        match packet_byte(self.ctx, at as u32) {
            NO_BYTE => None,
            byte => Some(byte as u8),
        }
    }

    #[inline(always)]
    fn walk(&self, at: usize, protocol: u8) -> Walk {
        // What the compiler knows of the result, the verifier does not.
        Walk(black_box(packet_walk(
            self.ctx,
            at as u32,
            u32::from(protocol),
        )))
    }

    #[inline(always)]
    fn sum_ipv4(&self, at: usize) -> Option<Sum> {
        let header: *mut Ipv4 = self.locate(at)?;
        let mut sum: u64;
        // SAFETY: `locate` checked that all twenty bytes are there, and the kernel lets programs read
        // words of packets at any address. Nothing is written.
        unsafe {
            asm!(
                "{sum} = *(u32 *)({header} + 0)",
                "{word} = *(u32 *)({header} + 4)",
                "{sum} += {word}",
                "{word} = *(u32 *)({header} + 8)",
                "{sum} += {word}",
                "{word} = *(u32 *)({header} + 12)",
                "{sum} += {word}",
                "{word} = *(u32 *)({header} + 16)",
                "{sum} += {word}",
                sum = out(reg) sum,
                word = out(reg) _,
                header = in(reg) header,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        Some(Sum::from_raw(sum))
    }

    #[inline(always)]
    fn push_front(&mut self, bytes: usize) -> Option<()> {
        self.adjust(-(bytes as i32))
    }

    #[inline(always)]
    fn pop_front(&mut self, bytes: usize) -> Option<()> {
        self.adjust(bytes as i32)
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Option<()> {
        let surplus = self.length().checked_sub(length)?;
        // SAFETY: as in `adjust`.
        let result = unsafe { bpf_xdp_adjust_tail(self.ctx, -(surplus as i32)) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn sum(&self, at: usize, length: usize) -> Option<Sum> {
        match packet_sum(self.ctx, at as u32, length as u32) {
            NO_SUM => None,
            sum => Some(Sum::from_raw(sum)),
        }
    }
}

/// A number that is no larger than `MAX`, in a way that verifiers before Linux 6.8 see too: they forget
/// what a comparison said of a number that the compiler puts aside between it and its use.
#[inline(always)]
fn bounded<const MAX: usize>(mut number: usize) -> usize {
    if !is_val_statically_known(number) {
        // SAFETY: a register is changed, nothing else.
        unsafe {
            asm!(
                "{number} &= {mask}",
                number = inout(reg) number,
                mask = const MAX.next_power_of_two() - 1 | MAX,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
    number
}

/// As [`bounded`], of a number from 1 to `MAX`, a power of two.
#[inline(always)]
pub(crate) fn positive<const MAX: usize>(mut number: usize) -> usize {
    // SAFETY: as in `bounded`.
    unsafe {
        asm!(
            "{number} += -1",
            "{number} &= {mask}",
            "{number} += 1",
            number = inout(reg) number,
            mask = const MAX - 1,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    number
}

/// What [`packet_byte`] gives behind the end of the packet.
const NO_BYTE: u32 = 0x100;

/// [`Packet::byte`] as a global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn packet_byte(ctx: *mut xdp_md, at: u32) -> u32 {
    let packet = XdpPacket::new(ctx);
    // Of a check for one byte the verifier learns nothing: it is read as half of a pair.
    let pair: Option<&[u8; 2]> = packet.header(at as usize);
    pair.map_or(NO_BYTE, |[byte, _]| u32::from(*byte))
}

/// [`Packet::walk`] as a global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn packet_walk(ctx: *mut xdp_md, at: u32, protocol: u32) -> u64 {
    parse::walk(&XdpPacket::new(ctx), at as usize, protocol as u8).0
}

/// What [`packet_sum`] gives if the packet ends before.
const NO_SUM: u64 = u64::MAX;

/// [`Packet::sum`] as a global function, which the verifier looks at once and by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn packet_sum(ctx: *mut xdp_md, at: u32, length: u32) -> u64 {
    let packet = XdpPacket::new(ctx);
    packet
        .sum_up(at as usize, length as usize)
        .map_or(NO_SUM, Sum::raw)
}
