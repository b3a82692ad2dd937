//! Groups: independent progress, where they begin, going back, pausing.

use std::time::Duration;

use txn_suite::{Checked, equal, some};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, MS, START, Subject, message},
};
use crate::{
    admin::Control,
    queue::{Action, Settled},
    topology::{GroupSpec, Start, TopicSpec, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    each_group_is_given_everything_and_one_that_stands_still_holds_up_no_other,
    a_group_begins_where_it_was_said,
    what_nobody_reads_yet_is_kept,
    a_group_goes_back_to_what_is_kept,
    a_paused_group_is_given_nothing,
    declaring_the_same_again_loses_nothing,
];

async fn declared(subject: &Subject, group: &str, start: Start) -> Checked<Subject> {
    let other = subject.through(&subject.topic, group)?;
    other.queue.declare(Topology::default().group(GroupSpec { start, ..other.spec() })).await?;
    Ok(other)
}

/// Case Q18.
async fn each_group_is_given_everything_and_one_that_stands_still_holds_up_no_other(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let slow = declared(&subject, "slow", Start::Beginning).await?;
    subject.send(&["1", "2"]).await?;
    subject.settle_all(&subject.ready("in the quick one", &["1", "2"]).await?, &Action::Ack).await?;
    equal("what the slow one has not done", &slow.stats().await?.depth, &2)?;
    subject.pass(Duration::from_secs(3_600));
    equal("its oldest", &slow.stats().await?.oldest, &Some(START))?;
    subject.send(&["3"]).await?;
    subject.ready("in the quick one, later", &["3"]).await?;
    slow.ready("in the slow one, later", &["1", "2", "3"]).await.map(drop)
}

/// Case Q18.
async fn a_group_begins_where_it_was_said(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    subject.pass(MS);
    subject.send(&["2"]).await?;
    let second = some("the second", subject.receive(2).await?.pop())?;
    declared(&subject, "beginning", Start::Beginning).await?.ready("from the beginning", &["1", "2"]).await?;
    let end = declared(&subject, "end", Start::End).await?;
    end.nothing("from the end").await?;
    let place = Start::Position(second.lease.position);
    declared(&subject, "place", place).await?.ready("from the second", &["2"]).await?;
    let time = Start::Time(START.after(Duration::from_nanos(1))?);
    declared(&subject, "time", time).await?.ready("since a nanosecond after the first", &["2"]).await?;
    subject.send(&["3"]).await?;
    end.ready("at the end, later", &["3"]).await.map(drop)
}

async fn what_nobody_reads_yet_is_kept(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    subject.queue.declare(Topology::default().topic(TopicSpec::new(subject.topic.clone()))).await?;
    subject.send(&["1"]).await?;
    subject.pass(LEASE);
    declared(&subject, "late", Start::Beginning).await?.ready("for the first group", &["1"]).await.map(drop)
}

async fn a_group_goes_back_to_what_is_kept(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let keeping = TopicSpec { keep: Duration::from_secs(60), ..TopicSpec::new(subject.topic.clone()) };
    subject.queue.declare(Topology::default().topic(keeping)).await?;
    subject.send(&["1"]).await?;
    subject.pass(Duration::from_secs(30));
    subject.send(&["2"]).await?;
    subject.settle_all(&subject.ready("at first", &["1", "2"]).await?, &Action::Ack).await?;
    subject.queue.control(Control::Seek(subject.group.clone(), Start::Beginning)).await?;
    let again = subject.ready("from the beginning", &["1", "2"]).await?;
    equal("how often it was delivered", &some("one", again.first())?.deliveries, &1)?;
    subject.queue.control(Control::Seek(subject.group.clone(), Start::End)).await?;
    let settled = subject.settle_all(&again, &Action::Ack).await?;
    equal("what was held before", &settled, &vec![Settled::Gone; 2])?;
    subject.nothing("from the end").await?;
    subject.pass(Duration::from_secs(30));
    subject.queue.control(Control::Seek(subject.group.clone(), Start::Beginning)).await?;
    subject.ready("when the first is kept no longer", &["2"]).await.map(drop)
}

async fn a_paused_group_is_given_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1", "2"]).await?;
    let held = subject.next().await?;
    subject.queue.control(Control::Pause(subject.group.clone())).await?;
    subject.nothing("while it is paused").await?;
    subject.ack(&held).await?;
    equal("what it says", &subject.stats().await?.is_paused, &true)?;
    subject.queue.control(Control::Resume(subject.group.clone())).await?;
    subject.ready("when it goes on", &["2"]).await.map(drop)
}

async fn declaring_the_same_again_loses_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.accepted(vec![message("1")?]).await?;
    let held = subject.one().await?;
    let spec = subject.spec();
    let subject = subject.with(spec).await?;
    subject.nothing("while it is held").await?;
    subject.ack(&held).await
}
