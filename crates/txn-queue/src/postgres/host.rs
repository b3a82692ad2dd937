//! Messages that are published, and deliveries that are settled, in a host's own transaction: they are, exactly if it is committed.
//!
//! What a host has done stands in a table of its own until the next turn of the topic takes it in; nothing of a topic is locked meanwhile, and the host waits for nobody. See
//! [`crate::durable::hosts`] for why a delivery that is settled so cannot be delivered again.

use std::collections::BTreeSet;

use sqlx::{PgConnection, Row as _, raw_sql};

use super::{
    Postgres,
    connect::{failed, state},
    medium::ask,
};
use crate::{
    durable::{
        jobs::Job,
        medium::FromHost,
        step::{self, Ended},
    },
    engine::admit,
    error::{Error, ErrorKind},
    message::Message,
    name::{GroupName, Topic},
    observe::Within,
    queue::{Action, Address, Group, Lease, Position, Publish, Published, Refusal, Settle, Settled},
};

/// Which of these locks the session holds.
const HELD: &str = "SELECT given.lock FROM unnest($1::bigint[]) AS given (lock)
    JOIN pg_locks held ON (held.classid::bigint << 32) | held.objid::bigint = given.lock
    WHERE held.locktype = 'advisory' AND held.objsubid = 1 AND held.pid = pg_backend_pid() AND held.granted";

impl Postgres {
    /// Publishes messages in a host's transaction: they are accepted when it is committed, and never when it is not. A savepoint that is rolled back takes its own with it.
    ///
    /// [`Published::Accepted`] says how many topics a message comes to. A topic that is full does not refuse: what a host commits is kept. A repetition within the dedupe window is taken for one message when it is taken
    /// in. Delays count from then, and so does the place in the topic. What turns out then to be impossible, such as another message under the same dedupe id, is kept with the reason: [`Postgres::refused`] reads it.
    ///
    /// Readers find out within a fifth of a second, or at once when [`Postgres::committed`] is called.
    ///
    /// ```no_run
    /// use txn_queue::{Publish, postgres::{Postgres, sqlx}};
    /// # async fn example(queue: Postgres, pool: sqlx::PgPool, placed: Publish) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut tx = pool.begin().await?;
    /// sqlx::query("INSERT INTO app_visits VALUES ('ann')").execute(&mut *tx).await?;
    /// queue.publish_in(&mut tx, vec![placed]).await?;
    /// tx.commit().await?;
    /// queue.committed();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when no transaction is begun. An error of the server's has ended the host's transaction.
    pub async fn publish_in(&self, tx: &mut PgConnection, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        self.observe.publish(batch, Within::Host, |batch| self.publish_in_unobserved(tx, batch)).await
    }

    async fn publish_in_unobserved(&self, tx: &mut PgConnection, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        let count = Publish::count(&batch);
        self.shared.limits.check_batch(count)?;
        in_transaction(tx).await?;
        let declared = std::sync::Arc::clone(&self.shared.state().declared);
        let (mut ids, mut heads, mut data) = (Vec::new(), Vec::new(), Vec::new());
        let mut results = Vec::with_capacity(count);
        for (to, message) in batch.iter().flat_map(Publish::addressed) {
            let checked = self.shared.limits.check(message).and_then(|()| match to {
                Address::Topic(topic) => Ok(vec![topic.clone()]),
                Address::Exchange { name, routing_key } => {
                    admit::targets(&declared.routes, name.clone(), routing_key.as_ref(), message, &self.shared.limits)
                }
            });
            let numbers = checked.and_then(|topics| {
                let number = |topic: Topic| declared.topics.get(&topic).copied().ok_or(Refusal::NoSuchTopic { topic });
                topics.into_iter().map(number).collect::<Result<Vec<i64>, Refusal>>()
            });
            results.push(match numbers {
                Err(refusal) => Published::Refused(refusal),
                Ok(numbers) => {
                    let copies = numbers.len();
                    for number in numbers {
                        ids.push(number);
                        heads.push(message.to_head());
                        data.push(message.data.to_vec());
                    }
                    Published::Accepted { copies }
                }
            });
        }
        if !ids.is_empty() {
            let asked = ask(&self.shared.sql.host_publish).bind(ids).bind(heads).bind(data);
            asked.execute(tx).await.map_err(failed("publishing in a host's transaction"))?;
        }
        Ok(results)
    }

    /// Settles deliveries of a group in a host's transaction: they are settled when it is committed, and not when it is rolled back.
    ///
    /// [`Settled::Applied`] says that the lease is good, and cannot be ended by time, or by anybody but this worker, before the host's transaction has ended. So what the transaction does and the
    /// settlement are one: a delivery whose effect is committed is not delivered again. Call it last, since the lease is kept for as long as the transaction is open.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when no transaction is begun, and for an [`Action::Extend`], which has no use here. An error of the server's has ended the host's transaction.
    pub async fn settle_in(
        &self,
        tx: &mut PgConnection,
        group: &Group,
        batch: Vec<Settle>,
    ) -> Result<Vec<Settled>, Error> {
        self.observe.settle(group, batch, Within::Host, |batch| self.settle_in_unobserved(tx, group, batch)).await
    }

