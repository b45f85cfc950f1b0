//! Metrics as text: in pieces, as OpenMetrics or in the text format of Prometheus.

use std::fmt;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4, which every reader knows, node_exporter's textfile collector too.
    Text,
}

impl Format {
    /// What a client with this header `Accept` reads.
    pub(super) fn accepted(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A piece is at least so long, in bytes, but for the last one.
const PIECE: usize = 64 << 10;

/// Takes OpenMetrics and gives it on in pieces, in the format that is wanted.
pub(super) struct Exposition<F> {
    format: Format,
    /// Whole lines, then the beginning of one.
    text: String,
    /// Where the line that is being written begins.
    line: usize,
    /// The line that helps with the family which comes next; its name depends on the type.
    help: String,
    /// Whether somebody still takes pieces.
    give: F,
}

impl<F: FnMut(String) -> bool> Exposition<F> {
    pub(super) fn new(format: Format, give: F) -> Self {
        Self {
            format,
            text: String::new(),
            line: 0,
            help: String::new(),
            give,
        }
    }

    /// Gives the last piece.
    pub(super) fn finish(mut self) -> fmt::Result {
        self.give()
    }

    fn give(&mut self) -> fmt::Result {
        self.line = 0;
        match (self.give)(std::mem::take(&mut self.text)) {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }

    /// A comment of OpenMetrics in the older format: there a counter is called `…_total` there too, and an info
    /// is a gauge called `…_info`.
    fn translate(&mut self) {
        let line = self.text.split_off(self.line);
        let mut words = line.trim_end().splitn(4, ' ').skip(1);
        match (words.next(), words.next(), words.next()) {
            (Some("HELP"), Some(_), help) => self.help = help.unwrap_or_default().to_owned(),
            (Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                let help = &self.help;
                self.text +=
                    &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
            }
            // Units and the end are not told.
            _ => {}
        }
    }
}

impl<F: FnMut(String) -> bool> fmt::Write for Exposition<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        // Lines end where a write ends.
        if !text.ends_with('\n') {
            return Ok(());
        }
        if self.format == Format::Text && self.text[self.line..].starts_with("# ") {
            self.translate();
        }
        self.line = self.text.len();
        match self.text.len() < PIECE {
            true => Ok(()),
            false => self.give(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let lines = [
            "# HELP lb_seen How many.\n",
            "# TYPE lb_seen counter\n",
            "lb_seen_total{a=\"# HELP\"} 1\n",
            "# HELP lb_now Now.\n",
            "# TYPE lb_now gauge\n",
            "# UNIT lb_now seconds\n",
            "lb_now 2\n",
            "# HELP lb_build What.\n",
            "# TYPE lb_build info\n",
            "lb_build_info 1\n",
            "# EOF\n",
        ];
        let classic = "# HELP lb_seen_total How many.\n# TYPE lb_seen_total counter\n\
                       lb_seen_total{a=\"# HELP\"} 1\n\
                       # HELP lb_now Now.\n# TYPE lb_now gauge\nlb_now 2\n\
                       # HELP lb_build_info What.\n# TYPE lb_build_info gauge\nlb_build_info 1\n";
        let table = [
            (Format::OpenMetrics, lines.concat()),
            (Format::Text, classic.to_owned()),
        ];
        for (format, expected) in table {
            let mut written = String::new();
            let mut exposition = Exposition::new(format, |piece| {
                written += &piece;
                true
            });
            for line in lines {
                for piece in line.split_inclusive(' ') {
                    exposition.write_str(piece).unwrap();
                }
            }
            exposition.finish().unwrap();
            assert_eq!(written, expected, "{format:?}");
        }
    }

    #[test]
    fn nobody_writes_for_one_who_has_gone() {
        let mut exposition = Exposition::new(Format::Text, |_| false);
        let long = "x".repeat(PIECE) + "\n";
        assert!(exposition.write_str(&long).is_err());
    }

    #[test]
    fn the_older_format_is_for_all_who_do_not_ask_for_the_newer() {
        let table = [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            (
                "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
                Format::OpenMetrics,
            ),
        ];
        for (accept, expected) in table {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }
}
