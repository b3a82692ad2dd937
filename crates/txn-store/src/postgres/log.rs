//! The log in the order of its positions, and how the store is.

use sqlx::{AssertSqlSafe, PgConnection, postgres::PgRow, query};

use super::{
    Shared,
    connect::Session,
    get::event,
    names::Names,
    reader::Unread,
    sequencer::catch_up,
    values::{Damage, Fields},
};
use crate::{
    admin::Health,
    error::{Error, ErrorKind},
    store::{LogItem, LogPage, Position, Recorded},
    tail::before_the_log,
};

/// At most `limit` events behind a position. A page that reaches the end has everything that was committed before: what had no position yet is given one first.
pub(super) async fn read(
    session: &mut Session,
    shared: &Shared,
    after: Position,
    limit: usize,
) -> Result<LogPage, Unread> {
    let sql = Unread::sql("reading the log");
    let mut items = page(session, shared, after, limit).await?;
    let mut head = None;
    if items.len() < limit {
        let known = items.last().map_or(after, |item| item.position);
        let end = catch_up(&mut session.connection, shared).await.map_err(&sql)?;
        if end.position > known {
            items = page(session, shared, after, limit).await?;
        }
        head = Some(items.last().map_or(end.position, |last| last.position.max(end.position)));
    }
    // Behind the last page: what it was read without has been let go of by now.
    let schema = &shared.schema;
    let text = format!(
        "SELECT p.position, (SELECT coalesce(max(position), 0) FROM {schema}.link) FROM {schema}.purge p WHERE p.what = 1"
    );
    let row = query(AssertSqlSafe(text)).fetch_one(&mut session.connection).await.map_err(&sql)?;
    let read = || Ok((position(&row, 0)?, position(&row, 1)?));
    let (tail, end) = read().map_err(|damage: Damage| damage.of("where the log is"))?;
    if after < tail {
        return Err(before_the_log(after, tail).into());
    }
    Ok(LogPage { items, head: head.unwrap_or(end) })
}

fn position(row: &PgRow, at: usize) -> Result<Position, Damage> {
    Fields(row).count(at).map(Position)
}

async fn page(session: &mut Session, shared: &Shared, after: Position, limit: usize) -> Result<Vec<LogItem>, Unread> {
    let sql = Unread::sql("reading the log");
    let Session { connection: session, names } = session;
    names.trim();
    let schema = &shared.schema;
    // Groups are found by where they end, so that a page begins in the middle of one; an event's place in its group is its number there.
    let text = format!(
        "SELECT l.position - l.events + e.ord + 1, e.tenant, c.id, c.recorded_at, e.fact, e.subject, e.type, (e.schema::int8 << 8) | e.format, e.body, e.terms \
         FROM (SELECT * FROM {schema}.link WHERE position > $1 AND events > 0 ORDER BY position LIMIT $2) l \
         CROSS JOIN LATERAL (SELECT * FROM {schema}.event e WHERE e.ticket = l.ticket AND l.position - l.events + e.ord + 1 > $1 ORDER BY e.ord) e \
         LEFT JOIN {schema}.change c ON c.ticket = e.ticket AND c.at = e.at ORDER BY l.position, e.ord LIMIT $2"
    );
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = query(AssertSqlSafe(text)).bind(after).bind(limit).fetch_all(&mut *session).await.map_err(&sql)?;
    let unknown: Vec<i32> = rows
        .iter()
        .filter_map(|row| Fields(row).get::<i32>(1).ok())
        .filter(|number| names.tenant_name(*number).is_none())
        .collect();
    names.learn_numbers(session, &unknown, &[]).await.map_err(&sql)?;
    Ok(rows.iter().map(|row| item(row, names)).collect::<Result<_, _>>()?)
}

fn item(row: &PgRow, names: &Names) -> Result<LogItem, Error> {
    let fields = Fields(row);
    let position = fields.count(0).map_err(|damage| damage.of("an event"))?;
    let read = || {
        let number: i32 = fields.get(1)?;
        let tenant = names.tenant_name(number).ok_or_else(|| Damage(format!("there is no tenant {number}")))?;
        let event = event(&fields, fields.fact(4)?, [5, 6, 7, 8, 9])?;
        let recorded = Recorded { tenant, change: fields.id(2)?, recorded_at: fields.time(3)?, event };
        Ok(LogItem { position: Position(position), recorded })
    };
    read().map_err(|damage: Damage| damage.of(format_args!("event at position {position}")))
}

/// How the store is: what the chain holds, and what waits for it.
pub(super) async fn health(session: &mut PgConnection, shared: &Shared) -> Result<Health, Unread> {
    let schema = &shared.schema;
    let text = format!(
        "SELECT coalesce(l.number, 0), coalesce(l.hash, decode(repeat('00', 32), 'hex')), coalesce(l.position, 0), coalesce(l.total, 0), pg_is_in_recovery(), \
         (SELECT coalesce(sum(g.changes), 0)::int8 FROM {schema}.change_group g \
          WHERE g.ticket > coalesce(l.seen, 0) OR g.ticket = ANY(l.missing)), (SELECT position FROM {schema}.purge WHERE what = 1) \
         FROM (SELECT 1) AS one LEFT JOIN (SELECT * FROM {schema}.link ORDER BY number DESC LIMIT 1) l ON true"
    );
    let row = query(AssertSqlSafe(text)).fetch_one(session).await.map_err(Unread::sql("asking how the store is"))?;
    let fields = Fields(&row);
    let is_standby: bool = fields.get(4).map_err(|damage| damage.of("the end of the chain"))?;
    if is_standby {
        return Err(Error::new(ErrorKind::Unavailable, "the server is a standby and takes no changes").into());
    }
    let read = || {
        let (total, unchained) = (fields.count(3)?, fields.count(5)?);
        Ok(Health {
            tail: Position(fields.count(6)?),
            head: Position(fields.count(2)?),
            commits: total.saturating_add(unchained),
            queued: 0,
            chain: txn_change::Link { number: fields.count(0)?, hash: fields.array(1)? },
            unchained,
        })
    };
    read().map_err(|damage: Damage| damage.of("the end of the chain").into())
}
