//! The entry points.

use aya_ebpf::{
    Global,
    bindings::{xdp_action, xdp_md},
    cty::c_void,
    macros::xdp,
    programs::XdpContext,
};
use lb_common::{
    age::{self, Step},
    count,
    family::{Family, V4, V6},
    flow::FlowKey,
    fragment, icmp, lease,
    link::Link,
    packet::Packet,
    pipeline::{self, Next},
    record::{self, Record},
    tables::{FlowTable, Queue, Tables},
    verdict::{Fate, Reason, Verdict},
    wire::ethernet::ethertype,
};

#[cfg(feature = "log")]
use crate::log;
use crate::{
    kernel,
    maps::{self, KernelTables, Outcome},
    packet::XdpPacket,
};

/// Every packet of an interface comes here. The stages are functions of their own, called one after
/// the other, so that each has a stack frame to itself.
#[xdp]
fn balance(ctx: XdpContext) -> u32 {
    #[cfg(feature = "log")]
    log::begin();
    let packet = XdpPacket::new(ctx.ctx);
    let (interface, bytes) = (packet.interface(), packet.length());
    let code = match Link::parse(&packet) {
        Ok(link) if link.ethertype == V4::ETHERTYPE => balance_v4(ctx.ctx),
        Ok(link) if link.ethertype == V6::ETHERTYPE => balance_v6(ctx.ctx),
        Ok(link) if link.ethertype == ethertype::ARP => arp(ctx.ctx),
        Ok(_) => xdp_action::XDP_PASS,
        Err(reason) => refused(reason),
    };
    let outcome = match code {
        xdp_action::XDP_PASS => Outcome::Passed,
        xdp_action::XDP_TX | xdp_action::XDP_REDIRECT => Outcome::Steered,
        _ => Outcome::Dropped,
    };
    maps::count_interface(interface, bytes, outcome);
    #[cfg(feature = "log")]
    log::decided(code);
    code
}

/// What a stage returns: an action of XDP, or one of these.
mod stage {
    /// The next stage follows.
    pub(super) const ON: u32 = 0x100;
    /// The packet is the first of a flow.
    pub(super) const NEW: u32 = 0x101;
    /// The packet is a message of ICMP.
    pub(super) const ICMP: u32 = 0x102;
    /// The packet is a fragment other than the first.
    pub(super) const LATER_FRAGMENT: u32 = 0x103;
    /// The packet is the first fragment of a datagram that is nobody's flow.
    pub(super) const FOREIGN_FRAGMENT: u32 = 0x104;
    /// The packet goes to a real server.
    pub(super) const SEND: u32 = 0x105;
    /// The packet goes back to a client.
    pub(super) const SEND_BACK: u32 = 0x106;
    /// The packet is an ICMP error of a flow.
    pub(super) const ERROR: u32 = 0x107;
    /// The packet is an ICMP error about a tunnel with IPv4 inside.
    pub(super) const ERROR_OF_TUNNEL4: u32 = 0x108;
    /// The packet is an ICMP error about a tunnel with IPv6 inside.
    pub(super) const ERROR_OF_TUNNEL6: u32 = 0x109;
    /// The packet is an echo request to a virtual address.
    pub(super) const ECHO: u32 = 0x10b;
    /// The packet's flow is to be scheduled.
    pub(super) const SCHEDULE: u32 = 0x10c;
    /// The packet's flow begins.
    pub(super) const BEGIN: u32 = 0x10d;
    /// The packet is of no flow that is known.
    pub(super) const FIND_SERVICE: u32 = 0x10e;
    /// The packet is an ICMP error about a tunnel.
    pub(super) const ERROR_OF_TUNNEL: u32 = 0x10f;
    /// The packet is not like most.
    pub(super) const STEER: u32 = 0x110;
    /// The packet may not be steered.
    pub(super) const WITHHOLD: u32 = 0x111;
    /// The same of one that is no frame with a key.
    pub(super) const SILENCE: u32 = 0x112;
    /// The packet was refused and is to be answered; the lower byte is the reason.
    pub(super) const REFUSED: u32 = 0x200;
    /// The packet goes into a tunnel; the lower three bytes are the real server's id.
    pub(super) const TUNNEL: u32 = 0x100_0000;
}

