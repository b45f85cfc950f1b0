//! Columns as wide as what stands in them, numbers that are read at a glance, and colours.

use std::fmt::{self, Write as _};

/// How something is written for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Numbers in full.
    pub exact: bool,
    /// States have colours.
    pub colour: bool,
}

impl Style {
    /// A number of packets, flows or the like.
    #[must_use]
    pub fn count(self, number: u64) -> String {
        match self.exact {
            true => number.to_string(),
            false => scaled(number, 10_000, 1000.0, &["", "k", "M", "G", "T", "P", "E"]),
        }
    }

    /// A number of bytes.
    #[must_use]
    pub fn bytes(self, number: u64) -> String {
        match self.exact {
            true => number.to_string(),
            false => scaled(
                number,
                1024,
                1024.0,
                &["", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"],
            ),
        }
    }
}

/// Three digits and a unit; below `plain` the number itself.
fn scaled(number: u64, plain: u64, step: f64, units: &[&str]) -> String {
    if number < plain {
        return number.to_string();
    }
    let mut value = number as f64;
    let mut unit = "";
    for next in units {
        unit = next;
        // What would be rounded to the step itself has the next unit.
        if value < step - 0.5 {
            break;
        }
        value /= step;
    }
    let digits = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{unit}")
}

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// On its way somewhere, or wanted so.
    Between,
    /// Not as it should be.
    Bad,
    /// Nothing is known.
    Faint,
}

impl Tone {
    /// A text in its colour.
    #[must_use]
    pub fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Good => 32,
            Self::Between => 33,
            Self::Bad => 31,
            Self::Faint => 2,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What stands in a column of a line.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A text that has a colour where there are colours.
    #[must_use]
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into();
        Self {
            text,
            tone: Some(tone),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        let text = text.into();
        Self { text, tone: None }
    }
}

/// On which side of a column its text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Lines with the same columns.
#[derive(Debug)]
pub struct Columns<const N: usize> {
    heads: [(&'static str, Side); N],
    lines: Vec<[Cell; N]>,
}

impl<const N: usize> Columns<N> {
    /// Columns with these heads.
    #[must_use]
    pub fn new(heads: [(&'static str, Side); N]) -> Self {
        Self {
            heads,
            lines: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn add(&mut self, line: [Cell; N]) {
        self.lines.push(line);
    }

    /// The line with the heads, then each line, without their ends.
    #[must_use]
    pub fn written(&self, style: Style) -> (String, Vec<String>) {
        let mut widths = self.heads.map(|(head, _)| head.chars().count());
        for line in &self.lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let heads = self.heads.map(|(head, _)| Cell::from(head));
        let colour = style.colour;
        let head = self.line(&heads, &widths, colour);
        let lines = self.lines.iter();
        (
            head,
            lines.map(|line| self.line(line, &widths, colour)).collect(),
        )
    }

    fn line(&self, cells: &[Cell; N], widths: &[usize; N], colour: bool) -> String {
        let mut line = String::new();
        for ((cell, width), (_, side)) in cells.iter().zip(widths).zip(&self.heads) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let Cell { text, tone } = cell;
            let gap = width.saturating_sub(text.chars().count());
            let text = match tone.filter(|_| colour) {
                Some(tone) => tone.paint(text),
                None => text.clone(),
            };
            // Writing to a text cannot fail.
            let _ = match side {
                Side::Left => write!(line, "{text}{:gap$}", ""),
                Side::Right => write!(line, "{:gap$}{text}", ""),
            };
        }
        line.truncate(line.trim_end_matches(' ').len());
        line
    }
}

impl<const N: usize> fmt::Display for Columns<N> {
    /// All lines, without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, lines) = self.written(Style::default());
        writeln!(f, "{head}")?;
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let style = Style::default();
        let table = [
            (0, "0", "0"),
            (999, "999", "999"),
            (1023, "1023", "1023"),
            (1024, "1024", "1.00 KiB"),
            (9_999, "9999", "9.76 KiB"),
            (10_000, "10.0k", "9.77 KiB"),
            (99_949, "99.9k", "97.6 KiB"),
            (99_950, "100k", "97.6 KiB"),
            (999_499, "999k", "976 KiB"),
            (999_500, "1.00M", "976 KiB"),
            (1_048_575, "1.05M", "1.00 MiB"),
            (u64::MAX, "18.4E", "16.0 EiB"),
        ];
        for (number, count, bytes) in table {
            assert_eq!(style.count(number), count, "{number}");
            assert_eq!(style.bytes(number), bytes, "{number}");
        }
        let exact = Style {
            exact: true,
            colour: false,
        };
        assert_eq!(exact.count(1_234_567), "1234567");
        assert_eq!(exact.bytes(1_234_567), "1234567");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let mut columns = Columns::new([("server", Side::Left), ("conns", Side::Right)]);
        columns.add(["[2001:db8::1]:80".into(), "7".into()]);
        columns.add([Cell::toned("short", Tone::Bad), "123456".into()]);
        let expected = "\
server             conns
[2001:db8::1]:80       7
short             123456
";
        assert_eq!(columns.to_string(), expected);
        let colour = Style {
            colour: true,
            exact: false,
        };
        let (_, lines) = columns.written(colour);
        assert_eq!(lines[1], "\x1b[31mshort\x1b[0m             123456");
    }
}
