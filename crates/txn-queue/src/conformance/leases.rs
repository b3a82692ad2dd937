//! Leases: at least once, one holder, fenced, counted.

use std::time::Duration;

use txn_suite::{Checked, equal, holds};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, MS, START, ids, ms, retry},
};
use crate::{
    admin::Control,
    name::WorkerId,
    queue::{Action, Settled},
};

pub(super) const ALL: &[Scenario] = named![
    a_message_is_delivered_and_is_gone_when_it_is_acknowledged,
    a_message_whose_lease_has_ended_is_delivered_again_and_counted,
    a_lease_is_exact_to_the_nanosecond,
    whoever_lost_the_lease_changes_nothing,
    one_worker_that_gets_its_own_message_again_cannot_settle_the_first_time,
    an_extension_counts_from_now_and_comes_too_late_when_the_lease_has_ended,
    settling_twice_says_so_and_changes_nothing,
    one_stale_settlement_takes_no_other_with_it,
    a_release_does_not_count,
    a_message_that_waits_for_its_retry_is_not_delivered_before,
    a_clock_that_goes_back_gives_no_lease_back,
    the_leases_of_a_dead_worker_end_at_once_and_no_others,
    no_two_workers_hold_one_message,
];

/// Case Q5.
async fn a_message_is_delivered_and_is_gone_when_it_is_acknowledged(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    let delivery = subject.one().await?;
    equal("the data", &&*delivery.message.data, &&b"1"[..])?;
    equal("how often it was delivered", &delivery.deliveries, &1)?;
    equal("when it was accepted", &delivery.accepted_at, &START)?;
    subject.nothing("while it is held").await?;
    subject.ack(&delivery).await?;
    subject.pass(LEASE);
    subject.nothing("after it was acknowledged").await?;
    let stats = subject.stats().await?;
    equal("what is left, and what was acknowledged", &(stats.depth, stats.acked), &(0, 1))
}

/// Case Q1.
async fn a_message_whose_lease_has_ended_is_delivered_again_and_counted(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    let first = subject.one().await?;
    subject.pass(LEASE);
    let second = subject.one().await?;
    equal("the message", &second.message, &first.message)?;
    equal("its place", &second.lease.position, &first.lease.position)?;
    equal("how often it was delivered", &second.deliveries, &2)?;
    holds("every delivery has its own token", first.lease.token != second.lease.token)
}

async fn a_lease_is_exact_to_the_nanosecond(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    let delivery = subject.one().await?;
    equal("the end of the lease", &delivery.leased_until, &START.after(LEASE)?)?;
    subject.pass(LEASE.saturating_sub(Duration::from_nanos(1)));
    subject.nothing("a nanosecond before the end").await?;
    equal("the next", &subject.ask("worker-1", 1, LEASE).await?.next_in, &Some(Duration::from_nanos(1)))?;
    subject.pass(Duration::from_nanos(1));
    equal("a settlement at the end", &subject.settle(&delivery, Action::Ack).await?, &Settled::Stale)?;
    subject.one().await.map(drop)
}

/// Case Q2.
async fn whoever_lost_the_lease_changes_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    let first = subject.one().await?;
    subject.pass(LEASE);
    let second = subject.one().await?;
    for action in [Action::Ack, Action::Release, retry(MS), Action::Dead { reason: "no".into() }] {
        equal("a settlement by the first", &subject.settle(&first, action).await?, &Settled::Stale)?;
    }
    subject.nothing("while the second holds it").await?;
    subject.ack(&second).await?;
    equal("what is left", &subject.stats().await?.depth, &0)?;
    equal("a second one by the second", &subject.settle(&second, Action::Ack).await?, &Settled::Gone)
}

/// Case Q4.
async fn one_worker_that_gets_its_own_message_again_cannot_settle_the_first_time(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    let first = subject.ask("worker-1", 1, MS).await?.deliveries;
    subject.pass(MS);
    let second = subject.ask("worker-1", 1, LEASE).await?.deliveries;
    equal("what it got again", &ids(&second), &ids(&first))?;
    equal("the late one", &subject.settle_all(&first, &Action::Ack).await?, &vec![Settled::Stale])?;
    equal("the other", &subject.settle_all(&second, &Action::Ack).await?, &vec![Settled::Applied])
}

/// Case Q3.
async fn an_extension_counts_from_now_and_comes_too_late_when_the_lease_has_ended(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    let delivery = subject.one().await?;
    subject.pass(Duration::from_secs(15));
    subject.apply(&delivery, Action::Extend { lease: LEASE }).await?;
    subject.pass(LEASE.saturating_sub(Duration::from_nanos(1)));
    subject.nothing("before the later end").await?;
    subject.apply(&delivery, Action::Extend { lease: MS }).await?;
    subject.pass(MS);
    let late = subject.settle(&delivery, Action::Extend { lease: LEASE }).await?;
    equal("an extension at the end", &late, &Settled::Stale)?;
    let second = subject.one().await?;
    equal("how often it was delivered", &second.deliveries, &2)
}

