//! The record of a payment, and its steps: claim an operation, record its result.

use alloc::{vec, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Change, Event, Key, KeyBuilder, Kind, Term};

use super::{
    machine::{PAYMENT, PaymentEvent, PaymentState},
    rejection::Rejection,
    rules::PostingRules,
};
use crate::{
    decide::{Context, Versioned, body, documents, key},
    id::{LedgerHoldId, OrderId, PaymentId},
    ledger::{self, Authorise, Capture, Remainder},
    money::Money,
};

/// The kind of payment records.
pub const PAYMENT_KIND: Kind = Kind::reserved("payment");
const ORDER_INDEX: Kind = Kind::reserved("payment-order");

/// The record of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// The payment.
    pub id: PaymentId,
    /// The order it pays.
    pub order: OrderId,
    /// What is to be paid.
    pub amount: Money,
    /// Where it is.
    pub state: PaymentState,
    /// How many authorisations were begun.
    pub attempts: u32,
    /// How often each operation was declined.
    pub declines: Declines,
    /// What was taken.
    pub captured: Money,
    /// What went back.
    pub refunded: Money,
    /// What is on its way back.
    pub refunding: Money,
}

documents! {
    Payment => "payment", 1;
    PaymentChanged => "payment.changed", 1;
}

/// `payment.changed`: a transition of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentChanged {
    /// The payment.
    pub payment: PaymentId,
    /// The order it pays.
    pub order: OrderId,
    /// What happened.
    pub event: PaymentEvent,
    /// Where it is now.
    pub state: PaymentState,
    /// What it was about.
    pub amount: Money,
}

/// The key of a payment's record.
#[must_use]
pub fn payment_key(payment: &PaymentId) -> Key {
    key(PAYMENT_KIND, &[payment])
}

/// What the index terms of an order's payments begin with.
#[must_use]
pub fn by_order(order: &OrderId) -> KeyBuilder {
    Key::of(ORDER_INDEX).text(order).expect("an id has at most 100 bytes")
}

/// The ledger hold of a payment's running attempt.
#[must_use]
pub fn ledger_hold_of(payment: &Payment) -> LedgerHoldId {
    let id = ledger::fitted(alloc::format!("{}:{}", payment.id, payment.attempts), LedgerHoldId::LENGTH_MAX);
    LedgerHoldId::new(id).expect("an id and a number are allowed characters, and fitted")
}

/// What a gateway is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Hold the amount.
    Authorise,
    /// Take it.
    Capture,
    /// Give the hold back.
    Void,
}

/// How often each operation of a payment was declined. The operation's own count stands in the key of its calls to a gateway: what was declined is asked for
/// again under another key; what was not executed, or is not known, under the same one, so that a request that was only late cannot be done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declines {
    /// Authorisations.
    pub authorise: u32,
    /// Captures.
    pub capture: u32,
    /// Voids.
    pub void: u32,
}

impl Declines {
    /// The count of one operation.
    #[must_use]
    pub const fn of(&self, operation: Operation) -> u32 {
        match operation {
            Operation::Authorise => self.authorise,
            Operation::Capture => self.capture,
            Operation::Void => self.void,
        }
    }

