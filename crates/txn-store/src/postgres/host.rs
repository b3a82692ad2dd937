//! Changes inside a host's own transactions: the host's rows and ours in one database, committed together by the host.
//!
//! A change is judged and written behind a savepoint, so that the host's transaction goes on as it was when the change is refused or fails. It waits for rows that others hold; that others were first
//! is found out when it is written, as in a group, and it is judged again. Six round trips: begin, prepare, load, write, restore, and one more where something must stay absent.
//!
//! *Not* undone by dropping a call: locks that it took, which last until the host's transaction ends, as all of its locks do. No statement leaves half a change behind.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row, raw_sql};
use tokio::runtime::Handle;
use txn_change::{Change, Class, Stored, Tenant, Verdict, evaluate};

use super::{
    OBSERVE, Postgres, Shared,
    connect::{connect, failed, is_in_the_way, state, within},
    load::{Facts, Patience, Unloaded, load},
    names::Names,
    write::{Collision, Vacant, Written},
};
use crate::{
    error::{Error, ErrorKind},
    host::{Pending, Tentative, refuse},
    store::{Freshness, Receipt},
};

/// How often a change is judged again because somebody else was first.
const AGAIN_MAX: u32 = 16;

impl Postgres {
    /// Begins a transaction of a host's. The same as `pool.begin()`, but that it may be dropped while it waits: with sqlx 0.9.0 a dropped `begin` can leave a session in the pool that stands inside a
    /// transaction, which the next user of it takes for its own.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the pool has no session to give.
    pub async fn begin(&self, pool: &PgPool) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, Error> {
        let pool = pool.clone();
        let runtime = Handle::try_current().unwrap_or_else(|_| self.shared.runtime.clone());
        // A task is not dropped with its caller: the transaction is begun whole, and then rolled back when nobody wants it.
        let begun = runtime.spawn(async move { pool.begin().await }).await;
        let begun = begun.map_err(|ended| Error::new(ErrorKind::Unavailable, "beginning").because(ended))?;
        begun.map_err(failed("beginning a host's transaction"))
    }

    /// Judges a change inside a host's transaction, and writes it there: it is committed exactly if that transaction is.
    ///
    /// The same as [`Store::commit`](crate::Store::commit) otherwise: limits, replays, refusals. Nothing of a reserved kind is written for a host. Works at every isolation level, with any settings and search
    /// path of the host's, which it finds again as they were. Call it last: from here to its COMMIT the host holds locks that others wait for. See `docs/host-transactions.md` for what is promised.
    ///
    /// ```no_run
    /// use txn_change::{Change, Tenant};
    /// use txn_store::{Tentative, postgres::{Postgres, sqlx}};
    /// # async fn example(store: Postgres, pool: sqlx::PgPool, change: Change) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut tx = store.begin(&pool).await?;
    /// sqlx::query("INSERT INTO app_visits VALUES ('ann')").execute(&mut *tx).await?;
    /// match store.commit_in(&mut tx, &Tenant::default(), &change).await? {
    ///     Tentative::Pending(pending) => {
    ///         tx.commit().await?;
    ///         let receipt = store.committed(pending);
    ///     }
    ///     Tentative::Refused(refusal) => tx.rollback().await?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Nothing of the change is written then, and the host's transaction goes on, unless the session itself is lost. [`ErrorKind::Contended`] when others were first or held rows for too long, a deadlock and a
    /// serialisation failure among them: the host rolls back and begins its transaction again. [`ErrorKind::Invalid`] when no transaction is begun, has failed already or only reads, and when the host's
    /// role lacks a right. Else as the server says.
    pub async fn commit_in(&self, tx: &mut PgConnection, tenant: &Tenant, change: &Change) -> Result<Tentative, Error> {
        let judged = self.judge_in(tx, tenant, change).await;
        OBSERVE.in_host(&judged);
        judged
    }

    async fn judge_in(&self, tx: &mut PgConnection, tenant: &Tenant, change: &Change) -> Result<Tentative, Error> {
        if let Some(closed) = self.shared.jobs.closed() {
            return Err(closed);
        }
        if let Some(refusal) = refuse(change, &self.shared.limits.change) {
            return Ok(Tentative::Refused(refusal));
        }
        for _ in 0..=AGAIN_MAX {
            let mut attempt = Attempt::begin(&self.shared, tx).await?;
            match attempt.run(tenant, change).await {
                Ok(Tried::Written(pending)) => {
                    attempt.keep().await?;
                    return Ok(Tentative::Pending(pending));
                }
                Ok(Tried::Judged(tentative)) => {
                    attempt.undo().await?;
                    return Ok(tentative);
                }
                Ok(Tried::Late) => {
                    OBSERVE.again("somebody else was first");
                    attempt.undo().await?;
                }
                Err(error) => {
                    // Where even this fails the session is lost, and with it the host's transaction.
                    let _ = attempt.undo().await;
                    return Err(error);
                }
            }
        }
        let context = format!("others were first {AGAIN_MAX} times; begin the transaction again");
        Err(Error::new(ErrorKind::Contended, context))
    }

