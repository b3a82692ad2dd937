//! Letting go of what is old: transactions on sessions of their own, one at a time for each kind.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow, query};
use txn_change::{Event, Timestamp, passing_digest};

use super::{
    Shared,
    connect::{connect, failed},
    get::event,
    sequencer::catch_up,
    values::{Damage, Fields},
};
use crate::{
    admin::{Purge, Purged},
    encode::purge_to_number,
    error::Error,
    store::Position,
    tail::{Budget, Plan, weight},
};

fn text(shared: &Shared, text: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(text.replace("$s.", &format!("{}.", shared.schema)))
}

/// The groups behind the last that was purged that are old enough.
async fn old_groups(
    session: &mut PgConnection,
    shared: &Shared,
    what: Purge,
    before: Timestamp,
    max: usize,
) -> Result<Plan, Error> {
    let doing = failed("looking for what is old");
    let weight = match what {
        Purge::Answers => "l.changes",
        Purge::Events => "l.changes + l.events",
    };
    let find = format!(
        "SELECT l.number, l.position, {weight}, g.recorded_at FROM $s.link l JOIN $s.change_group g ON g.ticket = l.ticket \
         WHERE l.number > (SELECT until FROM $s.purge WHERE what = $1) ORDER BY l.number LIMIT $2"
    );
    let limit = i64::try_from(max).unwrap_or(i64::MAX);
    let find = query(text(shared, &find)).bind(purge_to_number(what)).bind(limit);
    let rows = find.fetch_all(session).await.map_err(&doing)?;
    let groups = rows.iter().map(|row| {
        let fields = Fields(row);
        let read = || Ok((fields.count(0)?, Position(fields.count(1)?), fields.count(2)?, fields.time(3)?));
        read().map_err(|damage: Damage| damage.of("a link"))
    });
    Plan::of(groups, before, max)
}

