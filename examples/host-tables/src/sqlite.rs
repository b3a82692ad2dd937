//! The shop on SQLite: its table stands in the store's own file.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use txn::store::{
    ErrorKind, StoreAdmin, Tentative,
    sqlite::{
        Sqlite,
        rusqlite::{Connection, OptionalExtension},
    },
};

use crate::{BEGIN_AGAIN_MAX, Error, Redeem, Redeemed, Shop, voucher};

/// The store, and the shop's own connection to its file.
pub struct SqliteShop {
    store: Arc<Sqlite>,
    connection: Mutex<Connection>,
}

impl SqliteShop {
    /// Opens both at `path`.
    ///
    /// # Errors
    /// What the store or SQLite says.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let store = Arc::new(Sqlite::open(path)?);
        let connection = store.connection()?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS loyalty_points(member TEXT PRIMARY KEY, points INTEGER NOT NULL CHECK (points >= 0))",
        )?;
        Ok(Self { store, connection: Mutex::new(connection) })
    }

    /// A panic inside a transaction has rolled it back.
    fn connection(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_redeem(&self, redeem: &Redeem) -> Result<Redeemed, Error> {
        let change = voucher::change(redeem)?;
        let mut connection = self.connection();
        // Dropped, it is rolled back.
        let tx = self.store.begin(&mut connection)?;
        let taken = tx.execute(
            "UPDATE loyalty_points SET points = points - ?2 WHERE member = ?1 AND points >= ?2",
            (&redeem.member, redeem.points),
        )?;
        match self.store.commit_in(&tx, &voucher::tenant(), &change)? {
            // The first answer stands, however many points there are now.
            Tentative::Pending(pending) if pending.is_replayed() => Ok(Redeemed::Before),
            Tentative::Refused(refusal) => Ok(Redeemed::Refused(refusal)),
            Tentative::Pending(_) if taken == 0 => Ok(Redeemed::TooFewPoints),
            Tentative::Pending(pending) => {
                tx.commit()?;
                self.store.committed(pending);
                Ok(Redeemed::Done)
            }
        }
    }
}

#[async_trait]
impl Shop for SqliteShop {
    fn store(&self) -> Arc<dyn StoreAdmin> {
        Arc::clone(&self.store) as _
    }

    async fn enrol(&self, member: &str, points: i64) -> Result<(), Error> {
        let text = "INSERT INTO loyalty_points VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.connection().execute(text, (member, points))?;
        Ok(())
    }

    async fn points(&self, member: &str) -> Result<i64, Error> {
        let text = "SELECT points FROM loyalty_points WHERE member = ?1";
        Ok(self.connection().query_row(text, [member], |row| row.get(0)).optional()?.unwrap_or_default())
    }

    async fn redeem(&self, redeem: &Redeem) -> Result<Redeemed, Error> {
        // A service would hand this to a thread that may block.
        for _ in 0..BEGIN_AGAIN_MAX {
            match self.try_redeem(redeem) {
                Err(error) if is_contended(&error) => {}
                ended => return ended,
            }
        }
        self.try_redeem(redeem)
    }
}

fn is_contended(error: &Error) -> bool {
    error.downcast_ref::<txn::store::Error>().is_some_and(|error| error.kind() == ErrorKind::Contended)
}
