//! The states of an SCTP association: the tables of `ip_vs_proto_sctp.c`.

use super::{Sight, State};
use crate::{nibbles::Nibbles, wire::sctp::event};

/// The states of SCTP, in the order of IPVS. They are those of the real server.
impl State {
    /// Nothing seen yet.
    pub const SCTP_NONE: Self = Self(16);
    /// The client's first INIT was forwarded. A server that does not answer is soon forgotten.
    pub const SCTP_INIT1: Self = Self(17);
    /// Another INIT was.
    pub const SCTP_INIT: Self = Self(18);
    /// The real server has sent its cookie.
    pub const SCTP_COOKIE_SENT: Self = Self(19);
    /// The client has brought it back.
    pub const SCTP_COOKIE_REPLIED: Self = Self(20);
    /// The real server opens an association, and awaits a cookie.
    pub const SCTP_COOKIE_WAIT: Self = Self(21);
    /// The client has sent its cookie.
    pub const SCTP_COOKIE: Self = Self(22);
    /// The real server has brought it back.
    pub const SCTP_COOKIE_ECHOED: Self = Self(23);
    /// The association stands: the flow counts as active.
    pub const SCTP_ESTABLISHED: Self = Self(24);
    /// The real server has finished.
    pub const SCTP_SHUTDOWN_SENT: Self = Self(25);
    /// The client has finished.
    pub const SCTP_SHUTDOWN_RECEIVED: Self = Self(26);
    /// Both have; the client's last word is awaited.
    pub const SCTP_SHUTDOWN_ACK_SENT: Self = Self(27);
    /// An INIT was answered by ABORT.
    pub const SCTP_REJECTED: Self = Self(28);
    /// It is over.
    pub const SCTP_CLOSED: Self = Self(29);
}

/// The state that a packet of this [event] leads to. [`State::NONE`] is taken for
/// [`State::SCTP_NONE`]: of the number of a state only the lowest four bits count.
#[inline(always)]
pub(super) const fn after(state: State, sight: Sight, event: u8) -> State {
    let rows = match sight {
        Sight::Request => &INPUT,
        Sight::Reply => &OUTPUT,
        Sight::RequestOnly => &INPUT_ONLY,
    };
    // Below sixteen: this cannot fail.
    let row = rows[(event & 0xf) as usize];
    State(State::SCTP_NONE.0 + row.at(state.0) as u32)
}

/// The rows of one direction, by event: the next state for each of the fourteen, from
/// [`State::SCTP_NONE`] on. They are looked up in memory, so that the verifier has one way to follow
/// and not thirty.
type Rows = [Nibbles; 16];

/// Rows by event, that of DATA first: it also stands for what is no event.
const fn rows(given: [(u8, [u8; 14]); 10]) -> Rows {
    let mut rows = [Nibbles::new(given[0].1); 16];
    let mut at = 0;
    while at < given.len() {
        rows[given[at].0 as usize] = Nibbles::new(given[at].1);
        at += 1;
    }
    rows
}

const I1: u8 = 1;
const IN: u8 = 2;
const CS: u8 = 3;
const CR: u8 = 4;
const CW: u8 = 5;
const CO: u8 = 6;
const CE: u8 = 7;
const ES: u8 = 8;
const SS: u8 = 9;
const SR: u8 = 10;
const SA: u8 = 11;
const RJ: u8 = 12;
const CL: u8 = 13;

