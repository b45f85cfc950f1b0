//! Command lines of ipvsadm; words are ended by bytes of zero, as the kernel hands them over.
#![no_main]

use lb_control::ipvsadm::{NoNames, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let words: Vec<String> = data
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    if let Err(complaint) = parse("ipvsadm", &words, &NoNames) {
        assert_ne!(complaint.status, 0);
        assert!(!complaint.text.is_empty());
    }
});
