//! Lines over the last hour, or what is known of it, drawn as SVG.

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

/// How far back a chart goes, in minutes: no farther than something is known, so that the first minutes are no hair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span(u16);

impl Span {
    /// The steps that a chart may have; the last one is the hour that is kept.
    const ALL: [Self; 5] = [Self(4), Self(10), Self(20), Self(30), Self(60)];

    /// The first one that has room for all that is known.
    fn of(lines: &[Line]) -> Self {
        let known = lines.iter().map(|line| {
            let first = line.values.iter().position(|value| value.is_finite());
            first.map_or(0, |first| line.values.len() - first)
        });
        let known = known.max().unwrap_or_default();
        let fits = |span: &Self| span.steps() >= known;
        Self::ALL.into_iter().find(fits).unwrap_or(Self(60))
    }

    /// How many values have room.
    fn steps(self) -> usize {
        usize::from(self.0) * 60 / STEP as usize
    }

    /// What it is in words.
    fn told(self) -> String {
        match self.0 {
            60 => "last hour".to_owned(),
            minutes => format!("last {minutes} minutes"),
        }
    }

    /// Where the axis has words: minutes ago, and how they stand there.
    fn marks(self) -> [(u16, &'static str); 3] {
        [(self.0, "start"), (self.0 / 2, "middle"), (0, "end")]
    }
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
    let span = Span::of(lines);
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
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(told(title, span, unit, lines)) {
                @for quarter in 0..=2_u8 {
                    @let share = f32::from(quarter) / 2.0;
                    @let y = height(share);
                    line class="grid-line" x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text class="axis" x=(LEFT - 6.0) y=(y + 4.0) text-anchor="end" { (unit.write(ceiling * share)) }
                }
                @for (minutes, anchor) in span.marks() {
                    @let x = LEFT + (WIDTH - LEFT) * (1.0 - f32::from(minutes) / f32::from(span.0));
                    text class="axis" x=(x) y=(HEIGHT - 4.0) text-anchor=(anchor) {
                        @if minutes == 0 { "now" } @else { "−" (minutes) " min" }
                    }
                }
                @for (line, class) in lines.iter().zip(classes) {
                    @let (stroke, fill) = paths(&line.values, span.steps(), ceiling);
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
fn told(title: &str, span: Span, unit: Unit, lines: &[Line]) -> String {
    let mut text = format!("{title}, {}.", span.told());
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
fn paths(values: &[f32], steps: usize, ceiling: f32) -> (String, String) {
    let (mut stroke, mut fill) = (String::new(), String::new());
    let step = (WIDTH - LEFT) / (steps - 1) as f32;
    // What is older is not known.
    let values = &values[values.len().saturating_sub(steps)..];
    let base = Point::new(0.0, height(0.0)).y;
    let mut last: Option<Point> = None;
    let end = |fill: &mut String, last: &mut Option<Point>| {
        if last.take().is_some() {
            let _ = write!(fill, "V{}Z", tenths(base));
        }
    };
    let first = steps - values.len();
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
        let (stroke, fill) = paths(&values, STEPS, 4.0);
        assert_eq!(stroke.matches('M').count(), 2, "{stroke}");
        assert_eq!(stroke.matches('l').count(), 2, "{stroke}");
        assert_eq!(fill.matches('Z').count(), 2, "{fill}");
        assert!(!stroke.contains("NaN"), "{stroke}");
        assert_eq!(paths(&[f32::NAN], 30, 1.0), (String::new(), String::new()));
    }

    #[test]
    fn a_chart_goes_back_as_far_as_is_known() {
        let unknown = |count| vec![f32::NAN; count];
        let known = |count| vec![1.0; count];
        let table = [
            (Vec::new(), 4),
            (known(1), 4),
            (known(24), 4),
            (known(25), 10),
            (known(180), 30),
            (known(181), 60),
            (known(STEPS), 60),
            ([unknown(300), known(60)].concat(), 10),
            ([known(1), unknown(100), known(1)].concat(), 20),
        ];
        for (values, expected) in table {
            let count = values.len();
            let line = Line { name: "in", values };
            assert_eq!(Span::of(&[line]), Span(expected), "{count}");
        }
        let (stroke, _) = paths(&[unknown(300), known(30)].concat(), 30, 4.0);
        let start = tenths((LEFT * 10.0) as i32);
        assert!(stroke.starts_with(&format!("M{start} ")), "{stroke}");
        let steps = stroke.split('h').skip(1);
        let width: f32 = steps.map(|step| step.parse::<f32>().unwrap()).sum();
        assert!((width - (WIDTH - LEFT)).abs() < 0.05, "{stroke}");
    }

    #[test]
    fn a_line_goes_from_point_to_point() {
        let (stroke, fill) = paths(&[0.0, 0.0, 4.0], STEPS, 4.0);
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
            text.contains("Traffic, last 4 minutes. in: now 2.00 KiB/s, at most 2.00 KiB/s."),
            "{text}"
        );
        assert!(!text.contains("style="), "the policy allows none");
        let text = chart("Traffic", Unit::Count, &[line(&[])]).into_string();
        assert!(text.contains("now –"), "{text}");
    }
}