    async fn settle_in_unobserved(
        &self,
        tx: &mut PgConnection,
        group: &Group,
        batch: Vec<Settle>,
    ) -> Result<Vec<Settled>, Error> {
        let doing = "settling in a host's transaction";
        self.shared.limits.check_settle(&batch)?;
        if batch.iter().any(|settle| matches!(settle.action, Action::Extend { .. })) {
            return Err(Error::new(ErrorKind::Invalid, "an extension in a host's transaction"));
        }
        in_transaction(tx).await?;
        // Drawn first: from here on whoever would end a lease asks for its lock.
        ask(&self.shared.sql.ticket).execute(&mut *tx).await.map_err(failed(doing))?;
        let mut results = self.first_of_each(tx, &batch).await?;
        loop {
            raw_sql("SAVEPOINT txn_queue").execute(&mut *tx).await.map_err(failed(doing))?;
            let before = results.clone();
            self.examine_in(tx, group, &batch, &mut results).await?;
            // A lock that turned out to be of no use is given back, so that it keeps nobody waiting.
            let end = if results == before { "RELEASE SAVEPOINT txn_queue" } else { "ROLLBACK TO txn_queue" };
            raw_sql(end).execute(&mut *tx).await.map_err(failed(doing))?;
            if results == before {
                break;
            }
        }
        let declared = std::sync::Arc::clone(&self.shared.state().declared);
        let good = batch.iter().zip(&results).filter(|(_, result)| **result == Settled::Applied);
        let items = good.map(|(settle, _)| (settle.lease.position.0, settle.lease.token, &settle.action));
        let ended = step::ended(items);
        if !ended.is_empty() {
            let id = declared.id(group.topic())?;
            let asked = ask(&self.shared.sql.host_settle).bind(id).bind(group.name().as_str());
            asked.bind(step::to_bytes(&ended)).execute(&mut *tx).await.map_err(failed(doing))?;
        }
        Ok(results)
    }

    /// A lease is settled once: what stands in the batch before, or was settled in this very transaction, whose locks would be had again, is gone.
    async fn first_of_each(&self, tx: &mut PgConnection, batch: &[Settle]) -> Result<Vec<Settled>, Error> {
        let locks: Vec<i64> = batch.iter().map(|settle| self.shared.sql.lease_lock(settle.lease.token)).collect();
        let held = ask(HELD).bind(&locks).fetch_all(tx).await;
        let held = held.and_then(|rows| rows.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<_, _>>());
        let mut gone: BTreeSet<i64> = held.map_err(failed("settling in a host's transaction"))?;
        let first = |lock: i64| if gone.insert(lock) { Settled::Applied } else { Settled::Gone };
        Ok(locks.into_iter().map(first).collect())
    }

    /// Takes the locks of those leases that are good as far as is known, and looks whether they are.
    async fn examine_in(
        &self,
        tx: &mut PgConnection,
        group: &Group,
        batch: &[Settle],
        results: &mut [Settled],
    ) -> Result<(), Error> {
        let doing = "settling in a host's transaction";
        let mut asked = Vec::new();
        for (at, settle) in batch.iter().enumerate() {
            let Some(result) = results.get_mut(at).filter(|result| **result == Settled::Applied) else { continue };
            let lock = self.shared.sql.lease_lock(settle.lease.token);
            let locked = ask("SELECT pg_try_advisory_xact_lock($1)").bind(lock).fetch_one(&mut *tx).await;
            if locked.and_then(|row| row.try_get::<bool, _>(0)).map_err(failed(doing))? {
                asked.push((at, settle.lease));
            } else {
                *result = Settled::Stale;
            }
        }
        let leases = asked.iter().map(|(_, lease)| *lease).collect();
        let found = self.call(|reply| Job::Examine(group.clone(), leases, reply)).await?;
        for ((at, _), found) in asked.into_iter().zip(found) {
            if let Some(result) = results.get_mut(at) {
                *result = found;
            }
        }
        Ok(())
    }

    /// Says that a host's transaction is committed, so that what it did is taken in at once where somebody of this process waits for it. Nothing is taken on trust.
    pub fn committed(&self) {
        self.shared.look_at_all();
    }
}

/// Outside of a transaction a settlement would not be the host's to take back.
async fn in_transaction(tx: &mut PgConnection) -> Result<(), Error> {
    let checked = raw_sql("SAVEPOINT txn_queue; RELEASE SAVEPOINT txn_queue").execute(tx).await;
    checked.map(drop).map_err(|error| match state(&error) {
        Some("25P01") => Error::new(ErrorKind::Invalid, "no transaction is begun"),
        Some("25P02") => Error::new(ErrorKind::Invalid, "the transaction has failed already"),
        _ => failed("looking at a host's transaction")(error),
    })
}

/// Reads what a host has left for a topic.
pub(super) fn read(
    done: &mut Vec<FromHost>,
    topic: Topic,
    group: Option<GroupName>,
    head: Option<String>,
    data: Vec<u8>,
) -> Result<(), Error> {
    let corrupt = |context: &str| Error::new(ErrorKind::Corrupt, context.to_owned());
    match (group, head) {
        (None, Some(head)) => {
            let message = Message::from_head(&head, data.into());
            let message = message.map_err(|error| corrupt("reading a host's message").because(error))?;
            done.push(FromHost::Published(message.into()));
        }
        (Some(name), None) => {
            let group = Group::new(topic, name);
            let ended: Vec<Ended> = step::from_bytes("a host's settlement", &data)?;
            for (position, token, action) in step::settled(ended) {
                let lease = Lease { position: Position(position), token };
                done.push(FromHost::Settled(group.clone(), Settle { lease, action }));
            }
        }
        _ => return Err(corrupt("what a host has left is neither a message nor a settlement")),
    }
    Ok(())
}
