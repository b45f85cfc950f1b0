//! The files that a configuration includes.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::config::LARGEST_FILE;

/// Who reads files.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names in a folder; none if it cannot be read.
    fn names(&mut self, folder: &Path) -> Vec<String>;
}

/// Those of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // To open a pipe would wait for somebody who writes.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn names(&mut self, folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

/// The paths that a pattern with `*`, `?` and `[…]` stands for, in order; of a plain path itself.
pub(super) fn expand(pattern: &Path, files: &mut dyn Files) -> Vec<PathBuf> {
    const MOST: usize = 1024;
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !text.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let mut names = files.names(folder);
            // As for glob(7), hidden files are asked for by their dot.
            names.retain(|name| {
                (!name.starts_with('.') || text.starts_with('.')) && matches(&text, name)
            });
            names.sort();
            next.extend(names.iter().map(|name| folder.join(name)));
        }
        next.truncate(MOST);
        found = next;
    }
    found
}

/// Whether a name fits a pattern; in time that grows with the product of their lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<Piece> = pieces(pattern);
    // `reached[i]`: the first `i` pieces fit what has been read of the name.
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    skip_stars(&pattern, &mut reached);
    for c in name.chars() {
        let mut next = vec![false; reached.len()];
        for (index, piece) in pattern.iter().enumerate() {
            if !reached[index] {
                continue;
            }
            match piece {
                Piece::Star => next[index] = true,
                Piece::One(accepts) => next[index + 1] |= accepts.takes(c),
            }
        }
        skip_stars(&pattern, &mut next);
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

fn skip_stars(pattern: &[Piece], reached: &mut [bool]) {
    for (index, piece) in pattern.iter().enumerate() {
        if reached[index] && matches!(piece, Piece::Star) {
            reached[index + 1] = true;
        }
    }
}

enum Piece {
    /// `*`
    Star,
    /// Anything that stands for one character.
    One(Accepts),
}

enum Accepts {
    Any,
    Only(char),
    Ranges {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Accepts {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => *only == c,
            Self::Ranges { negated, ranges } => {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&c))
                    != *negated
            }
        }
    }
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        pieces.push(match c {
            '*' => Piece::Star,
            '?' => Piece::One(Accepts::Any),
            '[' => match bracket(rest) {
                Some((accepts, after)) => {
                    rest = after;
                    Piece::One(accepts)
                }
                None => Piece::One(Accepts::Only('[')),
            },
            other => Piece::One(Accepts::Only(other)),
        });
    }
    pieces
}

/// What stands between brackets, and what follows them.
fn bracket(text: &str) -> Option<(Accepts, &str)> {
    let (inside, after) = text.split_once(']')?;
    let negated = inside.starts_with(['!', '^']);
    let mut rest = inside.trim_start_matches(['!', '^']).chars().peekable();
    let mut ranges = Vec::new();
    while let Some(first) = rest.next() {
        let mut last = first;
        if rest.peek() == Some(&'-') {
            rest.next();
            last = rest.next().unwrap_or('-');
        }
        ranges.push((first, last));
    }
    Some((Accepts::Ranges { negated, ranges }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        let table = [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf~", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("?.conf", "a.conf", true),
            ("?.conf", "ab.conf", false),
            ("[0-9]*", "7x", true),
            ("[!0-9]*", "7x", false),
            ("[ab", "[ab", true),
            ("**", "", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, name, fits) in table {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
        // A backtracking matcher would not come back from this.
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }
}
