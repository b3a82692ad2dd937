//! Order by key, with what waits for a retry.

use std::num::NonZeroU32;

use txn_suite::{Checked, equal, holds, some};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, MS, Subject, ids, keyed, ms, retry},
};
use crate::{
    queue::Action,
    topology::{BehindRetry, GroupSpec, Order, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    messages_of_a_key_follow_each_other_and_others_do_not_wait,
    a_retry_holds_up_its_key_and_no_other,
    a_retry_lets_its_key_pass_where_that_is_wanted,
    a_key_goes_on_when_its_first_message_is_dead,
    a_message_that_is_not_due_does_not_hold_up_its_key,
    a_key_has_so_many_at_a_time_and_no_more,
    without_order_a_key_means_nothing,
    a_group_that_is_given_another_order_goes_on,
    a_message_that_comes_again_stands_before_newer_ones,
];

async fn ordered(harness: &Harness, at_once: u32, behind_retry: BehindRetry) -> Checked<Subject> {
    let subject = harness.fresh().await?;
    let at_once = some("a number", NonZeroU32::new(at_once))?;
    let spec = GroupSpec { order: Order::PerKey { at_once, behind_retry }, ..subject.spec() };
    subject.with(spec).await
}

async fn messages_of_a_key_follow_each_other_and_others_do_not_wait(harness: &Harness) -> Checked {
    let subject = ordered(harness, 1, BehindRetry::Park).await?;
    subject.send_keyed(&["a/1", "a/2", "b/1", "a/3"]).await?;
    subject.send(&["free"]).await?;
    let first = subject.ready("at first", &["a/1", "b/1", "free"]).await?;
    subject.nothing("while they are held").await?;
    for (delivery, next) in first.iter().zip([&["a/2"][..], &[], &[]]) {
        subject.ack(delivery).await?;
        subject.ready("when one is done", next).await?;
    }
    subject.pass(LEASE);
    let again = subject.ready("when its lease has ended", &["a/2"]).await?;
    subject.ack(some("a delivery", again.first())?).await?;
    subject.ready("at last", &["a/3"]).await.map(drop)
}

/// Case Q13.
async fn a_retry_holds_up_its_key_and_no_other(harness: &Harness) -> Checked {
    let subject = ordered(harness, 1, BehindRetry::Park).await?;
    subject.send_keyed(&["a/1", "a/2"]).await?;
    for nth in 1..=3u32 {
        let delivery = subject.one().await?;
        equal("the first of its key", &(&*delivery.message.id, delivery.deliveries), &("a/1", nth))?;
        subject.apply(&delivery, retry(ms(10))).await?;
        subject.send_keyed(&[&format!("b{nth}/1")]).await?;
        subject.ready("while it waits", &[&format!("b{nth}/1")]).await?;
        subject.pass(ms(10));
    }
    subject.ack(&subject.one().await?).await?;
    subject.ready("when it is done", &["a/2"]).await.map(drop)
}

async fn a_retry_lets_its_key_pass_where_that_is_wanted(harness: &Harness) -> Checked {
    let subject = ordered(harness, 1, BehindRetry::Pass).await?;
    subject.send_keyed(&["a/1", "a/2", "a/3"]).await?;
    subject.apply(&subject.one().await?, retry(ms(10))).await?;
    let second = subject.one().await?;
    equal("the second passes", &&*second.message.id, &"a/2")?;
    subject.pass(ms(10));
    subject.nothing("while the second is held").await?;
    subject.ack(&second).await?;
    subject.ready("then the first comes before the third", &["a/1"]).await.map(drop)
}

/// Case Q14.
async fn a_key_goes_on_when_its_first_message_is_dead(harness: &Harness) -> Checked {
    let subject = ordered(harness, 1, BehindRetry::Park).await?;
    subject.send_keyed(&["a/1", "a/2"]).await?;
    subject.apply(&subject.one().await?, Action::Dead { reason: "no".into() }).await?;
    subject.ack(&subject.one().await?).await?;
    subject.pass(LEASE);
    subject.nothing("when both are settled").await
}

/// Case Q15.
async fn a_message_that_is_not_due_does_not_hold_up_its_key(harness: &Harness) -> Checked {
    let subject = ordered(harness, 1, BehindRetry::Park).await?;
    subject.accepted(vec![keyed("a/later")?.delay(ms(10)), keyed("a/now")?]).await?;
    let now = subject.one().await?;
    equal("what is due", &&*now.message.id, &"a/now")?;
    subject.pass(ms(10));
    subject.nothing("while that is held").await?;
    subject.ack(&now).await?;
    subject.ready("when it is done", &["a/later"]).await.map(drop)
}

/// Case Q16.
async fn a_key_has_so_many_at_a_time_and_no_more(harness: &Harness) -> Checked {
    let subject = ordered(harness, 2, BehindRetry::Park).await?;
    subject.send_keyed(&["a/1", "a/2", "a/3", "a/4"]).await?;
    let first = subject.ask("worker-1", 1, MS).await?.deliveries;
    let second = subject.ask("worker-2", 9, LEASE).await?.deliveries;
    equal("the two", &(ids(&first), ids(&second)), &(vec!["a/1".to_owned()], vec!["a/2".to_owned()]))?;
    subject.pass(MS);
    // The lease of the first has ended, and whoever had it says that it is done: one permit is free, and not two.
    let again = subject.ask("worker-3", 9, LEASE).await?.deliveries;
    equal("the permit that is free", &ids(&again), &vec!["a/1".to_owned()])?;
    subject.settle_all(&first, &Action::Ack).await?;
    subject.nothing("after a settlement that was stale").await?;
    subject.settle_all(&second, &Action::Ack).await?;
    subject.settle_all(&second, &Action::Ack).await?;
    subject.ready("after one that was not", &["a/3"]).await.map(drop)
}

async fn without_order_a_key_means_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let spec = GroupSpec { order: Order::None, ..subject.spec() };
    let subject = subject.with(spec).await?;
    subject.send_keyed(&["a/1", "a/2"]).await?;
    let both = subject.ready("at once", &["a/1", "a/2"]).await?;
    holds("both are held", both.len() == 2)
}

