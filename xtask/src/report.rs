//! The outcome of several steps: all are tried, and the summary says what was not, and why.

use anyhow::{Result, bail};

use crate::command;

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Steps with their outcomes.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<(String, Outcome)>,
}

impl Report {
    /// Does a step; a failure is kept for the end.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        command::tell(name);
        let outcome = match work() {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                command::tell(&format!("{name} FAILED: {error:#}"));
                Outcome::Failed(format!("{error:#}"))
            }
        };
        self.steps.push((name.to_owned(), outcome));
    }

    /// A step that this machine cannot do.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        command::tell(&format!("{name} skipped: {why}"));
        self.steps
            .push((name.to_owned(), Outcome::Skipped(why.to_owned())));
    }

    /// Prints the summary; an error if a step failed.
    pub(crate) fn finish(self) -> Result<()> {
        eprintln!("\n{}", self.summary());
        let failed = |(_, outcome): &&(String, Outcome)| matches!(outcome, Outcome::Failed(_));
        match self.steps.iter().filter(failed).count() {
            0 => Ok(()),
            1 => bail!("1 step failed"),
            several => bail!("{several} steps failed"),
        }
    }

    fn summary(&self) -> String {
        let lines = self.steps.iter().map(|(name, outcome)| match outcome {
            Outcome::Passed => format!("passed   {name}"),
            Outcome::Failed(why) => format!("FAILED   {name}: {}", first_line(why)),
            Outcome::Skipped(why) => {
                format!("skipped  {name}: {}", why.replace('\n', "\n         "))
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_does_not_end_the_steps_but_the_whole() {
        let mut report = Report::default();
        report.step("format", || Ok(()));
        report.step("clippy", || bail!("warnings\nmany"));
        report.skip("root tests", "no sudo\ntype this");
        assert_eq!(
            report.summary(),
            "passed   format\nFAILED   clippy: warnings\n\
             skipped  root tests: no sudo\n         type this"
        );
        assert!(report.finish().is_err());
    }

    #[test]
    fn what_was_skipped_is_no_failure() {
        let mut report = Report::default();
        report.step("format", || Ok(()));
        report.skip("clippy", "not installed");
        assert!(report.finish().is_ok());
    }
}
