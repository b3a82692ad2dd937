//! Following the log: event by event from a position, or from where a named consumer stopped.

use std::{collections::VecDeque, fmt, sync::Arc};

use txn_change::Key;

use crate::{
    error::{Error, ErrorKind},
    store::{LogItem, Position, Store},
    tail::{self, Mark, Seen, Tail},
};

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
    limit: usize,
}

impl Follow {
    /// Follows the log of all tenants behind a position.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, after: Position) -> Self {
        Self { store, after, items: VecDeque::new(), limit: tail::PAGE }
    }

    /// The position of the event that was given last.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.after
    }

    /// The next event; waits until there is one. Dropped while it waits, it has lost nothing.
    ///
    /// # Errors
    /// As [`Store::read`] and [`Store::watch`]; of the kind [`ErrorKind::Purged`] when it has fallen behind the beginning of the log.
    pub async fn next(&mut self) -> Result<LogItem, Error> {
        loop {
            if let Some(item) = self.items.pop_front() {
                self.after = item.position;
                return Ok(item);
            }
            self.items = match self.store.read(self.after, self.limit).await {
                Err(error) if tail::is_above_the_limit(&error, &mut self.limit) => continue,
                page => page?.items.into(),
            };
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
/// more. Events are given at least once: those behind the last [`Consumer::acknowledge`] come again, and are not [purged](crate::Purge::Events) before.
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
    /// The cursor as this owner has left it.
    cursor: Seen<Mark>,
}

impl Consumer {
    /// Opens the cursor of this name, at the beginning of the log when there is none yet, and takes it over.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that cannot be one: 1 to 200 graphic ASCII characters; else as [`Store::commit`].
    pub async fn open(store: Arc<dyn Store>, name: &str) -> Result<Self, Error> {
        let key = tail::cursor_key(name)?;
        let mut tried = None;
        loop {
            let (cursor, tail) = tail::load(&*store, &key).await?;
            let before = cursor.unwrap_or(Seen { value: Mark { position: 0, epoch: 0, is_retired: true }, version: 0 });
            let begins = before.value.is_retired;
            let position = if begins { tail.value.position } else { before.value.position };
            let epoch = before.value.epoch.saturating_add(1);
            let follow = Follow::new(Arc::clone(&store), Position(position));
            let mut consumer = Self { follow, name: name.to_owned(), key: key.clone(), cursor: before };
            // Somebody else may open it at the same time; whoever comes later owns it.
            if consumer.write(Mark { position, epoch, is_retired: false }, begins.then_some(tail)).await? {
                return Ok(consumer);
            }
            // The tail may have moved instead.
            tail::moved(&mut tried, before.version.saturating_add(tail.version), "the cursor or the tail")?;
        }
    }

    /// The names of all consumers, in their order, and how far each has acknowledged the log: the slowest is what keeps it from being purged.
    ///
    /// # Errors
    /// As [`Store::find`].
    pub async fn list(store: &dyn Store) -> Result<Vec<(String, Position)>, Error> {
        tail::cursors(store).await
    }

    /// How far everything before has been acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> Position {
        Position(self.cursor.value.position)
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
        self.acknowledge_up_to(self.follow.after).await
    }

    /// Remembers that everything up to `position` is done with, for who reads the log otherwise than by [`Consumer::next`]. What was remembered before stays.
    ///
    /// # Errors
    /// As [`Consumer::acknowledge`].
    pub async fn acknowledge_up_to(&mut self, position: Position) -> Result<(), Error> {
        while self.cursor.value.position < position.0 {
            self.write_own(Mark { position: position.0, ..self.cursor.value }).await?;
        }
        Ok(())
    }

    /// Gives the name up: it holds nothing back any more, and begins where the log begins when it is opened again.
    ///
    /// # Errors
    /// As [`Consumer::acknowledge`].
    pub async fn retire(mut self) -> Result<(), Error> {
        while !self.cursor.value.is_retired {
            self.write_own(Mark { is_retired: true, ..self.cursor.value }).await?;
        }
        Ok(())
    }

    /// Tries to write the cursor; fails when it is another's.
    async fn write_own(&mut self, mark: Mark) -> Result<(), Error> {
        if self.write(mark, None).await? {
            return Ok(());
        }
        // What stands there may be a write of ours whose answer was lost.
        let (cursor, _) = tail::load(&*self.follow.store, &self.key).await?;
        let Some(cursor) = cursor.filter(|cursor| cursor.value.epoch == mark.epoch) else {
            let context = format!("the cursor {} was taken over by another", self.name);
            return Err(Error::new(ErrorKind::Locked, context));
        };
        tail::moved(&mut Some(self.cursor.version), cursor.version, "the cursor")?;
        self.cursor = cursor;
        Ok(())
    }

    /// Writes the cursor over the version that is known, and the tail, if one is given, as it is; false when one of them stands elsewhere.
    async fn write(&mut self, mark: Mark, begins_at: Option<Seen<Tail>>) -> Result<bool, Error> {
        let Seen { version, .. } = self.cursor;
        let change = tail::cursor_change(&self.name, version, mark, begins_at)?;
        let is_written = tail::commit(&*self.follow.store, change, "moving a cursor").await?;
        if is_written {
            self.cursor = Seen { value: mark, version: version.saturating_add(1) };
        }
        Ok(is_written)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("name", &self.name).field("cursor", &self.cursor.value).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use pollster::block_on;
    use txn_change::{Body, Change, ChangeId, Event, Fingerprint, Refusal, Tenant};

    use super::*;
    use crate::{
        cursor::Cursor,
        memory::Memory,
        query::{Page, Query},
        store::{Ask, Commit, LogPage, Outcome, Snapshot},
    };

    /// A store in which ids of cursors are another's, but for the first.
    #[derive(Default)]
    struct Taken(Memory, AtomicU32);

    #[async_trait]
    impl Store for Taken {
        async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
            match batch.first().map(|commit| commit.change.id.clone()) {
                Some(id) if id.starts_with("txn.cursor/") && self.1.fetch_add(1, Ordering::SeqCst) > 0 => {
                    assert!(self.1.load(Ordering::SeqCst) < 10, "tried without end");
                    vec![Ok(Outcome::Refused(Refusal::KeyReused { id }))]
                }
                _ => self.0.commit(batch).await,
            }
        }

        async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
            self.0.get(asks).await
        }

        async fn find(
            &self,
            tenant: &Tenant,
            query: &Query,
            after: Option<&Cursor>,
            limit: usize,
        ) -> Result<Page, Error> {
            self.0.find(tenant, query, after, limit).await
        }

        async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
            self.0.read(after, limit).await
        }

        async fn watch(&self, after: Position) -> Result<Position, Error> {
            self.0.watch(after).await
        }
    }

    /// Acknowledging once went round for ever, and never yielded, when the id of its next step had been used for something else.
    #[test]
    fn a_consumer_whose_next_id_is_taken_says_so() {
        let store: Arc<dyn Store> = Arc::new(Taken::default());
        let mut mailer = block_on(Consumer::open(Arc::clone(&store), "mailer")).unwrap();
        let change = Change::new(ChangeId::new("note").unwrap(), Fingerprint::of("note", "hello"));
        let change = change.append(Event::new(Body::raw("note", 1, b"{}".to_vec())));
        block_on(store.commit(vec![Commit { tenant: Tenant::default(), change }]));
        block_on(mailer.next()).unwrap();
        let error = block_on(mailer.acknowledge()).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("the cursor"), "{error}");
        assert_eq!(block_on(mailer.retire()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
