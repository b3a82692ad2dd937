//! What operators and the audit need of a store, beside what services need.

use std::sync::Arc;

use async_trait::async_trait;
use txn_change::{ChangeId, Counter, Entry, Key, Link, Record, Stored, Tenant, Term, Timestamp};

use crate::{
    error::Error,
    store::{Position, Recorded, Store},
};

/// A row of an export. Nothing is left out and nothing is repaired: what does not fit together is exported as it stands, for an audit to name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Row {
    /// A committed change with the entries and events stored for it, each in their order; of a [purged](Purge::Events) one, with the events that stay.
    Commit {
        /// The tenant.
        tenant: Tenant,
        /// The id.
        id: ChangeId,
        /// What is stored under it.
        stored: Stored,
        /// Its entries.
        entries: Vec<Entry>,
        /// Its events.
        events: Vec<Recorded>,
    },
    /// The link of the changes since the link before. Changes behind the last link are committed and not yet chained.
    Link {
        /// The link as it is stored.
        link: Link,
        /// How many changes it holds.
        changes: u64,
        /// How many events.
        events: u64,
        /// Where the log ended with it.
        position: Position,
    },
    /// How far the store was purged. Stands before everything else.
    Purged {
        /// Among so many changes from the beginning of the chain, answers may have been let go of.
        answers: u64,
        /// Up to here, events that are not lasting have been.
        events: Position,
    },
    /// A counter.
    Counter {
        /// The tenant.
        tenant: Tenant,
        /// The key.
        key: Key,
        /// The row.
        counter: Counter,
    },
    /// A record.
    Record {
        /// The tenant.
        tenant: Tenant,
        /// The key.
        key: Key,
        /// The row.
        record: Record,
        /// The terms under which the index holds the record; they should be those in the row.
        indexed: Vec<Term>,
    },
    /// Something that belongs to nothing: an entry without its change, an index term without its record, bytes that cannot be decoded.
    Orphan {
        /// Where it was found, and what it is.
        what: String,
    },
}

/// A consistent reading of a whole store, in parts: first how far it was purged, and every change in the order of the chain, each group before its link; then every counter and every record.
#[async_trait]
pub trait Export: Send {
    /// The next rows, at most `max`; empty at the end.
    async fn next(&mut self, max: usize) -> Result<Vec<Row>, Error>;
}

/// Content that is to be gone. What belongs to txn holds ids rather than personal data, and stays: its services and the audit read it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Erase {
    /// The content and the index terms of a record. Its key stays, and its version grows by one, so that a decision that read it before is not committed.
    Record(Key),
    /// The answer under a change's id. The id stays, and a repetition is answered with the erased body.
    Answer(ChangeId),
    /// The payloads of all events of a change. Their ids, subjects and terms stay: they carry ids rather than personal data.
    Events(ChangeId),
}

impl Erase {
    /// The refusal to erase what belongs to txn.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
    pub(crate) fn refuse(name: &str) -> Error {
        Error::new(crate::ErrorKind::Invalid, format!("{name} belongs to txn and is not erased"))
    }

    /// Refuses what can be seen to belong to txn before anything is read.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
    pub(crate) fn check(what: &[Self]) -> Result<(), Error> {
        match what
            .iter()
            .find_map(|erase| if let Self::Record(key) = erase { key.is_reserved().then_some(key) } else { None })
        {
            Some(key) => Err(Self::refuse(&key.to_string())),
            None => Ok(()),
        }
    }
}

/// What may be let go of when it is old. Ids are not: an id that was forgotten would be settled as not done by [`Scope::resolve`](crate::Scope::resolve), and its change could be executed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purge {
    /// The answers of changes that left an entry or a fact, which tell that they were done; those of txn's own services too. A repetition is answered as done, with the [erased](txn_change::Format::Erased) answer. The
    /// answers of other changes stay: nothing else tells what came of them.
    Answers,
    /// The events that are not [lasting](txn_change::Event::is_lasting), and with them the log up to there, as far as every [`Consumer`](crate::Consumer) has acknowledged it. Facts and txn's own events are still
    /// found by id and by term; to read the log from before its new beginning is an error of the kind [`Purged`](crate::ErrorKind::Purged).
    Events,
}