/// One stage: a function of the context, and perhaps of a number. All but the first know the link header.
macro_rules! stage {
    ($name:ident, $room:path, $($number:ident,)? |$packet:ident, $tables:ident, $space:ident $(, $link:ident)?| $run:block) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name(ctx: *mut xdp_md $(, $number: u32)?) -> u32 {
            let mut packet = XdpPacket::new(ctx);
            $(let Ok($link) = Link::parse(&packet) else {
                return xdp_action::XDP_ABORTED;
            };)?
            let Some($space) = $room() else {
                return xdp_action::XDP_ABORTED;
            };
            let ($packet, $tables) = (&mut packet, &KernelTables::new(ctx));
            match $run {
                Ok(next) => Code::from(next).of(ctx),
                Err(reason) => refused(reason),
            }
        }
    };
}

/// The stages of a family. Each is a global function, which the verifier looks at once and by itself,
/// whatever state it is called in.
macro_rules! family {
    ($family:ty, $room:path: $balance:ident,
     $express:ident, $steer:ident, $find_service:ident, $choose:ident, $schedule:ident, $begin:ident, $send:ident, $send_back:ident, $icmp:ident, $echo:ident,
     $requote:ident, $hear:ident, $relay:ident,
     $follow:ident, $let_pass:ident, $enter:ident, $refuse:ident, $withhold:ident, $silence:ident) => {
        #[inline(always)]
        fn $balance(ctx: *mut xdp_md) -> u32 {
            let moment = maps::moment();
            let mut code = stage::STEER;
            if !moment.is_doubtful() {
                code = $express(ctx, moment.now());
            }
            if code == stage::STEER {
                code = $steer(ctx);
            }
            if code < stage::ON {
                return code;
            }
            if code == stage::FIND_SERVICE {
                code = $find_service(ctx);
            }
            if code == stage::NEW {
                code = $choose(ctx);
                if code == stage::SCHEDULE {
                    code = $schedule(ctx);
                }
                if code == stage::BEGIN {
                    code = $begin(ctx);
                }
                if code == stage::ON {
                    code = stage::SEND;
                }
            } else if code == stage::ICMP {
                code = $icmp(ctx);
                if code == stage::NEW {
                    code = $choose(ctx);
                    if code == stage::SCHEDULE {
                        code = $schedule(ctx);
                    }
                    if code == stage::BEGIN {
                        code = stage::ERROR;
                    }
                }
                if code == stage::ECHO {
                    code = $echo(ctx);
                } else if code == stage::ERROR {
                    code = $requote(ctx);
                } else if code == stage::ERROR_OF_TUNNEL {
                    code = $hear(ctx);
                    if code == stage::ERROR_OF_TUNNEL4 {
                        code = relay_v4(ctx);
                    } else if code == stage::ERROR_OF_TUNNEL6 {
                        code = relay_v6(ctx);
                    }
                }
            } else if code == stage::LATER_FRAGMENT {
                code = $follow(ctx);
            } else if code == stage::FOREIGN_FRAGMENT {
                code = $let_pass(ctx);
            } else if code == stage::WITHHOLD {
                code = $withhold(ctx);
            } else if code == stage::SILENCE {
                code = $silence(ctx);
            }
            if code == stage::SEND {
                code = $send(ctx);
            } else if code == stage::SEND_BACK {
                code = $send_back(ctx);
            }
            if code >= stage::TUNNEL {
                code = $enter(ctx, code & !stage::TUNNEL);
            }
            if code >= stage::REFUSED {
                code = $refuse(ctx, code & 0xff);
            }
            code
        }

        stage!($express, $room, now, |packet, tables, room| {
            pipeline::express::<$family, _, _>(packet, tables, room, now)
        });
        stage!($steer, $room, |packet, tables, room, link| {
            pipeline::steer::<$family, _, _>(packet, tables, room, link)
        });
        stage!($find_service, $room, |_packet, tables, room, link| {
            Ok::<_, Reason>(pipeline::find_service::<$family, _>(tables, room, link))
        });
        stage!($choose, $room, |_packet, tables, room, link| {
            pipeline::choose::<$family, _>(tables, room, link)
        });
        stage!($schedule, $room, |_packet, tables, room, link| {
            pipeline::schedule::<$family, _>(tables, room, link)
        });
        stage!($begin, $room, |packet, tables, room, link| {
            pipeline::begin::<$family, _, _>(packet, tables, room, link)
        });
        stage!($send, $room, |packet, tables, room, link| {
            pipeline::send::<$family, _, _>(packet, tables, room, link)
        });
        stage!($icmp, $room, |packet, tables, room, link| {
            icmp::steer::<$family, _, _>(packet, tables, room, link)
        });
        stage!($echo, $room, |packet, tables, room, link| {
            icmp::echo::<$family, _, _>(packet, tables, room, link)
        });
        stage!($requote, $room, |packet, tables, room, link| {
            icmp::requote::<$family, _, _>(packet, tables, room, link)
        });
        stage!($hear, $room, |packet, _tables, _room, link| {
            match maps::complaint() {
                Some(complaint) => icmp::hear::<$family, _>(packet, link, complaint),
                None => Err(Reason::UnknownError),
            }
        });
        stage!($relay, $room, |packet, tables, room, link| {
            match maps::complaint() {
                Some(complaint) => {
                    icmp::relay::<$family, _, _>(packet, tables, room, link, complaint)
                }
                None => Err(Reason::UnknownError),
            }
        });
        stage!($send_back, $room, |packet, tables, room, link| {
            pipeline::send_back::<$family, _, _>(packet, tables, room, link)
        });
        stage!($follow, $room, |packet, tables, room, link| {
            fragment::follow::<$family, _, _>(packet, tables, room, link)
        });
        stage!($let_pass, $room, |packet, tables, room, link| {
            fragment::let_pass::<$family, _, _>(packet, tables, room, link)
        });
        // It looks at nothing of the packet; but of a global function that does not use its context the compiler
        // takes the argument away, and the verifier does not.
        stage!($withhold, $room, |_packet, tables, room, _link| {
            lease::withhold::<$family, _>(tables, room)
        });
        stage!($silence, $room, |packet, tables, _room, link| {
            lease::silence::<$family, _, _>(packet, tables, link)
        });
        stage!($enter, $room, server, |packet, tables, _room, link| {
            pipeline::enter::<$family, _, _>(packet, tables, link, server)
        });
        stage!($refuse, $room, reason, |packet, tables, room, link| {
            let reason = Reason::answered(reason);
            pipeline::refuse::<$family, _, _>(packet, tables, room, link, reason)
        });
    };
}

