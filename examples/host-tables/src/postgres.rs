//! The shop on PostgreSQL: its table stands in a schema of its own, beside the store's.

use std::sync::Arc;

use async_trait::async_trait;
use txn::store::{
    ErrorKind, StoreAdmin, Tentative,
    postgres::{
        Postgres,
        sqlx::{
            self, PgPool, Row,
            postgres::{PgConnectOptions, PgPoolOptions},
            query,
        },
    },
};

use crate::{BEGIN_AGAIN_MAX, Error, Redeem, Redeemed, Shop, voucher};

/// The store, and the shop's own sessions in the same database.
pub struct PostgresShop {
    store: Arc<Postgres>,
    pool: PgPool,
}

impl PostgresShop {
    /// Opens both in the database at `url`: the store in the schema `schema`, the shop's table where the session looks first.
    ///
    /// # Errors
    /// What the store or the server says.
    pub async fn open(url: &str, schema: &str, search_path: &str) -> Result<Self, Error> {
        let store = Arc::new(Postgres::options(url)?.schema(schema).open().await?);
        let options = url.parse::<PgConnectOptions>()?.options([("search_path", search_path)]);
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await?;
        query("CREATE TABLE IF NOT EXISTS loyalty_points(member text PRIMARY KEY, points bigint NOT NULL CHECK (points >= 0))")
            .execute(&pool)
            .await?;
        Ok(Self { store, pool })
    }

    async fn try_redeem(&self, redeem: &Redeem) -> Result<Redeemed, Error> {
        let change = voucher::change(redeem)?;
        // Dropped, it is rolled back.
        let mut tx = self.store.begin(&self.pool).await?;
        let taken = query("UPDATE loyalty_points SET points = points - $2 WHERE member = $1 AND points >= $2")
            .bind(&redeem.member)
            .bind(redeem.points)
            .execute(&mut *tx)
            .await?;
        // Last: from here on others may wait for us.
        match self.store.commit_in(&mut tx, &voucher::tenant(), &change).await? {
            // The first answer stands, however many points there are now.
            Tentative::Pending(pending) if pending.is_replayed() => Ok(Redeemed::Before),
            Tentative::Refused(refusal) => Ok(Redeemed::Refused(refusal)),
            Tentative::Pending(_) if taken.rows_affected() == 0 => Ok(Redeemed::TooFewPoints),
            Tentative::Pending(pending) => {
                tx.commit().await?;
                self.store.committed(pending);
                Ok(Redeemed::Done)
            }
        }
    }
}

#[async_trait]
impl Shop for PostgresShop {
    fn store(&self) -> Arc<dyn StoreAdmin> {
        Arc::clone(&self.store) as _
    }

    async fn enrol(&self, member: &str, points: i64) -> Result<(), Error> {
        let text = "INSERT INTO loyalty_points VALUES ($1, $2) ON CONFLICT DO NOTHING";
        query(text).bind(member).bind(points).execute(&self.pool).await?;
        Ok(())
    }

    async fn points(&self, member: &str) -> Result<i64, Error> {
        let text = "SELECT points FROM loyalty_points WHERE member = $1";
        let found = query(text).bind(member).fetch_optional(&self.pool).await?;
        Ok(found.map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
    }

    async fn redeem(&self, redeem: &Redeem) -> Result<Redeemed, Error> {
        for _ in 0..BEGIN_AGAIN_MAX {
            match self.try_redeem(redeem).await {
                Err(error) if is_contended(&error) => {}
                ended => return ended,
            }
        }
        self.try_redeem(redeem).await
    }
}

/// Others were in the way, of the store's statements or of the shop's own: a deadlock, a serialisation failure.
fn is_contended(error: &Error) -> bool {
    let state = || error.downcast_ref::<sqlx::Error>()?.as_database_error()?.code();
    error.downcast_ref::<txn::store::Error>().is_some_and(|error| error.kind() == ErrorKind::Contended)
        || state().is_some_and(|state| matches!(&*state, "40001" | "40P01"))
}
