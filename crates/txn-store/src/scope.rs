//! One tenant's view of a store: what domain code and hosts are given.

use std::{fmt, sync::Arc};

use txn_change::{Change, ChangeId, Counter, Key, Link, Record, Stored, Tenant};

use crate::{
    cursor::Cursor,
    error::{Error, ErrorKind},
    query::{Page, Query},
    store::{Ask, Commit, Freshness, Outcome, Receipt, Resolution, Snapshot, Store},
};

/// A store bound to one tenant. No call on it reads or writes another tenant's rows, and a change committed through it cannot write what belongs to txn's own
/// services.
#[derive(Clone)]
pub struct Scope {
    store: Arc<dyn Store>,
    tenant: Tenant,
    may_write_reserved: bool,
}

impl Scope {
    /// Binds a store to a tenant.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: Tenant) -> Self {
        Self { store, tenant, may_write_reserved: false }
    }

    /// The scope of txn's own services, which keep the rules of the reserved kinds. Not for hosts.
    #[doc(hidden)]
    #[must_use]
    pub fn of_services(store: Arc<dyn Store>, tenant: Tenant) -> Self {
        Self { store, tenant, may_write_reserved: true }
    }

    /// The tenant.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The store behind it.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Commits one change.
    ///
    /// # Errors
    /// As [`Store::commit`]. A change that writes a reserved kind is [`Outcome::Refused`].
    pub async fn commit(&self, change: Change) -> Result<Outcome, Error> {
        if !self.may_write_reserved
            && let Err(invalid) = change.check_host()
        {
            return Ok(Outcome::Refused(invalid.into()));
        }
        let batch = vec![Commit { tenant: self.tenant.clone(), change }];
        self.store.commit(batch).await.pop().unwrap_or_else(|| Err(one_each("result for a change")))
    }

    /// Commits changes in one call, each on its own: one result each, in order; a later one sees the earlier ones.
    ///
    /// # Errors
    /// As [`Store::commit`]. A change that writes a reserved kind is [`Outcome::Refused`].
    pub async fn commit_many(&self, changes: Vec<Change>) -> Vec<Result<Outcome, Error>> {
        let refusal = |change: &Change| if self.may_write_reserved { None } else { change.check_host().err() };
        let mut refused = Vec::new();
        let mut batch = Vec::with_capacity(changes.len());
        for (place, change) in changes.into_iter().enumerate() {
            match refusal(&change) {
                Some(invalid) => refused.push((place, invalid)),
                None => batch.push(Commit { tenant: self.tenant.clone(), change }),
            }
        }
        let mut outcomes = self.store.commit(batch).await;
        for (place, invalid) in refused {
            // In order, so that each finds those before it in place.
            outcomes.insert(place.min(outcomes.len()), Ok(Outcome::Refused(invalid.into())));
        }
        outcomes
    }

    /// An ask of this tenant, to be filled and given to [`Scope::get`].
    #[must_use]
    pub fn ask(&self) -> Ask {
        Ask::new(self.tenant.clone())
    }

    /// Reads one snapshot. The ask is answered for this scope's tenant, whatever tenant it names.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn get(&self, ask: Ask) -> Result<Snapshot, Error> {
        let ask = Ask { tenant: self.tenant.clone(), ..ask };
        self.store.get(vec![ask]).await?.pop().ok_or_else(|| one_each("snapshot for an ask"))
    }

    /// Reads snapshots in one call, one per ask, in order; each is answered for this scope's tenant.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn get_many(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        self.store.get(asks.into_iter().map(|ask| Ask { tenant: self.tenant.clone(), ..ask }).collect()).await
    }

    /// Settles an id whose outcome is unknown: says what was committed under it, or plants there that nothing was, so that a change which comes late is refused with
    /// [`Refusal::GivenUp`](txn_change::Refusal::GivenUp). A call that was lost may still be running: this waits for it. Repeated, it gives the same.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use std::sync::Arc;
    /// use txn_change::{Change, ChangeId, Fingerprint, Refusal, Tenant};
    /// use txn_store::{memory::Memory, Outcome, Resolution, Scope};
    /// # pollster::block_on(async {
    /// let scope = Scope::new(Arc::new(Memory::new()), Tenant::default());
    /// let id = ChangeId::new("note.write/1")?;
    /// assert_eq!(scope.resolve(&id).await?, Resolution::NotDone);
    /// let late = Change::new(id.clone(), Fingerprint::of("note.write", "hello"));
    /// assert_eq!(scope.commit(late).await?, Outcome::Refused(Refusal::GivenUp { id }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an id of txn's own; else as [`Store::commit`] and [`Store::get`]; retryable, as long as the store cannot tell.
    pub async fn resolve(&self, id: &ChangeId) -> Result<Resolution, Error> {
        let change = Change::not_done(id.clone());
        if !self.may_write_reserved {
            let reserved = |invalid| Error::new(ErrorKind::Invalid, format!("settling {id}")).because(invalid);
            change.check_host().map_err(reserved)?;
        }
        let batch = vec![Commit { tenant: self.tenant.clone(), change }];
        let settled = self.store.commit(batch).await.pop().unwrap_or_else(|| Err(one_each("result for a change")))?;
        match settled {
            Outcome::Done(receipt) if receipt.answer.type_name() == Change::NOT_DONE_TYPE => Ok(Resolution::NotDone),
            Outcome::Done(receipt) => Ok(Resolution::Done(receipt)),
            Outcome::Unknown(id) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("settling {id} has an unknown outcome itself; ask again"),
            )),
            Outcome::Refused(refusal) => {
                let snapshot = self.get(self.ask().stored(id.clone())).await?;
                let Some(stored) = snapshot.stored else {
                    return Err(Error::new(ErrorKind::Invalid, format!("{id} cannot be settled: {refusal}")));
                };
                let Stored { answer, recorded_at, .. } = stored;
                let (freshness, head) = (Freshness::default(), Link::default());
                Ok(Resolution::Done(Receipt { answer, replayed: true, recorded_at, freshness, head }))
            }
        }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn record(&self, key: Key) -> Result<Option<Record>, Error> {
        Ok(self.get(self.ask().record(key)).await?.records.pop().flatten())
    }

    /// Reads one counter.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn counter(&self, key: Key) -> Result<Option<Counter>, Error> {
        Ok(self.get(self.ask().counter(key)).await?.counters.pop().flatten())
    }

    /// Finds one page.
    ///
    /// # Errors
    /// As [`Store::find`].
    pub async fn find(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.store.find(&self.tenant, query, after, limit).await
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

fn one_each(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the store gave no {what}; its contract is one each"))
}
