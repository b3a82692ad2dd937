//! One attempt at a group: four round trips, and how they ended.

use std::sync::Arc;

use sqlx::{PgConnection, Row, raw_sql};
use txn_change::{Change, Class, Refusal, Stored, Tenant, Timestamp, Verdict, evaluate};

use super::{
    super::{
        Shared,
        connect::within,
        load::{Facts, Loaded, Patience, Unloaded, load},
        names::Names,
        write::{Collision, Written},
    },
    Member,
};
use crate::{error::Error, group::Waiting};

/// What the judging of one change gave.
pub(super) enum Judged {
    Refused(Refusal),
    Replayed(Stored),
    Accepted(Stored),
    /// Somebody else holds a row of it, or of an earlier change of the same call.
    PutOff,
}

/// How an attempt at a group ended.
pub(super) enum Ended {
    /// What was accepted is committed, under this ticket.
    Committed(Vec<Judged>, u64),
    /// Nothing was executed: somebody else was first, or in the way.
    InTheWay,
    /// Nothing was executed: somebody holds a lock, longer than is waited for.
    Held,
    /// Nothing was executed: the server cannot be reached, or cannot do anything now.
    Unavailable(Error),
    /// Nothing was executed: something in the group, or in what is stored, is wrong.
    Failed(Error),
    /// It is not known, and will not be soon.
    Lost,
}

/// Why an attempt did not come to its end.
pub(super) enum Broken {
    /// Before COMMIT was sent: nothing is executed.
    Before { error: sqlx::Error, doing: &'static str },
    /// What is stored is damaged.
    Damaged(Error),
    /// COMMIT was sent, and its answer is missing.
    AtCommit { xact: i64, ticket: i64, judged: Vec<Judged>, error: sqlx::Error },
}

/// How long an attempt waits for a lock: a row that is waited for, or a key that somebody else is inserting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locks {
    /// As long as its session does.
    AsTheSession,
    /// For a moment: something in here has waited as long as the session does before, and keeps the rest.
    Briefly,
}

pub(super) struct Attempt<'a> {
    pub(super) shared: &'a Shared,
    pub(super) patience: Patience,
    pub(super) locks: Locks,
    pub(super) facts: Facts,
    pub(super) session: &'a mut PgConnection,
    pub(super) names: &'a Names,
}

