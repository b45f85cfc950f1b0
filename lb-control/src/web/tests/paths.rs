//! Which path is for whom is written in docs/web.md, which the tests of the lab go by as well.

use std::{fs, path::Path};

use crate::web::{pages, router::OPEN};

const BEGIN: &str = "<!-- paths -->\n";
const END: &str = "<!-- end of paths -->\n";

/// `UPDATE_DOCS=1` writes it anew.
#[test]
fn the_documentation_has_all_paths() {
    let mut rows: Vec<_> = pages::all()
        .iter()
        .map(|page| {
            let (read, write) = page.roles();
            format!("| `{}` | {read} | {write} |\n", page.path())
        })
        .collect();
    rows.extend(OPEN.map(|path| format!("| `{path}` | everybody | everybody |\n")));
    rows.sort();
    let head = "| path | looks | sends |\n| --- | --- | --- |\n";
    let table = format!("{BEGIN}{head}{}{END}", rows.concat());

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/web.md");
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{table}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, expected).unwrap();
    } else {
        assert!(
            text == expected,
            "UPDATE_DOCS=1 cargo test -p lb-control --lib web::tests::paths writes docs/web.md anew"
        );
    }
}
