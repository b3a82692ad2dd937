//! That what is compared is right: all sides leave the same rows, refuse an overdraft, and commit an id once. Made at a tiny size before anything is measured.

use sqlx::{Connection, PgConnection, Row as _};
use tokio::runtime::Runtime;
use txn_bench::ledger::{FUNDS, Means, work};

use super::{
    OURS, PEER, groups, ours,
    server::Server,
    transactions::{self, Ended},
};
use crate::rows::Row;

/// The transfers, their entries, events and terms; then debits and credits of each account.
const LEFT: &str = "WITH c AS (SELECT ticket, at FROM change WHERE id LIKE 'ledger.transfer/t-%') \
    SELECT (SELECT count(*) FROM c), (SELECT count(*) FROM entry JOIN c USING (ticket, at)), (SELECT count(*) FROM event JOIN c USING (ticket, at)), \
    (SELECT count(*) FROM event_term JOIN event USING (ticket, ord) JOIN c USING (ticket, at)), \
    (SELECT array_agg(l1::int8 ORDER BY key) FROM counter WHERE l1 >= $1), (SELECT array_agg(l3::int8 ORDER BY key) FROM counter WHERE l1 >= $1)";

/// How many transfers there are; whether debits are credits; how many counters have a gap among their entries; how many do not stand where their last entry left them.
const SOUND: &str = "SELECT (SELECT count(*) FROM change WHERE id LIKE 'ledger.transfer/t-%'), (SELECT sum(l1) = sum(l3) FROM counter), \
    (SELECT count(*) FROM counter c LEFT JOIN (SELECT counter, count(*) AS entries, min(sequence) AS first, max(sequence) AS last FROM entry GROUP BY counter) e \
        ON e.counter = c.no WHERE c.sequence > 0 AND (e.entries, e.first, e.last) IS DISTINCT FROM (c.sequence, 1::int8, c.sequence)), \
    (SELECT count(*) FROM counter c JOIN entry e ON e.counter = c.no AND e.sequence = c.sequence WHERE (e.a0, e.a1, e.a2, e.a3) IS DISTINCT FROM (c.l0, c.l1, c.l2, c.l3))";

#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// Changes, entries, events, terms.
    rows: [i64; 4],
    debits: Vec<i64>,
    credits: Vec<i64>,
}

async fn left(server: &Server, schema: &'static str) -> sqlx::Result<Left> {
    let mut session = PgConnection::connect_with(&server.session(schema)).await?;
    let row = sqlx::query(LEFT).bind(FUNDS).fetch_one(&mut session).await?;
    session.close().await?;
    let rows = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
    Ok(Left { rows, debits: row.try_get(4)?, credits: row.try_get(5)? })
}

/// Checks what a run has left: so many transfers, debits that equal credits, entries without a gap, and counters that stand where their last entry left them.
pub(crate) async fn is_sound(server: &Server, schema: &'static str, transfers: usize) -> Result<(), String> {
    let ask = async {
        let mut session = PgConnection::connect_with(&server.session(schema)).await?;
        let row = sqlx::query(SOUND).fetch_one(&mut session).await?;
        session.close().await?;
        Ok((
            row.try_get::<i64, _>(0)?,
            row.try_get::<bool, _>(1)?,
            row.try_get::<i64, _>(2)?,
            row.try_get::<i64, _>(3)?,
        ))
    };
    let found = ask.await.map_err(|error: sqlx::Error| error.to_string())?;
    let expected = (i64::try_from(transfers).unwrap_or(i64::MAX), true, 0, 0);
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "{schema} is unsound: transfers, whether debits equal credits, counters with a gap, counters off their last entry: {found:?} instead of {expected:?}"
    ))
}

/// Runs all sides at a tiny size.
pub(super) fn all_sides(runtime: &Runtime, server: &Server) -> Result<(), String> {
    const COUNT: usize = 96;
    let paid = || work(1, COUNT, Means::Enough);
    let unpaid = || work(2, 8, Means::TooLittle);
    let rows = |work: Vec<_>| work.into_iter().map(Row::of).collect::<Vec<Row>>();
    let said = |error: sqlx::Error| error.to_string();
    let expect = |what: &str, is_so: bool| if is_so { Ok(()) } else { Err(format!("the self check failed: {what}")) };

    ours::run(runtime, server, 8, paid())?;
    let ours = runtime.block_on(left(server, OURS)).map_err(said)?;
    expect("ours leaves ten rows of a change", ours.rows == [96, 192, 192, 192] && ours.debits.len() == 1_000)?;

    let pool = runtime.block_on(transactions::open(server, 4)).map_err(said)?;
    let once = |work, ended| -> Result<(), String> {
        let (_, all) = transactions::run(runtime, &pool, 8, rows(work)).map_err(said)?;
        expect("a transaction commits once, and refuses an overdraft", all.iter().all(|one| *one == ended))
    };
    once(paid(), Ended::Committed)?;
    once(paid(), Ended::Replayed)?;
    once(unpaid(), Ended::Refused)?;
    runtime.block_on(pool.close());
    let theirs = runtime.block_on(left(server, PEER)).map_err(said)?;
    expect("transactions leave the same rows", theirs == ours)?;
    runtime.block_on(is_sound(server, PEER, COUNT))?;

    runtime.block_on(async {
        let mut session = groups::open(server).await.map_err(said)?;
        let mixed = paid().into_iter().zip(unpaid().into_iter().map(Some).chain(std::iter::repeat_with(|| None)));
        let mixed = mixed.flat_map(|(paid, unpaid)| [Some(paid), unpaid]).flatten().collect();
        let (_, refused) = groups::run(&mut session, rows(mixed), 7).await.map_err(said)?;
        expect("groups refuse an overdraft", refused == 8)?;
        expect("groups commit once", groups::run(&mut session, rows(paid()), 7).await.is_err())?;
        session.close().await.map_err(said)?;
        expect("groups leave the same rows", left(server, PEER).await.map_err(said)? == ours)?;
        is_sound(server, PEER, COUNT).await
    })
}
