//! The store's time: its clock's, and never backwards.

use core::time::Duration;

use txn_change::Timestamp;
use txn_suite::{Checked, equal};

use super::{
    Harness, Scenario, named,
    sample::{change, event, stocked, tally},
    subject::START,
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    time_is_the_clocks_and_never_goes_backwards,
    a_replay_keeps_the_first_time,
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
