//! The state of a flow, and for how long a silent one is remembered: as IPVS does it.

mod sctp;
mod tcp;

use bytemuck::{Pod, Zeroable};

use crate::wire::protocol;

/// The state of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct State(pub u32);

/// States of any protocol, of UDP, and marks of entries that are no flows.
impl State {
    /// Nothing seen yet.
    pub const NONE: Self = Self(0);
    /// A UDP flow. If replies are seen, there was one.
    pub const UDP: Self = Self(11);
    /// Not a flow of its own: the way back of a masqueraded one.
    pub const REPLY: Self = Self(12);
    /// The flow has ended and is about to be removed or replaced.
    pub const RETIRED: Self = Self(13);
    /// Not a flow: which real server a client stays with.
    pub const TEMPLATE: Self = Self(14);
    /// A datagram without an answer, or, unseen replies, without another. Its sender may be made
    /// up, so it is not remembered for as long as a flow.
    pub const UDP_ONCE: Self = Self(15);

    /// Number of states.
    pub const COUNT: usize = 30;
}

impl State {
    /// The state that a packet of `protocol` leads to. `flags` are those of TCP
    /// ([`crate::wire::tcp::flags`]), or the event of SCTP ([`crate::wire::sctp::event`]); zero for
    /// others. Whatever has neither is treated as UDP.
    #[must_use]
    #[inline(always)]
    pub const fn after(self, protocol: u8, sight: Sight, flags: u8) -> Self {
        match protocol {
            protocol::TCP => tcp::after(self, sight, flags),
            protocol::SCTP => sctp::after(self, sight, flags),
            _ => self.after_datagram(sight),
        }
    }

    #[inline(always)]
    const fn after_datagram(self, sight: Sight) -> Self {
        let stands = match sight {
            Sight::Request => self.0 == Self::UDP.0,
            Sight::Reply => true,
            // A second datagram is all that can be seen of an answer.
            Sight::RequestOnly => self.0 == Self::UDP.0 || self.0 == Self::UDP_ONCE.0,
        };
        if stands { Self::UDP } else { Self::UDP_ONCE }
    }

    /// Whether a SYN or INIT in this state starts a new connection with the same sockets: what
    /// `is_new_conn_expected` of IPVS says, with its sysctl `conn_reuse_mode` as `reuse`.
    #[must_use]
    #[inline(always)]
    pub const fn can_start_anew(self, reuse: u32, sight: Sight) -> bool {
        if reuse == 0 {
            return false;
        }
        let has_ended = self.is_one_of(ENDED);
        match sight {
            // Where both sides are seen, FIN_WAIT is the real server's, and the client goes on.
            Sight::Request | Sight::Reply => has_ended,
            Sight::RequestOnly => has_ended || (reuse & 2 != 0 && self.0 == Self::FIN_WAIT.0),
        }
    }

