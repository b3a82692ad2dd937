//! A transaction that somebody holds open: it keeps PostgreSQL from removing anything that was deleted since, and a queue that is made of deleted rows grows slower with each message.
//!
//! The load is steady: [`TASKS`] tasks, each of which publishes a batch, claims as many messages, and settles them, once in each [`PACE`]. What is compared is the time of claiming a batch, in the last quarter of the time for which
//! the transaction is held, with that just before it began.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, PgConnection};
use tokio::{
    runtime::Runtime,
    time::{MissedTickBehavior, interval},
};

use super::{
    memory::BATCH,
    side::{PATIENCE, Side},
    work::{Keyed, messages},
};
use crate::{
    postgres::server::Server,
    report::{Values, median},
};

pub(super) const TASKS: usize = 4;
/// 2,560 messages a second, all tasks together.
const PACE: Duration = Duration::from_millis(400);

/// Less is better.
pub(super) const UNIT: &str = "µs/claim";

/// The names of a side's values: with the transaction, and before it.
pub(super) fn names(side: &str) -> (String, String) {
    (format!("{side}.{BATCH}.held"), format!("{side}.{BATCH}.held.before"))
}

/// Runs the load without and then with a transaction held, so long each: a quarter of `held`, at least some seconds, and `held`.
pub(super) fn run<S: Side>(
    runtime: &Runtime,
    server: &Server,
    side: &Arc<S>,
    name: &str,
    held: Duration,
    values: &mut Values,
) -> Result<(), String> {
    let before = (held / 4).max(Duration::from_secs(5)).min(Duration::from_secs(60));
    eprintln!("held: {name}, {} s without, {} s with a transaction held", before.as_secs(), held.as_secs());
    runtime.block_on(async {
        // What is planned or loaded only once is not compared.
        load(side, Duration::from_secs(2)).await?;
        let free = load(side, before).await?;
        let mut session =
            PgConnection::connect_with(&server.session("public")).await.map_err(|error| error.to_string())?;
        // With an id and a snapshot: what both keep back.
        let open = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()";
        session.execute(sqlx::raw_sql(open)).await.map_err(|error| error.to_string())?;
        let with = load(side, held).await?;
        session.execute("ROLLBACK").await.map_err(|error| error.to_string())?;
        session.close().await.map_err(|error| error.to_string())?;
        let late = held - held / 4;
        let late: Vec<f64> = with.iter().filter(|claim| claim.at >= late).map(Claimed::micros).collect();
        let free: Vec<f64> = free.iter().map(Claimed::micros).collect();
        if late.is_empty() || free.is_empty() {
            return Err("the time was too short for a claim".to_owned());
        }
        let (held, before) = names(name);
        values.push(held, UNIT, median(&late));
        values.push(before, UNIT, median(&free));
        Ok(())
    })
}

/// The claim of a whole batch.
struct Claimed {
    at: Duration,
    took: Duration,
}

impl Claimed {
    fn micros(&self) -> f64 {
        self.took.as_secs_f64() * 1e6
    }
}

async fn load<S: Side>(side: &Arc<S>, time: Duration) -> Result<Vec<Claimed>, String> {
    let began = Instant::now();
    let messages = Arc::new(messages(BATCH as u64, Keyed::No));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (side, messages) = (Arc::clone(side), Arc::clone(&messages));
            tokio::spawn(async move {
                let mut ticks = interval(PACE);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut claims = Vec::new();
                while began.elapsed() < time {
                    ticks.tick().await;
                    side.publish(S::batch(&messages)).await?;
                    claims.push(one(&side, began).await?);
                }
                Ok::<_, String>(claims)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.map_err(|error| error.to_string())??);
    }
    Ok(all)
}

/// Claims and settles a batch. Somebody else may have taken a part of it and left a part of theirs; then it takes several claims.
async fn one<S: Side>(side: &Arc<S>, began: Instant) -> Result<Claimed, String> {
    let (mut left, mut took) = (BATCH, Duration::ZERO);
    let at = began.elapsed();
    while left > 0 {
        let asked = Instant::now();
        let claim = side.claim(left).await?;
        match S::count(&claim) {
            0 if began.elapsed() - at > PATIENCE => {
                return Err(format!("{left} messages did not come in {PATIENCE:?}"));
            }
            0 => side.idle(claim).await?,
            count => {
                took += asked.elapsed();
                left -= count;
                side.settle(claim).await?;
            }
        }
    }
    Ok(Claimed { at, took })
}