async fn a_group_that_is_given_another_order_goes_on(harness: &Harness) -> Checked {
    let subject = ordered(harness, 1, BehindRetry::Park).await?;
    let declare = async |order| {
        let spec = GroupSpec { order, ..subject.spec() };
        subject.queue.declare(Topology::default().group(spec)).await
    };
    let at_once = |number| Order::PerKey { at_once: number, behind_retry: BehindRetry::Park };
    subject.send_keyed(&["a/1", "a/2", "a/3", "a/4"]).await?;
    let first = subject.ready("one at a time", &["a/1"]).await?;
    declare(at_once(NonZeroU32::MIN.saturating_add(1))).await?;
    let second = subject.ready("two at a time", &["a/2"]).await?;
    declare(at_once(NonZeroU32::MIN)).await?;
    subject.settle_all(&first, &Action::Ack).await?;
    subject.nothing("while one is held, and one at a time").await?;
    declare(Order::None).await?;
    subject.ready("without order", &["a/3", "a/4"]).await?;
    subject.settle_all(&second, &Action::Ack).await?;
    equal("what is left", &subject.stats().await?.depth, &2)
}

/// Where all messages of a topic have one key, their order is total: however a delivery ends, the message comes again before those that were published later. Case Q19.
async fn a_message_that_comes_again_stands_before_newer_ones(harness: &Harness) -> Checked {
    let subject = ordered(harness, 1, BehindRetry::Park).await?;
    subject.send_keyed(&["all/1", "all/2", "all/3"]).await?;
    for (nth, next) in ["all/4", "all/5", "all/6"].into_iter().enumerate() {
        let current = format!("all/{}", nth.saturating_add(1));
        let only = [current.as_str()];
        // By the end of its lease, by a release, by a retry.
        subject.ready("at first", &only).await?;
        subject.pass(LEASE);
        let again = subject.ready("when its lease has ended", &only).await?;
        subject.send_keyed(&[next]).await?;
        subject.apply(some("a delivery", again.first())?, Action::Release).await?;
        let again = subject.ready("when it was put back", &only).await?;
        subject.apply(some("a delivery", again.first())?, retry(ms(10))).await?;
        subject.nothing("while it waits for its retry").await?;
        subject.pass(ms(10));
        let again = subject.ready("when it is tried again", &only).await?;
        subject.ack(some("a delivery", again.first())?).await?;
    }
    for wanted in ["all/4", "all/5", "all/6"] {
        subject.ack(some("a delivery", subject.ready("in the end", &[wanted]).await?.first())?).await?;
    }
    subject.nothing("when all are done").await
}
