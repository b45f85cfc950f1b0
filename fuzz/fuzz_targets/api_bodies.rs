//! Bodies of any content, as somebody may send them to the daemon.
#![no_main]

#[path = "../../lb-control/tests/api_bodies/body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::take(data));
