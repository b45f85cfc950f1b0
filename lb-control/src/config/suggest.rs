//! "Did you mean …?"

use super::directives::{GLOBALS, Kind};

/// The candidate that a slip of the finger makes `word`, if there is one near enough.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    const LONGEST: usize = 40;
    if word.chars().nth(LONGEST).is_some() {
        return None;
    }
    let word = word.to_lowercase();
    let most = 1 + word.chars().count() / 4;
    candidates
        .filter_map(|candidate| Some((within(most, &word, candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The part of a text up to where the value of a secret may begin: behind its name, or what may have been
/// meant by it. The rest is nobody's business.
pub(super) fn without_secret(text: &str) -> &str {
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let mut rest = text;
    while let Some(start) = rest.find(is_letter) {
        let word = rest.get(start..).unwrap_or_default();
        let end = word.find(|c: char| !is_letter(c)).unwrap_or(word.len());
        let (word, behind) = word.split_at(end);
        if names_secret(word) {
            return text.get(..text.len() - behind.len()).unwrap_or_default();
        }
        rest = behind;
    }
    text
}

/// Whether a word is the name of a secret, or what a hasty person makes of one.
fn names_secret(word: &str) -> bool {
    const LONGEST: usize = 40;
    if word.chars().nth(LONGEST).is_some() {
        return false;
    }
    let word = word.to_lowercase().replace('-', "_");
    let mut secrets = GLOBALS
        .iter()
        .filter(|entry| matches!(entry.kind, Kind::Secret | Kind::Keys));
    word.contains("secret") || secrets.any(|entry| within(3, &word, entry.name).is_some())
}

/// The distance, if it is not more than `most`. That of words of different length need not be computed.
fn within(most: usize, word: &str, candidate: &str) -> Option<usize> {
    let (one, other) = (word.chars().count(), candidate.len());
    if one.abs_diff(other) > most {
        return None;
    }
    Some(distance(word, candidate)).filter(|distance| *distance <= most)
}

/// How many letters have to be added, removed or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row
            .iter_mut()
            .zip(std::iter::once(None).chain(b.chars().map(Some)))
        {
            let above = *cell;
            *cell = match y {
                None => i + 1,
                Some(y) => (diagonal + usize::from(x != y))
                    .min(above + 1)
                    .min(left + 1),
            };
            diagonal = above;
            left = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let table = [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("keepalve", "keepalive", 1),
            ("abc", "cab", 2),
        ];
        for (a, b, expected) in table {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn what_stands_behind_the_name_of_a_secret_is_cut() {
        let table = [
            ("mh_secret = x", "mh_secret"),
            ("  mh_secre = x", "  mh_secre"),
            ("MH-Secret: x", "MH-Secret"),
            ("a = 1 mh_secert=x", "a = 1 mh_secert"),
            ("# the secret is x", "# the secret"),
            ("mhsecrt x", "mhsecrt"),
            ("address = 10.0.0.1 # mine", "address = 10.0.0.1 # mine"),
            ("service = lvs", "service = lvs"),
        ];
        for (text, expected) in table {
            assert_eq!(without_secret(text), expected, "{text}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let words = ["keepalive", "deadtime", "port"];
        let table = [
            ("keepalve", Some("keepalive")),
            ("PORT", Some("port")),
            ("xyz", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, words.into_iter()), expected, "{word}");
        }
    }
}
