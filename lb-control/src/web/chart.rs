//! Lines over the last hour, drawn as SVG.

use std::fmt::{self, Write as _};

use maud::{Markup, html};

use super::history::{STEP, STEPS};

/// The drawing, in its own units.
const WIDTH: f32 = 400.0;
const HEIGHT: f32 = 150.0;

/// Room for the labels.
const LEFT: f32 = 56.0;
const BOTTOM: f32 = 18.0;
const TOP: f32 = 8.0;

/// A line of a chart.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// What it shows.
    pub(super) name: &'static str,
    /// The last is the newest. Not a number where nobody knows.
    pub(super) values: Vec<f32>,
}

/// How the numbers of a chart are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// As they are.
    Count,
    /// Bytes in a second.
    Bytes,
}

impl Unit {
    fn write(self, value: f32) -> String {
        let number = value.max(0.0).round() as u64;
        match self {
            Self::Count if value > 0.0 && value < 10.0 && value.fract() > 0.05 => {
                format!("{value:.1}")
            }
            Self::Count => super::words::count(number),
            Self::Bytes => super::words::byte_rate(Some(number)),
        }
    }

    /// The end of the axis: a round number that is not less.
    fn ceiling(self, most: f32) -> f32 {
        let (step, rounds): (f32, &[f32]) = match self {
            Self::Count => (10.0, &[1.0, 2.0, 4.0, 5.0, 10.0]),
            Self::Bytes => (
                1024.0,
                &[
                    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
                ],
            ),
        };
        let least: f32 = match self {
            Self::Count => 4.0,
            Self::Bytes => 1024.0,
        };
        let most = most.max(least);
        let unit = step.powf(most.log(step).floor());
        let rounds = rounds.iter().map(|round| round * unit);
        rounds
            .into_iter()
            .find(|round| *round >= most)
            .unwrap_or(most)
    }
}

/// A chart of one or two lines, with what it shows in words for those who do not see it.
pub(super) fn chart(title: &str, unit: Unit, lines: &[Line]) -> Markup {
    let known = lines.iter().flat_map(|line| &line.values);
    let most = known
        .copied()
        .filter(|value| value.is_finite())
        .fold(0.0, f32::max);
    let ceiling = unit.ceiling(most);
    let classes = ["one", "two"];
    html! {
        figure class="chart" {
            figcaption {
                strong { (title) }
                span class="legend" {
                    @for (line, class) in lines.iter().zip(classes) {
                        span {
                            span class={ "key " (class) } aria-hidden="true" {}
                            (line.name) " " b { (now(unit, line)) }
                        }
                    }
                }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(told(title, unit, lines)) {
                @for quarter in 0..=2_u8 {
                    @let share = f32::from(quarter) / 2.0;
                    @let y = height(share);
                    line class="grid-line" x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text class="axis" x=(LEFT - 6.0) y=(y + 4.0) text-anchor="end" { (unit.write(ceiling * share)) }
                }
                @for (minutes, anchor) in [(60, "start"), (40, "middle"), (20, "middle"), (0, "end")] {
                    @let x = LEFT + (WIDTH - LEFT) * (1.0 - minutes as f32 / 60.0);
                    text class="axis" x=(x) y=(HEIGHT - 4.0) text-anchor=(anchor) {
                        @if minutes == 0 { "now" } @else { "−" (minutes) " min" }
                    }
                }
                @for (line, class) in lines.iter().zip(classes) {
                    @let (stroke, fill) = paths(&line.values, ceiling);
                    path class={ "area " (class) } d=(fill) {}
                    path class={ "line " (class) } d=(stroke) {}
                }
            }
        }
    }
}

fn now(unit: Unit, line: &Line) -> String {
    let last = line.values.last().copied().filter(|last| last.is_finite());
    last.map_or_else(|| "–".to_owned(), |last| unit.write(last))
}

/// The chart in words.
fn told(title: &str, unit: Unit, lines: &[Line]) -> String {
    let mut text = format!("{title}, last hour.");
    for line in lines {
        let most = line
            .values
            .iter()
            .copied()
            .filter(|value| value.is_finite());
        let most = most.fold(0.0, f32::max);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            " {}: now {}, at most {}.",
            line.name,
            now(unit, line),
            unit.write(most)
        );
    }
    text
}

fn height(share: f32) -> f32 {
    let room = HEIGHT - BOTTOM - TOP;
    TOP + room * (1.0 - share.clamp(0.0, 1.0))
}

/// A point, in tenths of the drawing's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    x: i32,
    y: i32,
}

