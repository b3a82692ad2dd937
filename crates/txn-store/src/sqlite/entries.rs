//! A page of a counter's entries, which stand in a chain: from an entry at or above the end of the page along `previous` down to its beginning.
//!
//! The chain is not trusted. Each row that it leads to must be the entry that is expected there, one below the entry before, so that a damaged link is named, and none goes round.

use rusqlite::{Connection, OptionalExtension};
use txn_change::{Counter, Entry, Key};

use super::{
    rows::{Damage, Fields, Names, Unread},
    sql,
};

/// A counter, and where its chain ends.
struct Ends<'a> {
    key: &'a Key,
    number: i64,
    sequence: u64,
    last: i64,
}

/// The entries behind `after`, in order, `limit` at most. Reads less than [`sql::INDEXED_EVERY`] rows beyond them.
pub(super) fn page(
    connection: &Connection,
    names: &mut Names,
    tenant: i64,
    counter: &Key,
    after: u64,
    limit: u64,
) -> Result<Vec<Entry>, Unread> {
    let Some(ends) = ends(connection, names, tenant, counter)? else { return Ok(Vec::new()) };
    let top = after.saturating_add(limit).min(ends.sequence);
    if top <= after {
        return Ok(Vec::new());
    }
    let (begin, mut row) = begin(connection, &ends, top)?;
    let mut statement = connection.prepare_cached(sql::ENTRY_BY_NUMBER)?;
    let mut entries = Vec::new();
    let mut sequence = begin;
    while sequence > after {
        let mut rows = statement.query([row])?;
        let fields = rows.next()?.map(Fields).ok_or_else(|| Damage(format!("entry {sequence} does not exist")))?;
        let read = || {
            if fields.int(14)? != ends.number || fields.count(2)? != sequence {
                return Err(Damage(format!("row {row} stands in its place")));
            }
            let entry = match sequence <= top {
                true => Some(fields.entry(ends.key.clone(), fields.id(0)?, fields.time(1)?)?),
                false => None,
            };
            Ok((entry, fields.int(15)?))
        };
        let (entry, previous) = read().map_err(|damage| Damage(format!("entry {sequence}: {}", damage.0)))?;
        entries.extend(entry);
        (sequence, row) = (sequence.saturating_sub(1), previous);
    }
    entries.reverse();
    Ok(entries)
}

/// `None` when the counter does not exist, or its class keeps no entries.
fn ends<'a>(connection: &Connection, names: &mut Names, tenant: i64, key: &'a Key) -> Result<Option<Ends<'a>>, Unread> {
    let mut statement = connection.prepare_cached(sql::FIND_ENDS)?;
    let mut rows = statement.query((tenant, key.as_bytes()))?;
    let Some(fields) = rows.next()?.map(Fields) else { return Ok(None) };
    if !names.class(connection, fields.int(1)?)?.history {
        return Ok(None);
    }
    Ok(Some(Ends { key, number: fields.int(0)?, sequence: fields.count(2)?, last: fields.int(3)? }))
}

/// The entry nearest to `top`, at it or above, whose row is known without the chain.
fn begin(connection: &Connection, ends: &Ends<'_>, top: u64) -> Result<(u64, i64), Unread> {
    let indexed = top.checked_next_multiple_of(sql::INDEXED_EVERY).filter(|indexed| *indexed <= ends.sequence);
    let Some(indexed) = indexed else { return Ok((ends.sequence, ends.last)) };
    let mut statement = connection.prepare_cached(sql::FIND_INDEXED)?;
    let row = statement.query_row((ends.number, indexed.cast_signed()), |row| row.get(0)).optional()?;
    Ok((indexed, row.ok_or_else(|| Damage(format!("entry {indexed} does not exist")))?))
}

/// Whether an exported entry leads to the one before it: `previous` in column 15, what stands there in 16 and 17.
pub(super) fn is_linked(fields: &Fields<'_, '_>) -> bool {
    match fields.int(2) {
        Ok(1) => matches!(fields.int(15), Ok(0)),
        Ok(sequence) => is_entry(fields, 16, fields.int(1), sequence.saturating_sub(1)),
        // Named as a row that cannot be read.
        Err(_) => true,
    }
}

/// Whether an exported counter leads to its last entry: `last` in column 13, what stands there in 14 and 15.
pub(super) fn has_its_last(fields: &Fields<'_, '_>, counter: &Counter) -> bool {
    if counter.class.history && counter.sequence > 0 {
        is_entry(fields, 14, fields.int(1), counter.sequence.cast_signed())
    } else {
        matches!(fields.int(13), Ok(0))
    }
}

fn is_entry(fields: &Fields<'_, '_>, at: usize, counter: Result<i64, Damage>, sequence: i64) -> bool {
    matches!((fields.int(at), counter), (Ok(of), Ok(counter)) if of == counter)
        && matches!(fields.int(at.saturating_add(1)), Ok(found) if found == sequence)
}
