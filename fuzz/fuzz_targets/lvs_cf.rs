//! Files of any content through the lexer, the parser and all that lvs.cf may mean, and what is said of them.
#![no_main]

use lb_control::config::{self, Colour, names::Names};

/// No name server is asked.
struct NoNames;

impl Names for NoNames {
    fn host(&mut self, _: &str) -> Option<std::net::IpAddr> {
        None
    }

    fn service(&mut self, _: &str) -> Option<u16> {
        None
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let said = config::parse_with("lvs.cf", data, &mut NoNames);
    assert!(said.site.is_some() || !said.diagnostics.is_empty());
    for diagnostic in &said.diagnostics {
        config::render(diagnostic, &said.document.source, Colour::Always);
    }
});
