//! Schedulers that remember whose turn it is.

use super::History;

pub(super) fn histories() -> Vec<History> {
    let sets: [(&str, &[u32]); 8] = [
        ("equal weights", &[1, 1, 1]),
        ("4, 3, 2", &[4, 3, 2]),
        ("one is much heavier", &[1, 5, 1]),
        ("a common divisor", &[10, 20, 30]),
        ("ascending", &[1, 2, 3, 4]),
        ("descending", &[7, 3, 2, 1]),
        ("one of weight 0", &[3, 0, 2]),
        ("one server", &[3]),
    ];
    let weighted = sets.map(|(title, weights)| {
        History::udp(&format!("wrr, {title}"), "wrr")
            .weights(weights)
            .connect(0..26)
    });
    let mut histories = vec![
        History::udp("rr", "rr").weights(&[1, 1, 1]).connect(0..10),
        History::udp("rr does not look at weights but 0", "rr")
            .weights(&[2, 0, 5, 1])
            .connect(0..9),
        rr_with_changes(),
        rr_without_the_last_one(),
        History::udp6("rr, IPv6", "rr")
            .weights(&[1, 1, 1])
            .connect(0..7),
    ];
    histories.extend(weighted);
    histories.extend([
        wrr_with_changes(),
        wrr_with_servers_that_come_and_go(),
        wrr_until_nobody_is_left(),
    ]);
    histories
}

fn rr_with_changes() -> History {
    History::udp("rr, servers change between connections", "rr")
        .weights(&[1, 1, 1])
        .connect(0..4)
        .weight('b', 0)
        .connect(4..8)
        .weight('b', 1)
        .connect(8..12)
        .add('d', 1)
        .connect(12..18)
        .remove('a')
        .connect(18..23)
        .add('a', 1)
        .connect(23..29)
}

fn rr_without_the_last_one() -> History {
    let after = |history: History, client, name| {
        history
            .connect([client])
            .remove(name)
            .connect(client + 1..client + 5)
            .add(name, 1)
            .connect(client + 5..client + 10)
    };
    let history =
        History::udp("rr, the server that was chosen last is removed", "rr").weights(&[1, 1, 1, 1]);
    let history = after(history, 0, 'd');
    let history = after(history, 10, 'c');
    after(history, 20, 'a')
}

fn wrr_with_changes() -> History {
    History::udp("wrr, weights change between connections", "wrr")
        .weights(&[4, 3, 2])
        .connect(0..5)
        .weight('a', 1)
        .connect(5..15)
        .weight('c', 8)
        .connect(15..30)
        .weight('b', 0)
        .connect(30..40)
        .weight('b', 6)
        .connect(40..60)
        .weight('a', 2)
        .weight('c', 4)
        .connect(60..75)
}

fn wrr_with_servers_that_come_and_go() -> History {
    History::udp("wrr, servers come and go", "wrr")
        .weights(&[3, 2])
        .connect(0..3)
        .add('c', 5)
        .connect(3..16)
        .remove('a')
        .connect(16..24)
        .remove('c')
        .connect(24..27)
        .add('a', 4)
        .add('c', 2)
        .connect(27..40)
}

fn wrr_until_nobody_is_left() -> History {
    History::udp("wrr, all weights 0 and back", "wrr")
        .weights(&[2, 1])
        .connect(0..4)
        .weight('a', 0)
        .weight('b', 0)
        .connect(4..6)
        .weight('b', 3)
        .connect(6..9)
        .weight('a', 1)
        .connect(9..18)
}