impl Attempt<'_> {
    pub(super) async fn run(&mut self, group: &[Member]) -> Result<Ended, Broken> {
        let waits = self.shared.waits;
        let before = |doing| move |error| Broken::Before { error, doing };
        let changes: Vec<(&Tenant, &Change)> =
            group.iter().map(|(_, waiting)| (&waiting.commit.tenant, &waiting.commit.change)).collect();
        within(waits.answer_max, self.name(&changes)).await.map_err(before("numbering tenants and classes"))?;
        let begin = match self.locks {
            Locks::AsTheSession => "BEGIN",
            Locks::Briefly => "BEGIN; SET LOCAL lock_timeout = 10",
        };
        within(waits.answer_max, raw_sql(begin).execute(&mut *self.session))
            .await
            .map_err(before("beginning a commit"))?;
        let names = self.names;
        let loading = load(self.session, &self.shared.schema, names, &changes, self.patience, self.facts);
        let mut loaded = match tokio::time::timeout(waits.answer_max, loading).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(Unloaded::Sql(error))) => return Err(before("loading rows")(error)),
            Ok(Err(Unloaded::Damage(error))) => return Err(Broken::Damaged(error)),
            Err(_) => return Err(before("loading rows")(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
        };
        let now = self.shared.time.now(loaded.clock, loaded.last).map_err(Broken::Damaged)?;
        let mut written = Written::default();
        let judged = judge(group, &mut loaded, &mut written, now);
        let mut ticket = 0i64;
        if !written.is_empty() || written.must_look() {
            let vacant = written.vacant(&loaded);
            let statement = written.statement(&self.shared.schema, &loaded, names, now, &vacant, Collision::Fail);
            let writing = statement.query().fetch_one(&mut *self.session);
            let row = within(waits.answer_max, writing).await.map_err(before("writing rows"))?;
            let read = || Ok((row.try_get::<i64, _>(0)?, row.try_get::<bool, _>(1)?, row.try_get::<bool, _>(2)?));
            let (drawn, is_complete, is_still_absent) = read().map_err(before("writing rows"))?;
            if !is_complete || !is_still_absent {
                return self.give_up().await;
            }
            ticket = drawn;
            if !vacant.is_empty() {
                let clearing = vacant.clear(&self.shared.schema).query().execute(&mut *self.session);
                within(waits.answer_max, clearing).await.map_err(before("writing rows"))?;
            }
        }
        if written.is_empty() {
            let rolled_back = within(waits.answer_max, raw_sql("ROLLBACK").execute(&mut *self.session)).await;
            rolled_back.map_err(before("ending a commit that wrote nothing"))?;
            return Ok(Ended::Committed(judged, 0));
        }
        match within(waits.answer_max, raw_sql("COMMIT").execute(&mut *self.session)).await {
            Ok(_) => Ok(Ended::Committed(judged, ticket.cast_unsigned())),
            Err(error) => Err(Broken::AtCommit { xact: loaded.xact, ticket, judged, error }),
        }
    }

    /// Somebody else was first.
    async fn give_up(&mut self) -> Result<Ended, Broken> {
        within(self.shared.waits.answer_max, raw_sql("ROLLBACK").execute(&mut *self.session))
            .await
            .map_err(|error| Broken::Before { error, doing: "rolling back" })?;
        Ok(Ended::InTheWay)
    }

    /// Gives numbers to the tenants and classes of these changes that have none.
    async fn name(&mut self, changes: &[(&Tenant, &Change)]) -> sqlx::Result<()> {
        let names = self.names;
        names.trim();
        let tenants: Vec<&Tenant> =
            changes.iter().map(|(tenant, _)| *tenant).filter(|tenant| names.tenant(tenant).is_none()).collect();
        let openings = changes.iter().flat_map(|(_, change)| {
            let opened = change.open.iter().map(|open| &open.opening);
            opened.chain(change.add.iter().filter_map(|add| add.or_open.as_ref()))
        });
        let mut classes: Vec<&Arc<Class>> = Vec::new();
        for opening in openings {
            if !classes.iter().any(|class| Arc::ptr_eq(class, &opening.class)) && names.class(&opening.class).is_none()
            {
                classes.push(&opening.class);
            }
        }
        if tenants.is_empty() && classes.is_empty() {
            return Ok(());
        }
        names.give_numbers(self.session, &tenants, &classes).await
    }
}

/// Judges each change in order. The changes of a call keep their order: when one is put off, so are those behind it.
fn judge<'g>(group: &'g [Member], loaded: &mut Loaded, written: &mut Written<'g>, now: Timestamp) -> Vec<Judged> {
    let mut judged = Vec::with_capacity(group.len());
    let mut put_off: Vec<&Waiting> = Vec::new();
    for (_, waiting) in group {
        let (tenant, change) = (&waiting.commit.tenant, &waiting.commit.change);
        let free = loaded.tenants.get(tenant).filter(|rows| !rows.is_taken(change));
        let Some(rows) = free.filter(|_| !put_off.iter().any(|earlier| earlier.is_of_call_of(waiting))) else {
            put_off.push(waiting);
            judged.push(Judged::PutOff);
            continue;
        };
        judged.push(match evaluate(rows, change, now) {
            Err(refusal) => {
                written.refuse(loaded, tenant, change);
                Judged::Refused(refusal)
            }
            Ok(Verdict::Replayed(stored)) => Judged::Replayed(stored),
            Ok(Verdict::Accepted(effects)) => {
                let stored = effects.stored.clone();
                written.accept(loaded, tenant, change, effects);
                Judged::Accepted(stored)
            }
        });
    }
    judged
}
