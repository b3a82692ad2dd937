//! The stored shape of every document: what was written once stays readable, so a change of a shape shows here first.

use txn_core::{aftersale, inventory, ledger, order, payment};
use txn_fixtures::Fixtures;

#[test]
fn every_document_that_was_ever_written_is_read_and_written_as_it_was() {
    Fixtures::of(env!("CARGO_MANIFEST_DIR"))
        .keep::<order::Order>()
        .keep::<order::OrderAnswer>()
        .keep::<order::Placed>()
        .keep::<order::Progressed>()
        .keep::<inventory::Hold>()
        .keep::<inventory::HoldAnswer>()
        .keep::<inventory::Moved>()
        .keep::<ledger::Account>()
        .keep::<ledger::AccountChanged>()
        .keep::<ledger::Hold>()
        .keep::<ledger::HoldExtended>()
        .keep::<ledger::Transferred>()
        .keep::<ledger::Chained>()
        .keep::<ledger::Period>()
        .keep::<ledger::PeriodClosed>()
        .keep::<ledger::Reversed>()
        .keep::<payment::Payment>()
        .keep::<payment::PaymentChanged>()
        .keep::<payment::Refund>()
        .keep::<aftersale::Return>()
        .keep::<aftersale::Received>()
        .finish();
}
