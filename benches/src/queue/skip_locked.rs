//! The peer by hand: a table that workers claim from with `FOR UPDATE SKIP LOCKED`, and leases that a token fences, as PostgreSQL's own
//! [documentation](https://www.postgresql.org/docs/15/sql-select.html#SQL-FOR-UPDATE-SHARE) has it for tables that are queues.
//!
//! It knows that there is one group, no key, no delay, no priority and no dedupe, and that nobody counts what it holds. A message is stored as one value, made ready beforehand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::{Executor, PgPool, SqlSafeStr, postgres::PgPoolOptions};
use txn_queue::Message;

use super::{
    ours::{IDLE, LEASE},
    side::Side,
};
use crate::postgres::server::Server;

/// The partial index holds what nobody has leased, so that a claim finds the first without looking at the rest. Vacuum comes as soon as it may, and does not rest.
const TABLE: &str = "
CREATE TABLE message(
    id bigserial PRIMARY KEY, visible_at timestamptz NOT NULL DEFAULT now(), token bigint, attempts integer NOT NULL DEFAULT 0,
    payload bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX message_ready ON message(id) WHERE token IS NULL;
";

const PUBLISH: &str = "INSERT INTO message(payload) SELECT * FROM unnest($1::bytea[])";

/// An array, so that the rows are chosen once and before the update.
const CLAIM: &str = "UPDATE message SET token = $2, visible_at = now() + $3::float8 * interval '1 second', attempts = attempts + 1 \
    WHERE id = ANY(ARRAY(SELECT id FROM message WHERE token IS NULL AND visible_at <= now() ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)) \
    RETURNING id, attempts, payload";

const SETTLE: &str = "DELETE FROM message USING unnest($1::int8[], $2::int8[]) AS lease(id, token) \
    WHERE message.id = lease.id AND message.token = lease.token AND message.visible_at > now()";

/// Makes visible again what an expired lease held: now and then, by one of the workers. No lease expires while it is measured.
const EXPIRE: &str = "UPDATE message SET token = NULL WHERE token IS NOT NULL AND visible_at <= now()";

/// A table and a warm pool.
pub(super) struct SkipLocked {
    pool: PgPool,
    token: AtomicI64,
}

impl SkipLocked {
    /// Creates the table in a fresh database, and so many connections, each of which has prepared what it will run.
    pub(super) async fn open(server: &Server, connections: usize) -> Result<Arc<Self>, String> {
        let open = async {
            let connections = u32::try_from(connections).unwrap_or(u32::MAX);
            let pool = PgPoolOptions::new()
                .min_connections(connections)
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(600))
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .connect_with(server.session("public"))
                .await?;
            pool.execute(TABLE).await?;
            let mut warm = Vec::new();
            for _ in 0..connections {
                let mut connection = pool.acquire().await?;
                for statement in [PUBLISH, CLAIM, SETTLE] {
                    (&mut *connection).prepare(statement.into_sql_str()).await?;
                }
                warm.push(connection);
            }
            drop(warm);
            Ok(Arc::new(Self { pool, token: AtomicI64::new(1) }))
        };
        open.await.map_err(|error: sqlx::Error| error.to_string())
    }

    /// Ends all leases as if their time had come.
    pub(super) async fn expire(&self) -> Result<(), String> {
        let late = "UPDATE message SET visible_at = now() - interval '1 second' WHERE token IS NOT NULL";
        for statement in [late, EXPIRE] {
            self.pool.execute(statement).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// That nothing is left.
    pub(super) async fn is_empty(&self) -> Result<(), String> {
        let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM message").fetch_one(&self.pool).await;
        match left.map_err(|error| error.to_string())? {
            0 => Ok(()),
            left => Err(format!("{left} messages are left")),
        }
    }
}

/// What a worker holds: its token, and of each message id, attempts and payload.
pub(super) struct Claim {
    token: i64,
    rows: Vec<(i64, i32, Vec<u8>)>,
}

impl Side for SkipLocked {
    type Batch = Vec<Vec<u8>>;
    type Claim = Claim;

    fn batch(messages: &[Arc<Message>]) -> Self::Batch {
        messages.iter().map(|message| message.to_structured().into_bytes()).collect()
    }

    async fn publish(&self, batch: Self::Batch) -> Result<(), String> {
        let published = sqlx::query(PUBLISH).bind(batch).execute(&self.pool).await;
        published.map(drop).map_err(|error| error.to_string())
    }

    async fn claim(&self, max: usize) -> Result<Claim, String> {
        let token = self.token.fetch_add(1, Ordering::Relaxed);
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let claim = sqlx::query_as(CLAIM).bind(max).bind(token).bind(LEASE.as_secs_f64());
        let rows = claim.fetch_all(&self.pool).await.map_err(|error| error.to_string())?;
        Ok(Claim { token, rows })
    }

    fn count(claim: &Claim) -> usize {
        claim.rows.len()
    }

    async fn settle(&self, claim: Claim) -> Result<(), String> {
        let ids: Vec<i64> = claim.rows.iter().map(|(id, ..)| *id).collect();
        let tokens = vec![claim.token; ids.len()];
        let count = ids.len() as u64;
        let settled = sqlx::query(SETTLE).bind(ids).bind(tokens).execute(&self.pool).await;
        match settled.map_err(|error| error.to_string())?.rows_affected() {
            settled if settled == count => Ok(()),
            settled => Err(format!("{settled} of {count} leases could be settled")),
        }
    }

    async fn idle(&self, _: Claim) -> Result<(), String> {
        tokio::time::sleep(IDLE).await;
        Ok(())
    }
}
