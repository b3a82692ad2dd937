//! Where the packs of a topic begin, and which of them this process has had in its hands lately.

use std::collections::{BTreeMap, VecDeque};

use super::{pack::Opened, row::Row};
use crate::error::Error;

/// Bytes of packs of a topic that are kept in memory, at most, as far as they are counted.
const KEPT_MAX: usize = 1 << 20;

/// What is counted for a message beside its data.
const MESSAGE_BYTES: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Packs {
    /// In order.
    firsts: VecDeque<u64>,
    kept: BTreeMap<u64, Kept>,
    /// Counts whenever one is touched.
    touches: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    content: Content,
    touched: u64,
    bytes: usize,
}

#[derive(Debug)]
enum Content {
    Written(Vec<Row>),
    Read(Opened),
}

impl Content {
    fn row(&self, position: u64) -> Result<Option<Row>, Error> {
        match self {
            Self::Read(opened) => opened.row(position),
            Self::Written(rows) => {
                let first = rows.first().map_or(0, |row| row.position);
                let at = position.checked_sub(first).and_then(|at| usize::try_from(at).ok());
                Ok(at.and_then(|at| rows.get(at)).cloned())
            }
        }
    }
}

impl Packs {
    /// There is a pack behind the last.
    pub(crate) fn push(&mut self, first: u64) {
        self.firsts.push_back(first);
    }

    /// Where the pack begins that holds this position.
    pub(crate) fn first_of(&self, position: u64) -> Option<u64> {
        let behind = self.firsts.partition_point(|first| *first <= position);
        self.firsts.get(behind.checked_sub(1)?).copied()
    }

    /// Forgets those that end before a position.
    pub(crate) fn forget_before(&mut self, position: u64) {
        while self.firsts.get(1).is_some_and(|second| *second <= position) {
            if let Some(gone) = self.firsts.pop_front()
                && let Some(kept) = self.kept.remove(&gone)
            {
                self.bytes = self.bytes.saturating_sub(kept.bytes);
            }
        }
    }

    /// The message at a position, if its pack is in memory.
    pub(crate) fn row(&mut self, position: u64) -> Result<Option<Row>, Error> {
        let Some(first) = self.first_of(position) else { return Ok(None) };
        let Some(kept) = self.kept.get_mut(&first) else { return Ok(None) };
        self.touches = self.touches.saturating_add(1);
        kept.touched = self.touches;
        kept.content.row(position)
    }

    /// Keeps what was written.
    pub(crate) fn wrote(&mut self, rows: &[Row]) {
        let Some(first) = rows.first() else { return };
        let bytes = rows.iter().map(|row| row.message.data.len().saturating_add(MESSAGE_BYTES));
        let bytes = bytes.fold(0, usize::saturating_add);
        self.keep(first.position, bytes, || Content::Written(rows.to_vec()));
    }

    /// Keeps what was read.
    pub(crate) fn read(&mut self, first: u64, opened: Opened) {
        self.keep(first, opened.bytes(), || Content::Read(opened));
    }

    fn keep(&mut self, first: u64, bytes: usize, content: impl FnOnce() -> Content) {
        if bytes > KEPT_MAX {
            return;
        }
        self.touches = self.touches.saturating_add(1);
        let kept = Kept { content: content(), touched: self.touches, bytes };
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(before) = self.kept.insert(first, kept) {
            self.bytes = self.bytes.saturating_sub(before.bytes);
        }
        // There are some thousands at most.
        while self.bytes > KEPT_MAX
            && let Some(least) = self.kept.iter().min_by_key(|(_, kept)| kept.touched).map(|(first, _)| *first)
            && let Some(gone) = self.kept.remove(&least)
        {
            self.bytes = self.bytes.saturating_sub(gone.bytes);
        }
    }
}
