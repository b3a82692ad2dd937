//! Orders: each is the fact that it was placed and the fold of what happened to it, and agrees with its hold and its payment.

use std::collections::HashMap;

use txn_change::{Key, Term};
use txn_core::{
    aftersale::Received,
    id::{HoldId, OrderId, PaymentId, ReturnId},
    money::Money,
    order::{LIFECYCLE, LINES_MAX, Lifecycle, LifecycleEvent, Order, Placed, ProgressKind, Progressed, by_customer},
    payment::PaymentState,
};

use super::{
    holds::Holds,
    payments::Payments,
    report::{Findings, Rule},
    returns::Returns,
    timers::Timers,
};

/// The orders of one tenant.
#[derive(Default)]
pub(super) struct Orders(HashMap<OrderId, Fold>);

/// What the events of an order come to.
#[derive(Default)]
struct Fold {
    placed: Option<Placed>,
    lifecycle: Option<Lifecycle>,
    /// Per line: cancelled, shipped, delivered, returned.
    buckets: Vec<[u64; 4]>,
    steps: u64,
    returns: Vec<ReturnId>,
    record: Option<Seen>,
}

/// What other rules ask of an order's record.
struct Seen {
    total: Money,
    hold: HoldId,
    payment: Option<PaymentId>,
    lifecycle: Lifecycle,
    shipped: u64,
    expires: bool,
}

const CANCELLED: usize = 0;
const SHIPPED: usize = 1;
const DELIVERED: usize = 2;
const RETURNED: usize = 3;

impl Fold {
    fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.unwrap_or(Lifecycle::Placed)
    }

    /// Adds units to a bucket of a line; says whether there can be such a line.
    fn add(&mut self, line: usize, bucket: usize, units: u64) -> bool {
        if line >= LINES_MAX {
            return false;
        }
        if self.buckets.len() <= line {
            self.buckets.resize(line.saturating_add(1), [0; 4]);
        }
        if let Some(bucket) = self.buckets.get_mut(line).and_then(|buckets| buckets.get_mut(bucket)) {
            *bucket = bucket.saturating_add(units);
        }
        true
    }
}

impl Orders {
    pub(super) fn placed(&mut self, findings: &mut Findings<'_>, fact: Placed) {
        let id = fact.order.clone();
        if self.0.entry(id.clone()).or_default().placed.replace(fact).is_some() {
            findings.add(Rule::OrderPlaced, format_args!("order {id}"), "to be placed once", "another time");
        }
    }

    pub(super) fn progressed(&mut self, findings: &mut Findings<'_>, event: &Progressed) {
        let subject = format_args!("order {}", event.order);
        let fold = self.0.entry(event.order.clone()).or_default();
        fold.steps = fold.steps.saturating_add(1);
        let (bucket, step) = match event.kind {
            ProgressKind::Shipped => (SHIPPED, None),
            ProgressKind::Delivered => (DELIVERED, Some(LifecycleEvent::Complete)),
            ProgressKind::Cancelled => (CANCELLED, Some(LifecycleEvent::Cancel)),
            ProgressKind::Expired => (CANCELLED, Some(LifecycleEvent::Expire)),
            kind => {
                findings.add(Rule::OrderSteps, subject, "a step that this build knows", format_args!("{kind:?}"));
                return;
            }
        };
        let from = fold.lifecycle();
        let stays = from == event.lifecycle && from == Lifecycle::Placed && bucket != CANCELLED;
        if !stays && step.and_then(|step| LIFECYCLE.next(from, step).ok()) != Some(event.lifecycle) {
            let found = format_args!("{:?}, by units {:?}", event.lifecycle, event.kind);
            findings.add(Rule::OrderLifecycle, subject, format_args!("a step from {from:?}"), found);
        }
        fold.lifecycle = Some(event.lifecycle);
        for units in &event.lines {
            if !fold.add(units.line, bucket, units.quantity.get()) {
                findings.add(Rule::OrderSteps, subject, format_args!("one of {LINES_MAX} lines"), units.line);
            }
        }
    }

    pub(super) fn received(&mut self, findings: &mut Findings<'_>, event: &Received) {
        let fold = self.0.entry(event.order.clone()).or_default();
        fold.steps = fold.steps.saturating_add(1);
        fold.returns.push(event.id.clone());
        for units in &event.lines {
            if !fold.add(units.line, RETURNED, units.quantity.get()) {
                let subject = format_args!("return {}", event.id);
                findings.add(Rule::OrderSteps, subject, format_args!("one of {LINES_MAX} lines"), units.line);
            }
        }
    }

    /// What is known of an order so far: where it is, and its total.
    pub(super) fn state(&self, id: &OrderId) -> Option<(Lifecycle, Money)> {
        let fold = self.0.get(id)?;
        Some((fold.lifecycle(), fold.placed.as_ref()?.total))
    }

    pub(super) fn record(
        &mut self,
        findings: &mut Findings<'_>,
        returns: &Returns,
        key: &Key,
        version: u64,
        order: Order,
    ) {
        let fold = self.0.entry(order.id.clone()).or_default();
        findings.same(Rule::VersionCounts, key, "version", fold.steps.saturating_add(1), version);
        findings.same_name(Rule::OrderLifecycle, key, "lifecycle", fold.lifecycle(), order.lifecycle);
        match &fold.placed {
            None => findings.add(Rule::OrderPlaced, key, "the fact that it was placed", "none"),
            Some(placed) => total(findings, key, &order, placed),
        }
        lines(findings, key, &order, fold);
        for id in &fold.returns {
            if let Some(event) = returns.get(id) {
                refund(findings, &order, event);
            }
        }
        if order.payment.is_some() != order.total.is_positive() {
            let found = format_args!("{:?} over {}", order.payment, order.total);
            findings.add(Rule::OrderPayment, key, "a payment when there is something to pay", found);
        }
        fold.buckets = Vec::new();
        fold.record = Some(Seen {
            total: order.total,
            shipped: order.lines.iter().fold(0, |sum, line| line.shipped.saturating_add(sum)),
            hold: order.hold,
            payment: order.payment,
            lifecycle: order.lifecycle,
            expires: order.expires_at.is_some(),
        });
    }

