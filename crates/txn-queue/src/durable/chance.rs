//! Numbers by chance: what tells one step from another, and no two leases apart by luck alone.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// A source of numbers that no other process has, seeded by the operating system.
#[derive(Debug, Default)]
pub(crate) struct Chance {
    keys: RandomState,
    count: u64,
}

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.count = self.count.wrapping_add(1);
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(self.count);
        // Room for the tokens that are counted up from here.
        hasher.finish() & !0xffff
    }
}
