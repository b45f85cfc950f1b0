//! Texts of any content as keepalived.conf and as what `ipvsadm -S` prints: what comes out always loads.
#![no_main]

use std::{io, path::Path};

use lb_control::{
    config::{self, marks, names::SystemNames},
    import::{self, Files, Surroundings, Unknown},
    ipvsadm::NoNames,
};

/// Every file is the text itself.
struct Itself<'a>(&'a [u8]);

impl Files for Itself<'_> {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        if path.as_os_str().len() > 64 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.0.to_vec())
    }

    fn names(&mut self, _: &Path) -> Vec<String> {
        vec!["a.conf".to_owned(), "b.conf".to_owned()]
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for is_keepalived in [true, false] {
        let surroundings = Surroundings {
            names: &NoNames,
            interfaces: &mut Unknown,
            marks: marks::import(&text),
            files: &mut Itself(data),
            config_id: "one",
        };
        let imported = match is_keepalived {
            true => import::keepalived(Path::new("k"), &text, surroundings),
            false => import::ipvsadm("s", &text, surroundings),
        };
        // There are no names in it to be asked for.
        let said = config::parse_with("lvs.cf", imported.text.as_bytes(), &mut SystemNames::default());
        assert!(said.site.is_some(), "{:?}\n{}", said.diagnostics, imported.text);
    }
});
