//! After a COMMIT whose answer was lost: what became of it.
//!
//! The transaction's number tells whether it is still running, and the row under the change's id tells whether it was committed. The number alone would not do: after a crash of the
//! server, a number that never reached the disk is given again.

use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection, Row, query};

use super::{
    Shared,
    connect::{connect, within},
};
use crate::store::Commit;

/// What became of a group.
pub(super) enum Settled {
    Committed,
    NotExecuted,
    /// The server cannot be asked, or the transaction still runs.
    Unknown,
}

const PAUSE: Duration = Duration::from_millis(20);

/// After so long, a session that waits for its client is ended: its client is us, and gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks until there is an answer, as long as one answer may take. `change` is one of the group that was accepted: it is there with the group's ticket, or nothing of the group is.
pub(super) async fn settle(shared: &Shared, xact: i64, ticket: i64, change: &Commit) -> Settled {
    let since = Instant::now();
    loop {
        if let Ok(mut session) = connect(&shared.session, shared.waits).await {
            match within(shared.waits.answer_max, ask(&mut session, &shared.schema, xact, change)).await {
                Ok((_, Some(found))) if found == ticket => return Settled::Committed,
                Ok((false, _)) => return Settled::NotExecuted,
                Ok((true, _)) if since.elapsed() > PATIENCE => {
                    // That it fails says only that the session is not ours to end, or has ended.
                    let _ = within(shared.waits.answer_max, end(&mut session, xact)).await;
                }
                Ok((true, _)) | Err(_) => {}
            }
        }
        if since.elapsed() > shared.waits.answer_max {
            return Settled::Unknown;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the transaction runs, and the ticket under which the change is stored. Two statements, since the second must see what the first found ended.
async fn ask(
    session: &mut PgConnection,
    schema: &str,
    xact: i64,
    commit: &Commit,
) -> sqlx::Result<(bool, Option<i64>)> {
    // A standby may not have heard of it yet, and become the one that counts.
    let standby = query("SELECT pg_is_in_recovery()").fetch_one(&mut *session).await?;
    if standby.try_get::<bool, _>(0)? {
        return Ok((true, None));
    }
    let status = query("SELECT pg_xact_status($1::text::xid8)").bind(xact.to_string()).fetch_one(&mut *session).await;
    let runs = match status {
        Ok(row) => row.try_get::<Option<&str>, _>(0)? == Some("in progress"),
        // Of the future: the server has crashed, and the number was never used.
        Err(error) if error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("22023")) => false,
        Err(error) => return Err(error),
    };
    let text = format!(
        "SELECT c.ticket FROM {schema}.change c JOIN {schema}.tenant t ON t.no = c.tenant WHERE t.name = $1 AND c.id = $2"
    );
    let found = query(AssertSqlSafe(text))
        .bind(commit.tenant.as_str())
        .bind(commit.change.id.as_str())
        .fetch_optional(session)
        .await?;
    let ticket = found.map(|row| row.try_get(0)).transpose()?;
    Ok((runs, ticket))
}

/// Ends the session that holds the transaction, if it waits for a client and is one of ours. Should the number be another's by now, after a crash, that group is begun again.
async fn end(session: &mut PgConnection, xact: i64) -> sqlx::Result<()> {
    let text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE backend_xid::text::int8 = $1 & 4294967295 AND state LIKE 'idle in transaction%' \
                AND usename = current_user AND application_name = current_setting('application_name')";
    query(text).bind(xact).execute(session).await.map(drop)
}