    /// The payment and the total of an order, by its record.
    pub(super) fn paid_by(&self, id: &OrderId) -> Option<(Option<&PaymentId>, Money)> {
        let seen = self.0.get(id)?.record.as_ref()?;
        Some((seen.payment.as_ref(), seen.total))
    }

    pub(super) fn close(&self, findings: &mut Findings<'_>, holds: &Holds, payments: &Payments, timers: &Timers) {
        for (id, fold) in &self.0 {
            let subject = format_args!("order {id}");
            let Some(seen) = &fold.record else {
                findings.add(Rule::OrderPlaced, subject, "the record of an order that has events", "none");
                continue;
            };
            let paid = seen.payment.as_ref().map(|payment| (payment, payments.state(payment)));
            match paid {
                Some((payment, None)) => {
                    findings.add(Rule::OrderPayment, subject, format_args!("payment {payment}"), "none")
                }
                Some((_, Some(state))) if seen.shipped > 0 && state != PaymentState::Captured => {
                    let found = format_args!("{state:?}, and {} units shipped", seen.shipped);
                    findings.add(Rule::OrderPayment, subject, "a captured payment", found);
                }
                Some((_, Some(PaymentState::Created)))
                    if seen.expires && seen.lifecycle == Lifecycle::Placed && !timers.has_order(id) =>
                {
                    findings.add(Rule::TimerSet, subject, "a timer for its expiry", "none");
                }
                _ => {}
            }
            let hold = holds.get(&seen.hold).filter(|hold| hold.order.as_ref().is_none_or(|order| order == id));
            let Some(hold) = hold else {
                if seen.shipped > 0 {
                    findings.add(Rule::OrderHold, subject, format_args!("hold {}", seen.hold), "none");
                }
                continue;
            };
            // A hold that was made for no order may serve several.
            if hold.order.is_none() {
                continue;
            }
            findings.same(Rule::OrderHold, subject, "units shipped from its hold", hold.shipped, seen.shipped);
            if hold.is_live && matches!(seen.lifecycle, Lifecycle::Cancelled | Lifecycle::Expired) {
                let expected = format_args!("hold {} ended, as the order is {:?}", seen.hold, seen.lifecycle);
                findings.add(Rule::OrderHold, subject, expected, "it live");
            }
        }
    }
}

/// The index terms that an order should have.
pub(super) fn terms(order: &Order) -> Vec<Term> {
    order.customer.iter().map(|customer| by_customer(customer).time(order.placed_at).build()).collect()
}

fn total(findings: &mut Findings<'_>, key: &Key, order: &Order, placed: &Placed) {
    let rule = Rule::OrderTotal;
    let worth =
        |sum: Money, line: &txn_core::order::Line| sum.try_add(line.price.try_mul(i128::from(line.ordered.get()))?);
    let sum = order.lines.iter().try_fold(Money::zero(order.currency), worth);
    match sum {
        Ok(sum) => findings.same(rule, key, "a total of", sum, order.total),
        Err(error) => findings.add(rule, key, "prices that can be added", error),
    }
    findings.same(rule, key, "the fact's total of", placed.total, order.total);
    findings.same(rule, key, "lines", placed.lines, order.lines.len() as u64);
    let units = order.lines.iter().fold(0u64, |sum, line| sum.saturating_add(line.ordered.get()));
    findings.same(rule, key, "units", placed.units, units);
    findings.same_name(Rule::OrderPlaced, key, "the customer", &placed.customer, &order.customer);
}

fn lines(findings: &mut Findings<'_>, key: &Key, order: &Order, fold: &Fold) {
    for (place, line) in order.lines.iter().enumerate() {
        let subject = format_args!("{key} line {place}");
        let found = [line.cancelled, line.shipped, line.delivered, line.returned];
        let expected = fold.buckets.get(place).copied().unwrap_or_default();
        findings.same_name(Rule::OrderSteps, subject, "cancelled, shipped, delivered and returned", expected, found);
        let ended = match order.lifecycle {
            Lifecycle::Placed => true,
            Lifecycle::Completed => line.open() == 0 && line.in_transit() == 0,
            Lifecycle::Cancelled | Lifecycle::Expired => line.open() == 0 && line.shipped == 0,
        };
        if !line.is_sound() || !ended {
            let expected = format_args!("buckets that fit {} ordered, as it is {:?}", line.ordered, order.lifecycle);
            findings.add(Rule::OrderBuckets, subject, expected, format_args!("{found:?}"));
        }
    }
    if fold.buckets.len() > order.lines.len() {
        findings.same(Rule::OrderSteps, key, "lines", fold.buckets.len(), order.lines.len());
    }
}

fn refund(findings: &mut Findings<'_>, order: &Order, event: &Received) {
    let mut sum = Some(Money::zero(order.currency));
    for units in &event.lines {
        let price = order.lines.get(units.line).map(|line| line.price);
        let worth = price.and_then(|price| price.try_mul(i128::from(units.quantity.get())).ok());
        sum = sum.zip(worth).and_then(|(sum, worth)| sum.try_add(worth).ok());
    }
    if sum != Some(event.refund) {
        let expected = sum.map_or_else(|| "lines of the order".into(), |sum| sum.to_string());
        findings.add(Rule::ReturnRefund, format_args!("return {}", event.id), expected, event.refund);
    }
}
