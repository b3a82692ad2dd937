//! The books of one tenant: where each event and record goes.

use std::fmt;

use txn_change::{Body, Document, Event, Key, Record, Term};
use txn_core::{
    aftersale::{self, RETURN_KIND, Received, Return},
    inventory::{self, Moved},
    ledger::{
        self, ACCOUNT_KIND, Account, AccountChanged, HoldExtended, PERIOD_KIND, Period, PeriodClosed, REVERSAL_KIND,
        Reversed, Transferred,
    },
    order::{self, ORDER_KIND, Order, Placed, Progressed},
    payment::{self, PAYMENT_KIND, Payment, PaymentChanged, REFUND_KIND, Refund},
};

use super::{
    counters::Counters,
    holds::Holds,
    ledger::Ledger,
    orders::{self, Orders},
    payments::{self, Payments},
    postings::Postings,
    report::{Findings, Rule},
    returns::Returns,
    stock::Stock,
    timers::Timers,
};
use crate::{
    process::{Begun, DEFINITION_KIND, Instance, PROCESS_KIND, begun_key},
    timers::{TIMER_KIND, Timer},
};

/// Everything that is kept of one tenant while its store is read.
#[derive(Default)]
pub(super) struct Books {
    pub(super) counters: Counters,
    pub(super) ledger: Ledger,
    pub(super) stock: Stock,
    pub(super) holds: Holds,
    pub(super) orders: Orders,
    pub(super) payments: Payments,
    pub(super) postings: Postings,
    returns: Returns,
    timers: Timers,
}

/// Reads a body of ours, or names it.
pub(super) fn read<T: Document>(findings: &mut Findings<'_>, subject: impl fmt::Display, body: &Body) -> Option<T> {
    match body.read() {
        Ok(value) => Some(value),
        Err(error) => {
            findings.add(Rule::Readable, subject, T::TYPE, error);
            None
        }
    }
}

/// Reads an event's body.
fn fact<T: Document>(findings: &mut Findings<'_>, event: &Event) -> Option<T> {
    let id = event.id.as_deref().or(event.subject.as_ref().map(Key::kind)).unwrap_or("without id").to_owned();
    read(findings, format_args!("event {} of {id}", T::TYPE), &event.body)
}

impl Books {
    pub(super) fn event(&mut self, findings: &mut Findings<'_>, event: &Event) {
        let Self { counters, ledger, stock, holds, orders, payments, postings, returns, .. } = self;
        match event.body.type_name() {
            <Placed as Document>::TYPE => {
                if let Some(placed) = fact(findings, event) {
                    orders.placed(findings, placed);
                }
            }
            <Progressed as Document>::TYPE => {
                if let Some(progressed) = fact(findings, event) {
                    orders.progressed(findings, &progressed);
                }
            }
            <Moved as Document>::TYPE => {
                if let Some(moved) = fact(findings, event) {
                    stock.moved(findings, counters, holds, returns, moved);
                }
            }
            <Transferred as Document>::TYPE => {
                if let Some(transferred) = fact(findings, event) {
                    postings.transferred(findings, event, &transferred);
                    ledger.transferred(findings, counters, transferred);
                }
            }
            <AccountChanged as Document>::TYPE => {
                if let Some(changed) = fact(findings, event) {
                    ledger.account_changed(findings, counters, changed);
                }
            }
            <HoldExtended as Document>::TYPE => {
                if let Some(extended) = fact(findings, event) {
                    ledger.extended(findings, extended);
                }
            }
            <PeriodClosed as Document>::TYPE => {
                if let Some(PeriodClosed { until }) = fact(findings, event) {
                    postings.period_closed(until);
                }
            }
            <PaymentChanged as Document>::TYPE => {
                if let Some(changed) = fact(findings, event) {
                    payments.changed(findings, changed);
                }
            }
            <Received as Document>::TYPE => {
                if let Some(received) = fact(findings, event) {
                    orders.received(findings, &received);
                    returns.received(findings, received);
                }
            }
            // A host's own event says nothing that is judged here.
            _ => {}
        }
    }

