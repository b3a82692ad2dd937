//! What can be delivered now, and whose turn it is.

use std::{collections::VecDeque, time::Duration};

use txn_change::Timestamp;

use crate::message::Priority;

/// Messages without a key, each behind the other, or a lane whose first message can be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Messages { first: u64, end: u64 },
    Lane(u32),
}

const LEVELS: usize = Priority::FIRST.level() as usize + 1;

/// One line per priority, each in the order in which its turns came to it.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Messages that became ready at the same instant stand together, so that a batch costs one place.
    lines: [VecDeque<(Timestamp, Turn)>; LEVELS],
    /// The levels whose lines are not empty, one bit each.
    levels: u16,
    /// Messages and lanes.
    count: usize,
}

impl Ready {
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push_message(&mut self, priority: Priority, since: Timestamp, position: u64) {
        self.push_messages(priority, since, position, position.saturating_add(1));
    }

    /// Adds messages that follow each other.
    pub(crate) fn push_messages(&mut self, priority: Priority, since: Timestamp, first: u64, behind: u64) {
        let Some(line) = self.lines.get_mut(usize::from(priority.level())) else { return };
        match line.back_mut() {
            Some((then, Turn::Messages { end, .. })) if *then == since && *end == first => *end = behind,
            _ => line.push_back((since, Turn::Messages { first, end: behind })),
        }
        self.levels |= bit(priority);
        let count = usize::try_from(behind.saturating_sub(first)).unwrap_or(usize::MAX);
        self.count = self.count.saturating_add(count);
    }

    pub(crate) fn push_lane(&mut self, priority: Priority, since: Timestamp, lane: u32) {
        let Some(line) = self.lines.get_mut(usize::from(priority.level())) else { return };
        line.push_back((since, Turn::Lane(lane)));
        self.levels |= bit(priority);
        self.count = self.count.saturating_add(1);
    }

    /// Turns, those of messages that stand together as one.
    pub(crate) fn turns(&self) -> usize {
        self.lines.iter().map(VecDeque::len).fold(0, usize::saturating_add)
    }

    /// Takes out the turns that are not to come any more.
    pub(crate) fn retain(&mut self, mut is_live: impl FnMut(Turn) -> bool) {
        for (line, level) in self.lines.iter_mut().zip(0u32..) {
            line.retain(|(_, turn)| {
                let stays = is_live(*turn);
                if !stays {
                    self.count = self.count.saturating_sub(turn.len());
                }
                stays
            });
            if line.is_empty() {
                self.levels &= !1u16.checked_shl(level).unwrap_or_default();
            }
        }
    }

    /// The line of each level, the last first.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn lines(&self) -> impl Iterator<Item = &VecDeque<(Timestamp, Turn)>> {
        self.lines.iter()
    }

    /// Takes the turn that has waited longest, when each level of priority counts as so much waiting: a lane, or at most so many messages.
    pub(crate) fn pop(&mut self, ageing: Duration, max: usize) -> Option<Turn> {
        let level = self.longest(ageing)?;
        let line = self.lines.get_mut(level)?;
        let (_, turn) = line.front_mut()?;
        let (popped, is_rest) = match turn {
            Turn::Lane(_) => (*turn, false),
            Turn::Messages { first, end } => {
                let from = *first;
                let to = from.saturating_add(u64::try_from(max).unwrap_or(u64::MAX)).min(*end);
                *first = to;
                (Turn::Messages { first: from, end: to }, to < *end)
            }
        };
        if !is_rest {
            line.pop_front();
            if line.is_empty() {
                self.levels &= !1u16.checked_shl(u32::try_from(level).ok()?)?;
            }
        }
        self.count = self.count.saturating_sub(popped.len());
        Some(popped)
    }

    fn longest(&self, ageing: Duration) -> Option<usize> {
        if self.levels.is_power_of_two() {
            return usize::try_from(self.levels.trailing_zeros()).ok();
        }
        let ageing = i64::try_from(ageing.as_nanos()).unwrap_or(i64::MAX);
        let heads = self.lines.iter().zip(0i64..).filter_map(|(line, level)| {
            let (since, _) = line.front()?;
            Some((since.as_nanos().saturating_sub(level.saturating_mul(ageing)), level))
        });
        // Of two that are equal, the one of the higher level.
        let (_, level) = heads.min_by_key(|(since, level)| (*since, level.saturating_neg()))?;
        usize::try_from(level).ok()
    }
}

impl Turn {
    fn len(self) -> usize {
        match self {
            Self::Lane(_) => 1,
            Self::Messages { first, end } => usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX),
        }
    }
}

fn bit(priority: Priority) -> u16 {
    1u16.checked_shl(u32::from(priority.level())).unwrap_or_default()
}
