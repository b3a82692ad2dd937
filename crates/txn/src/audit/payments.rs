//! Payments: each is the fold of its events, what the ledger holds and posts for it, and its refunds.

use std::collections::HashMap;

use txn_change::{Key, Term};
use txn_core::{
    id::{OrderId, PaymentId},
    ledger::{HoldState, Side, TransferKind, Transferred},
    money::Money,
    payment::{
        PAYMENT, Payment, PaymentChanged, PaymentEvent, PaymentState, Refund, RefundState, by_order, ledger_hold_of,
        refund_transfer,
    },
};

use super::{
    ledger::Ledger,
    orders::Orders,
    report::{Findings, Rule},
};

/// The payments of one tenant.
#[derive(Default)]
pub(super) struct Payments(HashMap<PaymentId, Fold>);

/// What the events and refunds of a payment come to.
#[derive(Default)]
struct Fold {
    state: Option<PaymentState>,
    steps: u64,
    attempts: u32,
    order: Option<OrderId>,
    refunds: Vec<Refund>,
    record: Option<Payment>,
}

impl Fold {
    fn state(&self) -> PaymentState {
        self.state.unwrap_or(PaymentState::Created)
    }
}

impl Payments {
    pub(super) fn changed(&mut self, findings: &mut Findings<'_>, event: PaymentChanged) {
        let fold = self.0.entry(event.payment.clone()).or_default();
        let subject = format_args!("payment {}", event.payment);
        let from = fold.state();
        if PAYMENT.next(from, event.event) != Ok(event.state) {
            let found = format_args!("{:?} by {:?}", event.state, event.event);
            findings.add(Rule::PaymentPath, subject, format_args!("a step from {from:?}"), found);
        }
        let begins = event.event == PaymentEvent::ClaimAuthorise
            || (from == PaymentState::Created && event.event == PaymentEvent::AuthoriseDone);
        fold.attempts = fold.attempts.saturating_add(u32::from(begins));
        fold.steps = fold.steps.saturating_add(1);
        fold.state = Some(event.state);
        if let Some(order) = fold.order.replace(event.order) {
            let order = order.as_str();
            findings.same(Rule::PaymentPath, subject, "order", order, fold.order.as_deref().unwrap_or_default());
        }
    }

    pub(super) fn record(&mut self, findings: &mut Findings<'_>, key: &Key, version: u64, payment: Payment) {
        let fold = self.0.entry(payment.id.clone()).or_default();
        findings.same(Rule::VersionCounts, key, "version", fold.steps.saturating_add(1), version);
        let rule = Rule::PaymentIsItsEvents;
        findings.same_name(rule, key, "state", fold.state(), payment.state);
        findings.same(rule, key, "attempts", fold.attempts, payment.attempts);
        if let Some(order) = &fold.order {
            findings.same(rule, key, "order", order, &payment.order);
        }
        let [amount, captured, refunded, refunding] =
            [payment.amount, payment.captured, payment.refunded, payment.refunding].map(Money::minor);
        let same_currency = [payment.captured, payment.refunded, payment.refunding]
            .iter()
            .all(|money| money.currency() == payment.amount.currency());
        let sound = amount > 0
            && (0..=amount).contains(&captured)
            && (0..=captured).contains(&refunded)
            && (0..=captured.saturating_sub(refunded)).contains(&refunding);
        if !sound || !same_currency {
            let found = format_args!(
                "captured {}, refunded {}, refunding {}",
                payment.captured, payment.refunded, payment.refunding
            );
            findings.add(Rule::PaymentSound, key, format_args!("amounts within {}", payment.amount), found);
        }
        fold.record = Some(payment);
    }

    pub(super) fn refund(&mut self, refund: Refund) {
        self.0.entry(refund.payment.clone()).or_default().refunds.push(refund);
    }

    /// Where a payment is: by its record once that is read, by its events before.
    pub(super) fn state(&self, id: &PaymentId) -> Option<PaymentState> {
        self.0.get(id)?.record.as_ref().map(|payment| payment.state)
    }

    /// Where the events so far left a payment.
    pub(super) fn state_so_far(&self, id: &PaymentId) -> PaymentState {
        self.0.get(id).map_or(PaymentState::Created, Fold::state)
    }

