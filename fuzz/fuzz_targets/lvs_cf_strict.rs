//! Files of any content through the parser that reads as Piranha did, and `lb check --strict`.
#![no_main]

use lb_control::config::{self, Colour, Format, Verdict, names::Names, piranha};

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
    let answer = piranha::parse(data, &mut NoNames);
    let format = Format::Text(Colour::Never);
    let verdict = config::check_strict_with("f", data, format, &mut NoNames, &mut Vec::new());
    assert!(answer.is_loaded() || verdict.is_ok_and(|verdict| verdict == Verdict::Refused));
});
