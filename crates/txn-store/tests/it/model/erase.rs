//! Content that is erased.

use txn_change::{Body, Format, Tenant};
use txn_store::Erase;

use super::{Model, is_own};

impl Model {
    /// Erases all of it and says of how many rows; nothing when some of it is txn's own.
    pub(crate) fn erase(&mut self, tenant: &Tenant, what: &[Erase]) -> Option<u64> {
        let mut tried = self.clone();
        let mut count = 0;
        for erase in what {
            count += tried.erase_one(tenant, erase)?;
        }
        *self = tried;
        Some(count)
    }

    fn erase_one(&mut self, tenant: &Tenant, erase: &Erase) -> Option<u64> {
        let Self { houses, log, .. } = self;
        let house = houses.get_mut(tenant);
        match erase {
            Erase::Record(key) if key.kind().starts_with("txn-") => None,
            Erase::Record(key) => {
                let Some(record) = house.and_then(|house| house.records.get_mut(key)) else { return Some(0) };
                let count = take(&mut record.body);
                if count > 0 {
                    record.version += 1;
                    record.terms.clear();
                }
                Some(count)
            }
            Erase::Answer(id) => {
                let Some(stored) = house.and_then(|house| house.answers.get_mut(id)) else { return Some(0) };
                (!is_own(&stored.answer)).then(|| take(&mut stored.answer))
            }
            Erase::Events(id) => {
                let mut count = 0;
                let left = log.iter_mut().filter(|logged| !logged.is_gone).map(|logged| &mut logged.recorded);
                for recorded in left.filter(|recorded| recorded.tenant == *tenant && recorded.change == *id) {
                    if is_own(&recorded.event.body) {
                        return None;
                    }
                    count += take(&mut recorded.event.body);
                }
                Some(count)
            }
            other => unreachable!("no history erases {other:?}"),
        }
    }
}

/// Takes the content away; 1 when it was there.
fn take(body: &mut Body) -> u64 {
    let is_there = body.format() != Format::Erased;
    if is_there {
        *body = body.erased();
    }
    u64::from(is_there)
}
