//! Counters: opening, setting, statuses, units and classes.

use std::sync::Arc;

use txn_change::{Add, Class, Condition, Expect, Label, Opening, Refusal, Status};
use txn_suite::{Checked, equal};

use super::{
    Harness, Scenario, named,
    sample::{account, add, change, class, open, opening, set, stock, stocked, tally},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_counter_is_opened_once,
    an_addition_opens_its_counter_or_finds_it_the_same,
    guards_are_set_at_a_version_and_bind_later_additions,
    a_frozen_counter_takes_forced_additions_and_a_closed_one_none,
    a_condition_is_judged_on_the_state_before_the_change,
    a_version_grows_by_one_with_every_change_that_touches,
    additions_to_a_conserving_class_balance_per_unit,
    any_number_of_counters_may_be_added_to_again,
];

async fn a_counter_is_opened_once(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    subject.done(open(change("open")?, &counter, stock())).await?;
    let row = subject.counter(&counter).await?;
    let Opening { class, unit, guards } = &*stock();
    equal("class, unit and guards", &(&row.class, &row.unit, &row.guards), &(class, unit, guards))?;
    equal("the row", &(row.status, row.lanes.0, row.version, row.sequence), &(Status::Open, [0; 4], 1, 0))?;
    let exists = Refusal::CounterExists { counter: counter.clone() };
    equal("opened again", &subject.refused(open(change("again")?, &counter, stock())).await?, &exists)?;
    let absent = tally("absent")?;
    let refusal = subject.refused(change("add")?.add(add(&absent, [1, 0, 0, 0], None))).await?;
    equal("an addition to nothing", &refusal, &Refusal::CounterAbsent { counter: absent, label: Label::new("line") })
}

async fn an_addition_opens_its_counter_or_finds_it_the_same(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    subject.done(stocked("first", &counter, [1, 0, 0, 0])?).await?;
    // Guards are no part of what must be the same: they may have been set since.
    let unguarded = opening(class("stock-like"), [None; 2]);
    subject.done(change("second")?.add(add(&counter, [1, 0, 0, 0], Some(unguarded)))).await?;
    let base = stock();
    let other_unit = Arc::new(Opening { unit: Arc::from("box"), ..(*base).clone() });
    let other_class = opening(Class { signed: [true; 4], ..class("stock-like") }, [None; 2]);
    for (id, other) in [("unit", other_unit), ("class", other_class), ("name", account([None; 2]))] {
        let differs = Refusal::CounterDiffers {
            counter: counter.clone(),
            class: "stock-like".to_owned(),
            unit: Arc::from("item"),
        };
        equal(id, &subject.refused(change(id)?.add(add(&counter, [0; 4], Some(other)))).await?, &differs)?;
    }
    equal("the lanes", &subject.lanes(&counter).await?, &[2, 0, 0, 0])
}

async fn guards_are_set_at_a_version_and_bind_later_additions(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    let early = Refusal::Conflict { key: counter.clone(), expected: Expect::Version(0), actual: Expect::Absent };
    equal("set on nothing", &subject.refused(set(change("early")?, &counter, 0, 5, Status::Open)).await?, &early)?;
    subject.done(stocked("fund", &counter, [3, 0, 0, 0])?).await?;
    let stale = Refusal::Conflict { key: counter.clone(), expected: Expect::Version(2), actual: Expect::Version(1) };
    equal(
        "set at another version",
        &subject.refused(set(change("stale")?, &counter, 2, 5, Status::Open)).await?,
        &stale,
    )?;
    // The new limit is above what is there. That alone refuses nothing; what makes it worse is refused.
    subject.done(set(change("set")?, &counter, 1, 5, Status::Open)).await?;
    equal(
        "version and sequence",
        &{
            let row = subject.counter(&counter).await?;
            (row.version, row.sequence)
        },
        &(2, 1),
    )?;
    let broken =
        Refusal::GuardBroken { counter: counter.clone(), label: Label::new("line"), guard: 0, value: 2, min: 5 };
    equal("making it worse", &subject.refused(stocked("worse", &counter, [-1, 0, 0, 0])?).await?, &broken)?;
    subject.done(stocked("better", &counter, [1, 0, 0, 0])?).await?;
    // Set and add in one change: the new guards bind the additions beside them.
    let with = |id: &str, min| {
        Ok::<_, super::Failure>(set(stocked(id, &counter, [-1, 0, 0, 0])?, &counter, 3, min, Status::Open))
    };
    let broken =
        Refusal::GuardBroken { counter: counter.clone(), label: Label::new("line"), guard: 0, value: 3, min: 4 };
    equal("beside a tight guard", &subject.refused(with("tight", 4)?).await?, &broken)?;
    subject.done(with("loose", 3)?).await?;
    equal("version", &subject.counter(&counter).await?.version, &4)
}

