//! Letting go of what is old: transactions on a connection of their own, as when content is erased.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use txn_change::{Event, Format, Timestamp, passing_digest};

use super::{
    rows::{Damage, Fields, Unread, failed},
    sql,
};
use crate::{
    admin::{Purge, Purged, Row},
    encode::purge_to_number,
    error::Error,
    store::Position,
    tail::{Budget, Plan, weight},
};

/// How far this was purged: of answers, the last change that was looked at; of events, the last group, and where the log ended with it.
pub(super) fn reached(connection: &Connection, what: Purge) -> rusqlite::Result<(i64, i64)> {
    let mut statement = connection.prepare_cached(sql::PURGED)?;
    let found = statement.query_row([purge_to_number(what)], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.unwrap_or_default())
}

/// How far the store was purged, as an export tells it. Changes are numbered from 1 without gaps.
pub(super) fn told(connection: &Connection) -> rusqlite::Result<Row> {
    let (answers, _) = reached(connection, Purge::Answers)?;
    let (_, events) = reached(connection, Purge::Events)?;
    Ok(Row::Purged { answers: answers.cast_unsigned(), events: Position(events.cast_unsigned()) })
}

pub(super) fn answers(connection: &mut Connection, before: Timestamp, max: usize) -> Result<Purged, Error> {
    let failed = failed("purging answers");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let (mut until, mut position) = reached(&transaction, Purge::Answers).map_err(&failed)?;
    let mut purged = Purged::default();
    let mut looked_at = 0usize;
    {
        let mut statement = transaction.prepare(sql::ANSWERS_BEHIND).map_err(&failed)?;
        let mut erase = transaction.prepare(sql::ERASE_ANSWER).map_err(&failed)?;
        let mut find_fact = transaction.prepare(sql::FACT_BETWEEN).map_err(&failed)?;
        let limit = i64::try_from(max).unwrap_or(i64::MAX);
        let mut rows = statement.query([until, limit]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let fields = Fields(row);
            let read = || Ok((fields.int(0)?, fields.body(1, 4)?, fields.time(5)?, fields.int(6)?, fields.int(7)?));
            let (n, answer, recorded_at, entries, events) = read().map_err(|damage: Damage| damage.of("an answer"))?;
            if recorded_at >= before {
                break;
            }
            let end = position.saturating_add(events);
            let tells = entries > 0 || (events > 0 && find_fact.exists([position, end]).map_err(&failed)?);
            if tells && answer.format() != Format::Erased {
                erase.execute((n, answer.content_digest())).map_err(&failed)?;
                purged.rows = purged.rows.saturating_add(1);
            }
            (until, position, looked_at) = (n, end, looked_at.saturating_add(1));
        }
        transaction.execute(sql::PUT_PURGED, (purge_to_number(Purge::Answers), until, position)).map_err(&failed)?;
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

/// Lets go of what is planned, as far as it is free, and until it is enough.
pub(super) fn events(connection: &mut Connection, plan: &Plan, free: Position, max: usize) -> Result<Purged, Error> {
    let failed = failed("purging events");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
    let (until, tail) = reached(&transaction, Purge::Events).map_err(&failed)?;
    let mut budget = Budget::new(Position(tail.cast_unsigned()), free, max);
    let target = plan.target().unwrap_or_default().0.cast_signed();
    let mut rows = 0u64;
    {
        let mut statement = transaction.prepare(sql::EVENTS_BETWEEN).map_err(&failed)?;
        let mut events = statement.query([tail, target]).map_err(&failed)?;
        let mut of_change = Passing { n: 0, places: Vec::new(), events: Vec::new() };
        loop {
            let row = events.next().map_err(&failed)?;
            let n = row.map(|row| Fields(row).int(2)).transpose().map_err(|damage| damage.of("an event"))?;
            if n != Some(of_change.n) {
                if !of_change.may_go(&mut budget) {
                    break;
                }
                rows = rows.saturating_add(of_change.let_go(&transaction).map_err(&failed)?);
                of_change = Passing { n: n.unwrap_or_default(), places: Vec::new(), events: Vec::new() };
            }
            let Some(row) = row else { break };
            let fields = Fields(row);
            let read = || Ok((fields.event()?, fields.int(3)?));
            let ((position, event), tenant) = read().map_err(|damage: Damage| damage.of("an event"))?;
            of_change.places.push((position, tenant));
            of_change.events.push(event);
        }
    }
    let group = plan.last_within(budget.end).map_or(until, u64::cast_signed).max(until);
    let end = budget.end.0.cast_signed();
    transaction.execute(sql::PUT_PURGED, (purge_to_number(Purge::Events), group, end)).map_err(&failed)?;
    transaction.commit().map_err(&failed)?;
    Ok(Purged { rows, is_complete: plan.is_complete(&budget) })
}

/// The events of one change, and the position and tenant of each.
struct Passing {
    n: i64,
    places: Vec<(Position, i64)>,
    events: Vec<Event>,
}

impl Passing {
    fn may_go(&self, budget: &mut Budget) -> bool {
        self.places.last().is_none_or(|(end, _)| budget.takes(*end, weight(&self.events)))
    }

    /// Deletes those that are not lasting, and leaves the digest over them with the change; says how many.
    fn let_go(self, connection: &Connection) -> rusqlite::Result<u64> {
        if self.events.iter().all(Event::is_lasting) {
            return Ok(0);
        }
        connection.prepare_cached(sql::PUT_PASSED)?.execute((self.n, passing_digest(&self.events)))?;
        let mut count = 0u64;
        let events = self.places.into_iter().zip(&self.events).filter(|(_, event)| !event.is_lasting());
        for ((position, tenant), event) in events {
            let position = position.0.cast_signed();
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
