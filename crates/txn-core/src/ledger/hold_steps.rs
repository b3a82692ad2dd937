//! What happens to a hold: it is placed, increased, extended, captured, voided, and runs out.
//!
//! Expiry is exact to the instant: what is asked of a hold that has run out is refused, swept or not, and what was decided in time but would be committed too late is not
//! committed.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use txn_change::{Change, Timestamp};

use super::{
    fact::TransferKind,
    hold::{Hold, HoldExtended, HoldState, hold_key},
    rejection::Rejection,
    transfer::{check, post},
};
use crate::{
    decide::{Context, Versioned, body},
    id::{AccountId, LedgerHoldId},
    money::Money,
};

/// Promise an amount from one account to another.
///
/// ```
/// use txn_core::{id::{AccountId, LedgerHoldId}, ledger::Authorise, money::{Currency, Money}};
/// let dinner = Authorise::new(
///     LedgerHoldId::new("table-4")?,
///     AccountId::new("wallets:ann")?,
///     AccountId::new("restaurants:7")?,
///     Money::parse("80.00", Currency::USD)?,
/// )
/// .tolerance(Money::parse("16.00", Currency::USD)?)
/// .about("table-4");
/// assert_eq!(dinner.expires_at, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorise {
    /// The hold's id.
    pub hold: LedgerHoldId,
    /// The account that will be debited.
    pub debit: AccountId,
    /// The account that will be credited.
    pub credit: AccountId,
    /// How much, above zero.
    pub amount: Money,
    /// How much above the amount may be captured in all. It is not held: capturing it asks what is available then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Money>,
    /// From when on it holds no longer; without, it holds until it is captured or voided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
}

impl Authorise {
    /// A hold of exactly an amount, for as long as nothing is said.
    #[must_use]
    pub const fn new(hold: LedgerHoldId, debit: AccountId, credit: AccountId, amount: Money) -> Self {
        Self { hold, debit, credit, amount, tolerance: None, expires_at: None, reference: String::new() }
    }

    /// Says how much above the amount may be captured in all.
    #[must_use]
    pub fn tolerance(self, tolerance: Money) -> Self {
        Self { tolerance: Some(tolerance), ..self }
    }

    /// Says from when on it holds no longer.
    #[must_use]
    pub fn until(self, expires_at: Timestamp) -> Self {
        Self { expires_at: Some(expires_at), ..self }
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(self, reference: impl Into<String>) -> Self {
        Self { reference: reference.into(), ..self }
    }
}

/// Promises an amount from one account to another, until it expires. Pending debits count against what is available; pending credits cannot be spent.
///
/// # Errors
/// [`Rejection::HoldExists`], [`Rejection::InvalidAmount`], [`Rejection::CurrencyMismatch`] for a tolerance in another currency, [`Rejection::SameAccount`],
/// [`Rejection::Overflow`], [`Rejection::HoldExpired`] when it would have expired already.
pub fn authorise(
    context: &Context,
    existing: Option<&Versioned<Hold>>,
    command: &Authorise,
) -> Result<Change, Rejection> {
    if existing.is_some() {
        return Err(Rejection::HoldExists { hold: command.hold.clone() });
    }
    let mut hold = Hold {
        id: command.hold.clone(),
        debit: command.debit.clone(),
        credit: command.credit.clone(),
        amount: command.amount,
        tolerance: command.tolerance,
        captured: Money::zero(command.amount.currency()),
        state: HoldState::Pending,
        expires_at: command.expires_at,
        transfers: 0,
        extensions: 0,
        reference: command.reference.clone(),
    };
    check_amount(&hold, hold.amount)?;
    if let Some(tolerance) = hold.tolerance {
        check_amount(&hold, tolerance)?;
    }
    hold.capturable()?;
    check(&hold.postings(hold.amount))?;
    hold.check_pending(context.now, "authorise")?;
    let mut record = hold.transferred(TransferKind::Held);
    record.pended = hold.postings(hold.amount);
    let change = hold.in_time(context.change()).insert(hold_key(&hold.id), body(&hold), hold.terms());
    Ok(post(context, change, &record).answer(body(&hold)))
}

fn check_amount(hold: &Hold, amount: Money) -> Result<(), Rejection> {
    let (expected, found) = (hold.amount.currency(), amount.currency());
    if expected != found {
        return Err(Rejection::CurrencyMismatch { expected, found });
    }
    if !amount.is_positive() {
        return Err(Rejection::InvalidAmount { amount });
    }
    Ok(())
}

/// That a command is for this hold, that it holds, and that the amount is one.
fn check_step(
    context: &Context,
    hold: &Hold,
    named: &LedgerHoldId,
    amount: Money,
    event: &'static str,
) -> Result<(), Rejection> {
    if *named != hold.id {
        return Err(Rejection::UnknownHold { hold: named.clone() });
    }
    hold.check_pending(context.now, event)?;
    check_amount(hold, amount)
}

/// The change that takes a hold to another state of itself.
fn put(context: &Context, hold: &Versioned<Hold>, after: &Hold) -> Change {
    context.change().put(hold_key(&after.id), hold.expect(), body(after), after.terms()).answer(body(after))
}

/// Hold more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Increment {
    /// The hold.
    pub hold: LedgerHoldId,
    /// How much more, above zero.
    pub amount: Money,
}

