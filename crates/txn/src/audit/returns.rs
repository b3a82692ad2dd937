//! Returns: each is its event, and what came back was put away. Prices are the order's, so `orders` judges the refund.

use std::collections::HashMap;

use txn_change::Key;
use txn_core::{
    aftersale::{Received, Return, ReturnState},
    id::ReturnId,
    inventory::Disposition,
};

use super::report::{Findings, Rule};

/// The returns of one tenant.
#[derive(Default)]
pub(super) struct Returns(HashMap<ReturnId, Fold>);

#[derive(Default)]
struct Fold {
    received: Option<Received>,
    /// Units put on hand, and of them unavailable.
    stocked: [u64; 2],
    is_recorded: bool,
}

impl Returns {
    pub(super) fn received(&mut self, findings: &mut Findings<'_>, event: Received) {
        let id = event.id.clone();
        if self.0.entry(id.clone()).or_default().received.replace(event).is_some() {
            findings.add(Rule::ReturnReceived, format_args!("return {id}"), "to be received once", "another time");
        }
    }

    pub(super) fn stocked(&mut self, id: &ReturnId, lines: &[(usize, u64, i128)]) {
        let fold = self.0.entry(id.clone()).or_default();
        let [on_hand, unavailable] = &mut fold.stocked;
        for (_, units, aside) in lines {
            *on_hand = on_hand.saturating_add(*units);
            *unavailable = unavailable.saturating_add(u64::try_from(*aside).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn get(&self, id: &ReturnId) -> Option<&Received> {
        self.0.get(id)?.received.as_ref()
    }

    pub(super) fn record(&mut self, findings: &mut Findings<'_>, key: &Key, record: Return) {
        let rule = Rule::ReturnReceived;
        let fold = self.0.entry(record.id.clone()).or_default();
        fold.is_recorded = true;
        let is_received = record.state == ReturnState::Received;
        match &fold.received {
            None if is_received => findings.add(rule, key, "the event that it was received", "none"),
            None => {
                if !record.received.is_empty() || !record.refund.is_zero() {
                    let found = format_args!("{} lines and {}", record.received.len(), record.refund);
                    findings.add(rule, key, "nothing received or refunded yet", found);
                }
            }
            Some(event) => {
                findings.same_name(rule, key, "state", ReturnState::Received, record.state);
                findings.same(rule, key, "the order", &event.order, &record.order);
                findings.same(rule, key, "refund", event.refund, record.refund);
                if event.lines != record.received {
                    let (expected, found) = (format_args!("{:?}", event.lines), format_args!("{:?}", record.received));
                    findings.add(rule, key, expected, found);
                }
            }
        }
    }

    pub(super) fn close(&self, findings: &mut Findings<'_>) {
        for (id, fold) in &self.0 {
            if !fold.is_recorded {
                findings.add(Rule::ReturnReceived, format_args!("return {id}"), "the record of it", "none");
            }
            let mut expected = [0u64; 2];
            for line in fold.received.iter().flat_map(|event| &event.lines) {
                let [on_hand, unavailable] = &mut expected;
                *on_hand = on_hand.saturating_add(line.quantity.get());
                if line.disposition == Disposition::Damaged {
                    *unavailable = unavailable.saturating_add(line.quantity.get());
                }
            }
            let subject = format_args!("return {id}");
            findings.same_name(Rule::ReturnStocked, subject, "on hand and unavailable", expected, fold.stocked);
        }
    }
}
