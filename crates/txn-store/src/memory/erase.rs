//! Erasing content in place.

use std::sync::Arc;

use txn_change::{Body, ChangeId, Format, Stored, Tenant};

use super::state::State;
use crate::{admin::Erase, error::Error, store::Recorded};

/// Erases all of it, or nothing when something of it may not be erased; says of how many rows.
pub(super) fn erase(state: &mut State, tenant: &Tenant, what: &[Erase]) -> Result<u64, Error> {
    Erase::check(what)?;
    let State { tenants, log, .. } = state;
    let Some(of_tenant) = tenants.get_mut(tenant) else { return Ok(0) };
    let is_of = |recorded: &Recorded, id: &ChangeId| recorded.tenant == *tenant && recorded.change == *id;
    for erase in what {
        let reserved = match erase {
            Erase::Record(_) => None,
            Erase::Answer(id) => {
                of_tenant.changes.get(id).map(|stored| &stored.answer).filter(|answer| answer.is_reserved())
            }
            Erase::Events(id) => {
                let mut of_change =
                    log.iter().flatten().filter(|recorded| is_of(recorded, id)).map(|recorded| &recorded.event.body);
                of_change.find(|body| body.is_reserved())
            }
        };
        if let Some(body) = reserved {
            return Err(Erase::refuse(body.type_name()));
        }
    }
    let mut count = 0u64;
    let mut gone = |body: &mut Body| {
        let is_there = body.format() != Format::Erased;
        if is_there {
            *body = body.erased();
            count = count.saturating_add(1);
        }
        is_there
    };
    for erase in what {
        match erase {
            Erase::Record(key) => {
                if let Some(record) = of_tenant.records.get_mut(key)
                    && gone(&mut record.body)
                {
                    record.version = record.version.saturating_add(1);
                    for term in std::mem::take(&mut record.terms) {
                        of_tenant.record_terms.remove(&(term, key.clone()));
                    }
                }
            }
            Erase::Answer(id) => {
                if let Some(stored) = of_tenant.changes.get_mut(id) {
                    let mut erased = Stored::clone(stored);
                    gone(&mut erased.answer);
                    *stored = Arc::new(erased);
                }
            }
            Erase::Events(id) => {
                for recorded in log.iter_mut().flatten().filter(|recorded| is_of(recorded, id)) {
                    gone(&mut recorded.event.body);
                }
            }
        }
    }
    Ok(count)
}
