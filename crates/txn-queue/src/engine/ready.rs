//! What can be delivered now, and whose turn it is.

use std::{collections::VecDeque, time::Duration};

use txn_change::Timestamp;

use crate::{message::Priority, name::Key};

/// A message without a key, or a key whose first message can be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    Message(u64),
    Key(Key),
}

const LEVELS: usize = Priority::FIRST.level() as usize + 1;

/// One line per priority, each in the order in which its turns came to it.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    lines: [VecDeque<(Timestamp, Turn)>; LEVELS],
    count: usize,
}

impl Ready {
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push(&mut self, priority: Priority, since: Timestamp, turn: Turn) {
        if let Some(line) = self.lines.get_mut(usize::from(priority.level())) {
            line.push_back((since, turn));
            self.count = self.count.saturating_add(1);
        }
    }

    /// The line of each level, the last first.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn lines(&self) -> impl Iterator<Item = &VecDeque<(Timestamp, Turn)>> {
        self.lines.iter()
    }

    /// Takes the turn that has waited longest, when each level of priority counts as so much waiting.
    pub(crate) fn pop(&mut self, ageing: Duration) -> Option<Turn> {
        let ageing = i64::try_from(ageing.as_nanos()).unwrap_or(i64::MAX);
        let heads = self.lines.iter().zip(0i64..).filter_map(|(line, level)| {
            let (since, _) = line.front()?;
            Some((since.as_nanos().saturating_sub(level.saturating_mul(ageing)), level))
        });
        // Of two that are equal, the one of the higher level.
        let (_, level) = heads.min_by_key(|(since, level)| (*since, level.saturating_neg()))?;
        let line = self.lines.get_mut(usize::try_from(level).ok()?)?;
        let (_, turn) = line.pop_front()?;
        self.count = self.count.saturating_sub(1);
        Some(turn)
    }
}