async fn a_frozen_counter_takes_forced_additions_and_a_closed_one_none(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    subject.done(stocked("fund", &counter, [3, 0, 0, 0])?).await?;
    let adds = |id: &str, force: bool| {
        Ok::<_, super::Failure>(change(id)?.add(Add { force, ..add(&counter, [1, 0, 0, 0], None) }))
    };
    let not_open = |status| Refusal::CounterNotOpen { counter: counter.clone(), status, label: Label::new("line") };
    subject.done(set(change("freeze")?, &counter, 1, 0, Status::Frozen)).await?;
    equal("an addition when frozen", &subject.refused(adds("frozen", false)?).await?, &not_open(Status::Frozen))?;
    subject.done(adds("frozen-forced", true)?).await?;
    subject.done(set(change("close")?, &counter, 3, 0, Status::Closed)).await?;
    for (id, force) in [("closed", false), ("closed-forced", true)] {
        equal(id, &subject.refused(adds(id, force)?).await?, &not_open(Status::Closed))?;
    }
    equal("the status", &subject.counter(&counter).await?.status, &Status::Closed)?;
    // Opened again by the very change that adds.
    subject.done(set(adds("reopened", false)?, &counter, 4, 0, Status::Open)).await?;
    equal("the lanes", &subject.lanes(&counter).await?, &[5, 0, 0, 0])
}

async fn a_condition_is_judged_on_the_state_before_the_change(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (counter, absent) = (tally("t")?, tally("absent")?);
    subject.done(stocked("fund", &counter, [7, 3, 0, 0])?).await?;
    let rest = [1, -1, 0, 0];
    let conditions = [
        (&counter, Condition::AtLeast(rest, 4), 4, true),
        (&counter, Condition::AtLeast(rest, 5), 4, false),
        (&counter, Condition::AtMost(rest, 4), 4, true),
        (&counter, Condition::AtMost(rest, 3), 4, false),
        (&counter, Condition::Equals([2, 1, 0, 0], 17), 17, true),
        (&counter, Condition::Equals([2, 1, 0, 0], 16), 17, false),
        (&counter, Condition::Version(1), 1, true),
        (&counter, Condition::Version(0), 1, false),
        (&absent, Condition::Equals(rest, 0), 0, true),
        (&absent, Condition::AtLeast(rest, 1), 0, false),
        (&absent, Condition::Version(0), 0, true),
        (&absent, Condition::Version(1), 0, false),
    ];
    for (index, (key, condition, value, passes)) in conditions.into_iter().enumerate() {
        let change = change(&format!("hold-{index}"))?.hold(key.clone(), condition, Label::new("held"));
        let failed = Refusal::ConditionFailed { counter: key.clone(), label: Label::new("held"), value };
        match super::subject::refused(subject.commit(change).await?) {
            Ok(refusal) if !passes => equal(&format!("{condition:?}"), &refusal, &failed)?,
            Err(_) if passes => {}
            other => {
                return Err(super::Failure::new(format!(
                    "{condition:?} on {value}: expected passing {passes}, found {other:?}"
                )));
            }
        }
    }
    // What the change itself adds does not help it.
    let helped = stocked("helped", &counter, [1, 0, 0, 0])?;
    let helped = helped.hold(counter.clone(), Condition::AtLeast(rest, 5), Label::new("held"));
    let failed = Refusal::ConditionFailed { counter: counter.clone(), label: Label::new("held"), value: 4 };
    equal("a condition met by the change alone", &subject.refused(helped).await?, &failed)?;
    equal("the version after conditions alone", &subject.counter(&counter).await?.version, &1)
}

