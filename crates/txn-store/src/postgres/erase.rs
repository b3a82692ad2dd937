//! Erasing content: one transaction on a session of its own.

use sqlx::{AssertSqlSafe, Connection, PgConnection, query};
use txn_change::{Body, Format, Tenant};

use super::{
    Shared,
    connect::{Session, failed},
    values::{Damage, Fields},
};
use crate::{admin::Erase, error::Error};

/// Erases all of it, or nothing when something of it may not be erased; says of how many rows.
pub(super) async fn erase(shared: &Shared, tenant: &Tenant, what: &[Erase]) -> Result<u64, Error> {
    Erase::check(what)?;
    let doing = failed("erasing");
    let Session { connection: mut session, names } = Session::open(shared, &shared.session).await?;
    names.learn_tenants(&mut session, &[tenant]).await.map_err(&doing)?;
    let Some(number) = names.tenant(tenant) else { return Ok(0) };
    let mut transaction = session.begin().await.map_err(&doing)?;
    let mut erasing = Erasing { session: &mut transaction, schema: &shared.schema, tenant: number, count: 0 };
    for erase in what {
        match erase {
            Erase::Record(key) => erasing.record(key.as_bytes()).await?,
            Erase::Answer(id) => {
                let find = "SELECT 0::int8, c.type, (c.schema::int8 << 8) | c.format, c.answer FROM $s.change c \
                            WHERE c.tenant = $1 AND c.id = $2 FOR UPDATE OF c";
                let erase = "UPDATE $s.change SET format = 0, answer = $4 WHERE tenant = $1 AND id = $2 AND $3 >= 0";
                erasing.bodies(id.as_str(), find, erase).await?;
            }
            Erase::Events(id) => {
                let find = "SELECT e.ord::int8, e.type, (e.schema::int8 << 8) | e.format, e.body FROM $s.change c \
                            JOIN $s.event e ON e.ticket = c.ticket AND e.at = c.at WHERE c.tenant = $1 AND c.id = $2 FOR UPDATE OF e";
                let erase = "UPDATE $s.event e SET format = 0, body = $4 FROM $s.change c \
                             WHERE c.tenant = $1 AND c.id = $2 AND e.ticket = c.ticket AND e.ord = $3";
                erasing.bodies(id.as_str(), find, erase).await?;
            }
        }
    }
    let count = erasing.count;
    transaction.commit().await.map_err(&doing)?;
    Ok(count)
}

struct Erasing<'a> {
    session: &'a mut PgConnection,
    schema: &'a str,
    tenant: i32,
    count: u64,
}

impl Erasing<'_> {
    fn text(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(text.replace("$s.", &format!("{}.", self.schema)))
    }

    async fn record(&mut self, key: &[u8]) -> Result<(), Error> {
        let doing = failed("erasing");
        let find = self.text("SELECT body FROM $s.record WHERE tenant = $1 AND key = $2 AND format <> 0 FOR UPDATE");
        let found = query(find).bind(self.tenant).bind(key).fetch_optional(&mut *self.session).await.map_err(&doing)?;
        let Some(row) = found else { return Ok(()) };
        let bytes = Fields(&row).bytes(0).map_err(|damage| damage.of("a record"))?.to_vec();
        let digest = Body::raw("erased", 1, bytes).content_digest();
        let erase = "UPDATE $s.record SET format = 0, body = $3, terms = '', version = version + 1 WHERE tenant = $1 AND key = $2";
        let erase = query(self.text(erase)).bind(self.tenant).bind(key).bind(&digest[..]);
        erase.execute(&mut *self.session).await.map_err(&doing)?;
        // Rare, and so without an index of its own.
        let terms = query(self.text("DELETE FROM $s.term WHERE tenant = $1 AND key = $2")).bind(self.tenant).bind(key);
        terms.execute(&mut *self.session).await.map_err(&doing)?;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Erases the bodies that a statement finds: number, type, shape, bytes.
    async fn bodies(&mut self, id: &str, find: &str, erase: &str) -> Result<(), Error> {
        let doing = failed("erasing");
        let find = query(self.text(find)).bind(self.tenant).bind(id);
        let rows = find.fetch_all(&mut *self.session).await.map_err(&doing)?;
        for row in &rows {
            let fields = Fields(row);
            let read = || Ok((fields.int(0)?, fields.body(1, 2, 3)?));
            let (number, body) = read().map_err(|damage: Damage| damage.of(format_args!("a body of change {id}")))?;
            if body.is_reserved() {
                return Err(Erase::refuse(body.type_name()));
            }
            if body.format() == Format::Erased {
                continue;
            }
            let digest = body.content_digest();
            let erase = query(self.text(erase)).bind(self.tenant).bind(id).bind(number).bind(&digest[..]);
            erase.execute(&mut *self.session).await.map_err(&doing)?;
            self.count = self.count.saturating_add(1);
        }
        Ok(())
    }
}
