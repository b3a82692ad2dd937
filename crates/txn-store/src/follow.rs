//! Following the log: event by event from a position, or from where a named consumer stopped.

use std::{collections::VecDeque, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use txn_change::{Body, Change, ChangeId, Document, Expect, Fingerprint, Key, Kind, Refusal, Tenant};

use crate::{
    error::{Error, ErrorKind},
    store::{Ask, Commit, LogItem, Outcome, Position, Store},
};

/// Events that are read at once.
const PAGE: usize = 256;

/// The log from a position on: every event once, in order, waiting for those to come.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
/// use txn_change::{Body, Change, ChangeId, Event, Fingerprint, Tenant};
/// use txn_store::{memory::Memory, Follow, Position, Scope};
/// # pollster::block_on(async {
/// let store = Arc::new(Memory::new());
/// let scope = Scope::new(store.clone(), Tenant::default());
/// let written = Event::new(Body::raw("note.written", 1, b"{}".to_vec()));
/// scope.commit(Change::new(ChangeId::new("note.write/1")?, Fingerprint::of("note.write", "hello")).append(written)).await?;
///
/// let mut log = Follow::new(store, Position(0));
/// assert_eq!(log.next().await?.recorded.event.body.type_name(), "note.written");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
pub struct Follow {
    store: Arc<dyn Store>,
    after: Position,
    items: VecDeque<LogItem>,
}

impl Follow {
    /// Follows the log of all tenants behind a position.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, after: Position) -> Self {
        Self { store, after, items: VecDeque::new() }
    }

    /// The position of the event that was given last.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.after
    }

    /// The next event; waits until there is one. Dropped while it waits, it has lost nothing.
    ///
    /// # Errors
    /// As [`Store::read`] and [`Store::watch`].
    pub async fn next(&mut self) -> Result<LogItem, Error> {
        loop {
            if let Some(item) = self.items.pop_front() {
                self.after = item.position;
                return Ok(item);
            }
            self.items = self.store.read(self.after, PAGE).await?.items.into();
            if self.items.is_empty() {
                self.store.watch(self.after).await?;
            }
        }
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("after", &self.after).finish_non_exhaustive()
    }
}

/// A consumer of the log with a name: how far it has come is kept in the store. Opening takes the name over, and an earlier owner of it can remember nothing
/// more. Events are given at least once: those behind the last [`Consumer::acknowledge`] come again.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
/// use txn_change::{Body, Change, ChangeId, Event, Fingerprint, Tenant};
/// use txn_store::{memory::Memory, Consumer, Scope};
/// # pollster::block_on(async {
/// let store = Arc::new(Memory::new());
/// let scope = Scope::new(store.clone(), Tenant::default());
/// for number in 1..=2 {
///     let written = Event::new(Body::raw("note.written", 1, number.to_string().into_bytes()));
///     let id = ChangeId::new(format!("note.write/{number}"))?;
///     scope.commit(Change::new(id, Fingerprint::of("note.write", &number)).append(written)).await?;
/// }
/// let mut mailer = Consumer::open(store.clone(), "mailer").await?;
/// mailer.next().await?;
/// mailer.acknowledge().await?;
///
/// let mut again = Consumer::open(store, "mailer").await?;
/// assert_eq!(again.next().await?.recorded.event.body.bytes(), b"2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # }
/// ```
pub struct Consumer {
    follow: Follow,
    name: String,
    key: Key,
    /// The record of the cursor as this owner has left it.
    mark: Mark,
    version: u64,
}

/// Where a consumer stands, and how often its name was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    position: u64,
    epoch: u64,
}

impl Document for Mark {
    const TYPE: &'static str = "txn.cursor";
    const SCHEMA: u16 = 1;
}

const CURSOR_KIND: Kind = Kind::reserved("txn-cursor");

