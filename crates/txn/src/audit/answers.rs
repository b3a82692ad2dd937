//! Answers: what is told to whoever asks again must be what the change did. The digest of a change does not cover its answer.

use txn_change::{Body, ChangeId, Document, Event, Format};
use txn_core::{
    aftersale::{Received, Return, ReturnState},
    inventory::HoldAnswer,
    ledger::{AccountChanged, Chained, Period, PeriodClosed, TransferKind, Transferred},
    order::OrderAnswer,
    payment::Payment,
};

use super::{
    report::{Findings, Rule},
    tenant::{Books, read},
};

/// Characters of an answer that a violation shows.
const SHOWN_MAX: usize = 160;

impl Books {
    /// Compares the answer of a change with where its events have led.
    pub(super) fn answer(&self, findings: &mut Findings<'_>, id: &ChangeId, answer: &Body, events: &[Event]) {
        if answer.format() == Format::Erased {
            return;
        }
        let subject = format_args!("the answer of change {id}");
        let fits = match answer.type_name() {
            <OrderAnswer as Document>::TYPE => read(findings, subject, answer)
                .map(|answer: OrderAnswer| self.orders.state(&answer.order) == Some((answer.lifecycle, answer.total))),
            <HoldAnswer as Document>::TYPE => {
                read(findings, subject, answer).map(|answer: HoldAnswer| self.holds.may_be(&answer.hold, answer.state))
            }
            <Payment as Document>::TYPE => read(findings, subject, answer)
                .map(|answer: Payment| self.payments.state_so_far(&answer.id) == answer.state),
            <Transferred as Document>::TYPE | <AccountChanged as Document>::TYPE => {
                Some(events.iter().any(|event| event.body == *answer))
            }
            <Chained as Document>::TYPE => read(findings, subject, answer).map(|answer: Chained| {
                let made = events.iter().filter_map(|event| event.body.read().ok());
                // What it gave back on its way is not its own.
                let own = made.filter(|made: &Transferred| made.kind == TransferKind::Posted);
                own.map(|made| made.id).eq(answer.transfers)
            }),
            <Period as Document>::TYPE => read(findings, subject, answer).map(|answer: Period| {
                let closed = events.iter().filter_map(|event| event.body.read().ok());
                closed.map(|PeriodClosed { until }| until).eq([answer.closed_until])
            }),
            <Return as Document>::TYPE => read(findings, subject, answer).map(|answer: Return| {
                let is_it = |event: Received| {
                    event.id == answer.id && event.refund == answer.refund && event.lines == answer.received
                };
                answer.state == ReturnState::Requested
                    || events.iter().filter_map(|event| event.body.read().ok()).any(is_it)
            }),
            _ => None,
        };
        if fits == Some(false) {
            let found: String = String::from_utf8_lossy(answer.bytes()).chars().take(SHOWN_MAX).collect();
            findings.add(Rule::AnswerTrue, subject, "what its events say", found);
        }
    }
}
