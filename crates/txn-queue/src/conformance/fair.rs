//! Fairness: priority and ageing, keys in turn, rates, limits on what is held.

use std::{num::NonZeroU32, time::Duration};

use txn_suite::{Checked, equal, holds, some};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, ids, keyed, message, ms},
};
use crate::{
    capabilities::Need,
    message::Priority,
    queue::Action,
    topology::{GroupSpec, Rate},
};

pub(super) const ALL: &[Scenario] = named![
    what_is_urgent_goes_first_and_equals_in_their_order,
    waiting_makes_urgent,
    a_busy_key_does_not_starve_the_rest,
    a_group_is_given_no_more_than_its_rate,
    workers_hold_no_more_than_the_group_may,
];

async fn what_is_urgent_goes_first_and_equals_in_their_order(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?.needing(&[Need::Priority]).await?;
    let low = message("low")?.priority(Priority::LAST);
    let high = message("high")?.priority(Priority::FIRST);
    subject.accepted(vec![low, message("one")?, high, message("two")?]).await?;
    subject.ready("in this order", &["high", "one", "two", "low"]).await.map(drop)
}

/// Case Q52.
async fn waiting_makes_urgent(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let spec = GroupSpec { ageing: Duration::from_secs(1), ..subject.spec() };
    let subject = subject.with(spec).await?;
    subject.accepted(vec![message("low")?.priority(Priority::LAST)]).await?;
    // Ten levels of a second each: after that, nothing that comes goes before it.
    for second in 0..10u32 {
        let high = message(&format!("high-{second}"))?.priority(Priority::FIRST);
        subject.accepted(vec![high]).await?;
        let next = subject.next().await?;
        equal("what goes first", &&*next.message.id, &&*format!("high-{second}"))?;
        subject.ack(&next).await?;
        subject.pass(Duration::from_secs(1));
    }
    subject.accepted(vec![message("high")?.priority(Priority::FIRST)]).await?;
    subject.ready("after ten seconds", &["low", "high"]).await.map(drop)
}

/// Case Q17.
async fn a_busy_key_does_not_starve_the_rest(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let busy = (0..990).map(|n| keyed(&format!("busy/{n}")));
    let others = (0..10).map(|n| keyed(&format!("other-{n}/1")));
    subject.accepted(busy.chain(others).collect::<Checked<Vec<_>>>()?).await?;
    let mut got = Vec::new();
    for _ in 0..6 {
        let deliveries = subject.receive(2).await?;
        got.extend(ids(&deliveries));
        subject.settle_all(&deliveries, &Action::Ack).await?;
    }
    let others = got.iter().filter(|id| id.starts_with("other")).count();
    holds(format!("nearly all of the first twelve are of other keys, not {got:?}"), others >= 10)
}

async fn a_group_is_given_no_more_than_its_rate(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let rate = Rate { messages: some("a number", NonZeroU32::new(5))?, per: Duration::from_secs(1) };
    let spec = GroupSpec { rate: Some(rate), ..subject.spec() };
    let subject = subject.with(spec).await?;
    let all: Vec<String> = (0..30).map(|n| format!("m{n}")).collect();
    subject.send(&all.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    equal("the burst", &subject.receive(100).await?.len(), &5)?;
    let empty = subject.ask("worker-1", 100, LEASE).await?;
    equal("when the next may be given", &(empty.deliveries.len(), empty.next_in), &(0, Some(ms(200))))?;
    subject.pass(ms(200));
    equal("after a fifth", &subject.receive(100).await?.len(), &1)?;
    subject.pass(ms(599));
    equal("after nearly three fifths more", &subject.receive(100).await?.len(), &2)?;
    subject.pass(Duration::from_secs(20));
    equal("after a long time: a burst, and no more", &subject.receive(100).await?.len(), &5)
}

async fn workers_hold_no_more_than_the_group_may(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let spec = GroupSpec { in_flight_max: 2, ..subject.spec() };
    let subject = subject.with(spec).await?;
    subject.send(&["1", "2", "3"]).await?;
    let held = subject.ready("at first", &["1", "2"]).await?;
    subject.nothing("while two are held").await?;
    subject.ack(some("one", held.first())?).await?;
    subject.ready("when one is done", &["3"]).await.map(drop)
}