async fn a_version_grows_by_one_with_every_change_that_touches(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    let thrice = open(change("thrice")?, &counter, stock());
    let one = || add(&counter, [1, 0, 0, 0], None);
    subject.done(thrice.add(one()).add(one()).add(one())).await?;
    let row = subject.counter(&counter).await?;
    equal("lanes, version, sequence", &(row.lanes.0, row.version, row.sequence), &([3, 0, 0, 0], 1, 3))?;
    subject.done(set(change("set")?.add(one()), &counter, 1, 0, Status::Open)).await?;
    subject.done(change("zero")?.add(add(&counter, [0; 4], None))).await?;
    let row = subject.counter(&counter).await?;
    equal("lanes, version, sequence", &(row.lanes.0, row.version, row.sequence), &([4, 0, 0, 0], 3, 5))
}

async fn additions_to_a_conserving_class_balance_per_unit(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let in_unit = |unit: &str| Some(Arc::new(Opening { unit: Arc::from(unit), ..(*account([None; 2])).clone() }));
    let (a, b, c) = (tally("a")?, tally("b")?, tally("c")?);
    let off =
        |off_by, unit: &str| Refusal::Unbalanced { class: "account-like".to_owned(), unit: Arc::from(unit), off_by };
    let one_sided = change("one-sided")?.add(add(&a, [0, 5, 0, 0], in_unit("usd")));
    equal("one side alone", &subject.refused(one_sided).await?, &off(5, "usd"))?;
    let pending =
        change("pending")?.add(add(&a, [3, 0, 0, 0], in_unit("usd"))).add(add(&b, [0, 0, 0, 3], in_unit("usd")));
    equal("pending against posted", &subject.refused(pending).await?, &off(3, "usd"))?;
    let mixed = change("mixed")?.add(add(&a, [0, 5, 0, 0], in_unit("usd"))).add(add(&b, [0, 0, 0, 5], in_unit("eur")));
    equal("two units", &subject.refused(mixed).await?, &off(5, "usd"))?;
    let forced = Add { force: true, ..add(&a, [0, 1, 0, 0], in_unit("usd")) };
    equal("forced", &subject.refused(change("forced")?.add(forced)).await?, &off(1, "usd"))?;
    let legs = change("legs")?
        .add(add(&a, [0, 5, 0, 0], in_unit("usd")))
        .add(add(&b, [0, 0, 0, 2], in_unit("usd")))
        .add(add(&c, [0, 0, 0, 3], in_unit("usd")));
    subject.done(legs).await?;
    equal("the first leg", &subject.lanes(&a).await?, &[0, 5, 0, 0])
}

async fn any_number_of_counters_may_be_added_to_again(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for count in 1..=20u32 {
        let mut change = change(&count.to_string())?;
        // Round after round, so that each counter is come to again after all the others; and backwards at last.
        for number in (0..count).chain(0..count).chain((0..count).rev()) {
            change = change.add(add(&tally(&format!("{count}-{number}"))?, [1, 0, 0, 0], Some(stock())));
        }
        subject.done(change).await?;
        for number in 0..count {
            let row = subject.counter(&tally(&format!("{count}-{number}"))?).await?;
            let found = (row.lanes.0, row.version, row.sequence);
            equal(&format!("counter {number} of {count}"), &found, &([3, 0, 0, 0], 1, 3))?;
        }
    }
    Ok(())
}