/// Holds more, under the same limits as the first amount.
///
/// # Errors
/// [`Rejection::UnknownHold`] when the command names another hold, [`Rejection::HoldExpired`], [`Rejection::IllegalTransition`], [`Rejection::CurrencyMismatch`],
/// [`Rejection::InvalidAmount`], [`Rejection::Overflow`].
pub fn increment(context: &Context, hold: &Versioned<Hold>, command: &Increment) -> Result<Change, Rejection> {
    check_step(context, &hold.value, &command.hold, command.amount, "increment")?;
    let mut after = hold.value.clone();
    after.amount = after.amount.try_add(command.amount).map_err(|_| Rejection::Overflow)?;
    after.capturable()?;
    let mut record = after.transferred(TransferKind::Held);
    record.pended = after.postings(command.amount);
    Ok(post(context, after.in_time(put(context, hold, &after)), &record))
}

/// Let a hold run out later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendHold {
    /// The hold.
    pub hold: LedgerHoldId,
    /// When it runs out from now on.
    pub expires_at: Timestamp,
}

/// Lets a hold run out later. It moves no money.
///
/// # Errors
/// [`Rejection::UnknownHold`] when the command names another hold, [`Rejection::HoldExpired`], [`Rejection::IllegalTransition`], [`Rejection::NotLater`] for a time that
/// is not later than the one it has, or for a hold that has none.
pub fn extend(context: &Context, hold: &Versioned<Hold>, command: &ExtendHold) -> Result<Change, Rejection> {
    if command.hold != hold.value.id {
        return Err(Rejection::UnknownHold { hold: command.hold.clone() });
    }
    hold.value.check_pending(context.now, "extend")?;
    let asked = command.expires_at;
    let not_later = |at| Rejection::NotLater { hold: hold.value.id.clone(), at, asked };
    let from = hold.value.expires_at.ok_or_else(|| not_later(None))?;
    if asked <= from {
        return Err(not_later(Some(from)));
    }
    let extensions = hold.value.extensions.saturating_add(1);
    let after = Hold { expires_at: Some(asked), extensions, ..hold.value.clone() };
    let extended = HoldExtended { hold: after.id.clone(), from, expires_at: asked };
    Ok(hold.value.in_time(put(context, hold, &after)).append(extended.event()))
}

/// What becomes of the part of a hold that a capture leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remainder {
    /// It stays promised, for a later capture.
    Keep,
    /// It is given back: this capture was the last.
    Release,
}

/// Take what was promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The hold.
    pub hold: LedgerHoldId,
    /// How much, above zero and at most what is left with the tolerance.
    pub amount: Money,
    /// What becomes of the rest. A capture that leaves nothing is the last in any case.
    pub remainder: Remainder,
}

