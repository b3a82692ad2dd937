//! Backpressure: what a full topic does.

use std::sync::Arc;

use txn_suite::{Checked, equal};

use super::{
    Harness, Scenario, named,
    subject::{MS, Subject, ids, message, ms},
};
use crate::{
    name::{DedupeId, Key, Topic},
    queue::{Action, Address, Publish, Published, Refusal, Settled},
    topology::{Overflow, TopicSpec, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    a_full_topic_refuses_and_takes_again_when_there_is_room,
    a_topic_takes_a_batch_in_its_order_and_none_behind_one_it_had_no_room_for,
    a_full_topic_lets_the_oldest_go_where_that_is_wanted,
];

async fn small(harness: &Harness, messages_max: u64, overflow: Overflow) -> Checked<Subject> {
    let subject = harness.fresh().await?.plain().await?;
    let spec = TopicSpec { messages_max, overflow, ..TopicSpec::new(subject.topic.clone()) };
    subject.queue.declare(Topology::default().topic(spec)).await?;
    Ok(subject)
}

/// Cases Q26, Q48.
async fn a_full_topic_refuses_and_takes_again_when_there_is_room(harness: &Harness) -> Checked {
    let subject = small(harness, 2, Overflow::Reject).await?;
    let published = subject.batch(vec![message("1")?, message("2")?, message("3")?]).await?;
    let accepted = Published::Accepted { copies: 1 };
    let full = Published::Refused(Refusal::Full { topic: subject.topic.clone(), max: 2 });
    equal("what became of them", &published, &vec![accepted.clone(), accepted, full])?;
    let held = subject.receive(2).await?;
    equal("what is held is there", &subject.batch(vec![message("3")?]).await?.len(), &1)?;
    equal("what is ready while two are held", &subject.receive(2).await?.len(), &0)?;
    subject.settle_all(&held, &Action::Ack).await?;
    subject.send(&["4", "5"]).await?;
    subject.ready("when there was room", &["4", "5"]).await.map(drop)
}

/// Whoever sends again from the first that found no room keeps the order; what is refused for itself, or is a repetition, holds up nothing.
async fn a_topic_takes_a_batch_in_its_order_and_none_behind_one_it_had_no_room_for(harness: &Harness) -> Checked {
    let subject = small(harness, 3, Overflow::Reject).await?;
    let free = subject.through(&Topic::new("free")?, "workers")?.plain().await?;
    let to = |place: &Subject, messages: Vec<crate::message::Message>| Publish {
        to: Address::Topic(place.topic.clone()),
        messages: messages.into_iter().map(Arc::new).collect(),
    };
    let once = DedupeId::new("once")?;
    let nowhere = Address::Topic(Topic::new("nowhere")?);
    let batch = vec![
        to(&subject, vec![message("1")?.dedupe_id(once.clone())]),
        Publish::one(nowhere, message("2")?),
        to(&subject, vec![message("3")?]),
        to(&free, vec![message("a")?]),
        to(&free, Vec::new()),
        to(&subject, vec![message("4")?, message("5")?]),
        to(&free, vec![message("b")?]),
        to(&subject, vec![message("1")?.dedupe_id(once), message("6")?]),
    ];
    let published = subject.queue.publish(batch).await?;
    let is_taken: Vec<bool> = published.iter().map(|one| matches!(one, Published::Accepted { .. })).collect();
    equal("what was taken", &is_taken, &vec![true, false, true, true, true, false, true, false, false])?;
    let full = Published::Refused(Refusal::Full { topic: subject.topic.clone(), max: 3 });
    equal("what found no room", &published.get(5), &Some(&full))?;
    equal("what is behind it", &published.get(8), &Some(&full))?;
    equal("a repetition is no other than before", &published.get(7), &Some(&Published::Duplicate))?;
    free.ready("in the other topic", &["a", "b"]).await?;
    let held = subject.ready("in the order of the batch", &["1", "3", "4"]).await?;
    subject.settle_all(&held, &Action::Ack).await?;
    subject.send(&["5", "6"]).await?;
    subject.ready("when it was sent again", &["5", "6"]).await.map(drop)
}

/// Case Q48.
async fn a_full_topic_lets_the_oldest_go_where_that_is_wanted(harness: &Harness) -> Checked {
    let subject = small(harness, 3, Overflow::DropOldest).await?;
    let key = Key::new("k")?;
    subject.accepted(vec![message("held")?.key(key.clone()), message("second")?.key(key.clone())]).await?;
    let held = subject.one().await?;
    subject.accepted(vec![message("3")?, message("later")?.delay(MS)]).await?;
    equal("what is done with one that went", &subject.settle(&held, Action::Ack).await?, &Settled::Gone)?;
    equal("what is left", &ids(&subject.receive(9).await?), &vec!["second".to_owned(), "3".to_owned()])?;
    subject.send(&["4", "5", "6"]).await?;
    equal("what is left of that", &ids(&subject.receive(9).await?), &["4", "5", "6"].map(str::to_owned).into())?;
    let stats = subject.queue.stats().await?;
    let topic = stats.topics.get(&subject.topic).cloned().unwrap_or_default();
    equal("what it holds, and what went", &(topic.messages, topic.dropped), &(3, 4))?;
    subject.pass(ms(2));
    subject.nothing("of what went").await
}
