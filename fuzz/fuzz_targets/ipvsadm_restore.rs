//! Lists of commands, as `ipvsadm -R` reads them.
#![no_main]

use lb_control::ipvsadm::{NoNames, read};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match read("ipvsadm", &text, &NoNames) {
        Ok(lines) => assert!(lines.len() <= text.split('\n').count()),
        Err(complaint) => assert!(complaint.text.starts_with("line ")),
    }
});
