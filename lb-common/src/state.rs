//! The state of a flow: IPVS's TCP state tables and timeouts (`ip_vs_proto_tcp.c`).

use bytemuck::{Pod, Zeroable};

use crate::wire::{protocol, tcp::flags};

/// The state of a flow. The numbers of TCP states are those of IPVS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct State(pub u32);

impl State {
    /// Nothing seen yet.
    pub const NONE: Self = Self(0);
    /// The connection stands: the flow counts as active.
    pub const ESTABLISHED: Self = Self(1);
    /// The real server opened a connection.
    pub const SYN_SENT: Self = Self(2);
    /// The client's SYN was forwarded.
    pub const SYN_RECV: Self = Self(3);
    /// The real server (or, unseen replies, the client) has finished.
    pub const FIN_WAIT: Self = Self(4);
    /// Both have finished.
    pub const TIME_WAIT: Self = Self(5);
    /// Reset.
    pub const CLOSE: Self = Self(6);
    /// The client has finished.
    pub const CLOSE_WAIT: Self = Self(7);
    /// The last FIN is under way.
    pub const LAST_ACK: Self = Self(8);
    /// As IPVS has it; not reached by any segment.
    pub const LISTEN: Self = Self(9);
    /// The client's answer to a SYN cookie is awaited.
    pub const SYNACK: Self = Self(10);
    /// A UDP flow.
    pub const UDP: Self = Self(11);
    /// Not a flow of its own: the way back of a masqueraded one.
    pub const REPLY: Self = Self(12);
    /// The flow has ended and is about to be removed or replaced.
    pub const RETIRED: Self = Self(13);

    /// Number of states that have a timeout.
    pub const COUNT: usize = 12;

    /// The state that a packet of `protocol` with TCP flags `flags` leads to.
    #[must_use]
    #[inline(always)]
    pub const fn after(self, protocol: u8, sight: Sight, flags: u8) -> Self {
        if protocol != protocol::TCP {
            return Self::UDP;
        }
        let rows = match sight {
            Sight::Request => &INPUT,
            Sight::Reply => &OUTPUT,
            Sight::RequestOnly => &INPUT_ONLY,
        };
        // The order of IPVS: a reset outweighs a SYN, that a FIN, that an ACK.
        let row = if flags & flags::RST != 0 {
            rows.rst
        } else if flags & flags::SYN != 0 {
            rows.syn
        } else if flags & flags::FIN != 0 {
            rows.fin
        } else if flags & flags::ACK != 0 {
            rows.ack
        } else {
            return Self::CLOSE;
        };
        Self((row.0 >> (self.0 * 4)) as u32 & 0xf)
    }

    /// Whether a SYN in this state starts a new connection with the same sockets: what IPVS does
    /// with `conn_reuse_mode = 1`.
    #[must_use]
    #[inline(always)]
    pub const fn can_start_anew(self) -> bool {
        self.0 == Self::TIME_WAIT.0 || self.0 == Self::CLOSE.0
    }

    /// Whether the flow counts as active; all others are inactive, UDP among them.
    #[must_use]
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        self.0 == Self::ESTABLISHED.0
    }

    /// How IPVS and ipvsadm spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "NONE",
            1 => "ESTABLISHED",
            2 => "SYN_SENT",
            3 => "SYN_RECV",
            4 => "FIN_WAIT",
            5 => "TIME_WAIT",
            6 => "CLOSE",
            7 => "CLOSE_WAIT",
            8 => "LAST_ACK",
            9 => "LISTEN",
            10 => "SYNACK",
            11 => "UDP",
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

/// How long a silent flow is remembered in each state, in seconds: the defaults of IPVS. Indexed
/// by [`State`].
pub const DEFAULT_TIMEOUTS: [u32; State::COUNT] =
    [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, 300];

/// The clock of flows: 2^20 nanoseconds, a little more than a millisecond. It wraps after 52 days.
#[must_use]
pub const fn ticks(seconds: u32) -> u32 {
    ((seconds as u64 * 1_000_000_000) >> TICK_SHIFT) as u32
}

/// Nanoseconds to the ticks of [`ticks`], as a shift.
pub const TICK_SHIFT: u32 = 20;

