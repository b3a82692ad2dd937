//! Why a payment could not go on.

use crate::{
    id::{PaymentId, RefundId},
    ledger,
    machine::IllegalTransition,
    money::{Currency, Money},
};

/// Why a payment could not go on. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// There is no such payment.
    #[error("there is no payment {payment}")]
    UnknownPayment {
        /// The payment.
        payment: PaymentId,
    },
    /// Another payment has this id.
    #[error("the payment {payment} exists already")]
    PaymentExists {
        /// The payment.
        payment: PaymentId,
    },
    /// The payment's state does not allow it.
    #[error("payment {payment}: {transition}")]
    IllegalTransition {
        /// The payment.
        payment: PaymentId,
        /// From where, and what was asked.
        transition: IllegalTransition,
    },
    /// Zero or negative.
    #[error("{amount} is not an amount to pay; it must be above zero")]
    InvalidAmount {
        /// The amount.
        amount: Money,
    },
    /// Another currency than the payment's.
    #[error("the amount is in {found}, the payment in {expected}")]
    CurrencyMismatch {
        /// The payment's currency.
        expected: Currency,
        /// The currency found.
        found: Currency,
    },
    /// The amount is not the payment's.
    #[error("the amount is {found}, the payment is over {expected}")]
    AmountMismatch {
        /// The payment's amount.
        expected: Money,
        /// The amount found.
        found: Money,
    },
    /// More would go back than was taken: refunds done and on their way count.
    #[error("{asked} is more than the {refundable} that can still be refunded")]
    RefundExceedsCaptured {
        /// What can still go back.
        refundable: Money,
        /// What was asked for.
        asked: Money,
    },
    /// Another refund has this id.
    #[error("the refund {refund} exists already")]
    RefundExists {
        /// The refund.
        refund: RefundId,
    },
    /// There is no such refund.
    #[error("there is no refund {refund}")]
    UnknownRefund {
        /// The refund.
        refund: RefundId,
    },
    /// The refund has ended.
    #[error("the refund {refund} has ended")]
    RefundEnded {
        /// The refund.
        refund: RefundId,
    },
    /// The ledger refused the posting.
    #[error(transparent)]
    Ledger(#[from] ledger::Rejection),
}
