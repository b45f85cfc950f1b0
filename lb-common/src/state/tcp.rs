//! The states of a TCP connection: the tables of `ip_vs_proto_tcp.c`.

use super::{Sight, State};
use crate::{nibbles::Nibbles, wire::tcp::flags};

/// The states of TCP besides [`State::NONE`]. The numbers are those of IPVS.
impl State {
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
}

/// The state that a segment with these flags leads to.
#[inline(always)]
pub(super) const fn after(state: State, sight: Sight, flags: u8) -> State {
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
        return State::CLOSE;
    };
    State(row.at(state.0) as u32)
}

/// The rows of one direction: the next state for each of the eleven.
#[derive(Clone, Copy)]
struct Rows {
    syn: Nibbles,
    fin: Nibbles,
    ack: Nibbles,
    rst: Nibbles,
}

const ES: u8 = 1;
const SS: u8 = 2;
const SR: u8 = 3;
const FW: u8 = 4;
const TW: u8 = 5;
const CL: u8 = 6;
const CW: u8 = 7;
const LA: u8 = 8;
const LI: u8 = 9;

const fn row(next: [u8; 11]) -> Nibbles {
    Nibbles::new(next)
}

//                      NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
const INPUT: Rows = Rows {
    syn: row([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]),
    fin: row([CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW]),
    ack: row([ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]),
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
    ack: row([ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]),
    rst: row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL]),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol;

    const NAMES: [&str; 11] = [
        "NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA",
    ];

    /// The tables of `ip_vs_proto_tcp.c`, as text.
    const TABLE: &str = "
        request       syn  SR ES ES SR SR SR SR SR SR SR SR
        request       fin  CL CW SS TW TW TW CL CW LA LI TW
        request       ack  ES ES SS ES FW TW CL CW CL LI ES
        request       rst  CL CL CL SR CL CL CL CL LA LI SR
        reply         syn  SS ES SS SR SS SS SS SS SS LI SR
        reply         fin  TW FW SS TW FW TW CL TW LA LI TW
        reply         ack  ES ES SS ES FW TW CL CW LA ES ES
        reply         rst  CL CL SS CL CL TW CL CL CL CL CL
        request-only  syn  SR ES ES SR SR SR SR SR SR SR SR
        request-only  fin  CL FW SS TW FW TW CL CW LA LI TW
        request-only  ack  ES ES SS ES FW TW CL CW CL LI ES
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
}
