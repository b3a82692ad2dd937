//! What became of the scenarios.

use std::{fmt, time::Duration};

use crate::Failure;

/// What became of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The promise is kept.
    Passed,
    /// It is not.
    Failed(Failure),
    /// The backend does not claim what the scenario needs; it was not run.
    NotClaimed,
}

/// One scenario in a report. Prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The scenario's name.
    pub name: &'static str,
    /// What became of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// All scenarios that were run. Prints a line for each, and a sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// In the order of the run.
    pub lines: Vec<Line>,
}

impl Report {
    /// Whether at least one scenario was run and none failed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.count(|verdict| *verdict == Verdict::Passed) > 0 && self.failures().next().is_none()
    }

    /// The scenarios that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| matches!(line.verdict, Verdict::Failed(_)))
    }

    fn count(&self, is: impl Fn(&Verdict) -> bool) -> usize {
        self.lines.iter().filter(|line| is(&line.verdict)).count()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.took.as_millis();
        match &self.verdict {
            Verdict::Passed => write!(f, "passed       {} ({ms} ms)", self.name),
            Verdict::NotClaimed => write!(f, "not claimed  {}", self.name),
            Verdict::Failed(failure) => write!(f, "FAILED       {} ({ms} ms): {failure}", self.name),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let passed = self.count(|verdict| *verdict == Verdict::Passed);
        let not_claimed = self.count(|verdict| *verdict == Verdict::NotClaimed);
        write!(f, "{passed} passed, {} failed, {not_claimed} not claimed", self.failures().count())
    }
}