    pub(super) fn record(&mut self, findings: &mut Findings<'_>, key: &Key, record: &Record, indexed: &[Term]) {
        let Self { ledger, stock, holds, orders, payments, postings, returns, timers, .. } = self;
        same_terms(findings, key, "in the index", &record.terms, indexed);
        if record.version == 0 {
            findings.add(Rule::VersionCounts, key, "version 1 or more", 0);
        }
        let mut found = Found { findings, key, record };
        let kind = key.kind();
        if kind == ORDER_KIND.as_str() {
            if let Some(order) = found.read(|order: &Order| order::order_key(&order.id), orders::terms) {
                orders.record(findings, returns, key, record.version, order);
            }
        } else if kind == PAYMENT_KIND.as_str() {
            if let Some(payment) = found.read(|payment: &Payment| payment::payment_key(&payment.id), payments::terms) {
                payments.record(findings, key, record.version, payment);
            }
        } else if kind == REFUND_KIND.as_str() {
            if let Some(refund) = found.read(|refund: &Refund| payment::refund_key(&refund.id), |_| Vec::new()) {
                payments.refund(refund);
            }
        } else if kind == RETURN_KIND.as_str() {
            let terms = |back: &Return| aftersale::by_order(&back.order).text(&back.id).map(|term| term.build());
            let terms = |back: &Return| terms(back).into_iter().collect();
            if let Some(back) = found.read(|back: &Return| aftersale::return_key(&back.id), terms) {
                returns.record(findings, key, back);
            }
        } else if kind == inventory::HOLD_KIND.as_str() {
            let terms = inventory::Hold::terms;
            if let Some(hold) = found.read(|hold: &inventory::Hold| inventory::hold_key(&hold.id), terms) {
                holds.record(findings, stock, key, hold);
            }
        } else if kind == ledger::HOLD_KIND.as_str() {
            if let Some(hold) = found.read(|hold: &ledger::Hold| ledger::hold_key(&hold.id), ledger::Hold::terms) {
                ledger.hold(findings, key, record.version, hold);
            }
        } else if kind == ACCOUNT_KIND.as_str() {
            let own = |account: &Account| ledger::record_key(&account.id, account.currency);
            if let Some(account) = found.read(own, Account::terms) {
                ledger.account(findings, key, record.version, account);
            }
        } else if kind == REVERSAL_KIND.as_str() {
            let own = |reversed: &Reversed| ledger::reversal_key(&reversed.transfer);
            if let Some(reversed) = found.read(own, |_| Vec::new()) {
                postings.reversed(findings, key, record.version, &reversed);
            }
        } else if kind == PERIOD_KIND.as_str() {
            if let Some(period) = found.read(|_: &Period| ledger::period_key(), |_| Vec::new()) {
                postings.period(findings, key, period);
            }
        } else if kind == PROCESS_KIND.as_str() {
            let _: Option<Instance> = found.read(Instance::key, Instance::terms);
        } else if kind == DEFINITION_KIND.as_str() {
            let own = |begun: &Begun| begun_key(&begun.process, begun.version);
            let _: Option<Begun> = found.read(own, |_| Vec::new());
        } else if self::schedule(&mut found) {
            // It was read and checked.
        } else if kind == TIMER_KIND.as_str()
            && let Some(timer) = read::<Timer>(findings, key, &record.body)
        {
            timers.record(findings, key, timer);
        }
    }

    /// What only the whole can tell.
    pub(super) fn close(mut self, findings: &mut Findings<'_>) {
        self.payments.close(findings, &self.orders, &mut self.ledger);
        self.orders.close(findings, &self.holds, &self.payments, &self.timers);
        self.holds.close(findings, &self.timers);
        self.stock.close(findings, &self.counters);
        self.returns.close(findings);
        self.postings.close(findings);
        self.ledger.close(findings, &mut self.counters, &self.timers);
        self.counters.close(findings);
    }
}

/// A record of ours that is to be read.
struct Found<'a, 'f> {
    findings: &'a mut Findings<'f>,
    key: &'a Key,
    record: &'a Record,
}

impl Found<'_, '_> {
    /// Reads it, and checks that it stands under its key with its terms.
    fn read<T: Document>(&mut self, own: impl Fn(&T) -> Key, terms: impl Fn(&T) -> Vec<Term>) -> Option<T> {
        let Self { findings, key, record } = self;
        let value: T = read(findings, *key, &record.body)?;
        findings.same(Rule::KeyOfBody, *key, "key", &own(&value), *key);
        same_terms(findings, key, "of its content", &terms(&value), &record.terms);
        Some(value)
    }
}

/// Reads a schedule; says whether it was one.
#[cfg(feature = "cron")]
fn schedule(found: &mut Found<'_, '_>) -> bool {
    use crate::schedules::{SCHEDULE_KIND, Schedule};
    let is_one = found.key.kind() == SCHEDULE_KIND.as_str();
    if is_one {
        let _: Option<Schedule> = found.read(Schedule::key, Schedule::terms);
    }
    is_one
}

/// A build without them cannot judge them.
#[cfg(not(feature = "cron"))]
const fn schedule(_: &mut Found<'_, '_>) -> bool {
    false
}

/// Terms as sets: their order is the writer's.
fn same_terms(findings: &mut Findings<'_>, key: &Key, what: &str, expected: &[Term], found: &[Term]) {
    for term in expected.iter().filter(|term| !found.contains(term)) {
        findings.add(Rule::Indexed, key, format_args!("the term {term} {what}"), "none");
    }
    for term in found.iter().filter(|term| !expected.contains(term)) {
        findings.add(Rule::Indexed, key, format_args!("no term {what} beside its own"), term);
    }
}
