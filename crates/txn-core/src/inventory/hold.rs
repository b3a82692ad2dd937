//! Holds: a promise of stock to a basket, until it expires, is released or ships.

use alloc::{collections::BTreeMap, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Body, Change, Key, KeyBuilder, Kind, Lanes, Term, Timestamp};

use super::{
    item::{Demand, Item, hold_key},
    movement::{Cause, MovedLine, moved},
    rejection::Rejection,
};
use crate::{
    decide::{Context, Versioned, body, documents, is_zero, key, term},
    id::{HoldId, OrderId},
    quantity::Quantity,
};

/// Where a hold is in its life. It ends in exactly one of `Shipped`, `Released` and `Expired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HoldState {
    /// Promised, until it expires.
    Held,
    /// Promised for good: it no longer expires.
    Committed,
    /// All of it left the building, or what did not was released.
    Shipped,
    /// Given back.
    Released,
    /// Run out.
    Expired,
}

impl HoldState {
    /// Whether the hold still reserves stock.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Held | Self::Committed)
    }
}

/// What a hold promises of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldLine {
    /// The item.
    pub item: Item,
    /// What was promised.
    pub held: u64,
    /// Of it, what has shipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shipped: u64,
    /// Of it, what was given back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub released: u64,
}

impl HoldLine {
    /// What is still promised.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.held.saturating_sub(self.shipped).saturating_sub(self.released)
    }
}

/// The record of a hold. Its lines stand in the order of their items, each item once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The hold.
    pub id: HoldId,
    /// The order it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// Where it is in its life.
    pub state: HoldState,
    /// It holds until just before this instant; from it on, it has expired, swept or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it promises.
    pub lines: Vec<HoldLine>,
}

/// What a step of a hold answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldAnswer {
    /// The hold.
    pub hold: HoldId,
    /// Where it is after the step.
    pub state: HoldState,
    /// When it runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

documents! {
    Hold => "hold", 1;
    HoldAnswer => "hold.answer", 1;
}

fn answer(hold: &Hold) -> Body {
    body(&HoldAnswer { hold: hold.id.clone(), state: hold.state, expires_at: hold.expires_at })
}

const DUE_INDEX: Kind = Kind::reserved("hold-due");
const ORDER_INDEX: Kind = Kind::reserved("hold-order");

/// What the index terms of an item's expiring holds begin with; they go on with the time of expiry.
#[must_use]
pub fn due_prefix(item: &Item) -> KeyBuilder {
    let part = "an id has at most 100 bytes and the term two of them";
    Key::of(DUE_INDEX).text(&item.sku).expect(part).text(&item.location).expect(part)
}

/// What the index terms of an order's holds begin with.
#[must_use]
pub fn by_order(order: &OrderId) -> KeyBuilder {
    Key::of(ORDER_INDEX).text(order).expect("an id has at most 100 bytes")
}

impl Hold {
    /// The index terms of the record: by order, and, while it can expire, by item and time of expiry.
    #[must_use]
    pub fn terms(&self) -> Vec<Term> {
        let mut terms: Vec<Term> = self.order.iter().map(|order| key(ORDER_INDEX, &[order])).collect();
        if let (HoldState::Held, Some(at)) = (self.state, self.expires_at) {
            terms.extend(
                self.lines.iter().map(|line| term(DUE_INDEX, &[&line.item.sku, &line.item.location], Some(at))),
            );
        }
        terms
    }

    /// Whether it has run out, swept or not.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == HoldState::Held && self.expires_at.is_some_and(|at| now >= at)
    }

    /// Every item with what is left of it.
    pub fn remaining(&self) -> impl Iterator<Item = (&Item, u64)> {
        self.lines.iter().filter(|line| line.left() > 0).map(|line| (&line.item, line.left()))
    }

    fn illegal(&self, event: &'static str) -> Rejection {
        Rejection::IllegalTransition { hold: self.id.clone(), state: self.state, event }
    }

    fn check_not_due(&self, now: Timestamp) -> Result<(), Rejection> {
        match self.expires_at {
            Some(at) if self.is_due(now) || self.state == HoldState::Expired => {
                Err(Rejection::HoldExpired { hold: self.id.clone(), at })
            }
            _ => Ok(()),
        }
    }
}

