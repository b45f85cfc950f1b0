//! Schedulers that look at the connections that servers have.

use super::History;

pub(super) fn histories() -> Vec<History> {
    let mut histories = Vec::new();
    for (scheduler, weights) in [
        ("lc", [1, 1, 1]),
        ("lc", [1, 4, 2]),
        ("wlc", [1, 1, 1]),
        ("wlc", [1, 4, 2]),
        ("wlc", [3, 0, 2]),
        ("sed", [1, 1, 1]),
        ("sed", [1, 4, 2]),
        ("sed", [3, 0, 2]),
        ("nq", [1, 1, 1]),
        ("nq", [1, 4, 2]),
        ("nq", [3, 0, 2]),
    ] {
        let title = format!("{scheduler}, weights {weights:?}");
        histories.push(datagrams(&title, scheduler, &weights));
        histories.push(connections(&title, scheduler, &weights));
    }
    for scheduler in ["lc", "wlc", "sed", "nq"] {
        histories.push(ups_and_downs(scheduler));
    }
    histories.extend([
        History::tcp6("wlc, IPv6", "wlc")
            .weights(&[1, 4, 2])
            .established(0..12)
            .counts(),
        History::tcp("wlc, a half-open connection is active", "wlc")
            .weights(&[1, 1])
            .closing([0])
            .connect([1])
            .connect(2..6)
            .counts(),
        one_active_or_many_inactive(),
        failover(),
        History::udp("fo, equal weights", "fo")
            .weights(&[2, 2, 1])
            .connect(0..4),
        overflow(),
        History::udp("ovf, UDP is never active and does not flow over", "ovf")
            .weights(&[2, 1])
            .connect(0..8)
            .counts(),
    ]);
    histories
}

/// Connections that stay inactive.
fn datagrams(title: &str, scheduler: &'static str, weights: &[u32]) -> History {
    History::udp(&format!("{title}, inactive"), scheduler)
        .weights(weights)
        .connect(0..24)
        .counts()
}

/// Connections that are active when the next one comes.
fn connections(title: &str, scheduler: &'static str, weights: &[u32]) -> History {
    History::tcp(&format!("{title}, active"), scheduler)
        .weights(weights)
        .established(0..24)
        .counts()
}

fn ups_and_downs(scheduler: &'static str) -> History {
    History::tcp(
        &format!("{scheduler}, connections and servers change"),
        scheduler,
    )
    .weights(&[2, 1, 3])
    .established(0..9)
    .counts()
    .fin([0, 3, 5])
    .connect(9..12)
    .reset([1, 4])
    .connect(12..15)
    .counts()
    .weight('c', 1)
    .established(15..20)
    .weight('a', 0)
    .established(20..24)
    .add('d', 2)
    .established(24..30)
    .end([2, 6, 7])
    .weight('a', 4)
    .established(30..36)
    .remove('b')
    .established(36..42)
    .counts()
}

fn one_active_or_many_inactive() -> History {
    History::tcp(
        "wlc, one active connection counts as 256 inactive ones",
        "wlc",
    )
    .weights(&[1, 1])
    .established([0])
    .closing(1..262)
    .counts()
}

fn failover() -> History {
    History::udp("fo, the heaviest server gets all", "fo")
        .weights(&[1, 5, 3])
        .connect(0..3)
        .weight('b', 0)
        .connect(3..5)
        .weight('a', 7)
        .connect(5..7)
        .remove('a')
        .connect(7..9)
        .weight('c', 0)
        .connect(9..10)
        .add('a', 1)
        .connect(10..12)
}

fn overflow() -> History {
    History::tcp(
        "ovf, the heaviest server until it has more connections than weight",
        "ovf",
    )
    .weights(&[1, 3, 2])
    .established(0..12)
    .counts()
    .fin([0, 1])
    .established(12..16)
    .end([2, 4])
    .established(16..20)
    .counts()
}
