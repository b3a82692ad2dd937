//! The store's time: its clock's, and never backwards.

use core::time::Duration;

use txn_change::{Change, Refusal, Timestamp};
use txn_suite::{Checked, equal};

use super::{
    Harness, Scenario, named,
    sample::{change, event, stocked, tally},
    subject::START,
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    time_is_the_clocks_and_never_goes_backwards,
    a_replay_keeps_the_first_time,
    what_holds_until_an_instant_is_refused_from_it_on,
];

/// Case F50.
async fn time_is_the_clocks_and_never_goes_backwards(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let at = |text: &str| text.parse::<Timestamp>();
    let day = START.after(Duration::from_secs(86_400))?;
    let steps = [
        (START, START),
        (at("2029-12-31T23:00:00Z")?, START),
        (day, day),
        (Timestamp::EPOCH, day),
        (Timestamp::MIN, day),
        (at("2038-01-19T03:14:08Z")?, at("2038-01-19T03:14:08Z")?),
        (at("2106-02-07T06:28:16Z")?, at("2106-02-07T06:28:16Z")?),
        (START, at("2106-02-07T06:28:16Z")?),
        (Timestamp::MAX, Timestamp::MAX),
        (START, Timestamp::MAX),
    ];
    for (index, (clock, expected)) in steps.into_iter().enumerate() {
        subject.clock.set(clock);
        equal("the time of a snapshot", &subject.get(subject.ask()).await?.now, &expected)?;
        let change = stocked(&format!("c-{index}"), &tally("t")?, [1, 0, 0, 0])?.append(event(""));
        equal("the time of a commit", &subject.done(change).await?.recorded_at, &expected)?;
        equal("the time of a snapshot after it", &subject.get(subject.ask()).await?.now, &expected)?;
    }
    let log = subject.log(7).await?;
    let times: Vec<Timestamp> = log.iter().map(|item| item.recorded.recorded_at).collect();
    equal("times in the log", &times, &steps.map(|(_, expected)| expected).to_vec())
}

async fn a_replay_keeps_the_first_time(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let first = subject.done(change("c")?).await?;
    subject.clock.advance(Duration::from_secs(5));
    let again = subject.done(change("c")?).await?;
    equal("the time of a replay", &again.recorded_at, &first.recorded_at)?;
    let stored = subject.get(subject.ask().stored(change("c")?.id)).await?;
    equal("the stored time", &stored.stored.map(|s| s.recorded_at), &Some(START))?;
    equal("the time now", &stored.now, &START.after(Duration::from_secs(5))?)
}

/// To the nanosecond, by the time that the commit is recorded with; a repetition of what was committed before is answered whenever it comes.
async fn what_holds_until_an_instant_is_refused_from_it_on(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (nano, counter) = (Duration::from_nanos(1), tally("t")?);
    let until = START.after(Duration::from_secs(1))?;
    let add = |id: &str| stocked(id, &counter, [1, 0, 0, 0]).map(|change| change.before(until));
    subject.clock.set(Timestamp::from_nanos(until.as_nanos().saturating_sub(1)));
    let in_time = subject.done(add("in-time")?).await?;
    equal("it was in time", &(in_time.recorded_at < until), &true)?;
    // Two in one: the earlier binds.
    let both = |id: &str| Checked::<Change>::Ok(add(id)?.and(change("other")?.before(until.after(nano)?)));
    subject.done(both("both")?).await?;
    subject.clock.set(until);
    for id in ["late", "later"] {
        let now = subject.get(subject.ask()).await?.now;
        equal("too late", &subject.refused(add(id)?).await?, &Refusal::Late { until, now })?;
        equal("and both", &subject.refused(both(id)?).await?, &Refusal::Late { until, now })?;
        subject.clock.advance(nano);
    }
    equal("a repetition", &subject.done(add("in-time")?).await?.replayed, &true)?;
    equal("what was added", &subject.counter(&counter).await?.lanes.0, &[2, 0, 0, 0])
}
