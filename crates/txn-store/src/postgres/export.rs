//! A whole reading at one instant: a task of its own holds a transaction open and hands over rows as they are asked for.
//!
//! Tables are read side by side through cursors, in the order of the chain, so that memory stays flat here; the server sorts. What does not fit is named.
//!
//! Nothing of it is without a bound, as a transaction that stays open keeps the server from cleaning up: the caller has [`ASKS`] deadlines to ask for the next part, the server
//! [`SORTS`] to sort what a cursor begins with, and one for every part after that. A reading that is dropped ends at once.

mod scan;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_channel::oneshot;
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgRow, query, raw_sql};
use tokio::task::AbortHandle;

use super::{
    Shared,
    connect::{Waits, connect, failed, millis, within},
    names::Names,
};
use crate::{
    admin::{Export, Row},
    error::{Error, ErrorKind},
    reading::{self, Parts, Reading, Stop},
};
use scan::{Place, Scan, place_of};

/// Deadlines within which the next part has to be asked for: ten minutes when nothing is said.
const ASKS: u32 = 60;
/// Deadlines within which the server must have sorted: an hour when nothing is said.
const SORTS: u32 = 360;

/// A reading whose task ends with it.
struct Running {
    reading: Reading,
    task: AbortHandle,
}

#[async_trait]
impl Export for Running {
    async fn next(&mut self, max: usize) -> Result<Vec<Row>, Error> {
        self.reading.next(max).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens the transaction: the rows are those of now.
pub(super) async fn begin(shared: Arc<Shared>) -> Result<impl Export, Error> {
    let (begun, is_begun) = oneshot::channel();
    let (reading, parts) = Reading::new();
    let runtime = shared.runtime.clone();
    let task = async move {
        match snapshot(&shared).await {
            Err(error) => drop(begun.send(Err(error))),
            Ok(session) if begun.send(Ok(())).is_ok() => {
                let mut sink = Sink { parts, wait_max: shared.waits.answer_max.saturating_mul(ASKS) };
                let ended = Scan { session, names: Names::new(&shared.schema), shared: &shared }.run(&mut sink).await;
                sink.finish(ended).await;
            }
            Ok(_) => {}
        }
    };
    let running = Running { reading, task: runtime.spawn(task).abort_handle() };
    is_begun.await.unwrap_or_else(|_| Err(reading::ended()))?;
    Ok(running)
}

async fn snapshot(shared: &Shared) -> Result<PgConnection, Error> {
    let doing = failed("beginning an export");
    let mut session = connect(&shared.session, shared.waits).await?;
    let text = AssertSqlSafe(begin_text(shared.waits));
    within(shared.waits.answer_max, raw_sql(text).execute(&mut session)).await.map_err(&doing)?;
    // The snapshot is taken by the first statement.
    within(shared.waits.answer_max, query("SELECT 1").execute(&mut session)).await.map_err(&doing)?;
    Ok(session)
}

/// The planner may do here what it does not do for commits: whole tables are read. The server ends by itself what we can no longer end, somewhat later than we would.
fn begin_text(waits: Waits) -> String {
    let (sort, ask) = (waits.answer_max.saturating_mul(SORTS), waits.answer_max.saturating_mul(ASKS));
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; \
         SET LOCAL enable_mergejoin = on; SET LOCAL plan_cache_mode = auto; SET LOCAL cursor_tuple_fraction = 1",
        millis(sort.saturating_mul(2)),
        millis(ask.saturating_mul(2)),
    )
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(failed("exporting")(error))
    }
}

/// Where rows go.
struct Sink {
    parts: Parts,
    wait_max: Duration,
}

impl Sink {
    /// Waits for a request before the first row is read, and whenever one is full.
    async fn put(&mut self, row: Row) -> Result<(), Stop> {
        if !self.parts.is_asked() {
            let late = |_| {
                let context = format!("the next part of the export was not asked for within {:?}", self.wait_max);
                Stop::Failed(Error::new(ErrorKind::Closed, context))
            };
            tokio::time::timeout(self.wait_max, self.parts.asked()).await.map_err(late)??;
        }
        self.parts.add(row);
        Ok(())
    }

    /// Answers the last rows, then nothing for ever, or the error for ever. The session has ended by now.
    async fn finish(mut self, ended: Result<(), Stop>) {
        let failure = match ended {
            Ok(()) => None,
            Err(Stop::Dropped) => return,
            Err(Stop::Failed(error)) => Some(error),
        };
        while self.parts.is_asked() || self.parts.asked().await.is_ok() {
            self.parts.answer(failure.as_ref());
        }
    }
}

/// Rows of one query, fetched some at a time.
struct Cursor {
    name: &'static str,
    rows: VecDeque<PgRow>,
    /// How long the next rows may take.
    wait_max: Duration,
    waits: Waits,
    at_end: bool,
}

const FETCH: &str = "FETCH 1000 FROM ";

impl Cursor {
    async fn open(session: &mut PgConnection, shared: &Shared, name: &'static str, text: &str) -> Result<Self, Stop> {
        let (schema, waits) = (&shared.schema, shared.waits);
        let text = format!("DECLARE {name} NO SCROLL CURSOR FOR {}", text.replace("$s.", &format!("{schema}.")));
        within(waits.answer_max, query(AssertSqlSafe(text)).execute(session)).await?;
        let wait_max = waits.answer_max.saturating_mul(SORTS);
        Ok(Self { name, rows: VecDeque::new(), wait_max, waits, at_end: false })
    }

    async fn peek(&mut self, session: &mut PgConnection) -> Result<Option<&PgRow>, Stop> {
        if self.rows.is_empty() && !self.at_end {
            let fetch = query(AssertSqlSafe(format!("{FETCH}{}", self.name)));
            self.rows = within(self.wait_max, fetch.fetch_all(session)).await?.into();
            self.wait_max = self.waits.answer_max;
            self.at_end = self.rows.is_empty();
        }
        Ok(self.rows.front())
    }

    async fn next(&mut self, session: &mut PgConnection) -> Result<Option<PgRow>, Stop> {
        self.peek(session).await?;
        Ok(self.rows.pop_front())
    }

    /// The next row, if its first columns are not behind `place`.
    async fn up_to(&mut self, session: &mut PgConnection, place: &Place) -> Result<Option<(Place, PgRow)>, Stop> {
        let Some(row) = self.peek(session).await? else { return Ok(None) };
        let found = place_of(row)?;
        if found > *place {
            return Ok(None);
        }
        Ok(self.rows.pop_front().map(|row| (found, row)))
    }
}
