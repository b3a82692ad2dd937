//! Following the log, and the cursors of those who do.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use txn_change::Expect;
use txn_suite::{Checked, Failure, equal, holds};

use super::{
    Harness, Scenario, named,
    sample::{change, event, note},
};
use crate::{
    error::ErrorKind,
    follow::{Consumer, Follow},
    store::{Position, Store},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_follower_is_given_every_event_once_in_order,
    a_consumer_goes_on_behind_what_it_acknowledged,
    a_consumer_whose_name_was_taken_over_remembers_nothing_more,
    of_consumers_that_open_a_name_at_once_one_owns_it,
];

async fn a_follower_is_given_every_event_once_in_order(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let store: Arc<dyn Store> = subject.store.clone();
    let writer = subject.clone();
    let write = async move {
        for index in 0..40u32 {
            writer.done(change(&format!("{index}"))?.append(event("a")).append(event("b"))).await?;
        }
        Ok::<(), Failure>(())
    };
    let follow = async move {
        let mut log = Follow::new(store, Position(0));
        let mut seen = Vec::new();
        while seen.len() < 80 {
            let item = log.next().await?;
            seen.push((item.position, item.recorded.change.as_str().to_owned()));
        }
        holds("positions only grow", seen.is_sorted_by(|a, b| a.0 < b.0))?;
        let ids: Vec<String> = seen.into_iter().map(|(_, id)| id).collect();
        equal("the changes in order", &ids, &(0..80u32).map(|index| (index / 2).to_string()).collect::<Vec<_>>())
    };
    for result in subject.race(vec![Box::pin(write), Box::pin(follow)]).await? {
        result?;
    }
    Ok(())
}

/// Case F59. What is to be published is in the log exactly if its change is committed, and comes again until it was acknowledged.
async fn a_consumer_goes_on_behind_what_it_acknowledged(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let store: Arc<dyn Store> = subject.store.clone();
    for index in 0..5u32 {
        subject.done(change(&format!("{index}"))?.append(event("e"))).await?;
        let refused = change(&format!("refused-{index}"))?.require(note("absent")?, Expect::Version(1));
        subject.refused(refused.append(event("never"))).await?;
    }
    let mut given = Vec::new();
    // Two at a time, of which the second is not acknowledged, and so is given again.
    for _ in 0..4u32 {
        let mut consumer = Consumer::open(Arc::clone(&store), "c").await?;
        given.push(consumer.next().await?.recorded.change.as_str().to_owned());
        consumer.acknowledge().await?;
        let position = consumer.acknowledged();
        // Nothing new: nothing is written.
        consumer.acknowledge().await?;
        equal("where it stands", &consumer.acknowledged(), &position)?;
        consumer.next().await?;
    }
    equal("what was given first each time", &given, &["0", "1", "2", "3"].map(str::to_owned).to_vec())?;
    let mut other = Consumer::open(store, "another").await?;
    equal("another name begins at the beginning", &other.next().await?.recorded.change.as_str(), &"0")
}

async fn a_consumer_whose_name_was_taken_over_remembers_nothing_more(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let store: Arc<dyn Store> = subject.store.clone();
    for index in 0..3u32 {
        subject.done(change(&format!("{index}"))?.append(event("e"))).await?;
    }
    let mut first = Consumer::open(Arc::clone(&store), "c").await?;
    first.next().await?;
    let mut second = Consumer::open(Arc::clone(&store), "c").await?;
    second.next().await?;
    second.next().await?;
    second.acknowledge().await?;
    let refused = first.acknowledge().await;
    equal("what the first is told", &refused.err().map(|error| error.kind()), &Some(ErrorKind::Locked))?;
    let third = Consumer::open(Arc::clone(&store), "c").await?;
    equal("what is remembered", &third.acknowledged(), &second.acknowledged())?;
    for bad in ["", " ", "a\0", &"x".repeat(201)] {
        let refused = Consumer::open(Arc::clone(&store), bad).await;
        equal("a bad name", &refused.err().map(|error| error.kind()), &Some(ErrorKind::Invalid))?;
    }
    Ok(())
}

/// Whoever opens it writes the same as another at the same moment, under the same id: whom the store answered for the other took the name for its own, and two remembered their places in turn.
async fn of_consumers_that_open_a_name_at_once_one_owns_it(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for round in 0..20u32 {
        subject.done(change(&format!("{round}"))?.append(event("e"))).await?;
        let jobs = (0..4).map(|_| {
            let store: Arc<dyn Store> = subject.store.clone();
            Box::pin(async move { Ok(Consumer::open(store, "c").await?) }) as BoxFuture<'static, Checked<Consumer>>
        });
        let mut owners = 0u32;
        for consumer in subject.race(jobs.collect()).await? {
            let mut consumer = consumer?;
            consumer.next().await?;
            match consumer.acknowledge().await {
                Ok(()) => owners = owners.saturating_add(1),
                Err(error) => equal("what the others are told", &error.kind(), &ErrorKind::Locked)?,
            }
        }
        equal(&format!("owners in round {round}"), &owners, &1)?;
    }
    Ok(())
}
