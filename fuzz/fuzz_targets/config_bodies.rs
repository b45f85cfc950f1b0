//! Bodies about lvs.cf of any content, as somebody may send them to the daemon: check, replace, probe.
#![no_main]

#[path = "../../lb-control/tests/config_bodies/body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::take(data));
