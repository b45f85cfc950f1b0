//! What could not be carried over, by line.

use std::{collections::HashMap, fmt, sync::Arc};

use serde::Serialize;

/// Where something stands in what is imported.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Place {
    /// The file, as it was named; or what has no lines.
    #[serde(serialize_with = "name")]
    pub file: Arc<str>,
    /// The line, from 1; 0 for what has no lines.
    pub line: usize,
}

impl Place {
    /// The whole of something.
    #[must_use]
    pub fn whole(file: &str) -> Self {
        Self {
            file: file.into(),
            line: 0,
        }
    }
}

fn name<S: serde::Serializer>(file: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(file)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// Something that could not be carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// Why not, and what happens instead.
    pub why: String,
    /// The other lines with the same.
    pub also: Vec<Place>,
}

impl fmt::Display for LeftOut {
    /// `FILE:LINE: left out: why (also in lines 7 and 9)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        write!(f, "{}: left out: {}", self.place, self.why)?;
        for (index, place) in self.also.iter().take(SHOWN).enumerate() {
            f.write_str(if index == 0 { " (also " } else { ", " })?;
            if place.file == self.place.file {
                write!(f, "line {}", place.line)?;
            } else {
                place.fmt(f)?;
            }
        }
        match self.also.len() {
            0 => Ok(()),
            1..=SHOWN => f.write_str(")"),
            more => write!(f, " and {} more)", more - SHOWN),
        }
    }
}

/// Everything that was left out so far. What is said of many lines is told once, at the first of them.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The files in the order in which they are told about.
    files: Vec<Arc<str>>,
    told: Vec<LeftOut>,
    by_reason: HashMap<(Arc<str>, String), usize>,
}

impl Report {
    /// A file is read; what is told about it comes after what is told about those before.
    pub(super) fn reading(&mut self, file: &Arc<str>) {
        if !self.files.contains(file) {
            self.files.push(file.clone());
        }
    }

    /// Tells of one more.
    pub(super) fn left_out(&mut self, place: &Place, why: impl Into<String>) {
        let why = why.into();
        let key = (place.file.clone(), why.clone());
        let before = self.by_reason.get(&key).copied();
        if let Some(told) = before.and_then(|index| self.told.get_mut(index)) {
            let is_said = told.place == *place || told.also.last() == Some(place);
            if !is_said {
                told.also.push(place.clone());
            }
            return;
        }
        self.reading(&place.file);
        self.by_reason.insert(key, self.told.len());
        self.told.push(LeftOut {
            place: place.clone(),
            why,
            also: Vec::new(),
        });
    }

    /// All, in the order of the lines within each file.
    pub(super) fn finish(self) -> Vec<LeftOut> {
        let (files, mut told) = (self.files, self.told);
        told.sort_by_key(|one| {
            let file = files.iter().position(|file| *file == one.place.file);
            (file, one.place.line)
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_many_lines_is_told_once() {
        let mut report = Report::default();
        let at = |file: &str, line| Place {
            file: file.into(),
            line,
        };
        report.left_out(&at("a", 9), "x");
        report.left_out(&at("a", 3), "y");
        report.left_out(&at("a", 9), "x");
        report.left_out(&at("a", 12), "x");
        report.left_out(&at("b", 1), "x");
        for line in 20..27 {
            report.left_out(&at("b", line), "z");
        }
        report.left_out(&Place::whole("c"), "x");
        let told: Vec<_> = report.finish().iter().map(LeftOut::to_string).collect();
        assert_eq!(
            told,
            [
                "a:3: left out: y",
                "a:9: left out: x (also line 12)",
                "b:1: left out: x",
                "b:20: left out: z (also line 21, line 22, line 23, line 24, line 25 and 1 more)",
                "c: left out: x",
            ]
        );
    }
}
