//! What hosts have committed and could not be taken: it is kept, with the reason, until somebody has dealt with it.

use std::sync::Arc;

use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgRow};
use txn_change::Timestamp;

use super::{
    Postgres,
    connect::{connect, failed, within},
    medium::ask,
};
use crate::{
    error::{Error, ErrorKind},
    message::Message,
    name::Topic,
};

/// Messages in a page, and ids in a call, at most.
const PAGE_MAX: usize = 1_000;

/// A message that was published in a host's transaction and turned out to be impossible when the transaction had been committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its number among them, from one on.
    pub id: u64,
    /// When it was found to be impossible, by the server's clock.
    pub at: Timestamp,
    /// Where it was to go.
    pub topic: Topic,
    /// Why it could not, for people.
    pub reason: Arc<str>,
    /// The message, as it came.
    pub message: Arc<Message>,
}

impl Postgres {
    /// Messages of hosts that were committed with [`Postgres::publish_in`] and could not be taken, those with a number above `after`, in the order of their numbers; `max` of them, 1,000 at most.
    ///
    /// They stay until [`Postgres::forget_refused`]. A number can appear below one that was read already, since several processes give them: whoever deals with them begins at 0 again.
    /// Makes a session of its own; to be called on a tokio runtime, like `publish_in`.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use txn_queue::{Address, MessageId, Publish, Queue as _, postgres::Postgres};
    /// # async fn example(queue: Postgres) -> Result<(), Box<dyn std::error::Error>> {
    /// loop {
    ///     let page = queue.refused(0, 100).await?;
    ///     if page.is_empty() {
    ///         break;
    ///     }
    ///     for refused in &page {
    ///         println!("{} for {} was refused at {}: {}", refused.message.id, refused.topic, refused.at, refused.reason);
    ///         // Such as: it is published again, under no dedupe id.
    ///         let mut message = Arc::unwrap_or_clone(Arc::clone(&refused.message));
    ///         message.dedupe_id = None;
    ///         queue.publish(vec![Publish::one(Address::Topic(refused.topic.clone()), message)]).await?;
    ///     }
    ///     let ids: Vec<u64> = page.iter().map(|refused| refused.id).collect();
    ///     queue.forget_refused(&ids).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a page of none or of too many, and whatever the server says.
    pub async fn refused(&self, after: u64, max: usize) -> Result<Vec<Refused>, Error> {
        let doing = "reading what was refused";
        let max = i64::from(checked(max)?);
        // No number is above what a bigint can hold.
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let mut session = self.own_session().await?;
        let asked = ask(&self.shared.sql.refused).bind(after).bind(max);
        let rows = within(self.shared.answer_max, asked.fetch_all(&mut session)).await.map_err(failed(doing))?;
        self.close(session).await;
        rows.iter().map(read).collect()
    }

    /// Forgets refused messages that have been dealt with, and says how many of them were there; 1 to 1,000 at a time.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for no ids or too many, and whatever the server says: whether they are forgotten is then not known, and forgetting them again is safe.
    pub async fn forget_refused(&self, ids: &[u64]) -> Result<u64, Error> {
        checked(ids.len())?;
        let ids: Vec<i64> = ids.iter().filter_map(|id| i64::try_from(*id).ok()).collect();
        let mut session = self.own_session().await?;
        let asked = ask(&self.shared.sql.refused_tidy).bind(ids).execute(&mut session);
        let done = within(self.shared.answer_max, asked).await.map_err(failed("forgetting what was refused"))?;
        self.close(session).await;
        Ok(done.rows_affected())
    }

    /// People ask seldom: no session is kept for it, and none of a lane's is taken.
    async fn own_session(&self) -> Result<PgConnection, Error> {
        connect(&self.shared.session, self.shared.answer_max).await
    }

    async fn close(&self, session: PgConnection) {
        // The answer is there; how the session ends changes nothing.
        let _ = within(self.shared.answer_max, session.close()).await;
    }
}

fn checked(found: usize) -> Result<u32, Error> {
    let is_allowed = (1..=PAGE_MAX).contains(&found);
    u32::try_from(found).ok().filter(|_| is_allowed).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("{found} refused messages in a call; 1 to {PAGE_MAX} are allowed"))
    })
}

fn read(row: &PgRow) -> Result<Refused, Error> {
    let doing = "reading what was refused";
    let corrupt = |error: txn_change::NameError| Error::new(ErrorKind::Corrupt, doing).because(error);
    let (id, micros): (i64, i64) = (row.try_get(0).map_err(failed(doing))?, row.try_get(1).map_err(failed(doing))?);
    let (topic, reason): (&str, &str) =
        (row.try_get(2).map_err(failed(doing))?, row.try_get(3).map_err(failed(doing))?);
    let (head, data): (&str, Vec<u8>) =
        (row.try_get(4).map_err(failed(doing))?, row.try_get(5).map_err(failed(doing))?);
    let message = Message::from_head(head, data.into());
    Ok(Refused {
        id: id.cast_unsigned(),
        at: Timestamp::from_nanos(micros.saturating_mul(1_000)),
        topic: Topic::new(topic).map_err(corrupt)?,
        reason: reason.into(),
        message: message.map_err(|error| Error::new(ErrorKind::Corrupt, doing).because(error))?.into(),
    })
}
