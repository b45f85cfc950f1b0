//! Clients that come back to their server.

use std::net::SocketAddr;

use super::{Event, History, Step};

pub(super) fn histories() -> Vec<History> {
    vec![
        by_address(),
        by_network(),
        by_network6(),
        by_mark(),
        weight_0("a server of weight 0 keeps its persistent clients", "0"),
        weight_0("expire_quiescent_template: it does not", "1"),
        removed(),
        forgotten(),
    ]
}

/// A new connection of a client of 203.0.113.0/24.
fn from(history: History, host: u8, port: u16) -> History {
    history.connect_from(SocketAddr::from(([203, 0, 113, host], port)))
}

fn all_from(history: History, clients: &[(u8, u16)]) -> History {
    clients
        .iter()
        .fold(history, |history, (host, port)| from(history, *host, *port))
}

fn by_address() -> History {
    let history = History::udp("persistent by address", "rr")
        .persistent(300, None)
        .weights(&[1, 1, 1]);
    all_from(
        history,
        &[
            (1, 2000),
            (2, 2000),
            (1, 2001),
            (3, 2000),
            (4, 2000),
            (2, 2001),
            (1, 2002),
            (5, 2000),
        ],
    )
}

fn by_network() -> History {
    let history = History::udp("persistent by network", "rr")
        .persistent(300, Some("255.255.255.240"))
        .weights(&[1, 1, 1]);
    all_from(
        history,
        &[
            (1, 2000),
            (15, 2000),
            (16, 2000),
            (31, 2000),
            (32, 2000),
            (2, 2000),
            (48, 2000),
        ],
    )
}

fn by_network6() -> History {
    let client = |network: u16, host: u16| {
        SocketAddr::from(([0x2001, 0xdb8, 0xf, network, 0, 0, 0, host], 2000))
    };
    History::udp6("persistent by network, IPv6", "rr")
        .persistent(300, Some("64"))
        .weights(&[1, 1, 1])
        .connect_from(client(1, 1))
        .connect_from(client(1, 2))
        .connect_from(client(2, 1))
        .connect_from(client(3, 1))
        .connect_from(client(2, 9))
        .connect_from(client(4, 1))
}

fn by_mark() -> History {
    History::mark("persistent by mark: all destinations together", "rr")
        .persistent(300, None)
        .weights(&[1, 1, 1])
        .connect_to(0..4)
        .connect(1..3)
        .connect_to(4..6)
}

fn weight_0(title: &str, expire: &'static str) -> History {
    let history = History::udp(title, "rr")
        .persistent(300, None)
        .event(Event::Setting("expire_quiescent_template", expire))
        .weights(&[1, 1]);
    let history = all_from(history, &[(1, 2000), (2, 2000)])
        .weight('a', 0)
        .weight('b', 0);
    let history = all_from(history, &[(1, 2001), (2, 2001), (3, 2000)]).weight('a', 1);
    all_from(history, &[(1, 2002), (2, 2002), (3, 2001)])
}

fn removed() -> History {
    let history = History::udp("the server of a persistent client is removed", "rr")
        .persistent(300, None)
        .weights(&[1, 1]);
    let history = all_from(history, &[(1, 2000), (2, 2000)]).remove('a');
    let history = all_from(history, &[(1, 2001), (2, 2001)]).add('a', 1);
    all_from(history, &[(1, 2002), (2, 2002), (3, 2000)])
}

fn forgotten() -> History {
    let client = SocketAddr::from(([203, 0, 113, 1], 2000));
    let front = SocketAddr::from(([10, 0, 0, 100], 80));
    let history = History::udp("persistence ends after its timeout", "rr")
        .persistent(2, None)
        .weights(&[1, 1, 1])
        .packet(Step::New, client, front)
        .event(Event::End(vec![super::super::history::Tuple {
            client,
            front,
        }]))
        .event(Event::Idle);
    all_from(history, &[(1, 2001), (1, 2002)])
}