family!(V4, maps::room4: balance_v4, express_v4, steer_v4, find_service_v4, choose_v4, schedule_v4, begin_v4, send_v4, send_back_v4, icmp_v4, echo_v4, requote_v4, hear_v4,
    relay_v4,
    follow_v4, let_pass_v4, enter_v4, refuse_v4, withhold_v4, silence_v4);
family!(V6, maps::room6: balance_v6, express_v6, steer_v6, find_service_v6, choose_v6, schedule_v6, begin_v6, send_v6, send_back_v6, icmp_v6, echo_v6, requote_v6, hear_v6,
    relay_v6,
    follow_v6, let_pass_v6, enter_v6, refuse_v6, withhold_v6, silence_v6);

stage!(arp, maps::room4, |packet, tables, _room, link| {
    lease::arp(packet, tables, link)
});

/// What a stage came to.
enum Code {
    Next(Next),
    On,
}

impl From<Next> for Code {
    #[inline(always)]
    fn from(next: Next) -> Self {
        Self::Next(next)
    }
}

impl From<Verdict> for Code {
    #[inline(always)]
    fn from(verdict: Verdict) -> Self {
        Self::Next(Next::Done(verdict))
    }
}

impl From<()> for Code {
    #[inline(always)]
    fn from((): ()) -> Self {
        Self::On
    }
}

