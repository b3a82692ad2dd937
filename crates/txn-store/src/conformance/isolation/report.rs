//! What a run of callers came to.

use std::fmt;

use super::{
    Options,
    anomaly::Anomaly,
    check,
    history::{Fate, History},
    worker::Log,
};

/// A history with what is wrong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it was made.
    pub options: Options,
    /// How many of what.
    pub tally: Tally,
    /// What no serial order explains; of each kind only the first few.
    pub anomalies: Vec<Anomaly>,
    /// What was seen, to be looked into.
    pub history: History,
}

/// How many transactions came to what. A history of refusals alone proves little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Changes that were committed.
    pub done: u64,
    /// Changes that were refused, or never executed.
    pub refused: u64,
    /// Changes of which nobody knows.
    pub unknown: u64,
    /// Readings, those that a refusal gave among them.
    pub readings: u64,
}

impl Report {
    pub(super) fn of(options: Options, log: Log) -> Self {
        let history = History { transactions: log.transactions };
        let mut tally = Tally::default();
        for transaction in &history.transactions {
            let is_change = transaction.ops.iter().any(|op| matches!(op, super::Op::Append { .. }));
            let count = match transaction.fate {
                Fate::Done if is_change => &mut tally.done,
                Fate::Done => &mut tally.readings,
                Fate::Refused => &mut tally.refused,
                Fate::Unknown => &mut tally.unknown,
            };
            *count = count.saturating_add(1);
        }
        Self { options, tally, anomalies: check(&history), history }
    }

    /// Whether nothing was found.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.anomalies.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { done, refused, unknown, readings } = self.tally;
        let Options { seed, workers, keys, schedule, .. } = self.options;
        write!(
            f,
            "seed {seed}, {workers} callers ({schedule:?}) on {keys} keys: {done} changes done, {refused} refused, "
        )?;
        write!(f, "{unknown} unknown, {readings} readings; {} anomalies", self.anomalies.len())?;
        for anomaly in &self.anomalies {
            write!(f, "\n{anomaly}")?;
        }
        Ok(())
    }
}
