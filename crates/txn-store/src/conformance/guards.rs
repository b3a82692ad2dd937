//! Guards, lanes and force, on the net result of a change.

use txn_change::{Add, Class, Guard, Label, Refusal};
use txn_suite::{Checked, equal};

use super::{
    Harness, Scenario, named,
    sample::{AVAILABLE, add, change, class, opening, stock, stocked, tally},
    subject::Subject,
};
use crate::query::{Found, Query};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_guard_holds_on_the_net_result,
    a_release_always_passes,
    force_passes_a_guard_and_is_flagged,
    an_unsigned_lane_is_never_negative,
    both_guards_hold,
    a_refusal_names_the_addition_to_blame,
];

async fn with_stock(harness: &Harness, units: i128) -> Checked<(Subject, txn_change::Key)> {
    let (subject, shelf) = (harness.fresh().await?, tally("shelf")?);
    subject.done(stocked("stock", &shelf, [units, 0, 0, 0])?).await?;
    Ok((subject, shelf))
}

fn labelled(add: Add, label: &'static str) -> Add {
    Add { label: Label::new(label), ..add }
}

fn forced(add: Add) -> Add {
    Add { force: true, ..add }
}

async fn a_guard_holds_on_the_net_result(harness: &Harness) -> Checked {
    let (subject, shelf) = with_stock(harness, 5).await?;
    // Reserved beyond what is there, and released again in one change: the net result counts.
    let around = change("around")?.add(add(&shelf, [0, 9, 0, 0], None)).add(add(&shelf, [0, -4, 0, 0], None));
    subject.done(around).await?;
    equal("the shelf", &subject.lanes(&shelf).await?, &[5, 5, 0, 0])?;
    let more = change("more")?.add(add(&shelf, [1, 0, 0, 0], None)).add(add(&shelf, [0, 2, 0, 0], None));
    let broken =
        Refusal::GuardBroken { counter: shelf.clone(), label: Label::new("line"), guard: 0, value: -1, min: 0 };
    equal("one unit too many", &subject.refused(more).await?, &broken)?;
    equal("the shelf after", &subject.lanes(&shelf).await?, &[5, 5, 0, 0])
}

async fn a_release_always_passes(harness: &Harness) -> Checked {
    let (subject, shelf) = with_stock(harness, 5).await?;
    subject.done(stocked("reserve", &shelf, [0, 5, 0, 0])?).await?;
    subject.done(change("recount")?.add(forced(add(&shelf, [-3, 0, 0, 0], None)))).await?;
    equal("the shelf is short", &subject.lanes(&shelf).await?, &[2, 5, 0, 0])?;
    // Still short after each of these, but less so, or as much.
    subject.done(stocked("release", &shelf, [0, -1, 0, 0])?).await?;
    subject.done(stocked("ship", &shelf, [-1, -1, 0, 0])?).await?;
    subject.done(stocked("incoming", &shelf, [0, 0, 1, 0])?).await?;
    let broken =
        Refusal::GuardBroken { counter: shelf.clone(), label: Label::new("line"), guard: 0, value: -3, min: 0 };
    equal("one more reserved", &subject.refused(stocked("reserve-more", &shelf, [0, 1, 0, 0])?).await?, &broken)?;
    equal("the shelf", &subject.lanes(&shelf).await?, &[1, 3, 1, 0])
}

