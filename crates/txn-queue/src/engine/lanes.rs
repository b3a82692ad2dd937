//! The keys that have something to deliver or something under way, each with its messages in order.

use std::{collections::VecDeque, hash::BuildHasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use txn_change::Timestamp;

use crate::name::Key;

/// When a message became due, and where it stands.
pub(crate) type Place = (Timestamp, u64);

/// The messages of one key.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// `None` when the lane is nobody's.
    key: Option<Key>,
    hash: u64,
    pub(crate) line: Line,
    /// Permits in use: leased, or parked.
    pub(crate) busy: u32,
    pub(crate) has_turn: bool,
}

impl Lane {
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) const fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}

/// Those that are ready, in the order in which they became due. Most keys have one message: it needs no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Line {
    first: Option<Place>,
    behind: VecDeque<Place>,
}

impl Line {
    pub(crate) const fn first(&self) -> Option<Place> {
        self.first
    }

    pub(crate) fn pop_first(&mut self) -> Option<Place> {
        std::mem::replace(&mut self.first, self.behind.pop_front())
    }

    pub(crate) fn insert(&mut self, place: Place) {
        let behind = match self.first {
            None => {
                self.first = Some(place);
                return;
            }
            Some(first) if first == place => return,
            Some(first) if place < first => {
                self.first = Some(place);
                first
            }
            Some(_) => place,
        };
        if self.behind.back().is_none_or(|last| *last < behind) {
            self.behind.push_back(behind);
        } else if let Err(at) = self.behind.binary_search(&behind) {
            self.behind.insert(at, behind);
        }
    }

    pub(crate) fn remove(&mut self, place: Place) {
        if self.first == Some(place) {
            self.pop_first();
        } else if let Ok(at) = self.behind.binary_search(&place) {
            self.behind.remove(at);
        }
    }
}

/// Lanes by number: whoever is in one knows its number, and its key is hashed once.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Lanes {
    pub(crate) fn clear(&mut self) {
        self.lanes.clear();
        self.free.clear();
        self.numbers.clear();
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Lane> {
        self.lanes.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::try_from(number).ok()?)
    }

    fn find(&self, hash: u64, key: &Key) -> Option<u32> {
        let is_its = |number: &u32| self.get(*number).is_some_and(|lane| lane.key.as_ref() == Some(key));
        self.numbers.find(hash, is_its).copied()
    }

    /// The lane of a key, a new one if there is none.
    pub(crate) fn enter(&mut self, key: &Key) -> u32 {
        let hash = self.hasher.hash_one(key);
        if let Some(number) = self.find(hash, key) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(Lane::default());
            u32::try_from(self.lanes.len().saturating_sub(1)).expect("fewer lanes than messages that fit into memory")
        });
        let lanes = &mut self.lanes;
        if let Some(lane) = usize::try_from(number).ok().and_then(|at| lanes.get_mut(at)) {
            (lane.key, lane.hash) = (Some(key.clone()), hash);
        }
        let hash_of = |number: &u32| {
            let lane = usize::try_from(*number).ok().and_then(|at| lanes.get(at));
            lane.map_or(0, |lane| lane.hash)
        };
        self.numbers.insert_unique(hash, number, hash_of);
        number
    }

    /// Forgets a lane that has nothing at all.
    pub(crate) fn leave(&mut self, number: u32) {
        let Some(lane) = self.get_mut(number) else { return };
        let hash = lane.hash;
        *lane = Lane::default();
        if let Ok(found) = self.numbers.find_entry(hash, |other| *other == number) {
            found.remove();
        }
        self.free.push(number);
    }
}