impl Code {
    /// As a number.
    #[inline(always)]
    fn of(self, ctx: *mut xdp_md) -> u32 {
        match self {
            Self::Next(Next::Done(Verdict::Pass)) => xdp_action::XDP_PASS,
            Self::Next(Next::Done(Verdict::Transmit)) => back(ctx),
            Self::Next(Next::Done(Verdict::Redirect(interface))) => away(interface),
            Self::Next(Next::Done(Verdict::Hold)) => xdp_action::XDP_DROP,
            Self::Next(Next::Steer) => stage::STEER,
            Self::Next(Next::Withhold) => stage::WITHHOLD,
            Self::Next(Next::Silence) => stage::SILENCE,
            Self::Next(Next::New) => stage::NEW,
            Self::Next(Next::Schedule) => stage::SCHEDULE,
            Self::Next(Next::Begin) => stage::BEGIN,
            Self::Next(Next::Icmp) => stage::ICMP,
            Self::Next(Next::LaterFragment) => stage::LATER_FRAGMENT,
            Self::Next(Next::Tunnel { server }) => stage::TUNNEL | server,
            Self::Next(Next::ForeignFragment) => stage::FOREIGN_FRAGMENT,
            Self::Next(Next::Send) => stage::SEND,
            Self::Next(Next::SendBack) => stage::SEND_BACK,
            Self::Next(Next::Echo) => stage::ECHO,
            Self::Next(Next::Error) => stage::ERROR,
            Self::Next(Next::FindService) => stage::FIND_SERVICE,
            Self::Next(Next::ErrorOfTunnel) => stage::ERROR_OF_TUNNEL,
            Self::Next(Next::ErrorOfTunnel4) => stage::ERROR_OF_TUNNEL4,
            Self::Next(Next::ErrorOfTunnel6) => stage::ERROR_OF_TUNNEL6,
            Self::On => stage::ON,
        }
    }
}

/// Counts a packet that was refused. What becomes of it, as a number.
#[inline(always)]
fn refused(reason: Reason) -> u32 {
    maps::count(reason);
    #[cfg(feature = "log")]
    log::refused(reason);
    match reason.fate() {
        Fate::Pass => xdp_action::XDP_PASS,
        Fate::Drop => xdp_action::XDP_DROP,
        Fate::Answer => stage::REFUSED | reason as u32,
    }
}

/// Not zero where packets that go back by the interface they came from have to be redirected to it:
/// the receiving end of a veth is not woken by `XDP_TX` unless it has an XDP program itself. The
/// daemon sets it when it loads the program; the kernel then drops the branch that is not taken.
#[unsafe(no_mangle)]
static REDIRECT_BACK: Global<u8> = Global::new(0);

/// Out by another interface. A packet that is only tried goes nowhere, and whoever tries it learns
/// where it would go.
#[inline(always)]
fn away(interface: u32) -> u32 {
    if maps::is_dry() {
        maps::note_departure(interface);
        xdp_action::XDP_REDIRECT
    } else {
        kernel::redirect(interface)
    }
}