/// One row of a state table: the next state for each of the eleven TCP states, four bits each, so
/// that a lookup is a shift and needs no memory.
#[derive(Clone, Copy)]
struct Row(u64);

/// The rows of one direction.
#[derive(Clone, Copy)]
struct Rows {
    syn: Row,
    fin: Row,
    ack: Row,
    rst: Row,
}

const ES: u64 = 1;
const SS: u64 = 2;
const SR: u64 = 3;
const FW: u64 = 4;
const TW: u64 = 5;
const CL: u64 = 6;
const CW: u64 = 7;
const LA: u64 = 8;
const LI: u64 = 9;

const fn row(next: [u64; 11]) -> Row {
    let mut packed = 0;
    let mut state = 0;
    while state < 11 {
        packed |= next[state] << (state * 4);
        state += 1;
    }
    Row(packed)
}

//                      NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
const INPUT: Rows = Rows {
    syn: row([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]),
    fin: row([CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW]),
    ack: row([CL, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]),
    rst: row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR]),
};
const OUTPUT: Rows = Rows {
    syn: row([SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR]),
    fin: row([TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW]),
    ack: row([ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES]),
    rst: row([CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL]),
};
const INPUT_ONLY: Rows = Rows {
    syn: row([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]),
    fin: row([CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW]),
    ack: row([CL, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]),
    rst: row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL]),
};

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 11] = [
        "NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA",
    ];

    /// The tables of `ip_vs_proto_tcp.c`, as text.
    const TABLE: &str = "
        request       syn  SR ES ES SR SR SR SR SR SR SR SR
        request       fin  CL CW SS TW TW TW CL CW LA LI TW
        request       ack  CL ES SS ES FW TW CL CW CL LI ES
        request       rst  CL CL CL SR CL CL CL CL LA LI SR
        reply         syn  SS ES SS SR SS SS SS SS SS LI SR
        reply         fin  TW FW SS TW FW TW CL TW LA LI TW
        reply         ack  ES ES SS ES FW TW CL CW LA ES ES
        reply         rst  CL CL SS CL CL TW CL CL CL CL CL
        request-only  syn  SR ES ES SR SR SR SR SR SR SR SR
        request-only  fin  CL FW SS TW FW TW CL CW LA LI TW
        request-only  ack  CL ES SS ES FW TW CL CW CL LI ES
        request-only  rst  CL CL CL SR CL CL CL CL LA LI CL";

    #[test]
    fn every_state_and_flag_leads_where_ipvs_goes() {
        let mut cases = 0;
        for line in TABLE.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<_> = line.split_whitespace().collect();
            let sight = match words[0] {
                "request" => Sight::Request,
                "reply" => Sight::Reply,
                _ => Sight::RequestOnly,
            };
            let flag = match words[1] {
                "syn" => flags::SYN,
                "fin" => flags::FIN,
                "ack" => flags::ACK,
                _ => flags::RST,
            };
            for (state, next) in words[2..].iter().enumerate() {
                let after = State(state as u32).after(protocol::TCP, sight, flag);
                assert_eq!(NAMES[after.0 as usize], *next, "{} {line}", NAMES[state]);
                cases += 1;
            }
        }
        assert_eq!(cases, 12 * 11);
    }

    #[test]
    fn flags_outweigh_each_other_as_in_ipvs() {
        let established = State::ESTABLISHED;
        let all = flags::RST | flags::SYN | flags::FIN | flags::ACK;
        let table = [
            (all, State::CLOSE),
            (all & !flags::RST, State::ESTABLISHED),
            (flags::FIN | flags::ACK, State::CLOSE_WAIT),
            (flags::ACK, State::ESTABLISHED),
            (0, State::CLOSE),
        ];
        for (seen, after) in table {
            assert_eq!(
                established.after(protocol::TCP, Sight::Request, seen),
                after,
                "{seen:#x}"
            );
        }
    }

    #[test]
    fn udp_has_one_state() {
        assert_eq!(
            State::NONE.after(protocol::UDP, Sight::Request, 0),
            State::UDP
        );
        assert!(!State::UDP.is_active());
    }
}
