//! Exchanges: what a message comes to, all of it or nothing.

use std::collections::BTreeMap;

use txn_suite::{Checked, Failure, equal, holds, only};

use super::{
    Harness, Scenario, named,
    subject::{Subject, ids, message},
};
use crate::{
    error::ErrorKind,
    message::Message,
    name::{AttributeName, DedupeId, ExchangeName, RoutingKey, Topic},
    queue::{Address, Publish, Published, Refusal},
    routes::{Criterion, ExchangeKind, Pattern},
    topology::{GroupSpec, TopicSpec, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    each_kind_of_exchange_sends_where_its_bindings_say,
    a_message_for_several_topics_comes_to_all_or_to_none,
    what_leads_nowhere_is_refused,
    a_topology_that_contradicts_itself_declares_nothing,
];

async fn reading(subject: &Subject, topic: &str) -> Checked<Subject> {
    let reader = subject.through(&Topic::new(topic)?, "readers")?;
    let topology = Topology::default().topic(TopicSpec::new(reader.topic.clone())).group(reader.spec());
    reader.queue.declare(topology).await?;
    Ok(reader)
}

async fn publish(subject: &Subject, exchange: &str, key: Option<&str>, message: Message) -> Checked<Published> {
    let routing_key = key.map(RoutingKey::new).transpose()?;
    let to = Address::Exchange { name: ExchangeName::new(exchange)?, routing_key };
    only("result", subject.queue.publish(vec![Publish::one(to, message)]).await?)
}

async fn each_kind_of_exchange_sends_where_its_bindings_say(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (a, b) = (reading(&subject, "a").await?, reading(&subject, "b").await?);
    let name = ExchangeName::new;
    let vip: BTreeMap<_, _> = [(AttributeName::new("tier")?, "vip".to_owned())].into();
    let topology = Topology::default()
        .exchange(name("direct")?, ExchangeKind::Direct)
        .bind(name("direct")?, Criterion::Key(RoutingKey::new("x")?), a.topic.clone())
        .exchange(name("topic")?, ExchangeKind::Topic)
        .bind(name("topic")?, Criterion::Pattern(Pattern::new("order.#")?), a.topic.clone())
        .bind(name("topic")?, Criterion::Pattern(Pattern::new("*.paid")?), b.topic.clone())
        .exchange(name("fanout")?, ExchangeKind::Fanout)
        .bind(name("fanout")?, Criterion::Always, a.topic.clone())
        .bind(name("fanout")?, Criterion::Always, b.topic.clone())
        .exchange(name("headers")?, ExchangeKind::Headers)
        .bind(name("headers")?, Criterion::Headers { any: false, values: vip }, b.topic.clone());
    subject.queue.declare(topology.clone()).await?;
    // The same again binds nothing twice.
    subject.queue.declare(topology).await?;
    let tier = message("vip")?.extension(AttributeName::new("tier")?, "vip".into());
    for (exchange, key, message, copies) in [
        ("direct", Some("x"), message("direct")?, 1),
        ("topic", Some("order.paid"), message("both")?, 2),
        ("topic", Some("order.placed.eu"), message("deep")?, 1),
        ("fanout", None, message("fanout")?, 2),
        ("headers", None, tier, 1),
    ] {
        equal(exchange, &publish(&subject, exchange, key, message).await?, &Published::Accepted { copies })?;
    }
    equal("in the one", &ids(&a.receive(10).await?), &["direct", "both", "deep", "fanout"].map(str::to_owned).into())?;
    equal("in the other", &ids(&b.receive(10).await?), &["both", "fanout", "vip"].map(str::to_owned).into())
}

async fn a_message_for_several_topics_comes_to_all_or_to_none(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (a, b) = (reading(&subject, "a").await?, reading(&subject, "b").await?);
    let small = TopicSpec { messages_max: 1, ..TopicSpec::new(b.topic.clone()) };
    let all = ExchangeName::new("all")?;
    let topology = Topology::default()
        .topic(small)
        .exchange(all.clone(), ExchangeKind::Fanout)
        .bind(all.clone(), Criterion::Always, a.topic.clone())
        .bind(all, Criterion::Always, b.topic.clone());
    subject.queue.declare(topology).await?;
    let once = |id: &str| Ok::<_, Failure>(message(id)?.dedupe_id(DedupeId::new(id)?));
    b.accepted(vec![once("1")?]).await?;
    let refusal = Published::Refused(Refusal::Full { topic: b.topic.clone(), max: 1 });
    equal("when one is full", &publish(&subject, "all", None, once("2")?).await?, &refusal)?;
    a.nothing("in the other").await?;
    // What one topic has already is only for the other.
    equal("a part", &publish(&subject, "all", None, once("1")?).await?, &Published::Accepted { copies: 1 })?;
    equal("again", &publish(&subject, "all", None, once("1")?).await?, &Published::Duplicate)?;
    a.ready("in the one", &["1"]).await?;
    b.ready("in the other", &["1"]).await.map(drop)
}

/// Case Q24.
async fn what_leads_nowhere_is_refused(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let empty = ExchangeName::new("empty")?;
    subject.queue.declare(Topology::default().exchange(empty.clone(), ExchangeKind::Fanout)).await?;
    let unroutable = Published::Refused(Refusal::Unroutable { exchange: empty });
    equal("to nobody", &publish(&subject, "empty", None, message("1")?).await?, &unroutable)?;
    let unknown = Published::Refused(Refusal::NoSuchExchange { exchange: ExchangeName::new("no")? });
    equal("to no exchange", &publish(&subject, "no", None, message("1")?).await?, &unknown)?;
    let nowhere = subject.through(&Topic::new("nowhere")?, "readers")?;
    let unknown = Published::Refused(Refusal::NoSuchTopic { topic: nowhere.topic.clone() });
    equal("to no topic", &nowhere.publish(message("1")?).await?, &unknown)?;
    // Whoever stands behind it in the batch is not held up.
    let to = |topic: &Topic| Address::Topic(topic.clone());
    let batch = vec![Publish::one(to(&nowhere.topic), message("1")?), Publish::one(to(&subject.topic), message("2")?)];
    let published = subject.queue.publish(batch).await?;
    equal("one after it", &published.last(), &Some(&Published::Accepted { copies: 1 }))?;
    subject.ready("after all that", &["2"]).await.map(drop)
}

async fn a_topology_that_contradicts_itself_declares_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let shop = ExchangeName::new("shop")?;
    let good =
        Topology::default().topic(TopicSpec::new(subject.topic.clone())).exchange(shop.clone(), ExchangeKind::Fanout);
    let nowhere = Topic::new("nowhere")?;
    let of_itself = GroupSpec { dead_letters: Some(subject.topic.clone()), ..subject.spec() };
    for bad in [
        good.clone().group(of_itself),
        good.clone().bind(shop.clone(), Criterion::Always, nowhere.clone()),
        good.clone().bind(shop.clone(), Criterion::Key(RoutingKey::new("x")?), subject.topic.clone()),
        good.clone().bind(ExchangeName::new("other")?, Criterion::Always, subject.topic.clone()),
        good.clone().exchange(shop, ExchangeKind::Direct),
        good.group(subject.through(&nowhere, "readers")?.spec()),
    ] {
        match subject.queue.declare(bad.clone()).await {
            Err(error) => equal("the kind of error", &error.kind(), &ErrorKind::Invalid)?,
            Ok(()) => return Err(Failure::new(format!("expected an error, declared {bad:?}"))),
        }
        holds("nothing is declared", subject.queue.stats().await?.topics.is_empty())?;
    }
    Ok(())
}
