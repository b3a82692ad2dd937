//! Erasing content: a transaction on a connection of its own. The writer notices that another has written, and forgets what it remembered.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use txn_change::{Body, Format, Tenant};

use super::{
    rows::{Fields, Names, failed},
    sql,
};
use crate::{admin::Erase, error::Error};

/// Erases all of it, or nothing when something of it may not be erased; says of how many rows.
pub(super) fn erase(connection: &mut Connection, tenant: &Tenant, what: &[Erase]) -> Result<u64, Error> {
    Erase::check(what)?;
    let failed = failed("erasing");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let Some(number) = Names::default().number(&transaction, tenant)? else { return Ok(0) };
    let mut count = 0u64;
    for erase in what {
        count = count.saturating_add(match erase {
            Erase::Record(key) => record(&transaction, number, key.as_bytes()).map_err(&failed)?,
            Erase::Answer(id) => bodies(&transaction, sql::ANSWER_OF_CHANGE, sql::ERASE_ANSWER, number, id.as_str())?,
            Erase::Events(id) => bodies(&transaction, sql::EVENTS_OF_CHANGE, sql::ERASE_EVENT, number, id.as_str())?,
        });
    }
    transaction.commit().map_err(&failed)?;
    Ok(count)
}

fn record(connection: &Connection, tenant: i64, key: &[u8]) -> rusqlite::Result<u64> {
    let found = connection
        .query_row(sql::BODY_OF_RECORD, (tenant, key), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, u8>(1)?, row.get::<_, Vec<u8>>(2)?))
        })
        .optional()?;
    let Some((no, _, bytes)) = found.filter(|(_, format, _)| *format != Format::Erased.code()) else { return Ok(0) };
    let digest = Body::raw("erased", 1, bytes).content_digest();
    connection.execute(sql::ERASE_RECORD, (no, digest))?;
    connection.execute(sql::DELETE_TERMS_OF, (tenant, key))?;
    Ok(1)
}

/// Erases the bodies that a statement finds: row number, type, schema, format, bytes.
fn bodies(connection: &Connection, find: &str, erase: &str, tenant: i64, id: &str) -> Result<u64, Error> {
    let failed = failed("erasing");
    let mut statement = connection.prepare(find).map_err(&failed)?;
    let mut rows = statement.query((tenant, id)).map_err(&failed)?;
    let mut erased: Vec<(i64, [u8; 32])> = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let fields = Fields(row);
        let read = || Ok((fields.int(0)?, fields.body(1, 4)?));
        let (no, body) =
            read().map_err(|damage: super::rows::Damage| damage.of(format_args!("a body of change {id}")))?;
        if body.is_reserved() {
            return Err(Erase::refuse(body.type_name()));
        }
        if body.format() != Format::Erased {
            erased.push((no, body.content_digest()));
        }
    }
    for (no, digest) in &erased {
        connection.execute(erase, (no, digest)).map_err(&failed)?;
    }
    Ok(erased.len() as u64)
}