    /// Says that the host's transaction is committed, so that the change gets its place in the log at once. Without it some process looks within a fifth of a second. Nothing is taken on trust.
    pub fn committed(&self, pending: Pending) -> Receipt {
        self.shared.sequencer.wake();
        pending.receipt(self.shared.link())
    }
}

/// What the settings are for: see [`super::connect::session`]. A host without a limit for locks gets the store's for an answer.
fn settings(shared: &Shared) -> String {
    let wait = shared.waits.answer_max.as_millis().max(1);
    let lock = format!(
        "CASE current_setting('lock_timeout') WHEN '0' THEN '{wait}ms' ELSE current_setting('lock_timeout') END"
    );
    let set = SETTINGS.map(|(name, value)| format!("set_config('{name}', '{value}', true)")).join(", ");
    format!("SELECT set_config('lock_timeout', {lock}, true), {set}")
}

/// The settings that matter: plans that find rows by key, and lock them in the order of the keys.
const SETTINGS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// What tells a session from every other, also on another server.
const SESSION: &str = "(SELECT concat(a.pid, ' ', extract(epoch FROM a.backend_start)) \
    FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a)";

/// A question whose answer is the statement that sets everything as it is now; the server quotes the values. And which session this is.
fn restoring() -> String {
    let names = || ["lock_timeout"].into_iter().chain(SETTINGS.map(|(name, _)| name));
    let set: Vec<String> = names().map(|name| format!("set_config(''{name}'', %L, true)")).collect();
    let now: Vec<String> = names().map(|name| format!("current_setting('{name}')")).collect();
    format!("SELECT format('SELECT {}', {}), {SESSION}", set.join(", "), now.join(", "))
}

/// What an attempt came to.
enum Tried {
    Written(Pending),
    /// Nothing was written, and nothing need be.
    Judged(Tentative),
    /// Somebody else was first, so it was judged wrongly.
    Late,
}

/// One attempt at a change, behind a savepoint.
struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    tx: &'a mut PgConnection,
    names: Arc<Names>,
    restore: String,
}

impl<'a> Attempt<'a> {
    async fn begin(shared: &'a Arc<Shared>, tx: &'a mut PgConnection) -> Result<Self, Error> {
        // Set behind the savepoint, so that undoing it brings the host's settings back.
        let text = format!("SAVEPOINT txn_commit_in; {}; {}", restoring(), settings(shared));
        let rows = raw_sql(AssertSqlSafe(text)).fetch_all(&mut *tx).await.map_err(said("beginning a change"))?;
        let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let read = rows.first().ok_or(sqlx::Error::RowNotFound).and_then(read);
        let (restore, session) = read.map_err(said("reading the host's settings"))?;
        let names = shared.hosts.names(session, &shared.schema);
        names.trim();
        Ok(Self { shared, tx, names, restore })
    }

    async fn run(&mut self, tenant: &Tenant, change: &Change) -> Result<Tried, Error> {
        give_numbers(self.shared, &self.names, tenant, change).await?;
        let Shared { schema, time, .. } = &**self.shared;
        let names = &*self.names;
        let loading = load(self.tx, schema, names, &[(tenant, change)], Patience::Patient, Facts::LookedFor).await;
        let mut loaded = loading.map_err(|unloaded| match unloaded {
            Unloaded::Sql(error) => said("loading rows")(error),
            Unloaded::Damage(error) => error,
        })?;
        let now = time.now(loaded.clock, loaded.last)?;
        let Some(rows) = loaded.tenants.get(tenant) else {
            return Err(Error::new(ErrorKind::Corrupt, "rows of another tenant"));
        };
        let mut written = Written::default();
        let (stored, refusal) = match evaluate(rows, change, now) {
            Ok(Verdict::Replayed(stored)) => return Ok(Tried::Judged(Tentative::Pending(self.pending(stored, None)))),
            Ok(Verdict::Accepted(effects)) => {
                let stored = effects.stored.clone();
                written.accept(&mut loaded, tenant, change, effects);
                (Some(stored), None)
            }
            Err(refusal) => {
                written.refuse(&loaded, tenant, change);
                (None, Some(refusal))
            }
        };
        let vacant = written.vacant(&loaded);
        if !vacant.is_empty() {
            // In one statement, so that a call that is dropped leaves none of them to the host's COMMIT.
            let keeping = vacant.keep(schema).query().fetch_one(&mut *self.tx).await;
            if !keeping.and_then(|row| row.try_get(0)).map_err(said("keeping keys absent"))? {
                return Ok(Tried::Late);
            }
        }
        if stored.is_some() || written.must_look() {
            let statement = written.statement(schema, &loaded, names, now, &Vacant::default(), Collision::Report);
            let row = statement.query().fetch_one(&mut *self.tx).await.map_err(said("writing rows"))?;
            let read = || Ok((row.try_get::<i64, _>(0)?, row.try_get::<bool, _>(1)?, row.try_get::<bool, _>(2)?));
            let (ticket, is_complete, is_still_absent) = read().map_err(said("writing rows"))?;
            if !is_complete || !is_still_absent {
                return Ok(Tried::Late);
            }
            if let Some(stored) = stored {
                return Ok(Tried::Written(self.pending(stored, Some(ticket))));
            }
        }
        let refusal =
            refusal.ok_or_else(|| Error::new(ErrorKind::Corrupt, "a change that was neither written nor refused"))?;
        Ok(Tried::Judged(Tentative::Refused(refusal)))
    }

