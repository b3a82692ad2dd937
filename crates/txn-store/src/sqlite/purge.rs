//! Letting go of what is old: transactions on a connection of their own, as when content is erased.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use txn_change::{Event, Format, Timestamp, passing_digest};

use super::{
    rows::{Damage, Fields, Unread, failed},
    sql,
};
use crate::{
    admin::{Purge, Purged},
    error::Error,
    store::Position,
    tail::Plan,
};

const fn number(what: Purge) -> i64 {
    match what {
        Purge::Answers => 0,
        Purge::Events => 1,
    }
}

/// How far this was purged: of answers, the last change that was looked at; of events, the last group, and where the log ended with it.
pub(super) fn reached(connection: &Connection, what: Purge) -> rusqlite::Result<(i64, i64)> {
    let mut statement = connection.prepare_cached(sql::PURGED)?;
    let found = statement.query_row([number(what)], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.unwrap_or_default())
}

pub(super) fn answers(connection: &mut Connection, before: Timestamp, max: usize) -> Result<Purged, Error> {
    let failed = failed("purging answers");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let (mut until, _) = reached(&transaction, Purge::Answers).map_err(&failed)?;
    let mut purged = Purged::default();
    let mut looked_at = 0usize;
    {
        let mut statement = transaction.prepare(sql::ANSWERS_BEHIND).map_err(&failed)?;
        let mut erase = transaction.prepare(sql::ERASE_ANSWER).map_err(&failed)?;
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let mut rows = statement.query([until, limit]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let fields = Fields(row);
            let read = || Ok((fields.int(0)?, fields.body(1, 4)?, fields.time(5)?, fields.int(6)?));
            let (n, answer, recorded_at, left) = read().map_err(|damage: Damage| damage.of("an answer"))?;
            if recorded_at >= before {
                break;
            }
            if left > 0 && answer.format() != Format::Erased {
                erase.execute((n, answer.content_digest())).map_err(&failed)?;
                purged.rows = purged.rows.saturating_add(1);
            }
            (until, looked_at) = (n, looked_at.saturating_add(1));
        }
        transaction.execute(sql::PUT_PURGED, (number(Purge::Answers), until, 0)).map_err(&failed)?;
    }
    transaction.commit().map_err(&failed)?;
    purged.is_complete = looked_at < max;
    Ok(purged)
}

/// The groups from where the log begins that are old enough.
pub(super) fn old_groups(connection: &Connection, before: Timestamp, max: usize) -> Result<Plan, Error> {
    let failed = failed("looking for old events");
    let (until, _) = reached(connection, Purge::Events).map_err(&failed)?;
    let mut statement = connection.prepare(sql::GROUPS_BEHIND).map_err(&failed)?;
    let groups = statement.query_and_then([until], |row| {
        let fields = Fields(row);
        Ok((fields.count(0)?, Position(fields.count(1)?), fields.count(2)?, fields.time(3)?))
    });
    Plan::of(groups.map_err(&failed)?, before, max).map_err(|unread: Unread| unread.of("a link"))
}

/// Lets go of what is planned, as far as it is free.
pub(super) fn events(connection: &mut Connection, plan: &Plan, free: Position) -> Result<Purged, Error> {
    let failed = failed("purging events");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let (until, tail) = reached(&transaction, Purge::Events).map_err(&failed)?;
    let (last, is_complete) = plan.free(free);
    let last = last.and_then(|(group, end)| Some((i64::try_from(group).ok()?, i64::try_from(end.0).ok()?)));
    let Some((group, end)) = last.filter(|(group, _)| *group > until) else {
        return Ok(Purged { rows: 0, is_complete });
    };
    let mut rows = 0u64;
    {
        let mut statement = transaction.prepare(sql::EVENTS_BETWEEN).map_err(&failed)?;
        let mut events = statement.query([tail, end]).map_err(&failed)?;
        let mut of_change = Passing { n: 0, events: Vec::new() };
        while let Some(row) = events.next().map_err(&failed)? {
            let fields = Fields(row);
            let read = || Ok((fields.event()?, fields.int(2)?, fields.int(3)?));
            let ((position, event), n, tenant) = read().map_err(|damage: Damage| damage.of("an event"))?;
            if n != of_change.n {
                rows = rows.saturating_add(of_change.let_go(&transaction).map_err(&failed)?);
                of_change = Passing { n, events: Vec::new() };
            }
            of_change.events.push((position.0.cast_signed(), tenant, event));
        }
        rows = rows.saturating_add(of_change.let_go(&transaction).map_err(&failed)?);
    }
    transaction.execute(sql::PUT_PURGED, (number(Purge::Events), group, end)).map_err(&failed)?;
    transaction.commit().map_err(&failed)?;
    Ok(Purged { rows, is_complete })
}

/// The events of one change, each with its position and tenant.
struct Passing {
    n: i64,
    events: Vec<(i64, i64, Event)>,
}

impl Passing {
    /// Deletes those that are not lasting, and leaves the digest over them with the change; says how many.
    fn let_go(self, connection: &Connection) -> rusqlite::Result<u64> {
        let (places, events): (Vec<_>, Vec<_>) =
            self.events.into_iter().map(|(at, of, event)| ((at, of), event)).unzip();
        if events.iter().all(Event::is_lasting) {
            return Ok(0);
        }
        connection.prepare_cached(sql::PUT_PASSED)?.execute((self.n, passing_digest(&events)))?;
        let mut count = 0u64;
        for ((position, tenant), event) in places.into_iter().zip(&events).filter(|(_, event)| !event.is_lasting()) {
            for term in &event.terms {
                let mut delete = connection.prepare_cached(sql::DELETE_EVENT_TERM)?;
                delete.execute((tenant, term.as_bytes(), position))?;
            }
            connection.prepare_cached(sql::DELETE_EVENT)?.execute([position])?;
            count = count.saturating_add(1);
        }
        Ok(count)
    }
}
