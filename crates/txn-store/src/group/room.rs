//! Who may wait: a bound on the changes and the bytes of all, and on what one tenant has of it, so that no tenant fills the room alone.
//!
//! The first three quarters of a limit are anybody's. The last quarter is for tenants who have no more than a 32nd of it in all. So one tenant never has more than three quarters, and to find no room one who has less than
//! a 32nd needs seven others, each with its 32nd, in the last quarter alone. A call counts for the tenant of its first change, until its last change is answered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use txn_change::Tenant;

use crate::{
    error::{Error, ErrorKind},
    limits::{StoreLimits, share_max},
};

/// What waits, and whose it is.
#[derive(Default)]
pub(crate) struct Room(Mutex<State>);

#[derive(Default)]
struct State {
    all: Held,
    tenants: HashMap<Tenant, Held>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    changes: usize,
    bytes: usize,
}

/// What one call has of the room, as long as this lives.
pub(crate) struct Seat {
    room: Arc<Room>,
    tenant: Tenant,
    held: Held,
}

impl Room {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic between two writes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for a call of this tenant.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] when there is none now, [`ErrorKind::Invalid`] when there never is.
    pub(crate) fn take(
        self: &Arc<Self>,
        limits: &StoreLimits,
        tenant: &Tenant,
        changes: usize,
        bytes: usize,
    ) -> Result<Seat, Error> {
        let (changes_max, bytes_max) = (limits.queue_max, limits.queue_bytes_max);
        if bytes > share_max(bytes_max) {
            let context = format!(
                "a call of {bytes} bytes; of queue_bytes_max {bytes_max}, one may take {}",
                share_max(bytes_max)
            );
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        let mut state = self.state();
        let (all, own) = (state.all, state.tenants.get(tenant).copied().unwrap_or_default());
        admit("changes", "queue_max", changes_max, [all.changes, own.changes, changes])?;
        admit("bytes of changes", "queue_bytes_max", bytes_max, [all.bytes, own.bytes, bytes])?;
        let held = Held { changes, bytes };
        state.all = all.and(held);
        // Most tenants are here already.
        match state.tenants.get_mut(tenant) {
            Some(of_tenant) => *of_tenant = own.and(held),
            None => drop(state.tenants.insert(tenant.clone(), held)),
        }
        Ok(Seat { room: Arc::clone(self), tenant: tenant.clone(), held })
    }
}

fn admit(what: &str, limit: &str, max: usize, [all, own, more]: [usize; 3]) -> Result<(), Error> {
    let (after, own_after) = (all.saturating_add(more), own.saturating_add(more));
    if after <= share_max(max) || (after <= max && own_after <= (max / 32).max(1)) {
        return Ok(());
    }
    let share = share_max(max);
    let context = format!(
        "{all} {what} are waiting, {more} more asked; at most {max} may ({limit}), {share} of them from one tenant, which has {own}"
    );
    Err(Error::new(ErrorKind::Overloaded, context))
}

impl Held {
    const fn and(self, more: Self) -> Self {
        Self { changes: self.changes.saturating_add(more.changes), bytes: self.bytes.saturating_add(more.bytes) }
    }

    const fn without(self, less: Self) -> Self {
        Self { changes: self.changes.saturating_sub(less.changes), bytes: self.bytes.saturating_sub(less.bytes) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.room.state();
        state.all = state.all.without(self.held);
        if let Some(of_tenant) = state.tenants.get_mut(&self.tenant) {
            *of_tenant = of_tenant.without(self.held);
            if *of_tenant == Held::default() {
                state.tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(queue_max: usize, queue_bytes_max: usize) -> StoreLimits {
        StoreLimits { queue_max, queue_bytes_max, ..StoreLimits::default() }
    }

    fn tenant(number: usize) -> Tenant {
        Tenant::new(format!("tenant-{number}")).unwrap()
    }

    /// So many calls of one change and of so many bytes, as far as there is room.
    fn fill(room: &Arc<Room>, limits: &StoreLimits, of: usize, bytes: usize) -> Vec<Seat> {
        std::iter::from_fn(|| room.take(limits, &tenant(of), 1, bytes).ok()).collect()
    }

    /// One tenant with as many changes as the queue took made every other overloaded.
    #[test]
    fn who_has_little_finds_room_whatever_seven_others_do() {
        let (changes, bytes) = (limits(640, usize::MAX), limits(usize::MAX, 640));
        for (limits, weight) in [(changes, 0), (bytes, 1)] {
            let room = Arc::new(Room::default());
            let mut seats = vec![fill(&room, &limits, 0, weight)];
            assert_eq!(seats[0].len(), 480, "alone, three quarters");
            for other in 1..=7 {
                seats.push(fill(&room, &limits, other, weight));
                assert_eq!(seats[other].len(), 20, "a 32nd");
            }
            assert_eq!(fill(&room, &limits, 8, weight).len(), 20, "and so many are left");
            seats.clear();
            assert_eq!(fill(&room, &limits, 3, weight).len(), 480);
            let state = room.state();
            assert!(state.all == Held::default() && state.tenants.is_empty(), "nothing is left of who has gone");
        }
    }

    #[test]
    fn bytes_that_wait_are_bounded_and_the_limit_is_named() {
        let (room, limits) = (Arc::new(Room::default()), limits(100, 1_000));
        let _waits = room.take(&limits, &tenant(1), 1, 700).unwrap();
        for (bytes, kind) in [(51, ErrorKind::Overloaded), (751, ErrorKind::Invalid)] {
            let error = room.take(&limits, &tenant(1), 1, bytes).err().unwrap();
            assert!(error.kind() == kind && error.to_string().contains("queue_bytes_max"), "{error}");
        }
        assert!(room.take(&limits, &tenant(1), 1, 50).is_ok());
    }

    #[test]
    fn a_small_queue_takes_what_it_says() {
        for queue_max in 1..4 {
            assert_eq!(fill(&Arc::new(Room::default()), &limits(queue_max, 1), 0, 0).len(), queue_max);
        }
    }
}
