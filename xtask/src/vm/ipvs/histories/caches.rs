//! Schedulers for caches: a destination stays with the server that had it before.

use super::History;

pub(super) fn histories() -> Vec<History> {
    ["lblc", "lblcr"]
        .into_iter()
        .flat_map(|scheduler| {
            [
                datagrams(scheduler),
                overload(scheduler),
                relief(scheduler),
                changes(scheduler),
            ]
        })
        .collect()
}

fn datagrams(scheduler: &'static str) -> History {
    History::mark(&format!("{scheduler}, inactive connections"), scheduler)
        .weights(&[1, 2, 1])
        .connect_to(0..12)
        .connect_to(0..12)
        .counts()
        .connect_to([3; 8])
        .counts()
}

fn overload(scheduler: &'static str) -> History {
    History::mark_tcp(
        &format!("{scheduler}, one destination is too much for its server"),
        scheduler,
    )
    .weights(&[2, 4, 2])
    .established_to(0..6)
    .counts()
    .established_to([2; 14])
    .counts()
    .established_to([0; 10])
    .counts()
    .established_to(0..6)
    .counts()
}

fn relief(scheduler: &'static str) -> History {
    History::mark_tcp(
        &format!("{scheduler}, there is an idle server besides"),
        scheduler,
    )
    .weights(&[2, 9, 1])
    .established_to([0; 6])
    .counts()
    .established_to([1; 12])
    .counts()
    .established_to([0, 1, 2, 3, 0, 1, 2, 3])
    .counts()
}

fn changes(scheduler: &'static str) -> History {
    History::mark(&format!("{scheduler}, servers change"), scheduler)
        .weights(&[1, 1, 1])
        .connect_to(0..9)
        .weight('a', 0)
        .connect_to(0..9)
        .weight('a', 1)
        .connect_to(0..9)
        .remove('b')
        .connect_to(0..9)
        .add('d', 3)
        .connect_to(0..12)
        .counts()
}