    const fn of_mut(&mut self, operation: Operation) -> &mut u32 {
        match operation {
            Operation::Authorise => &mut self.authorise,
            Operation::Capture => &mut self.capture,
            Operation::Void => &mut self.void,
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperationResult {
    /// It was done, over this amount.
    Done(Money),
    /// It was declined.
    Declined,
    /// It certainly did not happen.
    NotExecuted,
    /// It is not known.
    Unknown,
}

/// Begin a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenPayment {
    /// The payment's id.
    pub payment: PaymentId,
    /// The order it pays.
    pub order: OrderId,
    /// What is to be paid, above zero: what costs nothing needs no payment.
    pub amount: Money,
}

fn terms(payment: &Payment) -> Vec<Term> {
    vec![key(ORDER_INDEX, &[&payment.order, &payment.id])]
}

/// Begins a payment.
///
/// # Errors
/// [`Rejection::PaymentExists`], [`Rejection::InvalidAmount`].
pub fn open(
    context: &Context,
    existing: Option<&Versioned<Payment>>,
    command: &OpenPayment,
) -> Result<Change, Rejection> {
    if existing.is_some() {
        return Err(Rejection::PaymentExists { payment: command.payment.clone() });
    }
    if !command.amount.is_positive() {
        return Err(Rejection::InvalidAmount { amount: command.amount });
    }
    let zero = Money::zero(command.amount.currency());
    let payment = Payment {
        id: command.payment.clone(),
        order: command.order.clone(),
        amount: command.amount,
        state: PaymentState::Created,
        attempts: 0,
        declines: Declines::default(),
        captured: zero,
        refunded: zero,
        refunding: zero,
    };
    let change = context.change().insert(payment_key(&payment.id), body(&payment), terms(&payment));
    Ok(change.answer(body(&payment)))
}

/// The state behind an event, or why it may not happen.
pub(super) fn next_state(payment: &Payment, event: PaymentEvent) -> Result<PaymentState, Rejection> {
    PAYMENT
        .next(payment.state, event)
        .map_err(|transition| Rejection::IllegalTransition { payment: payment.id.clone(), transition })
}

/// Writes a payment's next state with its event.
pub(super) fn put(
    change: Change,
    before: &Versioned<Payment>,
    after: &Payment,
    event: PaymentEvent,
    amount: Money,
) -> Change {
    let changed =
        PaymentChanged { payment: after.id.clone(), order: after.order.clone(), event, state: after.state, amount };
    let key = payment_key(&after.id);
    change
        .put(key.clone(), before.expect(), body(after), terms(after))
        .append(Event::new(body(&changed)).about(key))
        .answer(body(after))
}

/// Claims an operation, before the gateway is called: from here on nobody else begins one.
///
/// # Errors
/// [`Rejection::IllegalTransition`].
pub fn claim(context: &Context, payment: &Versioned<Payment>, operation: Operation) -> Result<Change, Rejection> {
    let event = match operation {
        Operation::Authorise => PaymentEvent::ClaimAuthorise,
        Operation::Capture => PaymentEvent::ClaimCapture,
        Operation::Void => PaymentEvent::ClaimVoid,
    };
    let mut after = Payment { state: next_state(&payment.value, event)?, ..payment.value.clone() };
    if operation == Operation::Authorise {
        after.attempts = after.attempts.saturating_add(1);
    }
    Ok(put(context.change(), payment, &after, event, payment.value.amount))
}

/// Records an operation's result, with the posting that goes with it: authorised money becomes pending, captured money posted, voided money
/// is given back.
///
/// `hold` is the ledger hold of the running attempt ([`ledger_hold_of`]), when there is one.
///
/// # Errors
/// [`Rejection::IllegalTransition`]; [`Rejection::CurrencyMismatch`] or [`Rejection::AmountMismatch`] when the gateway speaks of other money than was asked for.
pub fn record(
    context: &Context,
    payment: &Versioned<Payment>,
    hold: Option<&Versioned<ledger::Hold>>,
    rules: &PostingRules,
    operation: Operation,
    result: OperationResult,
) -> Result<Change, Rejection> {
    use OperationResult as R;
    use PaymentEvent as E;
    let event = match (operation, result) {
        (Operation::Authorise, R::Done(_)) => E::AuthoriseDone,
        (Operation::Authorise, R::Declined) => E::AuthoriseDeclined,
        (Operation::Authorise, R::NotExecuted) => E::AuthoriseNotExecuted,
        (Operation::Authorise, R::Unknown) => E::AuthoriseTimedOut,
        (Operation::Capture, R::Done(_)) => E::CaptureDone,
        (Operation::Capture, R::Declined) => E::CaptureDeclined,
        (Operation::Capture, R::NotExecuted) => E::CaptureNotExecuted,
        (Operation::Capture, R::Unknown) => E::CaptureTimedOut,
        (Operation::Void, R::Done(_)) => E::VoidDone,
        (Operation::Void, R::Declined) => E::VoidDeclined,
        (Operation::Void, R::NotExecuted) => E::VoidNotExecuted,
        (Operation::Void, R::Unknown) => E::VoidTimedOut,
    };
    let mut after = Payment { state: next_state(&payment.value, event)?, ..payment.value.clone() };
    if payment.value.state == PaymentState::Created && event == E::AuthoriseDone {
        after.attempts = after.attempts.saturating_add(1);
    }
    if result == R::Declined {
        let declines = after.declines.of_mut(operation);
        *declines = declines.saturating_add(1);
    }
    let postings = match result {
        R::Done(amount) => {
            check_amount(&payment.value, amount)?;
            Some(settle(context, &mut after, hold, rules, operation)?)
        }
        _ => None,
    };
    let change = put(context.change(), payment, &after, event, payment.value.amount);
    Ok(postings.into_iter().fold(change, Change::and))
}

fn check_amount(payment: &Payment, found: Money) -> Result<(), Rejection> {
    let expected = payment.amount;
    if expected.currency() != found.currency() {
        return Err(Rejection::CurrencyMismatch { expected: expected.currency(), found: found.currency() });
    }
    if expected != found {
        return Err(Rejection::AmountMismatch { expected, found });
    }
    Ok(())
}

/// The ledger's side of an operation that was done.
fn settle(
    context: &Context,
    payment: &mut Payment,
    hold: Option<&Versioned<ledger::Hold>>,
    rules: &PostingRules,
    operation: Operation,
) -> Result<Change, Rejection> {
    let id = ledger_hold_of(payment);
    let own = hold.filter(|hold| hold.value.id == id);
    let existing = || own.ok_or_else(|| ledger::Rejection::UnknownHold { hold: id.clone() });
    Ok(match operation {
        Operation::Authorise => {
            let hold = Authorise::new(id, rules.gateway.clone(), rules.sales.clone(), payment.amount);
            ledger::authorise(context, None, &hold.about(payment.id.as_str()))?
        }
        Operation::Capture => {
            payment.captured = payment.amount;
            let command = Capture { hold: id.clone(), amount: payment.amount, remainder: Remainder::Release };
            ledger::capture(context, existing()?, &command)?
        }
        Operation::Void => ledger::void(context, existing()?)?,
    })
}

/// Gives a payment up before anything was authorised.
///
/// # Errors
/// [`Rejection::IllegalTransition`].
pub fn cancel(context: &Context, payment: &Versioned<Payment>) -> Result<Change, Rejection> {
    let event = PaymentEvent::Cancel;
    let after = Payment { state: next_state(&payment.value, event)?, ..payment.value.clone() };
    Ok(put(context.change(), payment, &after, event, payment.value.amount))
}
