//! [`Packet`] for the kernel: the only packet pointers of the program.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_adjust_head};
use bytemuck::Pod;
use lb_common::packet::{MAX_OFFSET, Packet};

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

    #[inline(always)]
    fn start(&self) -> usize {
        // SAFETY: the kernel gave the context, which lives as long as the program runs.
        unsafe { (*self.ctx).data as usize }
    }

    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: as in `start`.
        unsafe { (*self.ctx).data_end as usize }
    }

    #[inline(always)]
    fn locate<H: Pod>(&self, at: usize) -> Option<*mut H> {
        const {
            assert!(
                align_of::<H>() <= 2,
                "packets start at an even address, no more"
            )
        };
        if at > MAX_OFFSET {
            return None;
        }
        let start = self.start() + at;
        if start + size_of::<H>() > self.end() {
            return None;
        }
        Some(start as *mut H)
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
    fn push_front(&mut self, bytes: usize) -> Option<()> {
        self.adjust(-(bytes as i32))
    }

    #[inline(always)]
    fn pop_front(&mut self, bytes: usize) -> Option<()> {
        self.adjust(bytes as i32)
    }
}
