//! What becomes different in a text, line by line.

use std::io::Write;

use similar::TextDiff;

use crate::config::secrets::veiled_line;

/// Writes how two texts differ, as `diff -u` does. Secrets are asterisks.
pub(super) fn write(
    out: &mut dyn Write,
    names: (&str, &str),
    old: &[u8],
    new: &[u8],
) -> std::io::Result<()> {
    let (old, new) = (lines(old), lines(new));
    let diff = TextDiff::from_lines(old.as_str(), new.as_str());
    let text = diff
        .unified_diff()
        .context_radius(3)
        .header(names.0, names.1)
        .to_string();
    for line in text.lines() {
        writeln!(out, "{}", shown(line))?;
    }
    Ok(())
}

/// Line ends of all kinds are the same here, and what is no text is shown as such.
fn lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// A line without what is secret, and without what a terminal would obey.
fn shown(line: &str) -> String {
    let visible = |c: char| match c {
        c if c.is_control() && c != '\t' => '\u{fffd}',
        c => c,
    };
    veiled_line(line).chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let old = b"a = 1\r\nmh_secret = \"tell no one\"\r\n";
        let new = b"a = 1\r\nmh_secret = \"nor him\"\r\n# \x1b[31m\r\n";
        let mut out = Vec::new();
        write(&mut out, ("old", "new"), old, new).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "--- old\n+++ new\n@@ -1,2 +1,3 @@\n a = 1\n-mh_secret = \"**** ** ***\"\n+mh_secret = \"*** ***\"\n+# \u{fffd}[31m\n"
        );
    }
}