    fn pending(&self, stored: Stored, ticket: Option<i64>) -> Pending {
        Pending {
            answer: stored.answer,
            replayed: ticket.is_none(),
            recorded_at: stored.recorded_at,
            freshness: Freshness(ticket.unwrap_or_default().cast_unsigned()),
            head: self.shared.link(),
        }
    }

    /// Makes what was written a part of the host's transaction.
    async fn keep(self) -> Result<(), Error> {
        let text = format!("{}; RELEASE SAVEPOINT txn_commit_in", self.restore);
        match raw_sql(AssertSqlSafe(text)).execute(&mut *self.tx).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // Cancelled, say. Where even this fails the session is lost, and with it the host's transaction.
                let _ = self.undo().await;
                Err(said("ending a change")(error))
            }
        }
    }

    /// Leaves the host's transaction as it was before; what was locked is let go.
    async fn undo(self) -> Result<(), Error> {
        let text = "ROLLBACK TO SAVEPOINT txn_commit_in; RELEASE SAVEPOINT txn_commit_in";
        raw_sql(text).execute(self.tx).await.map(drop).map_err(said("undoing a change"))
    }
}

/// What the server says to a host, sorted by what the host can do.
fn said(doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| {
        let (kind, context) = match state(&error) {
            _ if is_in_the_way(&error) => (ErrorKind::Contended, "others were in the way; begin the transaction again"),
            Some("25P01") => (ErrorKind::Invalid, "no transaction is begun on the connection"),
            Some("25P02") => (ErrorKind::Invalid, "the host's transaction has failed already"),
            Some("25006") => (ErrorKind::Invalid, "the host's transaction only reads"),
            _ => return failed(doing)(error),
        };
        let context = format!("{doing}: {context}");
        Error::new(kind, context).because(super::connect::Said(error))
    }
}

/// Gives numbers to the tenant and the classes of a change that have none, over a session of the store's own: the names are remembered, and must not be those of a transaction that is
/// rolled back.
async fn give_numbers(shared: &Arc<Shared>, names: &Arc<Names>, tenant: &Tenant, change: &Change) -> Result<(), Error> {
    let opened = change.open.iter().map(|open| &open.opening);
    let openings = opened.chain(change.add.iter().filter_map(|add| add.or_open.as_ref()));
    let unknown = openings.map(|opening| &opening.class).filter(|class| names.class(class).is_none());
    let classes: Vec<Arc<Class>> = unknown.cloned().collect();
    if classes.is_empty() && names.tenant(tenant).is_some() {
        return Ok(());
    }
    let (own, names, tenant) = (Arc::clone(shared), Arc::clone(names), tenant.clone());
    let numbering = shared.runtime.spawn(async move {
        let _leave = own.errand().await?;
        let mut session = connect(&own.session, own.waits).await?;
        let classes: Vec<&Arc<Class>> = classes.iter().collect();
        let tenants = [&tenant];
        let giving = names.give_numbers(&mut session, &tenants, &classes);
        within(own.waits.answer_max, giving).await.map_err(failed("numbering tenants and classes"))?;
        // It has done its work, however it ends.
        let _ = within(own.waits.answer_max, session.close()).await;
        Ok(())
    });
    numbering
        .await
        .unwrap_or_else(|ended| Err(Error::new(ErrorKind::Closed, "the store's runtime ended").because(ended)))
}