impl Point {
    fn new(x: f32, y: f32) -> Self {
        let tenths = |place: f32| (place * 10.0).round() as i32;
        Self {
            x: tenths(x),
            y: tenths(y),
        }
    }

    /// How one gets there from another point. That takes half of what it takes to say where it is, in charts of hundreds
    /// of points that are sent again and again.
    fn from(self, last: Self) -> String {
        let (x, y) = (self.x - last.x, self.y - last.y);
        match y {
            0 => format!("h{}", tenths(x)),
            y => format!("l{} {}", tenths(x), tenths(y)),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", tenths(self.x), tenths(self.y))
    }
}

/// A number of tenths.
fn tenths(number: i32) -> String {
    let (whole, rest) = (number.abs() / 10, number.abs() % 10);
    let sign = if number < 0 { "-" } else { "" };
    match (whole, rest) {
        (whole, 0) => format!("{sign}{whole}"),
        (0, rest) => format!("{sign}.{rest}"),
        (whole, rest) => format!("{sign}{whole}.{rest}"),
    }
}

/// The line, and the area below it. Both have gaps where nobody knows.
fn paths(values: &[f32], ceiling: f32) -> (String, String) {
    let (mut stroke, mut fill) = (String::new(), String::new());
    let step = (WIDTH - LEFT) / (STEPS - 1) as f32;
    let base = Point::new(0.0, height(0.0)).y;
    let mut last: Option<Point> = None;
    let end = |fill: &mut String, last: &mut Option<Point>| {
        if last.take().is_some() {
            let _ = write!(fill, "V{}Z", tenths(base));
        }
    };
    let first = STEPS.saturating_sub(values.len());
    for (place, value) in values.iter().enumerate() {
        if !value.is_finite() {
            end(&mut fill, &mut last);
            continue;
        }
        let x = LEFT + step * (first + place) as f32;
        let point = Point::new(x, height(value / ceiling));
        match last {
            None => {
                let _ = write!(stroke, "M{point}");
                let _ = write!(fill, "M{}V{}", Point { y: base, ..point }, tenths(point.y));
            }
            Some(last) => {
                let way = point.from(last);
                stroke += &way;
                fill += &way;
            }
        }
        last = Some(point);
    }
    end(&mut fill, &mut last);
    (stroke, fill)
}

/// The last hour is what charts show.
const _: () = assert!(STEP * STEPS as u64 == 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let table = [
            (Unit::Count, 0.0, 4.0),
            (Unit::Count, 4.1, 5.0),
            (Unit::Count, 11.0, 20.0),
            (Unit::Count, 999.0, 1_000.0),
            (Unit::Bytes, 0.0, 1024.0),
            (Unit::Bytes, 1500.0, 2048.0),
            (Unit::Bytes, 900.0 * 1024.0, 1_048_576.0),
        ];
        for (unit, most, expected) in table {
            assert_eq!(unit.ceiling(most), expected, "{unit:?} {most}");
        }
    }

    #[test]
    fn what_is_not_known_is_a_gap() {
        let values = [1.0, 2.0, f32::NAN, f32::NAN, 3.0, 4.0];
        let (stroke, fill) = paths(&values, 4.0);
        assert_eq!(stroke.matches('M').count(), 2, "{stroke}");
        assert_eq!(stroke.matches('l').count(), 2, "{stroke}");
        assert_eq!(fill.matches('Z').count(), 2, "{fill}");
        assert!(!stroke.contains("NaN"), "{stroke}");
        assert_eq!(paths(&[f32::NAN], 1.0), (String::new(), String::new()));
    }

    #[test]
    fn a_line_goes_from_point_to_point() {
        let (stroke, fill) = paths(&[0.0, 0.0, 4.0], 4.0);
        assert_eq!(stroke, "M398.1 132h.9l1 -124");
        assert_eq!(fill, "M398.1 132V132h.9l1 -124V132Z");
        for (number, text) in [(0, "0"), (-7, "-.7"), (10, "1"), (-123, "-12.3")] {
            assert_eq!(tenths(number), text);
        }
    }

    #[test]
    fn a_chart_is_told_in_words() {
        let line = |values: &[f32]| Line {
            name: "in",
            values: values.to_vec(),
        };
        let text = chart("Traffic", Unit::Bytes, &[line(&[1024.0, 2048.0])]).into_string();
        assert!(
            text.contains("Traffic, last hour. in: now 2.00 KiB/s, at most 2.00 KiB/s."),
            "{text}"
        );
        assert!(!text.contains("style="), "the policy allows none");
        let text = chart("Traffic", Unit::Count, &[line(&[])]).into_string();
        assert!(text.contains("now –"), "{text}");
    }
}
