//! The histories that are recorded, by what they are about.

mod caches;
mod ends;
mod hashes;
mod limits;
mod loads;
mod persistence;
mod turns;

use super::history::{Event, History, Name, Step, Terms};

/// All of them, in the order of the file.
pub(super) fn all() -> Vec<History> {
    [
        turns::histories(),
        loads::histories(),
        hashes::histories(),
        caches::histories(),
        limits::histories(),
        persistence::histories(),
        ends::histories(),
    ]
    .concat()
}
