//! Refunds: money on its way back, and back.

use alloc::{format, vec};

use serde::{Deserialize, Serialize};
use txn_change::{Change, Key, Kind};

use super::{
    machine::PaymentEvent,
    rejection::Rejection,
    rules::PostingRules,
    steps::{Payment, next_state, put},
};
use crate::{
    decide::{Context, Versioned, body, documents, key},
    id::{PaymentId, RefundId, TransferId},
    ledger::{self, Transfer},
    money::Money,
};

/// The kind of refund records.
pub const REFUND_KIND: Kind = Kind::reserved("refund");

/// Where a refund is. While it is pending its amount is held: no other refund can use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefundState {
    /// Asked for; whether the gateway has done it is not recorded, or not known, yet.
    Pending,
    /// The money is back.
    Done,
    /// It failed, and its amount can be refunded again.
    Failed,
}

/// The record of a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// The refund.
    pub id: RefundId,
    /// The payment it goes back on.
    pub payment: PaymentId,
    /// How much.
    pub amount: Money,
    /// Where it is.
    pub state: RefundState,
}

documents! {
    Refund => "refund", 1;
}

/// The key of a refund's record.
#[must_use]
pub fn refund_key(refund: &RefundId) -> Key {
    key(REFUND_KIND, &[refund])
}

/// What became of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefundResult {
    /// The money is back.
    Done,
    /// It certainly is not.
    Failed,
}

fn refundable(payment: &Payment) -> Result<Money, Rejection> {
    let overflow = |_| Rejection::Ledger(ledger::Rejection::Overflow);
    payment.captured.try_sub(payment.refunded).and_then(|m| m.try_sub(payment.refunding)).map_err(overflow)
}

fn check(
    payment: &Payment,
    existing: Option<&Versioned<Refund>>,
    refund: &RefundId,
    amount: Money,
) -> Result<(), Rejection> {
    if existing.is_some() {
        return Err(Rejection::RefundExists { refund: refund.clone() });
    }
    if payment.amount.currency() != amount.currency() {
        return Err(Rejection::CurrencyMismatch { expected: payment.amount.currency(), found: amount.currency() });
    }
    if !amount.is_positive() {
        return Err(Rejection::InvalidAmount { amount });
    }
    next_state(payment, PaymentEvent::Refund)?;
    let refundable = refundable(payment)?;
    if amount.minor() > refundable.minor() {
        return Err(Rejection::RefundExceedsCaptured { refundable, asked: amount });
    }
    Ok(())
}

fn sum(a: Money, b: Money) -> Result<Money, Rejection> {
    a.try_add(b).map_err(|_| Rejection::Ledger(ledger::Rejection::Overflow))
}

fn less(a: Money, b: Money) -> Result<Money, Rejection> {
    a.try_sub(b).map_err(|_| Rejection::Ledger(ledger::Rejection::Overflow))
}

/// Asks for money to go back; its amount is held until the refund has ended.
///
/// # Errors
/// [`Rejection::RefundExists`], [`Rejection::CurrencyMismatch`], [`Rejection::InvalidAmount`], [`Rejection::IllegalTransition`] when nothing was
/// captured, [`Rejection::RefundExceedsCaptured`].
pub fn request_refund(
    context: &Context,
    payment: &Versioned<Payment>,
    existing: Option<&Versioned<Refund>>,
    refund: &RefundId,
    amount: Money,
) -> Result<Change, Rejection> {
    check(&payment.value, existing, refund, amount)?;
    let after = Payment { refunding: sum(payment.value.refunding, amount)?, ..payment.value.clone() };
    let record = Refund { id: refund.clone(), payment: after.id.clone(), amount, state: RefundState::Pending };
    let change = put(context.change(), payment, &after, PaymentEvent::Refund, amount);
    Ok(change.insert(refund_key(refund), body(&record), vec![]).answer(body(&record)))
}

/// Records how a refund ended: done posts it, failed frees its amount.
///
/// # Errors
/// [`Rejection::UnknownRefund`] when it is another payment's, [`Rejection::RefundEnded`].
pub fn settle_refund(
    context: &Context,
    payment: &Versioned<Payment>,
    refund: &Versioned<Refund>,
    rules: &PostingRules,
    result: RefundResult,
) -> Result<Change, Rejection> {
    let amount = refund.value.amount;
    if refund.value.payment != payment.value.id {
        return Err(Rejection::UnknownRefund { refund: refund.value.id.clone() });
    }
    if refund.value.state != RefundState::Pending {
        return Err(Rejection::RefundEnded { refund: refund.value.id.clone() });
    }
    let mut after = Payment { refunding: less(payment.value.refunding, amount)?, ..payment.value.clone() };
    let state = match result {
        RefundResult::Done => RefundState::Done,
        RefundResult::Failed => RefundState::Failed,
    };
    if state == RefundState::Done {
        after.refunded = sum(after.refunded, amount)?;
    }
    let record = Refund { state, ..refund.value.clone() };
    let change = put(context.change(), payment, &after, PaymentEvent::Refund, amount);
    let change = change.put(refund_key(&record.id), refund.expect(), body(&record), vec![]).answer(body(&record));
    match state {
        RefundState::Done => Ok(change.and(posting(context, &after, &record, rules)?)),
        _ => Ok(change),
    }
}

/// Records a refund that has already been done.
///
/// # Errors
/// As [`request_refund`].
pub fn record_refund(
    context: &Context,
    payment: &Versioned<Payment>,
    existing: Option<&Versioned<Refund>>,
    rules: &PostingRules,
    refund: &RefundId,
    amount: Money,
) -> Result<Change, Rejection> {
    check(&payment.value, existing, refund, amount)?;
    let after = Payment { refunded: sum(payment.value.refunded, amount)?, ..payment.value.clone() };
    let record = Refund { id: refund.clone(), payment: after.id.clone(), amount, state: RefundState::Done };
    let change = put(context.change(), payment, &after, PaymentEvent::Refund, amount);
    let change = change.insert(refund_key(refund), body(&record), vec![]).answer(body(&record));
    Ok(change.and(posting(context, &after, &record, rules)?))
}

/// The id of a refund's transfer. Prefixed, as the transfers of holds are: a refund must not take the id of another payment's capture.
#[must_use]
pub fn refund_transfer(refund: &RefundId) -> TransferId {
    let id = ledger::fitted(format!("refund:{refund}"), TransferId::LENGTH_MAX);
    TransferId::new(id).expect("a word and an id are allowed characters, and fitted")
}

fn posting(context: &Context, payment: &Payment, refund: &Refund, rules: &PostingRules) -> Result<Change, Rejection> {
    let id = refund_transfer(&refund.id);
    let transfer =
        Transfer::simple(id, rules.refunds.clone(), rules.gateway.clone(), refund.amount).about(payment.id.as_str());
    Ok(ledger::transfer(context, &transfer)?)
}