async fn force_passes_a_guard_and_is_flagged(harness: &Harness) -> Checked {
    let (subject, shelf) = with_stock(harness, 5).await?;
    subject.done(change("forced-in-vain")?.add(forced(add(&shelf, [-1, 0, 0, 0], None)))).await?;
    subject.done(change("forced")?.add(forced(add(&shelf, [0, 6, 0, 0], None)))).await?;
    // An addition that was not forced is judged without the forced one beside it, and refused on its own account.
    let mixed = change("mixed")?
        .add(forced(add(&shelf, [0, 1, 0, 0], None)))
        .add(labelled(add(&shelf, [0, 1, 0, 0], None), "mine"));
    let broken =
        Refusal::GuardBroken { counter: shelf.clone(), label: Label::new("mine"), guard: 0, value: -3, min: 0 };
    equal("beside a forced one", &subject.refused(mixed).await?, &broken)?;
    let shorts: Vec<bool> = subject
        .all(&Query::entries(shelf.clone()), 7)
        .await?
        .into_iter()
        .filter_map(|found| if let Found::Entry(entry) = found { Some(entry.short) } else { None })
        .collect();
    equal("which entries are short", &shorts, &vec![false, false, true])?;
    equal("the shelf", &subject.lanes(&shelf).await?, &[4, 6, 0, 0])
}

async fn an_unsigned_lane_is_never_negative(harness: &Harness) -> Checked {
    let (subject, shelf) = with_stock(harness, 5).await?;
    for (id, is_forced) in [("taken", false), ("forced", true)] {
        let take = Add { force: is_forced, ..add(&shelf, [0, 0, -1, 0], None) };
        let negative = Refusal::LaneNegative { counter: shelf.clone(), label: Label::new("line"), lane: 2, value: -1 };
        equal(id, &subject.refused(change(id)?.add(take)).await?, &negative)?;
    }
    // Below zero on the way is nothing; only the net result counts.
    let around = change("around")?.add(add(&shelf, [0, 0, -1, 0], None)).add(add(&shelf, [0, 0, 1, 0], None));
    subject.done(around).await?;
    let signed = opening(Class { signed: [false, false, true, false], ..class("signed") }, [None; 2]);
    let below = tally("below")?;
    subject.done(change("signed")?.add(add(&below, [0, 0, -1, 0], Some(signed)))).await?;
    equal("a signed lane", &subject.lanes(&below).await?, &[0, 0, -1, 0])
}

async fn both_guards_hold(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let slots = tally("slots")?;
    // At least 0 free, and at most 3 in lane 1: a ceiling is a guard with a negative weight.
    let ceiling = Guard { weights: [0, -1, 0, 0], min: -3 };
    let opening = opening(class("slots"), [Some(AVAILABLE), Some(ceiling)]);
    subject.done(change("open")?.add(add(&slots, [10, 3, 0, 0], Some(opening)))).await?;
    let broken =
        Refusal::GuardBroken { counter: slots.clone(), label: Label::new("line"), guard: 1, value: -4, min: -3 };
    equal(
        "above the ceiling",
        &subject.refused(change("above")?.add(add(&slots, [0, 1, 0, 0], None))).await?,
        &broken,
    )?;
    let broken =
        Refusal::GuardBroken { counter: slots.clone(), label: Label::new("line"), guard: 0, value: -1, min: 0 };
    equal("too few", &subject.refused(change("few")?.add(add(&slots, [-8, 0, 0, 0], None))).await?, &broken)
}

/// Case O2.
async fn a_refusal_names_the_addition_to_blame(harness: &Harness) -> Checked {
    let (subject, shelf) = with_stock(harness, 5).await?;
    let other = tally("other")?;
    // Two lines of one basket want the same shelf: together too much, and the last one that takes is named.
    let basket = change("basket")?
        .add(labelled(add(&shelf, [0, 3, 0, 0], None), "line-0"))
        .add(labelled(add(&other, [1, 0, 0, 0], Some(stock())), "line-1"))
        .add(labelled(add(&shelf, [0, 3, 0, 0], None), "line-2"))
        .add(labelled(add(&shelf, [0, 0, 1, 0], None), "line-3"));
    let broken =
        Refusal::GuardBroken { counter: shelf.clone(), label: Label::new("line-2"), guard: 0, value: -1, min: 0 };
    equal("the blamed line", &subject.refused(basket).await?, &broken)?;
    equal("the shelf", &subject.lanes(&shelf).await?, &[5, 0, 0, 0])
}
