//! Payments: an intent, its attempts and its operations, each transition with its posting in the same change.
//!
//! An operation at a gateway is claimed in one commit, called outside of any, and its result is recorded in another. A result that never came is
//! a state of its own: nothing else may be tried until it is known what happened.

mod machine;
mod refund;
mod rejection;
mod rules;
mod steps;

pub use machine::{PAYMENT, PaymentEvent, PaymentState};
pub use refund::{
    REFUND_KIND, Refund, RefundResult, RefundState, record_refund, refund_key, refund_transfer, request_refund,
    settle_refund,
};
pub use rejection::Rejection;
pub use rules::PostingRules;
pub use steps::{
    Declines, OpenPayment, Operation, OperationResult, PAYMENT_KIND, Payment, PaymentChanged, by_order, cancel, claim,
    ledger_hold_of, open, payment_key, record,
};
