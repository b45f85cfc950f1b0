//! What comes back from a browser has the line ends of a browser. Lines that were not touched get theirs back,
//! new ones those that are usual in the file.

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// The text with the line ends of the original.
pub(super) fn typed(original: &str, text: &str) -> String {
    let known: Vec<_> = lines(original).collect();
    let typed: Vec<_> = lines(text).collect();
    let usual = usual(&known);
    let words = |lines: &[(&str, &str)]| -> Vec<String> {
        lines.iter().map(|(line, _)| (*line).to_owned()).collect()
    };
    let mut ends: Vec<&str> = typed
        .iter()
        .map(|(_, end)| if end.is_empty() { "" } else { usual })
        .collect();
    for step in capture_diff_slices(Algorithm::Myers, &words(&known), &words(&typed)) {
        let DiffOp::Equal {
            old_index,
            new_index,
            len,
        } = step
        else {
            continue;
        };
        let theirs = known.iter().skip(old_index).take(len);
        for (end, (_, known)) in ends.iter_mut().skip(new_index).zip(theirs) {
            // The last line of a file may have none, which is right only there.
            if !end.is_empty() && !known.is_empty() {
                *end = known;
            }
        }
    }
    let lines = typed.iter().zip(ends);
    lines.fold(String::new(), |whole, ((line, _), end)| whole + line + end)
}

/// Lines and their ends.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (line, behind) = rest.split_at(length);
        let end = match behind {
            crlf if crlf.starts_with("\r\n") => 2,
            "" => 0,
            _ => 1,
        };
        let (end, after) = behind.split_at(end);
        rest = after;
        Some((line, end))
    })
}

/// The line end that most lines have.
fn usual<'a>(lines: &[(&str, &'a str)]) -> &'a str {
    let count = |end: &str| lines.iter().filter(|(_, one)| *one == end).count();
    ["\r\n", "\r"]
        .into_iter()
        .filter(|end| count(end) > lines.len() / 2)
        .chain(["\n"])
        .next()
        .unwrap_or("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_stay() {
        let table = [
            ("untouched", "a\r\nb\nc\r\n", "a\nb\nc\n", "a\r\nb\nc\r\n"),
            (
                "a line comes",
                "a\r\nb\r\nc\r\n",
                "a\nx\nb\nc\n",
                "a\r\nx\r\nb\r\nc\r\n",
            ),
            ("a line goes", "a\r\nb\nc\r\n", "a\nc\n", "a\r\nc\r\n"),
            ("CR alone", "a\rb\rc\r", "a\nb\nd\n", "a\rb\rd\r"),
            ("LF", "a\nb\n", "a\nb\nc", "a\nb\nc"),
            (
                "no end at the end",
                "a\r\nb\r\nc",
                "a\nb\nc\nd\n",
                "a\r\nb\r\nc\r\nd\r\n",
            ),
            ("nothing", "", "a\n", "a\n"),
            ("emptied", "a\n", "", ""),
        ];
        for (what, original, text, expected) in table {
            assert_eq!(typed(original, text), expected, "{what}");
        }
    }
}
