//! Delay: exact, moved, cancelled; and expiry.

use std::time::Duration;

use txn_change::Timestamp;
use txn_suite::{Checked, equal, only};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, MS, START, Subject, message, ms},
};
use crate::{
    admin::{Reschedule, Rescheduled},
    capabilities::Need,
    message::{Message, When},
    name::{ScheduleKey, Topic},
    queue::{Action, Published, Refusal},
};

pub(super) const ALL: &[Scenario] = named![
    a_delay_is_exact_and_may_be_nothing_or_years,
    what_becomes_due_first_goes_first,
    a_delayed_message_can_be_moved_and_is_not_doubled,
    a_delayed_message_can_be_cancelled_until_it_is_due,
    a_schedule_key_has_one_message_at_a_time,
    what_has_expired_is_not_delivered_and_is_counted,
    times_that_cannot_be_told_are_refused,
];

fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(24 * 3_600))
}

fn scheduled(id: &str, key: &str, delay: Duration) -> Checked<Message> {
    Ok(message(id)?.delay(delay).schedule_key(ScheduleKey::new(key)?))
}

async fn reschedule(subject: &Subject, key: &str, due: Option<When>) -> Checked<Rescheduled> {
    let reschedule = Reschedule { topic: subject.topic.clone(), key: ScheduleKey::new(key)?, due };
    only("result", subject.queue.reschedule(vec![reschedule]).await?)
}

/// Case Q40.
async fn a_delay_is_exact_and_may_be_nothing_or_years(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?.needing(&[Need::Delay(days(3_650))]).await?;
    let years = message("years")?.delay(days(3_650));
    let at = message("at")?.due_at(START.after(days(90))?);
    let past = message("past")?.due_at(Timestamp::EPOCH);
    subject.accepted(vec![years, at, message("none")?.delay(Duration::ZERO), past]).await?;
    let ready = subject.ready("at once", &["none", "past"]).await?;
    subject.settle_all(&ready, &Action::Ack).await?;
    equal("the next", &subject.ask("worker-1", 1, LEASE).await?.next_in, &Some(days(90)))?;
    subject.pass(days(90).saturating_sub(MS));
    subject.nothing("a millisecond before").await?;
    subject.pass(MS);
    subject.settle_all(&subject.ready("after ninety days", &["at"]).await?, &Action::Ack).await?;
    subject.pass(days(3_560));
    subject.ready("after ten years", &["years"]).await.map(drop)
}

async fn what_becomes_due_first_goes_first(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.accepted(vec![message("3")?.delay(ms(3)), message("1")?.delay(MS), message("2")?.delay(ms(2))]).await?;
    subject.pass(ms(3));
    subject.ready("when all are due", &["1", "2", "3"]).await.map(drop)
}

/// Case Q40.
async fn a_delayed_message_can_be_moved_and_is_not_doubled(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?.needing(&[Need::Cancel]).await?;
    subject.accepted(vec![scheduled("1", "expire/42", ms(10))?]).await?;
    let later = Some(When::After(ms(30)));
    equal("moved back", &reschedule(&subject, "expire/42", later).await?, &Rescheduled::Moved)?;
    subject.pass(ms(10));
    subject.nothing("when it was due at first").await?;
    let sooner = Some(When::At(START.after(ms(15))?));
    equal("moved forward", &reschedule(&subject, "expire/42", sooner).await?, &Rescheduled::Moved)?;
    subject.pass(ms(5));
    subject.ack(&subject.one().await?).await?;
    subject.pass(days(1));
    subject.nothing("ever again").await?;
    let late = reschedule(&subject, "expire/42", Some(When::After(MS))).await?;
    equal("moved when it was done", &late, &Rescheduled::TooLate)
}

/// Case Q39.
async fn a_delayed_message_can_be_cancelled_until_it_is_due(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?.needing(&[Need::Cancel]).await?;
    subject.accepted(vec![scheduled("1", "a", MS)?, scheduled("2", "b", MS)?]).await?;
    equal("cancelled", &reschedule(&subject, "a", None).await?, &Rescheduled::Cancelled)?;
    equal("cancelled again", &reschedule(&subject, "a", None).await?, &Rescheduled::TooLate)?;
    equal("what never was", &reschedule(&subject, "c", None).await?, &Rescheduled::TooLate)?;
    subject.pass(MS);
    equal("when it is due", &reschedule(&subject, "b", None).await?, &Rescheduled::TooLate)?;
    let delivery = subject.one().await?;
    equal("what is delivered", &&*delivery.message.id, &"2")?;
    equal("when it is held", &reschedule(&subject, "b", None).await?, &Rescheduled::TooLate)?;
    subject.ack(&delivery).await?;
    equal("what is left", &subject.stats().await?.depth, &0)?;
    let nowhere = Reschedule { topic: Topic::new("nowhere")?, key: ScheduleKey::new("a")?, due: None };
    equal("in no topic", &subject.queue.reschedule(vec![nowhere]).await?, &vec![Rescheduled::NoSuchTopic])
}

async fn a_schedule_key_has_one_message_at_a_time(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.accepted(vec![scheduled("1", "a", MS)?]).await?;
    let refusal = Refusal::Scheduled { schedule_key: ScheduleKey::new("a")? };
    equal("a second one", &subject.publish(scheduled("2", "a", MS)?).await?, &Published::Refused(refusal))?;
    subject.pass(MS);
    subject.accepted(vec![scheduled("3", "a", MS)?]).await?;
    subject.pass(MS);
    subject.ready("when both are due", &["1", "3"]).await.map(drop)
}

async fn what_has_expired_is_not_delivered_and_is_counted(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.accepted(vec![message("short")?.expires_after(ms(2)), message("long")?.expires_after(days(1))]).await?;
    let held = subject.next().await?;
    equal("what it says", &held.message.expires, &Some(When::At(START.after(ms(2))?)))?;
    subject.apply(&held, Action::Release).await?;
    subject.pass(ms(2));
    subject.ready("when the short one has expired", &["long"]).await?;
    let stats = subject.stats().await?;
    equal("what expired, and what is left", &(stats.expired, stats.depth), &(1, 1))
}

async fn times_that_cannot_be_told_are_refused(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    for message in [
        message("never")?.delay(Duration::MAX),
        message("for-ever")?.expires_after(Duration::MAX),
        message("too-late")?.delay(MS).expires_after(MS),
    ] {
        let published = subject.publish(message).await?;
        equal("what became of it", &published, &Published::Refused(Refusal::Timeless))?;
    }
    subject.nothing("of them").await
}