    /// Whether the flow counts as active; all others are inactive, UDP among them. A TCP connection
    /// that is being opened is active too (`tcp_state_active_table`), one of SCTP is not.
    #[must_use]
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        self.is_one_of(ACTIVE)
    }

    /// Whether the flow has begun and does not stand yet.
    #[must_use]
    #[inline(always)]
    pub const fn is_half_open(self) -> bool {
        self.is_one_of(HALF_OPEN)
    }

    /// Whether one end at least has finished.
    #[must_use]
    #[inline(always)]
    pub const fn is_closing(self) -> bool {
        self.is_one_of(CLOSING)
    }

    #[inline(always)]
    const fn is_one_of(self, states: u32) -> bool {
        // No state is shifted by more than the word is wide.
        (states >> (self.0 & 31)) & 1 != 0
    }

    /// How IPVS and ipvsadm spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NONE | Self::TEMPLATE | Self::SCTP_NONE => "NONE",
            Self::ESTABLISHED | Self::SCTP_ESTABLISHED => "ESTABLISHED",
            Self::SYN_SENT => "SYN_SENT",
            Self::SYN_RECV => "SYN_RECV",
            Self::FIN_WAIT => "FIN_WAIT",
            Self::TIME_WAIT => "TIME_WAIT",
            Self::CLOSE => "CLOSE",
            Self::CLOSE_WAIT => "CLOSE_WAIT",
            Self::LAST_ACK => "LAST_ACK",
            Self::LISTEN => "LISTEN",
            Self::SYNACK => "SYNACK",
            Self::UDP | Self::UDP_ONCE => "UDP",
            Self::SCTP_INIT1 => "INIT1",
            Self::SCTP_INIT => "INIT",
            Self::SCTP_COOKIE_SENT => "C-SENT",
            Self::SCTP_COOKIE_REPLIED => "C-REPLIED",
            Self::SCTP_COOKIE_WAIT => "C-WAIT",
            Self::SCTP_COOKIE => "COOKIE",
            Self::SCTP_COOKIE_ECHOED => "C-ECHOED",
            Self::SCTP_SHUTDOWN_SENT => "S-SENT",
            Self::SCTP_SHUTDOWN_RECEIVED => "S-RECEIVED",
            Self::SCTP_SHUTDOWN_ACK_SENT => "S-ACK-SENT",
            Self::SCTP_REJECTED => "REJECTED",
            Self::SCTP_CLOSED => "CLOSED",
            _ => "-",
        }
    }
}

/// Which packets of a flow the router gets to see, and which of them this one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// From the client; replies come this way too (masquerading).
    Request,
    /// From the real server.
    Reply,
    /// From the client; replies take another way (direct routing, tunnel).
    RequestOnly,
}

/// How IPVS treats a port that is used again, unless it is told otherwise: its sysctl
/// `conn_reuse_mode`, for [`State::can_start_anew`].
pub const DEFAULT_REUSE: u32 = 1;

/// How long a silent flow is remembered in each state, in seconds: the defaults of IPVS, which has
/// no [`State::UDP_ONCE`]. Indexed by [`State`]; zero for what is no state of a flow.
#[rustfmt::skip]
pub const DEFAULT_TIMEOUTS: [u32; State::COUNT] = [
    // TCP, from NONE to SYNACK.
    2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120,
    // UDP; REPLY, RETIRED, TEMPLATE; UDP_ONCE.
    300, 0, 0, 0, 60,
    // SCTP: NONE, INIT1; until it stands; ESTABLISHED; until it is over; REJECTED, CLOSED.
    2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61,
];

/// The clock of flows: 2^20 nanoseconds, a little more than a millisecond. It wraps after 52 days.
#[must_use]
pub const fn ticks(seconds: u32) -> u32 {
    ((seconds as u64 * 1_000_000_000) >> TICK_SHIFT) as u32
}

/// Nanoseconds to the ticks of [`ticks`], as a shift.
pub const TICK_SHIFT: u32 = 20;

const ACTIVE: u32 = set(&[
    State::ESTABLISHED,
    State::SYN_SENT,
    State::SYN_RECV,
    State::SYNACK,
    State::SCTP_ESTABLISHED,
]);
const HALF_OPEN: u32 = set(&[
    State::NONE,
    State::SYN_SENT,
    State::SYN_RECV,
    State::SYNACK,
    State::UDP_ONCE,
    State::SCTP_NONE,
    State::SCTP_INIT1,
    State::SCTP_INIT,
    State::SCTP_COOKIE_SENT,
    State::SCTP_COOKIE_REPLIED,
    State::SCTP_COOKIE_WAIT,
    State::SCTP_COOKIE,
    State::SCTP_COOKIE_ECHOED,
]);
const CLOSING: u32 = set(&[
    State::FIN_WAIT,
    State::TIME_WAIT,
    State::CLOSE,
    State::CLOSE_WAIT,
    State::LAST_ACK,
    State::SCTP_SHUTDOWN_SENT,
    State::SCTP_SHUTDOWN_RECEIVED,
    State::SCTP_SHUTDOWN_ACK_SENT,
    State::SCTP_REJECTED,
    State::SCTP_CLOSED,
]);
const ENDED: u32 = set(&[State::TIME_WAIT, State::CLOSE, State::SCTP_CLOSED]);

