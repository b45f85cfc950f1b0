//! Whatever a server may answer to its nanny, in every protocol that nannies speak.
#![no_main]

use std::cell::LazyCell;

use lb_control::health::replies;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: LazyCell<Runtime> = LazyCell::new(|| {
        Builder::new_current_thread().enable_time().build().expect("a runtime")
    });
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    RUNTIME.with(|runtime| drop(runtime.block_on(replies::heard(data))));
});