/// Moves an amount from pending to posted, and, with [`Remainder::Release`], exactly the rest back. What it takes above what is left is within the tolerance, and was not held:
/// it must be available.
///
/// # Errors
/// [`Rejection::UnknownHold`] when the command names another hold, [`Rejection::HoldExpired`] from the instant of expiry on,
/// [`Rejection::IllegalTransition`], [`Rejection::CurrencyMismatch`], [`Rejection::InvalidAmount`], [`Rejection::ExceedsHold`].
pub fn capture(context: &Context, hold: &Versioned<Hold>, command: &Capture) -> Result<Change, Rejection> {
    let amount = command.amount;
    check_step(context, &hold.value, &command.hold, amount, "capture")?;
    let (left, capturable) = (hold.value.left()?, hold.value.capturable()?);
    if amount.minor() > capturable.minor() {
        return Err(Rejection::ExceedsHold { hold: hold.value.id.clone(), left: capturable, asked: amount });
    }
    let is_last = amount.minor() >= left.minor() || command.remainder == Remainder::Release;
    let mut after = hold.value.clone();
    after.captured = after.captured.try_add(amount).map_err(|_| Rejection::Overflow)?;
    if is_last {
        after.state = HoldState::Captured;
    }
    let mut record = after.transferred(TransferKind::Captured);
    record.posted = after.postings(amount);
    record.unpended = after.postings(if is_last { left } else { amount });
    Ok(post(context, after.in_time(put(context, hold, &after)), &record))
}

/// Gives back all that is left. It passes on a frozen account, too.
///
/// # Errors
/// [`Rejection::HoldExpired`], [`Rejection::IllegalTransition`] when it was captured or voided.
pub fn void(context: &Context, hold: &Versioned<Hold>) -> Result<Change, Rejection> {
    hold.value.check_pending(context.now, "void")?;
    Ok(hold.value.in_time(give_back(context, hold, HoldState::Voided, TransferKind::Voided)?))
}

/// Marks a hold that has run out and gives back all that is left, on a frozen account, too. A second sweep changes nothing.
///
/// # Errors
/// [`Rejection::NotDue`] while it holds.
pub fn expire(context: &Context, hold: &Versioned<Hold>) -> Result<Change, Rejection> {
    if hold.value.is_due(context.now) {
        return give_back(context, hold, HoldState::Expired, TransferKind::Expired);
    }
    if hold.value.state == HoldState::Pending {
        return Err(Rejection::NotDue { hold: hold.value.id.clone() });
    }
    Ok(context.change().answer(body(&hold.value)))
}

/// Gives back all that is left. Nothing stands against that, so it passes a freeze.
fn give_back(
    context: &Context,
    hold: &Versioned<Hold>,
    state: HoldState,
    kind: TransferKind,
) -> Result<Change, Rejection> {
    let left = hold.value.left()?;
    let mut after = Hold { state, ..hold.value.clone() };
    let mut record = after.transferred(kind);
    record.unpended = after.postings(left);
    let mut change = post(context, put(context, hold, &after), &record);
    change.add.iter_mut().for_each(|add| add.force = true);
    Ok(change)
}

/// Adds the expiry of holds that have run out to a change that they stand in the way of. Those that have not, or no longer, are passed over.
///
/// Their release counts now, whatever day the change is for. On the accounts that the change moves itself it is not forced, so that what is given back is there to be spent;
/// were one of them frozen, the change would not pass anyway.
///
/// # Errors
/// [`Rejection::Overflow`], for a damaged record only.
pub fn sweep<'a>(
    context: &Context,
    change: Change,
    holds: impl IntoIterator<Item = &'a Versioned<Hold>>,
) -> Result<Change, Rejection> {
    let now = Context { effective_at: None, ..context.clone() };
    let own: alloc::vec::Vec<_> = change.add.iter().map(|add| add.counter.clone()).collect();
    let mut swept = change;
    for hold in holds {
        let is_put = swept.put.iter().any(|put| put.key == hold_key(&hold.value.id));
        if hold.value.is_due(context.now) && !is_put {
            let mut expired = expire(&now, hold)?;
            expired.add.iter_mut().for_each(|add| add.force = !own.contains(&add.counter));
            swept = swept.and(expired);
        }
    }
    Ok(swept)
}