/// States as the bits of a word, so that it takes no memory to look one up.
const fn set(states: &[State]) -> u32 {
    const { assert!(State::COUNT <= 32) };
    let mut set = 0;
    let mut at = 0;
    while at < states.len() {
        set |= 1 << states[at].0;
        at += 1;
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state: its timeout in IPVS, what it counts as (active, half open, closing), in which
    /// `conn_reuse_mode` it starts anew if replies are seen, and if they are not, and its name.
    const TABLE: &str = "
         0    2  half     -  -    NONE
         1  900  active   -  -    ESTABLISHED
         2  120  active+half  -  -    SYN_SENT
         3   60  active+half  -  -    SYN_RECV
         4  120  closing  -  23   FIN_WAIT
         5  120  closing  123  123  TIME_WAIT
         6   10  closing  123  123  CLOSE
         7   60  closing  -  -    CLOSE_WAIT
         8   30  closing  -  -    LAST_ACK
         9  120  -        -  -    LISTEN
        10  120  active+half  -  -    SYNACK
        11  300  -        -  -    UDP
        12    0  -        -  -    -
        13    0  -        -  -    -
        14    0  -        -  -    NONE
        15   60  half     -  -    UDP
        16    2  half     -  -    NONE
        17    4  half     -  -    INIT1
        18   61  half     -  -    INIT
        19   61  half     -  -    C-SENT
        20   61  half     -  -    C-REPLIED
        21   61  half     -  -    C-WAIT
        22   61  half     -  -    COOKIE
        23   61  half     -  -    C-ECHOED
        24  900  active   -  -    ESTABLISHED
        25   61  closing  -  -    S-SENT
        26   61  closing  -  -    S-RECEIVED
        27   61  closing  -  -    S-ACK-SENT
        28    4  closing  -  -    REJECTED
        29   61  closing  123  123  CLOSED";

    #[test]
    fn every_state_is_what_the_table_says() {
        let modes = |state: State, sight| {
            let modes: String = (0..=3)
                .filter(|reuse| state.can_start_anew(*reuse, sight))
                .map(|reuse| reuse.to_string())
                .collect();
            if modes.is_empty() {
                "-".to_owned()
            } else {
                modes
            }
        };
        let mut lines = TABLE.lines().filter(|line| !line.trim().is_empty());
        for (number, timeout) in DEFAULT_TIMEOUTS.into_iter().enumerate() {
            let state = State(number as u32);
            let classes: Vec<_> = [
                (state.is_active(), "active"),
                (state.is_half_open(), "half"),
                (state.is_closing(), "closing"),
            ]
            .into_iter()
            .filter_map(|(is, name)| is.then_some(name))
            .collect();
            let class = if classes.is_empty() {
                "-".to_owned()
            } else {
                classes.join("+")
            };
            let found = [
                number.to_string(),
                timeout.to_string(),
                class,
                modes(state, Sight::Request),
                modes(state, Sight::RequestOnly),
                state.name().to_owned(),
            ];
            let expected: Vec<_> = lines.next().unwrap_or("").split_whitespace().collect();
            assert_eq!(found.as_slice(), expected);
        }
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_datagram_needs_an_answer_to_be_a_flow() {
        use Sight::{Reply, Request, RequestOnly};
        let table = [
            (State::NONE, Request, State::UDP_ONCE),
            (State::NONE, RequestOnly, State::UDP_ONCE),
            (State::UDP_ONCE, Request, State::UDP_ONCE),
            (State::UDP_ONCE, Reply, State::UDP),
            (State::UDP_ONCE, RequestOnly, State::UDP),
            (State::UDP, Request, State::UDP),
            (State::UDP, Reply, State::UDP),
            (State::UDP, RequestOnly, State::UDP),
        ];
        for (before, sight, after) in table {
            for protocol in [protocol::UDP, protocol::ESP] {
                let found = before.after(protocol, sight, 0);
                assert_eq!(found, after, "{before:?}, {sight:?}, {protocol}");
            }
        }
    }
}
