//! Thresholds: when a server has too many connections, and when it has few enough again.

use super::{Event, History, Name, Terms};

pub(super) fn histories() -> Vec<History> {
    vec![
        upper_only(),
        upper_and_lower(),
        lower_is_as_upper(),
        active_ones_count_too(),
        set_later(),
        every_server_is_full(),
        fallback_of_sh(),
        fallback_of_mh(),
    ]
}

fn terms(weight: u32, upper: u32, lower: u32) -> Terms {
    Terms {
        weight,
        upper,
        lower,
    }
}

/// `a` has thresholds, `b` has none.
fn two(title: &str, upper: u32, lower: u32) -> History {
    History::udp(title, "rr")
        .add_with('a', terms(1, upper, lower))
        .add('b', 1)
}

fn set(history: History, name: Name, terms: Terms) -> History {
    history.event(Event::Set(name, terms))
}

fn upper_only() -> History {
    two("upper threshold 8 and no lower one", 8, 0)
        .connect(0..22)
        .counts()
        .end([1])
        .connect(22..24)
        .end([3])
        .connect(24..26)
        .end([5])
        .connect(26..28)
        .counts()
}

fn upper_and_lower() -> History {
    two("upper threshold 5, lower 2", 5, 2)
        .connect(0..14)
        .counts()
        .end([1])
        .connect(14..16)
        .end([3])
        .connect(16..18)
        .end([5])
        .connect(18..20)
        .end([7])
        .connect(20..24)
        .counts()
}

fn lower_is_as_upper() -> History {
    two("upper threshold 3, lower 3", 3, 3)
        .connect(0..10)
        .counts()
        .end([1])
        .connect(10..14)
        .counts()
}

fn active_ones_count_too() -> History {
    History::tcp("upper threshold 4, active and inactive connections", "rr")
        .add_with('a', terms(1, 4, 0))
        .add('b', 1)
        .established(0..4)
        .connect(4..12)
        .counts()
        .fin([1])
        .connect(12..14)
        .counts()
}

fn set_later() -> History {
    let history = two("thresholds are set when connections are there", 0, 0).connect(0..12);
    let history = set(history, 'a', terms(1, 4, 0)).connect(12..16).counts();
    let history = set(history, 'a', terms(1, 7, 0)).connect(16..20).counts();
    set(history, 'a', terms(1, 0, 0)).connect(20..24).counts()
}

fn every_server_is_full() -> History {
    let history = History::udp("every server is full", "wlc");
    history
        .add_with('a', terms(1, 2, 1))
        .add_with('b', terms(3, 3, 1))
        .connect(0..8)
        .counts()
        .remark("a packet of a connection that is there")
        .again([0, 4])
        .end([0, 1, 2, 3, 4])
        .connect(8..12)
}

fn fallback_of_sh() -> History {
    let history = History::udp("sh-fallback, a server is full", "sh").flags("sh-fallback");
    history
        .add_with('a', terms(1, 5, 0))
        .add('b', 1)
        .add('c', 1)
        .connect(0..40)
}

fn fallback_of_mh() -> History {
    let history = History::udp("mh-fallback, a server is full", "mh").flags("mh-fallback");
    history
        .add_with('a', terms(1, 5, 0))
        .add('b', 1)
        .add('c', 1)
        .connect(0..40)
}
