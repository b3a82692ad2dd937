//! The chain and the positions: committed groups are given their places by one session at a time. Every process tries; the lock is held for one step only, so that there is nobody to
//! be replaced when a process dies.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, PgConnection, Row,
    postgres::{PgListener, PgPoolOptions, PgRow},
    query,
};
use txn_change::Link;

use super::{
    OBSERVE, Shared,
    connect::{connect, failed, within},
    values::{Damage, Fields},
};
use crate::{error::Error, store::Position};

/// Groups that one step takes, at most.
const STEP: i32 = 256;
/// The least time between two steps, so that busy writers share one, and its flush.
const PAUSE: Duration = Duration::from_millis(20);
/// The same while somebody waits for the log to go on.
const PAUSE_WATCHED: Duration = Duration::from_millis(2);
/// How long a process that has nothing to say waits before it looks what others did: what a lost notification costs, at most.
const POLL: Duration = Duration::from_millis(200);
/// The greatest pause after failures.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Groups whose changes are counted when a step leaves some behind, at most.
const COUNTED_MAX: i32 = 65_536;

/// Says that there is something to chain, or that the store is closed.
#[derive(Default)]
pub(super) struct Signal(Mutex<State>);

#[derive(Default)]
struct State {
    is_set: bool,
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Signal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        let mut state = self.state();
        state.is_set = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.wake();
    }

    fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Waits until there is something, or the store is closed.
    async fn wait(&self, is_for_close_only: bool) {
        poll_fn(|context| {
            let mut state = self.state();
            if state.is_closed || (state.is_set && !is_for_close_only) {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// How far the chain reaches.
pub(super) struct End {
    pub(super) is_busy: bool,
    pub(super) link: Link,
    pub(super) position: Position,
    linked: i32,
}

impl End {
    /// Whether everything that was committed when the step began has its place.
    const fn is_all(&self) -> bool {
        !self.is_busy && self.linked < STEP
    }
}

/// Takes one step, and says where the chain ends.
pub(super) async fn step(session: &mut PgConnection, shared: &Shared, wait: bool) -> sqlx::Result<End> {
    let text =
        format!("SELECT is_busy, link_number, link_hash, link_position, linked FROM {}.chain($1, $2)", shared.schema);
    let stepping = query(AssertSqlSafe(text)).bind(wait).bind(STEP).fetch_one(session);
    let row = within(shared.waits.answer_max, stepping).await?;
    let end = read(&row).map_err(|damage| sqlx::Error::Decode(damage.0.into()))?;
    shared.reached(end.link, end.position);
    if end.is_all() {
        OBSERVE.unchained(0);
    }
    Ok(end)
}

/// Steps until everything that was committed when it began has its place.
pub(super) async fn catch_up(session: &mut PgConnection, shared: &Shared) -> sqlx::Result<End> {
    loop {
        let end = step(session, shared, true).await?;
        if end.linked < STEP {
            return Ok(end);
        }
    }
}

/// Tells how many changes are committed and have no place.
async fn count(session: &mut PgConnection, shared: &Shared) -> sqlx::Result<()> {
    let schema = &shared.schema;
    let text = format!(
        "WITH l AS (SELECT seen, missing FROM {schema}.link ORDER BY number DESC LIMIT 1) \
         SELECT coalesce(sum(g.changes), 0)::int8 FROM ( \
             SELECT changes FROM {schema}.change_group WHERE ticket = ANY((SELECT missing FROM l)::int8[]) \
             UNION ALL SELECT changes FROM {schema}.change_group WHERE ticket > coalesce((SELECT seen FROM l), 0) LIMIT {COUNTED_MAX}) g"
    );
    let counting = query(AssertSqlSafe(text)).fetch_one(session);
    OBSERVE.unchained(within(shared.waits.answer_max, counting).await?.try_get(0)?);
    Ok(())
}

fn read(row: &PgRow) -> Result<End, Damage> {
    let fields = Fields(row);
    Ok(End {
        is_busy: fields.get(0)?,
        link: Link { number: fields.count(1)?, hash: fields.array(2)? },
        position: Position(fields.count(3)?),
        linked: fields.get(4)?,
    })
}

/// The task that chains.
pub(super) struct Sequencer {
    shared: Arc<Shared>,
    session: Option<PgConnection>,
    /// When it was last counted what a step left behind.
    counted: Option<Instant>,
}

impl Sequencer {
    pub(super) fn new(shared: Arc<Shared>, session: PgConnection) -> Self {
        Self { shared, session: Some(session), counted: None }
    }

    async fn session(&mut self) -> Result<PgConnection, Error> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => connect(&self.shared.session, self.shared.waits).await,
        }
    }

    /// Takes one step, and says where it came to.
    pub(super) async fn step(&mut self, wait: bool) -> Result<End, Error> {
        let mut session = self.session().await?;
        let end = step(&mut session, &self.shared, wait).await.map_err(failed("chaining"))?;
        self.session = Some(session);
        Ok(end)
    }

    /// Rests after a step. Sooner over when somebody waits for the log; says whether it was.
    async fn pause(&self) -> bool {
        let mut rested = Duration::ZERO;
        while rested < PAUSE {
            tokio::time::sleep(PAUSE_WATCHED).await;
            if self.shared.head.is_waited_for() {
                return true;
            }
            rested = rested.saturating_add(PAUSE_WATCHED);
        }
        false
    }

    /// Tells what a step left behind, as often as it would look when there was nothing to do.
    async fn count(&mut self) -> Result<(), Error> {
        if self.counted.is_some_and(|last| last.elapsed() < POLL) {
            return Ok(());
        }
        let mut session = self.session().await?;
        count(&mut session, &self.shared).await.map_err(failed("counting what waits for the chain"))?;
        (self.session, self.counted) = (Some(session), Some(Instant::now()));
        Ok(())
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut backoff = PAUSE;
        loop {
            // Nothing to hear is fine; then it looks what others did.
            let _ = tokio::time::timeout(POLL, shared.sequencer.wait(false)).await;
            let is_closing = shared.sequencer.is_closed();
            shared.sequencer.state().is_set = false;
            let stepped = self.step(false).await;
            if !stepped.as_ref().is_ok_and(End::is_all) {
                shared.sequencer.state().is_set = true;
                // The gauge stays as it was where it cannot be counted.
                let _ = tokio::time::timeout(BACKOFF_MAX, self.count()).await;
            }
            if let Err(error) = &stepped {
                OBSERVE.failed("the chain waits", error);
            }
            if is_closing {
                return;
            }
            match stepped {
                Ok(end) => {
                    backoff = PAUSE;
                    if end.is_busy {
                        // Whoever steps tells what came of it.
                        tokio::time::sleep(PAUSE).await;
                    } else if self.pause().await && end.linked > 0 {
                        // Others, who are not watched, commit: what they do next is not waited for.
                        shared.sequencer.state().is_set = true;
                    }
                }
                Err(_) => {
                    backoff = backoff.saturating_mul(2).min(BACKOFF_MAX);
                    tokio::time::sleep(backoff).await;
                }
            }
        }
    }
}

/// The task that hears how far other processes have come. Without it they are heard of a moment later, by the sequencer's own looking.
pub(super) async fn listen(shared: Arc<Shared>) {
    let hearing = async {
        loop {
            if let Err(_lost) = hear(&shared).await {
                tokio::time::sleep(BACKOFF_MAX).await;
            }
        }
    };
    let closed = shared.sequencer.wait(true);
    let (mut hearing, mut closed) = (std::pin::pin!(hearing), std::pin::pin!(closed));
    poll_fn(|context| {
        let hears: Poll<()> = hearing.as_mut().poll(context);
        if hears.is_ready() { hears } else { closed.as_mut().poll(context) }
    })
    .await;
}

async fn hear(shared: &Shared) -> sqlx::Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(shared.waits.answer_max);
    let pool = pool.connect_lazy_with(shared.session.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(&shared.channel).await?;
    loop {
        // What is told is a hint: anybody may notify. The end of the log is read where it stands, unless it is known to be there already.
        let told = listener.recv().await?;
        let is_known = told.payload().parse::<u64>().is_ok_and(|position| position <= shared.head.get().0);
        if !is_known {
            shared.sequencer.wake();
        }
    }
}
