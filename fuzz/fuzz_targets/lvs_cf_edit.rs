//! Files of any content and edits of any kind: no panic, an edit that is made can be made again, and canonical
//! text is canonical.
#![no_main]

use lb_control::config::{
    edit::{Edit, Path, edit_with},
    format::format_with,
    names::Names,
};

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

// The file, and behind each byte 0 an edit: what to do, a path, a line end, what to say.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|byte| *byte == 0);
    let mut bytes = parts.next().unwrap_or_default().to_vec();
    for edit in parts.take(8).filter_map(edit) {
        let edits = [edit];
        if let Ok(edited) = edit_with("lvs.cf", &bytes, &edits, &mut NoNames) {
            bytes = edited.bytes;
            let [edit] = edits;
            if matches!(edit, Edit::Set { .. }) {
                let again = edit_with("lvs.cf", &bytes, &[edit], &mut NoNames);
                assert_eq!(again.map(|edited| edited.bytes).ok().as_ref(), Some(&bytes));
            }
        }
    }
    if let Ok(text) = format_with("lvs.cf", &bytes, &mut NoNames) {
        let again = format_with("lvs.cf", &text, &mut NoNames);
        assert_eq!(again.ok(), Some(text));
    }
});

fn edit(bytes: &[u8]) -> Option<Edit> {
    let (what, rest) = bytes.split_first()?;
    let text = std::str::from_utf8(rest).ok()?;
    let (path, value) = text.split_once('\n').unwrap_or((text, ""));
    Some(match (path.parse().ok()?, what % 4) {
        (Path::Directive(path), 0) => Edit::Set {
            path,
            value: value.into(),
        },
        (Path::Directive(path), 1) => Edit::Unset { path },
        (Path::Directive(path), 2) => Edit::Add {
            path,
            value: value.into(),
        },
        (Path::Directive(path), _) => Edit::Remove {
            path,
            value: value.into(),
        },
        (Path::Block(path), 0) => Edit::AddBlock {
            path,
            directives: Vec::new(),
        },
        (Path::Block(path), 1) => Edit::RemoveBlock { path },
        (Path::Block(path), _) => Edit::RenameBlock {
            path,
            name: value.into(),
        },
    })
}
