//! What becomes of packets and connections when there is no server, or none any more.

use super::{Event, History, Step};

pub(super) fn histories() -> Vec<History> {
    vec![
        History::udp("UDP to a service without servers", "rr").connect(0..1),
        History::tcp("TCP to a service without servers", "rr")
            .connect(0..1)
            .again(1..2),
        History::udp6("UDP to a service without servers, IPv6", "rr").connect(0..1),
        History::tcp6("TCP to a service without servers, IPv6", "rr").connect(0..1),
        History::tcp("an ACK without a connection", "rr")
            .weights(&[1])
            .again(0..1),
        History::tcp("sloppy_tcp: an ACK begins a connection", "rr")
            .event(Event::Setting("sloppy_tcp", "1"))
            .weights(&[1])
            .again(0..1)
            .reset(1..2),
        weight_0(),
        removed(
            "a removed server's connections are silent, and go on if it comes back",
            "0",
        ),
        removed(
            "expire_nodest_conn: a removed server's connections end",
            "1",
        ),
        ports_used_again(),
        closing(),
        one_packet("ops: every datagram is scheduled", "rr"),
        one_packet("ops: nothing is counted", "wlc"),
    ]
}

fn weight_0() -> History {
    History::tcp("a server of weight 0 keeps its connections", "rr")
        .weights(&[1, 1])
        .established(0..2)
        .weight('a', 0)
        .weight('b', 0)
        .again(0..2)
        .connect(2..3)
}

fn removed(title: &str, expire: &'static str) -> History {
    History::tcp(title, "rr")
        .event(Event::Setting("expire_nodest_conn", expire))
        .weights(&[1, 1])
        .established(0..2)
        .remove('a')
        .again(0..2)
        .add('a', 1)
        .again(0..2)
        .connect(2..4)
}

fn ports_used_again() -> History {
    History::tcp("a client uses its port again", "rr")
        .weights(&[1, 1, 1])
        .established([0])
        .remark("a SYN while it is established")
        .connect([0])
        .fin([0])
        .remark("a SYN after a FIN")
        .connect([0])
        .again([0])
        .reset([0])
        .remark("a SYN after a reset")
        .connect([0])
}

fn closing() -> History {
    History::tcp("states by a client's segments, masquerading", "rr")
        .weights(&[1])
        .connect([0])
        .again([0])
        .fin([0])
        .again([0])
        .connect([1])
        .fin([1])
        .connect([2])
        .reset([2])
        .again([2])
        .connect([3])
        .connect([3])
        .counts()
}

fn one_packet(title: &str, scheduler: &'static str) -> History {
    let history = History::udp(title, scheduler)
        .one_packet()
        .weights(&[1, 1, 1]);
    let tuple = |step, history: History| {
        let client = std::net::SocketAddr::from(([203, 0, 113, 1], 2000));
        let front = std::net::SocketAddr::from(([10, 0, 0, 100], 80));
        history.packet(step, client, front)
    };
    (0..6)
        .fold(tuple(Step::New, history), |history, _| {
            tuple(Step::Again, history)
        })
        .counts()
}
