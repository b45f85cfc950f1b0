//! `ipvsadm` beside ipvsadm 1.31: what it prints, what it asks for, how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod director;
mod fixture;
mod golden;
mod listings;
mod mutations;
mod recorded;
mod restore;
mod runs;
mod socket;