#[rustfmt::skip]
const INPUT: Rows = rows([
    //                         NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    (event::DATA,              [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::INIT,              [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN]),
    (event::INIT_ACK,          [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::COOKIE_ECHO,       [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::COOKIE_ACK,        [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL]),
    (event::SHUTDOWN,          [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL]),
    (event::SHUTDOWN_ACK,      [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL]),
    (event::SHUTDOWN_COMPLETE, [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL]),
    (event::ERROR,             [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL]),
    (event::ABORT,             [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL]),
]);
#[rustfmt::skip]
const OUTPUT: Rows = rows([
    //                         NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    (event::DATA,              [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::INIT,              [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW]),
    (event::INIT_ACK,          [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::COOKIE_ECHO,       [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL]),
    (event::COOKIE_ACK,        [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL]),
    (event::SHUTDOWN,          [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL]),
    (event::SHUTDOWN_ACK,      [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL]),
    (event::SHUTDOWN_COMPLETE, [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::ERROR,             [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::ABORT,             [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL]),
]);
#[rustfmt::skip]
const INPUT_ONLY: Rows = rows([
    //                         NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    (event::DATA,              [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::INIT,              [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN]),
    (event::INIT_ACK,          [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::COOKIE_ECHO,       [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::COOKIE_ACK,        [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL]),
    (event::SHUTDOWN,          [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL]),
    (event::SHUTDOWN_ACK,      [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL]),
    (event::SHUTDOWN_COMPLETE, [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL]),
    (event::ERROR,             [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
    (event::ABORT,             [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL]),
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol;

    const NAMES: [&str; 14] = [
        "NO", "I1", "IN", "CS", "CR", "CW", "CO", "CE", "ES", "SS", "SR", "SA", "RJ", "CL",
    ];
    /// In the order of their numbers, as the comments in IPVS call them.
    const EVENTS: [&str; 10] = [
        "d", "i", "i_a", "c_e", "c_a", "s", "s_a", "s_c", "err", "ab",
    ];

    /// The tables of `ip_vs_proto_sctp.c`, as text.
    const TABLE: &str = "
        request       d    ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
        request       i    I1 IN IN CS CR CW CO CE ES SS SR SA IN IN
        request       i_a  CW CW CW CS CR CO CO CE ES SS SR SA RJ CL
        request       c_e  CR IN IN CR CR CW CO CE ES SS SR SA RJ CL
        request       c_a  ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL
        request       s    SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
        request       s_a  CL IN IN CS CR CW CO CE ES CL SR CL RJ CL
        request       s_c  CL CL CL CS CR CW CO CE ES SS SR CL RJ CL
        request       err  CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL
        request       ab   CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
        reply         d    ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
        reply         i    CW CW CW CW CW CW CW CW ES CW CW CW CW CW
        reply         i_a  CS CS CS CS CR CW CO CE ES SS SR SA RJ CL
        reply         c_e  CE CE CE CE CE CE CE CE ES SS SR SA RJ CL
        reply         c_a  ES ES ES ES ES ES ES ES ES SS SR SA RJ CL
        reply         s    SS SS SS SS SS SS SS SS SS SS SR SA RJ CL
        reply         s_a  SA SA SA SA SA CW CO CE ES SA SA SA RJ CL
        reply         s_c  CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
        reply         err  CL CL CL CL CL CW CO CE ES SS SR SA RJ CL
        reply         ab   CL RJ CL CL CL CL CL CL CL CL CL CL CL CL
        request-only  d    ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL
        request-only  i    I1 IN IN IN IN IN CO CE ES SS SR SA IN IN
        request-only  i_a  CE CE CE CE CE CE CO CE ES SS SR SA RJ CL
        request-only  c_e  ES ES ES ES ES ES CO CE ES SS SR SA RJ CL
        request-only  c_a  ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL
        request-only  s    SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
        request-only  s_a  CL IN IN CS CR CW CO CE CL CL SR CL RJ CL
        request-only  s_c  CL CL CL CL CL CW CO CE ES SS CL CL RJ CL
        request-only  err  CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
        request-only  ab   CL CL CL CL CL RJ CL CL CL CL CL CL CL CL";

    #[test]
    fn every_state_and_event_leads_where_ipvs_goes() {
        let mut cases = 0;
        for line in TABLE.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<_> = line.split_whitespace().collect();
            let sight = match words[0] {
                "request" => Sight::Request,
                "reply" => Sight::Reply,
                _ => Sight::RequestOnly,
            };
            let event = EVENTS.iter().position(|event| *event == words[1]).unwrap() as u8;
            for (state, next) in words[2..].iter().enumerate() {
                let before = State(State::SCTP_NONE.0 + state as u32);
                let after = before.after(protocol::SCTP, sight, event);
                let number = after.0 - State::SCTP_NONE.0;
                assert_eq!(NAMES[number as usize], *next, "{} {line}", NAMES[state]);
                cases += 1;
            }
        }
        assert_eq!(cases, 3 * 10 * 14);
    }

    #[test]
    fn an_association_goes_through_its_states() {
        use Sight::{Reply, Request, RequestOnly};
        let table = [
            (
                "masqueraded",
                &[
                    (Request, event::INIT, State::SCTP_INIT1),
                    (Reply, event::INIT_ACK, State::SCTP_COOKIE_SENT),
                    (Request, event::COOKIE_ECHO, State::SCTP_COOKIE_REPLIED),
                    (Reply, event::COOKIE_ACK, State::SCTP_ESTABLISHED),
                    (Request, event::DATA, State::SCTP_ESTABLISHED),
                    (Request, event::SHUTDOWN, State::SCTP_SHUTDOWN_RECEIVED),
                    (Reply, event::SHUTDOWN_ACK, State::SCTP_SHUTDOWN_ACK_SENT),
                    (Request, event::SHUTDOWN_COMPLETE, State::SCTP_CLOSED),
                ][..],
            ),
            (
                "only requests are seen",
                &[
                    (RequestOnly, event::INIT, State::SCTP_INIT1),
                    (RequestOnly, event::COOKIE_ECHO, State::SCTP_ESTABLISHED),
                    (RequestOnly, event::SHUTDOWN, State::SCTP_SHUTDOWN_RECEIVED),
                    (RequestOnly, event::SHUTDOWN_COMPLETE, State::SCTP_CLOSED),
                ][..],
            ),
            (
                "refused",
                &[
                    (Request, event::INIT, State::SCTP_INIT1),
                    (Reply, event::ABORT, State::SCTP_REJECTED),
                    (Request, event::INIT, State::SCTP_INIT),
                ][..],
            ),
        ];
        for (name, steps) in table {
            let mut state = State::NONE;
            for (sight, event, expected) in steps {
                state = state.after(protocol::SCTP, *sight, *event);
                assert_eq!(state, *expected, "{name}: event {event}");
            }
        }
    }

    #[test]
    fn an_event_that_is_none_is_data() {
        let after = State::NONE.after(protocol::SCTP, Sight::Request, 10);
        assert_eq!(after, State::SCTP_ESTABLISHED);
    }
}