/// Keeps others from purging the same to the end of the transaction, and says how far it was purged; nothing when another is at it.
async fn hold(session: &mut PgConnection, shared: &Shared, what: Purge) -> sqlx::Result<Option<(i64, i64)>> {
    let hold = "SELECT until, position FROM $s.purge WHERE what = $1 FOR UPDATE SKIP LOCKED";
    let row = query(text(shared, hold)).bind(purge_to_number(what)).fetch_optional(session).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// What is said when another process is at it.
const BUSY: Purged = Purged { rows: 0, is_complete: true };

async fn reached(
    session: &mut PgConnection,
    shared: &Shared,
    what: Purge,
    (group, position): (i64, i64),
) -> sqlx::Result<()> {
    let put = "UPDATE $s.purge SET until = $2, position = $3 WHERE what = $1";
    query(text(shared, put)).bind(purge_to_number(what)).bind(group).bind(position).execute(session).await?;
    Ok(())
}

pub(super) async fn answers(shared: &Shared, before: Timestamp, max: usize) -> Result<Purged, Error> {
    let doing = failed("purging answers");
    let mut session = connect(&shared.session, shared.waits).await?;
    catch_up(&mut session, shared).await.map_err(&doing)?;
    let mut transaction = session.begin().await.map_err(&doing)?;
    let held = hold(&mut transaction, shared, Purge::Answers).await.map_err(&doing)?;
    let Some((until, _)) = held else { return Ok(BUSY) };
    let plan = old_groups(&mut transaction, shared, Purge::Answers, before, max).await?;
    let everything = Budget::new(Position(0), Position(u64::MAX), usize::MAX);
    let last = plan.last_within(everything.free).zip(plan.target());
    let Some((group, position)) = last else { return Ok(BUSY) };
    let last = (group.cast_signed(), position.0.cast_signed());
    let erase = "UPDATE $s.change c SET format = 0, answer = sha256(c.answer) FROM $s.link l \
                 WHERE l.number > $1 AND l.number <= $2 AND c.ticket = l.ticket AND c.format <> 0 AND (c.entries > 0 \
                 OR (c.events > 0 AND EXISTS (SELECT 1 FROM $s.event e WHERE e.ticket = c.ticket AND e.at = c.at AND e.fact IS NOT NULL)))";
    let erased =
        query(text(shared, erase)).bind(until).bind(last.0).execute(&mut *transaction).await.map_err(&doing)?;
    reached(&mut transaction, shared, Purge::Answers, last).await.map_err(&doing)?;
    transaction.commit().await.map_err(&doing)?;
    Ok(Purged { rows: erased.rows_affected(), is_complete: plan.is_complete(&everything) })
}

/// The groups from where the log begins that are old enough.
pub(super) async fn old_events(shared: &Shared, before: Timestamp, max: usize) -> Result<Plan, Error> {
    let mut session = connect(&shared.session, shared.waits).await?;
    catch_up(&mut session, shared).await.map_err(failed("looking for what is old"))?;
    old_groups(&mut session, shared, Purge::Events, before, max).await
}

/// Lets go of what is planned, as far as it is free, and until it is enough.
pub(super) async fn events(shared: &Shared, plan: &Plan, free: Position, max: usize) -> Result<Purged, Error> {
    let doing = failed("purging events");
    let mut session = connect(&shared.session, shared.waits).await?;
    let mut transaction = session.begin().await.map_err(&doing)?;
    let held = hold(&mut transaction, shared, Purge::Events).await.map_err(&doing)?;
    let Some((until, tail)) = held else { return Ok(BUSY) };
    let find = "SELECT e.ticket, e.at, e.ord, e.tenant, e.fact, e.subject, e.type, (e.schema::int8 << 8) | e.format, e.body, e.terms, \
                l.position - l.events + e.ord + 1 \
                FROM $s.link l CROSS JOIN LATERAL (SELECT * FROM $s.event e WHERE e.ticket = l.ticket AND e.ord >= $1 - (l.position - l.events) ORDER BY e.ord) e \
                WHERE l.number > $2 AND l.position > $1 AND l.position <= $3 ORDER BY l.number, e.ord LIMIT $4";
    let target = plan.target().unwrap_or_default().0.cast_signed();
    // One change more than is enough, so that its end is seen.
    let limit = max.saturating_add(shared.limits.change.events_max).saturating_add(1);
    let find =
        query(text(shared, find)).bind(tail).bind(until).bind(target).bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = find.fetch_all(&mut *transaction).await.map_err(&doing)?;
    let is_last = rows.len() < limit;
    let mut budget = Budget::new(Position(tail.cast_unsigned()), free, max);
    let passing = Passing::of(&rows, is_last, &mut budget).map_err(|damage| damage.of("an event"))?;
    drop(rows);
    let gone = passing.ords.len() as u64;
    if gone > 0 {
        for statement in passing.statements(shared) {
            statement.execute(&mut *transaction).await.map_err(&doing)?;
        }
    }
    let group = plan.last_within(budget.end).map_or(until, u64::cast_signed).max(until);
    let last = (group, budget.end.0.cast_signed());
    reached(&mut transaction, shared, Purge::Events, last).await.map_err(&doing)?;
    transaction.commit().await.map_err(&doing)?;
    Ok(Purged { rows: gone, is_complete: plan.is_complete(&budget) })
}

/// The events that pass, by column, and what their changes keep of them.
#[derive(Default)]
struct Passing {
    tickets: Vec<i64>,
    ords: Vec<i32>,
    terms: Terms,
    changes: Vec<(i64, i32)>,
    digests: Vec<[u8; 32]>,
}

/// The index terms of those events, by column.
#[derive(Default)]
struct Terms {
    tickets: Vec<i64>,
    ords: Vec<i32>,
    tenants: Vec<i32>,
    terms: Vec<Vec<u8>>,
}

impl Passing {
    /// What goes of these rows. `is_last` says that none is behind them; else the last change may have more.
    fn of(rows: &[PgRow], is_last: bool, budget: &mut Budget) -> Result<Self, Damage> {
        let mut passing = Self::default();
        let mut of_change: Vec<(i32, i32, Event)> = Vec::new();
        let mut change: Option<((i64, i32), Position)> = None;
        for row in rows {
            let fields = Fields(row);
            let next = (fields.get(0)?, fields.get(1)?);
            let end = Position(fields.count(10)?);
            if let Some((earlier, end)) = change.replace((next, end)).filter(|(earlier, _)| *earlier != next)
                && !passing.add(earlier, end, std::mem::take(&mut of_change), budget)
            {
                return Ok(passing);
            }
            of_change.push((fields.get(2)?, fields.get(3)?, event(&fields, fields.fact(4)?, [5, 6, 7, 8, 9])?));
        }
        match change {
            Some((last, end)) if is_last => drop(passing.add(last, end, of_change, budget)),
            Some(_) => budget.is_spent = true,
            None => {}
        }
        Ok(passing)
    }

    /// Adds a change, if it may go.
    fn add(
        &mut self,
        (ticket, at): (i64, i32),
        end: Position,
        of_change: Vec<(i32, i32, Event)>,
        budget: &mut Budget,
    ) -> bool {
        let (places, events): (Vec<_>, Vec<_>) =
            of_change.into_iter().map(|(ord, tenant, event)| ((ord, tenant), event)).unzip();
        if !budget.takes(end, weight(&events)) {
            return false;
        }
        if events.iter().all(Event::is_lasting) {
            return true;
        }
        self.changes.push((ticket, at));
        self.digests.push(passing_digest(&events));
        for ((ord, tenant), event) in places.into_iter().zip(&events).filter(|(_, event)| !event.is_lasting()) {
            self.tickets.push(ticket);
            self.ords.push(ord);
            for term in &event.terms {
                self.terms.tickets.push(ticket);
                self.terms.ords.push(ord);
                self.terms.tenants.push(tenant);
                self.terms.terms.push(term.as_bytes().to_vec());
            }
        }
        true
    }

    fn statements<'q>(
        self,
        shared: &Shared,
    ) -> [sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>; 3] {
        let keep = "UPDATE $s.change c SET passed = u.digest FROM unnest($1::int8[], $2::int4[], $3::bytea[]) u(ticket, at, digest) \
                    WHERE c.ticket = u.ticket AND c.at = u.at";
        let forget = "DELETE FROM $s.event_term t USING unnest($1::int8[], $2::int4[], $3::int4[], $4::bytea[]) u(ticket, ord, tenant, term) \
                      WHERE t.tenant = u.tenant AND t.term = u.term AND t.ticket = u.ticket AND t.ord = u.ord";
        let delete = "DELETE FROM $s.event e USING unnest($1::int8[], $2::int4[]) u(ticket, ord) WHERE e.ticket = u.ticket AND e.ord = u.ord";
        let (of_changes, places): (Vec<i64>, Vec<i32>) = self.changes.into_iter().unzip();
        let digests: Vec<Vec<u8>> = self.digests.iter().map(|digest| digest.to_vec()).collect();
        let Terms { tickets, ords, tenants, terms } = self.terms;
        [
            query(text(shared, keep)).bind(of_changes).bind(places).bind(digests),
            query(text(shared, forget)).bind(tickets).bind(ords).bind(tenants).bind(terms),
            query(text(shared, delete)).bind(self.tickets).bind(self.ords),
        ]
    }
}
