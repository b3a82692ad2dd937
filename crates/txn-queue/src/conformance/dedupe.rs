//! Repetitions: recognised within the window, told from others, and only themselves.

use std::time::Duration;

use txn_suite::{Checked, equal};

use super::{
    Harness, Scenario, named,
    subject::{MS, message},
};
use crate::{
    message::Message,
    name::{DedupeId, MessageId},
    queue::{Published, Refusal},
    topology::{TopicSpec, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    a_repetition_is_recognised_and_another_message_is_refused,
    one_repetition_in_a_batch_takes_no_other_with_it,
    the_window_is_exact,
    what_was_refused_is_not_remembered,
];

const ACCEPTED: Published = Published::Accepted { copies: 1 };

fn once(id: &str, dedupe_id: &str) -> Checked<Message> {
    Ok(message(id)?.dedupe_id(DedupeId::new(dedupe_id)?))
}

/// Case Q28.
async fn a_repetition_is_recognised_and_another_message_is_refused(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let first = once("1", "pay/42")?;
    equal("the first", &subject.publish(first.clone()).await?, &ACCEPTED)?;
    equal("the same", &subject.publish(first.clone()).await?, &Published::Duplicate)?;
    let anew = Message { id: MessageId::new("1-again")?, ..first.clone() };
    equal("the same with an id of its own", &subject.publish(anew).await?, &Published::Duplicate)?;
    let other = first.data("text/plain", b"other".to_vec());
    let refusal = Refusal::Conflict { dedupe_id: DedupeId::new("pay/42")? };
    equal("another", &subject.publish(other).await?, &Published::Refused(refusal))?;
    subject.ack(&subject.one().await?).await?;
    equal("the same, when it is done", &subject.publish(once("1", "pay/42")?).await?, &Published::Duplicate)?;
    subject.nothing("after all that").await
}

/// Case Q27.
async fn one_repetition_in_a_batch_takes_no_other_with_it(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let mut batch = (0..1_000).map(|n| once(&format!("m{n}"), &format!("d{n}"))).collect::<Checked<Vec<_>>>()?;
    if let Some(place) = batch.get_mut(700) {
        *place = once("m3", "d3")?;
    }
    let published = subject.batch(batch).await?;
    let repeated: Vec<usize> =
        published.iter().enumerate().filter(|(_, p)| **p == Published::Duplicate).map(|(at, _)| at).collect();
    equal("which were recognised", &repeated, &vec![700])?;
    equal("how many are there", &subject.stats().await?.depth, &999)
}

/// Case Q29.
async fn the_window_is_exact(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let spec = TopicSpec { dedupe_window: Duration::from_secs(10), ..TopicSpec::new(subject.topic.clone()) };
    subject.queue.declare(Topology::default().topic(spec)).await?;
    equal("the first", &subject.publish(once("1", "a")?).await?, &ACCEPTED)?;
    subject.pass(Duration::from_secs(10).saturating_sub(MS));
    equal("a millisecond before the end", &subject.publish(once("1", "a")?).await?, &Published::Duplicate)?;
    subject.pass(MS);
    equal("at the end", &subject.publish(once("1", "a")?).await?, &ACCEPTED)
}

async fn what_was_refused_is_not_remembered(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let small = TopicSpec { messages_max: 1, ..TopicSpec::new(subject.topic.clone()) };
    subject.queue.declare(Topology::default().topic(small)).await?;
    subject.send(&["1"]).await?;
    let refusal = Refusal::Full { topic: subject.topic.clone(), max: 1 };
    equal("when it is full", &subject.publish(once("2", "a")?).await?, &Published::Refused(refusal))?;
    subject.ack(&subject.one().await?).await?;
    equal("when there is room", &subject.publish(once("2", "a")?).await?, &ACCEPTED)
}
