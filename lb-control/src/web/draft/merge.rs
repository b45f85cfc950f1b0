//! Two texts that were made of one, line by line.

use similar::{MergeResolution, TextMerge};

/// A part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::web) enum Piece {
    /// At most one of both changed it, or both in the same way.
    Agreed(String),
    /// Both changed it.
    Apart {
        /// What it was.
        base: String,
        /// What the draft says.
        mine: String,
        /// What lvs.cf says.
        theirs: String,
    },
}

/// What is to stand where both changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum Choice {
    /// What the draft says.
    Mine,
    /// What lvs.cf says.
    Theirs,
    /// What lvs.cf says, and below it what the draft says.
    Both,
}

impl Choice {
    /// All of them.
    pub(in crate::web) const ALL: [Self; 3] = [Self::Mine, Self::Theirs, Self::Both];

    /// As forms call it.
    #[must_use]
    pub(in crate::web) const fn word(self) -> &'static str {
        match self {
            Self::Mine => "mine",
            Self::Theirs => "theirs",
            Self::Both => "both",
        }
    }

    /// The choice of this word.
    #[must_use]
    pub(in crate::web) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

/// Why there is no common text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::web) enum Unsettled {
    /// What was chosen from is not what it is now.
    #[error("lvs.cf or your draft was changed meanwhile once more; choose again")]
    Changed,
    /// A choice is missing.
    #[error("choose for each place where both changed something")]
    Missing,
    /// The text would be larger than drafts may be.
    #[error("the text would be too large")]
    TooLarge,
}

/// The parts of two texts that were made of `base`.
pub(super) fn pieces(base: &str, mine: &str, theirs: &str) -> Vec<Piece> {
    let merge = TextMerge::from_lines(base, mine, theirs);
    let of_base = |range: std::ops::Range<usize>| -> String {
        range.filter_map(|at| merge.base_line(at)).collect()
    };
    let of_mine = |range: std::ops::Range<usize>| -> String {
        range.filter_map(|at| merge.ours_line(at)).collect()
    };
    let of_theirs = |range: std::ops::Range<usize>| -> String {
        range.filter_map(|at| merge.theirs_line(at)).collect()
    };
    let mut pieces = Vec::new();
    for region in merge.regions() {
        let agreed = match region.resolution() {
            MergeResolution::Unchanged | MergeResolution::Ours | MergeResolution::Both => {
                of_mine(region.ours_range())
            }
            MergeResolution::Theirs => of_theirs(region.theirs_range()),
            // What is not known to be agreed is not.
            MergeResolution::Conflict | _ => {
                pieces.push(Piece::Apart {
                    base: of_base(region.base_range()),
                    mine: of_mine(region.ours_range()),
                    theirs: of_theirs(region.theirs_range()),
                });
                continue;
            }
        };
        match pieces.last_mut() {
            Some(Piece::Agreed(before)) => append(before, &agreed),
            Some(Piece::Apart { .. }) | None => pieces.push(Piece::Agreed(agreed)),
        }
    }
    pieces
}

/// The common text, if there is nothing to choose.
pub(super) fn clean(pieces: &[Piece]) -> Option<String> {
    settled(pieces, &[]).ok()
}

/// The common text.
pub(super) fn settled(pieces: &[Piece], choices: &[Choice]) -> Result<String, Unsettled> {
    let mut choices = choices.iter();
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Agreed(lines) => append(&mut text, lines),
            Piece::Apart { mine, theirs, .. } => match choices.next().ok_or(Unsettled::Missing)? {
                Choice::Mine => append(&mut text, mine),
                Choice::Theirs => append(&mut text, theirs),
                Choice::Both => {
                    append(&mut text, theirs);
                    append(&mut text, mine);
                }
            },
        }
    }
    match choices.next() {
        None => Ok(text),
        Some(_) => Err(Unsettled::Changed),
    }
}

/// Adds lines below; the last line of a file may have had no end.
fn append(text: &mut String, lines: &str) {
    if !lines.is_empty() && !text.is_empty() && !text.ends_with(['\n', '\r']) {
        text.push('\n');
    }
    text.push_str(lines);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_overlap_is_carried_over() {
        let base = "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n";
        let table = [
            (
                "mine alone",
                "a = 9\nb = 2\nc = 3\nd = 4\ne = 5\n",
                base,
                "a = 9\nb = 2\nc = 3\nd = 4\ne = 5\n",
            ),
            (
                "theirs alone",
                base,
                "a = 1\nc = 3\nd = 4\ne = 5\n",
                "a = 1\nc = 3\nd = 4\ne = 5\n",
            ),
            (
                "far from each other",
                "a = 9\nb = 2\nc = 3\nd = 4\ne = 5\n",
                "a = 1\nb = 2\nc = 3\nd = 4\ne = 8\nf = 6\n",
                "a = 9\nb = 2\nc = 3\nd = 4\ne = 8\nf = 6\n",
            ),
            (
                "the same",
                "a = 7\nb = 2\nc = 3\nd = 4\ne = 5\n",
                "a = 7\nb = 2\nc = 3\nd = 4\ne = 5\n",
                "a = 7\nb = 2\nc = 3\nd = 4\ne = 5\n",
            ),
        ];
        for (what, mine, theirs, expected) in table {
            let found = clean(&pieces(base, mine, theirs));
            assert_eq!(found.as_deref(), Some(expected), "{what}");
        }
    }

    #[test]
    fn where_both_changed_something_one_chooses() {
        let (base, mine, theirs) = (
            "a = 1\nb = 2\nc = 3",
            "a = 1\nb = 4\nc = 3",
            "a = 1\nb = 5\nc = 3",
        );
        let pieces = pieces(base, mine, theirs);
        assert_eq!(clean(&pieces), None);
        let table = [
            (Choice::Mine, "a = 1\nb = 4\nc = 3"),
            (Choice::Theirs, "a = 1\nb = 5\nc = 3"),
            (Choice::Both, "a = 1\nb = 5\nb = 4\nc = 3"),
        ];
        for (choice, expected) in table {
            assert_eq!(settled(&pieces, &[choice]).as_deref(), Ok(expected));
        }
        let twice = [Choice::Mine, Choice::Mine];
        assert_eq!(settled(&pieces, &twice), Err(Unsettled::Changed));
        for choice in Choice::ALL {
            assert_eq!(Choice::named(choice.word()), Some(choice));
        }
    }

    #[test]
    fn two_new_blocks_at_the_end_without_a_line_end_are_both_kept() {
        let pieces = pieces("a\n}", "a\n}\nmine {\n}", "a\n}\ntheirs {\n}");
        let both = vec![
            Choice::Both;
            pieces
                .iter()
                .filter(|it| matches!(it, Piece::Apart { .. }))
                .count()
        ];
        let text = settled(&pieces, &both).unwrap();
        for line in ["mine {", "theirs {"] {
            assert_eq!(text.lines().filter(|it| *it == line).count(), 1, "{text}");
        }
    }
}
