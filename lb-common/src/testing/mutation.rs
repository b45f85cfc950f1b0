//! Packets that are not quite right.

use std::sync::LazyLock;

use super::{Case, FRONT, Lot, Site, answers, fuzz::LEAST, table};
use crate::{
    lease::Lease,
    maps::SchedulerKind,
    verdict::Verdict,
    wire::protocol::{TCP, UDP},
};

/// Bytes up to here are changed: all headers are in front of it.
const HEADERS: usize = 100;
/// What a byte is changed to, besides its neighbours.
const VALUES: [u8; 2] = [0, 0xff];

/// All packets of the packet table and of the table of answers, with the interface that each comes in
/// by.
#[must_use]
pub fn corpus() -> &'static [(u32, Vec<u8>)] {
    static CORPUS: LazyLock<Vec<(u32, Vec<u8>)>> = LazyLock::new(collect);
    &CORPUS
}

/// The rows of the packet table, and the packets of the table of answers where nobody serves them:
/// what strange packets are bred from. What becomes of the latter is not told.
#[must_use]
pub fn seeds() -> Vec<Case> {
    let mut refusing = Site::default();
    for protocol in [TCP, UDP] {
        for address in ["192.0.2.10:80", "[2001:db8:a::10]:80"] {
            refusing = refusing.service(protocol, address, SchedulerKind::TURNS, &[]);
        }
    }
    let asked = answers().into_iter().map(|asked| Case {
        name: asked.name,
        site: refusing.clone(),
        before: Vec::new(),
        lease: Lease::NONE,
        interface: FRONT,
        output: asked.input.clone(),
        input: asked.input,
        verdict: Ok(Verdict::Pass),
        answered: None,
    });
    table().into_iter().chain(asked).collect()
}

fn collect() -> Vec<(u32, Vec<u8>)> {
    let mut corpus = Vec::new();
    for case in seeds() {
        corpus.extend(case.before);
        corpus.push((case.interface, case.input));
    }
    corpus.retain(|(_, frame)| frame.len() >= LEAST);
    corpus.sort();
    corpus.dedup();
    corpus
}

/// Calls `visit` with every packet that differs from this one by a single byte among the first 100, by
/// its end, or by one of its lengths.
pub fn neighbours(frame: &[u8], mut visit: impl FnMut(&[u8])) {
    let mut changed = frame.to_vec();
    for at in 0..frame.len().min(HEADERS) {
        let byte = frame[at];
        let next = [byte.wrapping_add(1), byte ^ 0x40];
        for value in VALUES.into_iter().chain(next) {
            if value != byte {
                changed[at] = value;
                visit(&changed);
            }
        }
        changed[at] = byte;
    }
    for length in LEAST..frame.len().min(HEADERS + 40) {
        visit(&frame[..length]);
    }
    for surplus in [1, 2, 40] {
        changed.resize(frame.len() + surplus, 0xee);
        visit(&changed);
    }
    changed.truncate(frame.len());
    // Pairs of bytes that are lengths, offsets and fragment fields somewhere.
    for at in (LEAST..frame.len().min(HEADERS).saturating_sub(1)).step_by(2) {
        for value in [0_u16, 7, 20, 0x2000, 0x1fff, 0xfff8] {
            changed[at..at + 2].copy_from_slice(&value.to_be_bytes());
            visit(&changed);
        }
        changed[at..at + 2].copy_from_slice(&frame[at..at + 2]);
    }
}

/// Changes a packet a little, as chance will have it.
pub fn mutate(lot: &mut Lot, frame: &mut Vec<u8>) {
    for _ in 0..=lot.below(2) {
        match lot.below(10) {
            0 => frame.truncate(LEAST + lot.below(frame.len() - LEAST + 1)),
            1 => {
                let surplus = 1 + lot.below(20);
                frame.extend(lot.bytes(surplus));
            }
            2..=5 => {
                let at = lot.below(frame.len().min(HEADERS));
                frame[at] ^= 1 << lot.below(8);
            }
            _ => {
                let at = lot.below(frame.len().min(HEADERS));
                frame[at] = lot.of(&VALUES);
            }
        }
    }
}
