//! The chain over all commits of a store: each group of changes that were committed together is one link, bound to the one before it by its hash.

use sha2::{Digest, Sha256};

use crate::name::{ChangeId, Tenant};

/// A place in the chain: so many groups, and the hash that binds them all. Whoever keeps one can tell later whether anything up to it was changed or cut off.
///
/// ```
/// use txn_change::{ChangeId, GroupDigest, Link, Tenant};
/// let mut group = GroupDigest::default();
/// group.add(&Tenant::default(), &ChangeId::new("note.write/1")?, &[7; 32], 1);
/// let first = Link::START.next(&group.finish());
/// assert_eq!(first.number, 1);
/// assert_ne!(first.hash, Link::START.hash);
/// # Ok::<(), txn_change::NameError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    /// How many groups.
    pub number: u64,
    /// The hash over them.
    pub hash: [u8; 32],
}

impl Link {
    /// Where every chain begins.
    pub const START: Self = Self { number: 0, hash: [0; 32] };

    /// The link of the next group: SHA-256 over the hash before, the number, and the group's counts and digest, numbers in eight bytes, highest first.
    #[must_use]
    pub fn next(&self, group: &Group) -> Self {
        let number = self.number.saturating_add(1);
        let mut hasher = Sha256::new();
        hasher.update(self.hash);
        hasher.update(number.to_be_bytes());
        hasher.update(group.changes.to_be_bytes());
        hasher.update(group.events.to_be_bytes());
        hasher.update(group.digest);
        Self { number, hash: hasher.finalize().into() }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::START
    }
}

/// What the chain holds of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group {
    /// How many changes.
    pub changes: u64,
    /// How many events they appended.
    pub events: u64,
    /// The digest over the changes, in order.
    pub digest: [u8; 32],
}

/// Collects the changes of one group.
#[derive(Debug, Clone, Default)]
pub struct GroupDigest {
    hasher: Sha256,
    changes: u64,
    events: u64,
}

impl GroupDigest {
    /// Adds the next change: its tenant, id, digest ([`crate::Stored::digest`]) and number of events.
    pub fn add(&mut self, tenant: &Tenant, id: &ChangeId, digest: &[u8; 32], events: u32) {
        for part in [tenant.as_bytes(), id.as_bytes(), digest] {
            self.hasher.update((part.len() as u64).to_be_bytes());
            self.hasher.update(part);
        }
        self.changes = self.changes.saturating_add(1);
        self.events = self.events.saturating_add(u64::from(events));
    }

    /// The group.
    #[must_use]
    pub fn finish(self) -> Group {
        Group { changes: self.changes, events: self.events, digest: self.hasher.finalize().into() }
    }
}

#[cfg(test)]
mod tests;
