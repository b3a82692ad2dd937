//! Telling other processes what was written, and hearing of theirs. Nothing depends on it but how soon somebody looks.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::{
    Shared,
    connect::{connect, within},
    medium::ask,
};

/// Notices are gathered for so long: each is a transaction, and the server lets only one commit at a time that tells something.
const GATHER: Duration = Duration::from_millis(3);

/// Somebody looks so often at what others may have done, also when nothing is heard.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After a failure.
const REST: Duration = Duration::from_millis(200);

/// Topics in a notice, at most: it may have 8,000 bytes.
const NAMED_MAX: usize = 256;

/// Tells what was written, until the queue is closed.
pub(super) async fn tell(shared: Arc<Shared>) {
    let mut session = None;
    while !shared.is_closed() {
        shared.written_work.notified().await;
        tokio::time::sleep(GATHER).await;
        let topics: Vec<i64> = shared.take_written().into_iter().collect();
        for named in topics.chunks(NAMED_MAX) {
            if session.is_none() {
                session = connect(&shared.session, shared.answer_max).await.ok();
            }
            let Some(open) = session.as_mut() else { break };
            let names: Vec<String> = named.iter().map(ToString::to_string).collect();
            let text = format!("{}:{}", shared.incarnation, names.join(","));
            let asked = ask("SELECT pg_notify($1, $2)").bind(shared.sql.channel.as_str()).bind(text);
            if within(shared.answer_max, asked.execute(open)).await.is_err() {
                session = None;
            }
        }
    }
}

/// Hears of others, until the queue is closed.
pub(super) async fn hear(shared: Arc<Shared>) {
    while !shared.is_closed() {
        // What ended it is the server's or the network's; looking goes on meanwhile.
        let _ = listen(&shared).await;
        tokio::time::sleep(REST).await;
    }
}

async fn listen(shared: &Shared) -> sqlx::Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(shared.answer_max);
    let pool = pool.connect_with(shared.session.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(&shared.sql.channel).await?;
    // Whatever was told before nobody heard.
    shared.look_at_all();
    loop {
        let notice = listener.recv().await?;
        let Some((from, topics)) = notice.payload().split_once(':') else { continue };
        if from == shared.incarnation {
            continue;
        }
        let topics: BTreeSet<i64> = topics.split(',').filter_map(|topic| topic.parse().ok()).collect();
        shared.look_at(|id| topics.contains(&id));
    }
}

/// Looks by itself, now and then.
pub(super) async fn look(shared: Arc<Shared>) {
    while !shared.is_closed() {
        tokio::time::sleep(LOOK_EVERY).await;
        shared.look_at_all();
    }
}