/// Promise a basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// The hold to make.
    pub hold: HoldId,
    /// The order it is for.
    pub order: Option<OrderId>,
    /// The basket. Items may repeat; their demand is summed first.
    pub lines: Vec<Demand>,
    /// When it runs out; `None` for a hold that does not.
    pub expires_at: Option<Timestamp>,
}

/// Holds a whole basket, or nothing of it. The guard of each item is judged when the change is committed; [`super::explain`] puts its refusal in words.
///
/// # Errors
/// [`Rejection::EmptyBasket`], [`Rejection::HoldExists`], [`Rejection::NotAnExtension`] when it would have expired already.
pub fn reserve(context: &Context, existing: Option<&Versioned<Hold>>, command: &Reserve) -> Result<Change, Rejection> {
    if existing.is_some() {
        return Err(Rejection::HoldExists { hold: command.hold.clone() });
    }
    if command.lines.is_empty() {
        return Err(Rejection::EmptyBasket);
    }
    if let Some(to) = command.expires_at.filter(|at| *at <= context.now) {
        return Err(Rejection::NotAnExtension { hold: command.hold.clone(), to });
    }
    let mut demand: BTreeMap<&Item, (usize, u64)> = BTreeMap::new();
    for (index, line) in command.lines.iter().enumerate() {
        let (_, sum) = demand.entry(&line.item).or_insert((index, 0));
        let overflow = || Rejection::Overflow { item: line.item.clone() };
        *sum = sum.checked_add(line.quantity.get()).ok_or_else(overflow)?;
    }
    let hold = Hold {
        id: command.hold.clone(),
        order: command.order.clone(),
        state: HoldState::Held,
        expires_at: command.expires_at,
        lines: demand
            .iter()
            .map(|(item, (_, held))| HoldLine { item: (*item).clone(), held: *held, shipped: 0, released: 0 })
            .collect(),
    };
    let lines = demand
        .iter()
        .map(|(item, (_, held))| MovedLine { item: (*item).clone(), delta: Lanes([0, i128::from(*held), 0, 0]) });
    let change = moved(context, context.change(), "reserved", Cause::Hold(hold.id.clone()), lines.collect());
    let mut change = change.insert(hold_key(&hold.id), body(&hold), hold.terms());
    for (add, (index, _)) in change.add.iter_mut().zip(demand.values()) {
        add.label = txn_change::Label::indexed("line", *index);
    }
    Ok(change.answer(answer(&hold)))
}

/// Writes a hold's next state with the movement that goes with it.
fn next(context: &Context, before: &Versioned<Hold>, after: &Hold, movement: &str, lines: Vec<MovedLine>) -> Change {
    let change = context.change().put(hold_key(&after.id), before.expect(), body(after), after.terms());
    let change =
        if lines.is_empty() { change } else { moved(context, change, movement, Cause::Hold(after.id.clone()), lines) };
    change.answer(answer(after))
}

/// Makes the promise one that no longer expires. Committing a committed hold changes nothing.
///
/// # Errors
/// [`Rejection::HoldExpired`] from the instant of expiry on, [`Rejection::IllegalTransition`] when it has ended.
pub fn commit(context: &Context, hold: &Versioned<Hold>) -> Result<Change, Rejection> {
    hold.value.check_not_due(context.now)?;
    match hold.value.state {
        HoldState::Held => {
            let after = Hold { state: HoldState::Committed, expires_at: None, ..hold.value.clone() };
            Ok(next(context, hold, &after, "committed", Vec::new()))
        }
        HoldState::Committed => Ok(context.change().answer(answer(&hold.value))),
        _ => Err(hold.value.illegal("commit")),
    }
}

/// Move a hold's expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// The hold.
    pub hold: HoldId,
    /// The new, later, time.
    pub expires_at: Timestamp,
}

/// Moves a hold's expiry to a later time.
///
/// # Errors
/// [`Rejection::UnknownHold`] when the command names another hold, [`Rejection::HoldExpired`] once it has run out, [`Rejection::NotAnExtension`] for a time that is not later, [`Rejection::IllegalTransition`] when
/// it does not expire.
pub fn extend(context: &Context, hold: &Versioned<Hold>, command: &Extend) -> Result<Change, Rejection> {
    if command.hold != hold.value.id {
        return Err(Rejection::UnknownHold { hold: command.hold.clone() });
    }
    hold.value.check_not_due(context.now)?;
    let (HoldState::Held, Some(at)) = (hold.value.state, hold.value.expires_at) else {
        return Err(hold.value.illegal("extend"));
    };
    if command.expires_at <= at {
        return Err(Rejection::NotAnExtension { hold: hold.value.id.clone(), to: command.expires_at });
    }
    let after = Hold { expires_at: Some(command.expires_at), ..hold.value.clone() };
    Ok(next(context, hold, &after, "extended", Vec::new()))
}

