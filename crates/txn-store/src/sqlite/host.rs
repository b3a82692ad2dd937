//! Changes inside a host's own transactions: the host's rows and ours in one file, committed together by the host.
//!
//! The host writes over a connection of its own, in this process. SQLite lets one connection write at a time, so a host's transaction keeps the store's writer waiting, and the other way round; the writer
//! notices that another has written, and forgets what it remembered.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, TransactionState};
use txn_change::{Change, Tenant, Verdict, evaluate};

use super::{
    OBSERVE, Shared, Sqlite,
    load::Rows,
    open,
    reader::Question,
    rows::{Names, failed},
    sql,
    write::{Numbers, Written, classes},
};
use crate::{
    error::{Error, ErrorKind},
    host::{Pending, Tentative, refuse},
    store::{Freshness, Receipt},
};

/// What the threads of a store know of hosts.
#[derive(Default)]
pub(super) struct Hosts {
    /// How many wait to begin.
    beginning: AtomicUsize,
    is_seen: AtomicBool,
}

/// How long the writer stands back for a host: more than a host lets pass before it asks again.
const STAND_BACK: Duration = Duration::from_millis(1);

impl Hosts {
    /// Whether there are any, so that commits may come which no thread of the store has made.
    pub(super) fn is_seen(&self) -> bool {
        self.is_seen.load(Ordering::SeqCst)
    }

    /// Lets a host begin that waits: SQLite has no queue of its own, and a busy writer would be first each time.
    pub(super) fn stand_back(&self) {
        if self.beginning.load(Ordering::SeqCst) > 0 {
            thread::sleep(STAND_BACK);
        }
    }
}

/// One that waits to begin.
struct Beginning<'a>(&'a AtomicUsize);

impl<'a> Beginning<'a> {
    fn of(hosts: &'a Hosts) -> Self {
        hosts.beginning.fetch_add(1, Ordering::SeqCst);
        Self(&hosts.beginning)
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sqlite {
    /// Opens a connection of a host's to the store's file, for [`Sqlite::begin`]: as durable as the store, waiting up to five seconds for others that write. It is the host's to keep, on one thread at a time;
    /// a host that writes on several threads has several.
    ///
    /// The host's tables stand beside the store's: give their names a prefix of your own, and leave the store's tables alone.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the file cannot be opened, [`ErrorKind::Closed`] when the store takes no more changes.
    pub fn connection(&self) -> Result<Connection, Error> {
        self.check_open()?;
        open::host_connection(&self.shared.path, self.shared.durability)
    }

    /// Begins a transaction of a host's that may write. Waits its turn; the store's own commits wait until it ends.
    ///
    /// # Errors
    /// [`ErrorKind::Contended`] when others have been writing for too long, [`ErrorKind::Closed`] when the store takes no more changes.
    pub fn begin<'c>(&self, connection: &'c mut Connection) -> Result<Transaction<'c>, Error> {
        self.check_open()?;
        let _beginning = Beginning::of(&self.shared.hosts);
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(in_the_way("beginning to write"))
    }

    /// Judges a change inside a host's transaction, and writes it there: it is committed exactly if that transaction is. Blocks on the disk.
    ///
    /// The same as [`Store::commit`](crate::Store::commit) otherwise: limits, replays, refusals. Nothing of a reserved kind is written for a host. See `docs/host-transactions.md` for what is promised.
    ///
    /// ```
    /// use txn_change::{Body, Change, ChangeId, Fingerprint, Key, Kind, Tenant};
    /// use txn_store::{Tentative, sqlite::Sqlite};
    /// let folder = tempfile::tempdir()?;
    /// let store = Sqlite::open(folder.path().join("shop.db"))?;
    /// let mut connection = store.connection()?;
    /// connection.execute_batch("CREATE TABLE app_visits(visitor TEXT)")?;
    ///
    /// let note = Key::of(Kind::new("note")?).number(1).build();
    /// let change = Change::new(ChangeId::new("note.write/1")?, Fingerprint::of("note.write", "hello"))
    ///     .insert(note, Body::raw("note", 1, br#""hello""#.to_vec()), vec![]);
    /// let tx = store.begin(&mut connection)?;
    /// tx.execute("INSERT INTO app_visits VALUES ('ann')", [])?;
    /// match store.commit_in(&tx, &Tenant::default(), &change)? {
    ///     Tentative::Pending(pending) => {
    ///         tx.commit()?;
    ///         assert!(!store.committed(pending).replayed);
    ///     }
    ///     Tentative::Refused(_) => tx.rollback()?,
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Nothing of the change is written then. [`ErrorKind::Contended`] when the transaction was not begun to write and others write: begin it again, with [`Sqlite::begin`]. [`ErrorKind::Invalid`] when the
    /// connection is to another file, or not set up like one of [`Sqlite::connection`]. [`ErrorKind::Closed`] when the store takes no more changes. Else what the medium or a damaged row says; after some
    /// faults of the medium SQLite has ended the transaction, and its COMMIT fails.
    pub fn commit_in(&self, tx: &Transaction<'_>, tenant: &Tenant, change: &Change) -> Result<Tentative, Error> {
        let judged = self.judge_in(tx, tenant, change);
        OBSERVE.in_host(&judged);
        judged
    }