/// Back by the interface that the packet came from.
#[inline(always)]
fn back(ctx: *mut xdp_md) -> u32 {
    if REDIRECT_BACK.load() == 0 || maps::is_dry() {
        xdp_action::XDP_TX
    } else {
        kernel::redirect(XdpPacket::new(ctx).interface())
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

/// Looks whether a real server gets new flows by thresholds that were written just now: the one whose id
/// the packet begins with, in the byte order of the machine. The daemon runs it, since it must not write
/// counters that packets change meanwhile.
#[xdp]
fn weigh(ctx: XdpContext) -> u32 {
    let packet = XdpPacket::new(ctx.ctx);
    let Some(id) = packet.header::<[u8; 4]>(0) else {
        return xdp_action::XDP_ABORTED;
    };
    count::weigh(&KernelTables::without_packet(), u32::from_ne_bytes(*id));
    xdp_action::XDP_PASS
}

/// Learns the records that the packet consists of, and leaves in each what came of it. The daemon runs it:
/// flows are made by the program alone, which counts and queues them.
#[xdp]
fn learn(ctx: XdpContext) -> u32 {
    let records = XdpPacket::new(ctx.ctx).length() / size_of::<Record>();
    for index in 0..Record::AT_ONCE {
        if index as usize >= records {
            break;
        }
        learn_one(ctx.ctx, index);
    }
    xdp_action::XDP_PASS
}

/// Learns one of the records, as a global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn learn_one(ctx: *mut xdp_md, index: u32) -> u32 {
    let at = index * size_of::<Record>() as u32;
    let Some(record) = maps::lesson() else {
        return 0;
    };
    if !kernel::copy_from(ctx, at, record) {
        return 0;
    }
    let outcome = if record.has(Record::IPV6) {
        maps::learn_v6()
    } else {
        maps::learn_v4()
    };
    if let Some(record) = maps::lesson() {
        record.outcome = record::Outcome(outcome as u8);
        kernel::copy_to(ctx, at, record);
    }
    0
}

/// Runs every [`age::TICK_MS`]: takes a few steps through each queue.
fn tick(_map: *mut c_void, _key: *mut u32, sweeper: *mut maps::Sweeper) -> i32 {
    maps::set_clock();
    let (run, half_open, standing) = (maps::run(), Queue::HalfOpen, Queue::Standing);
    kernel::repeat(maps::steps::<V4>(half_open, run), sweep_half_open::<V4>);
    kernel::repeat(maps::steps::<V4>(standing, run), sweep_standing::<V4>);
    kernel::repeat(maps::steps::<V6>(half_open, run), sweep_half_open::<V6>);
    kernel::repeat(maps::steps::<V6>(standing, run), sweep_standing::<V6>);
    maps::wind_again(sweeper);
    0
}

/// As many steps through each queue as a test asks for, which also sets the time. In the daemon's
/// hands it takes none.
#[xdp]
fn sweep(_ctx: XdpContext) -> u32 {
    let steps = maps::virtual_steps();
    kernel::repeat(steps, sweep_half_open::<V4>);
    kernel::repeat(steps, sweep_standing::<V4>);
    kernel::repeat(steps, sweep_half_open::<V6>);
    kernel::repeat(steps, sweep_standing::<V6>);
    xdp_action::XDP_PASS
}

unsafe extern "C" fn sweep_half_open<F: Family>(_index: u64, _context: *mut c_void) -> i64
where
    KernelTables: FlowTable<F>,
{
    look_at_one::<F>(Queue::HalfOpen)
}

unsafe extern "C" fn sweep_standing<F: Family>(_index: u64, _context: *mut c_void) -> i64
where
    KernelTables: FlowTable<F>,
{
    look_at_one::<F>(Queue::Standing)
}

/// One step of the sweeper; nonzero if there is nothing left to do.
#[inline(always)]
fn look_at_one<F: Family>(queue: Queue) -> i64
where
    KernelTables: FlowTable<F>,
{
    let tables = KernelTables::without_packet();
    let now = tables.now();
    let (mut key, mut other) = (FlowKey::empty::<F>(), FlowKey::empty::<F>());
    match age::step::<F, _>(&tables, queue, now, &mut key, &mut other) {
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