    pub(super) fn close(&self, findings: &mut Findings<'_>, orders: &Orders, ledger: &mut Ledger) {
        for (id, fold) in &self.0 {
            let subject = format_args!("payment {id}");
            let Some(payment) = &fold.record else {
                findings.add(
                    Rule::PaymentIsItsEvents,
                    subject,
                    "the record of a payment that has events or refunds",
                    "none",
                );
                continue;
            };
            match orders.paid_by(&payment.order) {
                Some((Some(own), total)) if own == id && total == payment.amount => {}
                other => {
                    let expected = format_args!("order {} to be paid by it over {}", payment.order, payment.amount);
                    let found =
                        other.map_or_else(|| "no such order".into(), |(own, total)| format!("{own:?} over {total}"));
                    findings.add(Rule::OrderPayment, subject, expected, found);
                }
            }
            posted(findings, ledger, payment);
            refunds(findings, ledger, payment, &fold.refunds);
        }
    }
}

/// The index terms that a payment should have.
pub(super) fn terms(payment: &Payment) -> Vec<Term> {
    by_order(&payment.order).text(&payment.id).map(|term| term.build()).into_iter().collect()
}

/// The ledger hold of a payment against its state.
fn posted(findings: &mut Findings<'_>, ledger: &Ledger, payment: &Payment) {
    use PaymentState as S;
    let id = ledger_hold_of(payment);
    let expected = match payment.state {
        S::Created | S::Authorising | S::AuthoriseUnknown | S::Cancelled => None,
        S::Authorised | S::Capturing | S::CaptureUnknown | S::Voiding | S::VoidUnknown => Some(HoldState::Pending),
        S::Captured => Some(HoldState::Captured),
        S::Voided => Some(HoldState::Voided),
    };
    let expected = expected.map(|state| (state, payment.amount, payment.captured, payment.id.as_str()));
    let found = ledger.get_hold(&id).map(|hold| (hold.state, hold.amount, hold.captured, hold.reference.as_str()));
    if expected != found {
        let show = |hold: Option<(HoldState, Money, Money, &str)>| match hold {
            None => "none".into(),
            Some((state, amount, captured, about)) => {
                format!("{state:?} over {amount}, {captured} captured, about {about:?}")
            }
        };
        let subject = format_args!("payment {} in {:?}, ledger hold {id}", payment.id, payment.state);
        findings.add(Rule::PaymentPosted, subject, show(expected), show(found));
    }
}

fn refunds(findings: &mut Findings<'_>, ledger: &mut Ledger, payment: &Payment, refunds: &[Refund]) {
    let (mut done, mut pending) = (Some(0i128), Some(0i128));
    for refund in refunds {
        let amount = refund.amount.minor();
        let posted = ledger.take_transfer(&refund_transfer(&refund.id));
        match refund.state {
            RefundState::Done => done = done.and_then(|sum| sum.checked_add(amount)),
            RefundState::Pending => pending = pending.and_then(|sum| sum.checked_add(amount)),
            _ => {}
        }
        let subject = format_args!("refund {}", refund.id);
        match posted {
            Some(fact) if refund.state != RefundState::Done || !is_refund(&fact, refund) => {
                let expected = format_args!("{:?} over {} of {}", refund.state, refund.amount, refund.payment);
                let found = format_args!("{:?} of {:?} about {}", fact.kind, fact.posted, fact.reference);
                findings.add(Rule::RefundPosted, subject, expected, found);
            }
            None if refund.state == RefundState::Done => {
                findings.add(Rule::RefundPosted, subject, format_args!("a transfer of {}", refund.amount), "none");
            }
            _ => {}
        }
    }
    for (what, sum, found) in [("refunded", done, payment.refunded), ("refunding", pending, payment.refunding)] {
        if sum != Some(found.minor()) || refunds.iter().any(|r| r.amount.currency() != found.currency()) {
            let expected =
                sum.map_or_else(|| "a sum".into(), |sum| Money::from_minor(sum, found.currency()).to_string());
            let subject = format_args!("payment {}", payment.id);
            findings.add(Rule::RefundsAddUp, subject, format_args!("{what} {expected}"), found);
        }
    }
}

fn is_refund(fact: &Transferred, refund: &Refund) -> bool {
    let legs = matches!(
        fact.posted.as_slice(),
        [debit, credit] if debit.side == Side::Debit && credit.side == Side::Credit
            && debit.amount == refund.amount && credit.amount == refund.amount
    );
    legs && fact.kind == TransferKind::Posted && *fact.reference == *refund.payment
}