    fn judge_in(&self, tx: &Transaction<'_>, tenant: &Tenant, change: &Change) -> Result<Tentative, Error> {
        self.check_open()?;
        if let Some(refusal) = refuse(change, &self.shared.limits.change) {
            return Ok(Tentative::Refused(refusal));
        }
        check_connection(tx, &self.shared)?;
        if !self.shared.hosts.is_seen.swap(true, Ordering::SeqCst) {
            // A reader begins to look for what hosts have committed.
            self.look();
        }
        let savepoint = Savepoint::begin(tx)?;
        let written = write(tx, &self.shared, tenant, change)?;
        if matches!(written, Tentative::Pending(_)) {
            savepoint.keep()?;
        }
        Ok(written)
    }

    /// Says that the host's transaction is committed, so that who watches the log is woken at once. Without it they are woken within a tenth of a second. Nothing is taken on trust: a reader looks.
    pub fn committed(&self, pending: Pending) -> Receipt {
        self.look();
        let head = pending.head;
        pending.receipt(head)
    }

    fn look(&self) {
        // A queue that is full will be looked at later, and one that is closed has woken all.
        let _ = self.shared.questions.push(Question::Look, 1);
    }

    fn check_open(&self) -> Result<(), Error> {
        self.shared.check_open()
    }
}

/// What is written behind it is undone when it is dropped.
struct Savepoint<'a> {
    connection: &'a Connection,
    is_kept: bool,
}

impl<'a> Savepoint<'a> {
    fn begin(connection: &'a Connection) -> Result<Self, Error> {
        connection.execute_batch(sql::SAVEPOINT).map_err(failed("beginning a change"))?;
        Ok(Self { connection, is_kept: false })
    }

    fn keep(mut self) -> Result<(), Error> {
        self.connection.execute_batch(sql::RELEASE).map_err(failed("ending a change"))?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Savepoint<'_> {
    fn drop(&mut self) {
        let is_there = !self.is_kept && !self.connection.is_autocommit();
        if is_there && self.connection.execute_batch(sql::UNDO_AND_RELEASE).is_err() {
            // Better that the host's COMMIT fails than that half a change is committed.
            let _ = self.connection.execute_batch(sql::ROLLBACK);
        }
    }
}

/// Others that write are not a fault of the medium.
fn in_the_way(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::new(ErrorKind::Contended, format!("{doing}; begin the transaction again")).because(error)
        }
        _ => failed(doing)(error),
    }
}

/// Whether a commit over this connection is a commit of this store, as durable as its own, and nobody else can write before it.
fn check_connection(tx: &Transaction<'_>, shared: &Shared) -> Result<(), Error> {
    let invalid = |what: String| Err(Error::new(ErrorKind::Invalid, format!("a host's connection: {what}")));
    let path = tx.path().filter(|path| !path.is_empty()).map(|path| fs::canonicalize(Path::new(path)));
    if !matches!(path, Some(Ok(path)) if path == shared.path) {
        return invalid(format!("it is not one to {}", shared.path.display()));
    }
    let read = || {
        let synchronous = tx.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))?;
        let has_arrays = tx.prepare_cached(sql::HAS_ARRAYS)?.exists([])?;
        Ok((synchronous, has_arrays))
    };
    let (synchronous, has_arrays) = read().map_err(failed("looking at a host's connection"))?;
    if synchronous < open::synchronous(shared.durability).1 || !has_arrays {
        return invalid("it is not set up like one of Sqlite::connection".into());
    }
    let state = tx.transaction_state::<&str>(None).map_err(failed("looking at a host's transaction"))?;
    if state != TransactionState::Write {
        // A statement that writes nothing takes the lock, or says why not.
        tx.execute(sql::WRITE_NOTHING, []).map_err(in_the_way("the transaction was not begun to write"))?;
    }
    Ok(())
}

fn write(tx: &Transaction<'_>, shared: &Shared, tenant: &Tenant, change: &Change) -> Result<Tentative, Error> {
    // Nobody else writes from here to the host's COMMIT, so these are the last numbers, and the time is not before that of the last commit.
    let mut numbers = Numbers::read(tx)?;
    let now = shared.time.now()?;
    let mut rows = Rows::of(tenant.clone());
    rows.load(tx, &mut Names::default(), &[change])?;
    let (stored, replayed) = match evaluate(&rows, change, now) {
        Err(refusal) => return Ok(Tentative::Refused(refusal)),
        Ok(Verdict::Replayed(stored)) => (stored, true),
        Ok(Verdict::Accepted(effects)) => {
            let stored = effects.stored.clone();
            let (mut classes, mut written) = (classes(tx)?, Written::default());
            written.accept(&mut rows, &mut classes, &mut numbers, change, effects);
            written.store(tx, &[&rows], &classes, &mut numbers)?;
            (stored, false)
        }
    };
    Ok(Tentative::Pending(Pending {
        answer: stored.answer,
        replayed,
        recorded_at: stored.recorded_at,
        freshness: Freshness(numbers.commit.cast_unsigned()),
        head: numbers.link,
    }))
}
