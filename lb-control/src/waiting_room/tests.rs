//! Histories of the room: who comes when, and who leaves when.

use lb_common::testing::{cut, udp};

use super::*;

/// What happens at a time, in milliseconds from the beginning.
enum Step {
    /// The n-th fragment of the datagram of this number comes too early.
    Comes(u64, u32, usize),
    /// The first fragment of the datagram of this number comes.
    First(u64, u32),
    /// At this time those leave that are said, in this order; so many were in vain until then.
    Leave(u64, &'static [(u32, usize)], u64),
}

use Step::{Comes, First, Leave};

const LIMITS: Limits = Limits {
    frames: 4,
    bytes: 4_000,
    patience: Duration::from_secs(1),
};

fn fragment(number: u32, index: usize) -> Frame {
    let whole = udp("198.51.100.7:4321", "192.0.2.10:80").payload(&[b'x'; 2_400]);
    Frame {
        interface: 7,
        bytes: cut(&whole.build(), number, &[800, 1_600])[index].clone(),
    }
}

fn run(name: &str, steps: &[Step]) {
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let mut room = WaitingRoom::new(LIMITS);
    let mut firsts = Vec::new();
    let mut in_vain = 0;
    for step in steps {
        match step {
            Comes(time, number, index) => room.enter(fragment(*number, *index), at(*time)),
            First(time, number) => firsts.push((*time, fragment(*number, 0).datagram())),
            Leave(time, expected, vain) => {
                let left = room.look(at(*time), |datagram| {
                    firsts
                        .iter()
                        .any(|(came, first)| came <= time && *first == Some(*datagram))
                });
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(number, index)| fragment(*number, *index))
                    .collect();
                assert_eq!(left, expected, "{name}: at {time} ms");
                in_vain += room.take_in_vain();
                assert_eq!(in_vain, *vain, "{name}: at {time} ms");
            }
        }
    }
    let bytes: usize = room
        .guests
        .iter()
        .map(|guest| guest.frame.bytes.len())
        .sum();
    assert_eq!(room.bytes, bytes, "{name}");
}

#[test]
fn who_leaves_when() {
    let table: &[(&str, &[Step])] = &[
        (
            "the first fragment is there already",
            &[
                First(0, 1),
                Comes(0, 1, 1),
                Leave(0, &[(1, 1)], 0),
                Leave(9, &[], 0),
            ],
        ),
        (
            "it comes later, and all leave in the order in which they came",
            &[
                Comes(0, 1, 2),
                Comes(1, 1, 1),
                Leave(1, &[], 0),
                First(2, 1),
                Leave(3, &[(1, 2), (1, 1)], 0),
            ],
        ),
        (
            "only those of its datagram leave",
            &[
                Comes(0, 1, 2),
                Comes(0, 2, 2),
                Leave(0, &[], 0),
                First(1, 2),
                Leave(2, &[(2, 2)], 0),
                First(3, 1),
                Leave(4, &[(1, 2)], 0),
            ],
        ),
        (
            "it never comes",
            &[
                Comes(0, 1, 1),
                Leave(0, &[], 0),
                Leave(500, &[], 0),
                Leave(999, &[], 0),
                Leave(1_100, &[], 1),
                First(1_101, 1),
                Leave(1_200, &[], 1),
            ],
        ),
        (
            "one more than there is room for drives out who came first",
            &[
                Comes(0, 1, 2),
                Comes(0, 2, 2),
                Comes(0, 3, 2),
                Comes(0, 4, 2),
                Leave(0, &[], 0),
                Comes(1, 5, 2),
                First(1, 1),
                First(1, 5),
                Leave(1, &[(5, 2)], 1),
            ],
        ),
        (
            "so does one that is too large with the others",
            &[
                Comes(0, 1, 1),
                Comes(0, 2, 1),
                Comes(0, 3, 1),
                Comes(0, 4, 1),
                Comes(0, 5, 1),
                Leave(0, &[], 1),
            ],
        ),
        (
            "one that comes back has waited already",
            &[
                Comes(0, 1, 1),
                Leave(0, &[], 0),
                First(800, 1),
                Leave(900, &[(1, 1)], 0),
                Comes(901, 1, 1),
                Leave(901, &[(1, 1)], 0),
                Comes(902, 1, 1),
                Leave(1_001, &[], 1),
            ],
        ),
        (
            "after two lives it is a stranger again",
            &[
                First(0, 1),
                Comes(0, 1, 1),
                Leave(0, &[(1, 1)], 0),
                Comes(2_000, 1, 1),
                Leave(2_000, &[(1, 1)], 0),
            ],
        ),
    ];
    for (name, steps) in table {
        run(name, steps);
    }
}

#[test]
fn looks_become_rarer() {
    let start = Instant::now();
    let mut room = WaitingRoom::new(LIMITS);
    assert_eq!(room.next_look(), None);
    room.enter(fragment(1, 1), start);
    let mut looks = Vec::new();
    while let Some(look) = room.next_look() {
        looks.push((look - start).as_millis());
        assert_eq!(room.look(look, |_| false), []);
    }
    assert_eq!(looks[..9], [0, 1, 2, 4, 8, 16, 32, 64, 128]);
    assert!(looks.len() < 30, "{looks:?}");
    assert_eq!(looks.last(), Some(&1_024));
}

#[test]
fn a_datagram_is_asked_for_once_in_a_look() {
    let now = Instant::now();
    let mut room = WaitingRoom::new(LIMITS);
    room.enter(fragment(1, 1), now);
    room.enter(fragment(1, 2), now);
    let mut asked = 0;
    let left = room.look(now, |_| {
        asked += 1;
        true
    });
    assert_eq!((left.len(), asked), (2, 1));
}

#[test]
fn what_is_no_ip_packet_is_turned_away() {
    let mut room = WaitingRoom::new(LIMITS);
    for length in 0..34 {
        let mut frame = fragment(1, 1);
        frame.bytes.truncate(length);
        room.enter(frame, Instant::now());
    }
    assert_eq!(room.take_in_vain(), 34);
    assert_eq!(room.next_look(), None);
}