fn give_back(context: &Context, hold: &Versioned<Hold>, state: HoldState, movement: &str) -> Change {
    let moved = hold.value.lines.iter().filter(|line| line.left() > 0).map(|line| MovedLine {
        item: line.item.clone(),
        delta: Lanes([0, i128::from(line.left()).saturating_neg(), 0, 0]),
    });
    let moved: Vec<_> = moved.collect();
    let mut after = Hold { state, ..hold.value.clone() };
    for line in &mut after.lines {
        line.released = line.released.saturating_add(line.left());
    }
    next(context, hold, &after, movement, moved)
}

/// Ends a live hold: as expired when it has run out, swept or not, and as released otherwise.
fn end(context: &Context, hold: &Versioned<Hold>) -> Change {
    if hold.value.is_due(context.now) {
        give_back(context, hold, HoldState::Expired, "expired")
    } else {
        give_back(context, hold, HoldState::Released, "released")
    }
}

/// Marks a hold that has run out, and gives its stock back. A second sweep of the same hold changes nothing.
///
/// # Errors
/// [`Rejection::NotDue`] while it holds.
pub fn expire(context: &Context, hold: &Versioned<Hold>) -> Result<Change, Rejection> {
    if hold.value.is_due(context.now) {
        return Ok(give_back(context, hold, HoldState::Expired, "expired"));
    }
    if hold.value.state == HoldState::Held {
        return Err(Rejection::NotDue { hold: hold.value.id.clone() });
    }
    Ok(context.change().answer(answer(&hold.value)))
}

/// Gives back what a basket no longer wants. Only a hold that is not committed gives way; releasing twice, or after the commit, changes nothing.
#[must_use]
pub fn release(context: &Context, hold: &Versioned<Hold>) -> Change {
    match hold.value.state {
        HoldState::Held => end(context, hold),
        _ => context.change().answer(answer(&hold.value)),
    }
}

/// Gives back what a cancelled order had been promised, committed or not; a hold that had run out ends as expired. Cancelling an ended hold changes
/// nothing.
#[must_use]
pub fn cancel(context: &Context, hold: &Versioned<Hold>) -> Change {
    if hold.value.state.is_live() { end(context, hold) } else { context.change().answer(answer(&hold.value)) }
}

/// Takes goods out of the building against a hold: on hand and reserved go down together, so nobody else's promise is touched.
///
/// # Errors
/// [`Rejection::HoldExpired`], [`Rejection::IllegalTransition`], [`Rejection::ExceedsHold`] when an item is not held, or not so much of it.
pub fn ship(context: &Context, hold: &Versioned<Hold>, goods: &[(Item, Quantity)]) -> Result<Change, Rejection> {
    hold.value.check_not_due(context.now)?;
    if !hold.value.state.is_live() {
        return Err(hold.value.illegal("ship"));
    }
    if goods.is_empty() {
        return Err(Rejection::EmptyBasket);
    }
    let mut after = hold.value.clone();
    let mut lines: BTreeMap<&Item, i128> = BTreeMap::new();
    for (item, quantity) in goods {
        let exceeds = |left| Rejection::ExceedsHold {
            hold: hold.value.id.clone(),
            item: item.clone(),
            left,
            asked: quantity.get(),
        };
        let place = after.lines.binary_search_by(|line| line.item.cmp(item)).map_err(|_| exceeds(0))?;
        let line = after.lines.get_mut(place).ok_or_else(|| exceeds(0))?;
        if quantity.get() > line.left() {
            return Err(exceeds(line.left()));
        }
        line.shipped = line.shipped.saturating_add(quantity.get());
        let sum = lines.entry(item).or_default();
        *sum = sum.saturating_add(i128::from(quantity.get()));
    }
    if after.lines.iter().all(|line| line.left() == 0) {
        after.state = HoldState::Shipped;
    }
    let lines = lines.into_iter().map(|(item, quantity)| MovedLine {
        item: item.clone(),
        delta: Lanes([quantity.saturating_neg(), quantity.saturating_neg(), 0, 0]),
    });
    Ok(next(context, hold, &after, "shipped", lines.collect()))
}