/// How far one call of [`StoreAdmin::purge`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Answers or events that it let go of.
    pub rows: u64,
    /// Whether nothing more is old enough, or free to go, or another process is at it; else another call goes on.
    pub is_complete: bool,
}

/// How a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Where the log begins: the last position that was purged.
    pub tail: Position,
    /// Where the log ends.
    pub head: Position,
    /// Changes committed in all, those of [`unchained`](Self::unchained) among them.
    pub commits: u64,
    /// Changes waiting to be committed.
    pub queued: usize,
    /// The head of the chain.
    pub chain: Link,
    /// How many of the commits are not yet in the chain and the log.
    pub unchained: u64,
}

/// The operator's side of a store: all tenants.
#[async_trait]
pub trait StoreAdmin: Store {
    /// Begins a consistent reading of everything. It holds a transaction open: read on, or drop it; a backend may end one that is left alone for minutes.
    async fn export(&self) -> Result<Box<dyn Export>, Error>;

    /// Asks how the store is; fails when it cannot commit.
    async fn health(&self) -> Result<Health, Error>;

    /// Erases content for good: all of it or, on an error, nothing; says of how many rows. What is left of a content is its SHA-256, so that the chain still proves; who can guess a short content
    /// can check the guess against it. What does not exist, or is erased already, is passed over. Copies that others made (backups, standbys, whoever followed the log) are theirs to erase.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use std::sync::Arc;
    /// use txn_change::{Body, Change, ChangeId, Fingerprint, Format, Key, Kind, Tenant};
    /// use txn_store::{memory::Memory, Erase, Scope, StoreAdmin};
    /// # pollster::block_on(async {
    /// let store = Arc::new(Memory::new());
    /// let scope = Scope::new(store.clone(), Tenant::default());
    /// let person = Key::of(Kind::new("person")?).number(1).build();
    /// let change = Change::new(ChangeId::new("person.add/1")?, Fingerprint::of("person.add", &1))
    ///     .insert(person.clone(), Body::raw("person", 1, br#"{"name":"Ann"}"#.to_vec()), vec![]);
    /// scope.commit(change).await?;
    /// assert_eq!(store.erase(&Tenant::default(), vec![Erase::Record(person.clone())]).await?, 1);
    /// assert_eq!(scope.record(person).await?.expect("the key stays").body.format(), Format::Erased);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what belongs to txn.
    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error>;

    /// Lets go, for all tenants, of what is older than `before` in the store's time; what stays proves the chain as before. One call lets go of about `max` events and index terms, a whole change at least, or of the answers of about `max`
    /// changes, so that it is short; call it until it is complete. Any number of processes may; one of them does it.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use std::sync::Arc;
    /// use txn_change::{Body, Change, ChangeId, Event, Fingerprint, Tenant, Timestamp};
    /// use txn_store::{memory::Memory, ErrorKind, Position, Purge, Scope, Store, StoreAdmin};
    /// # pollster::block_on(async {
    /// let store = Arc::new(Memory::new());
    /// let written = Event::new(Body::raw("note.written", 1, b"{}".to_vec()));
    /// let change = Change::new(ChangeId::new("note.write/1")?, Fingerprint::of("note.write", "hello")).append(written);
    /// Scope::new(store.clone(), Tenant::default()).commit(change).await?;
    ///
    /// while !store.purge(Purge::Events, Timestamp::MAX, 1000).await?.is_complete {}
    /// assert_eq!(store.read(Position(0), 10).await.unwrap_err().kind(), ErrorKind::Purged);
    /// assert_eq!(store.health().await?.tail, store.health().await?.head);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a `max` of 0 or above [`crate::StoreLimits::page_max`].
    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error>;
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: StoreAdmin + ?Sized> StoreAdmin for $pointer<S> {
            async fn export(&self) -> Result<Box<dyn Export>, Error> {
                (**self).export().await
            }

            async fn health(&self) -> Result<Health, Error> {
                (**self).health().await
            }

            async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
                (**self).erase(tenant, what).await
            }

            async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
                (**self).purge(what, before, max).await
            }
        }
    };
}

forward!(Box);
forward!(Arc);
