//! The bytes behind the text. Bytes that are not UTF-8 (Latin-1 in comments) are another character in the
//! text of a `Source`; in the file they stay what they are.

use crate::config::source::Span;

/// So many strange bytes are no text any more; `Source` gives up there too.
const MOST_STRANGE: usize = 100_000;

/// The bytes of a file, found by places of its text.
pub(in crate::config) struct Raw<'a> {
    bytes: &'a [u8],
    /// Behind each piece that is not UTF-8: the place in the text, and that in the bytes.
    behind: Vec<(usize, usize)>,
}

/// One piece of text that takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replacement {
    /// What goes, in the text; where something is put in, if that is empty.
    pub(super) span: Span,
    /// What comes.
    pub(super) with: String,
}

impl<'a> Raw<'a> {
    /// None if it is no text.
    pub(in crate::config) fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.contains(&0) {
            return None;
        }
        let (mut text, mut raw) = (0, 0);
        let mut behind = Vec::new();
        for chunk in bytes.utf8_chunks() {
            text += chunk.valid().len();
            raw += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                text += char::REPLACEMENT_CHARACTER.len_utf8();
                raw += chunk.invalid().len();
                behind.push((text, raw));
                if behind.len() >= MOST_STRANGE {
                    return None;
                }
            }
        }
        Some(Self { bytes, behind })
    }

    /// The bytes of a piece of the text.
    pub(in crate::config) fn slice(&self, span: Span) -> &'a [u8] {
        let range = self.place(span.start)..self.place(span.end);
        self.bytes.get(range).unwrap_or_default()
    }

    /// The bytes with all replacements made, which must not overlap.
    pub(super) fn replace(&self, mut replacements: Vec<Replacement>) -> Vec<u8> {
        replacements.sort_by_key(|one| (one.span.start, one.span.end));
        let mut edited = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        for Replacement { span, with } in replacements {
            let kept = at..self.place(span.start).max(at);
            edited.extend_from_slice(self.bytes.get(kept).unwrap_or_default());
            edited.extend_from_slice(with.as_bytes());
            at = self.place(span.end).max(at);
        }
        edited.extend_from_slice(self.bytes.get(at..).unwrap_or_default());
        edited
    }

    fn place(&self, text: usize) -> usize {
        let after = self.behind.partition_point(|(behind, _)| *behind <= text);
        let (base, raw) = match after.checked_sub(1).and_then(|last| self.behind.get(last)) {
            Some((base, raw)) => (*base, *raw),
            None => (0, 0),
        };
        raw + (text - base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_bytes_stay() {
        let bytes = b"# \xe4\xf6 x\na = 1 # \xc3\nb = 2\n";
        let text = String::from_utf8_lossy(bytes);
        let raw = Raw::new(bytes).unwrap();
        let at = |needle: &str| {
            let start = text.find(needle).unwrap();
            Span {
                start,
                end: start + needle.len(),
            }
        };
        assert_eq!(raw.slice(at("a = 1")), b"a = 1");
        let edited = raw.replace(vec![
            Replacement {
                span: at("2"),
                with: "ü".into(),
            },
            Replacement {
                span: at("1"),
                with: "12".into(),
            },
        ]);
        assert_eq!(edited, b"# \xe4\xf6 x\na = 12 # \xc3\nb = \xc3\xbc\n");
    }

    #[test]
    fn what_is_no_text() {
        assert!(Raw::new(b"a\0").is_none());
        assert!(Raw::new(&[0xff; 100_000]).is_none());
        assert!(Raw::new(&[0xff; 99_999]).is_some());
    }
}
