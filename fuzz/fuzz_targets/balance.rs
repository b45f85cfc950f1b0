//! Frames of any content through the pipeline.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_common::testing::fuzz(data));
