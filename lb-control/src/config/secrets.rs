//! lvs.cf for eyes that are not to see its secrets: their characters are asterisks. Whoever edits such a text
//! gives it back with the asterisks in it, and the secrets take their places again.

use std::collections::HashMap;

use super::suggest::without_secret;

/// A line without what is secret.
#[must_use]
pub fn veiled_line(line: &str) -> String {
    let open = without_secret(line).len();
    let mask = |(at, c): (usize, char)| match c {
        ' ' | '\t' | '=' | '"' | '\'' | '\r' | '\n' => c,
        c if at < open => c,
        _ => '*',
    };
    line.char_indices().map(mask).collect()
}

/// A text without what is secret. The lines are as many, and each has as many characters as before.
#[must_use]
pub fn veiled(text: &str) -> String {
    text.split_inclusive(is_end).map(veiled_line).collect()
}

/// A secret that nobody knows any more: the line in which it is hidden was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: the secret is hidden here, and the line was changed: write it anew")]
pub struct Lost {
    /// The line, from 1 on.
    pub line: usize,
}

/// Puts the secrets of `original` back into a text that was made of [`veiled`] of it.
///
/// # Errors
/// If a line with hidden secrets is none of those of the original.
pub fn unveiled(edited: &str, original: &str) -> Result<String, Lost> {
    let mut known: HashMap<String, Vec<&str>> = HashMap::new();
    for line in original.split(is_end) {
        let shown = veiled_line(line);
        if shown != line {
            known.entry(shown).or_default().push(line);
        }
    }
    let mut whole = String::with_capacity(edited.len());
    for (index, piece) in edited.split_inclusive(is_end).enumerate() {
        let line = piece.trim_end_matches(is_end);
        match known.get_mut(line) {
            // Of several that look alike, the first one first; a copy is like the last.
            Some(lines) => {
                whole.push_str(lines.first().copied().unwrap_or(line));
                if lines.len() > 1 {
                    lines.remove(0);
                }
            }
            None if is_hidden(line) => return Err(Lost { line: index + 1 }),
            None => whole.push_str(line),
        }
        whole.push_str(piece.get(line.len()..).unwrap_or_default());
    }
    Ok(whole)
}

/// Whether there is nothing but asterisks where a secret should be.
fn is_hidden(line: &str) -> bool {
    let behind = line.get(without_secret(line).len()..).unwrap_or_default();
    behind.contains('*') && veiled_line(line) == line
}

fn is_end(c: char) -> bool {
    c == '\n' || c == '\r'
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "primary = 10.0.0.1\nmh_secret = \"tell no one here\"\r\nheartbeat_key = 1:0011 2:2233\n\
                        heartbeat_key_file = /etc/key\n# mh_secret = old\nkeepalive = 6\n";

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(
            veiled(FILE),
            "primary = 10.0.0.1\nmh_secret = \"**** ** *** ****\"\r\nheartbeat_key = ****** ******\n\
             heartbeat_key_file = /etc/key\n# mh_secret = ***\nkeepalive = 6\n"
        );
    }

    #[test]
    fn they_come_back_wherever_their_line_went() {
        let shown = veiled(FILE);
        assert_eq!(unveiled(&shown, FILE).as_deref(), Ok(FILE));
        let lines: Vec<_> = shown.lines().rev().collect();
        let turned = unveiled(&lines.join("\n"), FILE).unwrap();
        let mut expected: Vec<_> = FILE.lines().rev().collect();
        assert_eq!(turned.lines().collect::<Vec<_>>(), expected);
        expected.clear();

        let anew = shown.replace("\"**** ** *** ****\"", "\"quite another one\"");
        let anew = unveiled(&anew, FILE).unwrap();
        assert_eq!(anew, FILE.replace("tell no one here", "quite another one"));
    }

    #[test]
    fn what_cannot_come_back_is_said() {
        let table = [
            ("mh_secret = \"**** **\"\n", Err(Lost { line: 1 })),
            ("a\nmh_secret = ****************\n", Err(Lost { line: 2 })),
            ("mh_secret = \"****x\"\n", Ok("mh_secret = \"****x\"\n")),
            ("expect = *\n", Ok("expect = *\n")),
            ("# the secret\n", Ok("# the secret\n")),
        ];
        for (text, expected) in table {
            let expected = expected.map(String::from);
            assert_eq!(unveiled(text, FILE), expected, "{text}");
        }
    }

    #[test]
    fn two_that_look_alike_keep_their_order() {
        let file = "heartbeat_key = 1:aa\nheartbeat_key = 1:bb\n";
        assert_eq!(unveiled(&veiled(file), file).as_deref(), Ok(file));
    }
}