impl Consumer {
    /// Opens the cursor of this name, at the beginning of the log when there is none yet, and takes it over.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that cannot be one: 1 to 200 graphic ASCII characters; else as [`Store::commit`].
    pub async fn open(store: Arc<dyn Store>, name: &str) -> Result<Self, Error> {
        let invalid = |what: &dyn fmt::Display| Error::new(ErrorKind::Invalid, format!("a consumer's name: {what}"));
        if !(1..=200).contains(&name.len()) {
            return Err(invalid(&format_args!("{} bytes; 1 to 200 are allowed", name.len())));
        }
        ChangeId::new(name).map_err(|error| invalid(&error))?;
        let key = Key::of(CURSOR_KIND).text(name).map_err(|error| invalid(&error))?.build();
        let follow = Follow::new(store, Position(0));
        let mut consumer =
            Self { follow, name: name.to_owned(), key, mark: Mark { position: 0, epoch: 0 }, version: 0 };
        loop {
            consumer.load().await?;
            let claimed = Mark { epoch: consumer.mark.epoch.saturating_add(1), ..consumer.mark };
            // Somebody else may open it at the same time; whoever comes later owns it.
            if consumer.write(claimed).await? {
                consumer.follow.after = Position(claimed.position);
                return Ok(consumer);
            }
        }
    }

    /// How far everything before has been acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> Position {
        Position(self.mark.position)
    }

    /// The next event; waits until there is one.
    ///
    /// # Errors
    /// As [`Follow::next`].
    pub async fn next(&mut self) -> Result<LogItem, Error> {
        self.follow.next().await
    }

    /// Remembers that everything given so far is done with.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] when another has taken the name over; else as [`Store::commit`], and then the same may be tried again.
    pub async fn acknowledge(&mut self) -> Result<(), Error> {
        let epoch = self.mark.epoch;
        let target = Mark { position: self.follow.after.0, epoch };
        while self.mark.position < target.position {
            if !self.write(target).await? {
                // What stands there may be an acknowledgement of ours whose answer was lost.
                self.load().await?;
                if self.mark.epoch != epoch {
                    let context = format!("the cursor {} was taken over by another", self.name);
                    return Err(Error::new(ErrorKind::Locked, context));
                }
            }
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<(), Error> {
        let ask = Ask::new(Tenant::default()).record(self.key.clone());
        let snapshot = self.follow.store.get(vec![ask]).await?.pop();
        if let Some(record) = snapshot.and_then(|snapshot| snapshot.records.into_iter().flatten().next()) {
            let unreadable = |error| Error::new(ErrorKind::Corrupt, format!("the cursor {}", self.name)).because(error);
            self.mark = record.body.read().map_err(unreadable)?;
            self.version = record.version;
        }
        Ok(())
    }

    /// Writes the record over the version that is known; false when it stands elsewhere.
    async fn write(&mut self, mark: Mark) -> Result<bool, Error> {
        let id = ChangeId::new(format!("txn.cursor/{}/{}", self.name, self.version)).expect("the name was checked");
        let expect = Expect::of((self.version > 0).then_some(self.version));
        let body = Body::of(&mark).expect("numbers have a JSON form");
        let change =
            Change::new(id, Fingerprint::of("txn.cursor", &mark)).put(self.key.clone(), expect, body, Vec::new());
        let commit = Commit { tenant: Tenant::default(), change };
        match self.follow.store.commit(vec![commit]).await.pop() {
            Some(Ok(Outcome::Done(_))) => {
                self.mark = mark;
                self.version = self.version.saturating_add(1);
                Ok(true)
            }
            Some(Ok(Outcome::Refused(Refusal::Conflict { .. } | Refusal::KeyReused { .. }))) => Ok(false),
            Some(Err(error)) => Err(error),
            other => Err(Error::new(ErrorKind::Unavailable, format!("moving the cursor {}: {other:?}", self.name))),
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("name", &self.name).field("mark", &self.mark).finish_non_exhaustive()
    }
}