/// Case Q5.
async fn settling_twice_says_so_and_changes_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1", "2"]).await?;
    let [first, second] = &subject.receive(2).await?[..] else { return holds("two messages are ready", false) };
    subject.ack(first).await?;
    equal("an ack after an ack", &subject.settle(first, Action::Ack).await?, &Settled::Gone)?;
    equal("a retry after an ack", &subject.settle(first, retry(MS)).await?, &Settled::Gone)?;
    subject.apply(second, retry(MS)).await?;
    equal("an ack after a retry", &subject.settle(second, Action::Ack).await?, &Settled::Stale)?;
    let mut unknown = second.clone();
    unknown.lease.position.0 = unknown.lease.position.0.saturating_add(1_000);
    equal("one of nothing", &subject.settle(&unknown, Action::Ack).await?, &Settled::Gone)?;
    subject.pass(MS);
    let [second] = &subject.ready("after the retry", &["2"]).await?[..] else { return Ok(()) };
    for other in ["others", "nobody"] {
        let other = subject.through(&subject.topic, other)?;
        if &**other.group.name() == "others" {
            other.clone().plain().await?;
        }
        let settled = other.settle(second, Action::Ack).await?;
        holds("another group settles none of it", matches!(settled, Settled::Stale | Settled::Gone))?;
    }
    subject.ack(second).await
}

/// Case Q6.
async fn one_stale_settlement_takes_no_other_with_it(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let ids: Vec<String> = (0..256).map(|n| format!("m{n}")).collect();
    subject.send(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut deliveries = subject.ask("worker-1", 1, MS).await?.deliveries;
    subject.pass(MS);
    deliveries.extend(subject.ask("worker-2", 255, LEASE).await?.deliveries);
    equal("how many were received", &deliveries.len(), &256)?;
    let settled = subject.settle_all(&deliveries, &Action::Ack).await?;
    let applied = settled.iter().filter(|settled| **settled == Settled::Applied).count();
    equal("how many were applied", &applied, &255)?;
    equal("the first", &settled.first(), &Some(&Settled::Stale))?;
    equal("how many are left", &subject.receive(1_000).await?.len(), &1)
}

/// Case Q7.
async fn a_release_does_not_count(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let spec = subject.spec();
    let subject = subject.with(crate::GroupSpec { deliveries_max: std::num::NonZeroU32::MIN, ..spec }).await?;
    subject.send(&["1"]).await?;
    for _ in 0..20 {
        let delivery = subject.one().await?;
        equal("how often it was delivered", &delivery.deliveries, &1)?;
        subject.apply(&delivery, Action::Release).await?;
    }
    equal("how many are dead", &subject.stats().await?.dead, &0)
}

async fn a_message_that_waits_for_its_retry_is_not_delivered_before(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    let delivery = subject.one().await?;
    subject.apply(&delivery, retry(ms(5))).await?;
    subject.pass(ms(4));
    subject.nothing("a millisecond before").await?;
    equal("the next", &subject.ask("worker-1", 1, LEASE).await?.next_in, &Some(MS))?;
    subject.pass(MS);
    let again = subject.one().await?;
    equal("how often it was delivered", &again.deliveries, &2)?;
    subject.apply(&again, retry(Duration::ZERO)).await?;
    equal("at once", &subject.one().await?.deliveries, &3)
}

/// Case Q12.
async fn a_clock_that_goes_back_gives_no_lease_back(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    let first = subject.one().await?;
    subject.pass(LEASE);
    let second = subject.one().await?;
    subject.clock.set(START);
    equal("the first", &subject.settle(&first, Action::Ack).await?, &Settled::Stale)?;
    subject.nothing("while the second holds it").await?;
    subject.ack(&second).await
}

/// Case Q11.
async fn the_leases_of_a_dead_worker_end_at_once_and_no_others(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1", "2", "3"]).await?;
    let dead = subject.ask("pod-7.1", 2, LEASE).await?.deliveries;
    let living = subject.ask("pod-7.2", 1, LEASE).await?.deliveries;
    subject.queue.control(Control::Rescue(WorkerId::new("pod-7.1")?)).await?;
    equal("what the dead one does", &subject.settle_all(&dead, &Action::Ack).await?, &vec![Settled::Stale; 2])?;
    let again = subject.ready("after the rescue", &["1", "2"]).await?;
    holds("a rescue counts as a delivery", again.iter().all(|delivery| delivery.deliveries == 2))?;
    equal("what the living one does", &subject.settle_all(&living, &Action::Ack).await?, &vec![Settled::Applied])
}

/// Case Q33.
async fn no_two_workers_hold_one_message(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let names: Vec<String> = (0..400).map(|n| format!("m{n}")).collect();
    subject.send(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let jobs = (0..8).map(|worker| {
        let subject = subject.clone();
        let job: futures_util::future::BoxFuture<'static, Checked<Vec<String>>> = Box::pin(async move {
            let mut got = Vec::new();
            loop {
                let deliveries = subject.ask(&format!("worker-{worker}"), 7, LEASE).await?.deliveries;
                if deliveries.is_empty() {
                    return Ok(got);
                }
                got.extend(ids(&deliveries));
                let settled = subject.settle_all(&deliveries, &Action::Ack).await?;
                holds("each is its own", settled.iter().all(|settled| *settled == Settled::Applied))?;
            }
        });
        job
    });
    let got = txn_suite::race(&harness.runs(), jobs.collect()).await?;
    let mut got: Vec<String> = got.into_iter().collect::<Checked<Vec<_>>>()?.concat();
    got.sort();
    let mut wanted = names;
    wanted.sort();
    equal("what all of them got", &got, &wanted)
}
